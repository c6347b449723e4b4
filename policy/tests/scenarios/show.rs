//! What the mind says, in golden text.

use std::fmt::Write as _;

use policy::Timestamp;
use policy::decide::{Aside, Decision};
use policy::evaluate::Assessment;
use policy::plan::{Expect, Plan, Shown, Step};

pub(crate) fn answer(assessment: &Assessment, decision: &Decision, beside: &[Aside], next_look: Option<Timestamp>) -> String {
    let mut text = format!("verdict: {}\n", assessment.verdict);
    for finding in &assessment.findings {
        let _ = writeln!(text, "  {} {:?}: {}", finding.code, finding.code.severity(), finding.code.title());
        for evidence in &finding.evidence {
            let _ = writeln!(text, "    {evidence}");
        }
    }
    decided(&mut text, "decision", decision);
    for Aside { purpose, decision } in beside {
        decided(&mut text, &format!("beside, to {}", purpose.as_str()), decision);
    }
    let next = next_look.map_or_else(|| "only when a fact changes".to_owned(), |at| at.to_string());
    let _ = writeln!(text, "next look: {next}");
    text
}

fn decided(text: &mut String, what: &str, decision: &Decision) {
    let _ = writeln!(text, "{what}: {}", decision.word());
    match decision {
        Decision::Hold { why, look_again: _ } => why.iter().for_each(|why| {
            let _ = writeln!(text, "  because {why}");
        }),
        Decision::LeaveAlone { why, look_again: _ } | Decision::WouldAct { why, .. } | Decision::Act { why, .. } => {
            let _ = writeln!(text, "  because {why}");
        }
        Decision::Propose { why, urgent, .. } => {
            let _ = writeln!(text, "  because {why}{}", if *urgent { " (urgent)" } else { "" });
        }
    }
    if let Some(begins) = decision.begins() {
        let _ = writeln!(text, "  not before {begins}");
    }
    if let Some(plan) = decision.plan() {
        text.push_str(&show_plan(plan));
    }
}

fn show_plan(plan: &Plan) -> String {
    let mut text = format!("  plan {} to {} on {} ({})\n", plan.id().short(), plan.purpose.as_str(), plan.host, plan.machine_id);
    for expect in &plan.expects {
        let _ = writeln!(text, "    expects {}", show_expect(expect));
    }
    for step in &plan.steps {
        let _ = writeln!(text, "    {}: {}", step.name(), show_step(step));
    }
    text
}

fn show_step(step: &Step) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other steps name what they mean")]
    match step {
        Step::Probe { shows: Shown::Certificate(id), .. } => format!("{} ({})", step.describe(), id.short()),
        _ => step.describe(),
    }
}

fn show_expect(expect: &Expect) -> String {
    match expect {
        Expect::Fqdn(name) => format!("the full name {name}"),
        Expect::Records { port, records } => {
            let records: Vec<String> = records
                .iter()
                .map(|record| {
                    let hash = record.thumbprint.map_or_else(|| "nothing".to_owned(), |thumbprint| thumbprint.to_string());
                    format!("{} → {hash} in {}", record.endpoint, record.store())
                })
                .collect();
            format!("on port {port} {}", if records.is_empty() { "no record".to_owned() } else { records.join(", ") })
        }
        Expect::Certificate { certificate, store, archived, key, usable } => {
            let container = key.as_ref().map_or("nowhere", |link| link.container.as_str());
            let archived = if *archived { ", archived" } else { "" };
            let usable = if *usable { "usable" } else { "not usable" };
            format!("certificate {} in {store}{archived}, its key in {container}, {usable}", certificate.short())
        }
        Expect::NoCertificate { thumbprint, store } => format!("no {thumbprint} in {store}"),
        Expect::Container { name, key_id } => format!("container {name} with key {}", key_id.short()),
        Expect::Bindings { site, bindings } => {
            let bindings: Vec<String> = bindings.iter().map(ToString::to_string).collect();
            format!("site \"{site}\" with {}", bindings.join(", "))
        }
        Expect::Metabase(bindings) => format!("{} metabase properties", bindings.len()),
    }
}
