//! An assessment as it is printed: the back-end certificate and how it was found, the verdict, and what is not known.

use policy::Timestamp;
use policy::certificate::{Certificate, PublicKey};
use policy::document::Policy;
use policy::evaluate::{Assessment, evaluate};
use policy::finding::Verdict;
use policy::id::Thumbprint;
use policy::last::LastKnown;
use policy::report::{BACK_END_PORT, Fact, Machine, Report, Sight, Site, SslRecord, Store, StoreEntry};
use recorded::Assembly;
use serde::Serialize;

use super::serious;
use crate::cli::failure::chain;
use crate::cli::output::{View, line, moment, pairs, table};
use crate::cli::server::{FindingView, finding_lines};

/// What the exports of one server say.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AssessmentView {
    /// Where the exports are.
    pub(super) source: String,
    pub(super) as_of: Timestamp,
    pub(super) server: String,
    pub(super) fqdn: Option<String>,
    pub(super) exchange: Option<String>,
    #[serde(flatten)]
    pub(super) judgement: Judgement,
    /// By Exchange's own word, where another export contradicts it about 444.
    pub(super) otherwise: Option<Judgement>,
    /// What no export showed, and the command that would.
    pub(super) unknown: Vec<String>,
    /// What was read from which file.
    pub(super) read: Vec<String>,
    /// Files that were not understood, or not whole.
    pub(super) not_understood: Vec<String>,
}

/// What is concluded from one side of the story.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) back_end: BackEnd,
    pub(super) findings: Vec<FindingView>,
    pub(super) other_certificates: Vec<Other>,
    #[serde(skip)]
    pub(super) wants_attention: bool,
}

/// What hangs on 444.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BackEnd {
    /// The record by which the certificate was found.
    pub(super) found_by: String,
    /// Other records that name the same certificate: the back end's does not belong on the front end.
    pub(super) also_on: Vec<String>,
    pub(super) certificate: Option<CertificateView>,
    /// From when it may be renewed, by the default policy.
    pub(super) renewal_opens: Option<Timestamp>,
}

/// A certificate, as it is printed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CertificateView {
    pub(super) thumbprint: Thumbprint,
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) names: Vec<String>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) key: String,
    pub(super) signature: String,
    pub(super) self_signed: bool,
}

/// A certificate that is not the back end's.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Other {
    #[serde(flatten)]
    pub(super) certificate: CertificateView,
    pub(super) store: String,
    /// What it is, where that is obvious.
    pub(super) what: String,
}

impl AssessmentView {
    pub(super) fn of(source: String, as_of: Timestamp, policy: &Policy, assembly: Assembly, missed: &[String]) -> Self {
        let Assembly { sight, otherwise, notes, unread } = assembly;
        let report = &sight.report;
        Self {
            source,
            as_of,
            server: report.host.name.to_string(),
            fqdn: report.host.fqdn.known().cloned(),
            exchange: report.exchange.known().map(|exchange| exchange.version.clone()),
            judgement: Judgement::of(policy, &sight, as_of),
            otherwise: otherwise.map(|sight| Judgement::of(policy, &sight, as_of)),
            unknown: unknown(report),
            read: notes,
            not_understood: unread.iter().map(|unread| chain(unread).join(": ")).chain(missed.iter().cloned()).collect(),
        }
    }

    /// The server in a line: name, verdict, end of the certificate on 444, and how many findings want somebody.
    pub(super) fn row(&self) -> [String; 4] {
        let Judgement { back_end, findings, .. } = self.otherwise.as_ref().unwrap_or(&self.judgement);
        let verdicts: Vec<String> = self.verdicts().map(|verdict| verdict.to_string()).collect();
        let ends = back_end.certificate.as_ref().map(|found| found.not_after.strftime("%Y-%m-%d").to_string());
        let many = |severity: &str| findings.iter().filter(|finding| finding.severity == severity).count();
        let findings = format!("{} page, {} warning, {} note", many("page"), many("warning"), many("note"));
        [self.server.clone(), verdicts.join(" or "), ends.unwrap_or_else(|| "unknown".to_owned()), findings]
    }

    /// The verdict; two of them where the exports contradict each other.
    pub(super) fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        std::iter::once(self.judgement.verdict).chain(self.otherwise.as_ref().map(|otherwise| otherwise.verdict))
    }

    /// Whether somebody should look.
    pub(super) fn wants_attention(&self) -> bool {
        self.judgement.wants_attention || self.otherwise.as_ref().is_some_and(|otherwise| otherwise.wants_attention)
    }
}

impl Judgement {
    fn of(policy: &Policy, sight: &Sight, now: Timestamp) -> Self {
        let Assessment { verdict, findings } = evaluate(policy, sight, &LastKnown::default(), now);
        let back_end = back_end(sight, policy);
        let named = back_end.certificate.as_ref().map(|certificate| certificate.thumbprint);
        Self {
            verdict,
            other_certificates: others(sight, named),
            wants_attention: findings.iter().any(|finding| serious(finding.code.severity())),
            findings: findings.into_iter().map(finding).collect(),
            back_end,
        }
    }
}

fn finding(finding: policy::finding::Finding) -> FindingView {
    let policy::finding::Finding { code, evidence } = finding;
    FindingView {
        code: code.to_string(),
        title: code.title().to_owned(),
        severity: format!("{:?}", code.severity()).to_lowercase(),
        evidence,
    }
}

fn back_end(sight: &Sight, policy: &Policy) -> BackEnd {
    let none = |found_by: String| BackEnd { found_by, also_on: Vec::new(), certificate: None, renewal_opens: None };
    let record = match sight.report.back_end_record() {
        Fact::Unknown(why) => return none(why),
        Fact::Known(None) => return none(format!("http.sys has no record for port {BACK_END_PORT}")),
        Fact::Known(Some(record)) => record,
    };
    let Some(thumbprint) = record.thumbprint else {
        return none(format!("the record {} names no certificate", record.endpoint));
    };
    let binding = match sight.report.sites.known().and_then(|sites| binding_of_back_end(sites)) {
        Some(site) => format!("binding *:{BACK_END_PORT}: of IIS site \"{site}\"; "),
        None => String::new(),
    };
    let found_by = format!("{binding}record {} names {thumbprint} in {}", record.endpoint, record.store());
    // Also where the store was not read as a whole: what the exports show of it is shown.
    match sight.certificates.values().find(|certificate| certificate.thumbprint() == thumbprint) {
        None => none(format!("{found_by}, and no export shows that certificate")),
        Some(certificate) => BackEnd {
            found_by,
            also_on: endpoints(&sight.report, thumbprint, &record.store())
                .filter(|at| *at != record.endpoint)
                .map(str::to_owned)
                .collect(),
            renewal_opens: Some(policy.renewal_opens(certificate.not_after())),
            certificate: Some(CertificateView::of(certificate)),
        },
    }
}

/// The IIS site to which 444 belongs.
fn binding_of_back_end(sites: &[Site]) -> Option<&str> {
    let has = |site: &&Site| site.bindings.iter().any(|binding| binding.protocol == "https" && binding.information == "*:444:");
    sites.iter().find(has).map(|site| site.name.as_str())
}

impl CertificateView {
    fn of(certificate: &Certificate) -> Self {
        Self {
            thumbprint: certificate.thumbprint(),
            subject: certificate.subject().to_owned(),
            issuer: certificate.issuer().to_owned(),
            names: certificate.names().to_vec(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            key: match certificate.key() {
                PublicKey::Rsa(bits) => format!("RSA {bits}"),
                PublicKey::Other(algorithm) => algorithm.clone(),
            },
            signature: certificate.signature().to_owned(),
            self_signed: certificate.self_issued(),
        }
    }
}

fn others(sight: &Sight, back_end: Option<Thumbprint>) -> Vec<Other> {
    let entries = sight.report.stores.known().into_iter().flatten();
    let mut others: Vec<Other> = entries
        .filter(|entry| Some(entry.thumbprint) != back_end)
        .filter_map(|entry| {
            let certificate = sight.certificates.get(&entry.certificate)?;
            let what = what(&sight.report, entry, certificate);
            Some(Other { certificate: CertificateView::of(certificate), store: entry.store.to_string(), what })
        })
        .collect();
    others.sort_by(|a, b| (&a.store, a.certificate.not_after).cmp(&(&b.store, b.certificate.not_after)));
    others
}

/// The records that name this certificate.
fn endpoints<'a>(report: &'a Report, thumbprint: Thumbprint, store: &Store) -> impl Iterator<Item = &'a str> {
    let named = move |record: &&SslRecord| record.thumbprint == Some(thumbprint) && record.store() == *store;
    report.records.known().into_iter().flatten().filter(named).map(|record| record.endpoint.as_str())
}

/// What a certificate is for, by its records first and by the product's own names for it second.
fn what(report: &Report, entry: &StoreEntry, certificate: &Certificate) -> String {
    let endpoints: Vec<&str> = endpoints(report, entry.thumbprint, &entry.store).collect();
    let subject = certificate.subject();
    if endpoints.iter().any(|endpoint| endpoint.ends_with(":443")) {
        format!("front end ({})", endpoints.join(", "))
    } else if !endpoints.is_empty() {
        format!("bound to {}", endpoints.join(", "))
    } else if subject.eq_ignore_ascii_case("CN=Microsoft Exchange Server Auth Certificate") {
        "Auth certificate of the organisation (OAuth)".to_owned()
    } else if subject.to_ascii_uppercase().starts_with("CN=WMSVC") {
        "WMSVC: web management service of IIS".to_owned()
    } else if entry.store == Store::Root {
        "trusted root".to_owned()
    } else {
        "not bound".to_owned()
    }
}

/// Facts that no export showed.
fn unknown(report: &Report) -> Vec<String> {
    let Report { host, exchange, setup, stores, containers, records, sites, metabase, services, machine, probes, hold: _ } =
        report;
    let Machine { booted, clock_ahead, maintenance, last_setup, iis_redirected, app_pools, tls, auth, transport, forest, events } =
        machine;
    let facts = [
        ("full name", host.fqdn.unknown()),
        ("machine id", host.machine_id.unknown()),
        ("AD site", host.ad_site.unknown()),
        ("DAG", host.dag.unknown()),
        ("Exchange", exchange.unknown()),
        ("setup", setup.unknown()),
        ("stores", stores.unknown()),
        ("key containers", containers.unknown()),
        ("http.sys records", records.unknown()),
        ("IIS sites", sites.unknown()),
        ("metabase", metabase.unknown()),
        ("services", services.unknown()),
        ("Auth Certificate", auth.unknown()),
        ("shared configuration of IIS", iis_redirected.unknown()),
    ];
    let mut unknown: Vec<String> = facts.into_iter().filter_map(|(what, why)| why.map(|why| format!("{what}: {why}"))).collect();
    // No export shows these; an agent on the server reads them.
    let only_there = [
        ("when Windows started", booted.unknown()),
        ("clock", clock_ahead.unknown()),
        ("maintenance", maintenance.unknown()),
        ("last setup", last_setup.unknown()),
        ("application pools", app_pools.unknown()),
        ("TLS policy", tls.unknown()),
        ("transport certificate", transport.unknown()),
        ("forest", forest.unknown()),
        ("events", events.unknown()),
    ];
    let only_there: Vec<&str> = only_there.into_iter().filter_map(|(what, why)| why.map(|_| what)).collect();
    if !only_there.is_empty() {
        unknown.push(format!("{}: only seen on the server", only_there.join(", ")));
    }
    let untried = stores.known().into_iter().flatten().any(|entry| entry.key_state.unknown().is_some());
    if untried {
        unknown.push("private keys: whether they can be used is only seen on the server".to_owned());
    }
    if probes.is_empty() {
        unknown.push("handshakes: what the ports really show is only seen on the server".to_owned());
    }
    unknown
}

impl View for AssessmentView {
    fn text(&self) -> String {
        let Self { source, as_of, server, fqdn, exchange, judgement, otherwise, unknown, read, not_understood } = self;
        let or_unknown = |text: &Option<String>| text.as_deref().map_or_else(|| "unknown".to_owned(), line);
        let mut rows = vec![
            ("server", format!("{}, full name {}", line(server), or_unknown(fqdn))),
            ("Exchange", or_unknown(exchange)),
            ("exports", line(source)),
            ("as of", moment(*as_of)),
        ];
        rows.extend(judgement.rows());
        let mut text = format!("{}\n{}", pairs(rows), finding_lines(&judgement.findings));
        if let Some(otherwise) = otherwise {
            text.push_str("\nthe exports contradict each other; by Exchange's own word (Get-ExchangeCertificate) it is\n");
            text.push_str(&format!("{}\n{}", pairs(otherwise.rows()), finding_lines(&otherwise.findings)));
        }
        // The side that knows the stores knows the others.
        let others = otherwise.as_ref().unwrap_or(judgement).other_certificates.iter();
        if others.len() > 0 {
            text.push_str("\nother certificates\n");
            text.push_str(&table(["CERTIFICATE", "STORE", "ENDS", "SUBJECT", "WHAT"], others.map(Other::row)));
        }
        for (title, list) in [("unknown", unknown), ("read", read), ("not understood", not_understood)] {
            if !list.is_empty() {
                text.push_str(&format!("\n{title}\n"));
                list.iter().for_each(|entry| text.push_str(&format!("  {}\n", line(entry))));
            }
        }
        text
    }
}

impl Judgement {
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let BackEnd { found_by, also_on, certificate, renewal_opens } = &self.back_end;
        let mut rows = vec![("verdict", self.verdict.to_string()), ("found by", line(found_by))];
        if let Some(certificate) = certificate {
            let CertificateView { thumbprint, subject, issuer, names, not_before, not_after, key, signature, self_signed } =
                certificate;
            rows.extend([
                ("thumbprint", thumbprint.to_string()),
                ("subject", line(subject)),
                ("issuer", if *self_signed { "itself".to_owned() } else { line(issuer) }),
                ("names", names.iter().map(|name| line(name)).collect::<Vec<_>>().join(", ")),
                ("valid", format!("{} to {}", moment(*not_before), moment(*not_after))),
                ("key", line(key)),
                ("signature", line(signature)),
            ]);
        }
        if !also_on.is_empty() {
            rows.push(("also on", also_on.iter().map(|endpoint| line(endpoint)).collect::<Vec<_>>().join(", ")));
        }
        if let Some(opens) = renewal_opens {
            rows.push(("renewal", format!("may run from {} by the default policy", moment(*opens))));
        }
        rows
    }
}

impl Other {
    fn row(&self) -> [String; 5] {
        let Self { certificate, store, what } = self;
        let ends = certificate.not_after.strftime("%Y-%m-%d").to_string();
        [certificate.thumbprint.to_string(), store.clone(), ends, certificate.subject.clone(), what.clone()]
    }
}
