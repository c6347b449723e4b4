//! The proof that a plan touched nothing else (P4).

use crate::id::{CertificateId, Sha256};
use crate::plan::{Difference, Plan, Step, show, show_records};
use crate::report::{Binding, Fact, KeyLink, MetabaseBinding, Report, Site, SslRecord, Store, StoreEntry};

/// What of `before` reads differently in `after`, leaving out what the plan itself may change (P4).
///
/// Compared are the other records, certificates by identity, store, archived mark and key link, sites and metabase
/// properties: a stable projection, never time, events, probes or services, and never the order in which Windows lists
/// things. Unknown on either side is a difference.
pub fn untouched(before: &Report, after: &Report, plan: &Plan) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |fact: &str, was: Fact<Vec<String>>, is: Fact<Vec<String>>| {
        if was.known().is_none() || was != is {
            found.push(difference(fact, &was, &is));
        }
    };
    let foreign_record = |record: &SslRecord| !record.is_back_end() && !own_record(record, plan);
    let records = |report: &Report| listed(&report.records, foreign_record, describe_record);
    compare("other http.sys records", records(before), records(after));
    let made = made(after, plan);
    let foreign = |entry: &StoreEntry| !own(entry, plan, &made);
    let entries = |report: &Report| listed(&report.stores, foreign, describe_entry);
    compare("other certificates", entries(before), entries(after));
    let sites = |report: &Report| listed(&report.sites, |_| true, |site: &Site| describe_site(site, plan));
    compare("IIS sites", sites(before), sites(after));
    let metabase = |report: &Report| listed(&report.metabase, |_| true, |binding: &MetabaseBinding| format!("{binding:?}"));
    compare("metabase properties", metabase(before), metabase(after));
    found
}

/// The chosen items of a list, each in words, sorted.
fn listed<T>(list: &Fact<Vec<T>>, chosen: impl Fn(&T) -> bool, words: impl Fn(&T) -> String) -> Fact<Vec<String>> {
    match list {
        Fact::Unknown(why) => Fact::Unknown(why.clone()),
        Fact::Known(items) => {
            let mut texts: Vec<String> = items.iter().filter(|item| chosen(item)).map(words).collect();
            texts.sort_unstable();
            Fact::Known(texts)
        }
    }
}

/// Only what is missing and what is new: the rest of a long list tells nobody anything.
fn difference(fact: &str, was: &Fact<Vec<String>>, is: &Fact<Vec<String>>) -> Difference {
    let only = |these: &Fact<Vec<String>>, others: &Fact<Vec<String>>| match (these, others) {
        (Fact::Unknown(why), _) => format!("unknown: {why}"),
        (Fact::Known(_), Fact::Unknown(_)) => "the list as it was".to_owned(),
        (Fact::Known(these), Fact::Known(others)) => {
            let only: Vec<&str> = these.iter().filter(|item| !others.contains(item)).map(String::as_str).collect();
            if only.is_empty() { "nothing else".to_owned() } else { only.join(", ") }
        }
    };
    Difference::new(fact, only(was, is), only(is, was))
}

fn describe_record(record: &SslRecord) -> String {
    format!("{} ({record:?})", show_records(std::slice::from_ref(record)))
}

/// A record that this plan may write, change or remove.
fn own_record(record: &SslRecord, plan: &Plan) -> bool {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other steps write no record")]
    plan.steps.iter().any(|step| match step {
        Step::WriteRecord { record: own }
        | Step::ChangeRecord { from: own, .. }
        | Step::Bind { record: own, .. }
        | Step::RemoveRecord { record: own } => own.kind == record.kind && own.endpoint == record.endpoint,
        _ => false,
    })
}

/// A site without the binding that this plan may change.
fn describe_site(site: &Site, plan: &Plan) -> String {
    let own = |binding: &Binding| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the other steps change no binding")]
        plan.steps.iter().any(|step| match step {
            Step::ChangeBinding { site: name, from, to } => {
                *name == site.name && (binding == to || Some(binding) == from.as_ref())
            }
            _ => false,
        })
    };
    // Whether a site runs is no configuration: like services, it changes by itself.
    let Site { id, name, bindings, running: _ } = site;
    let mut foreign: Vec<String> = bindings.iter().filter(|binding| !own(binding)).map(Binding::to_string).collect();
    foreign.sort_unstable();
    format!("site {id} \"{name}\" with {}", foreign.join(", "))
}

fn describe_entry(entry: &StoreEntry) -> String {
    let StoreEntry { store, thumbprint, certificate: _, archived, key, friendly_name: _, key_state: _, key_access: _ } = entry;
    let archived = if *archived { " archived" } else { "" };
    let key = show(key, |link| link.as_ref().map_or_else(|| "none".to_owned(), |link: &KeyLink| format!("{link:?}")));
    format!("{thumbprint} in {store}{archived}, key {key}")
}

/// Certificates that the plan itself makes: those of its container in `My`.
fn made(after: &Report, plan: &Plan) -> Vec<CertificateId> {
    let entries = after.stores.known().into_iter().flatten();
    entries.filter(|entry| in_container(entry, plan)).map(|entry| entry.certificate).collect()
}

fn in_container(entry: &StoreEntry, plan: &Plan) -> bool {
    let link = |container: &str| matches!(&entry.key, Fact::Known(Some(link)) if link.container == container);
    entry.store == Store::My && plan.container().is_some_and(link)
}

/// An entry that this plan may add.
fn own(entry: &StoreEntry, plan: &Plan, made: &[CertificateId]) -> bool {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other steps change nothing in a store")]
    plan.steps.iter().any(|step| match step {
        Step::Mint { .. } => in_container(entry, plan),
        // The copy in Root has no key link: it is known by the certificate that the container's entry names.
        Step::TrustCopy { .. } => entry.store == Store::Root && made.contains(&entry.certificate),
        Step::AddCertificate { der, store, .. } => *store == entry.store && Sha256::of(&der.0) == entry.certificate,
        Step::Unarchive { thumbprint, store } => *store == entry.store && *thumbprint == entry.thumbprint,
        _ => false,
    })
}
