//! The edges: what a rule says at the very moment that it names, what is remembered and for how long, and reports and memories whose
//! parts are of two certificates. Where a story can tell it, a scenario does.

use policy::Timestamp;
use policy::admit::{Rule, approvers, class};
use policy::certificate::Certificate;
use policy::decide::{Decision, decide, of_container};
use policy::document::Policy;
use policy::evaluate::evaluate;
use policy::finding::{Code, Verdict};
use policy::last::LastKnown;
use policy::plan::{Plan, Purpose};
use policy::report::{Fact, Report, Sight, Store};
use policy::trust::Class;

use crate::stage::der::Recipe;
use crate::stage::{self, approval, at};

/// EX1 in good order, a policy in mode `act`, and the memory of a look at ten.
struct Play {
    policy: Policy,
    sight: Sight,
    last: LastKnown,
    be: Certificate,
    fe: Certificate,
}

impl Play {
    fn new() -> Self {
        let (be, fe) = (stage::be().bake(), stage::fe().bake());
        let (policy, sight) = (stage::policy("mode = \"act\""), stage::host(&be, &fe));
        let last = LastKnown::default().after(&sight, &policy, at(TEN));
        Self { policy, sight, last, be, fe }
    }

    /// The certificate of 444 is gone from `MY`, and the memory has taken that in.
    fn lost() -> Self {
        let mut play = Self::new();
        entries(&mut play.sight.report).remove(0);
        play.look(at(TEN));
        play
    }

    fn look(&mut self, now: Timestamp) {
        self.last = self.last.after(&self.sight, &self.policy, now);
    }

    fn decision(&self, now: &str) -> Decision {
        decide(&self.policy, &self.sight, &self.last, at(now))
    }
}

const TEN: &str = "2026-11-22T10:00:00Z";

fn entries(report: &mut Report) -> &mut Vec<policy::report::StoreEntry> {
    let Fact::Known(entries) = &mut report.stores else { panic!("stores are known") };
    entries
}

#[test]
fn every_rule_has_its_word_and_is_known_by_it() {
    let rules = [
        (Rule::LeaveAlone, "leave_alone"),
        (Rule::TwoKeys, "two_keys"),
        (Rule::OtherHost, "other_host"),
        (Rule::Expectation, "expectation"),
        (Rule::Deadline, "deadline"),
        (Rule::Clock, "clock"),
        (Rule::Once, "once"),
        (Rule::Window, "window"),
        (Rule::Quiet, "quiet"),
        (Rule::Hold, "hold"),
        (Rule::Mode, "mode"),
    ];
    for (rule, word) in rules {
        assert_eq!((rule.as_str(), Rule::from_word(word)), (word, Some(rule)));
    }
    assert_eq!(Rule::from_word("mercy"), None);
}

#[test]
fn a_decision_names_the_moment_at_which_time_alone_changes_it() {
    let mut play = Play::lost();
    assert_eq!(play.decision(TEN).look_again(), Some(at("2026-11-22T10:05:00Z")), "the end of the quiet time");
    play.last.restores = vec![at("2026-11-22T09:40:00Z")];
    let Decision::Hold { .. } = play.decision(TEN) else { panic!("one restore in an hour is the most") };
    assert_eq!(play.decision(TEN).look_again(), Some(at("2026-11-22T10:40:00Z")), "an hour after the restore");
    assert_eq!(Play::new().decision(TEN).look_again(), Some(at("2028-12-31T08:00:00Z")), "when its renewal is proposed");
}

#[test]
fn an_approval_is_noted_only_when_it_does_not_count() {
    let play = Play::new();
    let decision = play.decision("2029-02-10T22:30:00Z");
    let plan = decide(&stage::policy("mode = \"propose\""), &play.sight, &play.last, at("2029-02-10T22:30:00Z"));
    let plan = plan.plan().unwrap_or_else(|| panic!("{decision:?}"));
    let now = at("2029-02-10T22:30:00Z");
    let mut approvals = [approval(plan, "anna", now), approval(plan, "bert", now)];
    approvals[1].value.not_before = now;
    let (persons, notes) = approvers(plan, &approvals, &stage::trust(2), now);
    assert_eq!((persons.len(), notes), (2, Vec::new()), "the second one counts from this second on");
}

#[test]
fn restores_are_remembered_for_a_day_and_changes_by_others_for_a_month_to_the_second() {
    let mut play = Play::new();
    play.last.restores = vec![at("2026-11-21T10:00:00Z"), at("2026-11-21T10:00:01Z")];
    play.last.foreign = vec![at("2026-10-23T10:00:00Z"), at("2026-10-23T10:00:01Z")];
    play.look(at(TEN));
    assert_eq!(play.last.restores, [at("2026-11-21T10:00:01Z")]);
    assert_eq!(play.last.foreign, [at("2026-10-23T10:00:01Z")]);
}

#[test]
fn a_build_that_went_back_holds_the_agent_for_a_week_to_the_second() {
    let mut play = Play::new();
    let Fact::Known(exchange) = &mut play.sight.report.exchange else { panic!("Exchange is known") };
    exchange.version = "15.1.2507.5".to_owned();
    play.look(at(TEN));
    assert_eq!(play.last.went_back(at("2026-11-29T09:59:59Z")), Some("15.1.2507.6"));
    assert_eq!(play.last.went_back(at("2026-11-29T10:00:00Z")), None);
    let mut spelt = Play::new();
    let Fact::Known(exchange) = &mut spelt.sight.report.exchange else { panic!("Exchange is known") };
    exchange.version = "15.01.2507.6".to_owned();
    spelt.look(at(TEN));
    assert_eq!(spelt.last.went_back(at(TEN)), None, "the same build, spelt otherwise");
}

#[test]
fn an_entry_that_names_other_bytes_than_its_record_is_not_believed() {
    // The bytes are the right ones; the entry says that it is another certificate.
    let mut play = Play::new();
    entries(&mut play.sight.report)[0].certificate = play.fe.id();
    play.sight.certificates.insert(play.fe.id(), play.be.clone());
    let assessment = evaluate(&play.policy, &play.sight, &LastKnown::default(), at(TEN));
    assert_eq!(assessment.verdict, Verdict::Unknown);
    assert!(assessment.has(Code::BackEndUnknown) && !assessment.has(Code::Expired), "{assessment:?}");
}

#[test]
fn a_wrong_store_is_not_put_right_for_bytes_that_are_another_certificate() {
    let mut play = Play::new();
    let Fact::Known(records) = &mut play.sight.report.records else { panic!("records are known") };
    records[2].store = Some("WebHosting".to_owned());
    play.look(at(TEN));
    assert!(matches!(play.decision(TEN), Decision::Act { .. }), "{:?}", play.decision(TEN));
    let twin = Recipe { to: at("2029-03-01T08:00:01Z"), ..stage::be() }.bake();
    play.sight.certificates.insert(play.be.id(), twin);
    let Decision::Hold { why, .. } = play.decision(TEN) else { panic!("{:?}", play.decision(TEN)) };
    assert!(why[0].contains("contradicts itself"), "{why:?}");
}

#[test]
fn a_memory_of_which_any_part_is_of_another_certificate_puts_nothing_back() {
    assert!(matches!(Play::lost().decision(TEN), Decision::Act { .. }));
    let parts: [fn(&mut Play); 3] = [
        |play| play.last.good.as_mut().expect("a good state").entry.certificate = play.fe.id(),
        |play| play.last.good.as_mut().expect("a good state").key_id = play.fe.key_id(),
        |play| play.last.good.as_mut().expect("a good state").record.thumbprint = Some(play.fe.thumbprint()),
    ];
    for (number, spoil) in parts.iter().enumerate() {
        let mut play = Play::lost();
        // Nothing is shown on 444, so that only the memory speaks.
        play.sight.report.probes.clear();
        spoil(&mut play);
        let Decision::Hold { why, .. } = play.decision(TEN) else { panic!("part {number}: {:?}", play.decision(TEN)) };
        assert!(why.iter().any(|why| why.contains("contradicts itself")), "part {number}: {why:?}");
    }
}

#[test]
fn what_a_plan_made_is_found_by_its_container_in_my_and_not_archived() {
    let play = Play::new();
    let report = &play.sight.report;
    assert_eq!(of_container(report, "be-key"), Some(play.be.id()));
    assert_eq!(of_container(report, "fe-key"), Some(play.fe.id()));
    assert_eq!(of_container(report, "new-key"), None);
    let mut archived = report.clone();
    entries(&mut archived)[0].archived = true;
    assert_eq!(of_container(&archived, "be-key"), None);
    let mut elsewhere = report.clone();
    entries(&mut elsewhere)[0].store = Store::WebHosting;
    assert_eq!(of_container(&elsewhere, "be-key"), None);
}

#[test]
fn a_plan_needs_as_many_persons_as_its_class_asks_for() {
    let play = Play::new();
    let decision = decide(&stage::policy("mode = \"propose\""), &play.sight, &play.last, at("2029-02-10T22:30:00Z"));
    let plan = decision.plan().expect("a renewal is proposed");
    let classes = [
        (Purpose::RestoreRecord, Class::Renew),
        (Purpose::Undelete, Class::Renew),
        (Purpose::FixStore, Class::Renew),
        (Purpose::Relink, Class::Renew),
        (Purpose::Unarchive, Class::Renew),
        (Purpose::BindCandidate, Class::Renew),
        (Purpose::Renew, Class::Renew),
        (Purpose::RemoveExtraRecord, Class::Renew),
        (Purpose::FixBinding, Class::Renew),
        (Purpose::Create, Class::Create),
        (Purpose::GiveBackFrontEnd, Class::FrontEnd),
    ];
    for (purpose, expected) in classes {
        assert_eq!(class(&Plan { purpose, ..plan.clone() }), expected, "{purpose:?}");
    }
}

#[test]
fn of_the_changes_by_others_the_newest_sixteen_are_remembered() {
    let mut play = Play::new();
    let times: Vec<Timestamp> = (0..16).map(|hour| at(&format!("2026-11-21T{hour:02}:00:00Z"))).collect();
    play.last.foreign = times.clone();
    let other = Recipe { key: "other".to_owned(), ..stage::be() }.bake();
    entries(&mut play.sight.report).push(stage::entry(Store::My, &other, Some("other-key")));
    let Fact::Known(records) = &mut play.sight.report.records else { panic!("records are known") };
    records[2].thumbprint = Some(other.thumbprint());
    play.sight.certificates.insert(other.id(), other);
    play.look(at(TEN));
    assert_eq!(play.last.foreign, [&times[1..], &[at(TEN)]].concat());
}
