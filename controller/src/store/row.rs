//! Reading rows: what does not read names its column, and is never taken for something else.

use std::str::FromStr;

use policy::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{Any, ColumnIndex, Decode, Row, Type};

use super::error::{Doing, StoreError};

/// A row, read by the names of its columns.
pub(super) struct Columns<'r>(pub(super) &'r AnyRow);

impl<'r> Columns<'r> {
    fn value<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: Decode<'r, Any> + Type<Any>,
        &'static str: ColumnIndex<AnyRow>,
    {
        self.0.try_get(column).doing("reading a column")
    }

    pub(super) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.value(column)
    }

    pub(super) fn text_if_any(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.value(column)
    }

    pub(super) fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        self.value(column)
    }

    pub(super) fn bytes_if_any(&self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        self.value(column)
    }

    pub(super) fn number(&self, column: &'static str) -> Result<u64, StoreError> {
        let found: i64 = self.value(column)?;
        u64::try_from(found).map_err(|_| damaged(column, "a number of 0 or more", &found.to_string()))
    }

    pub(super) fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.number(column)? != 0)
    }

    pub(super) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        moment(column, self.value(column)?)
    }

    pub(super) fn time_if_any(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        self.value::<Option<i64>>(column)?.map(|micros| moment(column, micros)).transpose()
    }

    pub(super) fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        parse(column, &self.text(column)?)
    }

    pub(super) fn parsed_if_any<T: FromStr>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.text_if_any(column)?.map(|text| parse(column, &text)).transpose()
    }

    /// A word that `read` knows.
    pub(super) fn word<T>(&self, column: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let found = self.text(column)?;
        read(&found).ok_or_else(|| damaged(column, "a word of this version", &found))
    }

    pub(super) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        from_json(column, &self.text(column)?)
    }

    pub(super) fn json_if_any<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.text_if_any(column)?.map(|text| from_json(column, &text)).transpose()
    }
}

/// As a column keeps it.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// As a column keeps it. What does not fit is kept as the largest: it only ever compares as newer.
pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As a column keeps it.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("what is stored is plain data with text keys")
}

pub(super) fn damaged(column: &'static str, expected: &'static str, found: &str) -> StoreError {
    StoreError::Damaged { column, expected, found: found.chars().take(80).collect() }
}

fn moment(column: &'static str, micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| damaged(column, "microseconds since 1970", &micros.to_string()))
}

pub(super) fn parse<T: FromStr>(column: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| damaged(column, "a name or digest", text))
}

pub(super) fn from_json<T: DeserializeOwned>(column: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| damaged(column, "a document of this version", text))
}
