//! The double of httpapi.dll (`tests/doubles/httpapi`), as tests use it: one at a time, empty at first, and asked who it is.

use std::ffi::c_void;
use std::path::Path;
use std::sync::OnceLock;
use std::{fs, ptr};

use policy::id::Thumbprint;
use rcgen::{CertificateParams, KeyPair};
use uuid::Uuid;
use windows_sys::Win32::Foundation::{CloseHandle, HANDLE};
use windows_sys::Win32::Security::Cryptography::{
    AT_KEYEXCHANGE, CERT_CONTEXT, CERT_KEY_PROV_INFO_PROP_ID, CERT_STORE_ADD_REPLACE_EXISTING, CERT_STORE_CTRL_COMMIT,
    CERT_STORE_CTRL_COMMIT_FORCE_FLAG, CERT_STORE_PROV_SYSTEM_W, CERT_SYSTEM_STORE_LOCAL_MACHINE, CRYPT_KEY_PROV_INFO,
    CRYPT_MACHINE_KEYSET, CRYPT_NEWKEYSET, CRYPT_SILENT, CertAddEncodedCertificateToStore, CertCloseStore, CertControlStore,
    CertFreeCertificateContext, CertOpenStore, CertSetCertificateContextProperty, CryptAcquireContextW, CryptReleaseContext,
    PROV_RSA_SCHANNEL, X509_ASN_ENCODING,
};
use windows_sys::Win32::System::Registry::{REG_DWORD, REG_SZ};
use windows_sys::Win32::System::Threading::{CreateMutexW, INFINITE, ReleaseMutex, WaitForSingleObject};

use crate::driver::windows::ffi::library::Library;
use crate::driver::windows::ffi::registry::scratch::{self, wide};
use crate::driver::windows::ffi::{Code, Wide};
use crate::driver::windows::records::KEYS;

const CONTROL: &str = r"SOFTWARE\TestDouble\httpapi";

/// The double, for one test: no records, no faults, every call written down.
#[derive(Debug)]
pub(crate) struct Double {
    folder: tempfile::TempDir,
    _turn: Turn,
}

impl Double {
    pub(crate) fn take() -> Self {
        let library = Library::system("httpapi.dll").unwrap();
        let is_double = library.entry(c"TEST_DOUBLE").is_some();
        assert!(
            is_double,
            "expected the double of httpapi.dll in System32, found the system's own: nothing is changed with that"
        );
        let double = Self { folder: tempfile::tempdir().unwrap(), _turn: Turn::take() };
        double.reset();
        double.say("log", double.log().to_str().unwrap());
        double
    }

    /// Sets a text for the double: `fail_set`, `home`.
    pub(crate) fn say(&self, name: &str, text: &str) {
        scratch::set(CONTROL, name, REG_SZ, &wide(text));
    }

    /// Sets a number for the double: `updates`, `old`.
    pub(crate) fn switch_on(&self, name: &str) {
        scratch::set(CONTROL, name, REG_DWORD, &1_u32.to_le_bytes());
    }

    /// The calls that were made, with their answers.
    pub(crate) fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.log()).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Three certificates in `MY` with a key that opens.
    pub(crate) fn certificates(&self) -> [Thumbprint; 3] {
        static CERTIFICATES: OnceLock<[Thumbprint; 3]> = OnceLock::new();
        *CERTIFICATES.get_or_init(|| {
            let container = new_container();
            [(); 3].map(|()| self.certificate("MY", Some(&container)))
        })
    }

    /// The container of a key that opens.
    pub(crate) fn container(&self) -> String {
        new_container()
    }

    /// A new certificate in a store of the machine, with a link to that container.
    pub(crate) fn certificate(&self, store: &str, container: Option<&str>) -> Thumbprint {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["ex1.lab.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        add(store, certificate.der(), container);
        Thumbprint::of(certificate.der())
    }

    fn log(&self) -> std::path::PathBuf {
        Path::join(self.folder.path(), "calls")
    }

    fn reset(&self) {
        scratch::remove(CONTROL);
        KEYS.iter().for_each(|key| scratch::remove(key));
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.reset();
    }
}

/// The right to be the one test that uses the double: each test may be a process of its own.
#[derive(Debug)]
struct Turn(HANDLE);

impl Turn {
    fn take() -> Self {
        let name = Wide::new(r"Global\Backstay tests httpapi");
        // SAFETY: the name is terminated; no attributes are given.
        let mutex = unsafe { CreateMutexW(ptr::null(), 0, name.as_ptr()) };
        assert!(!mutex.is_null(), "{}", Code::last());
        // SAFETY: the mutex is open. One that its test left by dying is ours too.
        unsafe { WaitForSingleObject(mutex, INFINITE) };
        Self(mutex)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // SAFETY: the mutex is this thread's, and used no more.
        unsafe {
            ReleaseMutex(self.0);
            CloseHandle(self.0);
        }
    }
}

fn new_container() -> String {
    let container = Uuid::new_v4().to_string();
    let (name, flags) = (Wide::new(&container), CRYPT_NEWKEYSET | CRYPT_MACHINE_KEYSET | CRYPT_SILENT);
    let mut provider = 0;
    // SAFETY: the name is terminated, and the handle is written where one has room.
    let made = unsafe { CryptAcquireContextW(&raw mut provider, name.as_ptr(), ptr::null(), PROV_RSA_SCHANNEL, flags) };
    assert_ne!(made, 0, "{}", Code::last());
    // SAFETY: the handle was just opened and is used no more.
    unsafe { CryptReleaseContext(provider, 0) };
    container
}

fn add(store: &str, der: &[u8], container: Option<&str>) {
    let store = Wide::new(store);
    let name = store.as_ptr().cast();
    // SAFETY: the provider takes a terminated name.
    let store = unsafe { CertOpenStore(CERT_STORE_PROV_SYSTEM_W, 0, 0, CERT_SYSTEM_STORE_LOCAL_MACHINE, name) };
    assert!(!store.is_null(), "{}", Code::last());
    let mut certificate: *mut CERT_CONTEXT = ptr::null_mut();
    let length = u32::try_from(der.len()).unwrap();
    let how = CERT_STORE_ADD_REPLACE_EXISTING;
    // SAFETY: the store is open, and there are that many bytes.
    let added =
        unsafe { CertAddEncodedCertificateToStore(store, X509_ASN_ENCODING, der.as_ptr(), length, how, &raw mut certificate) };
    assert_ne!(added, 0, "{}", Code::last());
    if let Some(container) = container {
        let container = Wide::new(container);
        let link = CRYPT_KEY_PROV_INFO {
            pwszContainerName: container.as_ptr().cast_mut(),
            dwProvType: PROV_RSA_SCHANNEL,
            dwFlags: CRYPT_MACHINE_KEYSET,
            dwKeySpec: AT_KEYEXCHANGE,
            ..CRYPT_KEY_PROV_INFO::default()
        };
        let link: *const c_void = (&raw const link).cast();
        // SAFETY: the certificate is open, and the link and its name live through the call.
        let linked = unsafe { CertSetCertificateContextProperty(certificate, CERT_KEY_PROV_INFO_PROP_ID, 0, link) };
        assert_ne!(linked, 0, "{}", Code::last());
    }
    // SAFETY: both are open and used no more. Wine writes a store back when it is told to.
    unsafe {
        CertFreeCertificateContext(certificate);
        CertControlStore(store, CERT_STORE_CTRL_COMMIT_FORCE_FLAG, CERT_STORE_CTRL_COMMIT, ptr::null());
        CertCloseStore(store, 0);
    }
}
