//! A report on its way to the controller. What arrives has the digest of what was sent.
//!
//! The controller refuses what is out of bounds, and a host whose report is refused would be a host that nobody sees. So the
//! agent passes each report through [`fit`] before it takes the digest: a part that is too large becomes unknown, which
//! permits nothing and says why, and the rest is still seen.

use policy::report::{Fact, Host, Probe, ProbeOutcome, Report};
use prost::Message;

use crate::agent;
use crate::invalid::{self, Invalid, cut, present};

mod bindings;
mod fact;
mod host;
mod machine;
mod probes;
mod stores;

pub use bindings::{MAX_METABASE, MAX_RECORDS, MAX_SITES};
pub use stores::{MAX_CONTAINERS, MAX_ENTRIES};

/// The most probes of one report.
pub const MAX_PROBES: usize = 64;

const KIB: usize = 1024;

impl From<Report> for agent::Report {
    fn from(report: Report) -> Self {
        let Report { host, exchange, setup, stores, containers, records, sites, metabase, services, machine, probes, hold } =
            report;
        Self {
            host: Some(host.into()),
            exchange: host::exchange_to_wire(exchange),
            setup: host::setup_to_wire(setup),
            stores: stores::stores_to_wire(stores),
            containers: stores::containers_to_wire(containers),
            records: bindings::records_to_wire(records),
            sites: bindings::sites_to_wire(sites),
            metabase: bindings::metabase_to_wire(metabase),
            services: host::services_to_wire(services),
            probes: probes.into_iter().map(agent::Probe::from).collect(),
            hold,
            machine: Some(machine.into()),
        }
    }
}

impl TryFrom<agent::Report> for Report {
    type Error = Invalid;

    fn try_from(wire: agent::Report) -> Result<Self, Invalid> {
        let agent::Report {
            host,
            exchange,
            setup,
            stores,
            containers,
            records,
            sites,
            metabase,
            services,
            probes,
            hold,
            machine,
        } = wire;
        Ok(Self {
            host: present("Report.host", host)?.try_into()?,
            exchange: host::exchange_from_wire(exchange)?,
            setup: host::setup_from_wire(setup)?,
            stores: stores::stores_from_wire(stores)?,
            containers: stores::containers_from_wire(containers)?,
            records: bindings::records_from_wire(records)?,
            sites: bindings::sites_from_wire(sites)?,
            metabase: bindings::metabase_from_wire(metabase)?,
            services: host::services_from_wire(services)?,
            machine: present("Report.machine", machine)?.try_into()?,
            probes: invalid::list("Report.probes", MAX_PROBES, probes, Probe::try_from)?,
            hold: fact::optional_text("Report.hold", hold)?,
        })
    }
}

/// The most that an agent tells of what it remembers of its host, in bytes of JSON: one record, two certificates and a few changes are a tenth of it.
pub const MAX_MEMORY: usize = 64 * 1024;

/// The report within the bounds of the wire. A report that fits comes back as it is.
pub fn fit(report: Report) -> Report {
    let Report { host, exchange, setup, stores, containers, records, sites, metabase, services, machine, mut probes, hold } =
        report;
    let Host { name, fqdn, machine_id, ad_site, dag } = host;
    let text = |field, text| part(16 * KIB, text, fact::text_to_wire, |wire| fact::text_from_wire(field, wire));
    probes.truncate(MAX_PROBES);
    // The sizes together stay below one message.
    Report {
        host: Host {
            name,
            fqdn: text("Host.fqdn", fqdn),
            machine_id: text("Host.machine_id", machine_id),
            ad_site: text("Host.ad_site", ad_site),
            dag: part(16 * KIB, dag, fact::optional_text_to_wire, |wire| fact::optional_text_from_wire("Host.dag", wire)),
        },
        exchange: part(16 * KIB, exchange, host::exchange_to_wire, host::exchange_from_wire),
        setup: part(16 * KIB, setup, host::setup_to_wire, host::setup_from_wire),
        stores: part(2048 * KIB, stores, stores::stores_to_wire, stores::stores_from_wire),
        containers: part(448 * KIB, containers, stores::containers_to_wire, stores::containers_from_wire),
        records: part(448 * KIB, records, bindings::records_to_wire, bindings::records_from_wire),
        sites: part(256 * KIB, sites, bindings::sites_to_wire, bindings::sites_from_wire),
        metabase: part(256 * KIB, metabase, bindings::metabase_to_wire, bindings::metabase_from_wire),
        services: part(64 * KIB, services, host::services_to_wire, host::services_from_wire),
        machine: machine::fit(machine),
        probes: probes.into_iter().map(fit_probe).collect(),
        hold: hold.map(cut),
    }
}

/// One part, sent and received as the controller will receive it; unknown where it would be refused.
fn part<T, W: Message>(
    size: usize,
    fact: Fact<T>,
    to_wire: impl FnOnce(Fact<T>) -> Option<W>,
    from_wire: impl FnOnce(Option<W>) -> Result<Fact<T>, Invalid>,
) -> Fact<T> {
    let fact = match fact {
        Fact::Known(value) => Fact::Known(value),
        Fact::Unknown(why) => return Fact::Unknown(cut(why)),
    };
    let wire = to_wire(fact);
    let found = wire.as_ref().map_or(0, Message::encoded_len);
    if found > size {
        return Fact::Unknown(format!("too large to be reported: expected at most {size} bytes, found {found}"));
    }
    from_wire(wire).unwrap_or_else(|invalid| Fact::Unknown(format!("cannot be reported: {invalid}")))
}

fn fit_probe(probe: Probe) -> Probe {
    let Probe { port, path, outcome } = probe;
    let outcome = match outcome {
        ProbeOutcome::NoHandshake(why) => ProbeOutcome::NoHandshake(cut(why)),
        ProbeOutcome::Unreachable(why) => ProbeOutcome::Unreachable(cut(why)),
        ProbeOutcome::Elsewhere(address) => ProbeOutcome::Elsewhere(cut(address)),
        seen @ (ProbeOutcome::Presented { .. } | ProbeOutcome::Refused) => seen,
    };
    Probe { port, path, outcome }
}
