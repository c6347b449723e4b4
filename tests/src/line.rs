//! A line that can be cut: an HTTP proxy, through which an agent reaches its controller as through any other. A cut says nothing to
//! either end, as a network does that drops what it is given.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};

/// The line. It works until it is cut; its threads end with the process.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set(&self, open: bool) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
        self.opened.notify_all();
    }

    /// Waits while the line is cut.
    fn pass(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(open, |open| !*open).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Line {
    /// A line that works, on a port of its own.
    ///
    /// # Errors
    /// When there is no port.
    pub fn new() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port for the line")?;
        let address = listener.local_addr().context("a port for the line")?;
        let gate = Arc::new(Gate { open: Mutex::new(true), opened: Condvar::new() });
        let inner = gate.clone();
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let gate = inner.clone();
                // A connection that cannot be made is the caller's to notice.
                thread::spawn(move || drop(carry(&caller, &gate)));
            }
        });
        Ok(Self { address, gate })
    }

    /// What stands for it in `controllers.proxy`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on nothing arrives, and nobody is told.
    pub fn cut(&self) {
        self.gate.set(false);
    }

    /// What waits arrives, and all that follows.
    pub fn mend(&self) {
        self.gate.set(true);
    }
}

fn carry(caller: &TcpStream, gate: &Arc<Gate>) -> Result<()> {
    let mut reader = BufReader::new(caller.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).context("CONNECT")?;
    gate.pass();
    let called = TcpStream::connect(target)?;
    (&*caller).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (back, to, gate_back) = (called.try_clone()?, caller.try_clone()?, gate.clone());
    thread::spawn(move || copy(&back, &to, &gate_back));
    copy(caller, &called, gate);
    Ok(())
}

fn copy(from: &TcpStream, to: &TcpStream, gate: &Gate) {
    let (mut from, mut to) = (from, to);
    let mut bytes = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut bytes)
        && length > 0
    {
        gate.pass();
        if to.write_all(bytes.get(..length).unwrap_or_default()).is_err() {
            break;
        }
    }
    gate.pass();
    // The other end may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}
