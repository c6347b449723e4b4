//! Every plan that ever began on this host, and what became of it.
//!
//! An id begins once per host for ever (TRUST J2): it is entered before the first step and never leaves. A receipt is kept as
//! a file until the controller has it on disk, and after that to answer an offer that comes again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use policy::id::PlanId;
use policy::receipt::Receipt;
use thiserror::Error;

use crate::journal::{replace, sync_folder};

/// Receipts that are kept after they were acknowledged.
const KEPT: usize = 200;

/// A ledger that cannot be written or read.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// Input or output failed.
    #[error("{path}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line of the ledger or a receipt does not read.
    #[error("{path}: expected {expected}, found {found}; nothing is done on this host until it was looked at")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

/// The ledger of one host.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    begun: BTreeSet<PlanId>,
    last: Option<PlanId>,
    receipts: BTreeMap<PlanId, Kept>,
}

#[derive(Debug, Clone)]
struct Kept {
    receipt: Receipt,
    acknowledged: bool,
}

impl Ledger {
    /// Opens the ledger in this folder, or begins one.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        let receipts_folder = folder.join("receipts");
        fs::create_dir_all(&receipts_folder).map_err(|source| io(&receipts_folder, source))?;
        let path = folder.join("begun");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io(&path, error)),
        };
        let mut begun = BTreeSet::new();
        let mut last = None;
        let (whole, torn) = text.rsplit_once('\n').map_or(("", text.as_str()), |(whole, torn)| (whole, torn));
        for line in whole.lines() {
            let id = line.parse().map_err(|_| LedgerError::Damaged {
                path: path.clone(),
                expected: "one plan id per line",
                found: line.chars().take(80).collect(),
            })?;
            begun.insert(id);
            last = Some(id);
        }
        if !torn.is_empty() {
            // The entry was not durable, so the plan had not begun; the next entry must not be glued to it.
            replace(&path, &text.as_bytes()[..text.len() - torn.len()]).map_err(|source| io(&path, source))?;
        }
        let mut receipts = BTreeMap::new();
        for entry in fs::read_dir(&receipts_folder).map_err(|source| io(&receipts_folder, source))? {
            let path = entry.map_err(|source| io(&receipts_folder, source))?.path();
            let acknowledged = match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => false,
                Some("done") => true,
                // A receipt whose writing was cut off: the journal still holds the run.
                _ => continue,
            };
            let bytes = fs::read(&path).map_err(|source| io(&path, source))?;
            let receipt: Receipt = serde_json::from_slice(&bytes).map_err(|error| LedgerError::Damaged {
                path: path.clone(),
                expected: "a receipt",
                found: error.to_string(),
            })?;
            receipts.insert(receipt.plan, Kept { receipt, acknowledged });
        }
        let mut ledger = Self { folder: folder.to_owned(), begun, last, receipts };
        ledger.forget_old()?;
        Ok(ledger)
    }

    /// Every id that ever began here.
    pub fn begun(&self) -> &BTreeSet<PlanId> {
        &self.begun
    }

    /// Enters a plan. Durable when it returns.
    ///
    /// # Errors
    /// [`LedgerError::Io`]; then it has not begun.
    pub fn begin(&mut self, plan: PlanId) -> Result<(), LedgerError> {
        let path = self.folder.join("begun");
        let new = !path.exists();
        let append = || {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("{plan}\n").as_bytes())?;
            file.sync_data()?;
            if new { sync_folder(&path) } else { Ok(()) }
        };
        append().map_err(|source| io(&path, source))?;
        self.begun.insert(plan);
        self.last = Some(plan);
        Ok(())
    }

    /// The plan that began last, when it is not known how it ended.
    pub fn unsettled(&self) -> Option<PlanId> {
        self.last.filter(|plan| !self.receipts.contains_key(plan))
    }

    /// Keeps a receipt. Durable when it returns; the same again changes nothing.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn settle(&mut self, receipt: &Receipt) -> Result<(), LedgerError> {
        if self.receipts.contains_key(&receipt.plan) {
            return Ok(());
        }
        let path = self.path(&receipt.plan, "json");
        let bytes = serde_json::to_vec_pretty(receipt).expect("a receipt is plain data");
        replace(&path, &bytes).map_err(|source| io(&path, source))?;
        self.receipts.insert(receipt.plan, Kept { receipt: receipt.clone(), acknowledged: false });
        Ok(())
    }

    /// Receipts that the controller does not have yet.
    pub fn unacknowledged(&self) -> Vec<Receipt> {
        self.receipts.values().filter(|kept| !kept.acknowledged).map(|kept| kept.receipt.clone()).collect()
    }

    /// Every receipt that is kept, whether or not the controller has it.
    pub fn receipts(&self) -> Vec<Receipt> {
        self.receipts.values().map(|kept| kept.receipt.clone()).collect()
    }

    /// When the last of the plans ended whose receipts are here.
    pub fn last_end(&self) -> Option<Timestamp> {
        self.receipts.values().map(|kept| kept.receipt.ended_at).max()
    }

    /// What became of a plan.
    pub fn ended(&self, plan: &PlanId) -> Option<Receipt> {
        self.receipts.get(plan).map(|kept| kept.receipt.clone())
    }

    /// The controller has it on disk.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn acknowledge(&mut self, plan: &PlanId) -> Result<(), LedgerError> {
        let (from, to) = (self.path(plan, "json"), self.path(plan, "done"));
        let Some(kept) = self.receipts.get_mut(plan).filter(|kept| !kept.acknowledged) else { return Ok(()) };
        fs::rename(&from, &to).and_then(|()| sync_folder(&to)).map_err(|source| io(&from, source))?;
        kept.acknowledged = true;
        self.forget_old()
    }

    fn path(&self, plan: &PlanId, extension: &str) -> PathBuf {
        self.folder.join("receipts").join(format!("{plan}.{extension}"))
    }

    /// Drops the oldest acknowledged receipts beyond what is kept; the ids stay.
    fn forget_old(&mut self) -> Result<(), LedgerError> {
        let mut done: Vec<_> =
            self.receipts.iter().filter(|(_, kept)| kept.acknowledged).map(|(id, kept)| (kept.receipt.ended_at, *id)).collect();
        done.sort_unstable();
        let surplus = done.len().saturating_sub(KEPT);
        for (_, id) in done.into_iter().take(surplus) {
            let path = self.path(&id, "done");
            fs::remove_file(&path).map_err(|source| io(&path, source))?;
            self.receipts.remove(&id);
        }
        Ok(())
    }
}

fn io(path: &Path, source: std::io::Error) -> LedgerError {
    LedgerError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::id::Sha256;
    use policy::receipt::Outcome;

    fn receipt(plan: PlanId) -> Receipt {
        Receipt {
            plan,
            outcome: Outcome::Restored,
            notes: vec!["swap: done".to_owned()],
            foreign: Vec::new(),
            plan_body: None,
            standing: None,
            began_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::UNIX_EPOCH,
            gap_micros: 0,
            objections: Vec::new(),
        }
    }

    #[test]
    fn what_began_and_what_ended_survive_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (Sha256::of(b"first"), Sha256::of(b"second"));
        let mut ledger = Ledger::open(folder.path()).expect("opens");
        ledger.begin(first).expect("enters");
        ledger.begin(second).expect("enters");
        ledger.settle(&receipt(first)).expect("keeps");
        ledger.settle(&receipt(second)).expect("keeps");
        ledger.acknowledge(&first).expect("acknowledges");
        let again = Ledger::open(folder.path()).expect("opens");
        assert_eq!(again.begun(), &BTreeSet::from([first, second]));
        assert_eq!(again.unacknowledged(), vec![receipt(second)]);
        assert_eq!(again.ended(&first), Some(receipt(first)));
    }

    #[test]
    fn a_torn_entry_had_not_begun_and_the_next_is_not_glued_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (Sha256::of(b"first"), Sha256::of(b"second"));
        fs::write(folder.path().join("begun"), format!("{first}\n{}", &second.to_string()[..20])).expect("writes");
        let mut ledger = Ledger::open(folder.path()).expect("opens");
        assert_eq!(ledger.begun(), &BTreeSet::from([first]));
        ledger.begin(second).expect("enters");
        assert_eq!(Ledger::open(folder.path()).expect("opens").begun(), &BTreeSet::from([first, second]));
    }

    #[test]
    fn a_damaged_line_or_receipt_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("begun"), "rubbish\n").expect("writes");
        assert!(Ledger::open(folder.path()).expect_err("damaged").to_string().contains("begun"));
        fs::remove_file(folder.path().join("begun")).expect("removes");
        fs::write(folder.path().join("receipts").join("x.json"), "{").expect("writes");
        assert!(Ledger::open(folder.path()).expect_err("damaged").to_string().contains("x.json"));
    }
}
