//! What is told once, when it changes: the verdict and each finding, a hold, lapsed authority, a clock in doubt.

use std::collections::BTreeMap;

use policy::Timestamp;
use policy::evaluate::Assessment;
use policy::finding::{Code, Finding, Severity, Verdict};

use crate::VERSION;
use crate::event::{self, tell};
use crate::view::View;
use crate::work::Standing;

/// What was told last. Empty at the start, so what is found then is told anew.
#[derive(Debug, Default)]
pub(super) struct Told {
    text: String,
    verdict: Option<Verdict>,
    findings: BTreeMap<Code, String>,
    hold: Option<String>,
    lapsed: bool,
    doubt: Option<String>,
}

impl Told {
    /// What was made of a look. A verdict is an event when it changed; other words for the same one are only a line.
    pub(super) fn view(&mut self, view: &View) {
        let View { text, assessment: Assessment { verdict, findings }, .. } = view;
        if self.verdict != Some(*verdict) {
            tell!(event::of(*verdict), view = text, "the host was looked at");
        } else if self.text != *text {
            tracing::info!(view = text, "the host was looked at");
        }
        self.verdict = Some(*verdict);
        self.text.clone_from(text);
        // What could not be read is not gone.
        if *verdict != Verdict::Unknown {
            self.found(findings);
        }
    }

    fn found(&mut self, findings: &[Finding]) {
        let worth_telling = |finding: &&Finding| finding.code.severity() > Severity::Note;
        let now: BTreeMap<Code, String> = findings.iter().filter(worth_telling).map(|found| (found.code, words(found))).collect();
        for (code, finding) in now.iter().filter(|(code, _)| !self.findings.contains_key(code)) {
            tell!(event::of_finding(*code), code = %code, finding, "found on this host");
        }
        for (code, finding) in self.findings.iter().filter(|(code, _)| !now.contains_key(code)) {
            tracing::info!(event = event::FINDING_GONE.id, %code, finding, "no longer found on this host");
        }
        self.findings = now;
    }

    /// Why nothing is done on this host, if that is so.
    pub(super) fn hold(&mut self, hold: Option<&str>) {
        match hold {
            Some(why) if self.hold.as_deref() != hold => {
                tracing::warn!(event = event::HOLD_ON.id, why, "nothing is done on this host");
            }
            None if self.hold.is_some() => {
                tracing::info!(event = event::HOLD_OFF.id, version = VERSION, "the hold is lifted");
            }
            Some(_) | None => {}
        }
        self.hold = hold.map(str::to_owned);
    }

    /// Whether the agent may act by itself, and whether it believes its clock. `policy_held`: without a policy it never might.
    pub(super) fn standing(&mut self, standing: &Standing, policy_held: bool, now: Timestamp) {
        let (days, lapsed) = (standing.policy.limits.authority_days, policy_held && !standing.authority_fresh(now));
        match (self.lapsed, lapsed) {
            (false, true) => {
                tracing::warn!(event = event::AUTHORITY_LAPSED.id, days, "no controller confirmed the policy for too long");
            }
            (true, false) => tracing::info!(event = event::AUTHORITY_FRESH.id, days, "the policy is confirmed again"),
            (false, false) | (true, true) => {}
        }
        self.lapsed = lapsed;
        match &standing.clock_doubt {
            // The doubt names moments, which pass: it is the same one.
            Some(why) if self.doubt.is_none() => {
                tracing::warn!(event = event::CLOCK_DOUBTED.id, why, "the clock is not believed");
            }
            None if self.doubt.is_some() => {
                tracing::info!(event = event::CLOCK_BELIEVED.id, version = VERSION, "the clock is believed again");
            }
            Some(_) | None => {}
        }
        self.doubt.clone_from(&standing.clock_doubt);
    }
}

fn words(finding: &Finding) -> String {
    let title = finding.code.title();
    if finding.evidence.is_empty() { title.to_owned() } else { format!("{title}: {}", finding.evidence.join("; ")) }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::*;

    /// The ids that `calls` told.
    fn ids(calls: impl FnOnce()) -> Vec<u64> {
        #[derive(Clone, Default)]
        struct Ids(Arc<Mutex<Vec<u64>>>);
        impl tracing::field::Visit for Ids {
            fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
                if field.name() == "event" {
                    self.0.lock().unwrap().push(value);
                }
            }
            fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
        }
        impl<S: tracing::Subscriber> Layer<S> for Ids {
            fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
                event.record(&mut self.clone());
            }
        }
        let ids = Ids::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(ids.clone()), calls);
        let ids = ids.0.lock().unwrap();
        ids.clone()
    }

    fn view(verdict: Verdict, codes: &[Code]) -> View {
        let finding = |code: &Code| Finding { code: *code, evidence: vec!["a fact".to_owned()] };
        let assessment = Assessment { verdict, findings: codes.iter().map(finding).collect() };
        View { text: verdict.to_string(), act: None, look_again: None, assessment }
    }

    #[test]
    fn a_verdict_and_each_finding_are_told_when_they_come_and_when_they_go() {
        let mut told = Told::default();
        let mut look = |verdict, codes: &[Code]| ids(|| told.view(&view(verdict, codes)));
        assert_eq!(look(Verdict::Healthy, &[Code::Sha1]), [2000], "a note is not worth an event");
        assert_eq!(look(Verdict::Healthy, &[]), [0; 0]);
        assert_eq!(look(Verdict::Deleted, &[Code::CertificateDeleted, Code::TransportMissing]), [2010, 2020, 2023]);
        assert_eq!(look(Verdict::Unknown, &[]), [2002], "what cannot be read is not gone");
        assert_eq!(look(Verdict::Deleted, &[Code::CertificateDeleted, Code::TransportMissing]), [2010]);
        assert_eq!(look(Verdict::Healthy, &[Code::WebServiceDisabled]), [2000, 2021, 2022, 2022]);
    }

    #[test]
    fn a_hold_is_told_when_it_comes_changes_and_goes() {
        let mut told = Told::default();
        let mut hold = |why| ids(|| told.hold(why));
        assert_eq!(hold(None), [0; 0]);
        assert_eq!(hold(Some("disk")), [3010]);
        assert_eq!(hold(Some("disk")), [0; 0]);
        assert_eq!(hold(Some("network")), [3010]);
        assert_eq!(hold(None), [3011]);
    }
}
