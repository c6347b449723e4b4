//! What holds for every host, every policy and every history. `BACKSTAY_CASES` says how many generated hosts each property
//! judges; `tests/run` judges more than 10^5 together, and `tests/run --nightly` ten times as many.

use std::collections::BTreeMap;

use policy::Timestamp;
use policy::admit::Rule;
use policy::certificate::Certificate;
use policy::decide::{Aside, Decision, aside, decide};
use policy::document::{Allow, Mode, Policy};
use policy::duration::Span;
use policy::evaluate::evaluate;
use policy::finding::{Code, Severity, Verdict};
use policy::id::Sha256;
use policy::last::LastKnown;
use policy::look::next_look;
use policy::plan::{Expect, Plan, Purpose, Step, untouched};
use policy::report::{Fact, KeyState, ProbeOutcome, Report, Sight, Store};
use policy::trust::{Approval, TrustDocument};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::stage::chance::{Case, ESSENTIAL, case};
use crate::stage::{self, Ask, approval, at};

fn config() -> ProptestConfig {
    let standard = ProptestConfig::default();
    #[expect(
        clippy::disallowed_methods,
        reason = "the mind reads no environment; this is the test that is told how long to think"
    )]
    let asked = std::env::var("BACKSTAY_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(1000), failure_persistence: None, ..standard }
}

fn decision(case: &Case) -> Decision {
    decide(&case.policy, &case.sight, &case.last, case.now)
}

/// P1's question, answered from the raw facts and not by the code under test: the certificate on 444, when the chain
/// record → store → key holds and nobody distrusts it.
fn sound(policy: &Policy, sight: &Sight, now: Timestamp) -> Option<Certificate> {
    let records = sight.report.records.known()?;
    let record = records.iter().find(|record| record.endpoint == "0.0.0.0:444")?;
    let store = if record.store.as_deref().unwrap_or("MY") == "MY" { Store::My } else { Store::WebHosting };
    let entries = sight.report.stores.known()?;
    let entry = entries.iter().find(|entry| Some(entry.thumbprint) == record.thumbprint && entry.store == store)?;
    let certificate = sight.certificates.get(&entry.certificate)?;
    let distrusted = entries.iter().any(|other| other.store == Store::Disallowed && other.certificate == entry.certificate)
        || policy.compromised.contains(&entry.thumbprint);
    let usable = entry.key_state == Fact::Known(KeyState::Usable);
    let dated = certificate.not_before() <= now && now < certificate.not_after();
    // Archived and not served is another state: people may approve that the mark is taken off (R1c).
    let served = !entry.archived
        || sight.report.probes.iter().all(|probe| !matches!(probe.outcome, ProbeOutcome::NoHandshake(_) | ProbeOutcome::Refused));
    (usable && dated && !distrusted && served).then(|| certificate.clone())
}

fn ask(case: &Case, plan: Plan, leave_by_person: bool, now: Timestamp) -> Ask {
    Ask {
        approvals: leave_by_person.then(|| vec![approval(&plan, "anna", now), approval(&plan, "bert", now)]),
        plan,
        policy: case.policy.clone(),
        trust: stage::trust(2),
        sight: case.sight.clone(),
        last: case.last.clone(),
        begun: [].into(),
        clock: None,
        authority_fresh: true,
        now,
    }
}

/// This memory with another moment in the place of each that it holds: it comes over the wire, and a host can say anything.
fn with_every_moment(last: &LastKnown, moments: &[Timestamp]) -> LastKnown {
    fn walk(value: &mut serde_json::Value, moments: &mut dyn Iterator<Item = &Timestamp>) {
        if let Some(values) = value.as_array_mut() {
            values.iter_mut().for_each(|value| walk(value, moments));
        } else if let Some(values) = value.as_object_mut() {
            values.values_mut().for_each(|value| walk(value, moments));
        } else if value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok()) {
            *value = moments.next().map(Timestamp::to_string).into();
        }
    }
    let mut value = serde_json::to_value(last).expect("a memory is JSON");
    walk(&mut value, &mut moments.iter().cycle());
    serde_json::from_value(value).expect("it reads as before")
}

fn any_moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        Just(Timestamp::MIN),
        Just(Timestamp::MAX),
        Just(Timestamp::UNIX_EPOCH),
        (Timestamp::MIN.as_second()..Timestamp::MAX.as_second())
            .prop_map(|second| Timestamp::from_second(second).expect("a moment")),
    ]
}

/// P1, for this host.
fn sound_is_left_alone(case: &Case) -> Result<(), TestCaseError> {
    let Some(certificate) = sound(&case.policy, &case.sight, case.now) else { return Ok(()) };
    let Case { policy, sight, last, now } = case;
    let opens = policy.renewal_opens(certificate.not_after());
    if policy.exception(&sight.report.host.name, Allow::EarlyRenewal, *now).is_some() {
        return Ok(());
    }
    let proposed = policy.proposes_from(certificate.not_after()) <= *now;
    match decision(case) {
        Decision::LeaveAlone { .. } | Decision::Hold { .. } => {}
        Decision::Propose { opens: begins, .. } | Decision::WouldAct { at: begins, .. } => {
            prop_assert!(proposed && begins == opens, "proposed for {begins}, window opens {opens}");
        }
        Decision::Act { plan, .. } => prop_assert!(false, "would act by itself: {plan:?}"),
    }
    // Whatever order arrives: the plan that will be right on the last day, approved by everybody, today.
    let late = Span::seconds(1).before(certificate.not_after());
    if let Some(plan) = decide(policy, sight, last, late).plan()
        && *now < opens
    {
        let refusal = ask(case, plan.clone(), true, *now).answer().expect_err("P1");
        prop_assert!(refusal.objections.iter().any(|objection| objection.rule == Rule::LeaveAlone), "{refusal}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_memory_whose_moments_nobody_lived_through_is_judged_without_harm(
        case in case(),
        moments in proptest::collection::vec(any_moment(), 1..6),
    ) {
        let last = with_every_moment(&case.last, &moments);
        for last in [last.after(&case.sight, &case.policy, case.now), last] {
            let judged = Case { last, ..case.clone() };
            let _ = evaluate(&judged.policy, &judged.sight, &judged.last, judged.now);
            let _ = next_look(&judged.policy, &judged.sight, &judged.last, judged.now);
            sound_is_left_alone(&judged)?;
        }
    }

    #[test]
    fn what_is_sound_and_outside_its_window_gets_no_plan_and_no_leave(case in case()) {
        sound_is_left_alone(&case)?;
    }

    #[test]
    fn an_unknown_fact_never_permits(case in case(), index in 0..ESSENTIAL.len()) {
        let mut blind = case.clone();
        ESSENTIAL[index](&mut blind.sight);
        let before = decision(&case);
        match decision(&blind) {
            Decision::LeaveAlone { .. } | Decision::Hold { .. } => {}
            other @ (Decision::WouldAct { .. } | Decision::Propose { .. } | Decision::Act { .. }) => prop_assert!(false, "fact {index} unknown: {other:?}"),
        }
        if let Some(plan) = before.plan() {
            for by_person in [true, false] {
                prop_assert!(ask(&blind, plan.clone(), by_person, case.now).answer().is_err());
            }
        }
        let memory = case.last.after(&blind.sight, &case.policy, case.now);
        prop_assert_eq!(memory.good, case.last.good, "what was not seen is not remembered as good");
    }

    #[test]
    fn the_same_question_has_the_same_answer(case in case()) {
        let again = case.clone();
        prop_assert_eq!(decision(&case), decision(&again));
        let assessed = |case: &Case| evaluate(&case.policy, &case.sight, &case.last, case.now);
        prop_assert_eq!(assessed(&case), assessed(&again));
        prop_assert_eq!(case.sight.report.digest(), again.sight.report.digest());
    }

    #[test]
    fn a_plan_reads_back_and_its_id_is_the_digest_of_its_bytes(case in case()) {
        let decision = decision(&case);
        let Some(plan) = decision.plan() else { return Ok(()) };
        let bytes = plan.to_bytes();
        let back = Plan::from_bytes(&bytes).expect("reads back");
        prop_assert_eq!(&back, plan);
        prop_assert_eq!(back.id(), Sha256::of(&bytes));
        let spaced = serde_json::to_vec_pretty(plan).expect("plain data");
        prop_assert!(Plan::from_bytes(&spaced).is_err(), "another spelling would have another digest");
        // An unrelated fact elsewhere does not change the plan: approvals survive reports.
        let mut elsewhere = case;
        elsewhere.sight.report.host.ad_site = Fact::Known("Rome".to_owned());
        prop_assert_eq!(decide(&elsewhere.policy, &elsewhere.sight, &elsewhere.last, elsewhere.now).plan().map(Plan::id), Some(plan.id()));
    }

    #[test]
    fn what_is_decided_is_admitted_when_its_time_has_come_and_refused_after_any_change(mut case in case()) {
        case.policy.windows.clear();
        let decision = decision(&case);
        let by_person = matches!(decision, Decision::Propose { .. });
        let (Decision::Propose { plan, opens: begins, .. } | Decision::Act { plan, at: begins, .. }) = &decision else { return Ok(()) };
        let now = case.now.max(*begins);
        if let Some(good) = &case.last.good && plan.purpose.restores() {
            let ends = Certificate::from_der(&good.der.0).expect("remembered").not_after();
            prop_assume!(now < ends);
        }
        let ready = ask(&case, plan.clone(), by_person, now);
        prop_assert_eq!(ready.answer(), Ok(()));
        if *begins > case.now {
            prop_assert!(ask(&case, plan.clone(), by_person, case.now).answer().is_err(), "too early");
        }
        for expect in &plan.expects {
            let mut changed = ready.clone();
            violate(expect, &mut changed.sight.report);
            prop_assert!(changed.answer().is_err(), "{expect:?} does not hold and nobody minds");
        }
        for index in 0..plan.steps.len() {
            let mut altered = ready.clone();
            altered.plan.steps.remove(index);
            let signed = ask(&case, altered.plan.clone(), by_person, now);
            prop_assert!(altered.answer().is_err() && signed.answer().is_err(), "without step {index}");
        }
        for lower in [Mode::Observe, Mode::Propose] {
            let mut lowered = ready.clone();
            lowered.policy.groups.clear();
            lowered.policy.mode = lower;
            prop_assert_eq!(lowered.answer().is_ok(), by_person && lower == Mode::Propose);
        }
    }

    #[test]
    fn a_plan_touches_nothing_but_444(case in case()) {
        let decision = decision(&case);
        let Some(plan) = decision.plan() else { return Ok(()) };
        prop_assert!(!plan.purpose.aside(), "what is beside 444 is a plan of its own");
        for step in &plan.steps {
            match step {
                Step::WriteRecord { record } | Step::Swap { from: record, .. } | Step::Bind { record, .. } => {
                    prop_assert!(record.is_back_end() && record.port() == Some(444), "{record:?}");
                }
                Step::ChangeRecord { from, to } => {
                    prop_assert!(from.is_back_end() && to.is_back_end(), "{from:?} {to:?}");
                    prop_assert!(to.store() == Store::My && from.parameters == to.parameters && from.app_id == to.app_id);
                    // By itself only the store's name is put right, never another certificate.
                    prop_assert!(!plan.purpose.restores() || from.thumbprint == to.thumbprint);
                }
                Step::Unarchive { .. } => prop_assert_eq!(plan.purpose, Purpose::Unarchive),
                Step::RemoveRecord { .. } | Step::ChangeBinding { .. } => prop_assert!(false, "{step:?}"),
                Step::Probe { port, .. } => prop_assert_eq!(*port, 444),
                Step::AddCertificate { der, .. } => {
                    let good = case.last.good.as_ref().expect("a good state");
                    prop_assert_eq!(&der.0, &good.der.0);
                    prop_assert!(Certificate::from_der(&der.0).expect("reads").self_issued(), "never from a CA");
                }
                Step::CreateKey { .. } | Step::GrantKey { .. } | Step::Mint { .. } | Step::TrustCopy { .. }
                | Step::DryHandshake { .. } | Step::Compare => prop_assert!(!plan.purpose.restores() || *step == Step::Compare),
            }
        }
        prop_assert_eq!(plan.steps.last(), Some(&Step::Compare));
        let proves = plan.steps.iter().any(|step| step.name() == "probe");
        prop_assert!(proves, "nothing shows that it worked");
        let created = matches!(decision, Decision::Act { .. }) && !plan.purpose.restores();
        prop_assert!(!created, "nothing is created by standing approval");
    }

    #[test]
    fn what_is_beside_444_is_proposed_each_by_itself_and_touches_nothing_else(case in case()) {
        for Aside { purpose, decision } in aside(&case.policy, &case.sight, &case.last, case.now) {
            prop_assert!(purpose.aside() && !purpose.restores());
            let acts = matches!(decision, Decision::Act { .. });
            prop_assert!(!acts, "nothing beside 444 is done by itself");
            let Some(plan) = decision.plan() else { continue };
            prop_assert_eq!(plan.purpose, purpose);
            for step in &plan.steps {
                match (purpose, step) {
                    (_, Step::Compare) | (Purpose::FixBinding | Purpose::RemoveExtraRecord, Step::Probe { port: 444, .. }) => {}
                    (Purpose::GiveBackFrontEnd, Step::Probe { port, .. }) => prop_assert_eq!(*port, 443),
                    (Purpose::GiveBackFrontEnd, Step::WriteRecord { record }) => prop_assert!(record.is_front_end()),
                    (Purpose::GiveBackFrontEnd, Step::ChangeRecord { from, to }) => {
                        prop_assert!(from.is_front_end() && from.endpoint == to.endpoint);
                    }
                    (Purpose::RemoveExtraRecord, Step::RemoveRecord { record }) => {
                        prop_assert!(record.port() == Some(444) && !record.is_back_end());
                    }
                    (Purpose::FixBinding, Step::ChangeBinding { site, to, .. }) => {
                        prop_assert!(site == "Exchange Back End" && to.information == "*:444:" && to.ssl_flags & 3 == 0);
                    }
                    (_, step) => prop_assert!(false, "{purpose:?} has {step:?}"),
                }
            }
            // Without a person nothing of it begins.
            prop_assert!(ask(&case, plan.clone(), false, case.now).answer().is_err());
        }
    }

    #[test]
    fn time_alone_changes_nothing_before_the_next_look(case in case(), share in 0.0..1.0_f64) {
        let Case { policy, sight, last, now } = &case;
        let next = next_look(policy, sight, last, *now);
        prop_assert!(next.is_none_or(|next| *now < next));
        let end = next.map_or_else(|| Span::days(4000).after(*now), |next| Span::seconds(1).before(next));
        let seconds = (end.as_second() - now.as_second()).max(0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any moment between will do")]
        let between = Timestamp::from_second(now.as_second() + (seconds as f64 * share) as i64).expect("a moment").max(*now);
        for later in [between, end.max(*now)] {
            let then = Case { now: later, ..case.clone() };
            // A loss that no look has noted yet has no beginning: its times move with `now`.
            let (was, is) = (decision(&case), decision(&then));
            prop_assert_eq!(was.word(), is.word(), "at {}", later);
            prop_assert_eq!(was.plan(), is.plan());
            let urgent = |decision: &Decision| matches!(decision, Decision::Propose { urgent: true, .. });
            prop_assert_eq!(urgent(&was), urgent(&is));
            let assessed = |at: Timestamp| {
                let assessment = evaluate(policy, sight, last, at);
                (assessment.verdict, assessment.findings.iter().map(|finding| finding.code).collect::<Vec<_>>())
            };
            prop_assert_eq!(assessed(*now), assessed(later));
        }
    }

    #[test]
    fn looking_again_at_the_same_thing_restarts_no_quiet_time(case in case(), pause in 1_u32..10_000) {
        let Case { policy, sight, last, now } = &case;
        let once = last.after(sight, policy, *now);
        let twice = once.after(sight, policy, Span::seconds(pause).after(*now));
        prop_assert_eq!(once.trouble, twice.trouble);
        prop_assert_eq!(once.good, twice.good);
    }

    #[test]
    fn a_healthy_verdict_stands_on_known_facts_and_no_page(case in case()) {
        let assessment = evaluate(&case.policy, &case.sight, &case.last, case.now);
        if assessment.verdict == Verdict::Healthy {
            prop_assert!(sound(&case.policy, &case.sight, case.now).is_some());
            // 443 is another matter, and so is what will happen to 444 again.
            let own = |code: Code| !matches!(code, Code::FrontEndTaken | Code::Flapping | Code::NoWindow);
            prop_assert!(assessment.findings.iter().all(|found| found.code.severity() < Severity::Page || !own(found.code)));
        }
    }

    #[test]
    fn the_proof_of_what_was_untouched_knows_no_order_and_misses_no_change(case in case(), other in case(), turn in 0_usize..7) {
        let decision = decision(&case);
        let Some(plan) = decision.plan() else { return Ok(()) };
        let before = &case.sight.report;
        let mut turned = before.clone();
        if let Fact::Known(entries) = &mut turned.stores {
            let by = turn.min(entries.len());
            entries.rotate_left(by);
        }
        if let Fact::Known(records) = &mut turned.records {
            records.reverse();
        }
        let quiet = untouched(before, &turned, plan);
        prop_assert!(quiet.is_empty(), "{quiet:?}");
        let after = &other.sight.report;
        let foreign = |report: &Report| report.records.known().map(|records| {
            let mut found: Vec<_> = records.iter().filter(|record| !record.is_back_end()).map(|record| format!("{record:?}")).collect();
            found.sort();
            found
        });
        if foreign(before) != foreign(after) || before.sites != after.sites || before.metabase != after.metabase {
            prop_assert!(!untouched(before, after, plan).is_empty());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read(&bytes);
    }

    #[test]
    fn damaged_documents_never_panic(case in case(), cut in any::<prop::sample::Index>(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let decision = decision(&case);
        let plan = decision.plan();
        let now = at("2026-11-22T10:00:00Z");
        let policy = b"estate = \"contoso\"\nversion = 1\nmode = \"act\"\n[expiry]\npropose_at = \"60d\"\n[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"Europe/Berlin\"\n[[freeze]]\nfrom = \"2026-12-20\"\nto = \"2027-01-06\"\nzone = \"UTC\"\nreason = \"x\"\n";
        let documents = [
            Some(policy.to_vec()),
            Some(stage::be().der()),
            Some(stage::trust(2).to_bytes()),
            plan.map(Plan::to_bytes),
            plan.map(|plan| approval(plan, "anna", now).value.to_bytes()),
        ];
        for document in documents.into_iter().flatten() {
            read(&document[..cut.index(document.len())]);
            let mut damaged = document.clone();
            for (place, byte) in &flips {
                let place = place.index(damaged.len());
                damaged[place] = *byte;
            }
            read(&damaged);
        }
    }
}

/// Properties prove nothing about what chance never shows them.
#[test]
fn chance_shows_every_decision_every_purpose_and_every_verdict() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::<String, usize>::new();
    let cases = case();
    for _ in 0..2000 {
        let case = cases.new_tree(&mut runner).expect("a case").current();
        let decision = decision(&case);
        let purpose = decision.plan().map_or("nothing", |plan| plan.purpose.as_str());
        *seen.entry(format!("{} {purpose}", decision.word())).or_default() += 1;
        *seen.entry(evaluate(&case.policy, &case.sight, &case.last, case.now).verdict.to_string()).or_default() += 1;
    }
    let decisions =
        ["leave_alone nothing", "hold nothing", "would_act renew", "propose renew", "propose undelete", "act undelete"];
    let restores = ["act restore_record", "propose restore_record", "would_act undelete", "would_act restore_record"];
    let verdicts = [
        "healthy",
        "not_applicable",
        "unknown",
        "expiring",
        "intercepted",
        "misnamed",
        "expired",
        "distrusted",
        "dead",
        "key_lost",
        "deleted",
        "unbound",
    ];
    for wanted in decisions.into_iter().chain(restores).chain(verdicts) {
        assert!(seen.get(wanted).is_some_and(|count| *count >= 3), "{wanted} comes up too rarely: {seen:?}");
    }
}

/// Every reader of bytes, one after the other. What reads must be usable without a panic, too.
fn read(bytes: &[u8]) {
    if let Ok(policy) = Policy::from_toml(bytes) {
        let now = at("2026-11-22T10:00:00Z");
        let _ = policy.may_run(now, false);
        let sight = stage::host(&stage::be().bake(), &stage::fe().bake());
        let _ = decide(&policy, &sight, &LastKnown::default(), now);
    }
    if let Ok(document) = TrustDocument::from_bytes(bytes) {
        assert_eq!(TrustDocument::from_bytes(&document.to_bytes()).ok(), Some(document));
    }
    if let Ok(approval) = Approval::from_bytes(bytes) {
        assert_eq!(Approval::from_bytes(&approval.to_bytes()).ok(), Some(approval));
    }
    if let Ok(plan) = Plan::from_bytes(bytes) {
        assert_eq!(plan.id(), Sha256::of(bytes));
    }
    if let Ok(certificate) = Certificate::from_der(bytes) {
        assert_eq!(certificate.der(), bytes);
        let _ = certificate.covers("ex1.contoso.test");
    }
}

/// Changes the host so that this expectation does not hold.
fn violate(expect: &Expect, report: &mut Report) {
    match expect {
        Expect::Fqdn(_) => report.host.fqdn = Fact::Known("elsewhere.contoso.test".to_owned()),
        Expect::Records { .. } => {
            if let Fact::Known(records) = &mut report.records {
                match records.iter_mut().find(|record| record.is_back_end()) {
                    Some(record) => record.app_id = Fact::Known("{somebody-else}".to_owned()),
                    None => records.push(stage::record("0.0.0.0:444", None, "MY")),
                }
            }
        }
        Expect::Certificate { certificate, .. } => {
            if let Fact::Known(entries) = &mut report.stores {
                entries
                    .iter_mut()
                    .filter(|entry| entry.certificate == *certificate)
                    .for_each(|entry| entry.key = Fact::Known(Some(stage::link("elsewhere"))));
            }
        }
        Expect::NoCertificate { .. } => {
            if let Fact::Known(entries) = &mut report.stores {
                entries.clear();
            }
            // Somebody put it back: only the thumbprint is compared, so every certificate may play the part.
            if let (Fact::Known(entries), Expect::NoCertificate { thumbprint, store }) = (&mut report.stores, expect) {
                let mut back = stage::entry(store.clone(), &stage::fe().bake(), None);
                back.thumbprint = *thumbprint;
                entries.push(back);
            }
        }
        Expect::Container { name, .. } => {
            if let Fact::Known(containers) = &mut report.containers {
                containers.retain(|container| container.name != *name);
            }
        }
        Expect::Bindings { .. } => {
            if let Fact::Known(sites) = &mut report.sites {
                sites.iter_mut().for_each(|site| site.bindings.push(stage::binding("https", "*:4443:")));
            }
        }
        Expect::Metabase(_) => {
            if let Fact::Known(bindings) = &mut report.metabase {
                bindings.push(policy::report::MetabaseBinding { path: "LM/W3SVC/9".to_owned(), thumbprint: None, store: None });
            }
        }
    }
}
