//! What went wrong beside the store, as a canonical code and one line for the person who asked.

use policy::id::ServerName;
use proto::signed::Unbelieved;
use tonic::Status;

use crate::status::chain;

/// A signed document that is not believed. Signatures that do not hold are a refusal, bytes that do not read are a mistake.
pub(super) fn believed(error: &Unbelieved) -> Status {
    let text = chain(error);
    match error {
        Unbelieved::NoSignature { .. } => Status::permission_denied(text),
        Unbelieved::TooLarge { .. } | Unbelieved::TooManySignatures { .. } | Unbelieved::Document(_) | Unbelieved::Policy(_) => {
            Status::invalid_argument(text)
        }
    }
}

/// No server of that name.
pub(super) fn no_server(name: &ServerName) -> Status {
    Status::not_found(format!("server {name}: expected one that is enrolled, found none of that name"))
}
