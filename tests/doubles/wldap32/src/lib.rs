//! A double of wldap32.dll: what the agent calls of LDAP, where Wine has the calls and no domain that it could log on to.
//!
//! It follows Microsoft's reference of winldap.h. The objects stand in the registry below `HKLM\SOFTWARE\TestDouble\wldap32`:
//!
//! | | |
//! | --- | --- |
//! | key `objects\NAME` | an object by its distinguished name; that of the directory itself is called `rootDSE` |
//! | value `objectClass`, `cn` (REG_SZ) | what a filter asks for |
//! | value `ATTRIBUTE#0`, `ATTRIBUTE#1` (REG_BINARY) | the values of an attribute |
//! | `fail_…`, `slow_…` of `init`, `connect`, `bind`, `search` | as for every double (crate `control`); the code is one of LDAP |
//!
//! It takes one way to log on, as the account of the process, and only when signing and encryption are switched on before: else 8, as a
//! domain controller that demands them. Before the logon a search is refused with 1. A filter is `(objectClass=…)`, or that and a
//! `(cn=…)`; another one is 87. Names are compared without case. An object that is not there is 32; more than were wanted are 4.
//!
//! **It does not prove** that a domain controller logs the machine's account on, nor what that account may read.
//!
//! The symbol `TEST_DOUBLE` tells it from the real one.
#![cfg(windows)]

pub mod calls;
mod objects;
