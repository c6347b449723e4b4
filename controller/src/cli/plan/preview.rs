//! A plan as a change that people can read in ten lines, made from nothing but the bytes that would be signed.
//!
//! What stands behind `-` is what the plan expects to find, what stands behind `+` is what its steps write. What the
//! controller adds, when it opens and how many approved, comes last and is marked as the controller's word.

use policy::plan::Plan;

use super::PlanRow;
use crate::cli::output::{line, moment_if_any};
use crate::diff::Diff;

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
        let Plan { estate, host, machine_id, purpose, attempt, values: _, expects: _, steps: _ } = self.plan;
        let Diff { old, new, steps, expects, verified, back, gap } = Diff::of(self.plan);
        let again = if *attempt == 1 { String::new() } else { format!(", attempt {attempt}") };
        let mut text = format!(
            "plan {}  {} on {host} (estate {estate}, installation {}{again})\n",
            self.plan.id().short(),
            purpose.as_str(),
            line(machine_id)
        );
        text.extend(old.iter().map(|old| format!("- {}\n", line(old))));
        text.extend(new.iter().map(|new| format!("+ {}\n", line(new))));
        text.push_str(&format!("  steps     {}\n", steps.join(", ")));
        text.push_str(&format!("  expects   {expects} facts on the host, each compared before the first step\n"));
        text.push_str(&format!("  verified  {verified}\n  back      {back}\n"));
        text.extend(gap.map(|gap| format!("  gap       {gap}\n")));
        let PlanRow { opens_at, approvals, needed, .. } = self.row;
        text.push_str(&format!(
            "  says the controller: opens {}, approved by {approvals} of {needed}\n",
            moment_if_any(*opens_at)
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use policy::id::{Sha256, Thumbprint};
    use policy::plan::{Der, Expect, Purpose, Shown, Step};
    use policy::report::{Fact, KeyLink, RecordKind, SslRecord, Store, back_end_endpoint};

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
            etag: String::new(),
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
