//! A record, out of the structures of http.h and into them.

use std::ffi::c_void;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use windows_sys::Win32::Networking::HttpServer::{
    HTTP_SERVICE_CONFIG_ID, HTTP_SERVICE_CONFIG_SSL_CCS_SET, HTTP_SERVICE_CONFIG_SSL_PARAM, HTTP_SERVICE_CONFIG_SSL_SET,
    HTTP_SERVICE_CONFIG_SSL_SNI_SET, HttpServiceConfigSSLCertInfo, HttpServiceConfigSslCcsCertInfo,
    HttpServiceConfigSslSniCertInfo,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6, SOCKADDR, SOCKADDR_STORAGE};
use windows_sys::core::GUID;

/// The lists of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Address,
    Name,
    Central,
}

impl Kind {
    #[expect(non_upper_case_globals, reason = "as Microsoft calls them")]
    pub(crate) fn of(id: HTTP_SERVICE_CONFIG_ID) -> Option<Self> {
        match id {
            HttpServiceConfigSSLCertInfo => Some(Self::Address),
            HttpServiceConfigSslSniCertInfo => Some(Self::Name),
            HttpServiceConfigSslCcsCertInfo => Some(Self::Central),
            _ => None,
        }
    }

    /// How long the structure of a change is.
    pub(crate) fn length(self) -> usize {
        match self {
            Self::Address => size_of::<HTTP_SERVICE_CONFIG_SSL_SET>(),
            Self::Name => size_of::<HTTP_SERVICE_CONFIG_SSL_SNI_SET>(),
            Self::Central => size_of::<HTTP_SERVICE_CONFIG_SSL_CCS_SET>(),
        }
    }
}

/// How a record is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Address(SocketAddr),
    Name(String, u16),
    Central(u16),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Central(port) => write!(f, "{port}"),
        }
    }
}

/// A record.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) place: Place,
    pub(crate) hash: Vec<u8>,
    pub(crate) app_id: [u8; 16],
    pub(crate) store: Option<String>,
    pub(crate) check_mode: u32,
    pub(crate) freshness: u32,
    pub(crate) url_timeout: u32,
    pub(crate) ctl_identifier: Option<String>,
    pub(crate) ctl_store: Option<String>,
    pub(crate) flags: u32,
}

/// The endpoint of a change. `None` for one that is no endpoint.
///
/// # Safety
/// `set` must be the structure of that kind, as its page says.
pub(crate) unsafe fn place(kind: Kind, set: *const c_void) -> Option<Place> {
    // SAFETY: the caller's promise, for each of the three.
    unsafe {
        match kind {
            Kind::Address => {
                let address = (*set.cast::<HTTP_SERVICE_CONFIG_SSL_SET>()).KeyDesc.pIpPort;
                address.as_ref().and_then(|address| by_address(address)).map(Place::Address)
            }
            Kind::Name => {
                let key = (*set.cast::<HTTP_SERVICE_CONFIG_SSL_SNI_SET>()).KeyDesc;
                by_name(&key.IpPort, key.Host)
            }
            Kind::Central => central(&(*set.cast::<HTTP_SERVICE_CONFIG_SSL_CCS_SET>()).KeyDesc.LocalAddress),
        }
    }
}

/// The record of a change. `None` for one that has no endpoint.
///
/// # Safety
/// As [`place`].
pub(crate) unsafe fn record(kind: Kind, set: *const c_void) -> Option<Record> {
    // SAFETY: the caller's promise, for each of the three.
    let (place, param) = unsafe {
        let place = place(kind, set)?;
        match kind {
            Kind::Address => (place, (*set.cast::<HTTP_SERVICE_CONFIG_SSL_SET>()).ParamDesc),
            Kind::Name => (place, (*set.cast::<HTTP_SERVICE_CONFIG_SSL_SNI_SET>()).ParamDesc),
            Kind::Central => (place, (*set.cast::<HTTP_SERVICE_CONFIG_SSL_CCS_SET>()).ParamDesc),
        }
    };
    let length = usize::try_from(param.SslHashLength).ok()?;
    let hash = match (param.pSslHash.is_null(), length) {
        (_, 0) => Vec::new(),
        (true, _) => return None,
        // SAFETY: the caller says that there are so many bytes.
        (false, _) => unsafe { std::slice::from_raw_parts(param.pSslHash.cast::<u8>(), length) }.to_vec(),
    };
    // SAFETY: texts of the caller are terminated, or null.
    let [store, ctl_identifier, ctl_store] =
        [param.pSslCertStoreName, param.pDefaultSslCtlIdentifier, param.pDefaultSslCtlStoreName]
            .map(|text| unsafe { read(text) });
    let GUID { data1, data2, data3, data4 } = param.AppId;
    let mut app_id = [0; 16];
    app_id[..4].copy_from_slice(&data1.to_le_bytes());
    app_id[4..6].copy_from_slice(&data2.to_le_bytes());
    app_id[6..8].copy_from_slice(&data3.to_le_bytes());
    app_id[8..].copy_from_slice(&data4);
    Some(Record {
        place,
        hash,
        app_id,
        store,
        check_mode: param.DefaultCertCheckMode,
        freshness: param.DefaultRevocationFreshnessTime,
        url_timeout: param.DefaultRevocationUrlRetrievalTimeout,
        ctl_identifier,
        ctl_store,
        flags: param.DefaultFlags,
    })
}

/// `None` for another family than IPv4 and IPv6.
///
/// # Safety
/// The address must be as long as its family says.
pub(crate) unsafe fn by_address(address: &SOCKADDR) -> Option<SocketAddr> {
    let length = match address.sa_family {
        AF_INET => 16,
        AF_INET6 => 28,
        _ => return None,
    };
    // SAFETY: the caller's promise.
    socket_address(unsafe { std::slice::from_raw_parts(std::ptr::from_ref(address).cast(), length) })
}

/// # Safety
/// The name must be terminated, or null.
pub(crate) unsafe fn by_name(address: &SOCKADDR_STORAGE, host: *const u16) -> Option<Place> {
    // SAFETY: the caller's promise.
    let host = unsafe { read(host) }.filter(|host| !host.is_empty())?;
    Some(Place::Name(host, wildcard(address)?))
}

pub(crate) fn central(address: &SOCKADDR_STORAGE) -> Option<Place> {
    wildcard(address).map(Place::Central)
}

/// The port of the IPv4 wildcard; `None` for every other address.
fn wildcard(address: &SOCKADDR_STORAGE) -> Option<u16> {
    // SAFETY: a structure of integers without gaps, borrowed together with `address`.
    let bytes = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(address).cast(), size_of::<SOCKADDR_STORAGE>()) };
    socket_address(bytes).filter(|address| address.ip() == Ipv4Addr::UNSPECIFIED).map(|address| address.port())
}

fn socket_address(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]);
    match u16::from_le_bytes([*bytes.first()?, *bytes.get(1)?]) {
        AF_INET => Some((Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(4..8)?).ok()?), port).into()),
        AF_INET6 => {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?);
            let scope = u32::from_le_bytes(bytes.get(24..28)?.try_into().ok()?);
            Some(SocketAddrV6::new(ip, port, 0, scope).into())
        }
        _ => None,
    }
}

/// The text of a terminated name.
///
/// # Safety
/// It must be terminated, or null.
unsafe fn read(text: *const u16) -> Option<String> {
    if text.is_null() {
        return None;
    }
    let mut units = Vec::new();
    let mut at = text;
    // SAFETY: the caller's promise: there is a NUL, and this stops there.
    unsafe {
        while *at != 0 {
            units.push(*at);
            at = at.add(1);
        }
    }
    Some(String::from_utf16_lossy(&units))
}

/// The answer to a query: the structure of that kind, and behind it what it points to, for a buffer that begins at `base`.
pub(crate) fn answer(record: &Record, base: usize) -> Vec<u8> {
    let Record { place, hash, app_id, store, check_mode, freshness, url_timeout, ctl_identifier, ctl_store, flags } = record;
    let kind = match place {
        Place::Address(_) => Kind::Address,
        Place::Name(..) => Kind::Name,
        Place::Central(_) => Kind::Central,
    };
    let mut bytes = vec![0; kind.length()];
    let mut add = |what: &[u8]| {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let pointer = base + bytes.len();
        bytes.extend(what);
        pointer
    };
    let mut text = |text: &Option<String>| {
        let units = text.iter().flat_map(|text| text.encode_utf16().chain([0]));
        let bytes: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
        if bytes.is_empty() { 0 } else { add(&bytes) }
    };
    let [store, ctl_identifier, ctl_store] = [store, ctl_identifier, ctl_store].map(&mut text);
    let name = match place {
        Place::Name(host, _) => text(&Some(host.clone())),
        Place::Address(_) | Place::Central(_) => 0,
    };
    let hash = if hash.is_empty() { (0, 0) } else { (hash.len(), add(hash)) };
    let address = match place {
        Place::Address(address) => sockaddr(*address),
        Place::Name(_, port) | Place::Central(port) => sockaddr((Ipv4Addr::UNSPECIFIED, *port).into()),
    };
    let guid = GUID {
        data1: u32::from_le_bytes([app_id[0], app_id[1], app_id[2], app_id[3]]),
        data2: u16::from_le_bytes([app_id[4], app_id[5]]),
        data3: u16::from_le_bytes([app_id[6], app_id[7]]),
        data4: [app_id[8], app_id[9], app_id[10], app_id[11], app_id[12], app_id[13], app_id[14], app_id[15]],
    };
    let param = HTTP_SERVICE_CONFIG_SSL_PARAM {
        SslHashLength: u32::try_from(hash.0).unwrap_or(u32::MAX),
        pSslHash: hash.1 as *mut c_void,
        AppId: guid,
        pSslCertStoreName: store as *mut u16,
        DefaultCertCheckMode: *check_mode,
        DefaultRevocationFreshnessTime: *freshness,
        DefaultRevocationUrlRetrievalTimeout: *url_timeout,
        pDefaultSslCtlIdentifier: ctl_identifier as *mut u16,
        pDefaultSslCtlStoreName: ctl_store as *mut u16,
        DefaultFlags: *flags,
    };
    match kind {
        Kind::Address => {
            let pointer = add(&address);
            let mut set = HTTP_SERVICE_CONFIG_SSL_SET { ParamDesc: param, ..Default::default() };
            set.KeyDesc.pIpPort = pointer as *mut SOCKADDR;
            begin(&mut bytes, &set);
        }
        Kind::Name => {
            let mut set = HTTP_SERVICE_CONFIG_SSL_SNI_SET { ParamDesc: param, ..Default::default() };
            set.KeyDesc.IpPort = storage(address);
            set.KeyDesc.Host = name as *mut u16;
            begin(&mut bytes, &set);
        }
        Kind::Central => {
            let mut set = HTTP_SERVICE_CONFIG_SSL_CCS_SET { ParamDesc: param, ..Default::default() };
            set.KeyDesc.LocalAddress = storage(address);
            begin(&mut bytes, &set);
        }
    }
    bytes
}

fn begin<T>(bytes: &mut [u8], structure: &T) {
    // SAFETY: the structure lives through the copy, and `answer` has made room for it at the front.
    unsafe { std::ptr::copy_nonoverlapping(std::ptr::from_ref(structure).cast(), bytes.as_mut_ptr(), size_of::<T>()) };
}

/// As long as the longer of the two.
fn sockaddr(address: SocketAddr) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            bytes[..2].copy_from_slice(&AF_INET.to_le_bytes());
            bytes[4..8].copy_from_slice(&v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            bytes[..2].copy_from_slice(&AF_INET6.to_le_bytes());
            bytes[8..24].copy_from_slice(&v6.ip().octets());
            bytes[24..].copy_from_slice(&v6.scope_id().to_le_bytes());
        }
    }
    bytes
}

fn storage(address: [u8; 28]) -> SOCKADDR_STORAGE {
    let mut storage = SOCKADDR_STORAGE::default();
    // SAFETY: a structure of integers with room for more than 28 bytes.
    unsafe { std::ptr::copy_nonoverlapping(address.as_ptr(), (&raw mut storage).cast(), address.len()) };
    storage
}
