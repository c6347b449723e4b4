//! Windows machines to test on: each a Wine prefix of its own, that is gone when its test is, however that ends.
//!
//! `tests/wine` makes and keeps them; here is what a test does with one: put files and doubles in place, run programs, start
//! and stop services, cut the power. Two things about Wine decide how: its calls may say yes and do nothing, so whatever was done
//! is read back; and a pipe that its services inherit never ends, so what a program says goes into files.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::wait::{self, Look};

mod double;
pub mod exchange;
pub mod installer;
mod service;

pub use service::State;

const WINE: &str = "/usr/lib/wine/wine64";

/// For programs of Windows' own.
const LIMIT: Duration = Duration::from_secs(60);

/// One Windows machine. Its disk `C:` is an ordinary folder, its registry and services are its own. Its network is this machine's,
/// and so are its ports, unless it is [`isolated`](Prefix::isolated).
#[derive(Debug)]
pub struct Prefix {
    folder: PathBuf,
    keeper: Keeper,
    isolated: bool,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The last eight bits of its exit code: Wine passes on no more, and 3010 arrives as 194.
    pub code: i32,
    /// What it said.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Prefix {
    /// A machine that was just set up, booted.
    ///
    /// # Errors
    /// When Wine is not there or does not boot; says which packages are missing.
    pub fn new() -> Result<Self> {
        Self::start(false)
    }

    /// The same with a network of its own, which has nothing but a loopback, and with every port of its own: the way to have two
    /// machines that listen on 444. Only [`beside`](Prefix::beside) reaches it from outside.
    ///
    /// # Errors
    /// Those of [`new`](Prefix::new), and where the system forbids namespaces, as many containers do.
    pub fn isolated() -> Result<Self> {
        Self::start(true)
    }

    fn start(isolated: bool) -> Result<Self> {
        let mut keeper = Keeper::start(isolated)?;
        let folder = PathBuf::from(keeper.answer().context("no Windows machine")?);
        Ok(Self { folder, keeper, isolated })
    }

    /// Where a file of the machine is on this one: `C:\x\y`. Windows takes `c:\X`, too; this does not.
    ///
    /// # Errors
    /// When the path is not below `C:\`.
    pub fn path(&self, windows: &str) -> Result<PathBuf> {
        let below = windows.strip_prefix(r"C:\").with_context(|| format!(r"expected a path below C:\, found {windows}"))?;
        Ok(below.split('\\').fold(self.folder.join("drive_c"), |folder, name| folder.join(name)))
    }

    /// Writes a file of the machine, and the folders above it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, windows: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(windows)?;
        let folder = path.parent().context("a path below C: has a folder")?;
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes)).with_context(|| path.display().to_string())
    }

    /// A command that runs a Windows program, by its path on either machine or by the name of one of Windows' own. For a program that
    /// is to run on while a test goes on: [`process::Process`] starts it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.beside(WINE);
        command.arg(program.as_ref()).env("WINEPREFIX", &self.folder).env("WINEDEBUG", "-all");
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").env_remove("WINEDLLOVERRIDES");
        command
    }

    /// A command that runs a program of this machine on the network of that one.
    pub fn beside(&self, program: impl AsRef<OsStr>) -> Command {
        if !self.isolated {
            return Command::new(program);
        }
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.keeper.process.id().to_string());
        command.args(["--user", "--net", "--preserve-credentials", "--"]).arg(program);
        command
    }

    /// Runs a program of Windows' own to its end.
    ///
    /// # Errors
    /// When it does not start, or does not end within a minute.
    pub fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<Ended> {
        let mut command = self.command(program);
        command.args(arguments);
        ended(&mut command, LIMIT)
    }

    /// Writes into the registry what is exported as `.reg` text. A first line that says so is put before it.
    ///
    /// # Errors
    /// When it is refused. What `reg` passes over in silence is not noticed: read back what matters.
    pub fn import(&self, reg: &str) -> Result<()> {
        self.write(r"C:\import.reg", format!("Windows Registry Editor Version 5.00\n\n{reg}\n").replace('\n', "\r\n"))?;
        self.expect("reg", &["import", r"C:\import.reg"]).map(drop)
    }

    /// Cuts the power: every program dies as it stands. The registry is kept as it was at that moment, files as they were written.
    ///
    /// # Errors
    /// When the machine does not die.
    pub fn cut_power(&mut self) -> Result<()> {
        self.keeper.order("cut")
    }

    /// Boots after the power was cut; services that start by themselves are started then.
    ///
    /// # Errors
    /// When it does not boot.
    pub fn boot(&mut self) -> Result<()> {
        self.keeper.order("boot")
    }

    /// The same as [`run`](Prefix::run) for what must succeed.
    fn expect(&self, program: &str, arguments: &[&str]) -> Result<Ended> {
        let ended = self.run(program, arguments)?;
        if ended.code != 0 {
            bail!(
                "{program} {}: expected exit code 0, found {}: {}{}",
                arguments.join(" "),
                ended.code,
                ended.stdout,
                ended.stderr
            );
        }
        Ok(ended)
    }
}

/// Runs a command of [`Prefix::command`] to its end, with nothing on its standard input, for `limit` at most.
///
/// # Errors
/// When it does not start, or does not end in time; it is killed then.
pub fn ended(command: &mut Command, limit: Duration) -> Result<Ended> {
    let said = tempfile::tempdir().context("a folder")?;
    let (stdout, stderr) = (said.path().join("stdout"), said.path().join("stderr"));
    command.stdin(Stdio::null()).stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
    let mut child = command.spawn().with_context(|| format!("does not start: {command:?}"))?;
    let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let status = wait::until(&format!("the end of {command:?}"), limit, || match child.try_wait() {
        Ok(Some(status)) => Look::Found(status),
        Ok(None) => Look::NotYet("it runs".to_owned()),
        Err(error) => Look::NotYet(error.to_string()),
    });
    if status.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = (read(&stdout)?, read(&stderr)?);
    let status = status.with_context(|| process::tail(&format!("{stdout}{stderr}")))?;
    let code = status.code().with_context(|| format!("{command:?} ended with {status}"))?;
    Ok(Ended { code, stdout, stderr })
}

/// Where `deploy/windows/build` has put what it built: `backstay-agent.exe`, or a double.
///
/// # Errors
/// When it has not built that, or cannot build here.
pub fn built(name: &str) -> Result<PathBuf> {
    let mut build = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/windows/build"));
    let output = process::run(build.arg("where"), LIMIT)?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let path = Path::new(String::from_utf8_lossy(&output.stdout).trim()).join(name);
    if !path.is_file() {
        bail!("expected {}, found none: deploy/windows/build makes it", path.display());
    }
    Ok(path)
}

/// `tests/wine machine`: it takes its machine away when the pipe to it closes, and so when this process ends in whatever way.
#[derive(Debug)]
struct Keeper {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    fn start(isolated: bool) -> Result<Self> {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/wine"));
        command.arg("machine").args(isolated.then_some("--isolated"));
        // Away from the group, which a terminal or a test runner may end as a whole.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("does not start: {command:?}"))?;
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("the keeper of a machine has no output")?);
        Ok(Self { process, orders, answers })
    }

    fn order(&mut self, order: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("the keeper of a machine takes no orders")?;
        writeln!(orders, "{order}").context("the keeper of a machine is gone")?;
        match self.answer().with_context(|| format!("the machine did not {order}"))?.as_str() {
            "done" => Ok(()),
            other => bail!("{order}: expected the keeper's answer done, found {other}"),
        }
    }

    /// Its next line. Each of its steps has a limit of its own, so that it answers or ends.
    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("the keeper of a machine does not answer")?;
        if !line.ends_with('\n') {
            let mut said = String::new();
            if let Some(stderr) = &mut self.process.stderr {
                let _ = stderr.read_to_string(&mut said);
            }
            bail!("{}", said.trim());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.orders.take());
        // The machine is gone when its keeper is.
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests;
