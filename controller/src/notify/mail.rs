//! Mail through a relay.

use std::path::Path;
use std::time::Duration;

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::message::Body;
use crate::config::{Kind, Mail, Tls as How};
use crate::status::chain;

/// How long one command of the relay may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Mail to the people of one channel.
#[derive(Debug, Clone)]
pub(super) struct Mailer {
    from: Mailbox,
    to: Vec<Mailbox>,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

/// Other programs are not to answer.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Mailer {
    /// What the configuration says, or which part of it cannot be.
    pub(super) fn new(mail: &Mail) -> Result<Self, String> {
        let Mail { name, relay, port, tls, ca_file, user, password_file, from, to, says: _ } = mail;
        let address = |text: &String| text.parse::<Mailbox>().map_err(|error| format!("channel {name}: address {text}: {error}"));
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(relay).timeout(Some(LIMIT));
        if *tls != How::None {
            let mut parameters = TlsParameters::builder(relay.clone());
            if let Some(path) = ca_file {
                let pem = read(name, path)?;
                let certificate =
                    Certificate::from_pem(&pem).map_err(|error| format!("channel {name}: {}: {error}", path.display()))?;
                parameters = parameters.add_root_certificate(certificate);
            }
            let parameters = parameters.build().map_err(|error| format!("channel {name}: TLS: {error}"))?;
            builder = builder.tls(if *tls == How::Tls { Tls::Wrapper(parameters) } else { Tls::Required(parameters) });
        }
        builder = builder.port(port.unwrap_or(if *tls == How::Tls { 465 } else { 25 }));
        if let (Some(user), Some(path)) = (user, password_file) {
            let password =
                String::from_utf8(read(name, path)?).map_err(|_| format!("channel {name}: {}: expected text", path.display()))?;
            builder = builder.credentials(Credentials::new(user.clone(), password.trim_end().to_owned()));
        }
        let to = to.iter().map(address).collect::<Result<_, _>>()?;
        Ok(Self { from: address(from)?, to, transport: builder.build() })
    }

    /// Hands a message to the relay, or says why not.
    pub(super) async fn carry(&self, id: &str, kind: Kind, body: &Body) -> Result<(), String> {
        let part = |kind: ContentType, text: String| SinglePart::builder().header(kind).body(text);
        let parts = MultiPart::alternative()
            .singlepart(part(ContentType::TEXT_PLAIN, body.text()))
            .singlepart(part(ContentType::TEXT_HTML, body.html()));
        let domain = self.from.email.domain();
        // The same however often it is sent: whoever reads it sees it once.
        let mut mail =
            Message::builder().message_id(Some(format!("<{id}@{domain}>"))).from(self.from.clone()).header(AutoSubmitted);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        let mail = mail.subject(body.subject(kind)).multipart(parts).map_err(|error| chain(&error))?;
        self.transport.send(mail).await.map(|_| ()).map_err(|error| chain(&error))
    }
}

/// A small file that a channel needs.
pub(super) fn read(channel: &str, path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("channel {channel}: {}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > 64 * 1024 {
        return Err(format!("channel {channel}: {}: expected at most 64 KiB, found {length} bytes", path.display()));
    }
    std::fs::read(path).map_err(failed)
}
