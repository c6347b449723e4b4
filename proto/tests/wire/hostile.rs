//! Bytes that were cut, altered or invented: an error or a message that means something, never a panic.

use policy::receipt::Receipt;
use policy::report::Report;
use proptest::prelude::*;
use prost::Message;
use proto::signed::SignedBytes;
use proto::{agent, types};

use crate::sample;

/// Reads the bytes as everything that they could be. What is accepted must be writable and read the same again.
fn read_as_anything(bytes: &[u8]) {
    if let Ok(report) = agent::Report::decode(bytes).map_err(drop).and_then(|wire| Report::try_from(wire).map_err(drop)) {
        assert_eq!(Report::try_from(agent::Report::from(report.clone())), Ok(report));
    }
    if let Ok(receipt) = types::Receipt::decode(bytes).map_err(drop).and_then(|wire| Receipt::try_from(wire).map_err(drop)) {
        assert_eq!(Receipt::try_from(types::Receipt::from(receipt.clone())), Ok(receipt));
    }
    if let Ok(signed) = types::Signed::decode(bytes) {
        let _ = SignedBytes::try_from(signed);
    }
    let _ = agent::OpenRequest::decode(bytes);
    let _ = agent::OpenResponse::decode(bytes);
}

#[test]
fn a_report_and_a_receipt_cut_anywhere_do_not_panic() {
    let report = agent::Report::from(sample::report()).encode_to_vec();
    let receipt = types::Receipt::from(sample::receipt()).encode_to_vec();
    for whole in [report, receipt] {
        for length in 0..whole.len() {
            read_as_anything(&whole[..length]);
        }
    }
}

#[test]
fn a_report_cut_anywhere_is_never_taken_for_a_whole_one() {
    let whole = agent::Report::from(sample::report()).encode_to_vec();
    let accepted: Vec<usize> = (0..whole.len())
        .filter(|length| agent::Report::decode(&whole[..*length]).is_ok_and(|wire| Report::try_from(wire).is_ok()))
        .collect();
    // Probes and hold come last and may be absent; nothing before them can be missing.
    let without_them = agent::Report { probes: Vec::new(), hold: None, ..agent::Report::from(sample::report()) };
    assert!(accepted.iter().all(|length| *length >= without_them.encoded_len()), "{accepted:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_report_with_altered_bytes_does_not_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = agent::Report::from(sample::report()).encode_to_vec();
        for (index, byte) in changes {
            let place = index.index(bytes.len());
            bytes[place] = byte;
        }
        read_as_anything(&bytes);
    }

    #[test]
    fn invented_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_as_anything(&bytes);
    }
}
