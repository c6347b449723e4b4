//! The real binaries, built once: `cargo run --bin demo` builds no other package's.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// Where the binaries are.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
    target: PathBuf,
}

/// Whether this process has seen to the build.
static BUILT: OnceLock<()> = OnceLock::new();

impl Binaries {
    /// Builds every binary of the workspace, with the profile with which this program was built, into the folder in which it
    /// lies. What is fresh costs a look; what is not tells so on standard error.
    ///
    /// # Errors
    /// When the build fails.
    pub fn build() -> Result<Self> {
        let own = env::current_exe().context("where this program lies")?;
        // `target/debug/demo`, or `target/debug/deps/main_job-…` for a test, `target/debug/examples/…` for an example.
        let below = |folder: &&Path| folder.ends_with("deps") || folder.ends_with("examples");
        let folder = own.ancestors().skip(1).find(|folder| !below(folder)).context("the folder of this program")?;
        let target = folder.parent().context("the target folder")?;
        let found = Self { folder: folder.to_owned(), target: target.to_owned() };
        if BUILT.get().is_none() {
            found.cargo(&["--workspace", "--bins"])?;
            // Two threads that build at once are put in a row by cargo itself.
            let _ = BUILT.set(());
        }
        Ok(found)
    }

    /// The target folder of the workspace.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The path of a binary.
    ///
    /// # Errors
    /// When the build did not make it.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        if !path.is_file() {
            bail!("expected the binary {}, found none: the build did not make it", path.display());
        }
        Ok(path)
    }

    /// A command that runs a binary.
    ///
    /// # Errors
    /// When the build did not make it.
    pub fn command(&self, name: &str) -> Result<Command> {
        Ok(Command::new(self.path(name)?))
    }

    /// The disk that fails, to be preloaded.
    ///
    /// # Errors
    /// When the build does not make it.
    pub fn failing_disk(&self) -> Result<PathBuf> {
        self.cargo(&["-p", "disk"])?;
        self.path("libdisk.so")
    }

    fn cargo(&self, what: &[&str]) -> Result<()> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(workspace).args(["build", "--quiet"]).args(what).arg("--target-dir").arg(&self.target);
        if self.folder.ends_with("release") {
            build.arg("--release");
        }
        // What cargo and the test runner told this process about its own package would make the build another one.
        for (name, _) in env::vars_os() {
            let told = name.to_string_lossy().starts_with("CARGO_PKG_");
            if told
                || ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_CRATE_NAME", "CARGO_BIN_NAME"]
                    .iter()
                    .any(|own| name == *own)
            {
                build.env_remove(name);
            }
        }
        let status = build.stdin(Stdio::null()).status().context("cargo does not start")?;
        if !status.success() {
            bail!("the build failed: {status}");
        }
        Ok(())
    }
}
