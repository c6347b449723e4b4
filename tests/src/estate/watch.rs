//! What is seen and heard of an estate while it runs.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use proto::operator::{GetServerResponse, Plan};
use tempfile::TempDir;

use super::Estate;
use crate::wait::{self, Look, when};

impl Estate {
    /// Waits until the controller says of a server what `look` wants to hear.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub fn wait_server<T>(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        look: impl Fn(&GetServerResponse) -> Look<T>,
    ) -> Result<T> {
        wait::until(&format!("{what} of {name}"), limit, || match self.desk.server(name) {
            Ok(server) => look(&server),
            Err(error) => Look::NotYet(format!("{error:#}")),
        })
    }

    /// Waits until the verdict of a server is `wanted`.
    ///
    /// # Errors
    /// When it is not within `limit`.
    pub fn wait_verdict(&self, name: &str, wanted: &str, limit: Duration) -> Result<()> {
        self.wait_server(name, &format!("verdict {wanted}"), limit, |response| {
            let verdict = response.server.as_ref().map(|server| server.verdict.as_str()).unwrap_or_default();
            let codes = response.findings.iter().map(|finding| finding.code.as_str()).collect::<Vec<_>>().join(" ");
            when(verdict == wanted, || format!("verdict {verdict}, findings {codes}"))
        })
    }

    /// Waits until a plan of a server is as `wanted` says.
    ///
    /// # Errors
    /// When none is within `limit`.
    pub fn wait_plan(&self, name: &str, what: &str, limit: Duration, wanted: impl Fn(&Plan) -> bool) -> Result<Plan> {
        wait::until(&format!("a plan of {name} that is {what}"), limit, || match self.desk.plans(name) {
            Ok(plans) => match plans.iter().find(|plan| wanted(plan)) {
                Some(plan) => Look::Found(plan.clone()),
                None => Look::NotYet(describe(&plans)),
            },
            Err(error) => Look::NotYet(format!("{error:#}")),
        })
    }

    /// Waits until every agent has a session.
    ///
    /// # Errors
    /// When one has none within `limit`.
    pub fn wait_connected(&self, name: &str, limit: Duration) -> Result<()> {
        self.wait_server(name, "the link", limit, |response| {
            when(response.server.as_ref().is_some_and(|server| server.connected), || "it is not connected".to_owned())
        })
    }

    /// Lets a temporary folder stay when this ends, and says where it is: what lies in it tells why something failed.
    pub fn keep(&mut self) -> String {
        self.temporary.take().map(TempDir::keep);
        format!("everything is kept in {}", self.folder.display())
    }

    /// Fails when a process panicked, or said ERROR; a line that contains one of `expected` is what the test asked for. An event of
    /// the block 2xxx tells of a host, and that it is broken is what most tests are about.
    ///
    /// # Errors
    /// With the lines.
    pub fn check_logs(&self, expected: &[&str]) -> Result<()> {
        let mut wrong = Vec::new();
        for entry in fs::read_dir(self.folder.join("logs")).context("logs")? {
            let path = entry.context("logs")?.path();
            let text = String::from_utf8_lossy(&fs::read(&path).context("a log")?).into_owned();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let loud = |line: &&str| {
                let told = line.contains(" event=2") || expected.iter().any(|word| line.contains(word));
                line.contains("panicked") || (line.contains("ERROR") && !told)
            };
            wrong.extend(text.lines().filter(loud).map(|line| format!("{name}: {line}")));
        }
        if wrong.is_empty() { Ok(()) } else { bail!("expected quiet logs, found:\n{}", wrong.join("\n")) }
    }
}

fn describe(plans: &[Plan]) -> String {
    let one = |plan: &Plan| format!("{} {} ({})", plan.purpose, plan.life, plan.waits_for);
    if plans.is_empty() { "no plan".to_owned() } else { plans.iter().map(one).collect::<Vec<_>>().join(", ") }
}
