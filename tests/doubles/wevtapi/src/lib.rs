//! A double of wevtapi.dll: what the agent calls of the Windows event log, where Wine has calls that end the process.
//!
//! A channel is a folder of the same name with `/` written as `%4`, as Windows names its files; an event is a file of XML in it, and the
//! order of their names is the order of time. The folder of the channels stands in the registry:
//!
//! | `HKLM\SOFTWARE\TestDouble\wevtapi` | |
//! | --- | --- |
//! | `folder` (REG_SZ) | where the channels are |
//! | a channel's name (REG_DWORD) | the error that asking this channel gives |
//!
//! Of a query it holds what the documentation says: 15001 for one that is not well-formed or has more than 23 conditions, 15007 for a
//! channel that is not there, and of the rest the provider's name and the event's number. **It does not look at the time**, and that the
//! real log takes the agent's query stays to be shown on a real host.
#![cfg(windows)]

pub mod calls;
mod channel;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a handle stands for.
enum Object {
    /// What a query found, the next one last.
    Results(Vec<PathBuf>),
    /// One event.
    Event(PathBuf),
}

/// What is open, by handle.
struct Open {
    objects: BTreeMap<isize, Object>,
    next: isize,
}

static OPEN: Mutex<Open> = Mutex::new(Open { objects: BTreeMap::new(), next: 1 });

fn open() -> MutexGuard<'static, Open> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Open {
    fn add(&mut self, object: Object) -> isize {
        let handle = self.next;
        self.next += 1;
        self.objects.insert(handle, object);
        handle
    }
}
