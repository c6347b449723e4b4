//! A disk that fails. Stands between a process and the calls by which it changes files, linked into it or preloaded
//! (`LD_PRELOAD`), and does to those below one path what `BACKSTAY_DISK` says, which is read at the first call:
//!
//! | `BACKSTAY_DISK` | |
//! | --- | --- |
//! | `kill N PATH` | the process is killed (SIGKILL) before its Nth call; calls are counted from 1 |
//! | `torn N PATH` | half of what its Nth call would write is written, then it is killed |
//! | `fail N CODE PATH` | its Nth call, and only that, fails with this `errno` and does nothing |
//! | `while FILE CODE PATH` | as long as there is this file, every call fails |
//!
//! A process without the variable does not notice. Writing, flushing, cutting, renaming, removing and making of files count; memory that is
//! mapped does not, and whoever is killed loses nothing that the system took: a power failure is more than this.
#![cfg(target_os = "linux")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_long, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that says what is to happen.
pub const VARIABLE: &str = "BACKSTAY_DISK";

/// What is to happen to the files below a path.
#[derive(Debug)]
struct Plan {
    deed: Deed,
    under: PathBuf,
}

#[derive(Debug)]
enum Deed {
    Kill(u64),
    Torn(u64),
    Fail(u64, c_int),
    While(PathBuf, c_int),
}

static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Calls that were counted so far. Whoever links this crate calls it, so that it is linked.
pub fn calls() -> u64 {
    CALLS.load(Ordering::SeqCst)
}

fn read_plan() -> Option<Plan> {
    let text = std::env::var(VARIABLE).ok()?;
    let words: Vec<&str> = text.split(' ').collect();
    let number = |text: &str| text.parse().ok();
    let code = |text: &str| text.parse().ok();
    let (deed, under) = match words[..] {
        ["kill", n, under] => (number(n).map(Deed::Kill), under),
        ["torn", n, under] => (number(n).map(Deed::Torn), under),
        ["fail", n, errno, under] => (number(n).zip(code(errno)).map(|(n, errno)| Deed::Fail(n, errno)), under),
        ["while", file, errno, under] => (code(errno).map(|errno| Deed::While(file.into(), errno)), under),
        _ => (None, ""),
    };
    // Nothing can be said here: saying is writing. A test that asks for what is not there must not pass.
    let deed = deed.unwrap_or_else(|| std::process::abort());
    Some(Plan { deed, under: under.into() })
}

/// What a call is to do.
enum Fate {
    Goes,
    Fails(c_int),
    /// Killed, after half of it.
    Dies,
}

fn fate_of(path: impl FnOnce() -> Option<PathBuf>) -> Fate {
    let Some(plan) = PLAN.get_or_init(read_plan) else { return Fate::Goes };
    if !path().is_some_and(|path| path.as_os_str().as_bytes().starts_with(plan.under.as_os_str().as_bytes())) {
        return Fate::Goes;
    }
    let call = CALLS.fetch_add(1, Ordering::SeqCst) + 1;
    match &plan.deed {
        Deed::Kill(at) if *at == call => die(),
        Deed::Torn(at) if *at == call => Fate::Dies,
        Deed::Fail(at, errno) if *at == call => Fate::Fails(*errno),
        Deed::While(file, errno) if file.exists() => Fate::Fails(*errno),
        Deed::Kill(_) | Deed::Torn(_) | Deed::Fail(..) | Deed::While(..) => Fate::Goes,
    }
}

fn die() -> ! {
    // SAFETY: a signal to oneself; it cannot be caught.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    // The other threads may run for a moment, this one goes no further.
    loop {
        std::hint::spin_loop();
    }
}

fn of_file(fd: c_int) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()
}

/// # Safety
/// As of C: a string that ends with 0.
unsafe fn of_name(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: what the caller promised.
    let name = unsafe { CStr::from_ptr(name) };
    std::path::absolute(Path::new(OsStr::from_bytes(name.to_bytes()))).ok()
}

fn failed(errno: c_int) -> c_int {
    // SAFETY: the address of this thread's own `errno`.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Lets a call without content go, or not.
fn whole(fate: Fate, call: impl FnOnce() -> c_long) -> c_int {
    match fate {
        Fate::Goes => c_int::try_from(call()).unwrap_or(-1),
        Fate::Fails(errno) => failed(errno),
        Fate::Dies => die(),
    }
}

/// Lets a call write all, half or nothing of `length` bytes.
fn part(fate: Fate, length: usize, call: impl FnOnce(usize) -> c_long) -> isize {
    match fate {
        Fate::Goes => isize::try_from(call(length)).unwrap_or(-1),
        Fate::Fails(errno) => isize::try_from(failed(errno)).unwrap_or(-1),
        Fate::Dies => {
            call(length / 2);
            die()
        }
    }
}

macro_rules! stands_for {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty $body:block)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// As of the C library's function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $kind),*) -> $answer $body
    )*};
}

stands_for! {
    /// Writes.
    fn write(fd: c_int, bytes: *const c_void, length: usize) -> isize {
        // SAFETY: the caller's own arguments, or half of its bytes.
        part(fate_of(|| of_file(fd)), length, |length| unsafe { libc::syscall(libc::SYS_write, fd, bytes, length) })
    }
    /// Writes at a place.
    fn pwrite(fd: c_int, bytes: *const c_void, length: usize, at: i64) -> isize {
        // SAFETY: the caller's own arguments, or half of its bytes.
        part(fate_of(|| of_file(fd)), length, |length| unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, length, at) })
    }
    /// Writes at a place.
    fn pwrite64(fd: c_int, bytes: *const c_void, length: usize, at: i64) -> isize {
        // SAFETY: the caller's own arguments.
        unsafe { pwrite(fd, bytes, length, at) }
    }
    /// Flushes.
    fn fsync(fd: c_int) -> c_int {
        // SAFETY: the caller's own argument.
        whole(fate_of(|| of_file(fd)), || unsafe { libc::syscall(libc::SYS_fsync, fd) })
    }
    /// Flushes what was written.
    fn fdatasync(fd: c_int) -> c_int {
        // SAFETY: the caller's own argument.
        whole(fate_of(|| of_file(fd)), || unsafe { libc::syscall(libc::SYS_fdatasync, fd) })
    }
    /// Cuts, or makes longer.
    fn ftruncate(fd: c_int, length: i64) -> c_int {
        // SAFETY: the caller's own arguments.
        whole(fate_of(|| of_file(fd)), || unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) })
    }
    /// Cuts, or makes longer.
    fn ftruncate64(fd: c_int, length: i64) -> c_int {
        // SAFETY: the caller's own arguments.
        unsafe { ftruncate(fd, length) }
    }
    /// Renames.
    fn rename(from: *const c_char, to: *const c_char) -> c_int {
        // SAFETY: the caller's own arguments.
        whole(fate_of(|| unsafe { of_name(to) }), || unsafe {
            libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0)
        })
    }
    /// Removes.
    fn unlink(name: *const c_char) -> c_int {
        // SAFETY: the caller's own argument.
        whole(fate_of(|| unsafe { of_name(name) }), || unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, name, 0) })
    }
    /// Opens. In C the last argument may be left out, which is then not read: whoever passes none asks for no file to be made.
    fn open64(name: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
        let makes = flags & (libc::O_CREAT | libc::O_WRONLY | libc::O_RDWR) != 0;
        // SAFETY: the caller's own arguments.
        let fate = if makes { fate_of(|| unsafe { of_name(name) }) } else { Fate::Goes };
        // SAFETY: as above; a mode that was not passed is any number, and is not looked at.
        whole(fate, || unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, name, flags | libc::O_LARGEFILE, mode) })
    }
    /// Opens.
    fn open(name: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
        // SAFETY: the caller's own arguments.
        unsafe { open64(name, flags, mode) }
    }
}
