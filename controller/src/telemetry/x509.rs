//! The back-end certificates under the name and the labels of x509-certificate-exporter, so that dashboards and alert rules that are
//! there already show them.
//!
//! Its label set is fixed, and what does not apply is empty: <https://github.com/enix/x509-certificate-exporter/blob/main/docs/metrics.md>.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;

use policy::certificate::{Certificate, DistinguishedName, Parts};
use policy::id::{CertificateId, ServerName};
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::store::{Store, StoreError};

/// What the certificates of the last scrape say: a certificate never changes, and is read and parsed once.
pub(super) type Known = BTreeMap<CertificateId, Told>;

/// What is shown of a certificate.
#[derive(Debug, Clone)]
pub(super) struct Told {
    end: f64,
    parts: Parts,
}

/// The metric.
#[derive(Debug)]
pub(super) struct NotAfter(Family<Labels, Gauge<f64, AtomicU64>>);

impl NotAfter {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family = Family::default();
        registry.register("x509_cert_not_after", "End of a certificate, as x509-certificate-exporter tells it", family.clone());
        Self(family)
    }

    /// Shows these servers and no others.
    pub(super) async fn fill(
        &self,
        servers: &[(ServerName, Option<CertificateId>)],
        known: &mut Known,
        store: &Store,
    ) -> Result<(), StoreError> {
        let shown: BTreeSet<CertificateId> = servers.iter().filter_map(|(_, certificate)| *certificate).collect();
        known.retain(|id, _| shown.contains(id));
        let missing = shown.into_iter().filter(|id| !known.contains_key(id)).collect();
        let found = store.certificates(&missing).await?;
        // One that came as a report's certificate was parsed before; one that does not parse is not shown.
        known.extend(found.into_iter().filter_map(|(id, der)| Some((id, Told::of(&Certificate::from_der(&der).ok()?)))));
        self.0.clear();
        for (server, told) in servers.iter().filter_map(|(server, id)| Some((server, known.get(id.as_ref()?)?))) {
            self.0.get_or_create(&Labels::new(server, &told.parts)).set(told.end);
        }
        Ok(())
    }
}

impl Told {
    fn of(certificate: &Certificate) -> Self {
        Self { end: certificate.not_after().as_duration().as_secs_f64(), parts: certificate.parts() }
    }
}

/// The exporter's labels, in the order of its page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Labels(Vec<(String, String)>);

/// Labels of what the exporter finds elsewhere than in files.
const ELSEWHERE: [&str; 11] = [
    "embedded_kind",
    "embedded_key",
    "secret_namespace",
    "secret_name",
    "secret_key",
    "configmap_namespace",
    "configmap_name",
    "configmap_key",
    "cabundle_resource_kind",
    "cabundle_resource_name",
    "cabundle_entry",
];

impl Labels {
    /// A binding is told where the exporter tells a file: its name is the host, its path the host and the port.
    fn new(server: &ServerName, parts: &Parts) -> Self {
        let Parts { serial, subject, issuer } = parts;
        let mut labels = vec![("serial_number".to_owned(), serial.clone())];
        labels.extend(named("subject", subject));
        labels.extend(named("issuer", issuer));
        labels.push(("filename".to_owned(), server.as_str().to_owned()));
        labels.push(("filepath".to_owned(), format!("{server}:444")));
        labels.extend(ELSEWHERE.map(|label| (label.to_owned(), String::new())));
        Self(labels)
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}

fn named(of: &str, name: &DistinguishedName) -> [(String, String); 6] {
    let DistinguishedName { country, state, locality, organization, unit, common_name } = name;
    [("C", country), ("ST", state), ("L", locality), ("O", organization), ("OU", unit), ("CN", common_name)]
        .map(|(short, value)| (format!("{of}_{short}"), value.clone()))
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::stage;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        encode(&mut text, registry).expect("encoded");
        text
    }

    #[tokio::test]
    async fn a_server_is_shown_as_the_exporter_shows_a_file_and_no_longer_when_it_is_gone() {
        let (_folder, store) = stage::store().await;
        let mut params = rcgen::CertificateParams::new(vec!["ex1".to_owned()]).expect("names");
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02]));
        params.distinguished_name.push(rcgen::DnType::CommonName, "EX1\"}\n");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Contoso");
        params.not_after = rcgen::date_time_ymd(2031, 11, 3);
        let key = rcgen::KeyPair::generate().expect("a key");
        let der = params.self_signed(&key).expect("a certificate").der().to_vec();
        let id = Certificate::from_der(&der).expect("a certificate").id();
        store.store_certificates(vec![der], stage::noon()).await.expect("kept");

        let (mut registry, mut known) = (Registry::default(), Known::new());
        let not_after = NotAfter::new(&mut registry);
        let (ex1, ex2): (ServerName, ServerName) = ("EX1".parse().expect("a name"), "EX2".parse().expect("a name"));
        not_after.fill(&[(ex1, Some(id)), (ex2, None)], &mut known, &store).await.expect("filled");
        let found = text(&registry);
        let line = found.lines().find(|line| line.starts_with("x509_cert_not_after{")).expect("a series");
        let begin = "x509_cert_not_after{serial_number=\"18446744073709551618\",subject_C=\"\",subject_ST=\"\",subject_L=\"\",\
            subject_O=\"Contoso\",subject_OU=\"\",subject_CN=\"EX1\\\"}\\n\",issuer_C=\"\"";
        assert!(line.starts_with(begin), "{line}");
        assert!(line.contains(",filename=\"EX1\",filepath=\"EX1:444\",embedded_kind=\"\","), "{line}");
        assert!(line.ends_with(",cabundle_entry=\"\"} 1951430400.0"), "{line}");
        assert_eq!(found.matches("x509_cert_not_after{").count(), 1);

        not_after.fill(&[], &mut known, &store).await.expect("filled");
        assert!(!text(&registry).contains("x509_cert_not_after{"));
        assert!(known.is_empty());
        assert!(include_str!("../../../docs/metrics.md").contains("`x509_cert_not_after`"));
    }
}
