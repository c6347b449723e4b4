//! A double of nativerd.dll, IIS' administration objects, which Wine lacks: as much of `AppHostAdminManager` as tells the states of
//! sites and application pools.
//!
//! It follows \[MC-IISA\] for the interfaces and their order, and Microsoft's IIS reference for the property `state`. The class
//! is `{228fb8f7-fb53-4fd5-8c7b-ff59de606c5b}`; a test registers it, as Windows' component store does. What is said stands in the registry below
//! `HKLM\SOFTWARE\TestDouble\nativerd`, read when a section is asked for:
//!
//! | value | |
//! | --- | --- |
//! | `sites\NAME`, `pools\NAME` (REG_DWORD) | the state of a site or pool; what is no number of a state is given as an error of that number |
//! | `fail_section` (REG_SZ) | the error of asking for a section, as for every double (crate `control`) |
//!
//! Methods that nobody here calls answer 0x80004001. **It does not prove** that WAS answers an account, nor how long that takes.
//!
//! The symbol `TEST_DOUBLE` tells it from the real one.
#![cfg(windows)]

pub mod class;
mod object;
mod said;
