//! One life: an estate of a few servers, from its first minute through whatever happens to a long calm.

mod happenings;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use agent::session::{FromController, ToController};
use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use policy::id::{PlanId, ServerName, Sha256};
use policy::life::Life;
use policy::plan::Plan;
use policy::report::Setup;

use super::agent::{Agent, News, digest};
use super::bugs::Bug;
use super::chance::Chance;
use super::controller::Controller;
use super::host::{BACK_END, Host};
use super::mind::stage;
use super::people::People;
use super::promises::{Broken, Meant, Watch, learned, liveness, one_at_a_time};
use super::words::{heard, said};

/// Steps of the eventful part of a life.
const STEPS: u32 = 500;

/// Rounds of calm after it, half a minute each: more than any quiet time, soak and pause.
const CALM: u32 = 150;

/// When a life begins.
const BEGIN: &str = "2026-11-22T10:00:00Z";

/// How a life went.
#[derive(Debug)]
pub struct Lived {
    /// The promise that was broken, if one was.
    pub broken: Option<Broken>,
    /// Steps until then, or all.
    pub steps: u32,
    /// Plans that began.
    pub runs: usize,
    /// What happened, line by line, when it was asked for.
    pub trace: Vec<String>,
}

#[derive(Default)]
struct Link {
    up: VecDeque<ToController>,
    down: VecDeque<FromController>,
}

struct World {
    chance: Chance,
    now: Timestamp,
    people: People,
    meant: BTreeMap<Sha256, Meant>,
    agents: Vec<Agent>,
    links: Vec<Link>,
    watches: Vec<Watch>,
    controller: Controller,
    /// Plans that the thief offers: who has approvals that hold chooses when (no promise of P8).
    by_thief: Vec<PlanId>,
    stops: u64,
    calm: bool,
    steps: u32,
    trace: Option<Vec<String>>,
}

/// Lives one life in this folder, which should lie in memory.
///
/// # Errors
/// When the folder cannot be used, or a core says what it must not.
pub fn live(seed: u64, bug: Option<Bug>, folder: &Path, told: bool) -> Result<Lived> {
    let mut world = World::new(seed, bug, folder, told)?;
    let broken = world.live().context("in this life")?.err();
    let runs = world.watches.iter().map(|watch| watch.ended().len()).sum();
    if let Some(Broken { promise, how }) = &broken {
        world.tell("BROKEN", || format!("{promise}: {how}"));
    }
    for agent in &mut world.agents {
        agent.kill();
    }
    Ok(Lived { broken, steps: world.steps, runs, trace: world.trace.unwrap_or_default() })
}

type Judged = Result<(), Broken>;

impl World {
    fn new(seed: u64, bug: Option<Bug>, folder: &Path, told: bool) -> Result<Self> {
        let mut chance = Chance::new(seed);
        let (now, people) = (stage::at(BEGIN), People::new()?);
        let mut agents = Vec::new();
        let in_dag = 1 + chance.below(3);
        for number in 1..=2 + chance.below(3) {
            let ends = ["2029-03-01T08:00:00Z", "2026-12-10T00:00:00Z", "2026-11-24T00:00:00Z", "2026-11-01T00:00:00Z"];
            let ends = chance.one(&ends).copied().unwrap_or(BEGIN);
            let name = format!("EX{number}");
            let dag = (number <= in_dag).then_some("DAG1");
            let host = Arc::new(Host::new(&name, dag, stage::at(ends), chance.once_in(2), now, bug));
            agents.push(Agent::new(&name, host, folder, &people, bug)?);
        }
        let names: Vec<ServerName> = agents.iter().map(|agent| agent.name.clone()).collect();
        let controller = Controller::new(&people, &names, now, bug);
        let links = agents.iter().map(|_| Link::default()).collect();
        let watches = agents.iter().map(|_| Watch::default()).collect();
        let (by_thief, meant, trace) = (Vec::new(), BTreeMap::new(), told.then(Vec::new));
        let mut world = Self {
            chance,
            now,
            people,
            meant,
            agents,
            links,
            watches,
            controller,
            by_thief,
            stops: 0,
            calm: false,
            steps: 0,
            trace,
        };
        let mode = world.chance.one(&["act", "act", "act", "propose", "observe"]).copied().unwrap_or("act");
        world.policy(mode, false)?;
        Ok(world)
    }

    fn tell(&mut self, who: &str, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:4} {} {who:10} {}", self.steps, self.now.strftime("%m-%d %H:%M:%S"), what()));
        }
    }

    fn live(&mut self) -> Result<Judged> {
        // The estate was in order once: hosts were seen, and their good states remembered.
        for _ in 0..4 {
            let judged = self.calm_round()?;
            if judged.is_err() {
                return Ok(judged);
            }
        }
        for _ in 0..STEPS {
            self.steps += 1;
            let who = usize::try_from(self.chance.below(u64::try_from(self.agents.len())?))?;
            let judged = self.step(who)?;
            if judged.is_err() {
                return Ok(judged);
            }
        }
        self.calm_down()?;
        for round in 1..=CALM {
            self.steps += 1;
            let judged = self.calm_round()?;
            // All serve, and whatever must be true in the end is: it stays so, for nobody does anything any more.
            if judged.is_err() || (round % 10 == 0 && self.all_serve() && self.in_the_end()?.is_ok()) {
                return Ok(judged);
            }
        }
        self.in_the_end()
    }

    /// Something happens, mostly to this server.
    fn step(&mut self, who: usize) -> Result<Judged> {
        let millis = self.chance.below(400);
        self.pass(SignedDuration::from_millis(i64::try_from(millis)?));
        match self.chance.below(1000) {
            0..480 => return self.turn(who),
            480..640 => return self.hear(who),
            640..800 => return Ok(self.deliver(who)),
            800..860 => self.look()?,
            860..900 => self.connect(who),
            900..930 => {
                let most = *self.chance.one(&[5, 60, 60, 600, 20_000]).unwrap_or(&5);
                let seconds = self.chance.below(most);
                self.pass(SignedDuration::from_secs(i64::try_from(seconds)?));
            }
            930..936 => self.lose_link(who),
            936..942 => self.kill(who),
            942..952 => return self.wake(who),
            952..955 => self.crash_controller(),
            955..972 => self.people_act()?,
            972..984 => self.others_change(who),
            984..987 => self.others_fail(who),
            987..989 => self.clock_jumps(who),
            _ => return Ok(self.thief(who)),
        }
        Ok(Ok(()))
    }

    fn pass(&mut self, time: SignedDuration) {
        self.now = self.now.saturating_add(time).unwrap_or(self.now);
        for agent in &self.agents {
            let clock = agent.host.clock();
            agent.host.set_clock(clock.saturating_add(time).unwrap_or(clock));
        }
    }

    // --- agents ---

    fn turn(&mut self, who: usize) -> Result<Judged> {
        let Some(agent) = self.agents.get_mut(who) else { return Ok(Ok(())) };
        let news = agent.turn(self.now, &self.people)?;
        let in_half = agent.at_work() && !agent.host.picture().served.contains_key(BACK_END);
        let judged = self.take(who, news);
        // The worst moment: the old record is gone, and the new one not there yet.
        if judged.is_ok() && in_half && !self.calm && self.chance.once_in(4) {
            self.kill(who);
        }
        Ok(judged)
    }

    fn wake(&mut self, who: usize) -> Result<Judged> {
        let Some(agent) = self.agents.get_mut(who) else { return Ok(Ok(())) };
        if agent.is_awake() {
            return Ok(Ok(()));
        }
        let news = agent.start(self.now)?;
        Ok(self.take(who, news))
    }

    fn kill(&mut self, who: usize) {
        self.tell(&format!("EX{}", who + 1), || "is killed".to_owned());
        self.drop_link(who);
        if let Some(agent) = self.agents.get_mut(who) {
            agent.kill();
        }
    }

    /// Takes in what an agent did, and judges it.
    fn take(&mut self, who: usize, news: Vec<News>) -> Judged {
        let Some(host) = self.agents.get(who).map(|agent| agent.host.clone()) else { return Ok(()) };
        let name = format!("EX{}", who + 1);
        let mut ends = Vec::new();
        for one in news {
            match one {
                News::Said(message) => {
                    if self.agents.get(who).is_some_and(|agent| agent.connected)
                        && let Some(link) = self.links.get_mut(who)
                    {
                        link.up.push_back(message);
                    }
                }
                News::Note(text) => self.tell(&name, || text),
                News::Hangs => self.drop_link(who),
                News::Began(began) => {
                    let plan = began.plan.clone();
                    self.tell(&name, || format!("BEGINS {} {}", plan.purpose.as_str(), plan.id().short()));
                    if !self.by_thief.contains(&plan.id()) {
                        self.alone_in_its_group(who, &plan)?;
                    }
                    if let Some(watch) = self.watches.get_mut(who) {
                        watch.begins(*began, &host, &self.people, &self.meant)?;
                    }
                }
                News::Ended(receipt) => ends.push(receipt),
            }
        }
        for write in host.writes() {
            self.tell(&name, || format!("does {}{}", if write.back { "back " } else { "" }, write.step.name()));
            if let Some(watch) = self.watches.get(who) {
                watch.writes(&write, &host)?;
            }
        }
        for receipt in ends {
            self.tell(&name, || {
                format!("ENDS {} as {}: {}", receipt.plan.short(), receipt.outcome.as_str(), receipt.notes.join("; "))
            });
            if let Some(watch) = self.watches.get_mut(who) {
                watch.ends(&receipt, &host)?;
            }
        }
        Ok(())
    }

    fn alone_in_its_group(&self, who: usize, plan: &Plan) -> Judged {
        let dag = |index: usize| self.agents.get(index).and_then(|agent| agent.host.dag());
        // Without a DAG the AD site is the group, and here they share one.
        let others = self.watches.iter().enumerate().filter(|(other, _)| *other != who && dag(*other) == dag(who));
        let names: Vec<String> = (1..=self.agents.len()).map(|number| format!("EX{number}")).collect();
        let at_work: Vec<(&str, &Plan)> = others
            .filter_map(|(other, watch)| Some((names.get(other)?.as_str(), watch.at_work()?)))
            .filter(|(_, plan)| !self.by_thief.contains(&plan.id()))
            .collect();
        one_at_a_time(plan, &at_work)
    }

    // --- the line ---

    fn connect(&mut self, who: usize) {
        let Some(agent) = self.agents.get_mut(who) else { return };
        if agent.connected || !agent.is_awake() || !self.controller.up {
            return;
        }
        if let Some(link) = self.links.get_mut(who) {
            *link = Link::default();
        }
        let news = agent.connects(self.now);
        // A hello changes no host.
        let _ = self.take(who, news);
    }

    fn drop_link(&mut self, who: usize) {
        let Some(agent) = self.agents.get_mut(who) else { return };
        if agent.connected {
            agent.disconnected(self.now);
            let name = agent.name.clone();
            if let Some(link) = self.links.get_mut(who) {
                *link = Link::default();
            }
            self.controller.lost(&name);
        }
    }

    fn lose_link(&mut self, who: usize) {
        self.tell(&format!("EX{}", who + 1), || "loses its link".to_owned());
        self.drop_link(who);
    }

    /// The controller hears the next message of this agent; sometimes twice, or the one after it first.
    fn hear(&mut self, who: usize) -> Result<Judged> {
        if !self.controller.up {
            return Ok(Ok(()));
        }
        let (twice, turned) = (!self.calm && self.chance.once_in(40), !self.calm && self.chance.once_in(60));
        let Some(link) = self.links.get_mut(who) else { return Ok(Ok(())) };
        let next = if turned && link.up.len() > 1 { link.up.remove(1) } else { link.up.pop_front() };
        let Some(message) = next else { return Ok(Ok(())) };
        for _ in 0..=u32::from(twice) {
            if let Some(heard) = said(message.clone()) {
                self.hears(who, heard);
            }
        }
        Ok(Ok(()))
    }

    fn hears(&mut self, who: usize, message: controller::session::Said) {
        let Some(name) = self.agents.get(who).map(|agent| agent.name.clone()) else { return };
        match self.controller.hear(&name, message, self.now) {
            Ok(says) => self.send(who, says),
            Err(error) => {
                self.tell("controller", || format!("ends the stream of {name}: {error:#}"));
                self.drop_link(who);
            }
        }
    }

    fn send(&mut self, who: usize, says: Vec<controller::session::Say>) {
        let now = self.now;
        if let Some(link) = self.links.get_mut(who) {
            link.down.extend(says.into_iter().map(|say| heard(say, now)));
        }
    }

    /// An agent hears the next message; sometimes twice.
    fn deliver(&mut self, who: usize) -> Judged {
        let twice = !self.calm && self.chance.once_in(40);
        let Some(message) = self.links.get_mut(who).and_then(|link| link.down.pop_front()) else { return Ok(()) };
        // An acknowledgement names what it is for only by the order of the stream, in which nothing is doubled.
        let twice = twice && !matches!(message, FromController::ReceiptAcknowledged(_));
        for _ in 0..=u32::from(twice) {
            self.receive(who, message.clone())?;
        }
        Ok(())
    }

    fn receive(&mut self, who: usize, message: FromController) -> Judged {
        let Some(agent) = self.agents.get_mut(who) else { return Ok(()) };
        let news = agent.received(message, self.now);
        self.take(who, news)
    }

    // --- the controller ---

    fn crash_controller(&mut self) {
        if self.controller.up {
            self.tell("controller", || "is killed".to_owned());
            for who in 0..self.agents.len() {
                self.drop_link(who);
            }
            self.controller.crash();
        } else {
            self.tell("controller", || "starts".to_owned());
            self.controller.start();
        }
    }

    /// Servers that are nudged, or whose time has come, are looked at; and sessions are told what follows.
    fn look(&mut self) -> Result<()> {
        if !self.controller.up {
            return Ok(());
        }
        let due = self.controller.due(self.now);
        let mut servers: Vec<ServerName> = self.controller.nudged.iter().cloned().chain(due).collect();
        servers.dedup();
        for server in servers {
            for line in self.controller.look(&server, self.now)? {
                self.tell("controller", || line);
            }
            if let Some(who) = self.agents.iter().position(|agent| agent.name == server) {
                let says = self.controller.refresh(&server, self.now)?;
                self.send(who, says);
            }
        }
        Ok(())
    }

    // --- the end ---

    fn calm_down(&mut self) -> Result<()> {
        self.tell("world", || "a long calm".to_owned());
        self.calm = true;
        // Longer than any clock was wrong: one that reads less than before is doubted until it has caught up.
        self.pass(SignedDuration::from_hours(6));
        for agent in &self.agents {
            agent.host.no_more_failures();
            agent.host.set_clock(self.now);
            agent.host.change(|hands| hands.setup(Setup::Idle));
        }
        if !self.controller.up {
            self.controller.start();
        }
        self.policy("act", false)?;
        self.resume()
    }

    fn calm_round(&mut self) -> Result<Judged> {
        self.pass(SignedDuration::from_secs(30));
        let open: Vec<(PlanId, Vec<u8>)> = self
            .controller
            .plans()
            .filter(|row| row.life == Life::Proposed && row.approved < row.needed)
            .map(|row| (row.id, row.body.clone()))
            .collect();
        for (id, body) in open {
            let plan = Plan::from_bytes(&body)?;
            for person in ["anna", "ben"] {
                self.approve(id, &plan, person)?;
            }
        }
        self.look()?;
        for who in 0..self.agents.len() {
            if let Err(broken) = self.wake(who)? {
                return Ok(Err(broken));
            }
            self.connect(who);
            for _ in 0..12 {
                for judged in [self.turn(who)?, self.hear(who)?, self.hear(who)?, self.deliver(who), self.deliver(who)] {
                    if judged.is_err() {
                        return Ok(judged);
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    fn all_serve(&self) -> bool {
        self.agents.iter().all(|agent| agent.host.picture().served.contains_key(BACK_END))
    }

    /// Nothing is in the way any more: what must be true now?
    fn in_the_end(&mut self) -> Result<Judged> {
        for (agent, watch) in self.agents.iter().zip(&self.watches) {
            let name = agent.name.as_str();
            if let Err(broken) = watch.settled() {
                return Ok(Err(broken));
            }
            for (id, outcome) in watch.ended() {
                let there = self.controller.receipt(id).map(|receipt| receipt.outcome);
                if let Err(broken) = learned(name, id, *outcome, there) {
                    return Ok(Err(broken));
                }
            }
            let fails = |how: String| Ok(Err(liveness(format!("{name}: {how}"))));
            if !agent.connected || agent.untold() > 0 {
                return fails(format!("connected: {}, receipts untold: {}", agent.connected, agent.untold()));
            }
            let Some((row, _)) = self.controller.view(&agent.name) else { return fails("never reported".to_owned()) };
            if row.digest != digest(&agent.host) {
                return fails("the controller has another picture of it".to_owned());
            }
            if Some(row.held.policy_version) != self.controller.policy().map(|policy| policy.version) {
                return fails(format!("holds policy {}", row.held.policy_version));
            }
            let in_flight = self.controller.plans().find(|plan| plan.server == agent.name && plan.life.in_flight());
            if let Some(plan) = in_flight
                && !agent.at_work()
            {
                return fails(format!("plan {} is {} for ever", plan.id.short(), plan.life.as_str()));
            }
            // People approved whatever was proposed, for more than an hour: who is dead still must say what is in the way.
            let dead = !agent.host.picture().served.contains_key(BACK_END);
            let given_up = self.controller.plans().any(|plan| plan.server == agent.name && plan.life == Life::Withdrawn);
            if dead && !given_up && row.decision.as_deref() != Some("hold") {
                let plans = self.controller.plans().filter(|plan| plan.server == agent.name && plan.life.open());
                let plans: Vec<String> = plans.map(|plan| format!("{} {}", plan.life.as_str(), plan.waits_for)).collect();
                return fails(format!("444 is dead, and nobody helps: {}; {}", row.why, plans.join(", ")));
            }
        }
        Ok(Ok(()))
    }
}
