//! Waiting for a change on a lab host: the files are looked at every fifty milliseconds. Every write is a rename, so the
//! number of a file's inode tells a new one from the old even when size and time agree.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks.
pub(super) const BEAT: Duration = Duration::from_millis(50);

/// What of a file tells that it changed.
type Print = (u64, u64, i64, i64);

/// The files of a host and what tells that one changed.
pub(super) type Fingerprint = BTreeMap<PathBuf, Print>;

/// The fingerprint of everything that a report is made from.
pub(super) fn fingerprint(host: &Path) -> io::Result<Fingerprint> {
    let mut prints = Fingerprint::new();
    for file in ["host.json", "applicationHost.config", "httpsys.json", "httpsys.sock"] {
        add(&host.join(file), &mut prints)?;
    }
    files(&host.join("keys"), &mut prints)?;
    let stores = host.join("stores");
    for store in fs::read_dir(&stores).into_iter().flatten() {
        files(&store?.path(), &mut prints)?;
    }
    Ok(prints)
}

fn files(folder: &Path, prints: &mut Fingerprint) -> io::Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            add(&entry.path(), prints)?;
        }
    }
    Ok(())
}

fn add(path: &Path, prints: &mut Fingerprint) -> io::Result<()> {
    let print = |found: Metadata| (found.ino(), found.size(), found.mtime(), found.mtime_nsec());
    match fs::metadata(path) {
        Ok(found) => prints.insert(path.to_owned(), print(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(())
}
