//! Why a message was refused, and the small readers that refuse: each takes one field and names it when it is wrong.

use jiff::Timestamp;
use policy::id::InvalidId;
use thiserror::Error;
use tonic::Status;

/// The longest text of a message, in bytes.
pub const MAX_TEXT: usize = 4 * 1024;

/// A message that says what cannot be. The field is written as in the `.proto` file, `Message.field`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Invalid {
    /// A field without which the message means nothing.
    #[error("{field}: expected a value, found none")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A number that the enum of this field does not have.
    #[error("{field}: expected a known number, found {value}")]
    Unknown {
        /// The field.
        field: &'static str,
        /// What came.
        value: i32,
    },
    /// Bytes or text of the wrong length.
    #[error("{field}: expected {expected}, found {found} bytes")]
    Length {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: String,
        /// How many came.
        found: usize,
    },
    /// A list that is too long.
    #[error("{field}: expected at most {limit} entries, found {found}")]
    TooMany {
        /// The field.
        field: &'static str,
        /// The most it may have.
        limit: usize,
        /// How many came.
        found: usize,
    },
    /// Something that stands twice and must stand once.
    #[error("{field}: expected each entry once, found one twice")]
    Twice {
        /// The field.
        field: &'static str,
    },
    /// A name or digest that is none.
    #[error("{field} is not what it must be")]
    Id {
        /// The field.
        field: &'static str,
        /// What is wrong.
        #[source]
        source: InvalidId,
    },
    /// A value outside its range.
    #[error("{field}: expected {expected}, found {found}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What came.
        found: String,
    },
}

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        // The peer gets the whole chain in one line, and the field first.
        let message = match &invalid {
            Invalid::Id { field, source } => format!("{field}: {source}"),
            Invalid::Missing { .. }
            | Invalid::Unknown { .. }
            | Invalid::Length { .. }
            | Invalid::TooMany { .. }
            | Invalid::Twice { .. }
            | Invalid::Value { .. } => invalid.to_string(),
        };
        Self::invalid_argument(message)
    }
}

/// A message field that must be there.
///
/// # Errors
/// [`Invalid::Missing`].
pub fn present<T>(field: &'static str, value: Option<T>) -> Result<T, Invalid> {
    value.ok_or(Invalid::Missing { field })
}

/// A text of at most [`MAX_TEXT`] bytes.
///
/// # Errors
/// [`Invalid::Length`].
pub fn text(field: &'static str, value: String) -> Result<String, Invalid> {
    if value.len() <= MAX_TEXT {
        return Ok(value);
    }
    Err(Invalid::Length { field, expected: format!("at most {MAX_TEXT} bytes"), found: value.len() })
}

/// At most `limit` bytes.
///
/// # Errors
/// [`Invalid::Length`].
pub fn bytes(field: &'static str, limit: usize, value: Vec<u8>) -> Result<Vec<u8>, Invalid> {
    if value.len() <= limit {
        return Ok(value);
    }
    Err(Invalid::Length { field, expected: format!("at most {limit} bytes"), found: value.len() })
}

/// A digest or key: exactly `N` bytes.
///
/// # Errors
/// [`Invalid::Length`].
pub fn exactly<const N: usize>(field: &'static str, value: &[u8]) -> Result<[u8; N], Invalid> {
    value.try_into().map_err(|_| Invalid::Length { field, expected: format!("{N} bytes"), found: value.len() })
}

/// As [`exactly`], where no bytes stand for none.
///
/// # Errors
/// [`Invalid::Length`].
pub fn exactly_or_none<const N: usize>(field: &'static str, value: &[u8]) -> Result<Option<[u8; N]>, Invalid> {
    if value.is_empty() { Ok(None) } else { exactly(field, value).map(Some) }
}

/// A list of at most `limit` entries, each converted.
///
/// # Errors
/// [`Invalid::TooMany`], or the first error of `convert`.
pub fn list<W, T>(
    field: &'static str,
    limit: usize,
    entries: Vec<W>,
    convert: impl FnMut(W) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    if entries.len() > limit {
        return Err(Invalid::TooMany { field, limit, found: entries.len() });
    }
    entries.into_iter().map(convert).collect()
}

/// A name of the domain: server, person, estate.
///
/// # Errors
/// [`Invalid::Id`].
pub fn id<T: std::str::FromStr<Err = InvalidId>>(field: &'static str, value: &str) -> Result<T, Invalid> {
    value.parse().map_err(|source| Invalid::Id { field, source })
}

/// An enum's number; zero, which is what a peer sends that says nothing, is none.
///
/// # Errors
/// [`Invalid::Unknown`].
pub fn number<E: TryFrom<i32>>(field: &'static str, value: i32) -> Result<E, Invalid> {
    if value == 0 {
        return Err(Invalid::Unknown { field, value });
    }
    E::try_from(value).map_err(|_| Invalid::Unknown { field, value })
}

/// A moment from microseconds since 1970.
///
/// # Errors
/// [`Invalid::Value`] for a moment that no calendar has.
pub fn moment(field: &'static str, micros: i64) -> Result<Timestamp, Invalid> {
    Timestamp::from_microsecond(micros).map_err(|_| Invalid::Value {
        field,
        expected: "microseconds between the years -9999 and 9999",
        found: micros.to_string(),
    })
}

/// A moment as microseconds since 1970. What is finer is cut off: no clock of ours is.
pub fn micros(moment: Timestamp) -> i64 {
    moment.as_microsecond()
}

/// A text for people within the bound of [`text`], cut at the end where it is longer.
pub fn cut(mut value: String) -> String {
    const MARK: char = '…';
    if value.len() > MAX_TEXT {
        value.truncate(value.floor_char_boundary(MAX_TEXT - MARK.len_utf8()));
        value.push(MARK);
    }
    value
}
