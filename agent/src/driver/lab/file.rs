//! Files of a lab host: bounded when read, whole or not at all when written.
//!
//! Writing is temp, fsync, rename, fsync of the folder, so that a kill at any instruction leaves the old file or the new one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::driver::DriverError;

/// The largest file of a host that is read, in bytes.
pub const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The most files in one folder of a host: certificates of a store, key containers.
pub const MAX_FILES: usize = 10_000;

/// Tells temporary files of one process apart.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Reads a file within [`MAX_FILE`]; `None` when there is none.
///
/// # Errors
/// [`DriverError`] that names the file.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, DriverError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(path, source)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|source| failed(path, source))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(unreadable(path, format!("at most {MAX_FILE} bytes"), "more".to_owned()));
    }
    Ok(Some(bytes))
}

/// Reads a file of JSON; `None` when there is none.
///
/// # Errors
/// [`DriverError`] that names the file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DriverError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(path, "JSON of its kind".to_owned(), error.to_string()))
}

/// Writes a file of JSON so that it is there, whole, when this returns.
///
/// # Errors
/// [`DriverError`] that names the file.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), DriverError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| unreadable(path, "a value that JSON can hold".to_owned(), error.to_string()))?;
    bytes.push(b'\n');
    write(path, &bytes)
}

/// Writes a file so that it is there, whole, when this returns. Nobody else may read it: some hold keys.
///
/// # Errors
/// [`DriverError`] that names the file.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), DriverError> {
    let parent = parent(path)?;
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temp = parent.join(format!(".{}-{number}.tmp", std::process::id()));
    let written = (|| {
        fs::create_dir_all(parent)?;
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temp, path)?;
        File::open(parent)?.sync_all()
    })();
    written.map_err(|source| {
        // Not there when the rename was done; whatever else is left is hidden and harmless.
        let _ = fs::remove_file(&temp);
        failed(path, source)
    })
}

/// Removes a file so that it is gone when this returns; false when there was none.
///
/// # Errors
/// [`DriverError`] that names the file.
pub fn remove(path: &Path) -> Result<bool, DriverError> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(failed(path, source)),
    }
    File::open(parent(path)?).and_then(|folder| folder.sync_all()).map_err(|source| failed(path, source))?;
    Ok(true)
}

/// Names of what lies in a folder, in order, without hidden files; `None` when there is no such folder.
///
/// # Errors
/// [`DriverError`] that names the folder.
pub fn names(folder: &Path) -> Result<Option<Vec<String>>, DriverError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(folder, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|source| failed(folder, source))?.file_name();
        let Some(name) = name.to_str() else {
            return Err(unreadable(folder, "names in UTF-8".to_owned(), format!("{name:?}")));
        };
        if names.len() == MAX_FILES {
            return Err(unreadable(folder, format!("at most {MAX_FILES} files"), "more".to_owned()));
        }
        if !name.starts_with('.') {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(Some(names))
}

/// Input or output on `path` failed.
pub fn failed(path: &Path, source: io::Error) -> DriverError {
    DriverError::Io { object: path.display().to_string(), source }
}

/// `path` is not what it must be.
pub fn unreadable(path: &Path, expected: String, found: String) -> DriverError {
    DriverError::Unreadable { object: path.display().to_string(), expected, found }
}

fn parent(path: &Path) -> Result<&Path, DriverError> {
    path.parent().ok_or_else(|| unreadable(path, "a file in a folder".to_owned(), "none".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_removed_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").join("b.json");
        assert!(read_json::<Vec<u8>>(&path).unwrap().is_none());
        write_json(&path, &vec![1, 2]).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), Some(vec![1, 2]));
        assert_eq!(names(path.parent().unwrap()).unwrap(), Some(vec!["b.json".to_owned()]));
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }

    #[test]
    fn a_file_beyond_the_bound_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge");
        File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("huge"));
    }
}
