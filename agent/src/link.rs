//! The stream that carries a session: one gRPC call, both ways, over mutual TLS. It knows how to dial the controllers in
//! turn, and nothing of what is said.
//!
//! [`Link::next`] may be dropped at any await and loses nothing, so the main loop can wait for it beside everything else.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proto::agent::{OpenRequest, OpenResponse, SessionServiceClient};
use proto::invalid::Invalid;
use proto::names::Address;
use rustls::ClientConfig;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::proxy::Proxy;
use crate::session::{FromController, ToController};
use crate::tls::{self, DialError};

mod wire;

/// Messages that wait to be written. A session has few on their way at a time; when these are not taken, the line is dead.
const QUEUE: usize = 64;

/// How long a controller may take to notice that the agent stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// A line that broke.
#[derive(Debug, Error)]
pub enum LinkError {
    /// It never came to be.
    #[error("no session")]
    Dial(#[source] DialError),
    /// The controller ended it, or the network did.
    #[error("the session with {address} ended")]
    Ended {
        /// The controller.
        address: Address,
        /// What it said.
        #[source]
        status: Box<Status>,
    },
    /// The controller closed it without a word.
    #[error("{0} closed the session")]
    Closed(Address),
    /// What is to be said is not taken.
    #[error("expected the controller to read, found {QUEUE} messages waiting")]
    Stalled,
}

impl LinkError {
    /// The controller is there and does not let this host speak: quarantined, evicted, banned, or not known.
    pub fn sends_away(&self) -> bool {
        matches!(self, Self::Ended { status, .. } if status.code() == tonic::Code::PermissionDenied)
    }
}

impl LinkError {
    /// Somebody answers who is not believed to be a controller of this estate.
    pub fn is_unbelieved(&self) -> bool {
        matches!(self, Self::Dial(error) if error.is_unbelieved())
    }
}

/// What happened on the line.
#[derive(Debug)]
pub enum Event {
    /// The stream is open: say hello.
    Connected(Address),
    /// The controller said something.
    Received(FromController),
    /// The controller said something that cannot be; it permits nothing.
    Invalid(Invalid),
    /// The line is down until [`Link::dial_at`].
    Lost(LinkError),
}

/// The line to one of the controllers.
pub struct Link {
    addresses: Vec<Address>,
    proxy: Option<Proxy>,
    turn: usize,
    line: Line,
}

enum Line {
    Down,
    Waiting(Instant, Arc<ClientConfig>),
    Dialling(Pin<Box<dyn Future<Output = Result<Open, LinkError>> + Send>>),
    Open(Open),
}

struct Open {
    address: Address,
    out: mpsc::Sender<OpenRequest>,
    incoming: Incoming,
}

enum Incoming {
    Calling(Pin<Box<dyn Future<Output = Result<Streaming<OpenResponse>, Status>> + Send>>),
    Streaming(Box<Streaming<OpenResponse>>),
}

impl Incoming {
    async fn message(&mut self) -> Result<Option<OpenResponse>, Status> {
        if let Self::Calling(call) = self {
            *self = Self::Streaming(Box::new(call.await?));
        }
        match self {
            Self::Calling(_) => Ok(None),
            Self::Streaming(stream) => stream.message().await,
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match self.line {
            Line::Down => "down",
            Line::Waiting(..) => "waiting",
            Line::Dialling(_) => "dialling",
            Line::Open(_) => "open",
        };
        write!(f, "Link({line})")
    }
}

impl Link {
    /// A line that is down. It dials these in turn, through the proxy if there is one.
    pub fn new(addresses: Vec<Address>, proxy: Option<Proxy>) -> Self {
        Self { addresses, proxy, turn: 0, line: Line::Down }
    }

    /// Drops what is there, and dials the next controller at `when`.
    pub fn dial_at(&mut self, when: Instant, tls: Arc<ClientConfig>) {
        self.line = Line::Waiting(when, tls);
    }

    /// Drops what is there.
    pub fn close(&mut self) {
        self.line = Line::Down;
    }

    /// Ends the session in good order, as far as the controller takes part in it soon.
    pub async fn finish(&mut self) {
        if let Line::Open(Open { out, mut incoming, .. }) = std::mem::replace(&mut self.line, Line::Down) {
            drop(out);
            // Whatever is still said is said again in the next session.
            let rest = async { while let Ok(Some(_)) = incoming.message().await {} };
            let _ = timeout(FAREWELL, rest).await;
        }
    }

    /// Says something, stamped with `now`.
    ///
    /// # Errors
    /// [`LinkError::Stalled`] when the controller does not read; a line that is down takes nothing either.
    pub fn send(&mut self, message: ToController, now: Timestamp) -> Result<(), LinkError> {
        match &self.line {
            Line::Open(open) => open.out.try_send(wire::outward(message, now)).map_err(|_| LinkError::Stalled),
            Line::Down | Line::Waiting(..) | Line::Dialling(_) => Err(LinkError::Stalled),
        }
    }

    /// The next thing that happens on the line; never, while it is down.
    pub async fn next(&mut self) -> Event {
        loop {
            match &mut self.line {
                Line::Down => return std::future::pending().await,
                Line::Waiting(when, tls) => {
                    sleep_until(*when).await;
                    let Some(address) = self.addresses.get(self.turn % self.addresses.len().max(1)) else {
                        return std::future::pending().await;
                    };
                    self.turn = self.turn.wrapping_add(1);
                    self.line = Line::Dialling(Box::pin(open(address.clone(), self.proxy.clone(), tls.clone())));
                }
                Line::Dialling(dialling) => match dialling.await {
                    Ok(open) => {
                        let address = open.address.clone();
                        self.line = Line::Open(open);
                        return Event::Connected(address);
                    }
                    Err(error) => return self.lost(error),
                },
                Line::Open(Open { incoming, address, .. }) => {
                    let address = address.clone();
                    match incoming.message().await {
                        Ok(Some(response)) => match wire::inward(response) {
                            Ok(Some(message)) => return Event::Received(message),
                            Ok(None) => {}
                            Err(invalid) => return Event::Invalid(invalid),
                        },
                        Ok(None) => return self.lost(LinkError::Closed(address)),
                        Err(status) => return self.lost(LinkError::Ended { address, status: Box::new(status) }),
                    }
                }
            }
        }
    }

    fn lost(&mut self, error: LinkError) -> Event {
        self.line = Line::Down;
        Event::Lost(error)
    }
}

/// Dials, and makes the call. A controller may answer the call only after it heard the hello, so the stream counts as open
/// before that answer.
async fn open(address: Address, proxy: Option<Proxy>, tls: Arc<ClientConfig>) -> Result<Open, LinkError> {
    let dialled = tls::dial(&address, proxy.as_ref(), tls).await.map_err(LinkError::Dial)?;
    let (out, queue) = mpsc::channel(QUEUE);
    let mut client = SessionServiceClient::new(dialled.channel).max_decoding_message_size(proto::MAX_MESSAGE);
    let call = async move { client.open(ReceiverStream::new(queue)).await.map(tonic::Response::into_inner) };
    Ok(Open { address, out, incoming: Incoming::Calling(Box::pin(call)) })
}
