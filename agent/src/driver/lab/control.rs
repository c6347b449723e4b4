//! The way to a lab host's http.sys: a socket beside its files, one line of JSON each way.
//!
//! The process `backstay-lab` is at the other end. It owns the listening sockets and the loaded certificates, so that an
//! agent may be killed at any instruction and the host goes on serving what it served.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use policy::report::{RecordKind, SslRecord};
use serde::{Deserialize, Serialize};

use super::{file, refused};
use crate::driver::DriverError;

/// The longest line, in bytes.
pub const MAX_LINE: u64 = 1024 * 1024;

/// The longest path of a socket that systems take.
const MAX_PATH: usize = 107;

/// What http.sys is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// All records.
    Query,
    /// Write a record where none is: 183 when one is there, 1312 when its certificate or key cannot be used.
    Set {
        /// The record.
        record: SslRecord,
    },
    /// Replace a record at once; 120 where the system has no such call, as every one that runs Exchange 2013 and 2016.
    Update {
        /// The record.
        record: SslRecord,
    },
    /// Remove a record: 2 when there is none.
    Delete {
        /// How it is found.
        kind: RecordKind,
        /// Its endpoint.
        endpoint: String,
    },
    /// For the lab only: the record stands as if it had always stood there. Checks nothing, leaves no gap.
    Place {
        /// The record.
        record: SslRecord,
    },
    /// For the lab only: forget every loaded certificate, as a restart of the service or the machine does.
    Restart,
}

/// What http.sys answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The records, in order.
    Records(Vec<SslRecord>),
    /// Done, and on disk.
    Done,
    /// Not done, with a Windows error code.
    Refused(u32),
}

/// The control socket of a host.
pub fn socket(host: &Path) -> PathBuf {
    host.join("httpsys.sock")
}

/// A conversation with the http.sys of one host.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Control {
    /// Connects; every answer must come within `limit`.
    ///
    /// # Errors
    /// [`DriverError`] when nobody listens: `backstay-lab` is not running on this estate.
    pub fn connect(host: &Path, limit: Duration) -> Result<Self, DriverError> {
        let path = socket(host);
        let length = path.as_os_str().len();
        if length > MAX_PATH {
            return Err(file::unreadable(&path, format!("a path of at most {MAX_PATH} bytes"), format!("{length}")));
        }
        let connected = UnixStream::connect(&path).and_then(|stream| {
            stream.set_read_timeout(Some(limit))?;
            stream.set_write_timeout(Some(limit))?;
            Ok(stream)
        });
        let stream = connected.map_err(|source| file::failed(&path, source))?;
        Ok(Self { path, stream: BufReader::new(stream) })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`DriverError`] when no answer came: what was asked may or may not have been done.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, DriverError> {
        let mut line = serde_json::to_vec(request)
            .map_err(|error| file::unreadable(&self.path, "a request that JSON can hold".to_owned(), error.to_string()))?;
        line.push(b'\n');
        let failed = |source| file::failed(&self.path, source);
        self.stream.get_mut().write_all(&line).map_err(failed)?;
        line.clear();
        let read = self.stream.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&line)
            .map_err(|error| file::unreadable(&self.path, "an answer of http.sys".to_owned(), error.to_string()))
    }

    /// All records.
    ///
    /// # Errors
    /// [`DriverError`] as http.sys gives it.
    pub fn query(&mut self) -> Result<Vec<SslRecord>, DriverError> {
        match self.ask(&Request::Query)? {
            Answer::Records(records) => Ok(records),
            Answer::Refused(code) => Err(refused("httpsys.query", "all records", code)),
            Answer::Done => Err(file::unreadable(&self.path, "records".to_owned(), "none".to_owned())),
        }
    }

    /// Asks for a change of the record at `endpoint`.
    ///
    /// # Errors
    /// [`DriverError::Refused`] with the code, or that no answer came.
    pub fn change(&mut self, call: &'static str, endpoint: &str, request: &Request) -> Result<(), DriverError> {
        match self.ask(request)? {
            Answer::Done => Ok(()),
            Answer::Refused(code) => Err(refused(call, endpoint, code)),
            Answer::Records(_) => Err(file::unreadable(&self.path, "done or refused".to_owned(), "records".to_owned())),
        }
    }

    /// Writes a record where none is.
    ///
    /// # Errors
    /// 183 when one is there, 1312 when its certificate or key cannot be used.
    pub fn set(&mut self, record: &SslRecord) -> Result<(), DriverError> {
        self.change("httpsys.set", &record.endpoint, &Request::Set { record: record.clone() })
    }

    /// Removes the record that is found as `record` is.
    ///
    /// # Errors
    /// 2 when there is none.
    pub fn delete(&mut self, record: &SslRecord) -> Result<(), DriverError> {
        let request = Request::Delete { kind: record.kind, endpoint: record.endpoint.clone() };
        self.change("httpsys.delete", &record.endpoint, &request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_no_socket_can_have_is_an_error_that_says_so() {
        let path = Path::new("/").join("x".repeat(MAX_PATH));
        let error = Control::connect(&path, Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.contains("at most 107 bytes"), "{error}");
    }
}
