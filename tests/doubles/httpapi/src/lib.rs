//! httpapi.dll for tests under Wine, whose own says yes to every change and keeps none: the part that configures which
//! certificate http.sys serves, with its records in the registry. Empty on every other system.
//!
//! # What it follows
//!
//! Microsoft's pages on `HttpInitialize`, `HttpSetServiceConfiguration`, `HttpDeleteServiceConfiguration`,
//! `HttpUpdateServiceConfiguration` and `HttpQueryServiceConfiguration`, on the `HTTP_SERVICE_CONFIG_SSL_…` structures, and http.h
//! for their layout. Answers: 6 and 87 for reserved parameters that are not null, 87 for what makes no sense, 122 for a buffer that is too
//! small, 183 for a record that exists, 259 behind the last record, 1306 for another version, 1312 for a certificate that
//! cannot be used. What the pages leave open is as administrators report it: 2 for a record that does not exist, 1312 both for
//! a certificate that is not in the named store of the machine and for a key that does not open.
//!
//! Records are kept where Windows keeps them, below `HKLM\SYSTEM\CurrentControlSet\Services\HTTP\Parameters`, under the names
//! that exports of real hosts show, `DefaultSslCtlIdentifier` and `DefaultSslCtlStoreName` excepted, which nobody seems to have
//! exported: `SslBindingInfo\0.0.0.0:444`; `SslSniBindingInfo\{…}` with the endpoint in `HostnamePort`; `SslCcsBindingInfo\443`,
//! whose real name is not known.
//!
//! # What it does not prove
//!
//! That http.sys accepts the values, when it takes them up, and what becomes of connections. In which order it checks: here the certificate
//! comes before the record that exists. In which order it lists, whether it gives back a default as it was given, and which values of the registry
//! it leaves out. That a key fits its certificate: here the container has only to open. Keys of CNG, which Wine does not
//! keep: 1312. Who may call: everybody here. Calls before `HttpInitialize` are 6 here; the pages say only that it must be called.
//!
//! # What a test can say
//!
//! Values of `HKLM\SOFTWARE\TestDouble\httpapi`, read at each call:
//!
//! | value | |
//! | --- | --- |
//! | `fail_…`, `lie_…`, `slow_…` of `query`, `set`, `delete`, `update`, the first also of `initialize` | as for every double (crate `control`); a query does not lie |
//! | `updates` | `REG_DWORD` 1: `HttpUpdateServiceConfiguration` works; else it answers 120 |
//! | `old` | `REG_DWORD` 1: no records by name and of the central store, as Windows Server 2008 R2 |
//! | `home` | `REG_SZ`: the key below `HKLM` that stands for `…\HTTP\Parameters`, so that http.sys and registry can disagree |
//! | `log` | `REG_SZ`: a file to which each call adds a line, as `set 0.0.0.0:444 = 183` |
//!
//! The symbol `TEST_DOUBLE` tells it from the real one: a test asserts that it is there before it trusts an answer.
//!
//! It shares no code with the agent: a mistake in the agent's idea of the API is not to meet the same mistake here.

#[cfg(windows)]
mod certificate;
#[cfg(windows)]
mod control;
#[cfg(windows)]
pub mod exports;
#[cfg(windows)]
mod record;
#[cfg(windows)]
mod store;
