//! The last question, asked with one thing changed at a time: which rules object?
//!
//! Long because it is a table. Each row begins with a plan that is admitted. What it changes is the only difference, so that an
//! objection names its cause.

use policy::admit::{Rule, approvers};
use policy::decide::{Decision, aside, decide};
use policy::last::LastKnown;
use policy::plan::{Expect, Purpose, Step};
use policy::report::{Fact, KeyState, MetabaseBinding, Setup, SslParameters, Store};
use policy::trust::{Class, KeyKind, PersonKey, PersonKeys, PersonRole};

use crate::stage::der::Recipe;
use crate::stage::{self, Ask, approval, at, key};

/// A renewal of EX1 in its window, approved by anna and bert; two are needed.
fn renewal() -> Ask {
    renewal_under("mode = \"propose\"")
}

fn renewal_under(lines: &str) -> Ask {
    let (be, fe) = (stage::be().bake(), stage::fe().bake());
    let (policy, sight, now) = (stage::policy(lines), stage::host(&be, &fe), at("2029-02-10T22:30:00Z"));
    let last = LastKnown::default().after(&sight, &policy, now);
    let plan = decide(&policy, &sight, &last, now).plan().expect("a renewal is proposed").clone();
    let approvals = Some(vec![approval(&plan, "anna", now), approval(&plan, "bert", now)]);
    let trust = stage::trust(2);
    Ask { plan, approvals, policy, trust, sight, last, begun: [].into(), clock: None, authority_fresh: true, now }
}

/// EX1 lost its record and may write it back by standing approval; the quiet time is over.
fn restore() -> Ask {
    lost("mode = \"act\"", |ask| records(ask).retain(|record| !record.is_back_end()))
}

/// EX1 lost its certificate and may put it back by standing approval; the quiet time is over.
fn undelete() -> Ask {
    lost("mode = \"act\"", |ask| entries(ask).retain(|entry| entry.key.known() != Some(&Some(stage::link("be-key")))))
}

fn lost(lines: &str, lose: impl Fn(&mut Ask)) -> Ask {
    let mut ask = renewal_under(lines);
    let seen = at("2026-11-22T10:00:00Z");
    ask.last = LastKnown::default().after(&ask.sight, &ask.policy, seen);
    lose(&mut ask);
    ask.last = ask.last.after(&ask.sight, &ask.policy, seen);
    ask.now = at("2026-11-22T10:05:00Z");
    ask.plan = decide(&ask.policy, &ask.sight, &ask.last, ask.now).plan().expect("a restore is decided").clone();
    ask.approvals = None;
    ask
}

fn records(ask: &mut Ask) -> &mut Vec<policy::report::SslRecord> {
    let Fact::Known(records) = &mut ask.sight.report.records else { panic!("records are known") };
    records
}

fn entries(ask: &mut Ask) -> &mut Vec<policy::report::StoreEntry> {
    let Fact::Known(entries) = &mut ask.sight.report.stores else { panic!("stores are known") };
    entries
}

fn be_entry(ask: &mut Ask) -> &mut policy::report::StoreEntry {
    &mut entries(ask)[0]
}

/// Signs the plan as it stands now, so that only what was changed in it is wrong.
fn sign_again(ask: &mut Ask) {
    ask.approvals = Some(vec![approval(&ask.plan, "anna", ask.now), approval(&ask.plan, "bert", ask.now)]);
}

/// The n-th approval.
fn signed(ask: &mut Ask, index: usize) -> &mut policy::trust::Verified<policy::trust::Approval> {
    &mut ask.approvals.as_mut().expect("approvals")[index]
}

fn unknown<T>() -> Fact<T> {
    Fact::Unknown("access denied".to_owned())
}

/// The rules that object, and their words.
fn objections(ask: &Ask) -> (Vec<Rule>, String) {
    match ask.answer() {
        Ok(()) => (Vec::new(), String::new()),
        Err(refusal) => (refusal.objections.iter().map(|objection| objection.rule).collect(), refusal.to_string()),
    }
}

/// One row: what is changed, by name, which rules object, and a word that the refusal must contain.
type Row = (&'static str, fn(&mut Ask), &'static [Rule], &'static str);

fn check(start: &Ask, rows: &[Row]) {
    assert_eq!(start.answer(), Ok(()), "the start of the table must be admitted");
    for (name, change, expected, word) in rows {
        let mut ask = start.clone();
        change(&mut ask);
        let (rules, text) = objections(&ask);
        assert_eq!(rules, *expected, "{name}: {text}");
        assert!(text.contains(word), "{name}: {word:?} is not in {text:?}");
    }
}

#[test]
fn a_plan_runs_only_on_its_own_host_and_as_it_was_made() {
    check(
        &renewal(),
        &[
            (
                "another host",
                |ask| ask.sight.report.host.name = "EX2".parse().expect("a name"),
                &[Rule::OtherHost],
                "expected EX1, found EX2",
            ),
            (
                "another installation",
                |ask| ask.sight.report.host.machine_id = Fact::Known("machine-2".to_owned()),
                &[Rule::OtherHost],
                "machine id: expected machine-1, found machine-2",
            ),
            (
                "an unknown installation",
                |ask| ask.sight.report.host.machine_id = unknown(),
                &[Rule::OtherHost],
                "machine id: expected machine-1, found unknown: access denied",
            ),
            (
                "a plan for another estate, signed by the right people",
                |ask| {
                    ask.plan.estate = "fabrikam".parse().expect("a name");
                    sign_again(ask);
                },
                &[Rule::OtherHost],
                "expected estate contoso, found fabrikam",
            ),
            (
                "a host whose people are of another estate",
                |ask| ask.trust.estate = "fabrikam".parse().expect("a name"),
                &[Rule::OtherHost],
                "expected estate fabrikam, found contoso",
            ),
            (
                "an altered step that nobody signed",
                |ask| ask.plan.steps.retain(|step| !matches!(step, Step::DryHandshake { .. })),
                &[Rule::TwoKeys],
                "is for another plan",
            ),
            (
                "an altered step that was signed",
                |ask| {
                    ask.plan.steps.retain(|step| !matches!(step, Step::DryHandshake { .. }));
                    sign_again(ask);
                },
                &[Rule::Expectation],
                "not those that this host would plan",
            ),
            (
                "an extra step that was signed: one on 443",
                |ask| {
                    let mut record = records(ask)[0].clone();
                    record.thumbprint = None;
                    ask.plan.steps.push(Step::WriteRecord { record });
                    sign_again(ask);
                },
                &[Rule::Expectation],
                "not those that this host would plan",
            ),
            (
                "an expectation that was left out",
                |ask| {
                    ask.plan.expects.pop();
                    sign_again(ask);
                },
                &[Rule::Expectation],
                "not those that this host would plan",
            ),
            (
                "a renewal that calls itself a restore, to be let through outside windows",
                |ask| {
                    ask.plan.purpose = Purpose::RestoreRecord;
                    sign_again(ask);
                },
                &[Rule::Expectation],
                "not those that this host would plan",
            ),
            (
                "a key size that no policy allows",
                |ask| {
                    ask.plan.values.key_bits = 512;
                    ask.plan.steps.iter_mut().for_each(|step| {
                        if let Step::CreateKey { bits, .. } = step {
                            *bits = 512;
                        }
                    });
                    sign_again(ask);
                },
                &[Rule::Expectation],
                "no policy allows a certificate of 512 bits",
            ),
        ],
    );
}

#[test]
fn the_policy_values_of_the_plan_and_its_attempt_may_differ_from_the_hosts() {
    let mut ask = renewal();
    ask.policy.certificate.key_bits = 4096;
    assert_eq!(ask.answer(), Ok(()), "a policy that changed after the approval does not undo it");
    ask.plan.attempt = 7;
    sign_again(&mut ask);
    assert_eq!(ask.answer(), Ok(()), "another attempt of the same plan, approved anew");
}

#[test]
fn only_enough_distinct_approvers_count() {
    check(
        &renewal(),
        &[
            ("no approval", |ask| ask.approvals = Some(vec![]), &[Rule::TwoKeys], "found 0: no approval at all"),
            ("one of two", |ask| signed(ask, 1).value.plans.clear(), &[Rule::TwoKeys], "expected 2 approver(s), found 1"),
            (
                "the same person twice",
                |ask| *signed(ask, 1) = approval(&ask.plan.clone(), "anna", ask.now),
                &[Rule::TwoKeys],
                "anna approved more than once",
            ),
            (
                "two keys of one person",
                |ask| {
                    *signed(ask, 1) = approval(&ask.plan.clone(), "anna", ask.now);
                    signed(ask, 1).signers = [key("anna-2")].into();
                },
                &[Rule::TwoKeys],
                "anna approved more than once",
            ),
            (
                "bert's name over anna's signature",
                |ask| signed(ask, 1).signers = [key("anna-1")].into(),
                &[Rule::TwoKeys],
                "bert carries no valid signature",
            ),
            ("no signature held", |ask| signed(ask, 1).signers.clear(), &[Rule::TwoKeys], "bert carries no valid signature"),
            (
                "the requester approves",
                |ask| signed(ask, 1).value.requester = Some("bert".parse().expect("a name")),
                &[Rule::TwoKeys],
                "bert asked for the plan",
            ),
            (
                "the requester approves, and only the other one says who asked",
                |ask| signed(ask, 0).value.requester = Some("bert".parse().expect("a name")),
                &[Rule::TwoKeys],
                "bert asked for the plan",
            ),
            (
                "an operator approves",
                |ask| *signed(ask, 1) = approval(&ask.plan.clone(), "dora", ask.now),
                &[Rule::TwoKeys],
                "dora carries no valid signature of an approver",
            ),
            (
                "a browser key",
                |ask| *signed(ask, 1) = approval(&ask.plan.clone(), "emil", ask.now),
                &[Rule::TwoKeys],
                "emil approved in a browser, and trust version 1 does not let that count for renew",
            ),
            (
                "a key past its end",
                |ask| *signed(ask, 1) = approval(&ask.plan.clone(), "fred", ask.now),
                &[Rule::TwoKeys],
                "fred carries no valid signature of an approver",
            ),
            (
                "a person who lost the role",
                |ask| {
                    let bert = ask.trust.persons.get_mut(&"bert".parse().expect("a name")).expect("bert");
                    bert.roles = [PersonRole::Operator].into();
                },
                &[Rule::TwoKeys],
                "bert carries no valid signature of an approver",
            ),
            (
                "an approval of another estate",
                |ask| signed(ask, 1).value.estate = "fabrikam".parse().expect("a name"),
                &[Rule::TwoKeys],
                "bert is for another plan",
            ),
            (
                "an approval that ended this second",
                |ask| signed(ask, 1).value.not_after = ask.now,
                &[Rule::TwoKeys, Rule::Deadline],
                "bert counts from",
            ),
            (
                "one of two, which begins this second",
                |ask| {
                    signed(ask, 0).value.not_before = ask.now;
                    ask.approvals.as_mut().expect("approvals").truncate(1);
                },
                &[Rule::TwoKeys],
                "expected 2 approver(s), found 1: anna",
            ),
            (
                "an approval that begins in a second",
                |ask| signed(ask, 1).value.not_before = policy::duration::Span::seconds(1).after(ask.now),
                &[Rule::TwoKeys, Rule::Deadline],
                "bert counts from",
            ),
        ],
    );
}

#[test]
fn a_stranger_cannot_exclude_an_approver_by_naming_him_as_the_requester() {
    let mut ask = renewal();
    let mut forged = approval(&ask.plan, "carl", ask.now);
    forged.value.requester = Some("bert".parse().expect("a name"));
    forged.signers.clear();
    let mut approvals = ask.approvals.take().expect("approvals");
    approvals.push(forged);
    let (persons, notes) = approvers(&ask.plan, &approvals, &ask.trust, ask.now);
    assert_eq!(persons.len(), 2, "{notes:?}");
}

/// P5 holds when the controller, and so what a browser shows, lies.
#[test]
fn who_signed_in_a_browser_counts_where_the_root_says_so_and_never_alone() {
    let mut ask = renewal();
    let browser = |ask: &Ask, name: &str| {
        let mut approval = approval(&ask.plan, "emil", ask.now);
        approval.value.person = name.parse().expect("a name");
        approval
    };
    let counted = |ask: &Ask, names: &[&str]| {
        let approvals: Vec<_> = names
            .iter()
            .map(|name| if *name == "emil" { browser(ask, name) } else { approval(&ask.plan, name, ask.now) })
            .collect();
        let (persons, notes) = approvers(&ask.plan, &approvals, &ask.trust, ask.now);
        (persons.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), notes.join("; "))
    };
    let (persons, notes) = counted(&ask, &["anna", "emil"]);
    assert_eq!(persons, "anna");
    assert!(notes.contains("trust version 1 does not let that count for renew"), "{notes}");

    ask.trust.browser = [Class::Renew].into();
    assert_eq!(counted(&ask, &["emil", "anna"]).0, "anna emil");
    assert_eq!(counted(&ask, &["emil"]).0, "emil", "one of two");
    // Another two browsers: of three who signed so, one counts.
    for name in ["gina", "hugo"] {
        let keys = vec![PersonKey { key: key(name), kind: KeyKind::Browser, until: at("2040-01-01T00:00:00Z") }];
        ask.trust.persons.insert(name.parse().expect("a name"), PersonKeys { roles: [PersonRole::Approver].into(), keys });
    }
    let (persons, notes) = counted(&ask, &["hugo", "emil", "gina"]);
    assert_eq!(persons, "hugo", "who was first");
    assert!(notes.contains("gina approved in a browser, where at most 1 of 2 may"), "{notes}");
    assert_eq!(counted(&ask, &["hugo", "emil", "gina", "bert"]).0, "bert hugo");
    ask.approvals = Some(["hugo", "gina"].map(|name| approval(&ask.plan, name, ask.now)).into());
    assert_eq!(objections(&ask).0, [Rule::TwoKeys]);
    ask.approvals = Some(["hugo", "bert"].map(|name| approval(&ask.plan, name, ask.now)).into());
    assert_eq!(ask.answer(), Ok(()));
    // One person is one, however often and wherever.
    let anna = ask.trust.persons.get_mut(&"anna".parse().expect("a name")).expect("anna");
    anna.keys[1].kind = KeyKind::Browser;
    let mut again = approval(&ask.plan, "anna", ask.now);
    again.signers = [key("anna-2")].into();
    ask.approvals = Some(vec![again, approval(&ask.plan, "anna", ask.now)]);
    assert_eq!(objections(&ask).0, [Rule::TwoKeys]);
    // Where one is enough, that one has a file.
    ask.trust.need = [(Class::Renew, 1)].into();
    assert_eq!(counted(&ask, &["emil"]).0, "");
}

#[test]
fn approved_work_waits_for_window_freeze_clock_and_hold_and_begins_once() {
    let windows = "mode = \"propose\"\n[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"UTC\"\n\
         [[freeze]]\nfrom = \"2029-02-16\"\nto = \"2029-02-17\"\nzone = \"UTC\"\nreason = \"quarter end\"";
    check(
        &renewal_under(windows),
        &[
            ("after the window", |ask| ask.now = at("2029-02-11T02:00:00Z"), &[Rule::Window], "no maintenance window is open"),
            (
                "in a freeze, though the window is open",
                |ask| {
                    ask.now = at("2029-02-17T22:30:00Z");
                    sign_again(ask);
                },
                &[Rule::Window],
                "frozen: quarter end",
            ),
            ("begun before", |ask| ask.begun = [ask.plan.id()].into(), &[Rule::Once], "has begun here before"),
            ("a doubtful clock", |ask| ask.clock = Some("nine minutes off the domain"), &[Rule::Clock], "nine minutes"),
            ("a hold", |ask| ask.sight.report.hold = Some("anna works here".to_owned()), &[Rule::Hold], "anna works here"),
            ("mode observe", |ask| ask.policy.mode = policy::document::Mode::Observe, &[Rule::Mode], "is observe"),
            (
                "by standing approval",
                |ask| ask.approvals = None,
                &[Rule::Mode],
                "on EX1 mode is propose and the plan is to renew",
            ),
            (
                "by standing approval in mode act",
                |ask| {
                    ask.approvals = None;
                    ask.policy.mode = policy::document::Mode::Act;
                },
                &[Rule::Mode],
                "the plan is to renew",
            ),
        ],
    );
    let mut urgent = renewal_under(windows);
    urgent.now = at("2029-02-27T12:00:00Z");
    sign_again(&mut urgent);
    assert_eq!(urgent.answer(), Ok(()), "three days before the end windows are ignored");
    urgent.approvals = Some(vec![approval(&urgent.plan, "anna", urgent.now)]);
    assert_eq!(objections(&urgent).0, [Rule::TwoKeys], "approvals never are");
}

#[test]
fn a_renewal_before_its_window_is_refused_with_the_rule_and_the_date() {
    let mut ask = renewal();
    ask.now = at("2029-01-30T07:59:59Z");
    sign_again(&mut ask);
    let refusal = ask.answer().expect_err("too early");
    assert_eq!(refusal.objections.len(), 1, "{refusal}");
    let objection = &refusal.objections[0];
    assert_eq!(objection.rule, Rule::LeaveAlone);
    assert_eq!(objection.until, Some(at("2029-01-30T08:00:00Z")));
    assert!(objection.to_string().starts_with("P1 leave alone"), "{objection}");
    assert!(objection.detail.contains("2029-01-30T08:00:00Z"), "{objection}");

    ask.now = at("2029-01-30T08:00:00Z");
    sign_again(&mut ask);
    assert_eq!(ask.answer(), Ok(()), "the window opens to the second");
}

#[test]
fn an_early_renewal_needs_the_exception_in_the_signed_policy_and_only_until_its_end() {
    let exception = "mode = \"propose\"\n[[exception]]\nserver = \"EX1\"\nallow = \"early_renewal\"\nowner = \"anna\"\n\
         reason = \"audit\"\nuntil = \"2027-01-01T00:00:00Z\"";
    let mut ask = renewal_under(exception);
    ask.now = at("2026-12-31T23:59:59Z");
    sign_again(&mut ask);
    assert_eq!(ask.answer(), Ok(()));
    ask.now = at("2027-01-01T00:00:00Z");
    sign_again(&mut ask);
    assert_eq!(objections(&ask).0, [Rule::LeaveAlone]);
    ask.now = at("2026-12-31T23:59:59Z");
    sign_again(&mut ask);
    ask.policy.exceptions[0].server = "EX2".parse().expect("a name");
    assert_eq!(objections(&ask).0, [Rule::LeaveAlone], "an exception is for its server alone");
}

#[test]
fn a_distrusted_certificate_may_be_replaced_at_any_time_with_approval() {
    let mut ask = renewal();
    ask.now = at("2026-11-22T10:00:00Z");
    sign_again(&mut ask);
    assert_eq!(objections(&ask).0, [Rule::LeaveAlone]);
    let thumbprint = be_entry(&mut ask).thumbprint;
    ask.policy.compromised = [thumbprint].into();
    assert_eq!(ask.answer(), Ok(()));
}

#[test]
fn every_expectation_of_a_renewal_is_compared() {
    check(
        &renewal(),
        &[
            (
                "full name",
                |ask| ask.sight.report.host.fqdn = Fact::Known("ex1.fabrikam.test".to_owned()),
                &[Rule::Expectation],
                "full name of the host: expected ex1.contoso.test, found ex1.fabrikam.test",
            ),
            (
                "record: parameters",
                |ask| records(ask)[2].parameters = Fact::Known(SslParameters { flags: 2, ..SslParameters::default() }),
                &[Rule::Expectation],
                "with other parameters",
            ),
            (
                "record: store",
                |ask| {
                    records(ask)[2].store = Some("WebHosting".to_owned());
                    let mut copy = be_entry(ask).clone();
                    copy.store = Store::WebHosting;
                    entries(ask).push(copy);
                },
                &[Rule::Expectation],
                "in WebHosting",
            ),
            (
                "record: a second one on 444",
                |ask| {
                    let extra = stage::record("[::]:444", None, "MY");
                    records(ask).push(extra);
                },
                &[Rule::Expectation],
                "[::]:444 → no certificate",
            ),
            (
                "certificate: gone from its store",
                |ask| entries(ask).retain(|entry| entry.store != Store::My),
                &[Rule::Expectation],
                "expected present, found absent",
            ),
            ("certificate: archived", |ask| be_entry(ask).archived = true, &[Rule::Expectation], "expected not archived"),
            (
                "certificate: another key link",
                |ask| be_entry(ask).key = Fact::Known(Some(stage::link("elsewhere"))),
                &[Rule::Expectation],
                "elsewhere",
            ),
            (
                "certificate: its key denied",
                |ask| be_entry(ask).key_state = Fact::Known(KeyState::Denied),
                &[Rule::Expectation],
                "expected usable, found closed",
            ),
            (
                "metabase property",
                |ask| {
                    let property = MetabaseBinding { path: "LM/W3SVC/2".to_owned(), thumbprint: None, store: None };
                    ask.sight.report.metabase = Fact::Known(vec![property]);
                },
                &[Rule::Expectation],
                "metabase properties 5506/5511: expected 0 of them, found 1 of them",
            ),
        ],
    );
}

#[test]
fn every_expectation_of_a_restore_is_compared() {
    check(
        &undelete(),
        &[
            (
                "the certificate is back",
                |ask| {
                    let be = stage::be().bake();
                    entries(ask).push(stage::entry(Store::My, &be, Some("be-key")));
                },
                &[Rule::Expectation, Rule::LeaveAlone],
                "expected absent, found present",
            ),
            (
                "its container is gone",
                |ask| ask.sight.report.containers = Fact::Known(vec![]),
                &[Rule::Expectation],
                "key container be-key: expected present, found absent",
            ),
            (
                "its container holds another key",
                |ask| ask.sight.report.containers = Fact::Known(vec![stage::container("be-key", &stage::fe().bake())]),
                &[Rule::Expectation],
                "key container be-key",
            ),
            ("the record was rewritten", |ask| records(ask)[2].thumbprint = None, &[Rule::Expectation], "no certificate"),
            (
                "setup began",
                |ask| ask.sight.report.setup = Fact::Known(Setup::Running("ExSetup.exe".to_owned())),
                &[Rule::Expectation],
                "this host would plan nothing for what it sees: Exchange setup is at work: ExSetup.exe",
            ),
            (
                "the certificate was distrusted",
                |ask| {
                    let be = stage::be().bake();
                    entries(ask).push(stage::entry(Store::Disallowed, &be, None));
                },
                &[Rule::Expectation],
                "distrusted",
            ),
            (
                "three restores in a day, the last of them two hours ago",
                |ask| {
                    let times = ["2026-11-21T10:10:00Z", "2026-11-22T03:00:00Z", "2026-11-22T08:00:00Z"];
                    ask.last.restores.extend(times.map(at));
                },
                &[Rule::Expectation],
                "none before 2026-11-22T10:10:00Z",
            ),
            (
                "a restore was done half an hour ago",
                |ask| ask.last.restores.push(at("2026-11-22T09:35:00Z")),
                &[Rule::Expectation],
                "something takes it away again",
            ),
        ],
    );
}

#[test]
fn the_agent_acts_by_itself_only_in_mode_act_with_a_fresh_policy_after_the_quiet_time() {
    check(
        &restore(),
        &[
            ("a second too early", |ask| ask.now = at("2026-11-22T10:01:59Z"), &[Rule::Quiet], "2026-11-22T10:02:00Z"),
            (
                "something changed a minute ago",
                |ask| ask.last.trouble.as_mut().expect("a loss").changed = at("2026-11-22T10:04:00Z"),
                &[Rule::Quiet],
                "2026-11-22T10:06:00Z",
            ),
            ("the loss was never noted", |ask| ask.last.trouble = None, &[Rule::Quiet], "2026-11-22T10:07:00Z"),
            (
                "authority lapsed",
                |ask| ask.authority_fresh = false,
                &[Rule::Mode],
                "no controller confirmed the policy for 30 days",
            ),
            ("mode propose", |ask| ask.policy.mode = policy::document::Mode::Propose, &[Rule::Mode], "is propose"),
            ("mode observe", |ask| ask.policy.mode = policy::document::Mode::Observe, &[Rule::Mode], "is observe"),
            ("a hold", |ask| ask.sight.report.hold = Some("by hand".to_owned()), &[Rule::Hold], "by hand"),
            ("begun before", |ask| ask.begun = [ask.plan.id()].into(), &[Rule::Once], "begun"),
        ],
    );
    let mut ask = restore();
    ask.now = at("2026-11-22T10:02:00Z");
    assert_eq!(ask.answer(), Ok(()), "the quiet time ends to the second");
    ask.clock = Some("nine minutes off the domain");
    assert_eq!(ask.answer(), Ok(()), "what was there is put back whatever the clock says: nothing is created");
}

#[test]
fn a_restore_in_mode_propose_needs_one_who_approves_and_waits_for_no_window() {
    let windows = "mode = \"propose\"\n[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"UTC\"";
    let mut ask = lost(windows, |ask| records(ask).retain(|record| !record.is_back_end()));
    ask.trust = stage::trust(1);
    ask.approvals = Some(vec![approval(&ask.plan, "anna", ask.now)]);
    assert_eq!(ask.answer(), Ok(()));
    ask.last.restores.push(at("2026-11-22T10:00:00Z"));
    assert_eq!(ask.answer(), Ok(()), "anti-flap counts what the agent does by itself, not what a person orders");
    ask.now = at("2026-11-22T10:01:00Z");
    assert_eq!(objections(&ask).0, [Rule::Quiet]);
}

/// A fact by name, and how it is made unknown.
type Forgotten = (&'static str, fn(&mut Ask));

#[test]
fn what_is_unknown_permits_nothing() {
    let facts: &[Forgotten] = &[
        ("exchange", |ask| ask.sight.report.exchange = unknown()),
        ("setup", |ask| ask.sight.report.setup = unknown()),
        ("stores", |ask| ask.sight.report.stores = unknown()),
        ("records", |ask| ask.sight.report.records = unknown()),
        ("sites", |ask| ask.sight.report.sites = unknown()),
        ("metabase", |ask| ask.sight.report.metabase = unknown()),
        ("services", |ask| ask.sight.report.services = unknown()),
        ("W3SVC", |ask| {
            let Fact::Known(services) = &mut ask.sight.report.services else { panic!("services are known") };
            services.get_mut("W3SVC").expect("W3SVC").disabled = unknown();
        }),
        ("full name", |ask| ask.sight.report.host.fqdn = unknown()),
        ("machine id", |ask| ask.sight.report.host.machine_id = unknown()),
        ("the certificate's bytes", |ask| ask.sight.certificates.clear()),
        ("key link", |ask| be_entry(ask).key = unknown()),
        ("key state", |ask| be_entry(ask).key_state = unknown()),
        ("access list", |ask| be_entry(ask).key_access = unknown()),
        ("parameters", |ask| records(ask)[2].parameters = unknown()),
        ("AppId", |ask| records(ask)[2].app_id = unknown()),
        ("key containers", |ask| ask.sight.report.containers = unknown()),
        ("key in the container", |ask| {
            let Fact::Known(containers) = &mut ask.sight.report.containers else { panic!("containers are known") };
            containers[0].key_id = unknown();
        }),
    ];
    // What a kind of plan does not need to know is listed, so that nothing is left out unseen.
    let needless: &[(&str, Ask, &[&str])] = &[
        ("renewal", renewal(), &["key containers", "key in the container"]),
        (
            "restore of the record",
            restore(),
            &["the certificate's bytes", "access list", "key containers", "key in the container"],
        ),
        ("undelete", undelete(), &["the certificate's bytes", "key link", "key state", "access list"]),
    ];
    for (kind, start, spared) in needless {
        assert_eq!(start.answer(), Ok(()), "{kind}");
        for (fact, forget) in facts {
            let mut ask = start.clone();
            if *kind != "renewal" && ["parameters", "AppId"].contains(fact) && records(&mut ask).len() < 3 {
                continue;
            }
            forget(&mut ask);
            assert_eq!(ask.answer().is_ok(), spared.contains(fact), "{kind} with {fact} unknown: {:?}", ask.answer());
            let decision = decide(&ask.policy, &ask.sight, &ask.last, ask.now);
            let acts = matches!(decision, Decision::Act { .. } | Decision::Propose { .. });
            assert_eq!(acts, spared.contains(fact), "{kind} with {fact} unknown: {decision:?}");
        }
    }
}

#[test]
fn unknown_is_not_equal_even_to_the_same_unknown() {
    let mut ask = renewal();
    records(&mut ask)[2].parameters = unknown();
    let expect = Expect::Records { port: 444, records: vec![records(&mut ask)[2].clone()] };
    let difference = expect.met(&ask.sight.report).expect_err("nobody knows whether they are the same");
    assert!(difference.to_string().contains("not read"), "{difference}");
}

#[test]
fn a_report_that_contradicts_itself_permits_nothing() {
    let mut ask = renewal();
    let twin = Recipe { to: at("2029-03-01T08:00:01Z"), ..stage::be() }.bake();
    ask.sight.certificates.insert(stage::be().bake().id(), twin);
    let (rules, text) = objections(&ask);
    assert_eq!(rules, [Rule::Expectation], "the decoded certificate is not the one that the store entry names");
    assert!(text.contains("contradicts itself"), "{text}");

    let mut ask = undelete();
    ask.last.good.as_mut().expect("a good state").der = policy::plan::Der(stage::fe().der());
    let (rules, text) = objections(&ask);
    assert_eq!(rules, [Rule::Expectation]);
    assert!(text.contains("contradicts itself"), "{text}");
}

/// EX1 with everything wrong that is repaired beside the certificate of 444: each such plan, approved by anna and bert.
fn beside() -> Vec<Ask> {
    let mut ask = renewal_under("mode = \"propose\"");
    ask.now = at("2026-11-22T10:00:00Z");
    ask.last = LastKnown::default().after(&ask.sight, &ask.policy, ask.now);
    let self_made = records(&mut ask)[2].thumbprint;
    records(&mut ask)[0].thumbprint = self_made;
    records(&mut ask).push(stage::record("[::]:444", None, "MY"));
    let Fact::Known(sites) = &mut ask.sight.report.sites else { panic!("sites are known") };
    sites[1].bindings[1].information = "10.0.0.1:444:".to_owned();
    let found = aside(&ask.policy, &ask.sight, &ask.last, ask.now);
    let purposes: Vec<Purpose> = found.iter().map(|found| found.purpose).collect();
    assert_eq!(purposes, [Purpose::GiveBackFrontEnd, Purpose::RemoveExtraRecord, Purpose::FixBinding]);
    let asks = found.iter().map(|found| {
        let plan = found.decision.plan().unwrap_or_else(|| panic!("{found:?}")).clone();
        let mut ask = Ask { plan, ..ask.clone() };
        sign_again(&mut ask);
        ask
    });
    asks.collect()
}

#[test]
fn what_is_beside_the_certificate_of_444_runs_when_people_signed_it_though_444_is_left_alone() {
    for ask in beside() {
        assert_eq!(ask.answer(), Ok(()), "{:?}", ask.plan.purpose);
        let mut unsigned = ask.clone();
        unsigned.approvals = Some(vec![]);
        assert_eq!(objections(&unsigned).0, [Rule::TwoKeys]);
        let mut done = ask;
        done.sight = renewal().sight;
        assert!(objections(&done).0.contains(&Rule::Expectation), "{:?} was done already", done.plan.purpose);
    }
}

#[test]
fn the_bindings_of_the_site_are_compared_in_any_order() {
    let ask = beside().remove(2);
    let sites = |ask: &mut Ask, change: fn(&mut policy::report::Site)| {
        let Fact::Known(sites) = &mut ask.sight.report.sites else { panic!("sites are known") };
        change(&mut sites[1]);
    };
    let mut turned = ask.clone();
    sites(&mut turned, |site| site.bindings.reverse());
    let expect = |ask: &Ask| ask.plan.differences(&ask.sight.report).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(expect(&turned), [""; 0]);
    let mut added = ask.clone();
    sites(&mut added, |site| site.bindings.push(stage::binding("https", "*:8443:")));
    assert!(expect(&added)[0].contains("https *:8443:"), "{:?}", expect(&added));
    let mut gone = ask;
    sites(&mut gone, |site| site.name = "Exchange".to_owned());
    assert!(expect(&gone)[0].ends_with("found no such site"), "{:?}", expect(&gone));
}

#[test]
fn all_objections_are_told_at_once() {
    let mut ask = renewal();
    ask.approvals = Some(vec![]);
    ask.now = at("2026-11-22T10:00:00Z");
    ask.clock = Some("off");
    ask.begun = [ask.plan.id()].into();
    ask.sight.report.hold = Some("held".to_owned());
    ask.sight.report.host.fqdn = unknown();
    let rules = objections(&ask).0;
    assert_eq!(rules, [Rule::TwoKeys, Rule::Clock, Rule::Once, Rule::Expectation, Rule::LeaveAlone, Rule::Hold]);
}
