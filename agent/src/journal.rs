//! The journal of one run: what a crash leaves behind to continue from (TRUST J3).
//!
//! A file of records, each `length: u32, crc32: u32, JSON`, little-endian. The first is `Begun`. Behind it 64 KiB are
//! allocated, so that the notes of the run, its undoing and its end fit on a full disk. A length of zero is the end. A torn
//! last record is dropped, for what it tells had not happened yet; a damaged record with others behind it means that the
//! file cannot be believed, and nothing is done on this host until a person has looked.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use policy::id::PolicyId;
use policy::plan::Der;
use policy::report::Report;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::run::Note;

/// Room that is allocated behind `Begun`.
const RESERVE: u64 = 64 * 1024;

/// The largest record that is read; a `Begun` holds a report.
const MAX_RECORD: usize = 8 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"BSTJRNL1";

/// What a run begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// The plan, as its bytes.
    pub plan: Der,
    /// The signed approvals, as they arrived, in their file form.
    pub approvals: Vec<String>,
    /// The policy by whose standing approval it runs.
    pub standing: Option<PolicyId>,
    /// The host just before.
    pub baseline: Report,
    /// When.
    pub at: Timestamp,
}

/// A journal that cannot be written, read or believed.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Input or output failed.
    #[error("journal {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A record before the last is damaged, or the file is none of ours.
    #[error(
        "journal {path} at byte {offset}: expected {expected}, found {found}; nothing is done on this host until it was looked at and moved away"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    end: u64,
}

impl Journal {
    /// Begins a journal. Durable when it returns.
    ///
    /// # Errors
    /// [`JournalError::Io`], for example on a full disk; then nothing was begun.
    pub fn begin(path: &Path, begun: &Begun) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        // Written aside and renamed, so that a journal with half a `Begun` never exists under its name.
        let aside = path.with_extension("new");
        let body = serde_json::to_vec(begun).expect("a Begun is plain data with text keys");
        let mut bytes = MAGIC.to_vec();
        frame(&mut bytes, &body);
        let end = bytes.len() as u64;
        bytes.resize(bytes.len() + RESERVE as usize, 0);
        let mut file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&aside).map_err(io)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(|source| {
            let _ = fs::remove_file(&aside);
            io(source)
        })?;
        fs::rename(&aside, path).map_err(io)?;
        sync_folder(path).map_err(io)?;
        Ok(Self { file, path: path.to_owned(), end })
    }

    /// Opens the journal that a stopped run left; `None` when there is none.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when it cannot be believed.
    pub fn reopen(path: &Path) -> Result<Option<(Self, Begun, Vec<Note>)>, JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(MAX_RECORD as u64 + RESERVE).read_to_end(&mut bytes).map_err(io)?;
        let damaged = |offset: usize, expected, found: &str| JournalError::Damaged {
            path: path.to_owned(),
            offset: offset as u64,
            expected,
            found: found.to_owned(),
        };
        if !bytes.starts_with(MAGIC) {
            return Err(damaged(0, "a journal of this version", "something else"));
        }
        let mut at = MAGIC.len();
        let mut records = Vec::new();
        while let Some(record) = unframe(&bytes, at) {
            match record {
                Ok((body, next)) => {
                    records.push((at, body));
                    at = next;
                }
                // Nothing but the reserve's zeros behind it: torn.
                Err(next) if bytes.get(next..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0)) => break,
                Err(_) => return Err(damaged(at, "a whole record", "a damaged one with others behind it")),
            }
        }
        let mut records = records.into_iter();
        let (_, first) = records.next().ok_or_else(|| damaged(MAGIC.len(), "the record of the begin", "none"))?;
        let begun =
            serde_json::from_slice(first).map_err(|error| damaged(MAGIC.len(), "the record of the begin", &error.to_string()))?;
        let notes = records
            .map(|(offset, body)| serde_json::from_slice(body).map_err(|error| damaged(offset, "a note", &error.to_string())))
            .collect::<Result<_, _>>()?;
        Ok(Some((Self { file, path: path.to_owned(), end: at as u64 }, begun, notes)))
    }

    /// Adds a note. Durable when it returns.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn note(&mut self, note: &Note) -> Result<(), JournalError> {
        let body = serde_json::to_vec(note).expect("a note is plain data");
        let mut bytes = Vec::new();
        frame(&mut bytes, &body);
        let write = |file: &mut File| {
            file.seek(SeekFrom::Start(self.end))?;
            file.write_all(&bytes)?;
            file.sync_data()
        };
        write(&mut self.file).map_err(|source| JournalError::Io { path: self.path.clone(), source })?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Removes the journal: the run's receipt is durable elsewhere.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn close(self) -> Result<(), JournalError> {
        let Self { file, path, end: _ } = self;
        drop(file);
        fs::remove_file(&path).and_then(|()| sync_folder(&path)).map_err(|source| JournalError::Io { path, source })
    }
}

fn frame(bytes: &mut Vec<u8>, body: &[u8]) {
    let length = u32::try_from(body.len()).expect("a record is bounded by the report in it, far below 4 GiB");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32(body).to_le_bytes());
    bytes.extend_from_slice(body);
}

/// The record at `at` and where the next begins; `Err` with that place when it is damaged; `None` at the end.
fn unframe(bytes: &[u8], at: usize) -> Option<Result<(&[u8], usize), usize>> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
    let length = word(at)? as usize;
    let crc = word(at + 4);
    if length == 0 && crc.is_none_or(|crc| crc == 0) {
        return None;
    }
    let start = at + 8;
    let end = start.saturating_add(length);
    match bytes.get(start..end) {
        Some(body) if length <= MAX_RECORD && crc == Some(crc32(body)) => Some(Ok((body, end))),
        Some(_) if length <= MAX_RECORD => Some(Err(end)),
        // A length that reaches beyond the file: everything behind the frame decides.
        Some(_) | None => Some(Err(start)),
    }
}

/// CRC-32 as in IEEE 802.3: finds torn and rotten records; it is no protection against people.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Makes a rename or removal in the folder of `path` durable.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        #[cfg(unix)]
        Some(folder) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Writes a file whole or not at all: aside, flushed, renamed over, folder flushed.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let aside = path.with_extension("new");
    let written = File::create(&aside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written {
        let _ = fs::remove_file(&aside);
        return Err(error);
    }
    fs::rename(&aside, path)?;
    sync_folder(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::receipt::Outcome;
    use policy::report::{Fact, Host};

    fn begun() -> Begun {
        let host = Host {
            name: "EX1".parse().expect("a name"),
            fqdn: Fact::not_observed(),
            machine_id: Fact::not_observed(),
            ad_site: Fact::not_observed(),
            dag: Fact::not_observed(),
        };
        let baseline = Report {
            host,
            exchange: Fact::not_observed(),
            setup: Fact::not_observed(),
            stores: Fact::not_observed(),
            containers: Fact::not_observed(),
            records: Fact::not_observed(),
            sites: Fact::not_observed(),
            metabase: Fact::not_observed(),
            services: Fact::not_observed(),
            machine: policy::report::Machine::not_observed(),
            probes: Vec::new(),
            hold: None,
        };
        Begun { plan: Der(b"{}".to_vec()), approvals: Vec::new(), standing: None, baseline, at: Timestamp::UNIX_EPOCH }
    }

    fn written(notes: &[Note]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let mut journal = Journal::begin(&path, &begun()).expect("begins");
        notes.iter().for_each(|note| journal.note(note).expect("notes"));
        (folder, path)
    }

    fn read(path: &Path) -> Result<Vec<Note>, JournalError> {
        Journal::reopen(path).map(|found| found.map(|(_, _, notes)| notes).unwrap_or_default())
    }

    const NOTES: [Note; 3] = [Note::Intend(0), Note::Did(0, 12), Note::End(Outcome::Restored)];

    #[test]
    fn what_was_noted_is_read_back_and_more_can_be_noted() {
        let (_folder, path) = written(&NOTES[..2]);
        let (mut journal, found, notes) = Journal::reopen(&path).expect("reads").expect("is there");
        assert_eq!((found, notes.as_slice()), (begun(), &NOTES[..2]));
        journal.note(&NOTES[2]).expect("notes");
        assert_eq!(read(&path).expect("reads"), NOTES);
    }

    #[test]
    fn no_journal_is_no_error_and_a_closed_one_is_gone() {
        let (_folder, path) = written(&[]);
        let (journal, _, _) = Journal::reopen(&path).expect("reads").expect("is there");
        journal.close().expect("closes");
        assert!(Journal::reopen(&path).expect("reads").is_none());
    }

    #[test]
    fn a_record_torn_at_any_byte_is_dropped_and_those_before_it_are_kept() {
        let (_folder, path) = written(&NOTES[..1]);
        let before = fs::read(&path).expect("reads");
        let (mut journal, _, _) = Journal::reopen(&path).expect("reads").expect("is there");
        let from = usize::try_from(journal.end).expect("small");
        journal.note(&NOTES[1]).expect("notes");
        let to = usize::try_from(journal.end).expect("small");
        let after = fs::read(&path).expect("reads");
        for cut in from..to {
            // The disk holds the new bytes up to `cut` and the reserve's zeros behind.
            let torn = [&after[..cut], &before[cut..]].concat();
            fs::write(&path, torn).expect("writes");
            let notes = read(&path).expect("a torn tail is no damage");
            assert!(notes == NOTES[..1] || notes == NOTES[..2], "cut at {cut}: {notes:?}");
        }
    }

    #[test]
    fn a_damaged_middle_stops_everything() {
        let (_folder, path) = written(&NOTES);
        let (journal, _, _) = Journal::reopen(&path).expect("reads").expect("is there");
        let mut bytes = fs::read(&path).expect("reads");
        let middle = usize::try_from(journal.end).expect("small") / 2;
        bytes[middle] ^= 0xff;
        fs::write(&path, bytes).expect("writes");
        assert!(matches!(read(&path), Err(JournalError::Damaged { .. })));
    }

    #[test]
    fn a_file_that_is_no_journal_stops_everything() {
        let (_folder, path) = written(&[]);
        fs::write(&path, b"hello").expect("writes");
        assert!(matches!(read(&path), Err(JournalError::Damaged { offset: 0, .. })));
    }
}
