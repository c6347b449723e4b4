//! An agent judges every order by itself, whoever brings it. Here a stolen controller brings them, so nobody stands before it.

use policy::plan::{Plan, Step};
use policy::trust::{Approval, KeyKind, Kind, PersonKey, TrustDocument};
use proto::signed::{SignedBytes, SigningKey};
use proto::types::{Outcome, Receipt, Signed};
use tests::estate::{Estate, policy};
use tests::forger::Forger;
use tests::lab::Damage;
use tests::outside::Client;
use tests::{papers, wait};

use super::{LIMIT, estate};

const SERVER: &str = "EX1";

/// Anna's second key is in the trust document, too.
fn second_key(estate: &Estate) -> SigningKey {
    let desk = estate.desk();
    let text = std::fs::read_to_string(desk.file("trust/trust.signed")).expect("the trust document");
    let held = SignedBytes::from_file_text(&text).expect("reads");
    let mut document = TrustDocument::from_bytes(&held.body).expect("reads");
    let key = SigningKey::generate().expect("a key");
    let anna = document.persons.get_mut(&"anna".parse().expect("a name")).expect("anna");
    let until = anna.keys[0].until;
    anna.keys.push(PersonKey { key: key.id(), kind: KeyKind::File, until });
    document.version += 1;
    let signed = papers::signed(Kind::Trust, document.to_bytes(), &[&desk.key("root").expect("the root key")]).expect("signed");
    std::fs::write(desk.file("trust-2.signed"), signed.to_file_text()).expect("written");
    desk.ok(&["trust", "apply", "trust-2.signed"]).expect("applied");
    let held = |response: &proto::operator::GetServerResponse| {
        let version = response.server.as_ref().map(|server| server.trust_version).unwrap_or_default();
        wait::when(version == 2, || format!("version {version}"))
    };
    estate.wait_server(SERVER, "trust version 2", LIMIT, held).expect("held");
    key
}

struct Bench {
    estate: Estate,
    forger: Forger,
    plan: Plan,
    anna: SigningKey,
    ben: SigningKey,
}

impl Bench {
    fn sign(&self, approval: &Approval, key: &SigningKey) -> Signed {
        papers::signed(Kind::Approval, approval.to_bytes(), &[key]).expect("signed").into()
    }

    fn both(&self, plan: &Plan) -> Vec<Signed> {
        let approval = |person| papers::approval(plan, person).expect("an approval");
        vec![self.sign(&approval("anna"), &self.anna), self.sign(&approval("ben"), &self.ben)]
    }

    fn offer(&self, bytes: &[u8], approvals: Vec<Signed>) -> Receipt {
        self.forger.offer(SERVER, bytes, approvals, LIMIT).expect("a receipt")
    }

    fn refused(&self, plan: &Plan, approvals: Vec<Signed>, rule: &str, words: &[&str]) {
        let receipt = self.offer(&plan.to_bytes(), approvals);
        assert_eq!(receipt.outcome, Outcome::Refused as i32, "{receipt:?}");
        let objection = receipt.objections.iter().find(|objection| objection.rule == rule);
        let objection = objection.unwrap_or_else(|| panic!("expected rule {rule}, found {receipt:?}"));
        for word in words {
            assert!(objection.detail.contains(word), "expected {word:?} in {receipt:?}");
        }
    }
}

#[test]
fn an_agent_refuses_every_order_that_is_not_exactly_what_two_persons_signed_for_it() {
    let mut estate = estate(&[SERVER], &["renew=2"]);
    let second = second_key(&estate);
    let host = estate.host(SERVER).expect("a host");
    host.damage(&Damage::Expiring { days: 20 }).expect("ages");
    estate.wait_verdict(SERVER, "expiring", LIMIT).expect("seen");
    let (before, old) =
        (host.snapshot().expect("a disk"), Client::find().look(estate.back_end(SERVER).expect("444")).expect("shown"));
    let plan = papers::plan(&host, &policy("act")).expect("a plan");
    let (anna, ben) = (estate.desk().key("anna").expect("a key"), estate.desk().key("ben").expect("a key"));
    estate.stop_controller().expect("stops");
    let forger = Forger::listen(estate.ports().agents, &estate.controller_state()).expect("listens");
    forger.wait_for(SERVER, LIMIT).expect("comes");
    let bench = Bench { estate, forger, plan, anna, ben };
    let Bench { plan, anna, ben, .. } = &bench;
    let by = |person| papers::approval(plan, person).expect("an approval");

    // Persons.
    bench.refused(plan, Vec::new(), "two_keys", &["expected 2 approver(s), found 0"]);
    bench.refused(plan, vec![bench.sign(&by("anna"), anna)], "two_keys", &["found 1", "anna"]);
    let twice = vec![bench.sign(&by("anna"), anna), bench.sign(&Approval { reason: "again".to_owned(), ..by("anna") }, &second)];
    bench.refused(plan, twice, "two_keys", &["found 1", "anna approved more than once"]);
    let requester = |person| Approval { requester: Some("ben".parse().expect("a name")), ..by(person) };
    let asked = vec![bench.sign(&requester("anna"), anna), bench.sign(&by("ben"), ben)];
    bench.refused(plan, asked, "two_keys", &["found 1", "ben asked for the plan"]);
    let borrowed = vec![bench.sign(&by("anna"), anna), bench.sign(&by("ben"), anna)];
    bench.refused(plan, borrowed, "two_keys", &["found 1", "ben"]);
    let stranger = SigningKey::generate().expect("a key");
    bench.refused(plan, vec![bench.sign(&by("anna"), anna), bench.sign(&by("ben"), &stranger)], "two_keys", &["found 1", "anna"]);
    let past = Approval {
        not_before: "2020-01-01T00:00:00Z".parse().expect("a moment"),
        not_after: "2020-02-01T00:00:00Z".parse().expect("a moment"),
        ..by("ben")
    };
    bench.refused(plan, vec![bench.sign(&by("anna"), anna), bench.sign(&past, ben)], "two_keys", &["found 1", "anna"]);

    // Plans, each with two genuine approvals of itself.
    let elsewhere = Plan { host: "EX9".parse().expect("a name"), ..plan.clone() };
    bench.refused(&elsewhere, bench.both(&elsewhere), "other_host", &["EX9", "EX1"]);
    let rebuilt = Plan { machine_id: "another installation".to_owned(), ..plan.clone() };
    bench.refused(&rebuilt, bench.both(&rebuilt), "other_host", &["another installation"]);
    let mut before_it_changed = plan.clone();
    for expect in &mut before_it_changed.expects {
        if let policy::plan::Expect::Records { records, .. } = expect {
            records[0].thumbprint = Some(policy::id::Thumbprint([7; 20]));
        }
    }
    bench.refused(&before_it_changed, bench.both(&before_it_changed), "expectation", &["http.sys records on port 444"]);
    let mut altered = plan.clone();
    for step in &mut altered.steps {
        if let Step::Mint { netbios, .. } = step {
            "MAIL".clone_into(netbios);
        }
    }
    bench.refused(&altered, bench.both(&altered), "expectation", &["the steps are not those"]);
    let mut shortened = plan.clone();
    shortened.steps.retain(|step| !matches!(step, Step::Compare | Step::Probe { .. }));
    bench.refused(&shortened, bench.both(&shortened), "expectation", &["the steps are not those"]);
    let swapped = bench.both(&altered);
    bench.refused(plan, swapped, "two_keys", &["found 0", "for another plan"]);

    // Bytes that are no plan, or the same plan spelled otherwise.
    let bytes = plan.to_bytes();
    let spaced = [&bytes[..1], b" ", &bytes[1..]].concat();
    for bytes in [&bytes[..bytes.len() / 2], b"", b"{}", &spaced] {
        let receipt = bench.offer(bytes, bench.both(plan));
        assert_eq!(receipt.outcome, Outcome::Refused as i32, "{receipt:?}");
    }

    assert_eq!(host.snapshot().expect("a disk"), before);
    let look = || Client::find().look(bench.estate.back_end(SERVER).expect("444")).expect("shown");
    assert_eq!(look(), old);
    bench.estate.check_logs(&[]).expect("quiet logs");

    // And the right one runs, from whomever it comes: so it was for these reasons that the others did not.
    let receipt = bench.offer(&plan.to_bytes(), bench.both(plan));
    assert_eq!(receipt.outcome, Outcome::Restored as i32, "{receipt:?}");
    assert_ne!(look(), old);
}
