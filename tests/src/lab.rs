//! The lab: an estate of Exchange hosts made of files, and the process that is their http.sys and their IIS.
//!
//! ```text
//!   estate folder                                 backstay-lab (or a thread of a test)
//!   ├── estate.json     (server, port) → address  ┌─────────────────────────────────────────────┐
//!   ├── EX1/            one host ◄───────────────►│ http.sys   records, loaded certificates     │
//!   │   ├── stores/ keys/ host.json …             │   443 → front end ──TLS──► 444 of any server│
//!   │   └── httpsys.sock ◄── the agent's driver   │   444 → back end                            │
//!   └── EX2/ …                                    └─────────────────────────────────────────────┘
//! ```
//!
//! An [`Estate`] is the folder, a [`Server`] one host in it, [`Running`] the sockets. The sockets are never the agent's: it
//! may be killed at any instruction and nothing is restarted on its host. What the files mean is told by
//! `agent::driver::lab`, which is the other user of them.

mod control;
mod damage;
mod estate;
mod http;
mod httpsys;
mod install;
mod organization;
mod running;
mod scenario;
mod server;
mod site;
mod tls;

pub use agent::driver::lab::fault::{Call, Fault, Mode};
pub use agent::driver::lab::folder::Place;
pub use damage::Damage;
pub use estate::Estate;
pub use running::Running;
pub use scenario::{Answer, SCENARIOS, Scenario, scenario};
pub use server::Server;
