//! The control socket of one host's http.sys: a line of JSON in, a line of JSON out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent::driver::lab::control::{Answer, MAX_LINE, Request};
use agent::driver::lab::fault::{self, MAX_HANG, Mode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::httpsys::HttpSys;

/// The most conversations at a time.
const MAX_CONVERSATIONS: usize = 64;

/// How long a conversation may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// After a connection that the system could not give.
pub(super) const BREATH: Duration = Duration::from_millis(100);

const INVALID_PARAMETER: u32 = 87;
const DEVICE: u32 = 1117;

/// Answers until it is dropped.
pub(super) async fn serve(listener: UnixListener, http_sys: Arc<Mutex<HttpSys>>) {
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = conversations.join_next() => {}
            accepted = listener.accept(), if conversations.len() < MAX_CONVERSATIONS => match accepted {
                Ok((stream, _)) => { conversations.spawn(converse(stream, http_sys.clone())); }
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    pause(BREATH).await;
                }
            },
        }
    }
}

async fn converse(stream: UnixStream, http_sys: Arc<Mutex<HttpSys>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut stream).take(MAX_LINE);
        match tokio::time::timeout(SILENCE, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(length)) if length > 0 => {}
            Ok(Ok(_) | Err(_)) | Err(_) => return,
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => answer(&http_sys, request).await,
            Err(_) => Answer::Refused(INVALID_PARAMETER),
        };
        let Ok(mut line) = serde_json::to_vec(&answer) else { return };
        line.push(b'\n');
        if stream.get_mut().write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn answer(http_sys: &Mutex<HttpSys>, request: Request) -> Answer {
    let locked = || http_sys.lock().unwrap_or_else(PoisonError::into_inner);
    let fault = match HttpSys::call(&request).map(|call| fault::meet(locked().host(), call)) {
        None => None,
        Some(Ok(fault)) => fault,
        Some(Err(error)) => {
            tracing::error!(error = agent::chain(&error), "faults could not be read");
            return Answer::Refused(DEVICE);
        }
    };
    if let Some(fault) = fault {
        match fault.mode {
            Mode::Fail => return Answer::Refused(fault.code),
            Mode::Lie if request == Request::Query => return Answer::Records(Vec::new()),
            Mode::Lie => return Answer::Done,
            Mode::Hang => pause(Duration::from_millis(fault.millis.min(MAX_HANG))).await,
        }
    }
    locked().answer(request)
}

/// Waits: where a hang was asked for, and where the system has no file handles left.
pub(super) async fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "nothing happens for which one could wait instead")]
    tokio::time::sleep(time).await;
}
