//! A policy in TOML: what reads can be asked everything that a policy is asked.

#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::document::Policy;
use policy::forecast::{Subject, forecast, host};
use policy::report::Fact;
use policy::{Timestamp, plan::Purpose};

fuzz_target!(|bytes: &[u8]| {
    let policy = match Policy::from_toml(bytes) {
        Ok(policy) => policy,
        Err(error) => return assert!(error.to_string().len() < 4000),
    };
    let at = |text: &str| -> Timestamp { text.parse().expect("a moment") };
    let (now, ends, horizon) = (at("2026-11-24T00:00:00Z"), at("2027-06-01T08:00:00Z"), at("2029-11-24T00:00:00Z"));
    let _ = policy.doubts(now);
    for urgent in [true, false] {
        let _ = policy.may_run(now, urgent);
    }
    assert!(policy.proposes_from(ends) <= policy.renewal_opens(ends), "approvals are collected before they are needed");
    let _ = policy.last_chance(ends);
    let host = host("EX1".parse().expect("a name"), Fact::Known(None), Fact::Known("Berlin".to_owned()));
    let _ = policy.say(&host, Purpose::Renew).because();
    let subjects = [Subject { host, ends: Some(ends) }];
    let entries = forecast(&policy, &subjects, now, horizon);
    assert!(entries.iter().all(|entry| now <= entry.at && entry.at < horizon));
});
