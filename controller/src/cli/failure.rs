//! Why a command did not do what was asked, and the number with which the process ends.
//!
//! Everything that fails says three things: what was being done, the whole chain of causes, and what to do next. One
//! helper prints them, [`Failure::report`], so that no cause is ever left out or said twice.

use std::error::Error;
use std::fmt;

use tonic::{Code, Status};

/// The exit codes, which scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, and nothing is wrong.
    Ok = 0,
    /// It did not work.
    Error = 1,
    /// The command line, or what it names, cannot be.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// The controller does not know who asks, or cannot be believed itself.
    Auth = 4,
    /// Understood, and not allowed by a rule or role.
    Denied = 5,
    /// Done, and something was found.
    Findings = 6,
    /// No answer in time.
    Timeout = 7,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

pub(super) type Cause = Box<dyn Error + Send + Sync>;

/// A command that did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    source: Option<Cause>,
    next: Option<String>,
}

impl Failure {
    /// A failure without a cause behind it.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), source: None, next: None }
    }

    /// The cause behind it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Cause>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What to do next.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// What a controller's refusal means for `doing`.
    pub fn refused(doing: &str, status: &Status) -> Self {
        let said = status.message();
        let (exit, next) = match status.code() {
            Code::NotFound => (Exit::NotFound, None),
            Code::Unauthenticated => (Exit::Auth, Some("use the certificate of an operator of this estate: --identity FILE")),
            Code::PermissionDenied | Code::FailedPrecondition | Code::AlreadyExists => (Exit::Denied, None),
            Code::InvalidArgument | Code::OutOfRange => (Exit::Usage, None),
            Code::DeadlineExceeded | Code::Cancelled => (Exit::Timeout, Some("ask again: what was asked may have been done")),
            Code::Unavailable | Code::ResourceExhausted => (Exit::Error, Some("ask again in a moment")),
            Code::Unimplemented => (Exit::Error, Some("the controller is older than this program: use its own `backstay`")),
            Code::Ok | Code::Unknown | Code::Aborted | Code::Internal | Code::DataLoss => (Exit::Error, None),
        };
        let failure = Self { exit, message: doing.to_owned(), source: Some(Box::new(Said::new(said, status))), next: None };
        match next {
            Some(next) => failure.next(next),
            None => failure,
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What went wrong with its causes, in one line.
    pub fn to_line(&self) -> String {
        chain(self).join(": ")
    }

    /// What to do next, if that is known.
    pub fn step(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// Everything that there is to say, for standard error: the chain of causes, then the next step.
    pub fn report(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        let causes = self.source.as_deref().map(|cause| chain(cause)).unwrap_or_default();
        for cause in causes {
            text.push_str(&format!("  because: {}\n", cause.replace('\n', "\n           ")));
        }
        if let Some(next) = &self.next {
            text.push_str(&format!("next: {next}\n"));
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// Turns an error into a [`Failure`] that says what was being done.
pub trait Doing<T> {
    /// Names the deed; the exit code is 1.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Cause>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(Exit::Error, doing()).because(error))
    }
}

/// Each message of a chain of causes, once: a layer that only repeats the next one is left out.
pub fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let line = error.to_string();
        if !lines.last().is_some_and(|above| above.contains(&line)) {
            lines.push(line);
        }
        next = error.source();
    }
    lines
}

/// What a controller said, without the frame that tonic puts around it.
#[derive(Debug)]
struct Said {
    message: String,
    below: Vec<String>,
}

impl Said {
    fn new(message: &str, status: &Status) -> Self {
        let message = if message.is_empty() { format!("{:?}", status.code()) } else { message.to_owned() };
        let below = status.source().map(chain).unwrap_or_default();
        Self { message, below }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.below.iter().filter(|line| !self.message.contains(line.as_str())).try_for_each(|line| write!(f, "\n{line}"))
    }
}

impl Error for Said {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_that_the_manual_promises() {
        let promised = [
            (Exit::Ok, 0),
            (Exit::Error, 1),
            (Exit::Usage, 2),
            (Exit::NotFound, 3),
            (Exit::Auth, 4),
            (Exit::Denied, 5),
            (Exit::Findings, 6),
            (Exit::Timeout, 7),
            (Exit::Interrupted, 130),
        ];
        for (exit, code) in promised {
            assert_eq!(exit.code(), code);
        }
    }

    #[test]
    fn each_refusal_of_a_controller_has_its_exit_code() {
        for (status, exit) in [
            (Status::not_found("plan 12"), Exit::NotFound),
            (Status::unauthenticated("who"), Exit::Auth),
            (Status::permission_denied("a viewer"), Exit::Denied),
            (Status::failed_precondition("ended"), Exit::Denied),
            (Status::already_exists("twice"), Exit::Denied),
            (Status::invalid_argument("page_size"), Exit::Usage),
            (Status::deadline_exceeded(""), Exit::Timeout),
            (Status::unavailable("starting"), Exit::Error),
            (Status::internal("disk"), Exit::Error),
            (Status::unknown("?"), Exit::Error),
        ] {
            assert_eq!(Failure::refused("approving", &status).exit(), exit, "{status}");
        }
    }

    #[test]
    fn the_whole_chain_is_printed_once_and_the_next_step_last() {
        let inner = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let middle = Failure::new(Exit::Error, "reading key anna.key").because(inner);
        let outer = Failure::new(Exit::Error, "signing").because(middle).next("backstay trust init");
        let expected = "error: signing\n  because: reading key anna.key\n  because: no such file\nnext: backstay trust init\n";
        assert_eq!(outer.report(), expected);
    }
}
