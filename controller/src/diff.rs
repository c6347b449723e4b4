//! What a plan changes, made from nothing but the bytes that would be signed: what it expects to find, what its steps leave behind, what is
//! verified, how it goes back. On the command line and on its page it reads the same.

use policy::id::Thumbprint;
use policy::plan::{Expect, Plan, Step};
use policy::report::{BACK_END_PORT, SslRecord, back_end_endpoint};

/// A plan as a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// What stands there before, as the plan expects it.
    pub old: Vec<String>,
    /// What its steps leave behind.
    pub new: Vec<String>,
    /// The steps' names, in order.
    pub steps: Vec<&'static str>,
    /// How many facts are compared before the first step.
    pub expects: usize,
    /// How its result is checked.
    pub verified: String,
    /// How it goes back.
    pub back: &'static str,
    /// Whether 444 may be without a record meanwhile.
    pub gap: Option<&'static str>,
}

impl Diff {
    /// Of this plan.
    pub fn of(plan: &Plan) -> Self {
        let Plan { estate: _, host: _, machine_id: _, purpose: _, attempt: _, values: _, expects, steps } = plan;
        let swaps = steps.iter().any(|step| matches!(step, Step::Swap { .. }));
        Self {
            old: found(expects),
            new: steps.iter().filter_map(written).collect(),
            steps: steps.iter().map(Step::name).collect(),
            expects: expects.len(),
            verified: verified(steps),
            back: back(steps),
            gap: swaps.then_some(
                "none, or milliseconds where Windows cannot update a record in place: measured, and told in the receipt",
            ),
        }
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
