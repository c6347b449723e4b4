//! The proof that a plan touched nothing else (P4): what it may change itself is no finding, everything else is.

use policy::decide::{aside, decide};
use policy::last::LastKnown;
use policy::plan::{Plan, Purpose, untouched};
use policy::report::{Binding, Fact, MetabaseBinding, ProbeOutcome, Report, SslRecord, Store, StoreEntry};

use crate::stage::der::Recipe;
use crate::stage::{self, at};

/// A renewal of EX1: the host before it, after it, and the plan.
fn renewed() -> (Report, Report, Plan) {
    let (be, fe) = (stage::be().bake(), stage::fe().bake());
    let sight = stage::host(&be, &fe);
    let now = at("2029-02-10T22:30:00Z");
    let decision = decide(&stage::policy("mode = \"propose\""), &sight, &LastKnown::default(), now);
    let plan = decision.plan().expect("a renewal is proposed").clone();
    let new = Recipe { key: "new".to_owned(), from: now, to: at("2034-02-10T22:30:00Z"), ..stage::be() }.bake();
    let mut after = sight.report.clone();
    entries(&mut after).push(stage::entry(Store::My, &new, plan.container()));
    entries(&mut after).push(stage::entry(Store::Root, &new, None));
    let Fact::Known(records) = &mut after.records else { panic!("records are known") };
    records[2].thumbprint = Some(new.thumbprint());
    (sight.report, after, plan)
}

fn entries(report: &mut Report) -> &mut Vec<StoreEntry> {
    let Fact::Known(entries) = &mut report.stores else { panic!("stores are known") };
    entries
}

#[test]
fn what_the_plan_itself_adds_and_swaps_is_no_difference() {
    let (before, after, plan) = renewed();
    assert_eq!(untouched(&before, &after, &plan), []);
}

#[test]
fn every_other_change_is_found_and_named() {
    /// What somebody else did meanwhile, the list in which it shows, and a word that names it.
    type Row = (&'static str, fn(&mut Report), &'static str, &'static str);
    let rows: &[Row] = &[
        ("the outgoing certificate removed", |after| drop(entries(after).remove(0)), "other certificates", "be-key"),
        ("the outgoing certificate archived", |after| entries(after)[0].archived = true, "other certificates", "archived"),
        ("the front end's key link lost", |after| entries(after)[1].key = Fact::Known(None), "other certificates", "key none"),
        ("the outgoing copy in Root removed", |after| drop(entries(after).remove(2)), "other certificates", "in Root"),
        (
            "a stranger's certificate in My",
            |after| {
                let stranger = Recipe { key: "stranger".to_owned(), ..stage::fe() }.bake();
                entries(after).push(stage::entry(Store::My, &stranger, Some("stranger-key")));
            },
            "other certificates",
            "stranger-key",
        ),
        (
            "the new certificate in a third store",
            |after| {
                let mut copy = entries(after)[3].clone();
                copy.store = Store::WebHosting;
                entries(after).push(copy);
            },
            "other certificates",
            "WebHosting",
        ),
        (
            "443 hijacked",
            |after| {
                let Fact::Known(records) = &mut after.records else { panic!("records are known") };
                records[0].thumbprint = records[2].thumbprint;
            },
            "other http.sys records",
            "0.0.0.0:443",
        ),
        ("records unreadable", |after| after.records = Fact::Unknown("denied".to_owned()), "other http.sys records", "denied"),
        ("stores unreadable", |after| after.stores = Fact::Unknown("denied".to_owned()), "other certificates", "denied"),
        (
            "a binding added",
            |after| {
                let Fact::Known(sites) = &mut after.sites else { panic!("sites are known") };
                sites[0].bindings.push(stage::binding("https", "*:8443:"));
            },
            "IIS sites",
            "8443",
        ),
        (
            "a metabase property written",
            |after| {
                let property = MetabaseBinding { path: "LM/W3SVC/2".to_owned(), thumbprint: None, store: None };
                after.metabase = Fact::Known(vec![property]);
            },
            "metabase properties",
            "LM/W3SVC/2",
        ),
    ];
    for (name, change, list, word) in rows {
        let (before, mut after, plan) = renewed();
        change(&mut after);
        let found = untouched(&before, &after, &plan);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0].fact, *list, "{name}");
        assert!(found[0].to_string().contains(word), "{name}: {}", found[0]);
    }
}

/// A kind of plan: the host before it, what the plan does to it, and what somebody else did right beside it meanwhile.
struct Kind {
    purpose: Purpose,
    spoil: fn(&mut Report, &Report),
    done: fn(&mut Report, &Report),
    beside: &'static [fn(&mut Report)],
    list: &'static str,
}

fn records(report: &mut Report) -> &mut Vec<SslRecord> {
    let Fact::Known(records) = &mut report.records else { panic!("records are known") };
    records
}

fn bindings(report: &mut Report, site: usize) -> &mut Vec<Binding> {
    let Fact::Known(sites) = &mut report.sites else { panic!("sites are known") };
    &mut sites[site].bindings
}

const KINDS: [Kind; 5] = [
    Kind {
        purpose: Purpose::Undelete,
        spoil: |report, _| drop(entries(report).remove(0)),
        done: |report, good| report.stores = good.stores.clone(),
        beside: &[
            |report| entries(report).push(stage::entry(Store::My, &Recipe { key: "x".to_owned(), ..stage::be() }.bake(), None)),
            |report| entries(report).push(stage::entry(Store::WebHosting, &stage::be().bake(), None)),
        ],
        list: "other certificates",
    },
    Kind {
        purpose: Purpose::Unarchive,
        spoil: |report, _| {
            entries(report)[0].archived = true;
            report.probes.iter_mut().for_each(|probe| probe.outcome = ProbeOutcome::Refused);
        },
        done: |report, good| report.stores = good.stores.clone(),
        beside: &[|report| entries(report)[1].archived = true, |report| drop(entries(report).remove(2))],
        list: "other certificates",
    },
    Kind {
        purpose: Purpose::RemoveExtraRecord,
        spoil: |report, _| records(report).push(stage::record("[::]:444", None, "MY")),
        done: |report, good| report.records = good.records.clone(),
        beside: &[|report| drop(records(report).remove(1))],
        list: "other http.sys records",
    },
    Kind {
        purpose: Purpose::GiveBackFrontEnd,
        spoil: |report, _| {
            records(report).remove(1);
            records(report)[0].thumbprint = None;
        },
        done: |report, good| report.records = good.records.clone(),
        beside: &[|report| records(report).push(stage::record("[::]:443", None, "MY"))],
        list: "other http.sys records",
    },
    Kind {
        purpose: Purpose::FixBinding,
        spoil: |report, _| bindings(report, 1)[1].information = "10.0.0.1:444:".to_owned(),
        done: |report, good| report.sites = good.sites.clone(),
        beside: &[
            |report| bindings(report, 1).push(stage::binding("https", "*:8443:")),
            |report| bindings(report, 0).push(stage::binding("https", "*:444:")),
        ],
        list: "IIS sites",
    },
];

#[test]
fn each_kind_of_plan_may_do_what_it_is_for_and_nothing_right_beside_it() {
    for Kind { purpose, spoil, done, beside, list } in KINDS {
        let (be, fe) = (stage::be().bake(), stage::fe().bake());
        let (mut sight, policy, now) = (stage::host(&be, &fe), stage::policy("mode = \"propose\""), at("2026-11-22T10:00:00Z"));
        let good = sight.report.clone();
        let last = LastKnown::default().after(&sight, &policy, now);
        spoil(&mut sight.report, &good);
        let decision = decide(&policy, &sight, &last, now);
        let aside = aside(&policy, &sight, &last, now).into_iter().map(|aside| aside.decision);
        let plan = aside.chain([decision]).find_map(|decision| decision.plan().filter(|plan| plan.purpose == purpose).cloned());
        let plan = plan.unwrap_or_else(|| panic!("{purpose:?} is not proposed"));
        let mut after = sight.report.clone();
        done(&mut after, &good);
        assert_eq!(untouched(&sight.report, &after, &plan), [], "{purpose:?}");
        for (number, change) in beside.iter().enumerate() {
            let mut also = after.clone();
            change(&mut also);
            let found: Vec<String> = untouched(&sight.report, &also, &plan).into_iter().map(|found| found.fact).collect();
            assert_eq!(found, [list], "{purpose:?}, change {number} beside it");
        }
    }
}
