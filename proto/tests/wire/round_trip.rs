use policy::id::Generation;
use policy::receipt::Receipt;
use policy::report::{Fact, Report};
use proptest::prelude::*;
use prost::Message;
use proto::report::fit;
use proto::{MAX_MESSAGE, agent, types};

use crate::{sample, strategy};

fn sent_and_received(report: Report) -> Report {
    let bytes = agent::Report::from(report).encode_to_vec();
    let wire = agent::Report::decode(bytes.as_slice()).expect("encoded a line above");
    Report::try_from(wire).expect("a report of the domain, within the bounds")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_report_arrives_as_it_was_sent(report in strategy::report()) {
        let arrived = sent_and_received(report.clone());
        prop_assert_eq!(arrived.digest(), report.digest());
        prop_assert_eq!(arrived, report);
    }

    #[test]
    fn a_report_within_the_bounds_is_not_changed_by_fitting(report in strategy::report()) {
        prop_assert_eq!(fit(report.clone()), report);
    }

    #[test]
    fn a_receipt_arrives_as_it_was_sent(receipt in strategy::receipt()) {
        let bytes = types::Receipt::from(receipt.clone()).encode_to_vec();
        let wire = types::Receipt::decode(bytes.as_slice()).expect("encoded a line above");
        prop_assert_eq!(Receipt::try_from(wire).expect("a receipt of the domain"), receipt);
    }

    #[test]
    fn a_generation_arrives_as_it_was_sent(epoch: u64, counter: u64) {
        let generation = Generation { epoch, counter };
        prop_assert_eq!(Generation::from(types::Generation::from(generation)), generation);
    }
}

#[test]
fn a_part_that_is_too_large_becomes_unknown_and_the_rest_is_still_seen() {
    let mut report = sample::report();
    let Fact::Known(records) = &mut report.records else { panic!("the sample knows its records") };
    let record = records[0].clone();
    records.resize(2001, record);
    report.host.fqdn = Fact::Known("x".repeat(5000));
    report.setup = Fact::Unknown("y".repeat(5000));
    report.hold = Some("z".repeat(5000));
    report.probes = vec![report.probes[1].clone(); 100];

    let fitted = fit(report.clone());

    let why = fitted.records.unknown().expect("too many records");
    assert_eq!(why, "cannot be reported: SslRecords.records: expected at most 2000 entries, found 2001");
    assert_eq!(fitted.host.fqdn.unknown(), Some("cannot be reported: Host.fqdn: expected at most 4096 bytes, found 5000 bytes"));
    assert!(fitted.setup.unknown().is_some_and(|why| why.starts_with("yyyy") && why.ends_with('…') && why.len() <= 4096));
    assert_eq!(fitted.stores, report.stores);
    assert_eq!(sent_and_received(fitted.clone()), fitted);
    assert_eq!(fit(fitted.clone()), fitted);
}

#[test]
fn the_largest_report_that_fitting_lets_through_fits_into_one_message() {
    let mut report = sample::report();
    let long = |known: &mut Fact<_>| *known = Fact::Known("n".repeat(4000));
    long(&mut report.host.fqdn);
    long(&mut report.host.machine_id);
    long(&mut report.host.ad_site);
    report.hold = Some("h".repeat(4096));
    // Each list just below its size, found by growing it until fitting gives it up.
    grow(&mut report, |report| &mut report.stores, 5000, |entry| entry.friendly_name = Fact::Known(Some("f".repeat(200))));
    grow(&mut report, |report| &mut report.containers, 5000, |container| container.name = "c".repeat(300));
    grow(&mut report, |report| &mut report.records, 2000, |record| record.endpoint = "e".repeat(300));
    grow(&mut report, |report| &mut report.sites, 1000, |site| site.name = "s".repeat(400));
    grow(&mut report, |report| &mut report.metabase, 2000, |binding| binding.path = "p".repeat(400));
    let probe = &mut report.probes[1];
    probe.outcome = policy::report::ProbeOutcome::Unreachable("u".repeat(4096));
    report.probes = vec![report.probes[1].clone(); 64];

    let fitted = fit(report);

    assert!(fitted.stores.known().is_some() && fitted.metabase.known().is_some());
    let size = agent::Report::from(fitted).encoded_len();
    assert!((3 * MAX_MESSAGE / 4..MAX_MESSAGE - 16 * 1024).contains(&size), "{size} bytes");
}

fn grow<T: Clone>(report: &mut Report, list: impl Fn(&mut Report) -> &mut Fact<Vec<T>>, limit: usize, enlarge: impl Fn(&mut T)) {
    let Fact::Known(entries) = list(report) else { panic!("the sample knows its lists") };
    let mut entry = entries[0].clone();
    enlarge(&mut entry);
    let fits = |count: usize| {
        let mut tried = report.clone();
        *list(&mut tried) = Fact::Known(vec![entry.clone(); count]);
        list(&mut fit(tried)).known().is_some()
    };
    let (mut low, mut high) = (1, limit + 1);
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        if fits(middle) { low = middle } else { high = middle }
    }
    *list(report) = Fact::Known(vec![entry; low]);
}

#[test]
fn a_receipt_that_says_too_much_is_cut_and_not_refused() {
    let mut receipt = sample::receipt();
    receipt.notes = (0..500).map(|number| format!("note {number}")).collect();
    receipt.foreign = vec!["ä".repeat(4000)];
    receipt.gap_micros = u64::MAX;
    let objection = receipt.objections[0].clone();
    receipt.objections = vec![objection; 500];

    let wire = types::Receipt::from(receipt.clone());
    let size = wire.encoded_len();
    let arrived = Receipt::try_from(wire).expect("cut to the bounds");

    assert!(size < MAX_MESSAGE);
    assert_eq!(arrived.notes.len(), 200);
    assert_eq!(arrived.notes.last().map(String::as_str), Some("301 more are left out"));
    assert!(arrived.foreign[0].ends_with("ä…"));
    assert_eq!((arrived.plan, arrived.outcome, arrived.objections.len()), (receipt.plan, receipt.outcome, 100));
}
