//! Every state that the lab can stage, from outside: the verdict, the findings, what is done about it, and what a client sees
//! on the ports after that. Each is one test, named by the row of EXCHANGE.md 6.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is its way to say so")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent::work::{By, Look, Standing, Workbench};
use jiff::{Timestamp, ToSpan};
use policy::certificate::Certificate;
use policy::decide::{Decision, aside, decide};
use policy::document::Policy;
use policy::evaluate::evaluate;
use policy::plan::{Plan, Purpose};
use policy::receipt::{Outcome, Receipt};
use policy::report::FRONT_END_PORT;
use policy::trust::{Approval, Class, KeyKind, Kind, PersonKey, PersonKeys, PersonRole, Root, TrustDocument};
use proto::signed::{SignedBytes, SigningKey};
use tempfile::TempDir;
use tests::lab::{Answer, Call, Damage, Estate, Fault, Mode, Running, SCENARIOS, Server, scenario};
use tests::outside;

const POLICY: &str = "estate = \"lab\"\nversion = 1\nmode = \"act\"\n[quiet]\nrecord_missing = \"0s\"\ndangling = \"0s\"\n";

/// One server, watched by an agent in mode act, and the person who approves for it.
struct Host {
    server: Server,
    bench: Workbench,
    standing: Standing,
    anna: SigningKey,
    _running: Running,
    _folder: TempDir,
}

/// A moment ahead: what was made in this second is then valid.
fn soon() -> Timestamp {
    Timestamp::now() + 2.seconds()
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let estate = Estate::with(&folder.path().join("lab"), &[("EX1", Some("DAG1"))]).unwrap();
        let running = estate.up().unwrap();
        let server = estate.server("EX1").unwrap();
        let bench = Workbench::open(&folder.path().join("agent"), Arc::new(server.driver())).unwrap();
        let (anna, root) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let key = PersonKey { key: anna.id(), kind: KeyKind::File, until: Timestamp::now() + (24 * 365).hours() };
        let person = PersonKeys { roles: BTreeSet::from([PersonRole::Approver]), keys: vec![key] };
        let trust = TrustDocument {
            estate: "lab".parse().unwrap(),
            version: 1,
            root: Root { threshold: 1, keys: BTreeSet::from([root.id()]) },
            persons: BTreeMap::from([("anna".parse().unwrap(), person)]),
            need: BTreeMap::from([(Class::Renew, 1), (Class::Create, 1), (Class::FrontEnd, 1)]),
            browser: BTreeSet::new(),
            ca: BTreeSet::new(),
        };
        let policy = Policy::from_toml(POLICY.as_bytes()).unwrap();
        let standing = Standing { policy, trust, policy_confirmed: Some(Timestamp::now()), clock_doubt: None };
        let mut host = Self { server, bench, standing, anna, _running: running, _folder: folder };
        host.look_at(Timestamp::now());
        host
    }

    fn look(&mut self) -> Look {
        self.look_at(soon())
    }

    fn look_at(&mut self, now: Timestamp) -> Look {
        self.bench.look(&self.standing.policy, now).unwrap()
    }

    fn decision(&mut self) -> Decision {
        let look = self.look();
        decide(&self.standing.policy, &look.sight, &look.last, soon())
    }

    fn beside(&mut self) -> BTreeMap<Purpose, Decision> {
        let look = self.look();
        let found = aside(&self.standing.policy, &look.sight, &look.last, soon());
        found.into_iter().map(|found| (found.purpose, found.decision)).collect()
    }

    fn run(&mut self, plan: &Plan, by_itself: bool) {
        let receipt = self.receipt(plan, by_itself);
        assert_eq!(receipt.outcome, Outcome::Restored, "{:?}", receipt.notes);
        assert_eq!(receipt.foreign, Vec::<String>::new(), "something else changed too");
    }

    fn receipt(&mut self, plan: &Plan, by_itself: bool) -> Receipt {
        let approval = Approval {
            estate: plan.estate.clone(),
            plans: BTreeSet::from([plan.id()]),
            person: "anna".parse().unwrap(),
            requester: None,
            reason: "it is broken".to_owned(),
            change: Some("CHG-1".to_owned()),
            not_before: Timestamp::now() - 1.minute(),
            not_after: Timestamp::now() + 1.hour(),
        };
        let mut signed = SignedBytes::unsigned(approval.to_bytes());
        self.anna.sign(Kind::Approval, &mut signed).unwrap();
        let approvals = [signed];
        let by = if by_itself { By::Standing } else { By::Approvals(&approvals) };
        self.bench.run(&plan.to_bytes(), by, &self.standing, &soon)
    }

    /// What a client is shown on a port.
    fn shown(&self, port: u16) -> Certificate {
        Certificate::from_der(&outside::handshake(self.server.address(port).unwrap()).unwrap()).unwrap()
    }

    /// 444 shows, also after a restart, the certificate that its record names, which carries the server's names.
    fn serves(&self) {
        self.server.restart().unwrap();
        let shown = self.shown(444);
        assert_eq!(Some(shown.thumbprint()), self.server.back_end_certificate().unwrap().map(|found| found.thumbprint()));
        assert_eq!(shown.names(), ["EX1", "ex1.lab.test"]);
    }
}

fn stage(id: &str) {
    let wanted = scenario(id).unwrap();
    let mut host = Host::new();
    let healthy = [host.shown(443), host.shown(444)];
    for damage in wanted.damage {
        host.look_at(Timestamp::now());
        host.server.damage(damage).unwrap();
    }
    let before = host.server.snapshot().unwrap();
    let look = host.look();
    let found = evaluate(&host.standing.policy, &look.sight, &look.last, soon());
    assert_eq!(found.verdict, wanted.verdict, "{:?}", found.findings);
    for code in wanted.codes {
        assert!(found.has(*code), "{code} is not in {:?}", found.findings);
    }
    let decision = host.decision();
    assert_eq!(host.server.snapshot().unwrap(), before, "looking wrote something");
    match wanted.answer {
        Answer::Act(purpose) => {
            let Decision::Act { plan, .. } = &decision else { panic!("expected it repaired, found {}", decision.why()) };
            assert_eq!(plan.purpose, purpose);
            host.run(plan, true);
            host.serves();
            assert_eq!(host.shown(444), healthy[1], "what was there is back");
            assert!(matches!(host.decision(), Decision::LeaveAlone { .. }));
        }
        Answer::Propose(purpose) => {
            let Decision::Propose { plan, .. } = &decision else { panic!("expected a proposal, found {}", decision.why()) };
            assert_eq!(plan.purpose, purpose);
            host.run(plan, false);
            host.serves();
            assert!(matches!(host.decision(), Decision::LeaveAlone { .. }), "{}", host.decision().why());
        }
        Answer::Aside(purpose) => {
            assert!(matches!(decision, Decision::LeaveAlone { .. }), "{}", decision.why());
            let beside = host.beside();
            let Some(Decision::Propose { plan, .. }) = beside.get(&purpose) else { panic!("found {beside:?}") };
            host.run(plan, false);
            host.serves();
            assert!(!host.beside().contains_key(&purpose), "{:?}", host.beside());
            assert_eq!([host.shown(FRONT_END_PORT), host.shown(444)], healthy);
        }
        Answer::Report => {
            assert!(decision.plan().is_none(), "expected nothing to be done, found {}", decision.why());
            let beside = host.beside();
            let plans = beside.values().filter_map(Decision::plan).count();
            assert_eq!(plans, 0, "{beside:?}");
            assert_eq!(host.server.snapshot().unwrap(), before);
        }
    }
    host.server.heal().unwrap();
    assert_eq!(healthy, [host.shown(443), host.shown(444)], "a healed server is as it was");
}

/// The handshakes of the look before a plan, over each path one; those of its proof are as many, six times.
const LOOK: u32 = 2;
const PROOF: u32 = 12;

impl Host {
    /// A host on which these things happened one after the other, and the plan that is proposed for it.
    fn proposed(damages: &[Damage], purpose: Purpose) -> (Self, Plan) {
        let mut host = Self::new();
        for damage in damages {
            host.look_at(Timestamp::now());
            host.server.damage(damage).unwrap();
        }
        let plan = host.decision().plan().unwrap().clone();
        assert_eq!(plan.purpose, purpose);
        (host, plan)
    }
}

#[test]
fn a_new_record_that_cannot_be_proven_goes_again_unless_it_serves() {
    let lost = [Damage::DeleteKey, Damage::RemoveRecordAndCertificate];
    let lie = || Fault::new(Call::Dial, Mode::Lie).after(LOOK);
    let (mut host, plan) = Host::proposed(&lost, Purpose::Create);
    host.server.fault(lie()).unwrap();
    let receipt = host.receipt(&plan, false);
    assert_eq!(receipt.outcome, Outcome::Undone, "{:?}", receipt.notes);
    assert_eq!(host.server.back_end_record().unwrap(), None, "as it was before");

    let (mut host, plan) = Host::proposed(&lost, Purpose::Create);
    host.server.fault(lie().times(PROOF)).unwrap();
    let receipt = host.receipt(&plan, false);
    assert_eq!(receipt.outcome, Outcome::Failed, "{:?}", receipt.notes);
    host.serves();
}

#[test]
fn nothing_goes_back_into_a_dangling_record() {
    let lost = [Damage::DeleteKey, Damage::DeleteCertificate];
    let (mut host, plan) = Host::proposed(&lost, Purpose::Create);
    host.server.fault(Fault::new(Call::Dial, Mode::Lie).after(LOOK)).unwrap();
    let receipt = host.receipt(&plan, false);
    assert_eq!(receipt.outcome, Outcome::Failed, "{:?}", receipt.notes);
    assert!(receipt.notes.iter().any(|note| note.contains("no longer there")), "{:?}", receipt.notes);
    host.serves();
}

macro_rules! states {
    ($($name:ident)*) => {
        $(#[test] fn $name() { stage(stringify!($name)); })*

        #[test]
        fn no_state_is_left_out() {
            assert_eq!(SCENARIOS.iter().map(|scenario| scenario.id.to_lowercase()).collect::<Vec<_>>(), [$(stringify!($name)),*]);
        }
    };
}

states! {
    c1 c2 c3 c3b c5 c6 c7 c10a f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f10b f11 f14 f15 f16 f19 f21 f25 f26 f35 f38 f44 f46 g2 g3 g4 g7 g9 g10 g12
}
