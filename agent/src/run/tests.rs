//! Lives of runs: a model host, every crash point, every failure.

use policy::admit::Rule;
use policy::id::{Sha256, Thumbprint};
use policy::plan::{Der, Difference, Purpose, Shown, Values};
use policy::report::{Binding, Fact, KeyLink, RecordKind, SslRecord, Store};
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn record() -> SslRecord {
    SslRecord {
        kind: RecordKind::Address,
        endpoint: "0.0.0.0:444".to_owned(),
        thumbprint: None,
        store: None,
        app_id: Fact::not_observed(),
        parameters: Fact::not_observed(),
    }
}

fn plan(purpose: Purpose, steps: Vec<Step>) -> Plan {
    Plan {
        estate: "lab".parse().expect("a name"),
        host: "EX1".parse().expect("a name"),
        machine_id: "m".to_owned(),
        purpose,
        attempt: 1,
        values: Values { key_bits: 2048, months: 60 },
        expects: Vec::new(),
        steps,
    }
}

fn renewal() -> Plan {
    let container = "c".to_owned();
    plan(
        Purpose::Renew,
        vec![
            Step::CreateKey { container: container.clone(), bits: 2048 },
            Step::GrantKey { container: container.clone(), access: Vec::new() },
            Step::Mint { container: container.clone(), netbios: "EX1".to_owned(), fqdn: "ex1.lab".to_owned(), months: 60 },
            Step::TrustCopy { container: container.clone() },
            Step::DryHandshake { container: container.clone() },
            Step::Swap { from: record(), container: container.clone() },
            Step::Probe { port: 444, shows: Shown::OfContainer(container) },
            Step::Compare,
        ],
    )
}

const SWAP: usize = 5;

fn undelete() -> Plan {
    let key = KeyLink { container: "c".to_owned(), provider: String::new(), provider_type: 12, flags: 0x20, key_spec: 1 };
    let shows = Shown::Certificate(Sha256::of(b"x"));
    plan(
        Purpose::Undelete,
        vec![
            Step::AddCertificate { der: Der(vec![1]), store: Store::My, key, friendly_name: None },
            Step::WriteRecord { record: record() },
            Step::Probe { port: 444, shows },
            Step::Compare,
        ],
    )
}

/// Plans of every shape, each with whether the state before it is one to which nobody may go back: a dangling record.
fn shapes() -> Vec<(Plan, bool)> {
    let change = || Step::ChangeRecord { from: record(), to: record() };
    let probe = |port| Step::Probe { port, shows: Shown::Certificate(Sha256::of(b"x")) };
    let swap_for_bind = |step: Step| {
        if let Step::Swap { from, container } = step { Step::Bind { record: from, container } } else { step }
    };
    let binding = |information: &str| Binding { protocol: "https".to_owned(), information: information.to_owned(), ssl_flags: 0 };
    let rebind = Step::ChangeBinding { site: "Exchange Back End".to_owned(), from: None, to: binding("*:444:") };
    let unarchive = Step::Unarchive { thumbprint: Thumbprint::of(b"x"), store: Store::My };
    let remove = || Step::RemoveRecord { record: record() };
    vec![
        (renewal(), false),
        (undelete(), false),
        (Plan { purpose: Purpose::Create, ..renewal() }, true),
        (plan(Purpose::Create, renewal().steps.into_iter().map(swap_for_bind).collect()), false),
        (plan(Purpose::BindCandidate, vec![change(), probe(444), Step::Compare]), true),
        (plan(Purpose::BindCandidate, vec![Step::WriteRecord { record: record() }, probe(444), Step::Compare]), false),
        (plan(Purpose::FixStore, vec![change(), probe(444), Step::Compare]), true),
        (plan(Purpose::Unarchive, vec![unarchive, probe(444), Step::Compare]), false),
        (
            plan(
                Purpose::GiveBackFrontEnd,
                vec![change(), Step::WriteRecord { record: record() }, change(), probe(443), Step::Compare],
            ),
            false,
        ),
        (plan(Purpose::RemoveExtraRecord, vec![remove(), remove(), probe(444), Step::Compare]), false),
        (plan(Purpose::FixBinding, vec![rebind, probe(444), Step::Compare]), false),
    ]
}

/// What a step that commits has made of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Old,
    New,
    Nothing,
}

/// A host that does what it is told, may fail at one call, and remembers what each step has made of its object.
#[derive(Debug, Clone)]
struct Host {
    steps: Vec<Step>,
    seen: Vec<Seen>,
    /// The call, counted over all calls that write, that fails.
    fails_at: Option<usize>,
    /// A failing change of a record leaves it gone.
    leaves_half: bool,
    /// The old record may not be written again.
    dangling: bool,
    probe_holds: bool,
    admits: bool,
    writes: usize,
}

impl Host {
    fn new(plan: &Plan) -> Self {
        Self {
            steps: plan.steps.clone(),
            seen: vec![Seen::Old; plan.steps.len()],
            fails_at: None,
            leaves_half: false,
            dangling: false,
            probe_holds: true,
            admits: true,
            writes: 0,
        }
    }

    fn fails(&mut self) -> bool {
        self.writes += 1;
        self.fails_at == Some(self.writes)
    }

    fn has_gap(step: &Step) -> bool {
        matches!(step, Step::Swap { .. } | Step::ChangeRecord { .. })
    }

    /// What others see of the host, for each step that commits.
    fn committed(&self) -> Vec<Seen> {
        let commits = |step: &Step| {
            !matches!(
                step,
                Step::AddCertificate { .. }
                    | Step::CreateKey { .. }
                    | Step::GrantKey { .. }
                    | Step::Mint { .. }
                    | Step::TrustCopy { .. }
                    | Step::DryHandshake { .. }
                    | Step::Probe { .. }
                    | Step::Compare
            )
        };
        self.steps.iter().zip(&self.seen).filter(|(step, _)| commits(step)).map(|(_, seen)| *seen).collect()
    }

    fn all(&self, wanted: Seen) -> bool {
        self.committed().iter().all(|seen| *seen == wanted)
    }

    fn check(&self, at: usize, step: &Step) -> State {
        match step {
            Step::Probe { .. } if self.probe_holds => State::Done,
            Step::Probe { port, .. } => State::Blocked(Difference::new(port.to_string(), "new", "old")),
            Step::DryHandshake { .. } | Step::Compare => State::Done,
            Step::Swap { .. }
            | Step::ChangeRecord { .. }
            | Step::Bind { .. }
            | Step::Unarchive { .. }
            | Step::RemoveRecord { .. }
            | Step::ChangeBinding { .. }
            | Step::AddCertificate { .. }
            | Step::WriteRecord { .. }
            | Step::CreateKey { .. }
            | Step::GrantKey { .. }
            | Step::Mint { .. }
            | Step::TrustCopy { .. } => match self.seen[at] {
                Seen::Old => State::Ready,
                Seen::New => State::Done,
                Seen::Nothing => State::Half,
            },
        }
    }

    fn apply(&mut self, at: usize, step: &Step) -> Result<Duration, String> {
        if self.fails() {
            if Self::has_gap(step) && self.leaves_half {
                self.seen[at] = Seen::Nothing;
            }
            return Err("the host refuses".to_owned());
        }
        self.seen[at] = Seen::New;
        Ok(Duration::from_micros(if Self::has_gap(step) { 300 } else { 0 }))
    }

    fn undo(&mut self, at: usize, step: &Step) -> Result<(), String> {
        if self.dangling && Self::has_gap(step) {
            return Err("the outgoing certificate is no longer there".to_owned());
        }
        if self.fails() {
            return Err("the host refuses".to_owned());
        }
        self.seen[at] = Seen::Old;
        Ok(())
    }

    /// Admission finds what the plan expects only as long as nothing is committed.
    fn admitted(&self) -> Result<(), String> {
        if !self.all(Seen::Old) {
            return Err(Rule::Expectation.sentence().to_owned());
        }
        if self.admits { Ok(()) } else { Err(Rule::Deadline.sentence().to_owned()) }
    }
}

/// Does one thing that the run asks for. `None` when it is over.
fn step(run: &mut Run, host: &mut Host, journal: &mut Vec<Note>) -> Option<Outcome> {
    let plan = run.plan().clone();
    let event = match run.next() {
        Next::Note(note) => {
            journal.push(note);
            Event::Noted(Ok(()))
        }
        Next::Check(at) => Event::Checked(Ok(host.check(at, &plan.steps[at]))),
        Next::Apply(at) => Event::Applied(host.apply(at, &plan.steps[at])),
        Next::Undo(at) => Event::Undone(host.undo(at, &plan.steps[at])),
        Next::Readmit => Event::Readmitted(host.admitted()),
        Next::Wait(_) => Event::Waited,
        Next::Finish(outcome) => return Some(outcome),
    };
    run.handle(event, NOW);
    None
}

/// Runs to the end, which must come within a bound.
fn finish(run: &mut Run, host: &mut Host, journal: &mut Vec<Note>) -> Outcome {
    (0..500).find_map(|_| step(run, host, journal)).expect("every run ends within 500 moves")
}

#[test]
fn a_renewal_notes_each_intention_before_the_deed_and_ends_with_the_new_certificate() {
    let mut host = Host::new(&renewal());
    let mut journal = Vec::new();
    assert_eq!(finish(&mut Run::begin(renewal()), &mut host, &mut journal), Outcome::Restored);
    assert!(host.all(Seen::New));
    let swap: Vec<_> = journal.iter().skip_while(|note| **note != Note::Intend(SWAP)).take(2).cloned().collect();
    assert_eq!(swap, [Note::Intend(SWAP), Note::Did(SWAP, 300)]);
    assert_eq!(journal.last(), Some(&Note::End(Outcome::Restored)));
}

#[test]
fn a_probe_that_does_not_show_the_new_certificate_takes_everything_back() {
    let mut host = Host { probe_holds: false, ..Host::new(&renewal()) };
    let mut journal = Vec::new();
    assert_eq!(finish(&mut Run::begin(renewal()), &mut host, &mut journal), Outcome::Undone);
    assert!(host.all(Seen::Old));
    let undone: Vec<_> = journal.iter().filter(|note| matches!(note, Note::Undoing(_))).cloned().collect();
    assert_eq!(undone, [Note::Undoing(5), Note::Undoing(3), Note::Undoing(2)], "swap, trust copy and certificate; keys stay");
}

#[test]
fn a_note_of_a_step_that_the_plan_does_not_have_is_not_believed() {
    for note in [Note::Intend(8), Note::Did(8, 0), Note::Turn(8, String::new()), Note::Undoing(usize::MAX)] {
        assert!(Run::resume(renewal(), &[note]).is_none());
    }
}

#[test]
fn a_restore_takes_nothing_back() {
    let mut host = Host { probe_holds: false, ..Host::new(&undelete()) };
    let mut journal = Vec::new();
    assert_eq!(finish(&mut Run::begin(undelete()), &mut host, &mut journal), Outcome::Failed);
    assert_eq!(host.seen[..2], [Seen::New; 2], "what was put back stays");
    assert!(!journal.iter().any(|note| matches!(note, Note::Undoing(_))));
}

#[test]
fn a_swap_that_somebody_else_overtook_writes_nothing_more() {
    let mut run = Run::begin(renewal());
    let mut host = Host::new(&renewal());
    while run.next() != Next::Check(SWAP) {
        step(&mut run, &mut host, &mut Vec::new());
    }
    let writes = host.writes;
    run.handle(Event::Checked(Ok(State::Blocked(Difference::new("record", "ours", "another")))), NOW);
    assert_eq!(finish(&mut run, &mut host, &mut Vec::new()), Outcome::Superseded);
    assert_eq!(host.writes, writes);
}

/// A swap whose call hangs is done late, or never; meanwhile the host cannot say how far it came.
#[test]
fn a_swap_that_hangs_is_judged_when_the_host_can_say_what_became_of_it() {
    for (seen, outcome) in [(Seen::New, Outcome::Restored), (Seen::Old, Outcome::Undone), (Seen::Nothing, Outcome::Restored)] {
        let (mut run, mut host, mut journal) = (Run::begin(renewal()), Host::new(&renewal()), Vec::new());
        while run.next() != Next::Apply(SWAP) {
            step(&mut run, &mut host, &mut journal);
        }
        run.handle(Event::Applied(Err("no answer in time".to_owned())), NOW);
        for _ in 0..3 {
            assert_eq!(run.next(), Next::Check(SWAP));
            run.handle(Event::Checked(Err("an earlier call has not come back".to_owned())), NOW);
            assert!(matches!(run.next(), Next::Wait(_)), "{:?}", run.next());
            run.handle(Event::Waited, NOW);
        }
        host.seen[SWAP] = seen;
        assert_eq!(finish(&mut run, &mut host, &mut journal), outcome, "{seen:?}");
        assert!(host.all(if outcome == Outcome::Restored { Seen::New } else { Seen::Old }), "{seen:?}: {:?}", host.seen);
    }
}

#[test]
fn a_run_called_off_turns_back_before_the_swap_and_goes_on_after_it() {
    let mut before = Run::begin(renewal());
    let mut host = Host::new(&renewal());
    before.cancel();
    assert_eq!(finish(&mut before, &mut host, &mut Vec::new()), Outcome::Undone);
    assert!(host.all(Seen::Old));

    let mut after = Run::begin(renewal());
    let mut host = Host::new(&renewal());
    while !host.all(Seen::New) {
        step(&mut after, &mut host, &mut Vec::new());
    }
    after.cancel();
    assert_eq!(finish(&mut after, &mut host, &mut Vec::new()), Outcome::Restored);
}

#[test]
fn a_deadline_that_passed_while_the_agent_was_down_undoes_only_what_committed_nothing() {
    for (plan, dangling) in shapes() {
        for stop_after in 1..40 {
            let mut run = Run::begin(plan.clone());
            let mut host = Host { dangling, ..Host::new(&plan) };
            let mut journal = Vec::new();
            for _ in 0..stop_after {
                step(&mut run, &mut host, &mut journal);
            }
            let committed = !host.all(Seen::Old);
            host.admits = false;
            let mut run = Run::resume(plan.clone(), &journal).expect("the journal is of this plan");
            let outcome = finish(&mut run, &mut host, &mut journal);
            let context = format!("{:?} stopped after {stop_after}", plan.purpose);
            if committed || plan.purpose.restores() {
                assert!(host.all(Seen::New) || journal.len() == 1, "{context}: {outcome:?}");
            } else {
                assert!(outcome != Outcome::Restored && host.all(Seen::Old), "{context}: {outcome:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_proven_is_taken_back_but_never_into_a_dangling_record() {
    for (plan, dangling) in shapes() {
        let mut host = Host { probe_holds: false, dangling, ..Host::new(&plan) };
        let outcome = finish(&mut Run::begin(plan.clone()), &mut host, &mut Vec::new());
        let stays = dangling || plan.purpose.restores();
        let wanted = if stays { (Outcome::Failed, true) } else { (Outcome::Undone, false) };
        assert_eq!((outcome, host.all(Seen::New)), wanted, "{:?}", plan.purpose);
        assert!(stays || host.all(Seen::Old), "{:?}", plan.purpose);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Killed anywhere, any number of times, with any one call of the host failing: every port ends with its old or its new
    /// record, the outcome says which, and the journal's last word is the same.
    #[test]
    fn whatever_is_killed_the_end_is_the_old_good_or_the_new_good(
        (plan, dangling) in proptest::sample::select(shapes()),
        kills in proptest::collection::vec(0usize..30, 0..6),
        fails_at in proptest::option::of(1usize..14),
        leaves_half in any::<bool>(),
        probe_holds in any::<bool>(),
        mid_change in any::<bool>(),
    ) {
        let mut host = Host { fails_at, leaves_half, probe_holds, dangling, ..Host::new(&plan) };
        let mut journal: Vec<Note> = Vec::new();
        let mut run = Run::begin(plan.clone());
        for kill in kills {
            for _ in 0..kill {
                if step(&mut run, &mut host, &mut journal).is_some() {
                    break;
                }
            }
            // Killed inside a change, where the system knows only delete and set.
            if mid_change && let Next::Apply(at) = run.next() && Host::has_gap(&plan.steps[at]) {
                host.seen[at] = Seen::Nothing;
            }
            run = Run::resume(plan.clone(), &journal).expect("the journal is of this plan");
        }
        let outcome = finish(&mut run, &mut host, &mut journal);
        let stays = dangling || plan.purpose.restores();
        match outcome {
            Outcome::Restored => prop_assert!(host.all(Seen::New), "{:?}", host.seen),
            Outcome::Undone => prop_assert!(host.all(Seen::Old), "{:?}", host.seen),
            Outcome::Failed => prop_assert!(
                fails_at.is_some() || (stays && !probe_holds),
                "only a failing host, or one that must not go back, makes a run fail"
            ),
            Outcome::Superseded | Outcome::Refused => prop_assert!(false, "nobody else was here"),
        }
        prop_assert!(!host.committed().contains(&Seen::Nothing), "a port was left with nothing");
        prop_assert_eq!(journal.last(), Some(&Note::End(outcome)));
        // Asked once more, an ended run only repeats its end.
        prop_assert_eq!(Run::resume(plan, &journal).expect("the journal is of this plan").next(), Next::Finish(outcome));
    }

    /// A plan whose proof holds is finished, wherever and however often it is killed.
    #[test]
    fn a_run_killed_anywhere_is_finished(
        (plan, dangling) in proptest::sample::select(shapes()),
        kills in proptest::collection::vec(0usize..15, 0..5),
    ) {
        let mut host = Host { dangling, ..Host::new(&plan) };
        let mut journal = Vec::new();
        let mut run = Run::begin(plan.clone());
        for kill in kills {
            for _ in 0..kill {
                if step(&mut run, &mut host, &mut journal).is_some() {
                    break;
                }
            }
            run = Run::resume(plan.clone(), &journal).expect("the journal is of this plan");
        }
        prop_assert_eq!(finish(&mut run, &mut host, &mut journal), Outcome::Restored);
        prop_assert!(host.all(Seen::New));
    }
}
