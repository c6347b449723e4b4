//! The controller: the product's half of the session and its looks, over rows in memory that change as its store's do.
//! Rows survive a crash; sessions do not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result, bail};
use controller::audit::Head;
use controller::reconcile::{Conclusion, Move, Standing, Terms, look};
use controller::session::{Effect, Hello, Said, Say, Session};
use controller::store::{
    Document, Held, Identity, IdentityState, Near, Neighbour, Offer, PlanRow, PlanSeen, Scene, ServerRow, Trouble, settled,
};
use jiff::Timestamp;
use policy::certificate::Certificate;
use policy::document::Policy;
use policy::evaluate::Assessment;
use policy::finding::Verdict;
use policy::id::{CertificateId, Generation, PlanId, ServerName, Sha256};
use policy::last::LastKnown;
use policy::life::{Event, Life};
use policy::plan::Plan;
use policy::receipt::{Outcome, Receipt};
use policy::report::{Report, Sight};
use policy::stop::StopId;
use policy::trust::{Approval, TrustDocument, Verified};
use policy::turn::group_of;
use proto::signed::{SignedBytes, approval as verified_approval, policy as verified_policy, resume as verified_resume};

use super::bugs::Bug;
use super::people::People;

/// A server's rows.
struct Server {
    row: ServerRow,
    report: Report,
    last: LastKnown,
    assessment: Option<Assessment>,
    stopped: BTreeSet<StopId>,
}

/// An approval as it came, and what of it holds.
struct Approved {
    signed: SignedBytes,
    verified: Verified<Approval>,
}

/// What is on the controller's disk.
#[derive(Default)]
struct Rows {
    identities: BTreeMap<ServerName, Identity>,
    servers: BTreeMap<ServerName, Server>,
    certificates: BTreeMap<CertificateId, Certificate>,
    plans: BTreeMap<PlanId, PlanRow>,
    approvals: BTreeMap<PlanId, Vec<Approved>>,
    receipts: BTreeMap<PlanId, Receipt>,
    policy: Option<(Document, Policy)>,
    stops: BTreeMap<StopId, Vec<u8>>,
    resumes: Vec<SignedBytes>,
    /// Entries of the trail.
    entries: u64,
    /// Nonces that were given out.
    nonces: u64,
}

pub(super) struct Controller {
    rows: Rows,
    trust: Document,
    document: TrustDocument,
    sessions: BTreeMap<ServerName, Session>,
    /// Servers that are to be looked at.
    pub(super) nudged: BTreeSet<ServerName>,
    pub(super) up: bool,
    bug: Option<Bug>,
}

impl Controller {
    pub(super) fn new(people: &People, servers: &[ServerName], now: Timestamp, bug: Option<Bug>) -> Self {
        let trust = Document { id: people.trust.id(), version: 1, signed: people.trust.clone() };
        let mut rows = Rows::default();
        for server in servers {
            let identity = Identity {
                key_id: Sha256::of(server.as_str().as_bytes()),
                server: server.clone(),
                machine_id: format!("machine-{server}"),
                state: IdentityState::Active,
                why: String::new(),
                certificate: Sha256::of(b"certificate"),
                not_after: now,
                lineage: Vec::new(),
                previous_lineage: Vec::new(),
                epoch: 1,
                enrolled_at: now,
                changed_at: now,
            };
            rows.identities.insert(server.clone(), identity);
        }
        let document = people.document.clone();
        Self { rows, trust, document, sessions: BTreeMap::new(), nudged: BTreeSet::new(), up: true, bug }
    }

    // --- what people do at it ---

    pub(super) fn policy(&self) -> Option<&Policy> {
        self.rows.policy.as_ref().map(|(_, policy)| policy)
    }

    pub(super) fn apply_policy(&mut self, signed: SignedBytes) -> Result<()> {
        let verified = verified_policy(&signed)?;
        let document = Document { id: signed.id(), version: verified.value.version, signed };
        self.rows.policy = Some((document, verified.value));
        self.rows.entries += 1;
        self.nudge_all();
        Ok(())
    }

    pub(super) fn plans(&self) -> impl Iterator<Item = &PlanRow> {
        self.rows.plans.values()
    }

    pub(super) fn receipt(&self, plan: &PlanId) -> Option<&Receipt> {
        self.rows.receipts.get(plan)
    }

    pub(super) fn approve(&mut self, plan: PlanId, signed: SignedBytes) -> Result<()> {
        let verified = verified_approval(&signed)?;
        let server = self.rows.plans.get(&plan).context("a plan")?.server.clone();
        self.rows.approvals.entry(plan).or_default().push(Approved { signed, verified });
        self.rows.entries += 1;
        self.nudged.insert(server);
        Ok(())
    }

    /// Every approval that ever came.
    pub(super) fn approvals(&self) -> Vec<SignedBytes> {
        self.rows.approvals.values().flatten().map(|one| one.signed.clone()).collect()
    }

    /// A person takes a plan back: before it began, or as far as its agent lets him.
    pub(super) fn withdraw(&mut self, plan: PlanId, now: Timestamp) {
        let Some(row) = self.rows.plans.get_mut(&plan) else { return };
        if row.life.open() {
            (row.life, row.changed_at) = (Life::Withdrawn, now);
            "withdrawn".clone_into(&mut row.waits_for);
        } else if row.life.in_flight() {
            row.cancelled = true;
        }
        self.nudged.insert(row.server.clone());
    }

    /// Those in force, by the rows.
    pub(super) fn stops(&self, now: Timestamp) -> BTreeSet<StopId> {
        let said: Vec<_> = self.rows.resumes.iter().filter_map(|signed| verified_resume(signed).ok()).collect();
        let lifted = policy::stop::lifted(&self.document, &said, now);
        self.rows.stops.keys().filter(|id| !lifted.contains(*id)).copied().collect()
    }

    pub(super) fn stop(&mut self, id: StopId, body: Vec<u8>) {
        self.rows.stops.insert(id, body);
        self.rows.entries += 1;
        self.nudge_all();
    }

    pub(super) fn resume(&mut self, signed: SignedBytes) {
        self.rows.resumes.push(signed);
        self.rows.entries += 1;
        self.nudge_all();
    }

    fn nudge_all(&mut self) {
        self.nudged.extend(self.rows.identities.keys().cloned());
    }

    /// What it says of a server; for people and the end of a life.
    pub(super) fn view(&self, server: &ServerName) -> Option<(&ServerRow, &Report)> {
        self.rows.servers.get(server).map(|found| (&found.row, &found.report))
    }

    // --- sessions ---

    pub(super) fn crash(&mut self) {
        self.up = false;
        self.sessions.clear();
        self.nudged.clear();
    }

    pub(super) fn start(&mut self) {
        self.up = true;
        self.nudge_all();
    }

    pub(super) fn lost(&mut self, server: &ServerName) {
        self.sessions.remove(server);
        if self.bug == Some(Bug::LostLinkFreesSlot) {
            let mine = |row: &&mut PlanRow| row.server == *server && row.life.in_flight();
            self.rows.plans.values_mut().filter(mine).for_each(|row| row.life = Life::Waiting);
        }
        self.look_if_awaited(server);
    }

    fn look_if_awaited(&mut self, server: &ServerName) {
        let waits = |row: &PlanRow| row.server == *server && matches!(row.life, Life::Approved | Life::Waiting);
        if self.rows.plans.values().any(waits) {
            self.nudged.insert(server.clone());
        }
    }

    fn head(&self) -> Head {
        Head { sequence: self.rows.entries, hash: Sha256::of(&self.rows.entries.to_be_bytes()) }
    }

    /// An agent said something. What it is told; an error ends its stream.
    pub(super) fn hear(&mut self, server: &ServerName, said: Said, now: Timestamp) -> Result<Vec<Say>> {
        let effects = match self.sessions.get_mut(server) {
            Some(session) => session.on(said)?,
            None => {
                let Said::Hello(hello) = said else { bail!("expected a hello, found another message") };
                self.hello(server, hello)?
            }
        };
        self.perform(server, effects, now)
    }

    fn hello(&mut self, server: &ServerName, hello: Hello) -> Result<Vec<Effect>> {
        let audit = self.head();
        let identity = self.rows.identities.get_mut(server).context("an identity")?;
        let on_disk = self.rows.servers.get(server).and_then(|found| Some((found.row.generation, found.row.digest?)));
        let mut session = Session::begin(server, &hello, identity, on_disk, false, audit)?;
        self.rows.nonces += 1;
        let lineage = Sha256::of(&self.rows.nonces.to_be_bytes()).0.to_vec();
        identity.previous_lineage = hello.lineage;
        identity.lineage.clone_from(&lineage);
        if let Some(found) = self.rows.servers.get_mut(server) {
            (found.row.held, found.stopped) = (hello.held, hello.stops);
        }
        let policy = self.rows.policy.as_ref().map(|(document, _)| document.id);
        let missing = self.rows.servers.get(server).map(|found| self.missing(&found.report)).unwrap_or_default();
        let effects = session.welcome(lineage, policy, missing, audit, Vec::new(), false);
        self.sessions.insert(server.clone(), session);
        Ok(effects)
    }

    fn missing(&self, report: &Report) -> BTreeSet<CertificateId> {
        report.named_certificates().into_iter().filter(|id| !self.rows.certificates.contains_key(id)).collect()
    }

    /// What a session that is open has to be told though its agent said nothing.
    pub(super) fn refresh(&mut self, server: &ServerName, now: Timestamp) -> Result<Vec<Say>> {
        if !self.sessions.contains_key(server) {
            return Ok(Vec::new());
        }
        self.perform(server, Session::woken(), now)
    }

    fn perform(&mut self, server: &ServerName, effects: Vec<Effect>, now: Timestamp) -> Result<Vec<Say>> {
        let (mut waiting, mut said) = (VecDeque::from(effects), Vec::new());
        while let Some(effect) = waiting.pop_front() {
            if let Effect::Say(say) = effect {
                said.push(say);
                continue;
            }
            let more = self.effect(server, effect, now)?;
            waiting.extend(more);
        }
        Ok(said)
    }

    fn effect(&mut self, server: &ServerName, effect: Effect, now: Timestamp) -> Result<Vec<Effect>> {
        let head = self.head();
        Ok(match effect {
            Effect::Say(_) | Effect::File(_) | Effect::Adopt(..) | Effect::ReadPeers | Effect::Witness(_) => Vec::new(),
            Effect::Record(told) => {
                let (generation, digest) = (told.generation, told.report.digest());
                let memory = told.memory.map(|memory| *memory);
                self.record(server, generation, told.report, told.seen_at);
                if let (Some(found), Some(memory)) = (self.rows.servers.get_mut(server), memory) {
                    found.last = memory;
                }
                let missing = self.rows.servers.get(server).map(|found| self.missing(&found.report)).unwrap_or_default();
                self.session(server)?.recorded(generation, digest, missing, head)
            }
            Effect::Keep(certificates) => {
                let read = certificates.iter().filter_map(|der| Certificate::from_der(der).ok());
                self.rows.certificates.extend(read.map(|made| (made.id(), made)));
                Vec::new()
            }
            Effect::Settle(receipt) => {
                let plan = receipt.plan;
                self.settle(server, *receipt, now)?;
                self.nudge_all();
                self.session(server)?.settled(plan)
            }
            Effect::Begun(plan) => {
                if let Some(row) = self.rows.plans.get_mut(&plan).filter(|row| row.life == Life::Offered) {
                    (row.life, row.changed_at) = (Life::Running, now);
                }
                Vec::new()
            }
            Effect::Note(held, stops) => {
                if let Some(found) = self.rows.servers.get_mut(server) {
                    (found.row.held, found.stopped) = (held, stops);
                }
                Vec::new()
            }
            Effect::ReadStops => {
                let in_force = self.stops(now);
                let stops = in_force.iter().filter_map(|id| Some((*id, self.rows.stops.get(id)?.clone()))).collect::<Vec<_>>();
                let held = self.session(server)?.stopped().clone();
                let resumes = if held.iter().any(|id| !in_force.contains(id)) { self.rows.resumes.clone() } else { Vec::new() };
                self.session(server)?.stops(stops, resumes)
            }
            Effect::ReadDocuments => {
                let (chain, policy) = (vec![self.trust.clone()], self.rows.policy.as_ref().map(|(document, _)| document.clone()));
                self.session(server)?.documents(chain, policy)
            }
            Effect::ReadOffers => {
                let offers = self.offers(server);
                self.session(server)?.offers(offers)
            }
            Effect::Look => {
                self.nudged.insert(server.clone());
                Vec::new()
            }
            Effect::LookIfAwaited => {
                self.look_if_awaited(server);
                Vec::new()
            }
        })
    }

    fn session(&mut self, server: &ServerName) -> Result<&mut Session> {
        self.sessions.get_mut(server).context("a session")
    }

    fn record(&mut self, server: &ServerName, generation: Generation, report: Report, seen_at: Timestamp) {
        self.rows.entries += 1;
        let before = self.rows.servers.remove(server);
        let held = before.as_ref().map_or_else(Held::default, |before| before.row.held);
        let row = ServerRow {
            name: server.clone(),
            generation,
            digest: Some(report.digest()),
            seen_at: Some(seen_at),
            verdict: before.as_ref().and_then(|before| before.row.verdict),
            decision: None,
            why: String::new(),
            mode: None,
            group: group_of(&report.host),
            ad_site: report.host.ad_site.known().cloned(),
            thumbprint: None,
            certificate: None,
            not_after: None,
            agent_version: String::new(),
            held,
            next_look: None,
        };
        let (last, assessment, stopped) =
            before.map_or_else(Default::default, |before| (before.last, before.assessment, before.stopped));
        self.rows.servers.insert(server.clone(), Server { row, report, last, assessment, stopped });
    }

    fn offers(&self, server: &ServerName) -> Vec<Offer> {
        let mine = |row: &&PlanRow| row.server == *server && row.life.in_flight();
        let offer = |row: &PlanRow| {
            let approvals = self.rows.approvals.get(&row.id).into_iter().flatten().map(|one| one.signed.clone()).collect();
            Offer { id: row.id, body: row.body.clone(), life: row.life, cancelled: row.cancelled, approvals }
        };
        self.rows.plans.values().filter(mine).map(offer).collect()
    }

    /// As the store does: once, and what the host says is the last word.
    fn settle(&mut self, server: &ServerName, receipt: Receipt, now: Timestamp) -> Result<()> {
        let before = self.rows.receipts.get(&receipt.plan).map(|receipt| receipt.outcome);
        if let Some(before) = before {
            let in_flight = self.rows.plans.get(&receipt.plan).is_some_and(|row| row.life.in_flight());
            let answers = in_flight && before == receipt.outcome;
            let done_after_all = before == Outcome::Refused && receipt.outcome != Outcome::Refused;
            if !answers && !done_after_all {
                return Ok(());
            }
        }
        self.rows.entries += 1;
        let settled = |life: Life| settled(life, receipt.outcome);
        if let Some(row) = self.rows.plans.get_mut(&receipt.plan) {
            (row.life, row.changed_at) = (settled(row.life), now);
        } else if let Some(body) = &receipt.plan_body {
            let plan = Plan::from_bytes(&body.0)?;
            let row = self.row(&plan, settled(Life::Offered), now);
            self.rows.plans.insert(receipt.plan, row);
        }
        if receipt.standing.is_some()
            && receipt.outcome == Outcome::Restored
            && let Some(found) = self.rows.servers.get_mut(server)
        {
            found.last = found.last.clone().restored(receipt.ended_at);
        }
        self.rows.receipts.insert(receipt.plan, receipt);
        Ok(())
    }

    fn row(&self, plan: &Plan, life: Life, now: Timestamp) -> PlanRow {
        PlanRow {
            id: plan.id(),
            server: plan.host.clone(),
            purpose: plan.purpose,
            body: plan.to_bytes(),
            life,
            waits_for: String::new(),
            opens_at: now,
            urgent: false,
            approved: 0,
            needed: 0,
            group: self.rows.servers.get(&plan.host).map(|found| found.row.group.clone()).unwrap_or_default(),
            cancelled: false,
            created_at: now,
            changed_at: now,
        }
    }

    // --- looks ---

    /// Looks at a server, and writes down what follows.
    pub(super) fn look(&mut self, server: &ServerName, now: Timestamp) -> Result<Vec<String>> {
        self.nudged.remove(server);
        let Some(scene) = self.scene(server) else { return Ok(Vec::new()) };
        let none_yet = Policy::none_yet(self.document.estate.clone());
        let policy = self.policy().unwrap_or(&none_yet);
        let stops = self.stops(now);
        let in_force = Held {
            trust: Some(self.trust.id),
            trust_version: self.trust.version,
            policy: self.rows.policy.as_ref().map(|(document, _)| document.id),
            policy_version: self.rows.policy.as_ref().map_or(0, |(document, _)| document.version),
        };
        let terms = Terms {
            policy,
            trust: Some(&self.document),
            in_force,
            stopped: (!stops.is_empty()).then_some("an emergency stop"),
            connected: self.sessions.contains_key(server),
            now,
        };
        let conclusion = look(&scene, &terms);
        self.conclude(server, conclusion, now)
    }

    fn scene(&self, server: &ServerName) -> Option<Scene> {
        let found = self.rows.servers.get(server)?;
        let named = found.report.named_certificates();
        let certificates =
            named.iter().filter_map(|id| Some((*id, self.rows.certificates.get(id)?.clone()))).collect::<BTreeMap<_, _>>();
        let mut rows: Vec<&PlanRow> = self.rows.plans.values().filter(|row| row.server == *server).collect();
        rows.sort_by_key(|row| (std::cmp::Reverse(row.created_at), row.id));
        let plans = rows.into_iter().take(100).filter_map(|row| self.seen(row)).collect();
        let sight = Sight { report: found.report.clone(), certificates };
        let (last, assessment) = (found.last.clone(), found.assessment.clone());
        Some(Scene {
            server: found.row.clone(),
            sight,
            last,
            assessment,
            plans,
            peers: Vec::new(),
            neighbours: self.neighbours(&found.row),
        })
    }

    fn seen(&self, row: &PlanRow) -> Option<PlanSeen> {
        let approvals = self.rows.approvals.get(&row.id).into_iter().flatten().filter(|_| row.life.open());
        let receipt = self.rows.receipts.get(&row.id);
        Some(PlanSeen {
            plan: Plan::from_bytes(&row.body).ok()?,
            approvals: approvals.map(|one| one.verified.clone()).collect(),
            began_at: receipt.map(|receipt| receipt.began_at),
            ended_at: receipt.map(|receipt| receipt.ended_at),
            row: row.clone(),
        })
    }

    fn neighbours(&self, own: &ServerRow) -> Vec<Neighbour> {
        if self.bug == Some(Bug::NeighboursUnasked) {
            return Vec::new();
        }
        let near = |other: &ServerRow| {
            if other.group == own.group {
                Near::Group
            } else if other.ad_site == own.ad_site {
                Near::Site
            } else {
                Near::Estate
            }
        };
        let mut found = Vec::new();
        for other in self.rows.servers.values().map(|server| &server.row).filter(|other| other.name != own.name) {
            let mut say = |trouble| found.push(Neighbour { server: other.name.clone(), near: near(other), trouble });
            for row in self.rows.plans.values().filter(|row| row.server == other.name) {
                let restores = row.purpose.restores();
                if row.life.in_flight() || (row.life == Life::Restored && !restores) {
                    say(Trouble::AtWork { plan: row.id, life: row.life, restores });
                }
            }
            let newer = |than: &PlanRow| {
                let later = |row: &&PlanRow| row.server == other.name && row.created_at > than.created_at;
                self.rows.plans.values().filter(later).any(|row| row.life != Life::Proposed)
            };
            let went_wrong = |row: &&PlanRow| {
                row.server == other.name && matches!(row.life, Life::Failed | Life::Undone) && !row.purpose.restores()
            };
            if other.verdict != Some(Verdict::Healthy)
                && let Some(row) = self.rows.plans.values().filter(went_wrong).find(|row| !newer(row))
            {
                say(Trouble::WentWrong { plan: row.id, life: row.life });
            }
            if let Some(verdict) = other.verdict
                && matches!(verdict, Verdict::Dead | Verdict::KeyLost | Verdict::Deleted | Verdict::Unbound)
                && near(other) != Near::Estate
            {
                say(Trouble::Lost { verdict });
            }
        }
        found
    }

    fn conclude(&mut self, server: &ServerName, conclusion: Conclusion, now: Timestamp) -> Result<Vec<String>> {
        let Conclusion { assessment, last, decision, dead, why, next_look, moves, .. } = conclusion;
        let (mut said, mut turned) = (Vec::new(), false);
        if let Some(found) = self.rows.servers.get_mut(server) {
            turned = found.row.verdict != Some(assessment.verdict);
            found.row.verdict = Some(assessment.verdict);
            (found.row.decision, found.row.why, found.row.next_look) = (Some(decision), why, next_look);
            (found.last, found.assessment) = (last, Some(assessment));
        }
        for step in moves {
            match step {
                Move::Propose { plan, standing } => {
                    let mut row = self.row(&plan, Life::Proposed, now);
                    said.push(format!("proposes {} {} of {server}", row.purpose.as_str(), row.id.short()));
                    stand(&mut row, &standing);
                    self.rows.plans.entry(row.id).or_insert(row);
                }
                Move::Note { plan, at, standing } => {
                    if let Some(row) = self.rows.plans.get_mut(&plan).filter(|row| row.life == at) {
                        stand(row, &standing);
                    }
                }
                Move::Advance { plan, from, events, standing } => {
                    let taken = self.taken(&plan, dead);
                    turned = true;
                    let Some(row) = self.rows.plans.get_mut(&plan).filter(|row| row.life == from) else { continue };
                    for event in events {
                        // Asked once more where the turn is taken, as the store does.
                        let event = if event == Event::Offer && taken { Event::Wait } else { event };
                        row.life = row.life.after(event)?;
                    }
                    row.changed_at = now;
                    said.push(format!("plan {} of {server} is {}", plan.short(), row.life.as_str()));
                    stand(row, &standing);
                }
            }
        }
        if turned {
            let waits = |row: &&PlanRow| matches!(row.life, Life::Approved | Life::Waiting) && row.server != *server;
            self.nudged.extend(self.rows.plans.values().filter(waits).map(|row| row.server.clone()));
        }
        Ok(said)
    }

    /// Whether the host's slot or the group's turn is another's at this moment.
    fn taken(&self, plan: &PlanId, dead: bool) -> bool {
        let Some(own) = self.rows.plans.get(plan) else { return false };
        let group = |name: &ServerName| self.rows.servers.get(name).map(|found| found.row.group.clone());
        self.rows.plans.values().filter(|row| row.id != *plan).any(|row| {
            let slot = row.server == own.server && row.life.in_flight();
            let at_work = row.life.in_flight() || (!dead && row.life == Life::Restored && !row.purpose.restores());
            let turn = !own.purpose.restores() && group(&row.server) == group(&own.server) && row.server != own.server && at_work;
            slot || (turn && self.bug != Some(Bug::NeighboursUnasked))
        })
    }

    /// Servers whose time to be looked at has come.
    pub(super) fn due(&self, now: Timestamp) -> Vec<ServerName> {
        let due = |found: &&Server| found.row.next_look.is_some_and(|at| at <= now);
        self.rows.servers.values().filter(due).map(|found| found.row.name.clone()).collect()
    }
}

fn stand(row: &mut PlanRow, standing: &Standing) {
    let Standing { why, opens_at, urgent, approved, needed } = standing;
    row.waits_for.clone_from(why);
    (row.opens_at, row.urgent, row.approved, row.needed) = (*opens_at, *urgent, *approved, *needed);
}
