//! The http.sys records of one server, from the export that shows them best.

use policy::report::{Fact, RecordKind, Site, SslRecord};

use crate::assemble::{Readable, first, missing};
use crate::certificates::Held;
use crate::export::Content;
use crate::web_binding::{WebBindings, endpoint};

/// IIS' number of the back end on every Exchange that Setup left as it made it.
const BACK_END_ID: u32 = 2;

/// The records: from netsh, which shows them all; else from Get-WebBinding, which shows those of IIS; else from what
/// Exchange says of its certificates.
pub(crate) fn of(
    files: &[&Readable],
    bindings: Option<(&str, &WebBindings)>,
    sites: &Fact<Vec<Site>>,
    held: &Held<'_>,
    notes: &mut Vec<String>,
) -> Fact<Vec<SslRecord>> {
    let from_netsh = first(files, notes, "netsh http show sslcert", |content| {
        let Content::Records(records) = content else { return None };
        Some(records)
    });
    let from_exchange = said_by_exchange(sites, held);
    let shown = from_netsh.or_else(|| bindings.map(|(file, bindings)| (file, &bindings.records)));
    let Some((file, records)) = shown else {
        return match from_exchange {
            Some(records) => {
                notes.push(format!(
                    "no export of the http.sys records was given; {} stands in, where Exchange says which IIS sites use a \
                     certificate: netsh http show sslcert > sslcert.txt shows them all",
                    held.files()
                ));
                Fact::Known(records)
            }
            None => missing("the http.sys records", "netsh http show sslcert > sslcert.txt"),
        };
    };
    for said in from_exchange.into_iter().flatten() {
        let other = records.iter().find(|record| record.kind == said.kind && record.endpoint == said.endpoint);
        let shown = other.and_then(|record| record.thumbprint);
        if let (Some(said_thumbprint), true) = (said.thumbprint, shown != said.thumbprint) {
            let shown = shown.map_or_else(|| "no certificate".to_owned(), |thumbprint| format!("certificate {thumbprint}"));
            notes.push(format!(
                "{file} shows {shown} on {}, but {} says that Exchange sees {said_thumbprint} there: they are of different \
                 machines or moments; {file} is believed; take both again, together",
                said.endpoint,
                held.files()
            ));
        }
    }
    Fact::Known(records.clone())
}

/// The records by Exchange's own word, when it names another certificate for the back end than `believed` does.
pub(crate) fn otherwise(believed: &Fact<Vec<SslRecord>>, sites: &Fact<Vec<Site>>, held: &Held<'_>) -> Option<Vec<SslRecord>> {
    let thumbprint = |records: &[SslRecord]| records.iter().find(|record| record.is_back_end()).map(|record| record.thumbprint);
    let said = said_by_exchange(sites, held)?;
    (thumbprint(believed.known()?) != thumbprint(&said)).then_some(said)
}

/// Exchange asks IIS for the certificate of each site, and IIS asks http.sys. So where Exchange names one certificate for a
/// site, it is the one on the site's wildcard address; other addresses may have another. `None` unless it says so of the
/// back end: a list without that record would say that there is none.
fn said_by_exchange(sites: &Fact<Vec<Site>>, held: &Held<'_>) -> Option<Vec<SslRecord>> {
    let mut records = Vec::new();
    for (id, thumbprints) in held.on_sites() {
        let Some(thumbprint) = thumbprints.first().filter(|_| thumbprints.len() == 1) else { continue };
        for endpoint in wildcards(id, sites) {
            records.push(SslRecord {
                kind: RecordKind::Address,
                endpoint,
                thumbprint: Some(*thumbprint),
                store: None,
                app_id: not_said(),
                parameters: not_said(),
            });
        }
    }
    records.iter().any(SslRecord::is_back_end).then_some(records)
}

fn not_said<T>() -> Fact<T> {
    Fact::Unknown("Get-ExchangeCertificate does not show it".to_owned())
}

/// The wildcard endpoints of a site; those of a site that Setup made, when no site is known.
fn wildcards(id: u32, sites: &Fact<Vec<Site>>) -> Vec<String> {
    match sites {
        Fact::Known(sites) => {
            let bindings = sites.iter().filter(|site| site.id == id).flat_map(|site| &site.bindings);
            let https = bindings.filter(|binding| binding.protocol == "https").filter_map(endpoint);
            https.filter(|(kind, at)| *kind == RecordKind::Address && at.starts_with("0.0.0.0:")).map(|(_, at)| at).collect()
        }
        Fact::Unknown(_) if id == 1 => vec!["0.0.0.0:443".to_owned()],
        Fact::Unknown(_) if id == BACK_END_ID => vec![policy::report::back_end_endpoint()],
        Fact::Unknown(_) => Vec::new(),
    }
}
