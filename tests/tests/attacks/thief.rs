//! Somebody in the controller's place, and the two hosts that he would like to move: on one the certificate is fit, on the other it ends
//! in twenty days and the controller's approvers could sign its renewal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use controller::ca::Authority;
use policy::id::Sha256;
use policy::plan::Plan;
use policy::stop::StopId;
use policy::trust::{Approval, KeyKind, Kind, PersonKey, TrustDocument};
use proto::agent::open_response::Message as Down;
use proto::agent::{EmergencyStop, Held};
use proto::signed::{SignedBytes, SigningKey};
use proto::types::{Outcome, Signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tests::desk::{Desk, ESTATE, hex};
use tests::estate::{Estate, Setup, policy};
use tests::forger::{Asks, Forger};
use tests::lab::Damage;
use tests::outside::{Client, Shown};
use tests::{papers, wait};

use super::LIMIT;

/// The host whose certificate is fit.
pub(crate) const FIT: &str = "EX1";

/// The host whose certificate ends soon.
pub(crate) const DUE: &str = "EX2";

/// Each host's disk, and what its 444 shows.
type Hosts = Vec<(&'static str, BTreeMap<String, String>, Shown)>;

pub(crate) struct Thief {
    estate: Estate,
    forger: Option<Forger>,
    client: Client,
    /// Both hosts, from inside and from outside.
    before: Hosts,
    /// What the rules would plan for the fit one, had its window opened.
    pub(crate) early: Plan,
    /// What they plan for the other.
    pub(crate) due: Plan,
    /// What was approved for it and done.
    pub(crate) done: Plan,
    pub(crate) anna: SigningKey,
    /// Anna's other key, which counts as well.
    pub(crate) second: SigningKey,
    pub(crate) ben: SigningKey,
    /// The key of nobody.
    pub(crate) stranger: SigningKey,
    /// The trust document that agents hold, and the one before it.
    pub(crate) trust: [SignedBytes; 2],
    /// The policy that agents hold, and the one before it.
    pub(crate) policies: [SignedBytes; 2],
    held: Held,
}

impl Thief {
    pub(crate) fn in_the_controllers_place() -> Result<Self> {
        let setup = Setup {
            servers: vec![(FIT, None), (DUE, None)],
            need: vec!["renew=2", "policy=2", "resume=2"],
            policy: None,
            ..Setup::default()
        };
        let mut estate = Estate::temporary(&setup)?;
        let desk = estate.desk().clone();
        for _ in 0..2 {
            desk.apply_policy(&policy("act"), &["anna", "ben"])?;
        }
        let second = second_key(&desk)?;

        // One renewal that is right: he has seen it all.
        let host = estate.host(DUE)?;
        host.damage(&Damage::Expiring { days: 20 })?;
        let proposed = estate.wait_plan(DUE, "a proposal", LIMIT, |plan| plan.purpose == "renew" && plan.life == "proposed")?;
        let done = papers::plan(&host, &policy("act"))?;
        ensure!(hex(&proposed.id) == done.id().to_string(), "expected the plan {done:?}, found {proposed:?}");
        for person in ["anna", "ben"] {
            desk.approve(&hex(&proposed.id), person, "CHG-1")?;
        }
        estate.wait_plan(DUE, "confirmed", LIMIT, |plan| plan.id == proposed.id && plan.life == "confirmed")?;
        host.damage(&Damage::Expiring { days: 20 })?;
        estate.wait_plan(DUE, "the next", LIMIT, |plan| plan.id != proposed.id && plan.life == "proposed")?;
        estate.wait_verdict(FIT, "healthy", LIMIT)?;
        for server in [FIT, DUE] {
            estate.wait_server(server, "both documents", LIMIT, |found| {
                let found = found.server.as_ref().map(|server| (server.trust_version, server.policy_version));
                wait::when(found == Some((2, 2)), || format!("{found:?}"))
            })?;
        }

        let due = papers::plan(&host, &policy("act"))?;
        let window = "mode = \"act\"\n[expiry]\npropose_at = \"3650d\"\nrenew_before = \"3650d\"\n";
        let early = papers::plan(&estate.host(FIT)?, window)?;
        let (anna, ben, stranger) = (desk.key("anna")?, desk.key("ben")?, SigningKey::generate()?);
        let file = |name: &str| -> Result<SignedBytes> {
            Ok(SignedBytes::from_file_text(&fs::read_to_string(desk.file(name)).context(name.to_owned())?)?)
        };
        let trust = [file("2.signed")?, file("trust/trust.signed")?];
        let policy = |version: u64| -> Result<SignedBytes> {
            let body = fs::read(desk.file(&format!("policy-{version}.toml")))?;
            papers::signed(Kind::Policy, body, &[&anna, &ben])
        };
        let policies = [policy(2)?, policy(1)?];
        let held = Held {
            trust: trust[0].id().0.to_vec(),
            trust_version: 2,
            policy: policies[0].id().0.to_vec(),
            policy_version: 2,
            stops: Vec::new(),
        };
        estate.stop_controller()?;
        let forger = Forger::listen(estate.ports(), &estate.controller_state())?;
        for server in [FIT, DUE] {
            forger.wait_for(server, LIMIT)?;
        }
        let client = Client::find();
        let mut thief = Self {
            estate,
            forger: Some(forger),
            client,
            before: Vec::new(),
            early,
            due,
            done,
            anna,
            second,
            ben,
            stranger,
            trust,
            policies,
            held,
        };
        thief.before = thief.now()?;
        Ok(thief)
    }

    fn now(&self) -> Result<Hosts> {
        let one = |server| Ok((server, self.estate.host(server)?.snapshot()?, self.client.look(self.estate.back_end(server)?)?));
        [FIT, DUE].into_iter().map(one).collect()
    }

    /// Fails when a disk or a handshake is not as before.
    pub(crate) fn nothing_changed(&self) -> Result<()> {
        for ((server, disk, shown), (_, disk_now, shown_now)) in self.before.iter().zip(self.now()?) {
            ensure!(*shown == shown_now, "expected 444 of {server} to show {shown}, found {shown_now}");
            let changed: Vec<&String> = disk.keys().filter(|name| disk.get(*name) != disk_now.get(*name)).collect();
            ensure!(*disk == disk_now, "expected the disk of {server} as before, found changes in {changed:?}, or new files");
        }
        Ok(())
    }

    /// The order that two persons signed for this host as it is, through the same hands: once the freeze is over and the stop is let go.
    pub(crate) fn what_is_right_still_runs(mut self) -> Result<()> {
        self.relay_policy(&policy("act"))?;
        for (person, key) in [("anna", &self.anna), ("ben", &self.ben)] {
            let resume = papers::signed(Kind::Resume, papers::resume(person, &self.stops()?)?.to_bytes(), &[key])?;
            for server in [FIT, DUE] {
                self.forger()?.document(server, Down::Resume(resume.clone().into()), LIMIT)?;
            }
        }
        let due = Plan { attempt: 77, ..self.due.clone() };
        let receipt = self.forger()?.offer(DUE, &due.to_bytes(), self.both(&due)?, LIMIT)?;
        ensure!(receipt.outcome == Outcome::Restored as i32, "expected the renewal to run, found {receipt:?}");
        self.forger.take().context("a forger")?.stop()?;
        self.estate.stop()?;
        self.estate.check_logs(&["a document is refused", "ALARM", "invalid peer certificate", "the audit trail"])
    }

    pub(crate) fn keep(&mut self) -> String {
        self.estate.keep()
    }

    fn forger(&self) -> Result<&Forger> {
        self.forger.as_ref().context("nobody listens")
    }

    // --- what he says ---

    /// An approval of this plan by this person.
    pub(crate) fn sign(&self, approval: &Approval, key: &SigningKey) -> Result<Signed> {
        papers::signed(Kind::Approval, approval.to_bytes(), &[key]).map(Into::into)
    }

    /// Genuine approvals of both.
    pub(crate) fn both(&self, plan: &Plan) -> Result<Vec<Signed>> {
        Ok(vec![self.sign(&papers::approval(plan, "anna")?, &self.anna)?, self.sign(&papers::approval(plan, "ben")?, &self.ben)?])
    }

    /// Offers bytes with approvals; why they are refused.
    pub(crate) fn offer(&self, server: &str, bytes: &[u8], approvals: Vec<Signed>) -> Result<String> {
        let receipt = self.forger()?.offer(server, bytes, approvals, LIMIT)?;
        ensure!(receipt.outcome == Outcome::Refused as i32, "expected a refusal, found {receipt:?}");
        let objections = receipt.objections.iter().map(|objection| format!("{}: {}", objection.rule, objection.detail));
        Ok(objections.chain(receipt.notes.iter().cloned()).collect::<Vec<_>>().join("; "))
    }

    /// Offers a plan that was done before, with its approvals.
    pub(crate) fn offer_again(&self, server: &str, plan: &Plan) -> Result<String> {
        let now = policy::Timestamp::now().as_microsecond();
        let receipt = self.forger()?.offer(server, &plan.to_bytes(), self.both(plan)?, LIMIT)?;
        ensure!(receipt.began_at < now && receipt.ended_at < now, "expected the receipt of then, found {receipt:?}");
        Ok("the receipt of the first time, and nothing begins".to_owned())
    }

    /// Offers a plan with two genuine approvals of itself.
    pub(crate) fn signed_offer(&self, server: &str, plan: &Plan) -> Result<String> {
        self.offer(server, &plan.to_bytes(), self.both(plan)?)
    }

    /// Tells a document to the host whose certificate is fit. What its agent says of it; what it holds stays.
    pub(crate) fn document(&self, document: Down) -> Result<String> {
        let before = self.log()?.len();
        let held = self.forger()?.document(FIT, document, LIMIT)?;
        ensure!(held == self.held, "expected the agent to hold {:?}, found {held:?}", self.held);
        Ok(self.log()?.split_off(before))
    }

    /// Says a message that cannot be. What the agent says of it.
    pub(crate) fn message(&self, message: Down) -> Result<String> {
        let before = self.log()?.len();
        self.forger()?.tell(FIT, message)?;
        self.said("a message of the controller cannot be", before)
    }

    /// Stops both hosts: that he can.
    pub(crate) fn stop_all(&mut self) -> Result<()> {
        let body = papers::stop("eve")?.to_bytes();
        for server in [FIT, DUE] {
            let stop = Down::Stop(EmergencyStop { body: body.clone() });
            self.held = self.forger()?.document(server, stop, LIMIT)?;
        }
        ensure!(self.held.stops.len() == 1, "expected one stop in force, found {:?}", self.held);
        Ok(())
    }

    /// The stops in force.
    pub(crate) fn stops(&self) -> Result<BTreeSet<StopId>> {
        self.held.stops.iter().map(|id| Ok(Sha256(id.as_slice().try_into()?))).collect()
    }

    /// Relays a policy of this text that both approvers signed, and which holds from here on.
    pub(crate) fn relay_policy(&mut self, text: &str) -> Result<()> {
        let signed = papers::signed(Kind::Policy, self.next_policy(text), &[&self.anna, &self.ben])?;
        for server in [FIT, DUE] {
            self.held = self.forger()?.document(server, Down::Policy(signed.clone().into()), LIMIT)?;
        }
        ensure!(self.held.policy == signed.id().0, "expected policy {}, found {:?}", signed.id(), self.held);
        self.policies.rotate_right(1);
        self.policies[0] = signed;
        Ok(())
    }

    /// From here on he wants this of agents; both come anew.
    pub(crate) fn ask(&mut self, asks: Asks) -> Result<()> {
        for server in [FIT, DUE] {
            self.estate.stop_agent(server)?;
        }
        self.forger()?.ask(asks);
        for server in [FIT, DUE] {
            self.estate.start_agent(server)?;
            self.forger()?.wait_for(server, LIMIT)?;
        }
        Ok(())
    }

    /// How much the agent of the fit host has said so far.
    pub(crate) fn mark(&self) -> Result<usize> {
        Ok(self.log()?.len())
    }

    /// Agents come anew to whoever listens with this chain. What the agent of the fit host says until these words are among it.
    pub(crate) fn shows(&mut self, words: &str, chain: impl FnOnce(&Authority) -> Result<Chain>, asks: Asks) -> Result<String> {
        let stolen = Authority::load(&self.estate.controller_state(), &ESTATE.parse()?)?;
        let shown = chain(&stolen)?;
        self.forger.take().context("a forger")?.stop()?;
        let before = self.log()?.len();
        let forger = Forger::showing(self.estate.ports(), &stolen, shown, asks)?;
        let said = self.said(words, before);
        forger.stop()?;
        let back = Forger::listen(self.estate.ports(), &self.estate.controller_state())?;
        for server in [FIT, DUE] {
            self.estate.stop_agent(server)?;
            self.estate.start_agent(server)?;
            back.wait_for(server, LIMIT)?;
        }
        self.forger = Some(back);
        said
    }

    /// The trust document that is held, to be changed.
    pub(crate) fn next_trust(&self) -> Result<TrustDocument> {
        let mut document = TrustDocument::from_bytes(&self.trust[0].body)?;
        document.version += 1;
        Ok(document)
    }

    /// The policy of this text that would follow the one that is held.
    pub(crate) fn next_policy(&self, text: &str) -> Vec<u8> {
        let (version, previous) = (self.held.policy_version + 1, self.policies[0].id());
        format!("estate = \"{ESTATE}\"\nversion = {version}\nprevious = \"{previous}\"\n{text}").into_bytes()
    }

    // --- what is said ---

    fn log_file(&self) -> PathBuf {
        self.estate.folder().join("logs").join(format!("agent-{FIT}.log"))
    }

    fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.log_file())?).into_owned())
    }

    /// What the agent of the fit host says after that mark, once these words are among it.
    pub(crate) fn said(&self, words: &str, before: usize) -> Result<String> {
        wait::until(&format!("the agent to say {words:?}"), LIMIT, || match self.log() {
            Ok(mut log) => {
                let said = log.split_off(before);
                if said.contains(words) { wait::Look::Found(said) } else { wait::Look::NotYet(said) }
            }
            Err(error) => wait::Look::from(Err(error)),
        })
    }
}

/// The next trust document, in which anna has a second key.
fn second_key(desk: &Desk) -> Result<SigningKey> {
    let first = SignedBytes::from_file_text(&fs::read_to_string(desk.file("trust/trust.signed"))?)?;
    let mut document = TrustDocument::from_bytes(&first.body)?;
    let key = SigningKey::generate()?;
    let anna = document.persons.get_mut(&"anna".parse()?).context("anna")?;
    let until = anna.keys.first().context("her first key")?.until;
    anna.keys.push(PersonKey { key: key.id(), kind: KeyKind::File, until });
    document.version += 1;
    let signed = papers::signed(Kind::Trust, document.to_bytes(), &[&desk.key("root")?])?;
    fs::write(desk.file("2.signed"), signed.to_file_text())?;
    desk.ok(&["trust", "apply", "2.signed"])?;
    Ok(key)
}

/// A chain and its key.
pub(crate) type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);
