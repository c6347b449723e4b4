//! From answers on the wire to what is printed: what cannot be names its field.

use policy::Timestamp;
use policy::id::Sha256;
use proto::invalid::{Invalid, exactly, exactly_or_none, moment};

/// A digest that must be there; none at all stands for the beginning of an audit trail.
pub(super) fn digest(field: &'static str, bytes: &[u8]) -> Result<Sha256, Invalid> {
    Ok(exactly_or_none(field, bytes)?.map_or(Sha256([0; 32]), Sha256))
}

/// An id that must be there.
pub(super) fn id(field: &'static str, bytes: &[u8]) -> Result<Sha256, Invalid> {
    exactly(field, bytes).map(Sha256)
}

/// A moment; 0 stands for never.
pub(super) fn moment_or_never(field: &'static str, micros: i64) -> Result<Option<Timestamp>, Invalid> {
    if micros == 0 { Ok(None) } else { moment(field, micros).map(Some) }
}
