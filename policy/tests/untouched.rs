//! The proof that a plan touched nothing else (P4): what it may change itself is no finding, everything else is.

use policy::decide::decide;
use policy::last::LastKnown;
use policy::plan::{Plan, untouched};
use policy::report::{Fact, MetabaseBinding, Report, Store, StoreEntry};

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
