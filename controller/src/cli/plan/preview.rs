//! A plan as a change that people can read in ten lines, made from nothing but the bytes that would be signed.
//!
//! What stands behind `-` is what the plan expects to find, what stands behind `+` is what its steps write. What the
//! controller adds, when it opens and how many approved, comes last and is marked as the controller's word.

use policy::id::Thumbprint;
use policy::plan::{Expect, Plan, Step};
use policy::report::{BACK_END_PORT, SslRecord, back_end_endpoint};

use super::PlanRow;
use crate::cli::output::{line, moment_if_any};

/// A plan and what the controller says of it.
#[derive(Debug, Clone, Copy)]
pub struct Preview<'a> {
    /// What would be signed.
    pub plan: &'a Plan,
    /// The controller's word.
    pub row: &'a PlanRow,
}

impl Preview<'_> {
    /// The change, in about ten lines.
    pub fn text(&self) -> String {
        let Plan { estate, host, machine_id, purpose, attempt, values: _, expects, steps } = self.plan;
        let again = if *attempt == 1 { String::new() } else { format!(", attempt {attempt}") };
        let mut text = format!(
            "plan {}  {} on {host} (estate {estate}, installation {}{again})\n",
            self.plan.id().short(),
            purpose.as_str(),
            line(machine_id)
        );
        for old in found(expects) {
            text.push_str(&format!("- {}\n", line(&old)));
        }
        for new in steps.iter().filter_map(written) {
            text.push_str(&format!("+ {}\n", line(&new)));
        }
        let names: Vec<&str> = steps.iter().map(Step::name).collect();
        text.push_str(&format!("  steps     {}\n", names.join(", ")));
        text.push_str(&format!("  expects   {} facts on the host, each compared before the first step\n", expects.len()));
        text.push_str(&format!("  verified  {}\n", verified(steps)));
        text.push_str(&format!("  back      {}\n", back(steps)));
        if steps.iter().any(|step| matches!(step, Step::Swap { .. })) {
            text.push_str("  gap       none, or milliseconds where Windows cannot update a record in place: measured, and told in the receipt\n");
        }
        let PlanRow { opens_at, approvals, needed, .. } = self.row;
        text.push_str(&format!(
            "  says the controller: opens {}, approved by {approvals} of {needed}\n",
            moment_if_any(*opens_at)
        ));
        text
    }
}

/// What stands on 444 before, as the plan expects it.
fn found(expects: &[Expect]) -> Vec<String> {
    let gone: Vec<Thumbprint> = expects
        .iter()
        .filter_map(|expect| if let Expect::NoCertificate { thumbprint, .. } = expect { Some(*thumbprint) } else { None })
        .collect();
    let mut lines = Vec::new();
    for expect in expects {
        let Expect::Records { port, records } = expect else { continue };
        if records.is_empty() {
            lines.push(if *port == BACK_END_PORT {
                format!("{}  no record", back_end_endpoint())
            } else {
                format!("port {port}  no record")
            });
        }
        for record in records {
            let missing = record.thumbprint.is_some_and(|thumbprint| gone.contains(&thumbprint));
            lines.push(format!("{}{}", shown(record), if missing { ", which was deleted" } else { "" }));
        }
    }
    lines
}

/// What a step leaves behind, for steps that leave something.
fn written(step: &Step) -> Option<String> {
    match step {
        Step::AddCertificate { der, store, key, friendly_name: _ } => {
            Some(format!("{} put back into {store}, with its key in container {}", Thumbprint::of(&der.0), key.container))
        }
        Step::WriteRecord { record } => Some(shown(record)),
        Step::CreateKey { container, bits } => Some(format!("RSA key of {bits} bits in container {container}")),
        Step::Mint { netbios, fqdn, months, container: _ } => {
            Some(format!("self-signed certificate for {netbios}, {fqdn}, {months} months, in MY"))
        }
        Step::TrustCopy { .. } => Some("its public part in Root".to_owned()),
        Step::Swap { from, .. } => Some(format!("{}  that certificate, everything else in the record stays", from.endpoint)),
        Step::ChangeRecord { from: _, to } => Some(shown(to)),
        Step::Bind { record, container: _ } => Some(format!("{}  that certificate in {}", record.endpoint, record.store())),
        Step::Unarchive { thumbprint, store } => Some(format!("{thumbprint} in {store} is no longer archived")),
        Step::RemoveRecord { record } => Some(format!("{}  no record", record.endpoint)),
        Step::ChangeBinding { site, from: _, to } => Some(format!("IIS site \"{site}\": {to}")),
        Step::GrantKey { .. } | Step::DryHandshake { .. } | Step::Probe { .. } | Step::Compare => None,
    }
}

fn shown(record: &SslRecord) -> String {
    let thumbprint = record.thumbprint.map_or_else(|| "no certificate".to_owned(), |thumbprint| thumbprint.to_string());
    format!("{}  {thumbprint} in {}", record.endpoint, record.store())
}

fn verified(steps: &[Step]) -> String {
    let mut checks: Vec<String> = Vec::new();
    for step in steps {
        match step {
            Step::DryHandshake { .. } => checks.push("a handshake on a private port first".to_owned()),
            Step::Probe { port, .. } => checks.push(format!("handshakes with {port} over every path")),
            Step::Compare => checks.push("everything else on the host reads as before".to_owned()),
            Step::AddCertificate { .. }
            | Step::WriteRecord { .. }
            | Step::CreateKey { .. }
            | Step::GrantKey { .. }
            | Step::Mint { .. }
            | Step::TrustCopy { .. }
            | Step::Swap { .. }
            | Step::ChangeRecord { .. }
            | Step::Bind { .. }
            | Step::Unarchive { .. }
            | Step::RemoveRecord { .. }
            | Step::ChangeBinding { .. } => {}
        }
    }
    if checks.is_empty() { "NOTHING: no step of this plan checks its result".to_owned() } else { checks.join("; ") }
}

fn back(steps: &[Step]) -> &'static str {
    if steps.iter().any(|step| matches!(step, Step::Swap { .. })) {
        "the old record is written again, the new certificate archived; the old certificate never leaves its store"
    } else if steps.iter().any(|step| written(step).is_some()) {
        "what was there before was broken: nothing is taken back, and nothing that works is touched"
    } else {
        "nothing is written"
    }
}

#[cfg(test)]
mod tests {
    use policy::id::Sha256;
    use policy::plan::{Der, Purpose, Shown};
    use policy::report::{Fact, KeyLink, RecordKind, Store};

    use super::super::tests::body;
    use super::*;

    fn record(thumbprint: Thumbprint) -> SslRecord {
        SslRecord {
            kind: RecordKind::Address,
            endpoint: back_end_endpoint(),
            thumbprint: Some(thumbprint),
            store: Some("MY".to_owned()),
            app_id: Fact::not_observed(),
            parameters: Fact::not_observed(),
        }
    }

    fn preview(plan: &Plan) -> String {
        let row = PlanRow {
            id: plan.id(),
            server: "EX1".to_owned(),
            purpose: plan.purpose.as_str().to_owned(),
            life: "proposed".to_owned(),
            waits_for: String::new(),
            opens_at: None,
            created_at: None,
            changed_at: None,
            approvals: 1,
            needed: 2,
        };
        Preview { plan, row: &row }.text()
    }

    #[test]
    fn a_renewal_reads_in_ten_lines() {
        let old = record(Thumbprint([0x92; 20]));
        let container = "c0".to_owned();
        let plan = Plan {
            expects: vec![Expect::Fqdn("ex1.contoso.test".to_owned()), Expect::Records { port: 444, records: vec![old.clone()] }],
            steps: vec![
                Step::CreateKey { container: container.clone(), bits: 2048 },
                Step::Mint { container: container.clone(), netbios: "EX1".into(), fqdn: "ex1.contoso.test".into(), months: 60 },
                Step::DryHandshake { container: container.clone() },
                Step::Swap { from: old, container: container.clone() },
                Step::Probe { port: 444, shows: Shown::OfContainer(container) },
                Step::Compare,
            ],
            ..body()
        };
        let expected = format!(
            "plan {}  renew on EX1 (estate contoso, installation 5d1c)
- 0.0.0.0:444  9292929292929292929292929292929292929292 in MY
+ RSA key of 2048 bits in container c0
+ self-signed certificate for EX1, ex1.contoso.test, 60 months, in MY
+ 0.0.0.0:444  that certificate, everything else in the record stays
  steps     create_key, mint, dry_handshake, swap, probe, compare
  expects   2 facts on the host, each compared before the first step
  verified  a handshake on a private port first; handshakes with 444 over every path; everything else on the host reads as before
  back      the old record is written again, the new certificate archived; the old certificate never leaves its store
  gap       none, or milliseconds where Windows cannot update a record in place: measured, and told in the receipt
  says the controller: opens -, approved by 1 of 2
",
            plan.id().short()
        );
        assert_eq!(preview(&plan), expected);
    }

    #[test]
    fn a_deleted_certificate_reads_as_deleted_and_put_back() {
        let der = Der(b"the certificate".to_vec());
        let thumbprint = Thumbprint::of(&der.0);
        let key = KeyLink { container: "old".to_owned(), provider: String::new(), provider_type: 12, flags: 0x20, key_spec: 1 };
        let plan = Plan {
            purpose: Purpose::Undelete,
            expects: vec![
                Expect::NoCertificate { thumbprint, store: Store::My },
                Expect::Records { port: 444, records: vec![record(thumbprint)] },
                Expect::Container { name: "old".to_owned(), key_id: Sha256::of(b"key") },
            ],
            steps: vec![Step::AddCertificate { der, store: Store::My, key, friendly_name: None }, Step::Compare],
            ..body()
        };
        let text = preview(&plan);
        assert!(text.contains(&format!("- 0.0.0.0:444  {thumbprint} in MY, which was deleted\n")), "{text}");
        assert!(text.contains(&format!("+ {thumbprint} put back into MY, with its key in container old\n")), "{text}");
    }

    #[test]
    fn a_plan_that_checks_nothing_says_so_aloud() {
        let plan = Plan { steps: vec![Step::WriteRecord { record: record(Thumbprint([1; 20])) }], ..body() };
        assert!(preview(&plan).contains("verified  NOTHING"));
    }
}
