//! Who is speaking, what is installed, and which services run.

use std::collections::{BTreeMap, BTreeSet};

use policy::report::{Exchange, Fact, Host, Role, Service, Setup};

use super::fact;
use crate::agent;
use crate::invalid::{self, Invalid, present};

/// The most services of one report: it names those that matter here.
const MAX_SERVICES: usize = 200;

/// The most roles; there are three.
const MAX_ROLES: usize = 8;

impl From<Host> for agent::Host {
    fn from(host: Host) -> Self {
        let Host { name, fqdn, machine_id, ad_site, dag } = host;
        Self {
            name: name.as_str().to_owned(),
            fqdn: fact::text_to_wire(fqdn),
            machine_id: fact::text_to_wire(machine_id),
            ad_site: fact::text_to_wire(ad_site),
            dag: fact::optional_text_to_wire(dag),
        }
    }
}

impl TryFrom<agent::Host> for Host {
    type Error = Invalid;

    fn try_from(wire: agent::Host) -> Result<Self, Invalid> {
        let agent::Host { name, fqdn, machine_id, ad_site, dag } = wire;
        Ok(Self {
            name: invalid::id("Host.name", &name)?,
            fqdn: fact::text_from_wire("Host.fqdn", fqdn)?,
            machine_id: fact::text_from_wire("Host.machine_id", machine_id)?,
            ad_site: fact::text_from_wire("Host.ad_site", ad_site)?,
            dag: fact::optional_text_from_wire("Host.dag", dag)?,
        })
    }
}

pub(super) fn exchange_to_wire(exchange: Fact<Exchange>) -> Option<agent::ExchangeFact> {
    fact::to_wire(exchange, |Exchange { version, roles }| agent::Exchange {
        version,
        roles: roles.into_iter().map(|role| agent::Role::from(role).into()).collect(),
    })
}

pub(super) fn exchange_from_wire(wire: Option<agent::ExchangeFact>) -> Result<Fact<Exchange>, Invalid> {
    fact::from_wire("Report.exchange", wire, |agent::Exchange { version, roles }| {
        let found = invalid::list("Exchange.roles", MAX_ROLES, roles, role)?;
        let roles: BTreeSet<_> = found.iter().copied().collect();
        if roles.len() < found.len() {
            return Err(Invalid::Twice { field: "Exchange.roles" });
        }
        Ok(Exchange { version: invalid::text("Exchange.version", version)?, roles })
    })
}

impl From<Role> for agent::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Mailbox => Self::Mailbox,
            Role::ClientAccess => Self::ClientAccess,
            Role::Edge => Self::Edge,
        }
    }
}

fn role(value: i32) -> Result<Role, Invalid> {
    match invalid::number("Exchange.roles", value)? {
        agent::Role::Unspecified => Err(Invalid::Unknown { field: "Exchange.roles", value }),
        agent::Role::Mailbox => Ok(Role::Mailbox),
        agent::Role::ClientAccess => Ok(Role::ClientAccess),
        agent::Role::Edge => Ok(Role::Edge),
    }
}

pub(super) fn setup_to_wire(setup: Fact<Setup>) -> Option<agent::SetupFact> {
    fact::to_wire(setup, |setup| agent::Setup {
        setup: Some(match setup {
            Setup::Idle => agent::setup::Setup::Idle(agent::Idle {}),
            Setup::Running(program) => agent::setup::Setup::Running(program),
            Setup::HalfFinished(place) => agent::setup::Setup::HalfFinished(place),
        }),
    })
}

pub(super) fn setup_from_wire(wire: Option<agent::SetupFact>) -> Result<Fact<Setup>, Invalid> {
    fact::from_wire("Report.setup", wire, |agent::Setup { setup }| match present("Setup.setup", setup)? {
        agent::setup::Setup::Idle(agent::Idle {}) => Ok(Setup::Idle),
        agent::setup::Setup::Running(program) => invalid::text("Setup.running", program).map(Setup::Running),
        agent::setup::Setup::HalfFinished(place) => invalid::text("Setup.half_finished", place).map(Setup::HalfFinished),
    })
}

pub(super) fn services_to_wire(services: Fact<BTreeMap<String, Service>>) -> Option<agent::ServicesFact> {
    let one = |(name, Service { running, disabled })| agent::Service {
        name,
        running: fact::to_wire(running, |flag| flag),
        disabled: fact::to_wire(disabled, |flag| flag),
    };
    fact::to_wire(services, |services| agent::Services { services: services.into_iter().map(one).collect() })
}

pub(super) fn services_from_wire(wire: Option<agent::ServicesFact>) -> Result<Fact<BTreeMap<String, Service>>, Invalid> {
    let one = |agent::Service { name, running, disabled }| {
        let service = Service {
            running: fact::from_wire("Service.running", running, Ok)?,
            disabled: fact::from_wire("Service.disabled", disabled, Ok)?,
        };
        Ok((invalid::text("Service.name", name)?, service))
    };
    fact::from_wire("Report.services", wire, |agent::Services { services }| {
        let found = invalid::list("Services.services", MAX_SERVICES, services, one)?;
        let count = found.len();
        let services: BTreeMap<_, _> = found.into_iter().collect();
        if services.len() < count { Err(Invalid::Twice { field: "Services.services" }) } else { Ok(services) }
    })
}
