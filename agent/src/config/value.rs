//! From what a layer says to what the agent works with: the same bounds wherever a value comes from.

use std::path::PathBuf;
use std::time::Duration;

use policy::duration::Span;
use proto::names::Address;
use tracing_subscriber::EnvFilter;

use super::LogFormat;
use crate::hold;
use crate::proxy::ProxyAddress;

/// The longest text, in bytes; of a list, the longest of its texts.
pub const MAX_TEXT: usize = 1024;

/// The most addresses of one kind.
pub const MAX_ADDRESSES: usize = 16;

/// The bounds of `look_every`, in seconds.
pub const LOOK_SECONDS: std::ops::RangeInclusive<u64> = 1..=3600;

/// A value as a layer has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// A text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// Something else, named for people.
    Other(String),
}

/// A value that will not do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) expected: String,
    pub(super) found: String,
}

fn wrong(expected: impl Into<String>, found: impl Into<String>) -> Wrong {
    Wrong { expected: expected.into(), found: found.into() }
}

impl Raw {
    pub(super) fn path(&self) -> Result<PathBuf, Wrong> {
        self.text("a path").map(PathBuf::from)
    }

    pub(super) fn look_every(&self) -> Result<Duration, Wrong> {
        let expected = "a length of time from 1s to 1h, as \"60s\"";
        let text = self.text(expected)?;
        let seconds = text.parse::<Span>().ok().and_then(|span| u64::try_from(span.as_seconds()).ok());
        let fits = seconds.filter(|seconds| LOOK_SECONDS.contains(seconds)).map(Duration::from_secs);
        fits.ok_or_else(|| wrong(expected, quoted(text)))
    }

    pub(super) fn addresses(&self) -> Result<Vec<Address>, Wrong> {
        let expected = format!("a list of at most {MAX_ADDRESSES} addresses host:port");
        let list = match self {
            Self::List(list) if list.len() <= MAX_ADDRESSES => list,
            Self::List(list) => return Err(wrong(expected, format!("{} of them", list.len()))),
            Self::Text(text) => return Err(wrong(expected, format!("one text, {}", quoted(text)))),
            Self::Other(kind) => return Err(wrong(expected, kind.clone())),
        };
        list.iter().map(|text| text.parse().map_err(|_| wrong(&*expected, quoted(text)))).collect()
    }

    pub(super) fn proxy(&self) -> Result<ProxyAddress, Wrong> {
        let expected = "http://host:port";
        let text = self.text(expected)?;
        // A password in it would otherwise stand in every log.
        let found =
            || if text.contains('@') { "credentials, which belong into proxy_credentials_file".to_owned() } else { quoted(text) };
        text.parse().map_err(|_| wrong(expected, found()))
    }

    pub(super) fn log_format(&self) -> Result<LogFormat, Wrong> {
        let expected = "\"text\" or \"json\"";
        match self.text(expected)? {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(wrong(expected, quoted(other))),
        }
    }

    pub(super) fn log_filter(&self) -> Result<String, Wrong> {
        let expected = "a level or a filter, as \"info,agent::link=debug\"";
        let text = self.text(expected)?;
        if EnvFilter::builder().parse(text).is_ok() { Ok(text.to_owned()) } else { Err(wrong(expected, quoted(text))) }
    }

    pub(super) fn reason(&self) -> Result<String, Wrong> {
        let expected = format!("the reason of the hold, 1 to {} bytes of text", hold::MAX_REASON);
        let text = self.text(&expected)?.trim();
        let fits = (1..=hold::MAX_REASON).contains(&text.len());
        fits.then(|| text.to_owned()).ok_or_else(|| wrong(expected, format!("{} bytes", text.len())))
    }

    fn text(&self, expected: &str) -> Result<&str, Wrong> {
        match self {
            Self::Text(text) if text.len() > MAX_TEXT => {
                Err(wrong(format!("{expected}, at most {MAX_TEXT} bytes"), format!("{} bytes", text.len())))
            }
            Self::Text(text) if text.is_empty() => Err(wrong(expected, "an empty text")),
            Self::Text(text) if text.contains(char::is_control) => {
                Err(wrong(expected, format!("control characters in {}", quoted(text))))
            }
            Self::Text(text) => Ok(text),
            Self::List(list) => Err(wrong(expected, format!("a list of {}", list.len()))),
            Self::Other(kind) => Err(wrong(expected, kind.clone())),
        }
    }
}

/// As much of a text as a message needs.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn a_password_in_the_address_of_a_proxy_is_refused_and_not_repeated() {
        let wrong = text("http://anna:geheim@proxy.contoso.test:3128").proxy().expect_err("credentials");
        assert!(!format!("{wrong:?}").contains("geheim") && wrong.found.contains("proxy_credentials_file"), "{wrong:?}");
    }

    #[test]
    fn whatever_is_empty_too_long_or_of_another_kind_is_refused() {
        let long = "x".repeat(MAX_TEXT + 1);
        for raw in [text(""), text(&long), text("a\u{1}b"), Raw::List(Vec::new()), Raw::Other("REG_BINARY of 3 bytes".to_owned())]
        {
            assert!(raw.path().is_err() && raw.look_every().is_err() && raw.proxy().is_err(), "{raw:?}");
            assert!(raw.log_format().is_err() && raw.log_filter().is_err() && raw.reason().is_err(), "{raw:?}");
        }
        let many = vec!["c.contoso.test:7443".to_owned(); MAX_ADDRESSES + 1];
        for raw in [text("c.contoso.test:7443"), Raw::List(many), Raw::List(vec!["nowhere".to_owned()])] {
            assert!(raw.addresses().is_err(), "{raw:?}");
        }
        assert!(text(&"x".repeat(hold::MAX_REASON + 1)).reason().is_err());
        assert!(text("agent=loudly").log_filter().is_err());
    }
}
