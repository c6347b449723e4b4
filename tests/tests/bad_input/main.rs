//! What is false, torn, stolen or too much: each gets a clear answer, and nothing changes.

mod disks;
mod messages;
mod papers;

use std::time::Duration;

use tests::estate::{Estate, Setup, policy};

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

/// So long nothing must happen.
const WHILE: Duration = Duration::from_secs(3);

/// An estate of these servers, each alone, in mode `act`.
fn estate(servers: &[&'static str], need: &[&'static str]) -> Estate {
    let servers = servers.iter().map(|name| (*name, None)).collect();
    let setup = Setup { servers, need: need.to_vec(), policy: Some(policy("act")), ..Setup::default() };
    Estate::temporary(&setup).expect("an estate")
}
