//! Everything that a look at one server needs, read in one place.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use policy::Timestamp;
use policy::certificate::Certificate;
use policy::evaluate::Assessment;
use policy::finding::Verdict;
use policy::id::{CertificateId, PlanId, ServerName, Sha256};
use policy::last::LastKnown;
use policy::life::Life;
use policy::peers::{self, Peer};
use policy::plan::{Plan, Purpose};
use policy::receipt::Receipt;
use policy::report::{Report, Sight};
use policy::trust::{Approval, Verified};
use sqlx::any::AnyRow;

use super::Store;
use super::error::{Doing, StoreError};
use super::plans::{PlanRow, approval, plan_row};
use super::row::Columns;
use super::servers::ServerRow;

/// Plans of one server that are looked at: the newest.
const PLANS: i64 = 100;

/// Servers at work that are read: more than any policy has at once.
const AT_WORK: i64 = 200;

/// One server with everything around it.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The server.
    pub server: ServerRow,
    /// Its newest report, with the certificates that are at hand.
    pub sight: Sight,
    /// What was remembered at the last look.
    pub last: LastKnown,
    /// What was concluded then.
    pub assessment: Option<Assessment>,
    /// Its plans, the newest first.
    pub plans: Vec<PlanSeen>,
    /// Servers that look at its 444, the nearest first, and their last words.
    pub peers: Vec<Peer>,
    /// Other servers that may be a reason to wait: whoever is at work anywhere, and trouble in its group or AD site.
    pub neighbours: Vec<Neighbour>,
}

impl Scene {
    /// Those who look at this server by the policy, and who of them is connected.
    pub fn look_from(&mut self, count: u32, connected: impl Fn(&ServerName) -> bool) {
        self.peers.truncate(count as usize);
        self.peers.iter_mut().for_each(|peer| peer.heard = connected(&peer.server));
    }

    /// What those who look at this server are asked.
    pub fn question(&self) -> Sha256 {
        let done = self.plans.iter().filter(|seen| matches!(seen.row.life, Life::Restored | Life::Confirmed));
        let newest = done.max_by_key(|seen| (seen.row.changed_at, Reverse(seen.row.id)));
        peers::question(self.server.thumbprint, newest.map(|seen| seen.row.id))
    }
}

/// A plan with what was said to it.
#[derive(Debug, Clone)]
pub struct PlanSeen {
    /// As it stands.
    pub row: PlanRow,
    /// What it is.
    pub plan: Plan,
    /// Approvals whose signatures hold; only of a plan that is still open.
    pub approvals: Vec<Verified<Approval>>,
    /// When its agent began, by the agent's clock, if there is a receipt.
    pub began_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Another server that may be a reason to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Which.
    pub server: ServerName,
    /// How near it is.
    pub near: Near,
    /// What is the matter there.
    pub trouble: Trouble,
}

/// What two servers have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Near {
    /// The group: they are never worked on at once, whatever the policy says.
    Group,
    /// The AD site, or that of one of them is unknown.
    Site,
    /// Nothing but the estate.
    Estate,
}

/// What speaks against work elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It is at work, or its result is not confirmed yet.
    AtWork {
        /// By which plan.
        plan: PlanId,
        /// Where that stands.
        life: Life,
        /// It only puts back what was lost, which waits for no turn.
        restores: bool,
    },
    /// Its last renewal went wrong, and no person has decided about the next one: a failure stops the wave.
    WentWrong {
        /// By which plan.
        plan: PlanId,
        /// How that ended.
        life: Life,
    },
    /// The store was put back from a backup, and what was done there since is not known.
    Unheard,
    /// Its 444 is lost.
    Lost {
        /// How.
        verdict: Verdict,
    },
}

impl Store {
    /// Everything that a look at `server` needs; `None` before its first report.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn scene(&self, name: &ServerName) -> Result<Option<Scene>, StoreError> {
        let Some(server) = self.server(name).await? else { return Ok(None) };
        let Some(row) = sqlx::query("SELECT report, assessment, last_known FROM reports WHERE server = $1")
            .bind(name.as_str())
            .fetch_optional(self.readers())
            .await
            .doing("reading a report")?
        else {
            return Ok(None);
        };
        let row = Columns(&row);
        let report: Report = row.json("report")?;
        let (assessment, last) = (row.json_if_any("assessment")?, row.json_if_any("last_known")?.unwrap_or_default());
        let certificates = self.decoded(&report).await?;
        let plans = self.plans_seen(name).await?;
        let peers = self.peers(name).await?;
        let neighbours = self.neighbours(&server).await?;
        Ok(Some(Scene { server, sight: Sight { report, certificates }, last, assessment, plans, peers, neighbours }))
    }

    /// What does not decode is left out: then it is not at hand, which permits nothing.
    async fn decoded(&self, report: &Report) -> Result<BTreeMap<CertificateId, Certificate>, StoreError> {
        let found = self.certificates(&report.named_certificates()).await?;
        Ok(found
            .into_iter()
            .filter_map(|(id, der)| Some((id, Certificate::from_der(&der).ok().filter(|made| made.id() == id)?)))
            .collect())
    }

    async fn plans_seen(&self, name: &ServerName) -> Result<Vec<PlanSeen>, StoreError> {
        let rows = sqlx::query(
            "SELECT plans.*, receipts.receipt AS receipt FROM plans LEFT JOIN receipts ON receipts.plan = plans.id
             WHERE plans.server = $1 ORDER BY plans.created_at DESC, plans.id LIMIT $2",
        )
        .bind(name.as_str())
        .bind(PLANS)
        .fetch_all(self.readers())
        .await
        .doing("reading the plans of a server")?;
        let mut approvals = self.approvals_of_open_plans(name).await?;
        rows.iter().map(|row| plan_seen(row, &mut approvals)).collect()
    }

    async fn approvals_of_open_plans(&self, name: &ServerName) -> Result<BTreeMap<PlanId, Vec<Verified<Approval>>>, StoreError> {
        let rows = sqlx::query(
            "SELECT approvals.plan AS plan, approvals.id AS id, approvals.signed AS signed
             FROM approvals JOIN plans ON plans.id = approvals.plan
             WHERE plans.server = $1 AND plans.life IN ('proposed', 'approved', 'waiting') ORDER BY approvals.received_at, approvals.id",
        )
        .bind(name.as_str())
        .fetch_all(self.readers())
        .await
        .doing("reading approvals")?;
        let mut found: BTreeMap<PlanId, Vec<Verified<Approval>>> = BTreeMap::new();
        for row in &rows {
            found.entry(Columns(row).parsed("plan")?).or_default().push(approval(row)?.verified()?);
        }
        Ok(found)
    }

    async fn neighbours(&self, server: &ServerRow) -> Result<Vec<Neighbour>, StoreError> {
        let neighbour = |row: &Columns<'_>, trouble| {
            let (group, site) = (row.text("grp")?, row.text_if_any("ad_site")?);
            let near = if group == server.group {
                Near::Group
            } else if site.is_none() || server.ad_site.is_none() || site == server.ad_site {
                Near::Site
            } else {
                Near::Estate
            };
            Ok(Neighbour { server: row.parsed("server")?, near, trouble })
        };
        let at_work = sqlx::query(
            "SELECT plans.server AS server, plans.id AS id, plans.life AS life, plans.purpose AS purpose, plans.grp AS grp, servers.ad_site AS ad_site
             FROM plans JOIN servers ON servers.name = plans.server
             WHERE plans.server <> $1 AND (plans.life IN ('offered', 'running') OR (plans.life = 'restored' AND plans.purpose NOT IN ('restore_record', 'undelete', 'fix_store', 'relink')))
             ORDER BY plans.server LIMIT $2",
        )
        .bind(server.name.as_str())
        .bind(AT_WORK)
        .fetch_all(self.readers())
        .await
        .doing("reading who is at work")?;
        let at_work = at_work.iter().map(|row| {
            let row = Columns(row);
            let purpose: Purpose = row.word("purpose", |word| serde_json::from_value(serde_json::Value::from(word)).ok())?;
            let (plan, life) = (row.parsed("id")?, row.word("life", Life::from_word)?);
            neighbour(&row, Trouble::AtWork { plan, life, restores: purpose.restores() })
        });
        let went_wrong = sqlx::query(
            "SELECT plans.server AS server, plans.id AS id, plans.life AS life, servers.grp AS grp, servers.ad_site AS ad_site
             FROM servers JOIN plans ON plans.server = servers.name
             WHERE (servers.grp = $1 OR servers.ad_site = $3) AND servers.name <> $2 AND COALESCE(servers.verdict, '') <> 'healthy'
               AND plans.life IN ('failed', 'undone') AND plans.purpose NOT IN ('restore_record', 'undelete', 'fix_store', 'relink')
               AND NOT EXISTS (SELECT 1 FROM plans AS later WHERE later.server = plans.server AND later.created_at > plans.created_at AND later.life <> 'proposed')
             ORDER BY plans.server LIMIT 10",
        )
        .bind(server.group.as_str())
        .bind(server.name.as_str())
        .bind(server.ad_site.as_deref())
        .fetch_all(self.readers())
        .await
        .doing("reading what went wrong in a group")?;
        let went_wrong = went_wrong.iter().map(|row| {
            let row = Columns(row);
            let (plan, life) = (row.parsed("id")?, row.word("life", Life::from_word)?);
            neighbour(&row, Trouble::WentWrong { plan, life })
        });
        let lost = sqlx::query(
            "SELECT name AS server, verdict, grp, ad_site FROM servers
             WHERE (grp = $1 OR ad_site = $3) AND name <> $2 AND verdict IN ('dead', 'key_lost', 'deleted', 'unbound') ORDER BY name LIMIT 10",
        )
        .bind(server.group.as_str())
        .bind(server.name.as_str())
        .bind(server.ad_site.as_deref())
        .fetch_all(self.readers())
        .await
        .doing("reading who is lost in a group")?;
        let lost = lost.iter().map(|row| {
            let row = Columns(row);
            let verdict = row.word("verdict", |word| serde_json::from_value(serde_json::Value::from(word)).ok())?;
            neighbour(&row, Trouble::Lost { verdict })
        });
        // The server itself among them: what it has to tell comes after its hello.
        let unheard = sqlx::query(
            "SELECT servers.name AS server, servers.grp AS grp, servers.ad_site AS ad_site FROM awaited JOIN servers ON servers.name = awaited.server
             WHERE servers.grp = $1 OR servers.ad_site = $2 ORDER BY servers.name LIMIT 10",
        )
        .bind(server.group.as_str())
        .bind(server.ad_site.as_deref())
        .fetch_all(self.readers())
        .await
        .doing("reading who was not heard in a group")?;
        let unheard = unheard.iter().map(|row| neighbour(&Columns(row), Trouble::Unheard));
        at_work.chain(went_wrong).chain(lost).chain(unheard).collect()
    }

    /// Whether a plan of `name` is approved and has not been sent: it may wait for its agent, or for what that holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_awaited(&self, name: &ServerName) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT id FROM plans WHERE server = $1 AND life IN ('approved', 'waiting') LIMIT 1")
            .bind(name.as_str())
            .fetch_optional(self.readers())
            .await
            .doing("asking whether a plan waits for its agent")?;
        Ok(row.is_some())
    }

    /// Servers that may have waited for `name`: those of its group with a plan that has not begun, and whoever waits for a turn.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn waiting_beside(&self, name: &ServerName) -> Result<Vec<ServerName>, StoreError> {
        let rows = sqlx::query(
            "SELECT DISTINCT server FROM plans
             WHERE life IN ('approved', 'waiting') AND server <> $1
               AND (grp = (SELECT grp FROM servers WHERE name = $1) OR waits_for LIKE 'one at a time%' OR waits_for LIKE 'a failure stops%') ORDER BY server LIMIT 1000",
        )
        .bind(name.as_str())
        .fetch_all(self.readers())
        .await
        .doing("reading who waits for a turn")?;
        rows.iter().map(|row| Columns(row).parsed("server")).collect()
    }
}

fn plan_seen(row: &AnyRow, approvals: &mut BTreeMap<PlanId, Vec<Verified<Approval>>>) -> Result<PlanSeen, StoreError> {
    let receipt: Option<Receipt> = Columns(row).json_if_any("receipt")?;
    let row = plan_row(row)?;
    let plan = row.plan()?;
    let approvals = approvals.remove(&row.id).unwrap_or_default();
    let (began_at, ended_at) = receipt.map(|receipt| (receipt.began_at, receipt.ended_at)).unzip();
    Ok(PlanSeen { row, plan, approvals, began_at, ended_at })
}
