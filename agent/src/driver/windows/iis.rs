//! The configuration of IIS: applicationHost.config, read and written as the file that it is.
//!
//! IIS writes the file whenever somebody changes a binding, and a reader may meet it half-written or held; so it is tried a few times
//! before anything is said of it. What is written is a whole new file that takes the place, the access list and the owner of the old one, and
//! it is encoded as the old one was: text that comes back unchanged gives the same bytes.
//!
//! Where IIS reads its configuration from elsewhere (F46) this file says nothing of what is served, so nothing of it is told and nothing is
//! written. Whether a site or an application pool runs is not in any file: `serverAutoStart` is what somebody wants and not what is; what is says
//! [`super::running`].

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use policy::report::{Fact, MetabaseBinding, Site};
use recorded::application_host::{self, ApplicationHost};
use recorded::text::{self, MAX_INPUT};
use recorded::xml;

use super::ffi::{failed, file, machine};
use super::{DriverError, fact};

/// Why it is not known from here whether a site runs.
pub const NOT_IN_THE_FILE: &str = "whether it runs is not in the configuration of IIS";

/// How often a file is tried that is held by somebody, or does not read.
const TRIES: u32 = 10;

/// How long it is left alone between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// `ERROR_SHARING_VIOLATION`, `ERROR_LOCK_VIOLATION`, and `ERROR_UNABLE_TO_REMOVE_REPLACED`, which is the first one inside `ReplaceFile`.
const HELD: [u32; 3] = [32, 33, 1175];

/// `ERROR_FILE_NOT_FOUND`, and `ERROR_PATH_NOT_FOUND` where there is no IIS at all.
const NOT_THERE: [u32; 2] = [2, 3];

/// The configuration of this machine's IIS.
#[derive(Debug, Clone)]
pub struct Iis {
    folder: PathBuf,
}

/// What is read of it at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The sites with their bindings.
    pub sites: Fact<Vec<Site>>,
    /// What metabase-style tools left behind.
    pub metabase: Fact<Vec<MetabaseBinding>>,
    /// Where IIS reads its configuration, when that is elsewhere.
    pub redirected: Fact<Option<String>>,
}

impl Iis {
    /// The one below System32, which a 64-bit program sees as it is.
    ///
    /// # Errors
    /// [`DriverError::Refused`].
    pub fn of_this_machine() -> Result<Self, DriverError> {
        Ok(Self::at(machine::system_folder()?.join("inetsrv").join("config")))
    }

    /// The one in this folder.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Sites, bindings, left-over hashes, and whether they are the ones that count.
    pub fn look(&self) -> Seen {
        let redirected = self.redirected();
        let read = self.local().and_then(|()| self.sites());
        match read {
            Ok((sites, metabase)) => {
                Seen { sites: Fact::Known(sites), metabase: Fact::Known(metabase), redirected: fact(redirected) }
            }
            Err(error) => {
                let why = crate::chain(&error);
                Seen { sites: Fact::Unknown(why.clone()), metabase: Fact::Unknown(why), redirected: fact(redirected) }
            }
        }
    }

    /// The text of applicationHost.config, without a byte order mark.
    ///
    /// # Errors
    /// [`DriverError`] when there is none, it is no text, or IIS reads its configuration from elsewhere.
    pub fn configuration(&self) -> Result<String, DriverError> {
        self.local()?;
        read(&self.path(), |text| Ok(text.to_owned()))
    }

    /// Puts another text in its place, whole or not at all.
    ///
    /// # Errors
    /// [`DriverError`] when it was not written: the old file is then still there.
    pub fn write_configuration(&self, text: &str) -> Result<(), DriverError> {
        self.local()?;
        let path = self.path();
        let bytes = Encoding::of(&bytes(&path)?).encode(text.strip_prefix('\u{feff}').unwrap_or(text));
        if bytes.len() > MAX_INPUT {
            return Err(unreadable(&path, format!("at most {MAX_INPUT} bytes"), bytes.len().to_string()));
        }
        // Beside the old one: only there it can take its place at once, and inherits no weaker access list meanwhile.
        let new = path.with_extension(format!("config.backstay-{}", std::process::id()));
        let written = write(&new, &bytes).and_then(|()| patiently(|| file::replace(&path, &new)));
        if written.is_err() {
            // Already gone when it took the place of the old one; whatever else is left is read by nobody.
            let _ = fs::remove_file(&new);
        } else {
            // The content is on the disk; this takes the new name there too. When somebody holds the file, Windows does it in a moment.
            let _ = File::options().write(true).open(&path).and_then(|file| file.sync_all());
        }
        written
    }

    fn path(&self) -> PathBuf {
        self.folder.join("applicationHost.config")
    }

    fn sites(&self) -> Result<(Vec<Site>, Vec<MetabaseBinding>), DriverError> {
        let path = self.path();
        read(&path, |text| {
            let wrong = |found: String| unreadable(&path, "the configuration of IIS", found);
            let root = xml::parse_wanted(text, |begins| begins.within().len() > 1 || begins.name() == "system.applicationHost")
                .map_err(|error| wrong(error.to_string()))?;
            let ApplicationHost { sites, metabase, unread } =
                application_host::read(&root).map_err(|error| wrong(error.to_string()))?;
            if let Some(error) = unread.first() {
                return Err(wrong(error.to_string()));
            }
            let unasked = |site| Site { running: Fact::Unknown(NOT_IN_THE_FILE.to_owned()), ..site };
            Ok((sites.into_iter().map(unasked).collect(), metabase))
        })
    }

    /// Where IIS reads its configuration; `None` when it is this folder.
    fn redirected(&self) -> Result<Option<String>, DriverError> {
        let path = self.folder.join("redirection.config");
        let read = read(&path, |text| {
            let wrong = |found: String| unreadable(&path, "a redirection of IIS", found);
            let root = xml::parse(text).map_err(|error| wrong(error.to_string()))?;
            application_host::redirection(&root).ok_or_else(|| wrong("another file".to_owned()))
        });
        match read {
            Ok(redirection) => Ok(redirection.to),
            Err(DriverError::Refused { code, .. }) if NOT_THERE.contains(&code) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An error unless this folder holds the configuration that counts.
    fn local(&self) -> Result<(), DriverError> {
        match self.redirected()? {
            None => Ok(()),
            Some(_) => {
                Err(unreadable(&self.path(), "the configuration that IIS reads", "one that is passed over for a shared one"))
            }
        }
    }
}

/// Reads a file and what is in it, and tries again when it is held or does not read: it may be half-written.
fn read<T>(path: &Path, take: impl Fn(&str) -> Result<T, DriverError>) -> Result<T, DriverError> {
    patiently(|| {
        let bytes = bytes(path)?;
        let text = text::decode(&bytes).map_err(|error| unreadable(path, "text", error.to_string()))?;
        take(&text)
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, DriverError> {
    let object = || path.display().to_string();
    // Others may write, rename and delete it meanwhile.
    let file = File::open(path).map_err(|error| failed(error, "CreateFile", object()))?;
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_INPUT).expect("32 MiB fit") + 1;
    file.take(most).read_to_end(&mut bytes).map_err(|error| failed(error, "ReadFile", object()))?;
    if bytes.len() > MAX_INPUT {
        return Err(unreadable(path, format!("at most {MAX_INPUT} bytes"), "more"));
    }
    Ok(bytes)
}

/// Writes a new file so that it is on the disk when this returns.
fn write(path: &Path, bytes: &[u8]) -> Result<(), DriverError> {
    let written = || -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    written().map_err(|error| failed(error, "WriteFile", path.display().to_string()))
}

/// Does what may meet a file that somebody else has just in hand.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, DriverError>) -> Result<T, DriverError> {
    for _ in 1..TRIES {
        match attempt() {
            Err(DriverError::Unreadable { .. }) => {}
            Err(DriverError::Refused { code, .. }) if HELD.contains(&code) => {}
            done => return done,
        }
        thread::sleep(PAUSE);
    }
    attempt()
}

fn unreadable(path: &Path, expected: impl Into<String>, found: impl Into<String>) -> DriverError {
    DriverError::Unreadable { object: path.display().to_string(), expected: expected.into(), found: found.into() }
}

/// How the bytes of a file stand for its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8 { marked: bool },
    Utf16 { marked: bool, little: bool },
}

impl Encoding {
    /// The one that [`text::decode`] finds.
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0xEF, 0xBB, 0xBF, ..] => Self::Utf8 { marked: true },
            [0xFF, 0xFE, ..] => Self::Utf16 { marked: true, little: true },
            [0xFE, 0xFF, ..] => Self::Utf16 { marked: true, little: false },
            [1..=0x7F, 0, 1..=0x7F, 0, ..] => Self::Utf16 { marked: false, little: true },
            [0, 1..=0x7F, 0, 1..=0x7F, ..] => Self::Utf16 { marked: false, little: false },
            _ => Self::Utf8 { marked: false },
        }
    }

    fn encode(self, text: &str) -> Vec<u8> {
        let (Self::Utf8 { marked } | Self::Utf16 { marked, .. }) = self;
        let mark = if marked { "\u{feff}" } else { "" };
        match self {
            Self::Utf8 { .. } => [mark, text].concat().into_bytes(),
            Self::Utf16 { little, .. } => {
                let unit = if little { u16::to_le_bytes } else { u16::to_be_bytes };
                mark.encode_utf16().chain(text.encode_utf16()).flat_map(unit).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests;
