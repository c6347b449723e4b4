//! `netsh http show sslcert`: all http.sys records, in the words of the machine's language.
//!
//! Only the labels are translated. Each record has the same lines in the same order in every language, and what the first
//! lines hold cannot be mistaken: an endpoint, 40 hexadecimal digits, a GUID. So the reading goes by order and shape; the
//! labels are used only for switches that newer versions of Windows append, most of whose names no language changes.
//! A record whose switches are in words of an unknown language keeps endpoint, hash, owner and store; its parameters are unknown.

use policy::id::Thumbprint;
use policy::report::{Fact, RecordKind, SslParameters, SslRecord};
use thiserror::Error;

/// Headings of the list, in English and German.
const HEADINGS: [&str; 2] = ["SSL Certificate bindings", "SSL-Zertifikatbindungen"];

/// The words for a switch that is on and off, in English and German.
const ON: [&str; 5] = ["Enabled", "Set", "Aktiviert", "Festgelegt", "Ja"];
const OFF: [&str; 7] = ["Disabled", "Not Set", "Deaktiviert", "Nicht festgelegt", "Nicht gesetzt", "Nein", "(null)"];

/// Switches behind the fixed lines: part of the label, and the bit in `DefaultFlags`. The first that fits is taken.
const SWITCHES: [(&str, u32); 15] = [
    ("Reject", 0x8),
    ("ablehnen", 0x8),
    ("HTTP2", 0x10),
    ("HTTP/2", 0x10),
    ("QUIC", 0x20),
    ("TLS1.2", 0x1000),
    ("TLS1.3", 0x40),
    ("OCSP", 0x80),
    ("Token", 0x100),
    ("Extended Events", 0x200),
    ("Legacy TLS", 0x400),
    ("Session Ticket", 0x800),
    ("Correlation", 0x2000),
    ("Session ID", 0x4000),
    ("Client Hello", 0x8000),
];

/// Text that is not what `netsh http show sslcert` prints.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected the list of SSL certificate bindings that `netsh http show sslcert` prints, found no heading and no record")]
pub struct NetshError;

struct Line<'a> {
    label: &'a str,
    value: &'a str,
}

/// Reads the records.
///
/// # Errors
/// [`NetshError`] when there is neither a record nor the heading of an empty list.
pub fn read(text: &str) -> Result<Vec<SslRecord>, NetshError> {
    let lines: Vec<Line<'_>> = text.lines().filter_map(line).collect();
    let begins: Vec<usize> = (0..lines.len()).filter(|at| begins(&lines, *at)).collect();
    if begins.is_empty() && !HEADINGS.iter().any(|heading| text.contains(heading)) {
        return Err(NetshError);
    }
    let ends = begins.iter().skip(1).copied().chain([lines.len()]);
    Ok(begins.iter().zip(ends).filter_map(|(begin, end)| record(lines.get(*begin..end)?)).collect())
}

/// A label may hold a colon (`IP:port`), and so may a value: they are divided by the first one between spaces.
fn line(text: &str) -> Option<Line<'_>> {
    let text = text.trim_end();
    let (label, value) = text.split_once(" : ").or_else(|| Some((text.strip_suffix(" :")?, "")))?;
    Some(Line { label: label.trim(), value: value.trim() })
}

/// A record begins with its endpoint, and hash or owner follow at once. A port alone is easily mistaken: its owner must follow.
fn begins(lines: &[Line<'_>], at: usize) -> bool {
    let Some((line, next)) = lines.get(at).zip(lines.get(at + 1)) else { return false };
    let owned = [Some(next), lines.get(at + 2)].into_iter().flatten().any(|line| is_guid(line.value));
    let hash_or_owner = matches!(next.value, "" | "(null)") || is_guid(next.value) || next.value.parse::<Thumbprint>().is_ok();
    match endpoint(line.value) {
        Some((RecordKind::Ccs, _)) => owned,
        Some((RecordKind::Address | RecordKind::Sni, _)) => hash_or_owner,
        None => false,
    }
}

fn endpoint(value: &str) -> Option<(RecordKind, String)> {
    let Some((host, port)) = value.rsplit_once(':') else {
        // A record of the central certificate store is known by its port alone.
        return value.parse::<u16>().ok().map(|port| (RecordKind::Ccs, format!("*:{port}")));
    };
    port.parse::<u16>().ok()?;
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = host.parse::<std::net::Ipv4Addr>().is_ok() || v6.is_some();
    let fits = !host.is_empty() && !host.contains(char::is_whitespace) && !host.contains('{');
    fits.then(|| (if address { RecordKind::Address } else { RecordKind::Sni }, value.to_owned()))
}

fn is_guid(value: &str) -> bool {
    value.len() == 38 && value.starts_with('{') && value.ends_with('}')
}

fn record(lines: &[Line<'_>]) -> Option<SslRecord> {
    let (first, rest) = lines.split_first()?;
    let (kind, endpoint) = endpoint(first.value)?;
    let (hash, rest) = match rest.split_first()? {
        (line, after) if !is_guid(line.value) => (line.value.parse().ok(), after),
        _ => (None, rest),
    };
    let (owner, rest) = match rest.split_first() {
        Some((line, after)) if is_guid(line.value) => (Fact::Known(line.value.to_owned()), after),
        Some(_) | None => (Fact::Unknown("netsh shows no application id".to_owned()), rest),
    };
    // The central store is a folder: its records name no certificate store.
    let store_shown =
        kind != RecordKind::Ccs && rest.first().is_some_and(|line| switch(line.value).is_none() || line.value == "(null)");
    let (store, rest) = match rest.split_first() {
        Some((line, after)) if store_shown => (Some(line.value).filter(|store| !matches!(*store, "" | "(null)")), after),
        Some(_) | None => (None, rest),
    };
    Some(SslRecord {
        kind,
        endpoint,
        thumbprint: hash,
        store: store.map(str::to_owned),
        app_id: owner,
        parameters: parameters(rest).map_or_else(Fact::Unknown, Fact::Known),
    })
}

/// The lines behind the store: three switches, two numbers, two names, two switches, then what newer versions append.
fn parameters(lines: &[Line<'_>]) -> Result<SslParameters, String> {
    let [revocation, cached_only, usage, freshness, timeout, ctl_identifier, ctl_store, mapper, negotiate, newer @ ..] = lines
    else {
        return Err(format!("expected nine lines of parameters, netsh shows {}", lines.len()));
    };
    let freshness = number(freshness)?;
    let mut check_mode = 0;
    for (bit, set) in [(0x1, !is_on(revocation)?), (0x2, is_on(cached_only)?), (0x4, freshness != 0), (0x1_0000, !is_on(usage)?)]
    {
        check_mode |= if set { bit } else { 0 };
    }
    let mut flags = 0;
    for (bit, line) in [(0x1, mapper), (0x2, negotiate)] {
        flags |= if is_on(line)? { bit } else { 0 };
    }
    for line in newer {
        // Numbers behind the switches are extended properties, which the parameters of a record do not hold.
        if line.value.parse::<u64>().is_ok() || !is_on(line)? {
            continue;
        }
        let bit = SWITCHES.iter().find(|(part, _)| line.label.contains(part)).map(|(_, bit)| bit);
        flags |= bit.ok_or_else(|| format!("netsh shows {:?} as set, whose meaning is not known here", line.label))?;
    }
    let name = |line: &Line<'_>| Some(line.value.to_owned()).filter(|name| !matches!(name.as_str(), "" | "(null)"));
    Ok(SslParameters {
        check_mode,
        freshness,
        url_timeout: number(timeout)?,
        ctl_identifier: name(ctl_identifier),
        ctl_store: name(ctl_store),
        flags,
    })
}

fn switch(value: &str) -> Option<bool> {
    match (ON.contains(&value), OFF.contains(&value)) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

fn is_on(line: &Line<'_>) -> Result<bool, String> {
    switch(line.value)
        .ok_or_else(|| format!("netsh shows {:?} as {:?}, in words that are not known here", line.label, line.value))
}

fn number(line: &Line<'_>) -> Result<u32, String> {
    line.value.parse().map_err(|_| format!("netsh shows {:?} as {:?}, expected a number", line.label, line.value))
}

#[cfg(test)]
mod tests;
