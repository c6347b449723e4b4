//! A TLS handshake by Schannel, as a client of this machine makes one: the front end asks the back end over it, so what the
//! machine's TLS policy permits is what is offered here (EXCHANGE.md 5.6). It verifies nothing and records what it is shown.
//!
//! secur32.dll has had these calls since Windows 2000. `SCHANNEL_CRED` is what every Windows knows; with it Schannel offers up
//! to TLS 1.2, also on a Windows that has 1.3 (Microsoft, `SCH_CREDENTIALS`).

use std::ffi::c_void;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::ptr;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{SEC_E_INCOMPLETE_MESSAGE, SEC_E_OK, SEC_I_CONTINUE_NEEDED, SEC_I_INCOMPLETE_CREDENTIALS};
use windows_sys::Win32::Security::Authentication::Identity::{
    AcquireCredentialsHandleW, DeleteSecurityContext, FreeContextBuffer, FreeCredentialsHandle, ISC_REQ_ALLOCATE_MEMORY,
    ISC_REQ_CONFIDENTIALITY, ISC_REQ_MANUAL_CRED_VALIDATION, ISC_REQ_REPLAY_DETECT, ISC_REQ_SEQUENCE_DETECT, ISC_REQ_STREAM,
    ISC_REQ_USE_SUPPLIED_CREDS, InitializeSecurityContextW, QueryContextAttributesW, SCH_CRED_MANUAL_CRED_VALIDATION,
    SCH_CRED_NO_DEFAULT_CREDS, SCHANNEL_CRED, SCHANNEL_CRED_VERSION, SECBUFFER_EMPTY, SECBUFFER_EXTRA, SECBUFFER_TOKEN,
    SECBUFFER_VERSION, SECPKG_ATTR_CIPHER_INFO, SECPKG_ATTR_CONNECTION_INFO, SECPKG_ATTR_REMOTE_CERT_CONTEXT,
    SECPKG_CRED_OUTBOUND, SP_PROT_SSL3_CLIENT, SP_PROT_TLS1_0_CLIENT, SP_PROT_TLS1_1_CLIENT, SP_PROT_TLS1_2_CLIENT,
    SP_PROT_TLS1_3_CLIENT, SecBuffer, SecBufferDesc, SecPkgContext_CipherInfo, SecPkgContext_ConnectionInfo,
};
use windows_sys::Win32::Security::Credentials::SecHandle;
use windows_sys::Win32::Security::Cryptography::{CERT_CONTEXT, CertFreeCertificateContext};

use super::{Code, Wide, text};
use crate::driver::DriverError;

/// Each answer of a server is taken in with this much room at a time.
const ROOM: usize = 16 * 1024;

/// A server that says more than this before the handshake is over is given up.
const MOST: usize = 256 * 1024;

/// What is asked of a context: a stream, and that nobody but us looks at the certificate.
const REQUEST: u32 = ISC_REQ_SEQUENCE_DETECT
    | ISC_REQ_REPLAY_DETECT
    | ISC_REQ_CONFIDENTIALITY
    | ISC_REQ_STREAM
    | ISC_REQ_ALLOCATE_MEMORY
    | ISC_REQ_MANUAL_CRED_VALIDATION
    | ISC_REQ_USE_SUPPLIED_CREDS;

/// What a handshake came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// `TLS 1.2`.
    pub protocol: String,
    /// The cipher suite by its name, or the strength of its cipher where this Windows does not name suites.
    pub cipher: String,
    /// The certificate of the server, in DER.
    pub certificate: Vec<u8>,
}

/// Shakes hands on `stream` with a server of that name, within `limit`. `object` is for errors.
///
/// # Errors
/// [`DriverError::Refused`] with Schannel's code, for example 0x80090331 when there is no protocol or cipher in common;
/// [`DriverError::Io`] when the server closes the connection or does not answer.
pub fn handshake(stream: &mut TcpStream, name: &str, limit: Duration, object: &str) -> Result<Shown, DriverError> {
    let refused = |code: Code| code.of("InitializeSecurityContext", object);
    let line = Line { object, deadline: now() + limit };
    let credentials = Acquired::outbound().map_err(|code| code.of("AcquireCredentialsHandle", object))?;
    let name = Wide::new(name);
    let mut context = Context(None);
    let mut received = Vec::new();
    loop {
        let Step { status, token } = context.step(&credentials, &name, &mut received);
        if !token.is_empty() {
            line.send(stream, &token)?;
        }
        match status {
            SEC_E_OK => return context.shown().map_err(refused),
            // A certificate of ours is wanted: without one it goes on as it is.
            SEC_I_INCOMPLETE_CREDENTIALS => {}
            SEC_I_CONTINUE_NEEDED if !received.is_empty() => {}
            SEC_I_CONTINUE_NEEDED | SEC_E_INCOMPLETE_MESSAGE => line.receive(stream, &mut received)?,
            failed => return Err(refused(Code(failed.cast_unsigned()))),
        }
        line.left()?;
    }
}

/// The way to the server, which may be used until a moment.
struct Line<'a> {
    object: &'a str,
    deadline: Instant,
}

impl Line<'_> {
    fn failed(&self, source: std::io::Error) -> DriverError {
        DriverError::Io { object: self.object.to_owned(), source }
    }

    fn left(&self) -> Result<Duration, DriverError> {
        let left = self.deadline.saturating_duration_since(now());
        if left.is_zero() { Err(self.failed(ErrorKind::TimedOut.into())) } else { Ok(left) }
    }

    fn send(&self, stream: &mut TcpStream, token: &[u8]) -> Result<(), DriverError> {
        let left = self.left()?;
        stream.set_write_timeout(Some(left)).and_then(|()| stream.write_all(token)).map_err(|source| self.failed(source))
    }

    fn receive(&self, stream: &mut TcpStream, received: &mut Vec<u8>) -> Result<(), DriverError> {
        let left = self.left()?;
        let before = received.len();
        if before > MOST {
            return Err(self.failed(ErrorKind::InvalidData.into()));
        }
        received.resize(before + ROOM, 0);
        let read = stream.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut received[before..]));
        received.truncate(before + read.as_ref().map_or(0, |read| *read));
        match read {
            Ok(0) => Err(self.failed(ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(source) => Err(self.failed(source)),
        }
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "how long a server may take is measured on this machine's clock")]
    Instant::now()
}

/// What this machine lets its clients offer.
struct Acquired(SecHandle);

impl Acquired {
    fn outbound() -> Result<Self, Code> {
        let wish = SCHANNEL_CRED {
            dwVersion: SCHANNEL_CRED_VERSION,
            // No protocols are named: those that the machine's policy permits. No certificate of ours is looked for.
            dwFlags: SCH_CRED_MANUAL_CRED_VALIDATION | SCH_CRED_NO_DEFAULT_CREDS,
            ..SCHANNEL_CRED::default()
        };
        let package = Wide::new("Microsoft Unified Security Protocol Provider");
        let wish: *const c_void = (&raw const wish).cast();
        let (mut handle, mut expiry) = (SecHandle::default(), 0);
        // SAFETY: the name is terminated and lives through the call, as does the wish; what is null is optional; the handle and
        // the time are written where they have room.
        let status = unsafe {
            AcquireCredentialsHandleW(
                ptr::null(),
                package.as_ptr(),
                SECPKG_CRED_OUTBOUND,
                ptr::null(),
                wish,
                None,
                ptr::null(),
                &raw mut handle,
                &raw mut expiry,
            )
        };
        if status == SEC_E_OK { Ok(Self(handle)) } else { Err(Code(status.cast_unsigned())) }
    }
}

impl Drop for Acquired {
    fn drop(&mut self) {
        // SAFETY: acquired by the only constructor and freed only here; contexts made with it are gone or keep what they need.
        unsafe { FreeCredentialsHandle(&raw const self.0) };
    }
}

/// A handshake under way; `None` before the first step.
struct Context(Option<SecHandle>);

/// What a step asks for.
struct Step {
    status: i32,
    token: Vec<u8>,
}

impl Context {
    /// Hands in what was received, and takes away what of it was used.
    fn step(&mut self, credentials: &Acquired, name: &Wide, received: &mut Vec<u8>) -> Step {
        let first = self.0.is_none();
        let mut handle = self.0.unwrap_or_default();
        let held: *const SecHandle = &raw const handle;
        let held = if first { ptr::null() } else { held };
        let length = u32::try_from(received.len()).expect("bounded");
        let mut given = [
            SecBuffer { cbBuffer: length, BufferType: SECBUFFER_TOKEN, pvBuffer: received.as_mut_ptr().cast() },
            SecBuffer { cbBuffer: 0, BufferType: SECBUFFER_EMPTY, pvBuffer: ptr::null_mut() },
        ];
        let input = SecBufferDesc { ulVersion: SECBUFFER_VERSION, cBuffers: 2, pBuffers: given.as_mut_ptr() };
        let input: *const SecBufferDesc = if first { ptr::null() } else { &raw const input };
        let mut taken = [SecBuffer { cbBuffer: 0, BufferType: SECBUFFER_TOKEN, pvBuffer: ptr::null_mut() }];
        let mut output = SecBufferDesc { ulVersion: SECBUFFER_VERSION, cBuffers: 1, pBuffers: taken.as_mut_ptr() };
        let (mut attributes, mut expiry) = (0, 0);
        // SAFETY: the credentials live; the context is null at first and then the one that the first call gave, in and out; the
        // name is terminated; the buffers and what they point to live through the call; the output is allocated by the call.
        let status = unsafe {
            InitializeSecurityContextW(
                &raw const credentials.0,
                held,
                name.as_ptr(),
                REQUEST,
                0,
                0,
                input,
                0,
                &raw mut handle,
                &raw mut output,
                &raw mut attributes,
                &raw mut expiry,
            )
        };
        // A first call that failed gave no context.
        if !first || status >= 0 {
            self.0 = Some(handle);
        }
        let [SecBuffer { cbBuffer, pvBuffer, .. }] = taken;
        let token = allocated(pvBuffer, cbBuffer);
        if !first && status != SEC_E_INCOMPLETE_MESSAGE && status != SEC_I_INCOMPLETE_CREDENTIALS {
            // What belongs to the next message stays; it is the end of what was given.
            let extra = if given[1].BufferType == SECBUFFER_EXTRA { given[1].cbBuffer } else { 0 };
            let used = received.len().saturating_sub(usize::try_from(extra).unwrap_or(usize::MAX));
            received.drain(..used);
        }
        Step { status, token }
    }

    fn shown(&self) -> Result<Shown, Code> {
        let mut connection = SecPkgContext_ConnectionInfo::default();
        self.query(SECPKG_ATTR_CONNECTION_INFO, (&raw mut connection).cast())?;
        // From Windows 7 on; a system without it knows the strength at least.
        let mut suite = SecPkgContext_CipherInfo { dwVersion: 1, ..SecPkgContext_CipherInfo::default() };
        let cipher = match self.query(SECPKG_ATTR_CIPHER_INFO, (&raw mut suite).cast()) {
            Ok(()) => text(&suite.szCipherSuite),
            Err(_) => format!("a cipher of {} bits", connection.dwCipherStrength),
        };
        Ok(Shown { protocol: protocol(connection.dwProtocol), cipher, certificate: self.certificate()? })
    }

    fn certificate(&self) -> Result<Vec<u8>, Code> {
        let mut shown: *const CERT_CONTEXT = ptr::null();
        self.query(SECPKG_ATTR_REMOTE_CERT_CONTEXT, (&raw mut shown).cast())?;
        // SAFETY: null or a certificate that is ours until it is freed.
        let Some(certificate) = (unsafe { shown.as_ref() }) else { return Err(Code(0x8009_030E)) };
        let length = usize::try_from(certificate.cbCertEncoded).unwrap_or(0);
        // SAFETY: the certificate says where its bytes are and how many.
        let der = unsafe { std::slice::from_raw_parts(certificate.pbCertEncoded, length) }.to_vec();
        // SAFETY: freed once, and used no more.
        unsafe { CertFreeCertificateContext(shown) };
        Ok(der)
    }

    /// `target` must have room for what this attribute is: only the callers above know.
    fn query(&self, attribute: u32, target: *mut c_void) -> Result<(), Code> {
        let Some(handle) = &self.0 else { return Err(Code(0x8009_0301)) };
        // SAFETY: the context is open, and each caller gives the structure of its attribute.
        let status = unsafe { QueryContextAttributesW(ptr::from_ref(handle), attribute, target) };
        if status == SEC_E_OK { Ok(()) } else { Err(Code(status.cast_unsigned())) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            // SAFETY: given by a call that opened it, and deleted only here.
            unsafe { DeleteSecurityContext(ptr::from_ref(handle)) };
        }
    }
}

/// What a call has allocated, copied and given back.
fn allocated(buffer: *mut c_void, length: u32) -> Vec<u8> {
    if buffer.is_null() {
        return Vec::new();
    }
    let length = usize::try_from(length).unwrap_or(0);
    // SAFETY: the call allocated that many bytes and wrote them.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), length) }.to_vec();
    // SAFETY: allocated by the call for us, and used no more.
    unsafe { FreeContextBuffer(buffer) };
    bytes
}

fn protocol(bits: u32) -> String {
    const NAMES: [(u32, &str); 5] = [
        (SP_PROT_TLS1_3_CLIENT, "TLS 1.3"),
        (SP_PROT_TLS1_2_CLIENT, "TLS 1.2"),
        (SP_PROT_TLS1_1_CLIENT, "TLS 1.1"),
        (SP_PROT_TLS1_0_CLIENT, "TLS 1.0"),
        (SP_PROT_SSL3_CLIENT, "SSL 3.0"),
    ];
    let name = NAMES.iter().find(|(bit, _)| bits & bit != 0).map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| format!("protocol 0x{bits:X}"))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn connected(serve: impl FnOnce(TcpStream) + Send + 'static) -> TcpStream {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        thread::spawn(move || serve(served));
        stream
    }

    /// A server with a certificate of its own, by rustls.
    fn server(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> rustls::ServerConfig {
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
        rustls::ServerConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.cert.der().clone()], key.into())
            .unwrap()
    }

    #[test]
    fn what_a_server_shows_is_recorded_and_not_judged() {
        let certificate = rcgen::generate_simple_self_signed(["ex1.lab.test".to_owned()]).unwrap();
        let config = std::sync::Arc::new(server(&certificate));
        let mut stream = connected(move |mut stream| {
            let mut tls = rustls::ServerConnection::new(config).unwrap();
            while tls.is_handshaking() {
                if tls.complete_io(&mut stream).is_err() {
                    return;
                }
            }
        });
        let shown = handshake(&mut stream, "another.name", LIMIT, "the server").unwrap();
        assert_eq!(shown.certificate, certificate.cert.der().to_vec());
        assert_eq!(shown.protocol, "TLS 1.2");
        assert!(!shown.cipher.is_empty());
    }

    #[test]
    fn a_server_that_closes_hangs_or_says_something_else_is_an_error_in_time() {
        let mut closes = connected(drop);
        let error = handshake(&mut closes, "ex1", LIMIT, "the server").unwrap_err();
        assert!(matches!(&error, DriverError::Io { object, .. } if object == "the server"), "{error}");

        let mut hangs = connected(|stream| {
            let _ = (&stream).read(&mut [0; 1]);
            thread::park();
        });
        let begun = now();
        let error = handshake(&mut hangs, "ex1", Duration::from_millis(300), "the server").unwrap_err();
        assert!(matches!(error, DriverError::Io { .. }), "{error}");
        assert!(now().duration_since(begun) < Duration::from_secs(5));

        let mut babbles = connected(|mut stream| {
            let _ = stream.write_all(&b"HTTP/1.1 400 Bad Request\r\n\r\n".repeat(100));
            thread::park();
        });
        let error = handshake(&mut babbles, "ex1", Duration::from_secs(5), "the server").unwrap_err();
        assert!(matches!(error, DriverError::Refused { .. } | DriverError::Io { .. }), "{error}");
    }
}
