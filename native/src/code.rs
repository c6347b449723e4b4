//! Error codes of Windows: in numbers, since the words of the system are in its language.

use std::error::Error;
use std::fmt;

/// A Windows error code, as a call gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u32);

impl Code {
    /// This Windows does not know what was asked for.
    pub const INVALID_LEVEL: Self = Self(124);
    /// The account may not.
    pub const DENIED: Self = Self(5);
    /// No service of that name.
    pub const NO_SERVICE: Self = Self(1060);
    /// It runs already.
    pub const RUNS: Self = Self(1056);
    /// It does not run.
    pub const RUNS_NOT: Self = Self(1062);
    /// It was removed, and somebody still has it open.
    pub const MARKED: Self = Self(1072);
    /// This process was not started by the service control manager.
    pub const NO_MANAGER: Self = Self(1063);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {} ({})", self.0, meaning(self.0))
    }
}

impl Error for Code {}

fn meaning(code: u32) -> &'static str {
    match code {
        2 => "not found",
        3 => "no such path",
        5 => "access denied",
        32 => "in use by another program",
        13 => "invalid data",
        87 => "invalid parameter",
        124 => "this Windows has no such setting",
        183 => "exists already",
        1053 => "the service did not answer in time",
        1056 => "the service runs already",
        1058 => "the service is disabled",
        1060 => "no such service",
        1061 => "the service takes no orders at this moment",
        1062 => "the service does not run",
        1063 => "not started by the service control manager",
        1069 => "the account of the service may not log on",
        1072 => "the service was removed and is still open somewhere",
        1307 => "this account may not be made the owner",
        _ => "see the system's list of error codes",
    }
}
