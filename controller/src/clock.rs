//! The one place where this program reads the wall clock. Everything that decides takes `now` from its caller.

use std::fmt;
use std::sync::Arc;

use policy::Timestamp;

/// A source of the present moment, which tests replace.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the outermost shell reads the clock here and nowhere else")]
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that says what `read` says.
    pub fn of(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The present moment, in whole microseconds: what is stored reads back equal.
    pub fn now(&self) -> Timestamp {
        let now = (self.0)();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
