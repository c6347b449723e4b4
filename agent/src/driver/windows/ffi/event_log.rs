//! The Windows event log, read: events of a channel as XML, the newest first.
//!
//! The calls are those of wevtapi. A system that lacks the log gives an error from the first of them, and then no other is called:
//! where they are stubs, calling one ends the process.

use std::ffi::c_void;
use std::mem;

use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, ERROR_NO_MORE_ITEMS};
use windows_sys::Win32::System::EventLog::{EVT_HANDLE, EvtQueryChannelPath, EvtQueryReverseDirection, EvtRenderEventXml};

use super::library::Library;
use super::{Code, Wide, text};
use crate::driver::DriverError;

/// How many events are taken at a time.
const AT_A_TIME: usize = 32;

/// How long the log may take for them, in milliseconds. It searches a channel from end to end when nothing matches.
const LIMIT: u32 = 30_000;

/// The longest event that is read, in bytes of UTF-16. The log itself keeps none above 64 KiB.
const MOST_BYTES: usize = 1024 * 1024;

/// `ERROR_EVT_CHANNEL_NOT_FOUND`.
const NO_SUCH_CHANNEL: u32 = 15_007;

type Query = unsafe extern "system" fn(EVT_HANDLE, *const u16, *const u16, u32) -> EVT_HANDLE;
type Next = unsafe extern "system" fn(EVT_HANDLE, u32, *mut EVT_HANDLE, u32, u32, *mut u32) -> i32;
type Render = unsafe extern "system" fn(EVT_HANDLE, EVT_HANDLE, u32, u32, *mut c_void, *mut u32, *mut u32) -> i32;
type Close = unsafe extern "system" fn(EVT_HANDLE) -> i32;

/// The calls of wevtapi that are used here.
#[derive(Debug, Clone, Copy)]
pub struct EventLog {
    query: Query,
    next: Next,
    render: Render,
    close: Close,
}

impl EventLog {
    /// Loads them.
    ///
    /// # Errors
    /// [`DriverError::Refused`] when this system lacks one.
    pub fn load() -> Result<Self, DriverError> {
        Self::calls().map_err(|code| code.of("LoadLibraryEx", "wevtapi.dll"))
    }

    fn calls() -> Result<Self, Code> {
        let library = Library::system("wevtapi.dll")?;
        let entry = |name| library.entry(name).ok_or(Code(120));
        let (query, next) = (entry(c"EvtQuery")?, entry(c"EvtNext")?);
        let (render, close) = (entry(c"EvtRender")?, entry(c"EvtClose")?);
        // SAFETY: wevtapi's call of that name has this signature.
        let query = unsafe { mem::transmute::<unsafe extern "system" fn() -> isize, Query>(query) };
        // SAFETY: as before.
        let next = unsafe { mem::transmute::<unsafe extern "system" fn() -> isize, Next>(next) };
        // SAFETY: as before.
        let render = unsafe { mem::transmute::<unsafe extern "system" fn() -> isize, Render>(render) };
        // SAFETY: as before.
        let close = unsafe { mem::transmute::<unsafe extern "system" fn() -> isize, Close>(close) };
        Ok(Self { query, next, render, close })
    }

    /// The newest events of a channel that match, at most `most`, each as XML, the newest first. `None` where there is no such
    /// channel: it belongs to a product or a Windows that is not here.
    ///
    /// # Errors
    /// [`DriverError::Refused`] when the channel may not be read or the query is none.
    pub fn newest(&self, channel: &str, matching: &str, most: usize) -> Result<Option<Vec<String>>, DriverError> {
        let (path, query) = (Wide::new(channel), Wide::new(matching));
        let flags = EvtQueryChannelPath | EvtQueryReverseDirection;
        // A stub gives nothing and says nothing: the error of another call must not stand for it.
        Code::clear();
        // SAFETY: the session is this machine's own, and both texts are terminated.
        let results = unsafe { (self.query)(0, path.as_ptr(), query.as_ptr(), flags) };
        if results == 0 {
            return match Code::last() {
                Code(NO_SUCH_CHANNEL) => Ok(None),
                code => Err(code.of("EvtQuery", channel)),
            };
        }
        let results = Handle { handle: results, close: self.close };
        let mut events = Vec::new();
        while events.len() < most {
            let found = self.next(&results).map_err(|code| code.of("EvtNext", channel))?;
            if found.is_empty() {
                break;
            }
            for event in found {
                // One that cannot be rendered, because the log was cleared meanwhile, is no reason to lose the others.
                events.extend(self.render(&event).ok());
            }
        }
        events.truncate(most);
        Ok(Some(events))
    }

    /// The next events; empty at the end.
    fn next(&self, results: &Handle) -> Result<Vec<Handle>, Code> {
        let mut found: [EVT_HANDLE; AT_A_TIME] = [0; AT_A_TIME];
        let room = u32::try_from(AT_A_TIME).expect("32 fits");
        let mut count = 0;
        // SAFETY: the results are open, and there is room for so many handles.
        if unsafe { (self.next)(results.handle, room, found.as_mut_ptr(), LIMIT, 0, &raw mut count) } == 0 {
            return match Code::last() {
                Code(ERROR_NO_MORE_ITEMS) => Ok(Vec::new()),
                code => Err(code),
            };
        }
        let count = usize::try_from(count).expect("32 bits fit into 64").min(AT_A_TIME);
        Ok(found[..count].iter().map(|handle| Handle { handle: *handle, close: self.close }).collect())
    }

    fn render(&self, event: &Handle) -> Result<String, Code> {
        let mut buffer = vec![0_u16; 4 * 1024];
        loop {
            let room = buffer.len() * 2;
            let size = u32::try_from(room).expect("at most MOST_BYTES");
            let (mut used, mut properties) = (0, 0);
            // SAFETY: the event is open, XML needs no context, and the buffer has room for `size` bytes.
            let done = unsafe {
                (self.render)(
                    0,
                    event.handle,
                    EvtRenderEventXml,
                    size,
                    buffer.as_mut_ptr().cast(),
                    &raw mut used,
                    &raw mut properties,
                )
            };
            if done != 0 {
                return Ok(text(&buffer));
            }
            let needed = usize::try_from(used).expect("32 bits fit into 64");
            match Code::last() {
                Code(ERROR_INSUFFICIENT_BUFFER) if room < needed && needed <= MOST_BYTES => {
                    buffer.resize(needed.div_ceil(2), 0);
                }
                code => return Err(code),
            }
        }
    }
}

/// A result set or an event. Closed when it is dropped.
struct Handle {
    handle: EVT_HANDLE,
    close: Close,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: wevtapi gave the handle, and it is used no more.
        unsafe { (self.close)(self.handle) };
    }
}

#[cfg(test)]
pub(crate) mod double {
    //! The double of wevtapi, where the tests run over it.

    use super::Library;

    /// How many handles of it are open. `None` where this is no double but the system's own.
    pub(crate) fn open_handles() -> Option<isize> {
        let count = Library::system("wevtapi.dll").unwrap().entry(c"TEST_DOUBLE")?;
        // SAFETY: the double's call takes nothing and gives a number.
        Some(unsafe { count() })
    }
}
