//! Which certificates the directory names: the internal transport certificate of this server, and the organisation's Auth certificate
//! (EXCHANGE.md 1.6, 1.8).
//!
//! Nothing of the two is on 444 or on this host. But a certificate that transport needs is not one to be put away, and one that the
//! directory names as Auth certificate was set there by mistake (F44). Three attributes are read, as the machine's account:
//!
//! | object | attribute | what it holds |
//! | --- | --- | --- |
//! | the directory's own | `configurationNamingContext` | where the configuration is |
//! | this server (`msExchExchangeServer`) | `msExchServerInternalTLSCert` | a certificate, alone or as Windows serialises it |
//! | `Auth Configuration` (`msExchAuthAuthConfig`) | `msExchAuthCertificateThumbprint` | `0:` current, `1:` previous, `2:` next, each with a thumbprint; one value alone is the current one |
//!
//! An attribute that is not there and one that may not be read look the same, so both are unknown.
//!
//! The question goes over the network: it is asked every ten minutes on a thread that a look waits for only a moment
//! ([`super::limited`]), and what was read holds for an hour, so that a controller that restarts is no change of this host.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use policy::certificate::Certificate;
use policy::id::{ServerName, Thumbprint};
use policy::report::{AuthCertificates, Fact};
use recorded::serialized::Serialized;

use super::ffi::ldap::{Ldap, Question};
use super::limited::Limited;
use crate::driver::DriverError;

/// How long a look waits for an answer. One that comes later is there for the next look.
const LIMIT: Duration = Duration::from_secs(2);

/// How long nobody is asked after an answer, and after none.
const REST: Duration = Duration::from_secs(600);

/// How long an answer holds while there is no other.
const HOLDS: Duration = Duration::from_secs(3_600);

/// What the directory names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The internal transport certificate of this server.
    pub transport: Fact<Option<Thumbprint>>,
    /// The Auth certificates of the organisation.
    pub auth: Fact<AuthCertificates>,
}

/// The directory, and what it said last.
#[derive(Debug)]
pub struct Pointers {
    calls: Limited,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    named: Option<(Named, Instant)>,
    /// Why there was no answer, and when.
    failed: Option<(String, Instant)>,
}

impl Default for Pointers {
    fn default() -> Self {
        Self { calls: Limited::new("the directory", LIMIT, 1), state: Arc::default() }
    }
}

impl Pointers {
    /// What is known, asked anew if that is due.
    pub fn look(&self, server: &ServerName) -> Named {
        let server = server.clone();
        self.look_at(now(), move || ask(&server))
    }

    fn look_at(&self, now: Instant, ask: impl FnOnce() -> Result<Named, DriverError> + Send + 'static) -> Named {
        if lock(&self.state).is_due(now) {
            let state = self.state.clone();
            let asked = self.calls.call(move || {
                let answer = ask();
                lock(&state).take(answer.map_err(|error| crate::chain(&error)), now);
            });
            if let Err(late) = asked {
                lock(&self.state).failed = Some((late.to_string(), now));
            }
        }
        lock(&self.state).told(now)
    }
}

impl State {
    fn is_due(&self, now: Instant) -> bool {
        let [named, failed] = [self.named.as_ref().map(|(_, at)| *at), self.failed.as_ref().map(|(_, at)| *at)];
        named.max(failed).is_none_or(|last| now.saturating_duration_since(last) >= REST)
    }

    fn take(&mut self, answer: Result<Named, String>, now: Instant) {
        match answer {
            Ok(named) => *self = Self { named: Some((named, now)), failed: None },
            Err(why) => self.failed = Some((why, now)),
        }
    }

    fn told(&self, now: Instant) -> Named {
        if let Some((named, at)) = &self.named
            && now.saturating_duration_since(*at) < HOLDS
        {
            return named.clone();
        }
        let why = self.failed.as_ref().map_or("the directory was not asked", |(why, _)| why);
        Named { transport: Fact::Unknown(why.to_owned()), auth: Fact::Unknown(why.to_owned()) }
    }
}

/// Asks the directory itself.
fn ask(server: &ServerName) -> Result<Named, DriverError> {
    let ldap = Ldap::open()?;
    let own = Question { base: "", below: false, filter: "(objectClass=*)", attribute: "configurationNamingContext" };
    let configuration = only(ldap.ask(&own)?, "the directory's own object", own.attribute)
        .and_then(|value| String::from_utf8(value).map_err(|_| "its configuration is at no name that reads".to_owned()));
    let configuration = configuration.map_err(|found| DriverError::Unreadable {
        object: "the directory".to_owned(),
        expected: "the name of its configuration".to_owned(),
        found,
    })?;
    let exchange = format!("CN=Microsoft Exchange,CN=Services,{configuration}");
    let filter = format!("(&(objectClass=msExchExchangeServer)(cn={}))", escaped(server.as_str()));
    let of_server = Question { base: &exchange, below: true, filter: &filter, attribute: "msExchServerInternalTLSCert" };
    let of_organisation = Question {
        base: &exchange,
        below: true,
        filter: "(objectClass=msExchAuthAuthConfig)",
        attribute: "msExchAuthCertificateThumbprint",
    };
    let transport =
        only(ldap.ask(&of_server)?, &format!("server {server}"), of_server.attribute).and_then(|value| certificate(&value));
    let auth = one(ldap.ask(&of_organisation)?, "Auth configuration").and_then(|values| thumbprints(&values));
    let transport = transport.map(Some).map_or_else(Fact::Unknown, Fact::Known);
    Ok(Named { transport, auth: auth.map_or_else(Fact::Unknown, Fact::Known) })
}

/// The one object that was found.
fn one<T>(mut found: Vec<T>, object: &str) -> Result<T, String> {
    match (found.len(), found.pop()) {
        (1, Some(one)) => Ok(one),
        (0, _) => Err(format!("the directory shows no {object} to this account")),
        (many, _) => Err(format!("expected one object for {object} in the directory, found {many}")),
    }
}

/// The one value of the one object that was found.
fn only(found: Vec<Vec<Vec<u8>>>, object: &str, attribute: &str) -> Result<Vec<u8>, String> {
    let mut values = one(found, object)?;
    match (values.len(), values.pop()) {
        (1, Some(value)) => Ok(value),
        (0, _) => Err(format!("{object} has no {attribute}, or this account may not read it")),
        (many, _) => Err(format!("expected one {attribute} of {object}, found {many}")),
    }
}

/// The thumbprint of a certificate, alone or with its properties before it.
fn certificate(value: &[u8]) -> Result<Thumbprint, String> {
    let serialized = match Serialized::read(value) {
        Ok(serialized) => return Ok(Thumbprint::of(&serialized.der)),
        Err(error) => error,
    };
    let alone = Certificate::from_der(value).map(|certificate| certificate.thumbprint());
    alone
        .map_err(|_| format!("msExchServerInternalTLSCert holds neither a certificate nor one with its properties: {serialized}"))
}

/// Values of `msExchAuthCertificateThumbprint`.
fn thumbprints(values: &[Vec<u8>]) -> Result<AuthCertificates, String> {
    let mut named = AuthCertificates { current: None, next: None };
    let wrong = |value: &[u8]| {
        format!(
            "msExchAuthCertificateThumbprint: expected a number, a colon and a thumbprint, found {:?}",
            String::from_utf8_lossy(value)
        )
    };
    for value in values {
        let text = str::from_utf8(value).map_err(|_| wrong(value))?;
        let (which, thumbprint) = match text.split_once(':') {
            Some((which, thumbprint)) => (which, thumbprint),
            None if values.len() == 1 => ("0", text),
            None => return Err(wrong(value)),
        };
        let read = || match thumbprint.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| wrong(value)),
        };
        match which {
            "0" => named.current = read()?,
            "1" => drop(read()?),
            "2" => named.next = read()?,
            _ => return Err(wrong(value)),
        }
    }
    if values.is_empty() {
        return Err("the Auth configuration has no msExchAuthCertificateThumbprint, or this account may not read it".to_owned());
    }
    Ok(named)
}

/// A value for a filter (RFC 4515).
fn escaped(value: &str) -> String {
    value.bytes().fold(String::new(), |mut filter, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => filter.push(char::from(byte)),
            other => write!(filter, "\\{other:02x}").expect("a String takes everything"),
        }
        filter
    })
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "how long an answer holds is a span of this machine's, not of the calendar")]
    Instant::now()
}

#[cfg(test)]
mod tests;
