//! A folder for the service alone. Everybody may make folders under ProgramData, and whoever makes one owns it: so it is made
//! with its access list, and one that was there before is looked at, and put right, at every start.

use std::fs;
use std::path::{Path, PathBuf};

use super::FolderError;
use super::access::{wanted, wider};
use crate::Code;
use crate::ffi::security;

/// The last name of a folder that is ours whatever is in it.
const OURS: &str = "Backstay";

/// Makes the folder for SYSTEM, Administrators and an account of the service's own, and nobody else; or takes everybody else's
/// access to the one that is there, which is logged with their names. The folders above are made as Windows makes them.
///
/// One that is there must be the service's own: called `Backstay`, or empty, or with one of `marks` in it, which are files of the
/// service. A slip in a configuration must not take a drive, or Windows itself, from everybody.
///
/// # Errors
/// [`FolderError`]: without this list the service must not put secrets there, nor obey what it finds.
pub fn private(path: &Path, marks: &[&str]) -> Result<(), FolderError> {
    let refused = |call| move |code| FolderError::Refused { path: path.to_owned(), call, code };
    let account = security::account().map_err(refused("GetTokenInformation"))?;
    let wanted = wanted(&account);
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).map_err(|error| refused("CreateDirectory")(code(&error)))?;
    }
    match security::create(path, &wanted) {
        // Who was there first, and what it is, is looked at now.
        Ok(()) | Err(Code(183)) => {}
        Err(code) => return Err(refused("CreateDirectory")(code)),
    }
    let found = fs::symlink_metadata(path).map_err(|error| refused("GetFileAttributes")(code(&error)))?;
    if !found.is_dir() {
        return Err(FolderError::NoFolder(path.to_owned()));
    }
    let read = || security::read(path).map(|sddl| wider(&sddl, &account)).map_err(refused("GetNamedSecurityInfo"));
    let before = read()?;
    if before.is_nothing() {
        return Ok(());
    }
    if !is_own(path, marks).map_err(|error| refused("FindFirstFile")(code(&error)))? {
        return Err(FolderError::NotOwn(path.to_owned()));
    }
    security::write(path, &wanted).map_err(refused("SetNamedSecurityInfo"))?;
    let others = before.others.join(", ");
    if others.is_empty() {
        tracing::info!(path = %path.display(), "the folder took over the access list of the one above, and has its own now");
    } else {
        tracing::warn!(path = %path.display(), others, "others had access to the folder: look at what is in it");
    }
    let after = read()?;
    if after.others.is_empty() {
        Ok(())
    } else {
        Err(FolderError::Open { path: path.to_owned(), found: after.others.join(", ") })
    }
}

/// As [`private`], for a folder and for those above it down from `root`, when it lies below that.
///
/// # Errors
/// [`FolderError`], for the first that cannot be had.
pub fn private_below(root: &Path, path: &Path, marks: &[&str]) -> Result<(), FolderError> {
    let mut folders: Vec<PathBuf> = vec![path.to_owned()];
    if path.starts_with(root) {
        folders.extend(path.ancestors().skip(1).take_while(|above| above.starts_with(root)).map(Path::to_owned));
    }
    folders.iter().rev().try_for_each(|folder| private(folder, marks))
}

fn is_own(path: &Path, marks: &[&str]) -> std::io::Result<bool> {
    let Some(name) = path.file_name() else { return Ok(false) };
    Ok(name.eq_ignore_ascii_case(OURS)
        || marks.iter().any(|mark| path.join(mark).exists())
        || fs::read_dir(path)?.next().is_none())
}

fn code(error: &std::io::Error) -> Code {
    Code(error.raw_os_error().map_or(0, i32::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_with_its_list_and_is_left_alone_afterwards() {
        let above = tempfile::tempdir().expect("a folder");
        let path = above.path().join("one").join("Backstay");
        private(&path, &["lock"]).expect("made");
        let account = security::account().expect("an account");
        // Wine keeps of a list what fits into the mode of a file; that nobody else is let in is part of it.
        assert!(wider(&security::read(&path).expect("reads"), &account).others.is_empty());
        private(&path, &["lock"]).expect("as it was");
        fs::write(path.join("key"), "secret").expect("its owner may write");
    }

    #[test]
    fn everything_from_the_root_down_to_the_folder_is_private() {
        let above = tempfile::tempdir().expect("a folder");
        let root = above.path().join("Backstay");
        private_below(&root, &root.join("agent"), &[]).expect("made");
        assert!(root.join("agent").is_dir());
        // Elsewhere only the folder itself.
        private_below(&root, &above.path().join("elsewhere").join("agent"), &[]).expect("made");
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_an_error() {
        let above = tempfile::tempdir().expect("a folder");
        let path = above.path().join("Backstay");
        fs::write(&path, "planted").expect("written");
        assert!(matches!(private(&path, &["lock"]), Err(FolderError::NoFolder(_))));
    }

    #[test]
    fn only_a_folder_of_ours_is_taken_from_others() {
        let above = tempfile::tempdir().expect("a folder");
        let folder = above.path().join("Windows");
        fs::create_dir(&folder).expect("made");
        assert!(is_own(&folder, &[]).expect("reads"), "it is empty");
        fs::write(folder.join("win.ini"), "").expect("written");
        assert!(!is_own(&folder, &["lock"]).expect("reads"));
        fs::write(folder.join("lock"), "").expect("written");
        assert!(is_own(&folder, &["lock"]).expect("reads"));
        assert!(!is_own(Path::new(r"C:\"), &["windows"]).expect("reads"), "a drive is nobody's own");
        assert!(is_own(Path::new(r"D:\backstay"), &[]).expect("by its name"));
    }

    #[test]
    fn the_descriptor_that_is_asked_for_is_one_that_windows_reads() {
        let above = tempfile::tempdir().expect("a folder");
        for sddl in
            ["O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;S-1-5-80-1-2-3-4-5)"]
        {
            let path = above.path().join(format!("{}", sddl.len()));
            security::create(&path, sddl).expect("made");
            security::write(&path, sddl).expect("set");
        }
        assert!(security::create(&above.path().join("none"), "nonsense").is_err());
        assert!(security::write(above.path(), "O:BA").is_err(), "without a list everybody would be let in");
    }
}
