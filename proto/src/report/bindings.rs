//! What http.sys and IIS are told: records, IIS sites, and what metabase-style tools left behind.

use policy::id::Thumbprint;
use policy::report::{Binding, Fact, MetabaseBinding, RecordKind, Site, SslParameters, SslRecord};

use super::fact::{self, optional_text};
use crate::agent;
use crate::invalid::{self, Invalid};

/// The most http.sys records of one report.
pub const MAX_RECORDS: usize = 2000;

/// The most IIS sites of one report, and the most bindings of one site.
pub const MAX_SITES: usize = 1000;

/// The most metabase properties of one report.
pub const MAX_METABASE: usize = 2000;

pub(super) fn records_to_wire(records: Fact<Vec<SslRecord>>) -> Option<agent::RecordsFact> {
    fact::to_wire(records, |records| agent::SslRecords { records: records.into_iter().map(agent::SslRecord::from).collect() })
}

pub(super) fn records_from_wire(wire: Option<agent::RecordsFact>) -> Result<Fact<Vec<SslRecord>>, Invalid> {
    fact::from_wire("Report.records", wire, |agent::SslRecords { records }| {
        invalid::list("SslRecords.records", MAX_RECORDS, records, SslRecord::try_from)
    })
}

pub(super) fn sites_to_wire(sites: Fact<Vec<Site>>) -> Option<agent::SitesFact> {
    let binding = |Binding { protocol, information, ssl_flags }| agent::Binding { protocol, information, ssl_flags };
    let site = |Site { id, name, bindings, running }| agent::Site {
        id,
        name,
        bindings: bindings.into_iter().map(binding).collect(),
        running: fact::to_wire(running, |flag| flag),
    };
    fact::to_wire(sites, |sites| agent::Sites { sites: sites.into_iter().map(site).collect() })
}

pub(super) fn sites_from_wire(wire: Option<agent::SitesFact>) -> Result<Fact<Vec<Site>>, Invalid> {
    let binding = |agent::Binding { protocol, information, ssl_flags }| {
        Ok(Binding {
            protocol: invalid::text("Binding.protocol", protocol)?,
            information: invalid::text("Binding.information", information)?,
            ssl_flags,
        })
    };
    let site = |agent::Site { id, name, bindings, running }| {
        Ok(Site {
            id,
            name: invalid::text("Site.name", name)?,
            bindings: invalid::list("Site.bindings", MAX_SITES, bindings, binding)?,
            running: fact::observed("Site.running", running, Ok)?,
        })
    };
    fact::from_wire("Report.sites", wire, |agent::Sites { sites }| invalid::list("Sites.sites", MAX_SITES, sites, site))
}

pub(super) fn metabase_to_wire(metabase: Fact<Vec<MetabaseBinding>>) -> Option<agent::MetabaseFact> {
    let one = |MetabaseBinding { path, thumbprint, store }| agent::MetabaseBinding {
        path,
        thumbprint: thumbprint.map(|Thumbprint(hash)| hash.to_vec()),
        store,
    };
    fact::to_wire(metabase, |bindings| agent::MetabaseBindings { bindings: bindings.into_iter().map(one).collect() })
}

pub(super) fn metabase_from_wire(wire: Option<agent::MetabaseFact>) -> Result<Fact<Vec<MetabaseBinding>>, Invalid> {
    let one = |agent::MetabaseBinding { path, thumbprint, store }| {
        Ok(MetabaseBinding {
            path: invalid::text("MetabaseBinding.path", path)?,
            thumbprint: optional_thumbprint("MetabaseBinding.thumbprint", thumbprint)?,
            store: optional_text("MetabaseBinding.store", store)?,
        })
    };
    fact::from_wire("Report.metabase", wire, |agent::MetabaseBindings { bindings }| {
        invalid::list("MetabaseBindings.bindings", MAX_METABASE, bindings, one)
    })
}

impl From<SslRecord> for agent::SslRecord {
    fn from(record: SslRecord) -> Self {
        let SslRecord { kind, endpoint, thumbprint, store, app_id, parameters } = record;
        Self {
            kind: agent::RecordKind::from(kind).into(),
            endpoint,
            thumbprint: thumbprint.map(|Thumbprint(hash)| hash.to_vec()),
            store,
            app_id: fact::text_to_wire(app_id),
            parameters: fact::to_wire(parameters, agent::SslParameters::from),
        }
    }
}

impl TryFrom<agent::SslRecord> for SslRecord {
    type Error = Invalid;

    fn try_from(wire: agent::SslRecord) -> Result<Self, Invalid> {
        let agent::SslRecord { kind, endpoint, thumbprint, store, app_id, parameters } = wire;
        Ok(Self {
            kind: record_kind(kind)?,
            endpoint: invalid::text("SslRecord.endpoint", endpoint)?,
            thumbprint: optional_thumbprint("SslRecord.thumbprint", thumbprint)?,
            store: optional_text("SslRecord.store", store)?,
            app_id: fact::text_from_wire("SslRecord.app_id", app_id)?,
            parameters: fact::from_wire("SslRecord.parameters", parameters, SslParameters::try_from)?,
        })
    }
}

impl From<RecordKind> for agent::RecordKind {
    fn from(kind: RecordKind) -> Self {
        match kind {
            RecordKind::Address => Self::Address,
            RecordKind::Sni => Self::Sni,
            RecordKind::Ccs => Self::Ccs,
        }
    }
}

fn record_kind(value: i32) -> Result<RecordKind, Invalid> {
    match invalid::number("SslRecord.kind", value)? {
        agent::RecordKind::Unspecified => Err(Invalid::Unknown { field: "SslRecord.kind", value }),
        agent::RecordKind::Address => Ok(RecordKind::Address),
        agent::RecordKind::Sni => Ok(RecordKind::Sni),
        agent::RecordKind::Ccs => Ok(RecordKind::Ccs),
    }
}

impl From<SslParameters> for agent::SslParameters {
    fn from(parameters: SslParameters) -> Self {
        let SslParameters { check_mode, freshness, url_timeout, ctl_identifier, ctl_store, flags } = parameters;
        Self { check_mode, freshness, url_timeout, ctl_identifier, ctl_store, flags }
    }
}

impl TryFrom<agent::SslParameters> for SslParameters {
    type Error = Invalid;

    fn try_from(wire: agent::SslParameters) -> Result<Self, Invalid> {
        let agent::SslParameters { check_mode, freshness, url_timeout, ctl_identifier, ctl_store, flags } = wire;
        Ok(Self {
            check_mode,
            freshness,
            url_timeout,
            ctl_identifier: optional_text("SslParameters.ctl_identifier", ctl_identifier)?,
            ctl_store: optional_text("SslParameters.ctl_store", ctl_store)?,
            flags,
        })
    }
}

fn optional_thumbprint(field: &'static str, hash: Option<Vec<u8>>) -> Result<Option<Thumbprint>, Invalid> {
    hash.map(|hash| invalid::exactly(field, &hash).map(Thumbprint)).transpose()
}
