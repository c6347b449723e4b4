//! A double of crypt32.dll: Wine's own, with the archived mark of a certificate, which Wine's stores do not know, and with calls that fail.
//!
//! Every call but seven goes on to Wine's DLL as it came; whoever puts the double in its place moves Wine's to
//! `C:\windows\wine\crypt32.dll`. (A program that lies beside the double, where cargo builds both, takes it, too; Wine's is then
//! in its own place.) Five follow Microsoft's pages on `CertOpenStore`, `CertEnumCertificatesInStore`,
//! `CertFindCertificateInStore`, `CertGetCertificateContextProperty` and `CertSetCertificateContextProperty`:
//!
//! - `CERT_ARCHIVED_PROP_ID` is set by a blob whose content means nothing, taken off by null, and kept with the certificate.
//! - A store that was opened without `CERT_STORE_ENUM_ARCHIVED_FLAG` leaves archived certificates out when it is enumerated, and finds
//!   them by hash alone.
//!
//! Kept it is as `CERT_AUTO_ENROLL_PROP_ID`, a blob that Wine writes to the registry and that nobody here uses. **It does not
//! prove** in which form Windows writes the mark, nor what other tools make of it.
//!
//! A test may have `read` (opening a store of the machine for reading), `add`, `archive` and `remove` fail, lie or be slow, as for every
//! double (crate `control`); reading does not lie.
//!
//! The symbol `TEST_DOUBLE` tells it from Wine's own.
#![cfg(windows)]

pub mod passed;
pub mod taken;
