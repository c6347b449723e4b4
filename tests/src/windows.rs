//! A Windows host in the tests: an Exchange server made by the calls of Windows itself, and what Wine lacks to serve it.
//!
//! This runs as a Windows program. [`machine`] is what Setup and an administrator leave behind, [`damage`] what befalls it,
//! [`http_sys`] the part of http.sys that lies in the kernel. The agent cannot tell: it sees stores, keys, records and files.

pub mod damage;
pub mod http_sys;
pub mod machine;
