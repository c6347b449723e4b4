//! `backstay policy check|diff|forecast|sign|apply`: what is wanted, checked before it is signed and signed before it is sent.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use policy::document::Policy as Document;
use policy::id::PolicyId;
use policy::trust::Kind;
use proto::operator::{ApplyPolicyRequest, GetPolicyRequest};
use proto::signed::SignedBytes;
use serde::Serialize;

use super::connection::{Client, answer};
use super::dry_run::DryRun;
use super::failure::{Doing, Exit, Failure};
use super::output::{View, line, pairs};
use super::{Context, files, wire};
use crate::policies::InEffect;

mod diff;
mod forecast;

pub use diff::Diff;
pub use forecast::Forecast;

/// The policy.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Checks a policy here and prints every value that it has in effect; needs no controller.
    Check(Check),
    /// Shows what another policy would change, key by key, and whether it widens or narrows.
    Diff(Diff),
    /// Foresees what time brings to this estate, day by day.
    Forecast(Forecast),
    /// Adds signatures to a policy, for approvers who do not share a workstation.
    Sign(Sign),
    /// Signs a policy and puts it in force.
    Apply(Apply),
}

impl Policy {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::Check(check) => check.run(context),
            Self::Diff(diff) => diff.run(context).await,
            Self::Forecast(forecast) => forecast.run(context).await,
            Self::Sign(sign) => sign.run(context),
            Self::Apply(apply) => apply.run(context).await,
        }
    }
}

/// Checks a policy.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay policy check policy.toml
  backstay policy check policy.toml -o json")]
pub struct Check {
    /// The policy, in TOML or as `policy sign` wrote it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Check {
    fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let (_, policy) = read(&self.file)?;
        let doubts = policy.doubts(context.clock.now());
        context.output.show(&Checked { policy: InEffect::of(&policy), doubts })?;
        Ok(Exit::Ok)
    }
}

/// Signs a policy.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay policy sign policy.toml --key anna.key --out policy.signed
  backstay policy sign policy.signed --key ben.key --out policy.signed2")]
pub struct Sign {
    /// The policy, in TOML or as another approver signed it.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// An approver's signing key; repeat it for several.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,

    /// The new file for the signed policy.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Sign {
    fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let (mut signed, policy) = read(&self.file)?;
        sign(&mut signed, &self.key)?;
        files::write_new(&self.out, signed.to_file_text().as_bytes())?;
        let (version, count, out) = (policy.version, signed.signatures.len(), self.out.display());
        context.output.say(&format!("policy version {version} with {count} signature(s) is in {out}"));
        context.output.say(&format!("next: backstay policy apply {out}, or let another approver sign it too"));
        Ok(Exit::Ok)
    }
}

/// Signs a policy and sends it.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay policy apply policy.toml --key anna.key
  backstay policy apply policy.toml --key anna.key --key ben.key
  backstay policy apply policy.signed")]
pub struct Apply {
    /// The policy, in TOML or as `policy sign` wrote it.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// An approver's signing key; repeat it for several.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Apply {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let (mut signed, policy) = read(&self.file)?;
        if signed.signatures.is_empty() && self.key.is_empty() {
            return Err(Failure::new(Exit::Usage, format!("{} is not signed", self.file.display()))
                .next("name an approver's key: --key FILE"));
        }
        let mut client = context.connection.connect().await?;
        // The one in force again: somebody repeats what was done, perhaps after an answer that never came.
        let held = held(&mut client).await?;
        if held.is_none_or(|(_, id)| id != policy.id) {
            follows(&policy, held)?;
        }
        sign(&mut signed, &self.key)?;
        let id = signed.id();
        let doing = format!("putting policy version {} in force", policy.version);
        let request = ApplyPolicyRequest { policy: Some(signed.into()), validate_only: self.dry_run.validate_only() };
        let response = answer(&doing, client.apply_policy(request)).await?;
        let applied = wire::id("ApplyPolicyResponse.id", &response.id).doing(|| doing.clone())?;
        if applied != id {
            return Err(Failure::new(Exit::Error, doing).because(format!("expected id {id} back, found {applied}")));
        }
        context.output.show(&Applied { version: response.version, id })?;
        self.dry_run.say(context, &format!("the next policy has version = {} and previous = \"{id}\"", response.version + 1));
        Ok(Exit::Ok)
    }
}

/// A policy and its bytes as they are signed. TOML never begins with a brace, a signed file always does.
fn read(path: &Path) -> Result<(SignedBytes, Document), Failure> {
    let bytes = files::document(path)?;
    let signed = if bytes.trim_ascii_start().starts_with(b"{") { files::signed(path)? } else { SignedBytes::unsigned(bytes) };
    let policy = Document::from_toml(&signed.body)
        .map_err(|error| Failure::new(Exit::Error, format!("{} is not a policy that holds", path.display())).because(error))?;
    Ok((signed, policy))
}

fn sign(signed: &mut SignedBytes, keys: &[PathBuf]) -> Result<(), Failure> {
    for path in keys {
        files::key(path)?.sign(Kind::Policy, signed).doing(|| format!("signing with {}", path.display()))?;
    }
    Ok(())
}

/// Version and id of the policy in force; `None` when there is none.
async fn held(client: &mut Client) -> Result<Option<(u64, PolicyId)>, Failure> {
    let doing = "asking for the policy in force";
    let response = answer(doing, client.get_policy(GetPolicyRequest {})).await?;
    if response.policy.is_none() {
        return Ok(None);
    }
    let id = wire::id("GetPolicyResponse.id", &response.id).doing(|| doing.to_owned())?;
    Ok(Some((response.version, id)))
}

/// The policy in force, whole.
async fn in_force(client: &mut Client) -> Result<Document, Failure> {
    let doing = "asking for the policy in force";
    let response = answer(doing, client.get_policy(GetPolicyRequest {})).await?;
    let Some(signed) = response.policy else {
        return Err(Failure::new(Exit::Denied, "no policy is in force").next("name a file to try one"));
    };
    Document::from_toml(&signed.body).map_err(|error| Failure::new(Exit::Error, doing).because(error))
}

/// Says before anybody signs what the head of the policy must be. The controller checks it again.
fn follows(policy: &Document, held: Option<(u64, PolicyId)>) -> Result<(), Failure> {
    let (version, previous) = held.map_or((1, None), |(version, id)| (version.saturating_add(1), Some(id)));
    if policy.version == version && policy.previous == previous {
        return Ok(());
    }
    let quoted = |id: Option<PolicyId>| id.map_or_else(|| "no previous".to_owned(), |id| format!("previous = \"{id}\""));
    let is = format!("version = {} and {}", policy.version, quoted(policy.previous));
    let must = format!("version = {version} and {}", quoted(previous));
    let in_force =
        held.map_or_else(|| "no policy is in force".to_owned(), |(version, _)| format!("version {version} is in force"));
    Err(Failure::new(Exit::Denied, "the policy does not follow the one in force")
        .because(format!("{in_force}: expected {must}, found {is}"))
        .next(format!("write {must} at the top of the policy, look at what was changed since, and apply it again")))
}

#[derive(Serialize)]
struct Applied {
    version: u64,
    id: PolicyId,
}

impl View for Applied {
    fn text(&self) -> String {
        pairs([("policy", format!("version {}", self.version)), ("id", self.id.to_string())])
    }
}

/// A policy that reads, and what is hardly meant in it.
#[derive(Serialize)]
struct Checked {
    #[serde(flatten)]
    policy: InEffect,
    doubts: Vec<String>,
}

impl View for Checked {
    fn text(&self) -> String {
        let Self { policy, doubts } = self;
        let doubts: String = doubts.iter().map(|doubt| format!("doubtful: {}\n", line(doubt))).collect();
        policy.text() + &doubts
    }
}

impl View for InEffect {
    fn text(&self) -> String {
        let rows = self.rows();
        // What people wrote may hold anything; what we set on lines of their own stays there.
        let one = |value: &str| value.lines().map(line).collect::<Vec<_>>().join("\n");
        pairs(rows.iter().map(|(key, value)| (key.as_str(), one(value))))
    }
}

#[cfg(test)]
mod tests {
    use policy::id::Sha256;

    use super::*;

    fn policy(text: &str) -> Document {
        Document::from_toml(text.as_bytes()).expect("a policy")
    }

    #[test]
    fn every_value_in_effect_is_shown() {
        let text = InEffect::of(&policy(
            "estate = \"contoso\"\nversion = 1\n[expiry]\npropose_at = \"90d\"\n[[group]]\nname = \"lab\"\nservers = [\"ex1\"]\ndag = \"DAG1\"\nmode = \"act\"\n\
             [[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"Europe/Berlin\"\n",
        ))
        .text();
        for expected in [
            "mode                      observe\n",
            "expiry.propose_at         90d\n",
            "expiry.renew_before       30d\n",
            "quiet.record_missing      2m\n",
            "group                     lab: EX1, DAG DAG1; mode act\n",
            "window                    sat from 22:00 for 4h, Europe/Berlin\n",
            "freeze                    none\n",
        ] {
            assert!(text.contains(expected), "{expected} not in\n{text}");
        }
    }

    #[test]
    fn a_wrong_head_is_answered_with_the_right_one() {
        let first = policy("estate = \"contoso\"\nversion = 1\n");
        assert!(follows(&first, None).is_ok());
        let held = Sha256([7; 32]);
        let failure = follows(&first, Some((4, held))).expect_err("version 4 is held");
        assert_eq!(failure.exit(), Exit::Denied);
        let report = failure.report();
        assert!(
            report.contains(&format!("expected version = 5 and previous = \"{held}\", found version = 1 and no previous")),
            "{report}"
        );
        let fifth = policy(&format!("estate = \"contoso\"\nversion = 5\nprevious = \"{held}\"\n"));
        assert!(follows(&fifth, Some((4, held))).is_ok());
        assert!(follows(&fifth, Some((4, Sha256([8; 32])))).is_err(), "same version, another past");
    }

    #[test]
    fn a_mistake_is_shown_with_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.toml");
        std::fs::write(&path, "estate = \"contoso\"\nversion = 1\nmoed = \"act\"\n").expect("written");
        let report = read(&path).expect_err("unknown key").report();
        assert!(report.contains("line 3") && report.contains("moed") && report.contains("policy.toml"), "{report}");
    }
}
