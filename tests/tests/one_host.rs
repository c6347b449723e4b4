//! One host and its workbench, without a network: real signatures, real sockets on 444, a real disk, and everything that
//! can be wrong with a plan, its approvals, the journal and the host. Whatever is refused leaves the host as it was.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is its way to say so")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use agent::work::{By, Standing, Workbench};
use jiff::{Timestamp, ToSpan};
use policy::admit::Rule;
use policy::decide::decide;
use policy::document::Policy;
use policy::id::Person;
use policy::plan::{Plan, Purpose, Step};
use policy::receipt::{Outcome, Receipt};
use policy::trust::{Approval, Class, KeyKind, Kind, PersonKey, PersonKeys, PersonRole, Root, TrustDocument};
use proto::signed::{SignedBytes, SigningKey};
use tempfile::TempDir;
use tests::lab::{Call, Damage, Estate, Fault, Mode, Running, Server};

struct Host {
    server: Server,
    bench: Workbench,
    standing: Standing,
    anna: [SigningKey; 2],
    ben: SigningKey,
    state: PathBuf,
    _running: Running,
    _folder: TempDir,
}

fn person(keys: &[&SigningKey]) -> PersonKeys {
    let until = Timestamp::now().checked_add(24.hours() * 365).unwrap();
    let key = |key: &&SigningKey| PersonKey { key: key.id(), kind: KeyKind::File, until };
    PersonKeys { roles: BTreeSet::from([PersonRole::Approver]), keys: keys.iter().map(key).collect() }
}

impl Host {
    /// A healthy server of an estate in which two persons must approve a renewal.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let estate = Estate::with(&folder.path().join("lab"), &[("EX1", Some("DAG1"))]).unwrap();
        let running = estate.up().unwrap();
        let server = estate.server("EX1").unwrap();
        let state = folder.path().join("agent");
        let bench = Workbench::open(&state, Arc::new(server.driver())).unwrap();
        let anna = [SigningKey::generate().unwrap(), SigningKey::generate().unwrap()];
        let ben = SigningKey::generate().unwrap();
        let root = SigningKey::generate().unwrap();
        let trust = TrustDocument {
            estate: "lab".parse().unwrap(),
            version: 1,
            root: Root { threshold: 1, keys: BTreeSet::from([root.id()]) },
            persons: BTreeMap::from([
                ("anna".parse().unwrap(), person(&[&anna[0], &anna[1]])),
                ("ben".parse().unwrap(), person(&[&ben])),
            ]),
            need: BTreeMap::from([(Class::Renew, 2)]),
            browser: BTreeSet::new(),
            ca: BTreeSet::new(),
        };
        let text = "estate = \"lab\"\nversion = 1\nmode = \"act\"\n[quiet]\nrecord_missing = \"0s\"\ndangling = \"0s\"\n\
                    [limits]\nrestores_per_hour = 100\nrestores_per_day = 1000\n";
        let policy = Policy::from_toml(text.as_bytes()).unwrap();
        let standing = Standing { policy, trust, policy_confirmed: Some(Timestamp::now()), clock_doubt: None };
        let mut host = Self { server, bench, standing, anna, ben, state, _running: running, _folder: folder };
        host.look();
        host
    }

    fn look(&mut self) -> Option<Plan> {
        let now = Timestamp::now();
        let look = self.bench.look(&self.standing.policy, now).unwrap();
        decide(&self.standing.policy, &look.sight, &look.last, now).plan().cloned()
    }

    fn expiring(&mut self) -> Plan {
        self.server.damage(&Damage::Expiring { days: 20 }).unwrap();
        let plan = self.look().unwrap();
        assert_eq!(plan.purpose, Purpose::Renew);
        plan
    }

    fn deleted(&mut self) -> Plan {
        self.server.damage(&Damage::DeleteCertificate).unwrap();
        let plan = self.look().unwrap();
        assert_eq!(plan.purpose, Purpose::Undelete);
        plan
    }

    fn approval(&self, person: &str, key: &SigningKey, plan: &Plan) -> SignedBytes {
        let now = Timestamp::now();
        let approval = Approval {
            estate: plan.estate.clone(),
            plans: BTreeSet::from([plan.id()]),
            person: person.parse::<Person>().unwrap(),
            requester: None,
            reason: "it ends".to_owned(),
            change: Some("CHG-1".to_owned()),
            not_before: now.checked_sub(1.minute()).unwrap(),
            not_after: now.checked_add(1.hour()).unwrap(),
        };
        let mut signed = SignedBytes::unsigned(approval.to_bytes());
        key.sign(Kind::Approval, &mut signed).unwrap();
        signed
    }

    fn both(&self, plan: &Plan) -> Vec<SignedBytes> {
        vec![self.approval("anna", &self.anna[0], plan), self.approval("ben", &self.ben, plan)]
    }

    fn run(&mut self, plan: &Plan, approvals: &[SignedBytes]) -> Receipt {
        self.bench.run(&plan.to_bytes(), By::Approvals(approvals), &self.standing, &Timestamp::now)
    }

    /// The plan is refused by `rule`, and nothing on the host's disk or in its http.sys is another than before.
    fn refuses(&mut self, plan: &Plan, approvals: &[SignedBytes], rule: Rule) -> Receipt {
        let before = self.server.snapshot().unwrap();
        let receipt = self.run(plan, approvals);
        assert_eq!(receipt.outcome, Outcome::Refused, "{:?}", receipt.notes);
        assert!(receipt.objections.iter().any(|objection| objection.rule == rule), "{rule:?} is not in {:?}", receipt.objections);
        assert_eq!(self.server.snapshot().unwrap(), before);
        assert_eq!(self.bench.open_plan(), None);
        receipt
    }

    fn served(&self) -> Option<policy::id::Thumbprint> {
        self.server.back_end_certificate().unwrap().map(|certificate| certificate.thumbprint())
    }
}

#[test]
fn two_persons_approve_and_the_certificate_is_renewed_once() {
    let mut host = Host::new();
    let plan = host.expiring();
    let old = host.served();
    let approvals = host.both(&plan);
    let receipt = host.run(&plan, &approvals);
    assert_eq!(receipt.outcome, Outcome::Restored, "{:?}", receipt.notes);
    assert_ne!(host.served(), old);
    let (served, disk) = (host.served(), host.server.snapshot().unwrap());
    assert_eq!(host.run(&plan, &approvals), receipt, "the same plan again is answered with its receipt");
    assert_eq!((host.served(), host.server.snapshot().unwrap()), (served, disk));
    assert_eq!(host.look(), None);
}

#[test]
fn too_few_doubled_and_forged_approvers_are_refused() {
    let mut host = Host::new();
    let plan = host.expiring();
    host.refuses(&plan, &[], Rule::TwoKeys);
    let anna = host.approval("anna", &host.anna[0], &plan);
    host.refuses(&plan, std::slice::from_ref(&anna), Rule::TwoKeys);
    // Two keys of one person are one person; so is one approval said twice.
    let again = host.approval("anna", &host.anna[1], &plan);
    host.refuses(&plan, &[anna.clone(), again], Rule::TwoKeys);
    host.refuses(&plan, &[anna.clone(), anna.clone()], Rule::TwoKeys);
    // Anna cannot sign for ben, nor can somebody whom the trust document does not know.
    let as_ben = host.approval("ben", &host.anna[1], &plan);
    host.refuses(&plan, &[anna.clone(), as_ben], Rule::TwoKeys);
    let stranger = host.approval("ben", &SigningKey::generate().unwrap(), &plan);
    host.refuses(&plan, &[anna.clone(), stranger], Rule::TwoKeys);
    // A byte of a signed approval is changed.
    let mut changed = host.approval("ben", &host.ben, &plan);
    changed.body[10] ^= 1;
    host.refuses(&plan, &[anna, changed], Rule::TwoKeys);
}

#[test]
fn approvals_of_one_plan_do_not_carry_another() {
    let mut host = Host::new();
    let plan = host.expiring();
    let approvals = host.both(&plan);
    let mut altered = plan;
    altered.steps.retain(|step| !matches!(step, Step::DryHandshake { .. }));
    host.refuses(&altered, &approvals, Rule::TwoKeys);
    // Even where the approvers were made to sign it.
    let signed = host.both(&altered);
    host.refuses(&altered, &signed, Rule::Expectation);
}

#[test]
fn a_plan_for_another_host_installation_or_state_is_refused() {
    let mut host = Host::new();
    let plan = host.expiring();
    let other = Plan { host: "EX2".parse().unwrap(), ..plan.clone() };
    let approvals = host.both(&other);
    host.refuses(&other, &approvals, Rule::OtherHost);
    let rebuilt = Plan { machine_id: "another".to_owned(), ..plan.clone() };
    let approvals = host.both(&rebuilt);
    host.refuses(&rebuilt, &approvals, Rule::OtherHost);
    // The facts change between approval and run: somebody puts another certificate on 444.
    let approvals = host.both(&plan);
    host.server.damage(&Damage::Expiring { days: 25 }).unwrap();
    host.refuses(&plan, &approvals, Rule::Expectation);
}

#[test]
fn early_renewal_is_refused_with_the_date_whoever_approved_it() {
    let mut host = Host::new();
    let plan = host.expiring();
    host.server.heal().unwrap();
    host.look();
    let approvals = host.both(&plan);
    let receipt = host.refuses(&plan, &approvals, Rule::LeaveAlone);
    let objection = receipt.objections.iter().find(|objection| objection.rule == Rule::LeaveAlone).unwrap();
    assert!(objection.until.is_some_and(|opens| Timestamp::now() < opens));
}

#[test]
fn a_plan_called_off_before_its_first_step_turns_back_and_the_next_one_does_not() {
    let mut host = Host::new();
    let plan = host.expiring();
    let old = host.served();
    host.bench.called_off().set(plan.id());
    let approvals = host.both(&plan);
    let receipt = host.run(&plan, &approvals);
    assert_eq!((receipt.outcome, host.served()), (Outcome::Undone, old), "{:?}", receipt.notes);
    let again = host.look().unwrap().untried(|id| host.bench.has_begun(id));
    let approvals = host.both(&again);
    let receipt = host.run(&again, &approvals);
    assert_eq!(receipt.outcome, Outcome::Restored, "{:?}", receipt.notes);
    assert_ne!(host.served(), old);
}

#[test]
fn bytes_that_are_no_plan_are_refused() {
    let mut host = Host::new();
    let good = host.expiring().to_bytes();
    let mut unknown = good.clone();
    unknown.splice(1..1, *b"\"extra\":1,");
    let before = host.server.snapshot().unwrap();
    for bytes in [&b""[..], b"{}", b"\xff\xfe", &good[..good.len() - 1], &unknown, &vec![b' '; 1 << 20]] {
        let receipt = host.bench.run(bytes, By::Approvals(&[]), &host.standing, &Timestamp::now);
        assert_eq!(receipt.outcome, Outcome::Refused);
    }
    assert_eq!(host.server.snapshot().unwrap(), before);
}

#[test]
fn on_a_full_disk_nothing_is_begun() {
    let mut host = Host::new();
    let plan = host.deleted();
    let before = host.server.snapshot().unwrap();
    // Every byte written here is refused with "no space left on device".
    symlink("/dev/full", host.state.join("journal.new")).unwrap();
    let receipt = host.bench.run(&plan.to_bytes(), By::Standing, &host.standing, &Timestamp::now);
    assert_eq!(receipt.outcome, Outcome::Refused);
    assert!(receipt.notes.iter().any(|note| note.contains("nothing was begun")), "{:?}", receipt.notes);
    assert_eq!(host.server.snapshot().unwrap(), before);
    // Room again: the same plan has not begun, and is done.
    let receipt = host.bench.run(&plan.to_bytes(), By::Standing, &host.standing, &Timestamp::now);
    assert_eq!(receipt.outcome, Outcome::Restored, "{:?}", receipt.notes);
}

#[test]
fn a_damaged_journal_holds_the_host_until_a_person_has_looked() {
    let host = Host::new();
    let Host { server, bench, standing, state, _running, _folder, .. } = host;
    drop(bench);
    fs::write(state.join("journal"), b"BSTJRNL1 and then rubbish that is long enough to be a record").unwrap();
    server.damage(&Damage::DeleteCertificate).unwrap();
    let before = server.snapshot().unwrap();
    let mut bench = Workbench::open(&state, Arc::new(server.driver())).unwrap();
    assert!(bench.recover(&standing, &Timestamp::now).unwrap().is_none());
    let look = bench.look(&standing.policy, Timestamp::now()).unwrap();
    let hold = look.sight.report.hold.clone().unwrap();
    assert!(hold.contains("journal"), "{hold}");
    let assessment = policy::evaluate::evaluate(&standing.policy, &look.sight, &look.last, Timestamp::now());
    assert!(assessment.has(policy::finding::Code::AgentHeld));
    assert!(decide(&standing.policy, &look.sight, &look.last, Timestamp::now()).plan().is_none());
    assert_eq!(server.snapshot().unwrap(), before);
}

#[test]
fn a_host_that_fails_at_any_call_ends_with_the_old_or_the_new_certificate() {
    for call in Call::ALL {
        let mut host = Host::new();
        let plan = host.expiring();
        let old = host.served();
        let approvals = host.both(&plan);
        host.server.fault(Fault::new(*call, Mode::Fail)).unwrap();
        let receipt = host.run(&plan, &approvals);
        host.server.clear_faults().unwrap();
        if host.served().is_none() {
            // Only where the system deleted the record and then takes no other, not even the old one. It is said, and as soon
            // as the host can, the last good record is put back.
            assert_eq!((*call, receipt.outcome), (Call::Set, Outcome::Failed), "{:?}", receipt.notes);
            let restore = host.look().unwrap();
            let receipt = host.bench.run(&restore.to_bytes(), By::Standing, &host.standing, &Timestamp::now);
            assert_eq!((receipt.outcome, host.served()), (Outcome::Restored, old), "{:?}", receipt.notes);
            continue;
        }
        let new = host.served();
        match receipt.outcome {
            Outcome::Restored => assert_ne!(new, old, "{}", call.as_str()),
            Outcome::Undone | Outcome::Refused => assert_eq!(new, old, "{}: {:?}", call.as_str(), receipt.notes),
            // It could not be taken back while the host failed: said so, and 444 serves.
            Outcome::Failed => {}
            Outcome::Superseded => panic!("{}: nobody else was here: {:?}", call.as_str(), receipt.notes),
        }
    }
}
