//! The certificates of one server, from all listings that are its own.

use std::collections::{BTreeMap, BTreeSet};

use policy::certificate::Certificate;
use policy::id::{CertificateId, ServerName, Thumbprint};
use policy::report::{Fact, SslRecord, Store, StoreEntry};

use crate::assemble::{Readable, missing};
use crate::exchange_certificate::{Listed, Listing};
use crate::export::Content;
use crate::server;

/// What the listings hold together.
pub(crate) struct Held<'a> {
    listings: Vec<(&'a str, &'a Listing)>,
    left_out: Vec<&'a str>,
}

/// The listings that are this server's.
pub(crate) fn of<'a>(server: &ServerName, files: &[&'a Readable], notes: &mut Vec<String>) -> Held<'a> {
    let mut held = Held { listings: Vec::new(), left_out: Vec::new() };
    for file in files {
        let Content::Certificates(listing) = &file.content else { continue };
        if server::owns(server, listing) {
            held.listings.push((&file.file, listing));
        } else {
            held.left_out.push(&file.file);
            notes.push(format!("{}: left out, its certificates are not those of {server}", file.file));
        }
    }
    held
}

impl<'a> Held<'a> {
    fn listed(&self) -> impl Iterator<Item = &'a Listed> {
        self.listings.iter().flat_map(|(_, listing)| &listing.listed)
    }

    /// The certificates, with repetitions.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &'a Certificate> {
        self.listed().map(|listed| &listed.certificate)
    }

    /// The certificates by identity.
    pub(crate) fn by_id(&self) -> BTreeMap<CertificateId, Certificate> {
        self.certificates().map(|certificate| (certificate.id(), certificate.clone())).collect()
    }

    /// The files in which the listings stand.
    pub(crate) fn files(&self) -> String {
        self.listings.iter().map(|(file, _)| *file).collect::<Vec<_>>().join(", ")
    }

    /// The certificates that Exchange says an IIS site uses, by number of the site.
    pub(crate) fn on_sites(&self) -> BTreeMap<u32, BTreeSet<Thumbprint>> {
        let mut on: BTreeMap<u32, BTreeSet<Thumbprint>> = BTreeMap::new();
        for listed in self.listed() {
            for site in &listed.sites {
                on.entry(site.id).or_default().insert(listed.entry.thumbprint);
            }
        }
        on
    }

    /// The entries of the stores. Unknown when they do not show the certificate of the back end and do not prove that it
    /// is missing either: Get-ExchangeCertificate leaves certificates out, and to call one deleted that is at work would
    /// be the worst mistake of an assessment.
    pub(crate) fn stores(&self, records: &Fact<Vec<SslRecord>>, notes: &mut Vec<String>) -> Fact<Vec<StoreEntry>> {
        if self.listings.is_empty() {
            let command = r"Get-ExchangeCertificate | Export-Clixml certificates.xml";
            return match self.left_out.as_slice() {
                [] => missing("the certificates", command),
                others => missing(&format!("this server's certificates ({} is another's)", others.join(", ")), command),
            };
        }
        let entries = self.entries();
        let mut unlisted: BTreeMap<(Store, Thumbprint), Vec<&SslRecord>> = BTreeMap::new();
        for record in records.known().into_iter().flatten() {
            let (Some(thumbprint), store) = (record.thumbprint, record.store()) else { continue };
            let shown = entries.iter().any(|entry| entry.store == store && entry.thumbprint == thumbprint);
            if !shown && !self.shows_whole(&store) {
                unlisted.entry((store, thumbprint)).or_default().push(record);
            }
        }
        let mut unknown = None;
        for ((store, thumbprint), records) in unlisted {
            let endpoints: Vec<&str> = records.iter().map(|record| record.endpoint.as_str()).collect();
            let why = format!(
                "certificate {thumbprint} in store {store}, that http.sys looks for on {}, is not listed in {}; this does not prove \
                 that it is missing: Get-ChildItem Cert:\\LocalMachine\\{store} | Export-Clixml store.xml",
                endpoints.join(", "),
                self.files()
            );
            if records.iter().any(|record| record.is_back_end()) {
                unknown = Some(why);
            } else {
                notes.push(why);
            }
        }
        unknown.map_or(Fact::Known(entries), Fact::Unknown)
    }

    /// Whether a listing shows every certificate of the store.
    fn shows_whole(&self, store: &Store) -> bool {
        self.listings.iter().any(|(_, listing)| {
            listing.unread.is_empty() && listing.listed.iter().any(|listed| listed.from_drive && listed.entry.store == *store)
        })
    }

    /// One entry for each certificate in each store, with all that any listing knows of it.
    fn entries(&self) -> Vec<StoreEntry> {
        let mut entries: BTreeMap<(Store, Thumbprint), StoreEntry> = BTreeMap::new();
        for Listed { entry, .. } in self.listed() {
            match entries.get_mut(&(entry.store.clone(), entry.thumbprint)) {
                Some(known) => *known = merged(known, entry),
                None => {
                    entries.insert((entry.store.clone(), entry.thumbprint), entry.clone());
                }
            }
        }
        entries.into_values().collect()
    }
}

fn merged(one: &StoreEntry, other: &StoreEntry) -> StoreEntry {
    let StoreEntry { store, certificate, thumbprint, archived, friendly_name, key, key_state, key_access } = one;
    StoreEntry {
        store: store.clone(),
        certificate: *certificate,
        thumbprint: *thumbprint,
        archived: *archived || other.archived,
        friendly_name: known(friendly_name, &other.friendly_name),
        key: known(key, &other.key),
        key_state: known(key_state, &other.key_state),
        key_access: known(key_access, &other.key_access),
    }
}

fn known<T: Clone>(one: &Fact<T>, other: &Fact<T>) -> Fact<T> {
    if one.known().is_some() { one.clone() } else { other.clone() }
}
