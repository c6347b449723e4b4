//! Calls to other programs: signed, never redirected, and not into this machine or its network unless that is wanted.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::mail::read;
use super::message::Body;
use crate::config::{Kind, Webhook};
use crate::status::chain;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(15);

/// The fewest bytes of a secret.
const MIN_SECRET: usize = 16;

/// A program that is called.
#[derive(Debug, Clone)]
pub(super) struct Hook {
    client: Client,
    url: Url,
    secret: Option<hmac::Key>,
}

impl Hook {
    /// What the configuration says, or which part of it cannot be.
    pub(super) fn new(webhook: &Webhook) -> Result<Self, String> {
        let Webhook { name, url, secret_file, inward, says: _ } = webhook;
        let secret = match secret_file {
            None => None,
            Some(path) => {
                let bytes = read(name, path)?;
                let secret = bytes.trim_ascii();
                if secret.len() < MIN_SECRET {
                    let (path, found) = (path.display(), secret.len());
                    return Err(format!("channel {name}: {path}: expected {MIN_SECRET} bytes or more, found {found}"));
                }
                Some(hmac::Key::new(hmac::HMAC_SHA256, secret))
            }
        };
        Ok(Self {
            client: client(*inward).map_err(|error| format!("channel {name}: {error}"))?,
            url: target(url, *inward).map_err(|why| format!("channel {name}: {why}"))?,
            secret,
        })
    }

    /// What is called as long as all is well.
    pub(super) fn alive(url: &str, inward: bool) -> Result<Self, String> {
        Ok(Self { client: client(inward)?, url: target(url, inward)?, secret: None })
    }

    /// Hands a message over, or says why not.
    pub(super) async fn carry(&self, id: &str, kind: Kind, body: &Body) -> Result<(), String> {
        let text = body.json(id, kind);
        let mut request =
            self.client.post(self.url.clone()).header("Content-Type", "application/json").header("Idempotency-Key", id);
        if let Some(secret) = &self.secret {
            request = request.header("Backstay-Signature", signature(secret, &text));
        }
        answered(request.body(text).send().await)
    }

    /// Says that all is well here.
    pub(super) async fn call(&self) -> Result<(), String> {
        answered(self.client.post(self.url.clone()).send().await)
    }
}

/// `sha256=` and the digits of HMAC-SHA-256 over the body.
fn signature(secret: &hmac::Key, text: &str) -> String {
    let tag = hmac::sign(secret, text.as_bytes());
    tag.as_ref().iter().fold("sha256=".to_owned(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// What the target said. Its body is not read: nothing of it is wanted.
fn answered(answer: Result<reqwest::Response, reqwest::Error>) -> Result<(), String> {
    let answer = answer.map_err(|error| chain(&error.without_url()))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status if status.is_redirection() => {
            Err(format!("expected an answer, found a redirection ({status}), which is not followed"))
        }
        status => Err(format!("expected success, found {status}")),
    }
}

fn client(inward: bool) -> Result<Client, String> {
    let client = Client::builder().redirect(Policy::none()).no_proxy().connect_timeout(CONNECT).timeout(LIMIT);
    let client = if inward { client } else { client.dns_resolver(Arc::new(Outward)) };
    client.build().map_err(|error| chain(&error))
}

fn target(url: &str, inward: bool) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|error| format!("url: {error}"))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(format!("url: expected http or https with a host, found {}", parsed.scheme()));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("url: expected no name and no password in it: secret_file signs what is sent".to_owned());
    }
    let literal = parsed.host_str().and_then(|host| host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok());
    match literal {
        Some(address) if !inward && !outward(address) => {
            Err(format!("url: {address} is in this machine or a private network; if that is meant: inward = true"))
        }
        _ => Ok(parsed),
    }
}

/// Resolves names, and gives no address that leads inward: a name that somebody else may change is no way into this network.
struct Outward;

impl Resolve for Outward {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let good: Vec<SocketAddr> = found.iter().copied().filter(|address| outward(address.ip())).collect();
            if good.is_empty() {
                let why =
                    format!("{} leads into this machine or a private network; if that is meant: inward = true", name.as_str());
                return Err(why.into());
            }
            Ok(Box::new(good.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public network.
fn outward(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let shared = first == 100 && (64..128).contains(&second);
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
                || address.is_multicast()
                || shared
                || first == 0
                || first >= 240)
        }
        IpAddr::V6(address) => {
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_outward_unless_somebody_says_otherwise() {
        for inward in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "[::1]",
            "[fd00::1]",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
        ] {
            let url = format!("https://{inward}/x");
            assert!(target(&url, false).is_err_and(|why| why.contains("inward = true")), "{url}");
            assert!(target(&url, true).is_ok(), "{url}");
        }
        assert!(target("https://192.0.2.17/x", false).is_ok() && target("https://hooks.contoso.test/x", false).is_ok());
        for wrong in ["", "x", "ftp://x.test", "file:///etc/passwd", "https://u:p@x.test", "https://"] {
            assert!(target(wrong, true).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inward_is_not_called() {
        let hook = Hook::alive("http://localhost:9/x", false).expect("a hook");
        let why = hook.call().await.expect_err("must not");
        assert!(why.contains("leads into this machine"), "{why}");
    }

    #[test]
    fn what_is_sent_is_signed_as_others_compute_it() {
        // RFC 4231, test case 2.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        assert_eq!(
            signature(&key, "what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
