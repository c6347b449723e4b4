//! Records on the way to http.sys: the structures of http.h, alive as long as the call that reads them.

use std::ffi::c_void;
use std::net::{Ipv4Addr, SocketAddr};
use std::{mem, ptr};

use policy::report::RecordKind;
use uuid::Uuid;
use windows_sys::Win32::Networking::HttpServer::{
    HTTP_SERVICE_CONFIG_QUERY_TYPE, HTTP_SERVICE_CONFIG_SSL_CCS_KEY, HTTP_SERVICE_CONFIG_SSL_CCS_QUERY,
    HTTP_SERVICE_CONFIG_SSL_CCS_SET, HTTP_SERVICE_CONFIG_SSL_KEY, HTTP_SERVICE_CONFIG_SSL_PARAM, HTTP_SERVICE_CONFIG_SSL_QUERY,
    HTTP_SERVICE_CONFIG_SSL_SET, HTTP_SERVICE_CONFIG_SSL_SNI_KEY, HTTP_SERVICE_CONFIG_SSL_SNI_QUERY,
    HTTP_SERVICE_CONFIG_SSL_SNI_SET,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6, SOCKADDR_STORAGE};
use windows_sys::core::{GUID, PWSTR};

use super::{At, Entry};
use crate::driver::windows::ffi::Wide;

impl Entry {
    /// Only the endpoint: a call that removes a record reads no more of it.
    pub(super) fn nothing(at: At) -> Self {
        Self {
            at,
            hash: Vec::new(),
            app_id: Uuid::nil(),
            store: None,
            check_mode: 0,
            freshness: 0,
            url_timeout: 0,
            ctl_identifier: None,
            ctl_store: None,
            flags: 0,
        }
    }
}

/// Calls with `HTTP_SERVICE_CONFIG_SSL_SET` and its siblings.
pub(super) fn set(entry: &Entry, call: impl FnOnce(*const c_void, u32) -> u32) -> u32 {
    let Entry { at, hash, app_id, store, check_mode, freshness, url_timeout, ctl_identifier, ctl_store, flags } = entry;
    let names = [store, ctl_identifier, ctl_store].map(|name| name.as_ref().map(Wide::new));
    let [store, ctl_identifier, ctl_store] = names.each_ref().map(|name| name.as_ref().map_or(ptr::null_mut(), given));
    let param = HTTP_SERVICE_CONFIG_SSL_PARAM {
        SslHashLength: u32::try_from(hash.len()).expect("a hash of a few bytes"),
        pSslHash: if hash.is_empty() { ptr::null_mut() } else { hash.as_ptr().cast_mut().cast() },
        AppId: guid(*app_id),
        pSslCertStoreName: store,
        DefaultCertCheckMode: *check_mode,
        DefaultRevocationFreshnessTime: *freshness,
        DefaultRevocationUrlRetrievalTimeout: *url_timeout,
        pDefaultSslCtlIdentifier: ctl_identifier,
        pDefaultSslCtlStoreName: ctl_store,
        DefaultFlags: *flags,
    };
    match at {
        At::Address(address) => {
            let mut address = storage(*address);
            let key = HTTP_SERVICE_CONFIG_SSL_KEY { pIpPort: (&raw mut address).cast() };
            with(&HTTP_SERVICE_CONFIG_SSL_SET { KeyDesc: key, ParamDesc: param }, call)
        }
        At::Name(host, port) => {
            let host = Wide::new(host);
            let key = HTTP_SERVICE_CONFIG_SSL_SNI_KEY { IpPort: any(*port), Host: given(&host) };
            with(&HTTP_SERVICE_CONFIG_SSL_SNI_SET { KeyDesc: key, ParamDesc: param }, call)
        }
        At::Central(port) => {
            let key = HTTP_SERVICE_CONFIG_SSL_CCS_KEY { LocalAddress: any(*port) };
            with(&HTTP_SERVICE_CONFIG_SSL_CCS_SET { KeyDesc: key, ParamDesc: param }, call)
        }
    }
}

/// Calls with `HTTP_SERVICE_CONFIG_SSL_QUERY` and its siblings: for the record at `at`, or for the one of that number.
pub(super) fn query(
    kind: RecordKind,
    what: HTTP_SERVICE_CONFIG_QUERY_TYPE,
    at: Option<&At>,
    token: u32,
    call: impl FnOnce(*const c_void, u32) -> u32,
) -> u32 {
    let mut address = SOCKADDR_STORAGE::default();
    let mut name = None;
    match at {
        Some(At::Address(at)) => address = storage(*at),
        Some(At::Name(host, port)) => (address, name) = (any(*port), Some(Wide::new(host))),
        Some(At::Central(port)) => address = any(*port),
        None => {}
    }
    match kind {
        RecordKind::Address => {
            let address = if at.is_some() { (&raw mut address).cast() } else { ptr::null_mut() };
            let key = HTTP_SERVICE_CONFIG_SSL_KEY { pIpPort: address };
            with(&HTTP_SERVICE_CONFIG_SSL_QUERY { QueryDesc: what, KeyDesc: key, dwToken: token }, call)
        }
        RecordKind::Sni => {
            let host = name.as_ref().map_or(ptr::null_mut(), given);
            let key = HTTP_SERVICE_CONFIG_SSL_SNI_KEY { IpPort: address, Host: host };
            with(&HTTP_SERVICE_CONFIG_SSL_SNI_QUERY { QueryDesc: what, KeyDesc: key, dwToken: token }, call)
        }
        RecordKind::Ccs => {
            let key = HTTP_SERVICE_CONFIG_SSL_CCS_KEY { LocalAddress: address };
            with(&HTTP_SERVICE_CONFIG_SSL_CCS_QUERY { QueryDesc: what, KeyDesc: key, dwToken: token }, call)
        }
    }
}

fn with<T>(input: &T, call: impl FnOnce(*const c_void, u32) -> u32) -> u32 {
    call(ptr::from_ref(input).cast(), u32::try_from(size_of::<T>()).expect("a structure of some hundred bytes"))
}

/// The structures have no `const`; the calls only read.
fn given(text: &Wide) -> PWSTR {
    text.as_ptr().cast_mut()
}

fn guid(id: Uuid) -> GUID {
    let (data1, data2, data3, data4) = id.as_fields();
    GUID { data1, data2, data3, data4: *data4 }
}

/// The IPv4 wildcard, which records by name and of the central store must have (Microsoft: `HTTP_SERVICE_CONFIG_SSL_SNI_KEY`,
/// `HTTP_SERVICE_CONFIG_SSL_CCS_KEY`).
fn any(port: u16) -> SOCKADDR_STORAGE {
    storage((Ipv4Addr::UNSPECIFIED, port).into())
}

/// `SOCKADDR_IN` or `SOCKADDR_IN6`, in the room that is enough for each.
fn storage(address: SocketAddr) -> SOCKADDR_STORAGE {
    let mut bytes = [0; size_of::<SOCKADDR_STORAGE>()];
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
            bytes[4..8].copy_from_slice(&v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            bytes[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
            bytes[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
            bytes[8..24].copy_from_slice(&v6.ip().octets());
            bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
        }
    }
    // SAFETY: a structure of integers, for which any bytes will do.
    unsafe { mem::transmute::<[u8; size_of::<SOCKADDR_STORAGE>()], SOCKADDR_STORAGE>(bytes) }
}
