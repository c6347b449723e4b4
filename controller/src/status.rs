//! Errors as a peer sees them: the whole chain in one line, but nothing of the database's own words.

use std::error::Error;

use tonic::{Code, Status};

use crate::event;
use crate::store::StoreError;

/// An error and all its causes, in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// Turns an error into a status of this code.
pub fn told<E: Error + 'static>(code: Code) -> impl FnOnce(E) -> Status {
    move |error| Status::new(code, chain(&error))
}

/// What a verb of the store that was not done means to whoever asked for it. The database's own errors are logged here and not told,
/// but for what its disk does.
#[expect(clippy::needless_pass_by_value, reason = "it is the function that map_err takes")]
pub fn failed(error: StoreError) -> Status {
    let code = match &error {
        StoreError::NoServer(_)
        | StoreError::NoPlan(_)
        | StoreError::NoStop(_)
        | StoreError::NoIncident(_)
        | StoreError::NoToken(_)
        | StoreError::NoGroup { .. }
        | StoreError::NotAwaited(_) => Code::NotFound,
        StoreError::OlderGeneration { .. }
        | StoreError::OtherDigest { .. }
        | StoreError::Life { .. }
        | StoreError::UnderWay { .. }
        | StoreError::NameTaken { .. }
        | StoreError::Document(_)
        | StoreError::Unbelieved(_)
        | StoreError::TooFewSigners { .. } => Code::FailedPrecondition,
        StoreError::Changed { .. } => Code::Aborted,
        StoreError::AmbiguousPlan { .. } => Code::InvalidArgument,
        StoreError::Taken(_) => Code::AlreadyExists,
        StoreError::OtherServer { .. } | StoreError::Token(_) | StoreError::NotActive { .. } | StoreError::UnknownKey => {
            Code::PermissionDenied
        }
        StoreError::TooMany { .. } | StoreError::TooManyStops | StoreError::Full { .. } => Code::ResourceExhausted,
        StoreError::Closed => Code::Unavailable,
        StoreError::Query { .. } | StoreError::NotCommitted(_) => {
            tracing::error!(event = event::STORE_FAILED.id, error = &error as &dyn Error, "the store failed");
            let why = error.disk().unwrap_or("the store does not answer");
            return Status::unavailable(format!("{why}: nothing was written"));
        }
        StoreError::Damaged { .. }
        | StoreError::LockFile { .. }
        | StoreError::InUse { .. }
        | StoreError::Foreign { .. }
        | StoreError::Newer { .. }
        | StoreError::OtherEstate { .. }
        | StoreError::Migrate { .. }
        | StoreError::Copy { .. }
        | StoreError::CutOff { .. }
        | StoreError::Trail(_)
        | StoreError::Open { .. } => {
            tracing::error!(event = event::STORE_FAILED.id, error = &error as &dyn Error, "the store failed");
            Code::Internal
        }
    };
    Status::new(code, chain(&error))
}
