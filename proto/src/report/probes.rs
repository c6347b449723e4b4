//! Handshakes with the host's own ports.

use policy::id::Sha256;
use policy::report::{Probe, ProbeOutcome, ProbePath};

use crate::agent;
use crate::agent::probe::Outcome;
use crate::invalid::{self, Invalid, present};

impl From<Probe> for agent::Probe {
    fn from(probe: Probe) -> Self {
        let Probe { port, path, outcome } = probe;
        Self {
            port: port.into(),
            path: agent::ProbePath::from(path).into(),
            outcome: Some(match outcome {
                ProbeOutcome::Presented { certificate } => Outcome::Presented(certificate.0.to_vec()),
                ProbeOutcome::Refused => Outcome::Refused(agent::Refused {}),
                ProbeOutcome::NoHandshake(why) => Outcome::NoHandshake(why),
                ProbeOutcome::Unreachable(why) => Outcome::Unreachable(why),
                ProbeOutcome::Elsewhere(address) => Outcome::Elsewhere(address),
            }),
        }
    }
}

impl TryFrom<agent::Probe> for Probe {
    type Error = Invalid;

    fn try_from(wire: agent::Probe) -> Result<Self, Invalid> {
        let agent::Probe { port, path, outcome } = wire;
        Ok(Self {
            port: u16::try_from(port).map_err(|_| Invalid::Value {
                field: "Probe.port",
                expected: "a port of at most 65535",
                found: port.to_string(),
            })?,
            path: probe_path(path)?,
            outcome: match present("Probe.outcome", outcome)? {
                Outcome::Presented(certificate) => {
                    ProbeOutcome::Presented { certificate: Sha256(invalid::exactly("Probe.presented", &certificate)?) }
                }
                Outcome::Refused(agent::Refused {}) => ProbeOutcome::Refused,
                Outcome::NoHandshake(why) => ProbeOutcome::NoHandshake(invalid::text("Probe.no_handshake", why)?),
                Outcome::Unreachable(why) => ProbeOutcome::Unreachable(invalid::text("Probe.unreachable", why)?),
                Outcome::Elsewhere(address) => ProbeOutcome::Elsewhere(invalid::text("Probe.elsewhere", address)?),
            },
        })
    }
}

impl From<ProbePath> for agent::ProbePath {
    fn from(path: ProbePath) -> Self {
        match path {
            ProbePath::Loopback => Self::Loopback,
            ProbePath::OwnNameV4 => Self::OwnNameV4,
            ProbePath::OwnNameV6 => Self::OwnNameV6,
        }
    }
}

fn probe_path(value: i32) -> Result<ProbePath, Invalid> {
    match invalid::number("Probe.path", value)? {
        agent::ProbePath::Unspecified => Err(Invalid::Unknown { field: "Probe.path", value }),
        agent::ProbePath::Loopback => Ok(ProbePath::Loopback),
        agent::ProbePath::OwnNameV4 => Ok(ProbePath::OwnNameV4),
        agent::ProbePath::OwnNameV6 => Ok(ProbePath::OwnNameV6),
    }
}
