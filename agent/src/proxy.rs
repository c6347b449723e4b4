//! Controllers through an HTTP proxy: CONNECT (RFC 9110, 9.3.6), and then the bytes of TLS as without it. The proxy learns the
//! name and port of the controller and nothing else; who the controller is, TLS proves from end to end.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proto::names::Address;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// The longest answer to CONNECT that is read, in bytes. Proxies put pages for people after their refusals; those are not read.
const MAX_ANSWER: usize = 16 * 1024;

/// The largest file of credentials that is read, in bytes.
const MAX_CREDENTIALS: u64 = 1024;

/// As much of what a proxy says as a message needs, in characters.
const MAX_SAID: usize = 120;

/// Where a proxy listens: `http://host:port`. What is said to it goes in the clear, and is CONNECT alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyAddress(Address);

/// Text that is no address of a proxy. It may hold a password, and so is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected http://host:port, found something else")]
pub struct InvalidProxyAddress;

impl FromStr for ProxyAddress {
    type Err = InvalidProxyAddress;

    fn from_str(text: &str) -> Result<Self, InvalidProxyAddress> {
        let rest = text.strip_prefix("http://").ok_or(InvalidProxyAddress)?;
        rest.strip_suffix('/').unwrap_or(rest).parse().map(Self).map_err(|_| InvalidProxyAddress)
    }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// A proxy, and how the agent shows itself to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is.
    pub address: ProxyAddress,
    /// A file with `user:password`, for Basic authentication. It is read at each connection, so that a change needs no restart.
    pub credentials: Option<PathBuf>,
}

/// A proxy that gives no way to the controller.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// Nobody there, or the connection broke.
    #[error("proxy {proxy} cannot be reached")]
    Io {
        /// The proxy.
        proxy: ProxyAddress,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No connection or no answer in time.
    #[error("proxy {proxy}: expected an answer to CONNECT within {} s, found none", limit.as_secs_f32())]
    TimedOut {
        /// The proxy.
        proxy: ProxyAddress,
        /// What it was given.
        limit: Duration,
    },
    /// It ended the connection where an answer should be.
    #[error("proxy {proxy}: expected an answer to CONNECT, found the end of the connection after {found} bytes")]
    Closed {
        /// The proxy.
        proxy: ProxyAddress,
        /// What came, in bytes.
        found: usize,
    },
    /// It goes on and on.
    #[error("proxy {proxy}: expected an answer to CONNECT of at most {MAX_ANSWER} bytes, found more")]
    TooLong {
        /// The proxy.
        proxy: ProxyAddress,
    },
    /// What it says is no answer to CONNECT.
    #[error("proxy {proxy}: expected an answer to CONNECT in HTTP/1.1, found {found}; is this an HTTP proxy?")]
    NotHttp {
        /// The proxy.
        proxy: ProxyAddress,
        /// How it begins.
        found: String,
    },
    /// It wants to know who asks, or does not like whom it hears of.
    #[error("proxy {proxy} answered {answer}: it offers {offered}; {}", next(*sent))]
    Authentication {
        /// The proxy.
        proxy: ProxyAddress,
        /// Its answer.
        answer: String,
        /// The ways in which it lets somebody show who he is.
        offered: String,
        /// Whether it was shown credentials.
        sent: bool,
    },
    /// It says no, or cannot reach the controller itself.
    #[error("proxy {proxy} answered {answer}; see in its log whether it may and can connect to {controller}")]
    Refused {
        /// The proxy.
        proxy: ProxyAddress,
        /// Its answer.
        answer: String,
        /// To whom it was to connect.
        controller: Address,
    },
    /// The file of credentials cannot be used.
    #[error("{path}: expected one line user:password of at most {MAX_CREDENTIALS} bytes, found other bytes")]
    Credentials {
        /// The file.
        path: PathBuf,
    },
    /// The file of credentials cannot be read.
    #[error("{path}: the credentials for the proxy cannot be read")]
    NoCredentials {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn next(sent: bool) -> &'static str {
    if sent { "Basic was tried with proxy_credentials_file" } else { "set proxy_credentials_file, or let this host pass without" }
}

impl Proxy {
    /// A connection to the controller through this proxy, within `limit`.
    ///
    /// # Errors
    /// [`ProxyError`], which names the proxy and what it answered.
    pub async fn connect(&self, controller: &Address, limit: Duration) -> Result<TcpStream, ProxyError> {
        let timed_out = |_| ProxyError::TimedOut { proxy: self.address.clone(), limit };
        timeout(limit, self.tunnel(controller)).await.map_err(timed_out)?
    }

    async fn tunnel(&self, controller: &Address) -> Result<TcpStream, ProxyError> {
        let proxy = &self.address;
        let io = |source| ProxyError::Io { proxy: proxy.clone(), source };
        let credentials = self.credentials.as_deref().map(credentials).transpose()?;
        let mut tcp = TcpStream::connect(proxy.0.as_str()).await.map_err(io)?;
        let request = request(controller, credentials.as_ref().map(|credentials| credentials.as_str()));
        tcp.write_all(request.as_bytes()).await.map_err(io)?;

        let mut answer = Vec::with_capacity(1024);
        let head = loop {
            if let Some(end) = end_of_head(&answer) {
                break end;
            }
            let closed = answer.len();
            if closed >= MAX_ANSWER {
                return Err(ProxyError::TooLong { proxy: proxy.clone() });
            }
            // What is no HTTP need not be waited for until it is complete.
            if !begins_as_http(&answer) {
                return Err(ProxyError::NotHttp { proxy: proxy.clone(), found: said(&answer) });
            }
            if (&mut tcp).take(1024).read_buf(&mut answer).await.map_err(io)? == 0 {
                return Err(ProxyError::Closed { proxy: proxy.clone(), found: closed });
            }
        };
        let (head, rest) = answer.split_at(head);
        judge(proxy, controller, head, credentials.is_some())?;
        // The controller speaks second. Bytes before that are the proxy's own, and would end in TLS as nonsense.
        if rest.is_empty() {
            Ok(tcp)
        } else {
            Err(ProxyError::NotHttp { proxy: proxy.clone(), found: format!("{} after its answer", said(rest)) })
        }
    }
}

fn request(controller: &Address, credentials: Option<&str>) -> Zeroizing<String> {
    let mut request = Zeroizing::new(format!("CONNECT {controller} HTTP/1.1\r\nHost: {controller}\r\n"));
    if let Some(credentials) = credentials {
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(credentials));
        // One buffer that is large enough leaves no copy behind.
        request.reserve(encoded.len() + 64);
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&encoded);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request
}

/// What an answer means.
fn judge(proxy: &ProxyAddress, controller: &Address, head: &[u8], sent: bool) -> Result<(), ProxyError> {
    let proxy = proxy.clone();
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|digits| digits.parse::<u16>().ok());
    let answer = said(first.as_bytes());
    match status {
        Some(200..=299) => Ok(()),
        Some(407) => {
            let offers =
                lines.filter_map(|line| line.split_once(':')).filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"));
            let mut schemes: Vec<_> = offers.filter_map(|(_, value)| value.split_whitespace().next()).collect();
            schemes.dedup();
            let offered =
                if schemes.is_empty() { "no way to authenticate".to_owned() } else { said(schemes.join(", ").as_bytes()) };
            Err(ProxyError::Authentication { proxy, answer, offered, sent })
        }
        Some(_) => Err(ProxyError::Refused { proxy, answer, controller: controller.clone() }),
        None => Err(ProxyError::NotHttp { proxy, found: answer }),
    }
}

/// Where the head of an answer ends, if it does.
fn end_of_head(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn begins_as_http(answer: &[u8]) -> bool {
    let begin = b"HTTP/1.";
    let length = begin.len().min(answer.len());
    answer[..length] == begin[..length]
}

/// What somebody unknown said, fit for a log.
fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MAX_SAID)]);
    text.trim_end().chars().take(MAX_SAID).flat_map(char::escape_debug).collect()
}

/// Reads `user:password`. Nothing of it reaches a message.
fn credentials(path: &Path) -> Result<Zeroizing<String>, ProxyError> {
    let io = |source| ProxyError::NoCredentials { path: path.to_owned(), source };
    let wrong = || ProxyError::Credentials { path: path.to_owned() };
    if std::fs::metadata(path).map_err(io)?.len() > MAX_CREDENTIALS {
        return Err(wrong());
    }
    let bytes = Zeroizing::new(std::fs::read(path).map_err(io)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong())?;
    // PowerShell 5 puts a mark before every text in UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    let fits = line.split_once(':').is_some_and(|(user, _)| !user.is_empty()) && !line.contains(char::is_control);
    if fits { Ok(Zeroizing::new(line.to_owned())) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests;
