//! What happens to an estate from outside: people decide, other tools change hosts, and a thief speaks in the controller's name.

use agent::session::{Document, FromController, Offer};
use anyhow::{Context, Result};
use jiff::SignedDuration;
use policy::decide::decide;
use policy::document::Policy;
use policy::id::{PlanId, Thumbprint};
use policy::last::LastKnown;
use policy::plan::Plan;
use policy::report::{Setup, Store};

use super::super::host::BACK_END;
use super::super::mind::stage::{self, der::Recipe};
use super::super::people::APPROVERS;
use super::super::promises::Meant;
use super::{Judged, World};

impl World {
    // --- people ---

    pub(super) fn policy(&mut self, mode: &'static str, freeze: bool) -> Result<()> {
        let signed = self.people.policy(self.controller.policy(), mode, freeze)?;
        self.meant.insert(signed.id(), Meant { mode, freeze });
        self.tell("people", || format!("sign a policy in mode {mode}{}", if freeze { " with a freeze" } else { "" }));
        self.controller.apply_policy(signed)
    }

    pub(super) fn people_act(&mut self) -> Result<()> {
        match self.chance.below(20) {
            0..12 => self.approve_one()?,
            12..14 => {
                let open: Vec<PlanId> = self.controller.plans().filter(|row| !row.life.ended()).map(|row| row.id).collect();
                if let Some(plan) = self.chance.one(&open).copied() {
                    self.tell("people", || format!("take {} back", plan.short()));
                    self.controller.withdraw(plan, self.now);
                }
            }
            14..17 => {
                let mode = self.chance.one(&["act", "act", "propose", "observe"]).copied().unwrap_or("act");
                let freeze = self.chance.once_in(4);
                self.policy(mode, freeze)?;
            }
            17 => {
                self.stops += 1;
                let (id, body) = self.people.stop(self.stops, self.now)?;
                self.tell("people", || "stop everything".to_owned());
                self.controller.stop(id, body);
            }
            _ => self.resume()?,
        }
        Ok(())
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        let stops = self.controller.stops(self.now);
        if !stops.is_empty() {
            let resume = self.people.resume(&stops, self.now)?;
            self.tell("people", || "let all stops go".to_owned());
            self.controller.resume(resume);
        }
        Ok(())
    }

    fn approve_one(&mut self) -> Result<()> {
        let open: Vec<(PlanId, Vec<u8>)> =
            self.controller.plans().filter(|row| row.life.open()).map(|row| (row.id, row.body.clone())).collect();
        let Some((id, body)) = self.chance.one(&open).cloned() else { return Ok(()) };
        let plan = Plan::from_bytes(&body)?;
        // Mostly two, so that something happens.
        let persons = if self.chance.once_in(3) { 1 } else { 2 };
        for _ in 0..persons {
            let person = self.chance.one(&APPROVERS).copied().unwrap_or("anna");
            self.approve(id, &plan, person)?;
        }
        Ok(())
    }

    pub(super) fn approve(&mut self, id: PlanId, plan: &Plan, person: &'static str) -> Result<()> {
        self.tell(person, || format!("approves {} {}", plan.purpose.as_str(), id.short()));
        let signed = self.people.approve(plan, person, self.now)?;
        self.controller.approve(id, signed)
    }

    // --- others ---

    pub(super) fn others_change(&mut self, who: usize) {
        let kind = self.chance.below(15);
        let number = self.steps;
        let (Some(agent), now) = (self.agents.get_mut(who), self.now) else { return };
        let (name, mut what) = (agent.name.clone(), "");
        let after = |seconds| now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
        let recipe = |issuer: Option<&str>, key: String, from: i64, to: i64| Recipe {
            names: vec![name.to_string(), format!("{}.contoso.test", name.as_str().to_lowercase())],
            issuer: issuer.map(str::to_owned),
            from: after(from),
            to: after(to),
            key,
            ..stage::be()
        };
        agent.host.change(|hands| {
            let bound = hands.bound().unwrap_or(Thumbprint([0; 20]));
            what = match kind {
                0..3 => {
                    hands.delete(&Store::My, bound);
                    "deletes the certificate"
                }
                3..5 => {
                    hands.remove_record();
                    "removes the record"
                }
                5 => {
                    hands.remove_record();
                    hands.delete(&Store::My, bound);
                    "removes record and certificate"
                }
                6 => {
                    hands.touch(bound, |stored| stored.archived = true);
                    "archives the certificate"
                }
                7 => {
                    hands.touch(bound, |stored| stored.key = None);
                    "unlinks the key"
                }
                8 => {
                    hands.set_store_name("WebHosting");
                    "writes another store into the record"
                }
                9 => {
                    let made = recipe(Some("Contoso Issuing CA"), format!("acme-{name}-{number}"), -3600, 90 * 86400);
                    hands.install(&made, &["0.0.0.0:443", BACK_END]);
                    "an ACME tool puts its certificate on 443 and 444"
                }
                10..12 => {
                    hands.install(&recipe(None, format!("hand-{name}-{number}"), -60, 4 * 365 * 86400), &[BACK_END]);
                    "somebody renews by hand"
                }
                12 => {
                    hands.setup(Setup::Running("ExSetup.exe".to_owned()));
                    "an update of Exchange begins"
                }
                13 => {
                    hands.setup(Setup::Idle);
                    hands.restart();
                    "an update of Exchange ends, and the host restarts"
                }
                _ => {
                    hands.restart();
                    "the host restarts"
                }
            };
        });
        agent.wakes(now);
        self.tell(&name.to_string(), || what.to_owned());
    }

    /// The host refuses a call, or answers too late.
    pub(super) fn others_fail(&mut self, who: usize) {
        let before = self.chance.once_in(2);
        self.tell(&format!("EX{}", who + 1), || "a call will fail".to_owned());
        if let Some(agent) = self.agents.get(who) {
            agent.host.fail_next(before);
        }
    }

    pub(super) fn clock_jumps(&mut self, who: usize) {
        let seconds = i64::try_from(self.chance.below(14_400)).unwrap_or(0) - 7200;
        self.tell(&format!("EX{}", who + 1), || format!("its clock jumps by {seconds} s"));
        if let Some(agent) = self.agents.get(who) {
            let clock = agent.host.clock();
            agent.host.set_clock(clock.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(clock));
        }
    }

    /// Somebody who holds the controller says something in its name.
    pub(super) fn thief(&mut self, who: usize) -> Judged {
        let Some(message) = self.forged(who).ok().flatten() else { return Ok(()) };
        self.tell("thief", || format!("speaks to EX{}", who + 1));
        self.receive(who, message)
    }

    fn forged(&mut self, who: usize) -> Result<Option<FromController>> {
        let agent = self.agents.get(who).context("an agent")?;
        if !agent.connected {
            return Ok(None);
        }
        Ok(Some(match self.chance.below(6) {
            0..2 => {
                // A plan as the rules would make it, had the window opened years ago; sometimes people sign even that.
                let early = self.early(who)?;
                let Some(plan) = early else { return Ok(None) };
                let genuine = self.chance.once_in(2);
                let approvals = if genuine {
                    ["anna", "ben"]
                        .map(|person| self.people.approve(&plan, person, self.now))
                        .into_iter()
                        .collect::<Result<_>>()?
                } else {
                    self.people.forged_approvals(&plan, self.now)?
                };
                self.offered(&plan, approvals)
            }
            2..4 => {
                let server = agent.name.clone();
                let known: Vec<Vec<u8>> =
                    self.controller.plans().filter(|row| row.server == server).map(|row| row.body.clone()).collect();
                let Some(body) = self.chance.one(&known) else { return Ok(None) };
                let plan = Plan::from_bytes(body)?;
                // His own signatures, or genuine ones: of this plan, or of others.
                let approvals = if self.chance.once_in(2) {
                    self.people.forged_approvals(&plan, self.now)?
                } else {
                    self.controller.approvals()
                };
                self.offered(&plan, approvals)
            }
            4 => match self.controller.policy() {
                Some(held) => FromController::Document(Document::Policy(self.people.forged_policy(held)?)),
                None => return Ok(None),
            },
            _ => {
                let stops = self.controller.stops(self.now);
                if stops.is_empty() {
                    return Ok(None);
                }
                FromController::Document(Document::Resume(self.people.forged_resume(&stops, self.now)?))
            }
        }))
    }

    fn offered(&mut self, plan: &Plan, approvals: Vec<proto::signed::SignedBytes>) -> FromController {
        let (id, bytes) = (plan.id(), plan.to_bytes());
        self.by_thief.push(id);
        FromController::Offer(Offer { id, plan: bytes, approvals })
    }

    fn early(&self, who: usize) -> Result<Option<Plan>> {
        let agent = self.agents.get(who).context("an agent")?;
        if agent.at_work() {
            return Ok(None);
        }
        let sight = agent::work::sight(agent.host.as_ref(), None)?;
        let text =
            "estate = \"contoso\"\nversion = 1\nmode = \"act\"\n[expiry]\npropose_at = \"3650d\"\nrenew_before = \"3650d\"\n";
        let policy = Policy::from_toml(text.as_bytes())?;
        let decision = decide(&policy, &sight, &LastKnown::default().after(&sight, &policy, self.now), self.now);
        Ok(decision.plan().cloned())
    }
}
