//! Checks in the making: each is tried under its name, and what came of it is noted with the time that it took.

use std::time::Instant;

use policy::checkup::{Check, Outcome};

use crate::driver::DriverError;

/// What is to be tried.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Its stable name.
    pub name: &'a str,
    /// A renewal cannot do without.
    pub needed: bool,
    /// What a person does when it fails.
    pub next: &'a str,
}

impl<'a> Attempt<'a> {
    /// What a renewal cannot do without.
    pub const fn needed(name: &'a str, next: &'a str) -> Self {
        Self { name, needed: true, next }
    }

    /// What is good to know.
    pub const fn useful(name: &'a str, next: &'a str) -> Self {
        Self { name, needed: false, next }
    }
}

/// Why a check did not show what it was to show.
#[derive(Debug)]
pub enum Trouble {
    /// A call of the host failed.
    Driver(DriverError),
    /// It was done, and something else was seen.
    Wrong(String),
    /// It was not done, and why.
    NotTried(String),
    /// This host lacks what it takes.
    Lacks(String),
}

impl From<DriverError> for Trouble {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

impl From<Trouble> for (String, Option<u32>) {
    /// What is said of it, and the system's code.
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Driver(error) => {
                let code = match &error {
                    DriverError::Refused { code, .. } => Some(*code),
                    DriverError::Io { source, .. } => source.raw_os_error().map(i32::cast_unsigned),
                    DriverError::Unreadable { .. } | DriverError::Elsewhere { .. } | DriverError::NotMine(_) => None,
                };
                (crate::chain(&error), code)
            }
            Trouble::Wrong(text) | Trouble::NotTried(text) | Trouble::Lacks(text) => (text, None),
        }
    }
}

/// The checks of one checkup.
#[derive(Debug, Default)]
pub struct Checks(Vec<Check>);

impl Checks {
    /// Tries something. What it gives beside its words is handed on to the checks that build on it; `None` when it did not work.
    pub fn attempt<T>(&mut self, what: Attempt<'_>, try_it: impl FnOnce() -> Result<(T, String), Trouble>) -> Option<T> {
        let begun = now();
        let tried = try_it();
        let micros = u64::try_from(now().saturating_duration_since(begun).as_micros()).unwrap_or(u64::MAX);
        let (value, result) = match tried {
            Ok((value, found)) => (Some(value), Ok(found)),
            Err(trouble) => (None, Err(trouble)),
        };
        // What was not done took no time, whatever it took to see that.
        let micros = (!matches!(result, Err(Trouble::NotTried(_)))).then_some(micros);
        self.push(what, micros, result);
        value
    }

    /// Notes what another check has read already.
    pub fn note(&mut self, what: Attempt<'_>, result: Result<String, Trouble>) {
        self.push(what, None, result);
    }

    /// All of them, in order.
    pub fn into_all(self) -> Vec<Check> {
        self.0
    }

    fn push(&mut self, what: Attempt<'_>, micros: Option<u64>, result: Result<String, Trouble>) {
        let Attempt { name, needed, next } = what;
        let outcome = match result {
            Ok(found) => Outcome::Proven { found },
            Err(Trouble::NotTried(why)) => Outcome::NotTried { why },
            Err(Trouble::Lacks(lacks)) => Outcome::Unproven { lacks },
            Err(trouble @ (Trouble::Driver(_) | Trouble::Wrong(_))) => {
                let (why, code) = trouble.into();
                Outcome::Failed { why, code, next: next.to_owned() }
            }
        };
        self.0.push(Check { name: name.to_owned(), needed, micros, outcome });
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "what a call took on this host is read on this host's clock")]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_is_noted_with_what_came_of_it() {
        let mut checks = Checks::default();
        let what = Attempt::needed("records", "run it elevated");
        assert_eq!(checks.attempt(what, || Ok((3, "3 records".to_owned()))), Some(3));
        let denied = || DriverError::Refused { call: "query", object: "records".to_owned(), code: 5, meaning: "access denied" };
        assert_eq!(checks.attempt::<()>(what, || Err(denied().into())), None);
        checks.note(what, Err(Trouble::Lacks("IIS".to_owned())));
        assert_eq!(checks.attempt::<()>(what, || Err(Trouble::NotTried("no name".to_owned()))), None);
        let all = checks.into_all();
        let words: Vec<_> = all.iter().map(|check| (check.outcome.as_str(), check.micros.is_some())).collect();
        assert_eq!(words, [("proven", true), ("failed", true), ("unproven", false), ("not_tried", false)]);
        let expected = Outcome::Failed {
            why: "query on records: expected success, found error 5 (access denied)".to_owned(),
            code: Some(5),
            next: "run it elevated".to_owned(),
        };
        assert_eq!(all[1].outcome, expected);
    }
}
