//! Real processes: started with a log of their own, killed or asked to stop, and gone when we are gone.
//!
//! Whatever ends this process, and be it `kill -9`, ends those that it started: a [`Guard`] is a small shell that holds the
//! reading end of a pipe and kills what is on its list when the pipe closes. This needs no unsafe code, and no favour of the
//! processes themselves.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait::{self, Look};

/// How long a process may take to stop when it is asked.
const STOP: Duration = Duration::from_secs(20);

/// How long a process may take to vanish when it is killed.
const VANISH: Duration = Duration::from_secs(10);

/// Its list is the processes between a line `+ PID` and a line `- PID`; each leads a group of its own.
const GUARD: &str = r#"
trap '' INT TERM HUP
list=
while read -r sign pid; do
    kept=
    for known in $list; do
        [ "$known" = "$pid" ] || kept="$kept $known"
    done
    list=$kept
    [ "$sign" = - ] || list="$list $pid"
done
for pid in $list; do kill -s KILL -- "-$pid"; done
"#;

/// Ends the processes on its list when this process ends, however it ends.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Mutex<Shell>>);

#[derive(Debug)]
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It reads the end of the pipe and goes; not to wait would leave its entry in the system's table.
        let _ = self.0.wait();
    }
}

impl Guard {
    /// A guard with an empty list.
    ///
    /// # Errors
    /// When no shell can be started.
    pub fn new() -> Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(GUARD).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let shell = Shell(shell.spawn().context("the guard, a shell, does not start")?);
        Ok(Self(Arc::new(Mutex::new(shell))))
    }

    fn note(&self, sign: char, pid: u32) -> Result<()> {
        let mut shell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pipe = shell.0.stdin.as_mut().context("the guard has no pipe")?;
        writeln!(pipe, "{sign} {pid}").context("the guard is gone")
    }
}

/// One process that was started here.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Until it has ended.
    guard: Option<Guard>,
}

impl Process {
    /// Starts `command` with its output appended to `<folder>/<name>.log`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(name: &str, mut command: Command, folder: &Path, guard: &Guard) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let log = folder.join(format!("{name}.log"));
        let file = File::options().append(true).create(true).open(&log).with_context(|| log.display().to_string())?;
        let copy = file.try_clone().with_context(|| log.display().to_string())?;
        command.process_group(0).stdin(Stdio::null()).stdout(file).stderr(copy);
        let child = command.spawn().with_context(|| format!("{name} does not start: {command:?}"))?;
        guard.note('+', child.id())?;
        Ok(Self { name: name.to_owned(), child, log, guard: Some(guard.clone()) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far, over all its lives.
    pub fn log(&self) -> String {
        fs::read(&self.log).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// When the system does not know.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("{} cannot be asked how it is", self.name))
    }

    /// Kills it as a power failure would: SIGKILL, no last word.
    ///
    /// # Errors
    /// When it does not vanish.
    pub fn kill(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            self.child.kill().with_context(|| format!("{} cannot be killed", self.name))?;
        }
        let name = self.name.clone();
        wait::until(&format!("the end of {name}"), VANISH, || self.look_for_end())?;
        self.forget()
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it takes too long, or ends in another way than with exit code 0.
    pub fn stop(&mut self) -> Result<()> {
        let name = self.name.clone();
        if self.ended()?.is_none() {
            signal("TERM", self.child.id())?;
        }
        let status = wait::until(&format!("{name} to stop"), STOP, || self.look_for_end())?;
        self.forget()?;
        if !status.success() {
            bail!("{name} ended with {status}; its log is {}", self.log.display());
        }
        Ok(())
    }

    /// Fails, with the end of its log, when it has ended.
    ///
    /// # Errors
    /// When it has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, tail(&self.log())),
        }
    }

    /// Its number may be another's from now on.
    fn forget(&mut self) -> Result<()> {
        self.guard.take().map_or(Ok(()), |guard| guard.note('-', self.child.id()))
    }

    fn look_for_end(&mut self) -> Look<ExitStatus> {
        match self.ended() {
            Ok(Some(status)) => Look::Found(status),
            Ok(None) => Look::NotYet("it runs".to_owned()),
            Err(error) => Look::NotYet(format!("{error:#}")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whatever fails here, the guard tries again.
        let _ = self.kill();
    }
}

/// Sends a signal to one process that was started here.
///
/// # Errors
/// When there is no such process.
pub fn signal(signal: &str, pid: u32) -> Result<()> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg("kill -s \"$1\" \"$2\"").arg("sh").arg(signal).arg(pid.to_string());
    let output = run(&mut shell, VANISH)?;
    if !output.status.success() {
        bail!("process {pid} takes no signal {signal}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Runs a command to its end, with nothing on its standard input, for `limit` at most.
///
/// # Errors
/// When it does not start, or does not end in time; it is killed then.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    run_with(command, b"", limit)
}

/// The same, with `input` on its standard input.
///
/// # Errors
/// When it does not start, or does not end in time; it is killed then.
pub fn run_with(command: &mut Command, input: &[u8], limit: Duration) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("does not start: {command:?}"))?;
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    if let Some(mut pipe) = child.stdin.take() {
        // Who does not want to read what it is told says so by its exit code.
        let _ = pipe.write_all(input);
    }
    let ended = wait::until(&format!("the end of {command:?}"), limit, || match child.try_wait() {
        Ok(Some(status)) => Look::Found(status),
        Ok(None) => Look::NotYet("it runs".to_owned()),
        Err(error) => Look::NotYet(error.to_string()),
    });
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let stdout = stdout.and_then(|reader| reader.join().ok()).unwrap_or_default();
    let stderr = stderr.and_then(|reader| reader.join().ok()).unwrap_or_default();
    Ok(Output { status: ended.with_context(|| String::from_utf8_lossy(&stderr).into_owned())?, stdout, stderr })
}

/// The last lines of a log.
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Whether this end was a kill.
pub fn killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before a pipe broke is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg("echo up; while :; do sleep 1; done");
        command
    }

    fn alive(pid: u32) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn a_process_that_is_dropped_is_gone_and_its_log_stays() {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start("sleeper", sleeper(), folder.path(), &Guard::new().unwrap()).unwrap();
        let pid = process.id();
        let up = || wait::when(process.log().contains("up"), || process.log());
        wait::until("its word", Duration::from_secs(5), up).unwrap();
        drop(process);
        assert!(!alive(pid));
        assert_eq!(fs::read_to_string(folder.path().join("sleeper.log")).unwrap(), "up\n");
    }

    #[test]
    fn what_its_owner_leaves_behind_the_guard_ends_and_what_was_forgotten_it_spares() {
        let guard = Guard::new().unwrap();
        let mut left = sleeper().process_group(0).stdout(Stdio::null()).spawn().unwrap();
        let mut spared = sleeper().process_group(0).stdout(Stdio::null()).spawn().unwrap();
        for pid in [left.id(), spared.id()] {
            guard.note('+', pid).unwrap();
        }
        // Said too often does no harm.
        for _ in 0..3 {
            guard.note('-', spared.id()).unwrap();
        }
        // Its pipe closes, as it does when this process ends in whatever way.
        drop(guard);
        let killed_it = || left.try_wait().unwrap().map_or_else(|| Look::NotYet("it runs".to_owned()), Look::Found);
        assert!(killed(wait::until("the guard", Duration::from_secs(5), killed_it).unwrap()));
        assert!(spared.try_wait().unwrap().is_none());
        spared.kill().unwrap();
        spared.wait().unwrap();
    }

    #[test]
    fn a_command_that_does_not_end_is_an_error_and_is_killed() {
        let error = run(&mut sleeper(), Duration::from_millis(200)).unwrap_err();
        assert!(format!("{error:#}").contains("waited 0.2 s for the end of"), "{error:#}");
    }
}
