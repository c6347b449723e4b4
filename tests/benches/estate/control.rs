//! The control for what connections cost: a server that shakes hands as the controller does, and says one byte.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use controller::ca::Authority;
use controller::tls::{OwnCertificate, mutual};
use jiff::Timestamp;
use tests::desk::ESTATE;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

/// Serves with the CA in this folder until it is killed; the address is the first line of standard output.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    let authority = Authority::load(folder, &ESTATE.parse()?)?;
    let own = OwnCertificate::new(&authority, &[], Timestamp::now())?;
    let acceptor = tokio_rustls::TlsAcceptor::from(mutual(&authority, Arc::new(own))?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("{}", listener.local_addr()?);
        let mut open = tokio::task::JoinSet::new();
        loop {
            let (tcp, _) = listener.accept().await?;
            let acceptor = acceptor.clone();
            open.spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let _ = tls.write_all(b"!").await;
                // Open until the other side goes.
                let _ = tokio::io::AsyncReadExt::read(&mut tls, &mut [0; 1]).await;
            });
        }
    })
}

/// A control that runs.
#[derive(Debug)]
pub(crate) struct Control {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Control {
    pub(crate) fn start(ca: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("--control").arg(ca).stdout(Stdio::piped()).spawn().context("the control")?;
        let mut first = String::new();
        let out = child.stdout.as_mut().context("its output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut first)?;
        Ok(Self { address: first.trim().parse().context("its address")?, child })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Milliseconds of writes of so many bytes at the end of a file of this folder, each flushed: what no acknowledgement can beat.
pub(crate) fn flushes(folder: &Path, bytes: usize, times: usize) -> Result<Vec<f64>> {
    let mut file = std::fs::File::create(folder.join("flushed"))?;
    let body = vec![7; bytes];
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let began = Instant::now();
        std::io::Write::write_all(&mut file, &body)?;
        file.sync_data()?;
        took.push(millis(began.elapsed()));
    }
    Ok(took)
}

/// In milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
