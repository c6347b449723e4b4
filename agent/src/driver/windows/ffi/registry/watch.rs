//! Waiting for a change below keys of the registry.
//!
//! A change is never lost between two looks. A key that changed is watched anew before [`Watch::wait`] returns, so what the caller
//! then reads is at least as new as the change, and what is changed while he reads ends the next wait. A key that does not exist
//! is watched through the nearest ancestor that does, until it appears. One that exists is watched through its parent too, since a key
//! that is deleted does not say so everywhere (not under Wine, and Microsoft's page is silent); so a key that appears or vanishes
//! beside it may wake it as well.
//!
//! Before Windows 8 a thread that ends wakes what it watched: a look too many, never one too few.

use std::time::{Duration, Instant};
use std::{mem, ptr};

use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_FILE_NOT_FOUND, ERROR_KEY_DELETED, ERROR_SUCCESS, HANDLE, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Registry::{REG_NOTIFY_CHANGE_LAST_SET, REG_NOTIFY_CHANGE_NAME, RegNotifyChangeKeyValue};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, WaitForMultipleObjects, WaitForSingleObject};

use super::Key;
use crate::driver::DriverError;
use crate::driver::windows::ffi::Code;

/// The most keys of one watch: what `WaitForMultipleObjects` takes.
pub(super) const MAX_KEYS: usize = 64;

/// How often a key may vanish while it is being watched anew.
const MAX_TRIES: usize = 100;

/// A set of keys of the local machine, watched with everything below them.
#[derive(Debug)]
pub struct Watch {
    keys: Vec<Watched>,
}

/// One key of the set.
#[derive(Debug)]
struct Watched {
    path: String,
    /// `None` when it could not be watched anew: what happens meanwhile is not seen, so it counts as changed.
    armed: Option<Armed>,
    /// It may have changed, and the caller has not been told.
    changed: bool,
}

/// A notification that has been asked for once. What signals the event ends it.
#[derive(Debug)]
struct Armed {
    event: Event,
    /// The key, if it exists. Open as long as the notification is wanted, and so is the next.
    key: Option<Key>,
    /// Its nearest ancestor.
    _above: Key,
}

impl Watch {
    /// Watches the keys at `paths` below `HKEY_LOCAL_MACHINE` from now on.
    ///
    /// # Errors
    /// [`DriverError`] when one cannot be watched, or when there are none, or more than 64.
    pub fn on(paths: &[&str]) -> Result<Self, DriverError> {
        if !(1..=MAX_KEYS).contains(&paths.len()) {
            return Err(DriverError::Unreadable {
                object: "keys that are watched".to_owned(),
                expected: format!("1 to {MAX_KEYS}"),
                found: paths.len().to_string(),
            });
        }
        let watched = |path: &&str| Ok(Watched { path: (*path).to_owned(), armed: Some(Armed::at(path)?), changed: false });
        Ok(Self { keys: paths.iter().map(watched).collect::<Result<_, _>>()? })
    }

    /// Waits at most `limit` for a change, and says which keys may have changed since the last wait, by their place in the list.
    /// None when the limit has passed.
    ///
    /// # Errors
    /// [`DriverError`] when a key cannot be watched any more. The next wait tries again and says that it changed.
    pub fn wait(&mut self, limit: Duration) -> Result<Vec<usize>, DriverError> {
        let end = now().checked_add(limit);
        loop {
            let left = end.map(|end| end.saturating_duration_since(now()));
            if self.keys.iter().all(|key| key.armed.is_some() && !key.changed) && !self.signalled(left)? {
                return Ok(Vec::new());
            }
            self.keys.iter_mut().try_for_each(Watched::renew)?;
            let told = self.keys.iter_mut().enumerate().filter_map(|(place, key)| mem::take(&mut key.changed).then_some(place));
            let told: Vec<usize> = told.collect();
            if !told.is_empty() {
                return Ok(told);
            }
        }
    }

    /// Waits until one of the events is signalled; without a limit for ever. False when the limit has passed.
    fn signalled(&self, limit: Option<Duration>) -> Result<bool, DriverError> {
        let events: Vec<HANDLE> = self.keys.iter().filter_map(|key| key.armed.as_ref()).map(|armed| armed.event.0).collect();
        // Rounded up, and below the number that stands for ever.
        let limit = limit
            .map_or(INFINITE, |limit| u32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(INFINITE).min(INFINITE - 1));
        let count = u32::try_from(events.len()).expect("at most MAX_KEYS");
        // SAFETY: the handles are open events of `self`, at most as many as one call takes.
        match unsafe { WaitForMultipleObjects(count, events.as_ptr(), 0, limit) } {
            WAIT_TIMEOUT => Ok(false),
            WAIT_FAILED => Err(Code::last().of("WaitForMultipleObjects", "keys of the registry")),
            _ => Ok(true),
        }
    }
}

impl Watched {
    /// Watches the key anew if what was asked for has ended.
    fn renew(&mut self) -> Result<(), DriverError> {
        let existed = match &self.armed {
            Some(armed) if !armed.event.is_signalled()? => return Ok(()),
            Some(armed) => armed.key.is_some(),
            None => true,
        };
        self.armed = None;
        // Before the caller looks: what changes from here on ends the next wait.
        let armed = self.armed.insert(Armed::at(&self.path)?);
        // An ancestor of a missing key gets other children too.
        self.changed |= existed || armed.key.is_some();
        Ok(())
    }
}

impl Armed {
    /// Asks for one notification about the key, if it exists, and about the nearest ancestor that does.
    fn at(path: &str) -> Result<Self, DriverError> {
        let parent = parent(path);
        for _ in 0..MAX_TRIES {
            let (above, event) = (nearest(parent)?, Event::new()?);
            if !above.notify(&event, false)? {
                continue;
            }
            // Only now: a key that comes or goes between the two is noticed by the one above.
            let found = nearest(path)?;
            let key = if found.path == above.path {
                None
            } else if found.path == path && above.path == parent && found.notify(&event, true)? {
                Some(found)
            } else {
                continue;
            };
            return Ok(Self { event, key, _above: above });
        }
        Err(DriverError::Unreadable {
            object: format!("HKLM\\{path}"),
            expected: "a key that stays, or stays away, while it is watched anew".to_owned(),
            found: format!("one that came and went {MAX_TRIES} times"),
        })
    }
}

/// The path of the key above; of the topmost ones, that of `HKEY_LOCAL_MACHINE` itself.
fn parent(path: &str) -> &str {
    path.rsplit_once('\\').map_or("", |(parent, _)| parent)
}

/// The key, or the nearest ancestor that exists.
fn nearest(path: &str) -> Result<Key, DriverError> {
    let mut upper = path;
    loop {
        match Key::machine(upper)? {
            Some(key) => return Ok(key),
            None if upper.is_empty() => return Err(Code(ERROR_FILE_NOT_FOUND).of("RegOpenKeyEx", "HKLM")),
            None => upper = parent(upper),
        }
    }
}

impl Key {
    /// Asks for one notification: of any change to the key and below it, or else of a key that appears or vanishes directly below.
    /// False when the key was deleted since it was opened.
    fn notify(&self, event: &Event, any: bool) -> Result<bool, DriverError> {
        let filter = REG_NOTIFY_CHANGE_NAME | if any { REG_NOTIFY_CHANGE_LAST_SET } else { 0 };
        // SAFETY: key and event are open, and whoever asks keeps both as long as it waits.
        match unsafe { RegNotifyChangeKeyValue(self.handle, any.into(), filter, event.0, 1) } {
            ERROR_SUCCESS => Ok(true),
            ERROR_KEY_DELETED => Ok(false),
            code => Err(Code(code).of("RegNotifyChangeKeyValue", self.object())),
        }
    }
}

/// An event that stays signalled. Closed when it is dropped.
#[derive(Debug)]
struct Event(HANDLE);

// SAFETY: a handle of the process, not of a thread.
unsafe impl Send for Event {}
// SAFETY: as for `Send`; events are made for several threads.
unsafe impl Sync for Event {}

impl Event {
    fn new() -> Result<Self, DriverError> {
        // SAFETY: neither attributes nor a name are given; the event is to be reset by hand and is not signalled.
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        if event.is_null() { Err(Code::last().of("CreateEvent", "an event for a key of the registry")) } else { Ok(Self(event)) }
    }

    fn is_signalled(&self) -> Result<bool, DriverError> {
        // SAFETY: the event is open.
        match unsafe { WaitForSingleObject(self.0, 0) } {
            WAIT_OBJECT_0 => Ok(true),
            WAIT_FAILED => Err(Code::last().of("WaitForSingleObject", "the event of a key of the registry")),
            _ => Ok(false),
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by this type and is used no more.
        unsafe { CloseHandle(self.0) };
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a wait has a limit")]
    Instant::now()
}
