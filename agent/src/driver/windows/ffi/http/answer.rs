//! Records on the way from http.sys: a buffer, and pointers in it that are believed only when they lead into it.

use std::ffi::c_void;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use policy::report::RecordKind;
use uuid::Uuid;
use windows_sys::Win32::Networking::HttpServer::{
    HTTP_SERVICE_CONFIG_SSL_CCS_SET, HTTP_SERVICE_CONFIG_SSL_PARAM, HTTP_SERVICE_CONFIG_SSL_SET, HTTP_SERVICE_CONFIG_SSL_SNI_SET,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6, SOCKADDR_STORAGE};

use super::{At, Entry};
use crate::driver::DriverError;
use crate::driver::windows::ffi::text;

/// What one query gave. Aligned for the structures of http.h; zero behind what was written.
#[derive(Debug)]
pub(super) struct Answer(Vec<u64>);

/// A structure of integers and pointers: any bytes are one.
///
/// # Safety
/// Any bytes must be a valid value.
unsafe trait Plain: Copy {}
// SAFETY: integers, and a pointer that is only compared.
unsafe impl Plain for HTTP_SERVICE_CONFIG_SSL_SET {}
// SAFETY: as before.
unsafe impl Plain for HTTP_SERVICE_CONFIG_SSL_SNI_SET {}
// SAFETY: as before.
unsafe impl Plain for HTTP_SERVICE_CONFIG_SSL_CCS_SET {}

impl Answer {
    /// Room for at least so many bytes.
    pub(super) fn with_room(bytes: usize) -> Self {
        Self(vec![0; bytes.div_ceil(size_of::<u64>())])
    }

    /// How many bytes there is room for.
    pub(super) fn len(&self) -> usize {
        size_of_val(self.0.as_slice())
    }

    /// The same, as the calls want it.
    pub(super) fn room(&self) -> u32 {
        u32::try_from(self.len()).expect("no more than a bounded answer")
    }

    /// Where to write.
    pub(super) fn as_mut_ptr(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }

    /// The record of that kind that the answer begins with.
    pub(super) fn entry(&self, kind: RecordKind) -> Result<Entry, DriverError> {
        match kind {
            RecordKind::Address => {
                let HTTP_SERVICE_CONFIG_SSL_SET { KeyDesc, ParamDesc } = self.read()?;
                let address = self.behind("pIpPort", KeyDesc.pIpPort)?.and_then(address);
                let address = address.ok_or_else(|| damaged("pIpPort", "an IPv4 or IPv6 address", "another one"))?;
                self.parameters(At::Address(address), ParamDesc)
            }
            RecordKind::Sni => {
                let HTTP_SERVICE_CONFIG_SSL_SNI_SET { KeyDesc, ParamDesc } = self.read()?;
                let host = self.text("Host", KeyDesc.Host)?.ok_or_else(|| damaged("Host", "a name", "none"))?;
                self.parameters(At::Name(host, port(&KeyDesc.IpPort)?), ParamDesc)
            }
            RecordKind::Ccs => {
                let HTTP_SERVICE_CONFIG_SSL_CCS_SET { KeyDesc, ParamDesc } = self.read()?;
                self.parameters(At::Central(port(&KeyDesc.LocalAddress)?), ParamDesc)
            }
        }
    }

    fn parameters(&self, at: At, param: HTTP_SERVICE_CONFIG_SSL_PARAM) -> Result<Entry, DriverError> {
        let HTTP_SERVICE_CONFIG_SSL_PARAM {
            SslHashLength,
            pSslHash,
            AppId,
            pSslCertStoreName,
            DefaultCertCheckMode,
            DefaultRevocationFreshnessTime,
            DefaultRevocationUrlRetrievalTimeout,
            pDefaultSslCtlIdentifier,
            pDefaultSslCtlStoreName,
            DefaultFlags,
        } = param;
        let hash = match usize::try_from(SslHashLength).expect("32 bits fit into 64") {
            0 => Vec::new(),
            length => {
                let bytes = self.behind("pSslHash", pSslHash)?.and_then(|bytes| bytes.get(..length));
                bytes.ok_or_else(|| damaged("pSslHash", "as many bytes as it has", "fewer"))?.to_vec()
            }
        };
        Ok(Entry {
            at,
            hash,
            app_id: Uuid::from_fields(AppId.data1, AppId.data2, AppId.data3, &AppId.data4),
            store: self.text("pSslCertStoreName", pSslCertStoreName)?,
            check_mode: DefaultCertCheckMode,
            freshness: DefaultRevocationFreshnessTime,
            url_timeout: DefaultRevocationUrlRetrievalTimeout,
            ctl_identifier: self.text("pDefaultSslCtlIdentifier", pDefaultSslCtlIdentifier)?,
            ctl_store: self.text("pDefaultSslCtlStoreName", pDefaultSslCtlStoreName)?,
            flags: DefaultFlags,
        })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: initialised memory of exactly this length, borrowed together with `self`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.len()) }
    }

    fn read<T: Plain>(&self) -> Result<T, DriverError> {
        if self.len() < size_of::<T>() {
            return Err(damaged("the record", "a whole one", "less"));
        }
        // SAFETY: there are enough bytes, and any bytes are a `T`.
        Ok(unsafe { self.0.as_ptr().cast::<T>().read_unaligned() })
    }

    /// Everything from where a pointer leads to the end of the answer; `None` for a null pointer.
    fn behind<T>(&self, field: &str, pointer: *const T) -> Result<Option<&[u8]>, DriverError> {
        if pointer.is_null() {
            return Ok(None);
        }
        let offset = pointer.addr().checked_sub(self.0.as_ptr().addr());
        let bytes = offset.and_then(|offset| self.bytes().get(offset..)).filter(|bytes| !bytes.is_empty());
        bytes.map(Some).ok_or_else(|| damaged(field, "a pointer into the answer", "one that leads out of it"))
    }

    /// The text that a pointer leads to; `None` for a null pointer.
    fn text(&self, field: &str, pointer: *const u16) -> Result<Option<String>, DriverError> {
        let Some(bytes) = self.behind(field, pointer)? else { return Ok(None) };
        let units: Vec<u16> = bytes.as_chunks().0.iter().map(|unit| u16::from_ne_bytes(*unit)).collect();
        if units.contains(&0) { Ok(Some(text(&units))) } else { Err(damaged(field, "a text with an end", "one without")) }
    }
}

/// The port of a key that must have the IPv4 wildcard address.
fn port(storage: &SOCKADDR_STORAGE) -> Result<u16, DriverError> {
    // SAFETY: a structure of integers without gaps, borrowed together with `storage`.
    let bytes = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(storage).cast::<u8>(), size_of_val(storage)) };
    match address(bytes) {
        Some(address) if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ok(address.port()),
        Some(address) => Err(damaged("the address", "0.0.0.0", &address.to_string())),
        None => Err(damaged("the address", "0.0.0.0", "none of IPv4 or IPv6")),
    }
}

/// A `SOCKADDR_IN` or `SOCKADDR_IN6`; `None` for another family, or for too few bytes.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match u16::from_ne_bytes(*bytes.first_chunk()?) {
        AF_INET => Some((Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?), port).into()),
        AF_INET6 => {
            let number = |at| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
            let ip = Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?);
            Some(SocketAddrV6::new(ip, port, number(4)?, number(24)?).into())
        }
        _ => None,
    }
}

fn damaged(field: &str, expected: &str, found: &str) -> DriverError {
    let object = format!("{field} in a record of http.sys");
    DriverError::Unreadable { object, expected: expected.to_owned(), found: found.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use windows_sys::Win32::Networking::HttpServer::HTTP_SERVICE_CONFIG_SSL_KEY;

    use super::*;

    const ROOM: usize = 512;

    /// Where the tests write what pointers lead to.
    const BEHIND: usize = 256;

    /// An answer that begins with a record by address, whose pointers `fill` may set; it is told where the answer begins.
    fn answer(bytes: &[u8], fill: impl FnOnce(*mut u8, &mut HTTP_SERVICE_CONFIG_SSL_SET)) -> Answer {
        let mut answer = Answer::with_room(ROOM);
        let begin: *mut u8 = answer.as_mut_ptr().cast();
        let mut set = HTTP_SERVICE_CONFIG_SSL_SET {
            KeyDesc: HTTP_SERVICE_CONFIG_SSL_KEY { pIpPort: begin.wrapping_add(BEHIND).cast() },
            ParamDesc: HTTP_SERVICE_CONFIG_SSL_PARAM::default(),
        };
        fill(begin, &mut set);
        // SAFETY: there is room for both, one behind the other.
        unsafe {
            begin.cast::<HTTP_SERVICE_CONFIG_SSL_SET>().write(set);
            ptr::copy_nonoverlapping(bytes.as_ptr(), begin.add(BEHIND), bytes.len());
        }
        answer
    }

    const ADDRESS: [u8; 16] = [2, 0, 1, 0xBC, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];

    fn read(bytes: &[u8], fill: impl FnOnce(*mut u8, &mut HTTP_SERVICE_CONFIG_SSL_SET)) -> Result<Entry, String> {
        answer(bytes, fill).entry(RecordKind::Address).map_err(|error| error.to_string())
    }

    #[test]
    fn a_record_without_names_is_read() {
        let entry = read(&ADDRESS, |_, _| {}).unwrap();
        assert_eq!(entry, Entry::nothing(At::Address("10.0.0.1:444".parse().unwrap())));
    }

    #[test]
    fn pointers_that_lead_out_of_the_answer_are_errors() {
        let out = |field| {
            Err(format!("{field} in a record of http.sys: expected a pointer into the answer, found one that leads out of it"))
        };
        for pointer in [-1, 512, 100_000] {
            assert_eq!(read(&ADDRESS, |begin, set| set.KeyDesc.pIpPort = begin.wrapping_offset(pointer).cast()), out("pIpPort"));
            let store = read(&ADDRESS, |begin, set| set.ParamDesc.pSslCertStoreName = begin.wrapping_offset(pointer).cast());
            assert_eq!(store, out("pSslCertStoreName"));
            let hash = read(&ADDRESS, |begin, set| {
                set.ParamDesc.SslHashLength = 20;
                set.ParamDesc.pSslHash = begin.wrapping_offset(pointer).cast();
            });
            assert_eq!(hash, out("pSslHash"));
        }
    }

    #[test]
    fn what_reaches_beyond_the_end_of_the_answer_is_an_error() {
        let hash = read(&ADDRESS, |begin, set| {
            set.ParamDesc.SslHashLength = 20;
            set.ParamDesc.pSslHash = begin.wrapping_add(ROOM - 19).cast();
        });
        assert!(hash.unwrap_err().ends_with("expected as many bytes as it has, found fewer"));
        let mut rest = [b'x'; ROOM - BEHIND];
        rest[..16].copy_from_slice(&ADDRESS);
        let name = read(&rest, |begin, set| set.ParamDesc.pSslCertStoreName = begin.wrapping_add(ROOM - 8).cast());
        assert!(name.unwrap_err().ends_with("expected a text with an end, found one without"));
        let address = read(&ADDRESS, |begin, set| set.KeyDesc.pIpPort = begin.wrapping_add(ROOM - 3).cast());
        assert!(address.unwrap_err().ends_with("expected an IPv4 or IPv6 address, found another one"));
    }

    #[test]
    fn what_must_be_there_and_is_not_is_an_error() {
        assert!(read(&ADDRESS, |_, set| set.KeyDesc.pIpPort = ptr::null_mut()).is_err());
        assert!(read(&ADDRESS, |_, set| set.ParamDesc.SslHashLength = 20).unwrap_err().ends_with("found fewer"));
        assert!(read(&[17; 16], |_, _| {}).unwrap_err().ends_with("expected an IPv4 or IPv6 address, found another one"));
        assert!(Answer::with_room(16).entry(RecordKind::Sni).unwrap_err().to_string().ends_with("a whole one, found less"));
        assert!(Answer::with_room(ROOM).entry(RecordKind::Sni).unwrap_err().to_string().ends_with("expected a name, found none"));
        let central = Answer::with_room(ROOM).entry(RecordKind::Ccs).unwrap_err().to_string();
        assert!(central.ends_with("expected 0.0.0.0, found none of IPv4 or IPv6"), "{central}");
    }
}
