//! Whose turn it is (P8): never two of one group, never more than the policy has in work at once, however the looks race.

use policy::id::PlanId;
use policy::life::Life;
use policy::receipt::Outcome;
use policy::report::Fact;

use crate::audit::Actor;
use crate::reconcile::{Terms, look};
use crate::stage::{People, certificate, enrol, later, noon, person, receipt, report, server, sight, store, verified};
use crate::store::{Held, Store};

/// Three servers, each in a DAG of its own; the first two share an AD site.
const SERVERS: [(&str, &str, Fact<&str>); 3] =
    [("EX1", "DAG1", Fact::Known("Berlin")), ("EX2", "DAG2", Fact::Known("Berlin")), ("EX3", "DAG3", Fact::Known("Hamburg"))];

struct Wave {
    _folder: tempfile::TempDir,
    store: Store,
    plans: Vec<(String, PlanId)>,
}

impl Wave {
    /// Every server has an approved plan, under a policy with these keys of `[waves]`.
    async fn of(servers: &[(&str, &str, Fact<&str>)], keys: &str) -> Self {
        let (folder, store) = store().await;
        let people = People::new();
        people
            .rule(&store, 1, &format!("estate = \"contoso\"\nversion = 1\nmode = \"propose\"\n[waves]\nsoak = \"60s\"\n{keys}"))
            .await;
        let mut wave = Self { _folder: folder, store, plans: Vec::new() };
        for (name, dag, site) in servers {
            enrol(&wave.store, name).await;
            let mut seen = sight(name, &certificate(name, (2026, 12, 1)));
            seen.report.host.dag = Fact::Known(Some((*dag).to_owned()));
            seen.report.host.ad_site = match site {
                Fact::Known(site) => Fact::Known((*site).to_owned()),
                Fact::Unknown(why) => Fact::Unknown(why.clone()),
            };
            report(&wave.store, &seen, 1, noon()).await;
            wave.look(&[name], 0).await;
            let filter = crate::store::PlanFilter { open_only: true, server: Some(server(name)) };
            let plan = wave.store.plans(&filter, None, 1).await.expect("reads").remove(0).id;
            let signed = people.approval("anna", plan, noon(), later(86_400));
            wave.store.add_approval(verified(&signed), signed, Actor::Person(person("anna")), noon()).await.expect("kept");
            wave.plans.push(((*name).to_owned(), plan));
        }
        wave
    }

    /// Looks at these servers, all of them before anything is written, as several controllers would.
    async fn look(&self, names: &[&str], seconds: u32) {
        let policy = self.store.policy().await.expect("reads").expect("in force").policy().expect("policy").value;
        let trust = self.store.trust().await.expect("reads").expect("in force").trust().expect("trust").value;
        let now = later(seconds);
        let terms =
            Terms { policy: &policy, trust: Some(&trust), in_force: Held::default(), stopped: None, connected: true, now };
        let mut conclusions = Vec::new();
        for name in names {
            let scene = self.store.scene(&server(name)).await.expect("reads").expect("reported");
            conclusions.push((server(name), look(&scene, &terms)));
        }
        for (name, conclusion) in conclusions {
            self.store.conclude(&name, conclusion, now).await.expect("written");
        }
    }

    /// Each server with where its plan stands and what it waits for.
    async fn stands(&self) -> Vec<(Life, String)> {
        let mut found = Vec::new();
        for (_, plan) in &self.plans {
            let row = self.store.plan(plan).await.expect("reads").expect("is there");
            found.push((row.life, row.waits_for));
        }
        found
    }

    async fn lives(&self) -> Vec<Life> {
        self.stands().await.into_iter().map(|(life, _)| life).collect()
    }
}

const ALL: [&str; 3] = ["EX1", "EX2", "EX3"];

#[tokio::test]
async fn one_server_at_a_time_unless_the_policy_says_more() {
    use Life::{Confirmed, Offered, Waiting};
    let wave = Wave::of(&SERVERS, "").await;
    wave.look(&ALL, 1).await;
    assert_eq!(wave.lives().await, [Offered, Waiting, Waiting], "looks that raced");
    wave.look(&ALL, 2).await;
    let stands = wave.stands().await;
    assert_eq!(stands[2].1, "one at a time: 1 of 1 server(s) that the policy has in work at once, EX1 among them");
    // Restored is still in work; confirmed is not, and everybody who waits for a turn is asked to look again.
    let (name, plan) = &wave.plans[0];
    wave.store.settle(&server(name), receipt(*plan, Outcome::Restored, later(3)), later(3)).await.expect("settled");
    wave.look(&["EX2"], 4).await;
    assert_eq!(wave.lives().await[1], Waiting);
    report(&wave.store, &sight("EX1", &certificate("EX1", (2031, 12, 1))), 2, later(5)).await;
    wave.look(&["EX1"], 64).await;
    assert_eq!(wave.store.waiting_beside(&server("EX1")).await.expect("reads"), [server("EX2"), server("EX3")]);
    wave.look(&["EX2", "EX3"], 65).await;
    assert_eq!(wave.lives().await, [Confirmed, Offered, Waiting]);
}

#[tokio::test]
async fn several_at_once_are_never_of_one_dag_and_by_site_never_of_one_site() {
    use Life::{Offered, Waiting};
    let wave = Wave::of(&SERVERS, "at_once = 2\n").await;
    wave.look(&ALL, 1).await;
    assert_eq!(wave.lives().await, [Offered, Offered, Waiting], "DAG1 and DAG2 are two groups");
    let by_site = Wave::of(&SERVERS, "at_once = 2\ngroup_by = \"site\"\n").await;
    by_site.look(&ALL, 1).await;
    assert_eq!(by_site.lives().await, [Offered, Waiting, Offered], "EX2 shares Berlin with EX1");
    by_site.look(&["EX2"], 2).await;
    let waits = &by_site.stands().await[1].1;
    assert!(waits.starts_with("one at a time: EX1 of the same AD site has plan"), "{waits}");
    let one_dag = SERVERS.map(|(name, _, site)| (name, "DAG1", site));
    let wave = Wave::of(&one_dag, "at_once = 100\n").await;
    wave.look(&ALL, 1).await;
    assert_eq!(wave.lives().await, [Offered, Waiting, Waiting]);
}

#[tokio::test]
async fn an_unknown_site_is_near_to_all_when_sites_count() {
    use Life::{Offered, Waiting};
    let [first, second, (name, dag, _)] = SERVERS;
    let servers = [(name, dag, Fact::Unknown("no domain controller answered".to_owned())), first, second];
    let wave = Wave::of(&servers, "at_once = 3\ngroup_by = \"site\"\n").await;
    wave.look(&["EX3", "EX1", "EX2"], 1).await;
    assert_eq!(wave.lives().await, [Offered, Waiting, Waiting]);
    wave.look(&["EX1"], 2).await;
    let waits = &wave.stands().await[1].1;
    assert!(waits.starts_with("one at a time: EX3 of the same AD site"), "{waits}");
}
