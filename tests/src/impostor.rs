//! An agent's identity in the hands of somebody who says what he likes: messages that no honest agent would send.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use agent::identity::Identity;
use agent::tls::{self, PinnedCa};
use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use policy::id::Sha256;
use proto::agent::open_request::Message as Up;
use proto::agent::open_response::Message as Down;
use proto::agent::{Hello, OpenRequest, SessionServiceClient};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

/// When nothing more is said for so long, nothing more is expected.
const SILENCE: Duration = Duration::from_secs(2);

/// For connecting.
const LIMIT: Duration = Duration::from_secs(10);

/// Somebody with the state folder of an agent.
#[derive(Debug)]
pub struct Impostor {
    identity: Identity,
    machine_id: String,
    lineage: Vec<u8>,
}

/// What came of what was said.
#[derive(Debug)]
pub struct Heard {
    /// What the controller answered.
    pub answers: Vec<Down>,
    /// How it ended the stream; `None` when it did not.
    pub ended: Option<Status>,
}

impl Impostor {
    /// With what lies in the state folder of a stopped agent, on a machine of this id.
    ///
    /// # Errors
    /// When the agent has not joined.
    pub fn with(state: &Path, machine_id: &str) -> Result<Self> {
        let identity = Identity::open(state)?.with_context(|| format!("{}: no agent has joined here", state.display()))?;
        let session = std::fs::read(state.join("session.json")).context("session.json")?;
        let kept: agent::session::Kept = serde_json::from_slice(&session).context("session.json")?;
        Ok(Self { identity, machine_id: machine_id.to_owned(), lineage: kept.lineage })
    }

    /// A hello as the agent itself would say it.
    pub fn hello(&self) -> Hello {
        Hello {
            protocol: proto::PROTOCOL,
            server: self.identity.joined().server.to_string(),
            machine_id: self.machine_id.clone(),
            agent_version: "0.0.1".to_owned(),
            lineage: self.lineage.clone(),
            held: Some(proto::agent::Held { trust: vec![7; 32], trust_version: 1, ..proto::agent::Held::default() }),
            now: Timestamp::now().as_microsecond(),
            ..Hello::default()
        }
    }

    /// Says this hello and then these messages, and listens until the controller ends the stream or has nothing more to say.
    ///
    /// # Errors
    /// When there is no controller.
    pub fn say(&mut self, hello: Hello, messages: Vec<Up>) -> Result<Heard> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
        let heard = runtime.block_on(self.converse(hello, messages))?;
        for answer in &heard.answers {
            if let Down::Welcome(welcome) = answer {
                self.lineage = welcome.lineage.clone();
            }
        }
        Ok(heard)
    }

    async fn converse(&self, hello: Hello, messages: Vec<Up>) -> Result<Heard> {
        let ca: BTreeSet<Sha256> = self.identity.ca().iter().map(|der| Sha256::of(der)).collect();
        let (certificate, key) = self.identity.credentials();
        let config = tls::identified(PinnedCa::new(ca, self.identity.ca().to_vec()), certificate, key).context("TLS")?;
        let address = self.identity.joined().agents.first().context("an address")?;
        let channel = timeout(LIMIT, tls::dial(address, None, config)).await.context("no connection")??.channel;
        let (out, queue) = unbounded_channel();
        let mut client = SessionServiceClient::new(channel);
        for message in std::iter::once(Up::Hello(hello)).chain(messages) {
            out.send(OpenRequest { message: Some(message) }).map_err(|_| anyhow!("nobody takes it"))?;
        }
        let mut answers = Vec::new();
        let mut stream = match timeout(LIMIT, client.open(UnboundedReceiverStream::new(queue))).await.context("no answer")? {
            Ok(response) => response.into_inner(),
            Err(status) => return Ok(Heard { answers, ended: Some(status) }),
        };
        loop {
            match timeout(SILENCE, stream.message()).await {
                Ok(Ok(Some(response))) => answers.extend(response.message),
                Ok(Ok(None)) => return Ok(Heard { answers, ended: Some(Status::ok("closed")) }),
                Ok(Err(status)) => return Ok(Heard { answers, ended: Some(status) }),
                Err(_) => return Ok(Heard { answers, ended: None }),
            }
        }
    }
}
