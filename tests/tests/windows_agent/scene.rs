//! A controller on Linux and an agent on Windows, and what is done with them again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use proto::operator::Plan;
use tests::desk::hex;
use tests::estate::{Estate, Setup, policy};
use tests::process::Guard;
use tests::wait;
use tests::wine::ended;
use tests::wine::exchange::Exchange;

/// For whatever must happen in the end, on a slow machine too.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// A controller, and one Windows machine with an agent.
pub(crate) struct Scene {
    pub(crate) estate: Estate,
    pub(crate) exchange: Exchange,
}

impl Scene {
    /// With the agent as a program at a console.
    pub(crate) fn set(mode: &str) -> Result<Self> {
        let mut scene = Self::invited(mode)?;
        scene.start_agent()?;
        scene.joined()?;
        Ok(scene)
    }

    /// With the agent as a service.
    pub(crate) fn serviced(mode: &str) -> Result<Self> {
        let scene = Self::invited(mode)?;
        scene.does(&["install"])?;
        scene.does(&["start"])?;
        scene.joined()?;
        Ok(scene)
    }

    /// Before anything runs.
    fn invited(mode: &str) -> Result<Self> {
        let setup = Setup { servers: Vec::new(), policy: Some(policy(mode)), ..Setup::default() };
        let estate = Estate::temporary(&setup)?;
        let exchange = Exchange::install(estate.folder().join("logs"), Guard::new()?)?;
        let scene = Self { estate, exchange };
        let server = scene.exchange.server().to_owned();
        let token = scene.estate.desk().file("join-token");
        scene.estate.desk().ok(&["token", "create", "--server", &server, "--out", &token.display().to_string()])?;
        scene.exchange.invite(&std::fs::read(&token)?)?;
        Ok(scene)
    }

    fn joined(&self) -> Result<()> {
        self.verdict("healthy")?;
        let version = self.estate.desk().json(&["status"])?["policy_version"].as_u64().context("policy_version")?;
        self.estate.wait_server(self.server(), "the policy", LIMIT, |response| {
            let held = response.server.as_ref().map(|server| server.policy_version).unwrap_or_default();
            wait::when(held == version, || format!("version {held}"))
        })
    }

    /// A command of the agent's program, to its end.
    pub(crate) fn does(&self, arguments: &[&str]) -> Result<()> {
        let ended = ended(&mut self.exchange.agent(arguments), LIMIT)?;
        ensure!(ended.code == 0, "backstay-agent {}: {} {}", arguments.join(" "), ended.stdout, ended.stderr);
        Ok(())
    }

    pub(crate) fn server(&self) -> &str {
        self.exchange.server()
    }

    pub(crate) fn start_agent(&mut self) -> Result<()> {
        let command = self.exchange.agent(&["run"]);
        self.estate.run_agent(self.exchange.server(), command)
    }

    pub(crate) fn verdict(&self, wanted: &str) -> Result<()> {
        let explained = || self.estate.desk().ok(&["explain", self.server()]).unwrap_or_else(|error| format!("{error:#}"));
        self.estate.wait_verdict(self.server(), wanted, LIMIT).with_context(explained)
    }

    /// Waits until there is a finding of this code.
    pub(crate) fn finding(&self, code: &str) -> Result<()> {
        self.estate.wait_server(self.server(), &format!("a finding {code}"), LIMIT, |response| {
            let found = response.findings.iter().any(|finding| finding.code == code);
            wait::when(found, || format!("{:?}", response.findings))
        })
    }

    /// Something breaks, is told, and is put back by standing approval: then everything is as it was.
    pub(crate) fn put_back(&mut self, damage: &str, verdict: &str) -> Result<()> {
        let (good, before) = (self.exchange.look()?, self.exchange.snapshot()?);
        self.exchange.damage(&[damage])?;
        let began = Instant::now();
        self.verdict(verdict)?;
        let told = began.elapsed();
        self.verdict("healthy")?;
        eprintln!("{damage}: told after {:.2} s, put back after {:.2} s", told.as_secs_f64(), began.elapsed().as_secs_f64());
        let after = self.exchange.snapshot()?;
        ensure!(after == before, "{damage}: expected everything as it was, found {:?}", changes(&before, &after));
        self.exchange.restart_http_sys()?;
        let shown = self.exchange.look()?;
        ensure!(shown == good, "{damage}: expected 444 to show {good} after a restart of http.sys, found {shown}");
        Ok(())
    }

    /// Something breaks that takes an approval: it is proposed, approved and done, and the names of what changed are returned.
    pub(crate) fn approved(&mut self, damage: &[&str], verdict: &str, purpose: &str) -> Result<Vec<String>> {
        self.exchange.damage(damage)?;
        let before = self.exchange.snapshot()?;
        self.verdict(verdict)?;
        let plan = self.propose(purpose, &[])?;
        ensure!(self.exchange.snapshot()? == before, "{purpose}: nothing is done before it is approved");
        let end = self.approve_to_the_end(plan)?;
        ensure!(matches!(end.life.as_str(), "restored" | "confirmed"), "{purpose}: found {}: {}", end.life, end.waits_for);
        self.verdict("healthy")?;
        Ok(changes(&before, &self.exchange.snapshot()?))
    }

    /// A plan for that which waits for approval, none of `known`.
    pub(crate) fn propose(&self, purpose: &str, known: &[Vec<u8>]) -> Result<Plan> {
        let proposed = |plan: &Plan| plan.purpose == purpose && plan.life == "proposed" && !known.contains(&plan.id);
        self.estate.wait_plan(self.server(), &format!("a {purpose} that is proposed"), LIMIT, proposed)
    }

    /// Approves a plan, or the one that took its place: until the host is at rest, what a plan expects may still change.
    pub(crate) fn approve(&self, mut plan: Plan) -> Result<Plan> {
        let began = Instant::now();
        loop {
            let Err(error) = self.estate.desk().approve(&hex(&plan.id), "anna", "CHG-1") else { return Ok(plan) };
            ensure!(format!("{error:#}").contains("found it superseded") && began.elapsed() < LIMIT, "{error:#}");
            plan = self.propose(&plan.purpose, std::slice::from_ref(&plan.id))?;
        }
    }

    /// Waits until the controller knows how the plan ended on the host.
    pub(crate) fn settled(&self, plan: &Plan) -> Result<Plan> {
        let ended = |life: &str| matches!(life, "restored" | "confirmed" | "undone" | "failed" | "refused" | "superseded");
        self.estate.wait_plan(self.server(), "ended", LIMIT, |found| found.id == plan.id && ended(&found.life))
    }

    /// Approves a plan and waits for its end; what the host is still telling may take its place after the approval too.
    pub(crate) fn approve_to_the_end(&self, plan: Plan) -> Result<Plan> {
        let began = Instant::now();
        let mut plan = self.approve(plan)?;
        loop {
            let end = self.settled(&plan)?;
            if end.life != "superseded" || began.elapsed() > LIMIT {
                return Ok(end);
            }
            plan = self.approve(self.propose(&plan.purpose, std::slice::from_ref(&plan.id))?)?;
        }
    }

    pub(crate) fn end(mut self) -> Result<()> {
        let server = self.server().to_owned();
        self.estate.kill_agent(&server)?;
        self.estate.check_logs(&[])?;
        self.estate.desk().ok(&["audit", "verify"])?;
        self.estate.stop()
    }
}

/// Names with `+`, `-` and `~` for what is new, gone and changed; thumbprints and containers left out, for they are new each time.
pub(crate) fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let kind = |name: &str| {
        if name.starts_with("record/") { name.to_owned() } else { name.rsplit_once('/').unwrap_or_default().0.to_owned() }
    };
    let mut found: Vec<String> = before
        .keys()
        .chain(after.keys().filter(|name| !before.contains_key(*name)))
        .filter_map(|name| match (before.get(name), after.get(name)) {
            (None, Some(_)) => Some(format!("+{}", kind(name))),
            (Some(_), None) => Some(format!("-{}", kind(name))),
            (Some(was), Some(is)) if was != is => Some(format!("~{}", kind(name))),
            (Some(_), Some(_)) | (None, None) => None,
        })
        .collect();
    found.sort();
    found
}
