//! A DLL of ours in the place of one of Wine's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{LIMIT, Prefix, built, ended};

/// What every double exports, and no DLL of Windows.
const MARK: &[u8] = b"TEST_DOUBLE";

/// What an Exchange host calls and Wine lacks.
const OF_AN_EXCHANGE_HOST: [&str; 5] = ["crypt32.dll", "httpapi.dll", "nativerd.dll", "wevtapi.dll", "wldap32.dll"];

impl Prefix {
    /// Puts every double in its place.
    ///
    /// # Errors
    /// Those of [`double`](Prefix::double), and when they were not built.
    pub fn doubles(&self) -> Result<()> {
        for name in OF_AN_EXCHANGE_HOST {
            self.double(&built(name)?)?;
        }
        Ok(())
    }

    /// Puts a double over the DLL of its name in `System32`, for every program of the machine, and makes sure that it is the double that
    /// they load.
    ///
    /// Wine goes on to load its own DLL although the file there is another's, and would show that file's path, unless an override
    /// says otherwise. So a test that only puts the file there would test Wine's stub.
    ///
    /// # Errors
    /// When the file is no double, or Wine still loads its own.
    pub fn double(&self, dll: &Path) -> Result<()> {
        let bytes = fs::read(dll).with_context(|| dll.display().to_string())?;
        if !bytes.windows(MARK.len()).any(|found| found == MARK) {
            bail!("{}: expected a double, which exports TEST_DOUBLE, found none", dll.display());
        }
        let file = dll.file_name().and_then(|name| name.to_str()).with_context(|| format!("{}: no name", dll.display()))?;
        let place = self.path(&format!(r"C:\windows\system32\{file}"))?;
        if place.symlink_metadata().is_ok() {
            // What lies there is a link to Wine's own, to which a double may pass calls on.
            let own = self.path(&format!(r"C:\windows\wine\{file}"))?;
            let folder = own.parent().context("a path below C: has a folder")?;
            fs::create_dir_all(folder).and_then(|()| fs::rename(&place, &own)).with_context(|| own.display().to_string())?;
        }
        fs::write(&place, bytes).with_context(|| place.display().to_string())?;
        let name = file.strip_suffix(".dll").with_context(|| format!("{file}: expected a name that ends with .dll"))?;
        self.expect("reg", &["add", r"HKCU\Software\Wine\DllOverrides", "/v", name, "/d", "native,builtin", "/f"])?;
        self.loads_double(file)
    }

    /// Has a program load the DLL, and Wine tell which it took.
    pub(super) fn loads_double(&self, file: &str) -> Result<()> {
        let mut load = self.command("rundll32");
        // An entry that is not there: it is loaded, and nothing in it is called.
        load.arg(format!("{file},None")).env("WINEDEBUG", "-all,+loaddll");
        let said = ended(&mut load, LIMIT)?.stderr.to_lowercase();
        let loaded = said.lines().find(|line| line.contains(&format!(r"\{file}")) && line.contains("loaded"));
        match loaded {
            Some(line) if line.ends_with(": native") => Ok(()),
            Some(line) => bail!("{file}: expected the double to be loaded, found Wine's own: {line}"),
            None => bail!("{file}: expected it to be loaded, found that it was not: {said}"),
        }
    }
}
