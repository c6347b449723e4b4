//! Lives of runs: a model host, every crash point, every failure.

use policy::admit::Rule;
use policy::id::Sha256;
use policy::plan::{Der, Difference, Purpose, Shown, Values};
use policy::report::{Fact, KeyLink, RecordKind, SslRecord, Store};
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    Old,
    New,
    Nothing,
}

/// A host that does what it is told, may fail at one call, and remembers what 444 would serve.
#[derive(Debug, Clone)]
struct Host {
    done: Vec<bool>,
    served: Served,
    /// The call, counted over all calls that write, that fails.
    fails_at: Option<usize>,
    /// A failing swap leaves the record gone.
    leaves_half: bool,
    probe_holds: bool,
    admits: bool,
    writes: usize,
}

impl Host {
    fn new(plan: &Plan) -> Self {
        let served = if plan.purpose.restores() { Served::Nothing } else { Served::Old };
        Self {
            done: vec![false; plan.steps.len()],
            served,
            fails_at: None,
            leaves_half: false,
            probe_holds: true,
            admits: true,
            writes: 0,
        }
    }

    fn fails(&mut self) -> bool {
        self.writes += 1;
        self.fails_at == Some(self.writes)
    }

    fn check(&self, at: usize, step: &Step) -> State {
        match step {
            Step::Swap { .. } => match self.served {
                Served::Old => State::Ready,
                Served::New => State::Done,
                Served::Nothing => State::Half,
            },
            Step::Probe { .. } if self.probe_holds => State::Done,
            Step::Probe { .. } => State::Blocked(Difference::new("444", "new", "old")),
            Step::DryHandshake { .. } | Step::Compare => State::Done,
            Step::AddCertificate { .. }
            | Step::WriteRecord { .. }
            | Step::CreateKey { .. }
            | Step::GrantKey { .. }
            | Step::Mint { .. }
            | Step::TrustCopy { .. } => {
                if self.done[at] {
                    State::Done
                } else {
                    State::Ready
                }
            }
        }
    }

    fn apply(&mut self, at: usize, step: &Step) -> Result<Duration, String> {
        let swap = matches!(step, Step::Swap { .. });
        if self.fails() {
            if swap && self.leaves_half {
                self.served = Served::Nothing;
            }
            return Err("the host refuses".to_owned());
        }
        self.done[at] = true;
        if swap || matches!(step, Step::WriteRecord { .. }) {
            self.served = Served::New;
        }
        Ok(Duration::from_micros(if swap { 300 } else { 0 }))
    }

    fn undo(&mut self, at: usize, step: &Step) -> Result<(), String> {
        if self.fails() {
            return Err("the host refuses".to_owned());
        }
        self.done[at] = false;
        if matches!(step, Step::Swap { .. }) {
            self.served = Served::Old;
        }
        Ok(())
    }

    fn admitted(&self) -> Result<(), String> {
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
    assert_eq!(host.served, Served::New);
    let swap: Vec<_> = journal.iter().skip_while(|note| **note != Note::Intend(SWAP)).take(2).cloned().collect();
    assert_eq!(swap, [Note::Intend(SWAP), Note::Did(SWAP, 300)]);
    assert_eq!(journal.last(), Some(&Note::End(Outcome::Restored)));
}

#[test]
fn a_probe_that_does_not_show_the_new_certificate_takes_everything_back() {
    let mut host = Host { probe_holds: false, ..Host::new(&renewal()) };
    let mut journal = Vec::new();
    assert_eq!(finish(&mut Run::begin(renewal()), &mut host, &mut journal), Outcome::Undone);
    assert_eq!(host.served, Served::Old);
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
    assert!(host.done[0] && host.done[1], "what was put back stays");
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

#[test]
fn a_run_called_off_turns_back_before_the_swap_and_goes_on_after_it() {
    let mut before = Run::begin(renewal());
    let mut host = Host::new(&renewal());
    before.cancel();
    assert_eq!(finish(&mut before, &mut host, &mut Vec::new()), Outcome::Undone);
    assert_eq!(host.served, Served::Old);

    let mut after = Run::begin(renewal());
    let mut host = Host::new(&renewal());
    while host.served != Served::New {
        step(&mut after, &mut host, &mut Vec::new());
    }
    after.cancel();
    assert_eq!(finish(&mut after, &mut host, &mut Vec::new()), Outcome::Restored);
}

#[test]
fn a_deadline_that_passed_while_the_agent_was_down_undoes_before_the_swap_only() {
    for stop_after in 1..40 {
        let mut run = Run::begin(renewal());
        let mut host = Host::new(&renewal());
        let mut journal = Vec::new();
        for _ in 0..stop_after {
            step(&mut run, &mut host, &mut journal);
        }
        let served = host.served;
        host.admits = false;
        let outcome =
            finish(&mut Run::resume(renewal(), &journal).expect("the journal is of this plan"), &mut host, &mut journal);
        match served {
            Served::Old => assert_eq!((outcome, host.served), (Outcome::Undone, Served::Old), "stopped after {stop_after}"),
            Served::New => assert_eq!((outcome, host.served), (Outcome::Restored, Served::New), "stopped after {stop_after}"),
            Served::Nothing => unreachable!("a swap of the model is never half without a failure"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Killed anywhere, any number of times, with any one call of the host failing: 444 ends with the old or the new
    /// certificate, the outcome says which, and the journal's last word is the same.
    #[test]
    fn whatever_is_killed_the_end_is_the_old_good_or_the_new_good(
        kills in proptest::collection::vec(0usize..30, 0..6),
        fails_at in proptest::option::of(1usize..14),
        leaves_half in any::<bool>(),
        probe_holds in any::<bool>(),
        mid_swap in any::<bool>(),
    ) {
        let mut host = Host { fails_at, leaves_half, probe_holds, ..Host::new(&renewal()) };
        let mut journal: Vec<Note> = Vec::new();
        let mut run = Run::begin(renewal());
        for kill in kills {
            for _ in 0..kill {
                if step(&mut run, &mut host, &mut journal).is_some() {
                    break;
                }
            }
            // Killed inside the swap, where the system knows only delete and set.
            if mid_swap && run.next() == Next::Apply(SWAP) {
                host.served = Served::Nothing;
            }
            run = Run::resume(renewal(), &journal).expect("the journal is of this plan");
        }
        let outcome = finish(&mut run, &mut host, &mut journal);
        match outcome {
            Outcome::Restored => prop_assert_eq!(host.served, Served::New),
            Outcome::Undone => prop_assert_eq!(host.served, Served::Old),
            Outcome::Failed => prop_assert!(fails_at.is_some(), "only a failing host makes a run fail"),
            Outcome::Superseded | Outcome::Refused => prop_assert!(false, "nobody else was here"),
        }
        prop_assert!(host.served != Served::Nothing, "444 was left with nothing");
        prop_assert_eq!(journal.last(), Some(&Note::End(outcome)));
        // Asked once more, an ended run only repeats its end.
        prop_assert_eq!(Run::resume(renewal(), &journal).expect("the journal is of this plan").next(), Next::Finish(outcome));
    }

    /// A restore that is killed anywhere is finished.
    #[test]
    fn a_restore_killed_anywhere_is_finished(kills in proptest::collection::vec(0usize..15, 0..5)) {
        let mut host = Host::new(&undelete());
        let mut journal = Vec::new();
        let mut run = Run::begin(undelete());
        for kill in kills {
            for _ in 0..kill {
                if step(&mut run, &mut host, &mut journal).is_some() {
                    break;
                }
            }
            run = Run::resume(undelete(), &journal).expect("the journal is of this plan");
        }
        prop_assert_eq!(finish(&mut run, &mut host, &mut journal), Outcome::Restored);
        prop_assert_eq!(host.served, Served::New);
    }
}
