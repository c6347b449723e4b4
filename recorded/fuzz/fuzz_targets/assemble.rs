//! A folder of exported files becomes the sight of one server or of several, and each of them is judged like a live one.
//!
//! The files stand one after another, parted by ASCII's own separator of files, so that a single byte makes two of one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::decide::{aside, decide};
use policy::document::Policy;
use policy::evaluate::evaluate;
use policy::last::LastKnown;
use policy::look::next_look;
use recorded::Exports;

fuzz_target!(|bytes: &[u8]| {
    let mut exports = Exports::default();
    for (number, file) in bytes.split(|byte| *byte == 0x1c).enumerate() {
        exports.add(&number.to_string(), file);
    }
    let policy = Policy::none_yet("contoso".parse().expect("a name"));
    let now = "2026-11-24T00:00:00Z".parse().expect("a moment");
    for assembly in exports.assemble(None).into_iter().flatten() {
        for sight in std::iter::once(&assembly.sight).chain(&assembly.otherwise) {
            let _ = sight.report.digest();
            // As `backstay assess` does it: what was never seen before, and what a look has taken in.
            let none = LastKnown::default();
            for last in [none.after(sight, &policy, now), none] {
                let assessment = evaluate(&policy, sight, &last, now);
                assert!(assessment.findings.iter().all(|finding| !finding.evidence.is_empty()));
                assert!(decide(&policy, sight, &last, now).plan().is_none(), "exports show no keys, and no plan is made without");
                let _ = aside(&policy, sight, &last, now);
                assert!(next_look(&policy, sight, &last, now).is_none_or(|next| now < next));
            }
        }
    }
});
