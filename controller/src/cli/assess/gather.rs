//! Gathering exports: files that are named belong together; of a folder, each folder in it that holds files is a server's.
//!
//! What is said of the whole organisation (Get-ExchangeServer, Get-AuthConfig) may lie above the folders of the servers and
//! holds for all of them. One file is in memory at a time, and one folder's facts; whatever else is wrong with a file or
//! folder, the others are read.

#[cfg(feature = "server")]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use recorded::Exports;

use crate::cli::failure::{Doing, Exit, Failure};
use crate::cli::files;

/// The largest file that is read.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// The most bytes of all files of one folder.
const MAX_TOTAL: u64 = 512 * 1024 * 1024;

/// The most files of one folder.
pub(super) const MAX_FILES: usize = 1000;

/// The most folders in one.
const MAX_FOLDERS: usize = 20_000;

/// The deepest folder that is looked into, counted from the one that is named.
const MAX_DEPTH: usize = 8;

/// Exports that lie together.
pub(super) struct Gathered {
    /// Where, as people name it.
    pub(super) name: String,
    /// What was read.
    pub(super) exports: Exports,
    /// Files that could not be opened, or not whole, and why.
    pub(super) missed: Vec<String>,
    /// Folders below it hold exports too: these need not be a server's.
    pub(super) above_others: bool,
}

/// Gathers from all paths, and hands over what lies together as soon as it is read.
pub(super) fn gather(paths: &[PathBuf], mut visit: impl FnMut(Result<Gathered, Failure>)) {
    let (folders, named): (Vec<&PathBuf>, Vec<&PathBuf>) = paths.iter().partition(|path| path.is_dir());
    for folder in folders {
        below(folder, &Exports::default(), 0, &mut visit);
    }
    if !named.is_empty() {
        let labelled: Vec<(String, &Path)> = named.iter().map(|path| (path.display().to_string(), path.as_path())).collect();
        let name = labelled.iter().map(|(label, _)| label.as_str()).collect::<Vec<_>>().join(", ");
        visit(together(name, &labelled));
    }
}

/// One folder, and those in it. Returns whether any exports were found.
fn below(folder: &Path, above: &Exports, depth: usize, visit: &mut impl FnMut(Result<Gathered, Failure>)) -> bool {
    let (names, folders) = match listed(folder) {
        Ok(listed) => listed,
        Err(failure) => {
            visit(Err(failure));
            return true;
        }
    };
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let labelled: Vec<(String, &Path)> = names.into_iter().zip(paths.iter().map(PathBuf::as_path)).collect();
    let mut own = match together(folder.display().to_string(), &labelled) {
        Ok(own) => own,
        Err(failure) => {
            visit(Err(failure));
            return true;
        }
    };
    let has_files = !labelled.is_empty();
    let mut inherited = Exports::default();
    inherited.extend_from(&own.exports);
    inherited.extend_from(above);
    let mut found = false;
    if depth < MAX_DEPTH {
        for name in folders {
            found |= below(&folder.join(name), &inherited, depth + 1, visit);
        }
    }
    let nothing_of_its_own = own.missed.is_empty() && own.exports.only_of_organisation();
    if (depth == 0 && !found) || (has_files && !(found && nothing_of_its_own)) {
        own.above_others = found;
        own.exports.extend_from(above);
        visit(Ok(own));
        return true;
    }
    found
}

/// Gathers from files that somebody sent, by the folders in their names; the same as if they lay there.
#[cfg(feature = "server")]
pub(super) fn received(files: Vec<(String, impl AsRef<[u8]>)>, mut visit: impl FnMut(Gathered)) {
    let mut folders: BTreeMap<String, Exports> = BTreeMap::new();
    for (name, bytes) in files {
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        folders.entry(folder.to_owned()).or_default().add(&name, bytes.as_ref());
    }
    // What is said of the organisation holds for all folders below.
    let said: BTreeMap<String, Exports> = folders
        .iter()
        .map(|(folder, exports)| {
            let mut said = Exports::default();
            said.extend_from(exports);
            (folder.clone(), said)
        })
        .collect();
    let within = |inner: &str, outer: &str| inner != outer && (outer.is_empty() || inner.starts_with(&format!("{outer}/")));
    for (folder, mut exports) in folders {
        let above_others = said.keys().any(|other| within(other, &folder));
        if above_others && exports.only_of_organisation() {
            continue;
        }
        for (_, above) in said.iter().rev().filter(|(other, _)| within(&folder, other)) {
            exports.extend_from(above);
        }
        let name = if folder.is_empty() { "the files that were sent".to_owned() } else { folder };
        visit(Gathered { name, exports, missed: Vec::new(), above_others });
    }
}

/// Files that belong together.
fn together(name: String, files: &[(String, &Path)]) -> Result<Gathered, Failure> {
    let mut gathered = Gathered { name, exports: Exports::default(), missed: Vec::new(), above_others: false };
    let mut left = MAX_TOTAL;
    for (label, path) in files {
        match files::read(path, MAX_FILE.min(left)) {
            Ok(bytes) => {
                left = left.saturating_sub(bytes.len() as u64);
                gathered.exports.add(label, &bytes);
            }
            // A name that was mistyped is not one file among others.
            Err(failure) if failure.exit() == Exit::NotFound => return Err(failure),
            Err(failure) => gathered.missed.push(failure.report().lines().collect::<Vec<_>>().join(" ")),
        }
    }
    Ok(gathered)
}

/// The names of the files and of the folders in a folder, each in order. A link to a folder is not followed: it may lead back.
fn listed(folder: &Path) -> Result<(Vec<String>, Vec<String>), Failure> {
    let doing = || format!("reading folder {}", folder.display());
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).doing(doing)? {
        let entry = entry.doing(doing)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entry.file_type().doing(doing)?.is_dir() {
            folders.push(name);
        } else if entry.path().is_file() {
            files.push(name);
        }
        if files.len() > MAX_FILES || folders.len() > MAX_FOLDERS {
            let found = format!("expected at most {MAX_FILES} files of one server and {MAX_FOLDERS} folders, found more");
            return Err(Failure::new(Exit::Error, doing())
                .because(found)
                .next("put the exports of each server into a folder of its own"));
        }
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[PathBuf]) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        gather(paths, |gathered| match gathered {
            Ok(Gathered { name, above_others, .. }) => {
                found.push((name.rsplit('/').next().unwrap_or_default().to_owned(), above_others));
            }
            Err(failure) => found.push((failure.report(), false)),
        });
        found
    }

    #[test]
    fn each_folder_with_files_is_a_server_and_links_are_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("estate");
        for path in ["EX1", "EX2/deeper", "empty", "a/b/c/d/e/f/g/h/too-deep"] {
            std::fs::create_dir_all(root.join(path)).expect("a folder");
        }
        for path in ["EX1/x.xml", "EX2/deeper/x.xml", "a/b/c/d/e/f/g/h/x.xml", "a/b/c/d/e/f/g/h/too-deep/x.xml"] {
            std::fs::write(root.join(path), "x").expect("a file");
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(&root, root.join("EX1/loop")).expect("a link");
        let alone = |name: &str| (name.to_owned(), false);
        assert_eq!(names(std::slice::from_ref(&root)), [alone("EX1"), alone("deeper"), alone("h")]);
        std::fs::write(root.join("README.txt"), "x").expect("a file");
        assert_eq!(names(std::slice::from_ref(&root)).last(), Some(&("estate".to_owned(), true)));
        let empty = folder.path().join("estate/empty");
        assert_eq!(names(&[empty]), [alone("empty")], "named, and so it is told that nothing is there");
        let missing = names(&[folder.path().join("none.xml")]);
        assert!(missing[0].0.contains("none.xml"), "{missing:?}");
    }
}
