//! Records in the registry, as Windows keeps them.

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_SUCCESS};

use crate::control;
use crate::record::{Kind, Place, Record};
use ::control::registry;

/// All records of a kind, in the order of their keys.
pub(crate) fn records(kind: Kind) -> Vec<Record> {
    let list = list(kind);
    registry::keys(&list).into_iter().filter_map(|name| read(kind, &list, &name)).collect()
}

/// The record at a place.
pub(crate) fn find(kind: Kind, place: &Place) -> Option<Record> {
    key(kind, place).and_then(|name| read(kind, &list(kind), &name))
}

/// Writes a record, where one is or none; what the key holds beside it stays.
pub(crate) fn write(kind: Kind, record: &Record) -> u32 {
    let Record { place, hash, app_id, store, check_mode, freshness, url_timeout, ctl_identifier, ctl_store, flags } = record;
    let list = list(kind);
    let path = format!("{list}\\{}", key(kind, place).unwrap_or_else(|| new_key(&list, place)));
    let mut code = ERROR_SUCCESS;
    let mut note = |answer: u32| {
        if code == ERROR_SUCCESS {
            code = answer;
        }
    };
    if let Place::Name(..) = place {
        note(registry::set_text(&path, "HostnamePort", &place.to_string()));
    }
    if hash.is_empty() {
        registry::unset(&path, "SslCertHash");
    } else {
        note(registry::set_bytes(&path, "SslCertHash", hash));
    }
    note(registry::set_bytes(&path, "AppId", app_id));
    for (name, text) in
        [("SslCertStoreName", store), ("DefaultSslCtlIdentifier", ctl_identifier), ("DefaultSslCtlStoreName", ctl_store)]
    {
        match text {
            Some(text) => note(registry::set_text(&path, name, text)),
            None => registry::unset(&path, name),
        }
    }
    for (name, number) in [
        ("DefaultSslCertCheckMode", check_mode),
        ("DefaultSslRevocationFreshnessTime", freshness),
        ("DefaultSslRevocationUrlRetrievalTimeout", url_timeout),
        ("DefaultFlags", flags),
    ] {
        note(registry::set_number(&path, name, *number));
    }
    code
}

/// Removes the record at a place.
pub(crate) fn remove(kind: Kind, place: &Place) -> u32 {
    key(kind, place).map_or(ERROR_FILE_NOT_FOUND, |name| registry::remove(&format!("{}\\{name}", list(kind))))
}

fn list(kind: Kind) -> String {
    let name = match kind {
        Kind::Address => "SslBindingInfo",
        Kind::Name => "SslSniBindingInfo",
        Kind::Central => "SslCcsBindingInfo",
    };
    format!("{}\\{name}", control::home())
}

/// The name of the key of a record that is there.
fn key(kind: Kind, place: &Place) -> Option<String> {
    let list = list(kind);
    let wanted = place.to_string();
    registry::keys(&list).into_iter().find(|name| match kind {
        Kind::Address | Kind::Central => *name == wanted,
        Kind::Name => registry::text(&format!("{list}\\{name}"), "HostnamePort")
            .is_some_and(|endpoint| endpoint.eq_ignore_ascii_case(&wanted)),
    })
}

/// The name of the key of a record that is not there yet.
fn new_key(list: &str, place: &Place) -> String {
    let Place::Name(..) = place else { return place.to_string() };
    let taken = registry::keys(list);
    let numbered = |number: usize| format!("{{00000000-0000-0000-0000-{number:012}}}");
    (1..).map(numbered).find(|name| !taken.contains(name)).unwrap_or_else(|| numbered(0))
}

fn read(kind: Kind, list: &str, name: &str) -> Option<Record> {
    let path = format!("{list}\\{name}");
    let place = match kind {
        Kind::Address => Place::Address(name.parse().ok()?),
        Kind::Name => {
            let endpoint = registry::text(&path, "HostnamePort")?;
            let (host, port) = endpoint.rsplit_once(':')?;
            Place::Name(host.to_owned(), port.parse().ok()?)
        }
        Kind::Central => Place::Central(name.parse().ok()?),
    };
    let number = |name: &str| registry::number(&path, name).unwrap_or(0);
    Some(Record {
        place,
        hash: registry::bytes(&path, "SslCertHash").unwrap_or_default(),
        app_id: registry::bytes(&path, "AppId").and_then(|bytes| bytes.try_into().ok()).unwrap_or_default(),
        store: registry::text(&path, "SslCertStoreName"),
        check_mode: number("DefaultSslCertCheckMode"),
        freshness: number("DefaultSslRevocationFreshnessTime"),
        url_timeout: number("DefaultSslRevocationUrlRetrievalTimeout"),
        ctl_identifier: registry::text(&path, "DefaultSslCtlIdentifier"),
        ctl_store: registry::text(&path, "DefaultSslCtlStoreName"),
        flags: number("DefaultFlags"),
    })
}
