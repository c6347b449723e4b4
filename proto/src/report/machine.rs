//! The machine around IIS and http.sys.
//!
//! Each part may be absent: an agent that is older than the part did not observe it. That is the one place where absent
//! means unknown, and unknown permits nothing.

use std::collections::BTreeMap;

use policy::id::Thumbprint;
use policy::report::{AppPool, AuthCertificates, Event, EventKind, Fact, Machine, TlsPolicy};

use super::fact::{self, observed, optional_text};
use super::part;
use crate::agent;
use crate::invalid::{self, Invalid, micros, moment};

/// The most parts of a server that are in maintenance, application pools, or values of the TLS policy.
const MAX_ITEMS: usize = 500;

const KIB: usize = 1024;

impl From<Machine> for agent::Machine {
    fn from(machine: Machine) -> Self {
        let Machine {
            booted,
            clock_ahead,
            maintenance,
            last_setup,
            iis_redirected,
            app_pools,
            tls,
            auth,
            transport,
            forest,
            events,
        } = machine;
        Self {
            booted: fact::to_wire(booted, micros),
            clock_ahead: fact::to_wire(clock_ahead, |minutes| minutes),
            maintenance: fact::to_wire(maintenance, |texts| agent::Texts { texts }),
            last_setup: fact::to_wire(last_setup, |at| agent::OptionalTime { micros: at.map(micros) }),
            iis_redirected: fact::optional_text_to_wire(iis_redirected),
            app_pools: fact::to_wire(app_pools, |pools| agent::AppPools {
                pools: pools.into_iter().map(|(name, pool)| agent::AppPool { name, started: pool == AppPool::Started }).collect(),
            }),
            tls: fact::to_wire(tls, |TlsPolicy { values, changed }| agent::TlsPolicy {
                values: values.into_iter().map(|(name, value)| agent::TlsValue { name, value }).collect(),
                changed: changed.map(micros),
            }),
            auth: fact::to_wire(auth, |AuthCertificates { current, next }| agent::AuthCertificates {
                current: current.map(|Thumbprint(hash)| hash.to_vec()),
                next: next.map(|Thumbprint(hash)| hash.to_vec()),
            }),
            transport: fact::to_wire(transport, |thumbprint| agent::OptionalThumbprint {
                thumbprint: thumbprint.map(|Thumbprint(hash)| hash.to_vec()),
            }),
            forest: fact::text_to_wire(forest),
            events: fact::to_wire(events, |events| agent::Events {
                events: events.into_iter().map(agent::Event::from).collect(),
            }),
        }
    }
}

impl TryFrom<agent::Machine> for Machine {
    type Error = Invalid;

    fn try_from(wire: agent::Machine) -> Result<Self, Invalid> {
        let agent::Machine {
            booted,
            clock_ahead,
            maintenance,
            last_setup,
            iis_redirected,
            app_pools,
            tls,
            auth,
            transport,
            forest,
            events,
        } = wire;
        Ok(Self {
            booted: observed("Machine.booted", booted, |at| moment("Machine.booted", at))?,
            clock_ahead: observed("Machine.clock_ahead", clock_ahead, Ok)?,
            maintenance: observed("Machine.maintenance", maintenance, |agent::Texts { texts }| {
                invalid::list("Machine.maintenance", MAX_ITEMS, texts, |text| invalid::text("Machine.maintenance", text))
            })?,
            last_setup: observed("Machine.last_setup", last_setup, |agent::OptionalTime { micros }| {
                micros.map(|at| moment("Machine.last_setup", at)).transpose()
            })?,
            iis_redirected: observed("Machine.iis_redirected", iis_redirected, |agent::OptionalText { text }| {
                optional_text("Machine.iis_redirected", text)
            })?,
            app_pools: observed("Machine.app_pools", app_pools, app_pools_from_wire)?,
            tls: observed("Machine.tls", tls, tls_from_wire)?,
            auth: observed("Machine.auth", auth, |agent::AuthCertificates { current, next }| {
                Ok(AuthCertificates {
                    current: thumbprint("AuthCertificates.current", current)?,
                    next: thumbprint("AuthCertificates.next", next)?,
                })
            })?,
            transport: observed("Machine.transport", transport, |wire: agent::OptionalThumbprint| {
                thumbprint("Machine.transport", wire.thumbprint)
            })?,
            forest: observed("Machine.forest", forest, |text| invalid::text("Machine.forest", text))?,
            events: observed("Machine.events", events, |agent::Events { events }| {
                invalid::list("Machine.events", Machine::MOST_EVENTS, events, Event::try_from)
            })?,
        })
    }
}

fn app_pools_from_wire(agent::AppPools { pools }: agent::AppPools) -> Result<BTreeMap<String, AppPool>, Invalid> {
    let one = |agent::AppPool { name, started }| {
        let pool = if started { AppPool::Started } else { AppPool::Stopped };
        Ok((invalid::text("AppPool.name", name)?, pool))
    };
    once("AppPools.pools", invalid::list("AppPools.pools", MAX_ITEMS, pools, one)?)
}

fn tls_from_wire(agent::TlsPolicy { values, changed }: agent::TlsPolicy) -> Result<TlsPolicy, Invalid> {
    let one = |agent::TlsValue { name, value }| Ok((invalid::text("TlsValue.name", name)?, value));
    Ok(TlsPolicy {
        values: once("TlsPolicy.values", invalid::list("TlsPolicy.values", MAX_ITEMS, values, one)?)?,
        changed: changed.map(|at| moment("TlsPolicy.changed", at)).transpose()?,
    })
}

/// A map in which no name stands twice.
fn once<T>(field: &'static str, found: Vec<(String, T)>) -> Result<BTreeMap<String, T>, Invalid> {
    let count = found.len();
    let map: BTreeMap<_, _> = found.into_iter().collect();
    if map.len() < count { Err(Invalid::Twice { field }) } else { Ok(map) }
}

fn thumbprint(field: &'static str, hash: Option<Vec<u8>>) -> Result<Option<Thumbprint>, Invalid> {
    hash.map(|hash| invalid::exactly(field, &hash).map(Thumbprint)).transpose()
}

impl From<Event> for agent::Event {
    fn from(event: Event) -> Self {
        let Event { at, kind, thumbprint, object, process, account } = event;
        Self {
            at: micros(at),
            kind: agent::EventKind::from(kind).into(),
            thumbprint: thumbprint.map(|Thumbprint(hash)| hash.to_vec()),
            object,
            process,
            account,
        }
    }
}

impl TryFrom<agent::Event> for Event {
    type Error = Invalid;

    fn try_from(wire: agent::Event) -> Result<Self, Invalid> {
        let agent::Event { at, kind, thumbprint: hash, object, process, account } = wire;
        Ok(Self {
            at: moment("Event.at", at)?,
            kind: event_kind(kind)?,
            thumbprint: thumbprint("Event.thumbprint", hash)?,
            object: optional_text("Event.object", object)?,
            process: optional_text("Event.process", process)?,
            account: optional_text("Event.account", account)?,
        })
    }
}

impl From<EventKind> for agent::EventKind {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::CredentialFailed => Self::CredentialFailed,
            EventKind::RecordDeleted => Self::RecordDeleted,
            EventKind::RecordWritten => Self::RecordWritten,
            EventKind::KeyFailed => Self::KeyFailed,
            EventKind::CertificateDeleted => Self::CertificateDeleted,
            EventKind::CertificateArchived => Self::CertificateArchived,
            EventKind::CertificateInstalled => Self::CertificateInstalled,
            EventKind::CertificateReplaced => Self::CertificateReplaced,
            EventKind::TransportCertificate => Self::TransportCertificate,
            EventKind::RecoveryAction => Self::RecoveryAction,
            EventKind::WebFailure => Self::WebFailure,
            EventKind::Update => Self::Update,
        }
    }
}

fn event_kind(value: i32) -> Result<EventKind, Invalid> {
    let kind: agent::EventKind = invalid::number("Event.kind", value)?;
    EventKind::ALL
        .into_iter()
        .find(|known| agent::EventKind::from(*known) == kind)
        .ok_or(Invalid::Unknown { field: "Event.kind", value })
}

/// Each part within the bounds of the wire, else unknown with the reason.
pub(super) fn fit(machine: Machine) -> Machine {
    let Machine {
        booted,
        clock_ahead,
        maintenance,
        last_setup,
        iis_redirected,
        app_pools,
        tls,
        auth,
        transport,
        forest,
        mut events,
    } = machine;
    if let Fact::Known(events) = &mut events {
        events.drain(..events.len().saturating_sub(Machine::MOST_EVENTS));
    }
    // One conversion for all: a machine of which only this part is known.
    macro_rules! fitted {
        ($size:literal, $part:ident) => {
            part(
                $size * KIB,
                $part,
                |$part| agent::Machine::from(Machine { $part, ..Machine::not_observed() }).$part,
                |wire| {
                    Machine::try_from(agent::Machine { $part: wire, ..agent::Machine::default() }).map(|machine| machine.$part)
                },
            )
        };
    }
    Machine {
        booted: fitted!(1, booted),
        clock_ahead: fitted!(1, clock_ahead),
        maintenance: fitted!(16, maintenance),
        last_setup: fitted!(1, last_setup),
        iis_redirected: fitted!(16, iis_redirected),
        app_pools: fitted!(64, app_pools),
        tls: fitted!(64, tls),
        auth: fitted!(1, auth),
        transport: fitted!(1, transport),
        forest: fitted!(16, forest),
        events: fitted!(64, events),
    }
}
