//! The session against a model of a controller, over a line that loses, doubles and reorders.

use proptest::prelude::*;

use super::*;

/// One event of a line that does what it likes.
#[derive(Debug, Clone)]
enum Chaos {
    Look(u8),
    Settle(u8),
    Connect,
    Disconnect,
    ToController,
    ToAgent { index: prop::sample::Index, again: bool },
    Lose { index: prop::sample::Index },
    Wait(u8),
    Restart,
}

fn chaos() -> impl Strategy<Value = Chaos> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (0..6_u8).prop_map(Chaos::Look),
        1 => (100..110_u8).prop_map(Chaos::Settle),
        3 => Just(Chaos::Connect),
        1 => Just(Chaos::Disconnect),
        8 => Just(Chaos::ToController),
        8 => (index(), any::<bool>()).prop_map(|(index, again)| Chaos::ToAgent { index, again }),
        1 => index().prop_map(|index| Chaos::Lose { index }),
        2 => (1..40_u8).prop_map(Chaos::Wait),
        1 => Just(Chaos::Restart),
    ]
}

struct World {
    session: Session,
    now: Duration,
    connected: bool,
    up: Vec<ToController>,
    down: Vec<FromController>,
    /// What the agent has on disk.
    disk: Kept,
    ledger: BTreeMap<PlanId, Receipt>,
    settled: BTreeSet<PlanId>,
    /// What the controller has on disk.
    committed: BTreeMap<Generation, Sha256>,
    receipts: BTreeSet<PlanId>,
    /// What was said in this session and not answered.
    on_its_way: Option<Generation>,
    numbers: BTreeMap<Generation, Sha256>,
    seen: u8,
}

impl World {
    fn new() -> Self {
        Self {
            session: session(Kept::default(), Vec::new()),
            now: Duration::ZERO,
            connected: false,
            up: Vec::new(),
            down: Vec::new(),
            disk: Kept::default(),
            ledger: BTreeMap::new(),
            settled: BTreeSet::new(),
            committed: BTreeMap::new(),
            receipts: BTreeSet::new(),
            on_its_way: None,
            numbers: BTreeMap::new(),
            seen: 0,
        }
    }

    fn step(&mut self, chaos: Chaos) {
        match chaos {
            Chaos::Look(number) => {
                self.seen = number;
                let effects = self.session.looked(latest(number), self.now);
                self.perform(effects);
            }
            Chaos::Settle(number) => {
                let receipt = receipt(number, Outcome::Restored);
                if self.ledger.insert(receipt.plan, receipt.clone()).is_none() {
                    let effects = self.session.settled(receipt, self.now);
                    self.perform(effects);
                }
            }
            Chaos::Connect if self.connected => {}
            Chaos::Connect => {
                self.connected = true;
                let effects = self.session.connected(HOUR, self.now);
                self.perform(effects);
            }
            Chaos::Disconnect => self.disconnect(),
            Chaos::ToController if self.up.is_empty() => {}
            Chaos::ToController => {
                let message = self.up.remove(0);
                self.controller(message);
            }
            Chaos::ToAgent { .. } | Chaos::Lose { .. } if self.down.is_empty() => {}
            Chaos::ToAgent { index, again } => {
                let at = index.index(self.down.len());
                let message = if again { self.down[at].clone() } else { self.down.remove(at) };
                self.deliver(message);
            }
            Chaos::Lose { index } => {
                let at = index.index(self.down.len());
                self.down.remove(at);
            }
            Chaos::Wait(seconds) => {
                self.now += Duration::from_secs(u64::from(seconds));
                let effects = self.session.tick(self.now);
                self.perform(effects);
            }
            Chaos::Restart => {
                self.disconnect();
                let open = self.ledger.values().filter(|receipt| !self.settled.contains(&receipt.plan)).cloned().collect();
                self.session = session(self.disk.clone(), open);
                self.session.looked(latest(self.seen), self.now);
            }
        }
    }

    fn deliver(&mut self, message: FromController) {
        if let FromController::ReportAcknowledged { generation, .. } = &message {
            self.on_its_way.take_if(|sent| sent == generation);
        }
        let effects = self.session.received(message, self.now);
        self.perform(effects);
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.up.clear();
        self.down.clear();
        self.on_its_way = None;
        self.session.disconnected(0.5, self.now);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Keep(kept) => self.disk = kept,
                Effect::Settle(plan) => {
                    assert!(self.receipts.contains(&plan), "acknowledged what the controller does not have");
                    assert!(self.settled.insert(plan), "acknowledged twice");
                }
                Effect::Reconnect(_) => return self.disconnect(),
                Effect::Send(message) => {
                    assert!(self.connected);
                    if let ToController::Report { generation, latest } = &message {
                        assert_eq!(self.on_its_way.replace(*generation), None, "two reports on their way");
                        let before = self.numbers.insert(*generation, latest.digest);
                        assert!(before.is_none(), "a number was used twice");
                        assert_eq!(self.disk.generation, *generation, "a number that was not kept was used");
                    }
                    self.up.push(message);
                }
                Effect::Run(_)
                | Effect::Cancel(_)
                | Effect::Judge(_)
                | Effect::Confirm { .. }
                | Effect::Recall
                | Effect::LookBeside(_) => {}
            }
        }
        if let Some(Acknowledged { generation, digest }) = self.session.kept.acknowledged {
            assert_eq!(self.committed.get(&generation), Some(&digest), "believes that something is on disk which is not");
        }
    }

    fn controller(&mut self, message: ToController) {
        match message {
            ToController::Hello(_) => {
                let newest = self.committed.last_key_value();
                self.down
                    .push(welcome(newest.map(|(generation, digest)| Acknowledged { generation: *generation, digest: *digest })));
            }
            ToController::Report { generation, latest } => {
                self.committed.insert(generation, latest.digest);
                self.down.push(acknowledge(generation));
            }
            ToController::Receipt(receipt) => {
                self.receipts.insert(receipt.plan);
                self.down.push(FromController::ReceiptAcknowledged(receipt.plan));
            }
            ToController::Certificates(_)
            | ToController::Heartbeat(_)
            | ToController::Running(_)
            | ToController::Busy { .. }
            | ToController::Held(_)
            | ToController::Checkup(_)
            | ToController::Remembered(_)
            | ToController::PeerSeen(_) => {}
        }
    }

    /// The line behaves from here on: everything must arrive.
    fn settle_down(&mut self) {
        for _ in 0..1000 {
            if !self.connected {
                self.step(Chaos::Connect);
            } else if !self.up.is_empty() {
                self.step(Chaos::ToController);
            } else if !self.down.is_empty() {
                let message = self.down.remove(0);
                self.deliver(message);
            } else if self.settled.len() < self.ledger.len()
                || self.committed.last_key_value().is_none_or(|(_, known)| *known != latest(self.seen).digest)
            {
                self.step(Chaos::Wait(31));
            } else {
                return;
            }
        }
        panic!("the session did not come to rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_line_does_nothing_is_believed_wrongly_and_everything_arrives(events in prop::collection::vec(chaos(), 1..120)) {
        let mut world = World::new();
        world.step(Chaos::Look(0));
        for event in events {
            world.step(event);
        }
        world.settle_down();
        prop_assert_eq!(world.receipts.len(), world.ledger.len());
    }
}
