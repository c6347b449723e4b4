//! What a Windows machine with a controller is brought to do: lost things put back, approved things done.

use std::time::Duration;

use anyhow::ensure;
use tests::alone::alone;
use tests::wait;

use crate::kills::lines;
use crate::scene::{LIMIT, Scene, changes};

/// For what depends on how soon http.sys is back.
const TRIES: usize = 4;

#[test]
fn outside_windows_isolated_what_is_lost_is_put_back_as_it_was() {
    alone("WIN1", || {
        let mut scene = Scene::set("act")?;
        scene.put_back("delete-certificate", "deleted")?;
        scene.put_back("remove-record", "unbound")?;
        scene.put_back("remove-record-and-certificate", "unbound")?;
        scene.put_back("lose-key-link", "key_lost")?;
        scene.put_back("wrong-store", "deleted")?;
        scene.end()
    })
    .expect("everything is put back");
}

#[test]
fn outside_windows_isolated_what_is_new_takes_an_approval_and_touches_444_only() {
    alone("WIN2", || {
        let mut scene = Scene::set("act")?;
        let old = scene.exchange.look()?;
        let changed = scene.approved(&["expiring", "--days", "20"], "expiring", "renew")?;
        let made = ["+keys", "+stores/MY", "+stores/Root", "~record/0.0.0.0:444"];
        ensure!(changed == made, "renewed: expected {made:?}, found {changed:?}");
        let new = scene.exchange.look()?;
        ensure!(new.thumbprint != old.thumbprint && new.names.iter().any(|name| name == scene.server()), "renewed: found {new}");

        // Nothing is left from which it could be put back.
        let changed = scene.approved(&["lose-everything"], "unbound", "create")?;
        let made = ["+keys", "+record/0.0.0.0:444", "+stores/MY", "+stores/Root"];
        ensure!(changed == made, "created anew: expected {made:?}, found {changed:?}");
        ensure!(scene.exchange.look()?.thumbprint != new.thumbprint, "created anew: the same certificate is shown");

        // The agent starts again after a power cut, finds its identity, and has nothing to do.
        let (shown, before) = (scene.exchange.look()?, scene.exchange.snapshot()?);
        let server = scene.server().to_owned();
        scene.exchange.reboot()?;
        scene.estate.kill_agent(&server)?;
        scene.start_agent()?;
        scene.estate.wait_connected(&server, LIMIT)?;
        scene.verdict("healthy")?;
        ensure!(scene.exchange.look()? == shown && scene.exchange.snapshot()? == before, "a reboot changes nothing");
        scene.end()
    })
    .expect("approved work is done");
}

#[test]
fn outside_windows_isolated_what_somebody_archived_is_told_and_left_alone() {
    alone("WIN6", || {
        let mut scene = Scene::set("act")?;
        let (good, before) = (scene.exchange.look()?, scene.exchange.snapshot()?);
        scene.exchange.damage(&["archive"])?;
        let archived = scene.exchange.snapshot()?;
        ensure!(changes(&before, &archived) == ["~stores/MY"], "found {:?}", changes(&before, &archived));
        scene.finding("BST112")?;
        // It is served all the same, after a restart too: http.sys finds it by its hash.
        scene.exchange.restart_http_sys()?;
        ensure!(scene.exchange.look()? == good, "444 serves what is archived");
        scene.verdict("healthy")?;
        // A look while http.sys was away found an archived certificate that is not served, and had a person asked; now nobody is any more.
        wait::until("nothing to be done", LIMIT, || {
            let plans = scene.estate.desk().plans(scene.server());
            let none = plans.as_ref().is_ok_and(|plans| plans.iter().all(|plan| plan.life == "superseded"));
            wait::when(none, || format!("{plans:?}"))
        })?;
        ensure!(scene.exchange.snapshot()? == archived, "nothing is done");
        scene.end()
    })
    .expect("what somebody archived is a finding");
}

#[test]
fn outside_windows_isolated_what_is_archived_and_not_served_is_unarchived_after_approval() {
    alone("WIN9", || {
        let mut scene = Scene::set("act")?;
        let journal = scene.exchange.machine().path(r"C:\ProgramData\Backstay\agent\journal")?;
        let (good, before) = (scene.exchange.look()?, scene.exchange.snapshot()?);
        let mut known = Vec::new();
        // The proof waits some seconds for 444 to serve. When http.sys is back later than that, the mark is set again, and a person is asked again.
        for _ in 0..TRIES {
            scene.exchange.stop_http_sys()?;
            if known.is_empty() {
                scene.exchange.damage(&["archive"])?;
            }
            let archived = scene.exchange.snapshot()?;
            ensure!(changes(&before, &archived) == ["~stores/MY"], "found {:?}", changes(&before, &archived));
            let plan = scene.propose("unarchive", &known)?;
            ensure!(scene.exchange.snapshot()? == archived, "nothing is done before it is approved");
            let plan = scene.approve(plan)?;
            // Begun, the mark taken off: now whatever kept 444 from serving ends.
            wait::until("the mark to be taken off", LIMIT, || wait::when(lines(&journal) >= 3, || "it is not".to_owned()))?;
            scene.exchange.start_http_sys()?;
            let end = scene.settled(&plan)?;
            if matches!(end.life.as_str(), "restored" | "confirmed") {
                scene.verdict("healthy")?;
                ensure!(scene.exchange.look()? == good && scene.exchange.snapshot()? == before, "all as it was");
                return scene.end();
            }
            ensure!(end.life == "undone", "found {}: {}", end.life, end.waits_for);
            known.push(plan.id);
        }
        anyhow::bail!("444 was never back in time")
    })
    .expect("an approval takes the mark off");
}

#[test]
fn outside_windows_isolated_a_renewal_that_http_sys_refuses_is_taken_back() {
    alone("WIN7", || {
        let scene = Scene::set("act")?;
        scene.exchange.damage(&["expiring", "--days", "20"])?;
        let (old, before) = (scene.exchange.look()?, scene.exchange.snapshot()?);
        let plan = scene.propose("renew", &[])?;
        scene.exchange.damage(&["refuse", "set"])?;
        let end = scene.approve_to_the_end(plan)?;
        ensure!(end.life == "undone", "found {}: {}", end.life, end.waits_for);
        scene.verdict("expiring")?;
        ensure!(scene.exchange.look()? == old, "444 shows the old certificate");
        let after = scene.exchange.snapshot()?;
        // Certificate and key stay, for nothing is ever deleted; the certificate is archived, and so nobody takes it for one to use.
        ensure!(changes(&before, &after) == ["+keys", "+stores/MY"], "found {:?}", changes(&before, &after));
        let made = after.iter().find(|(name, _)| name.starts_with("stores/MY/") && !before.contains_key(*name));
        ensure!(made.is_some_and(|(_, what)| what.ends_with("archived=true")), "found {made:?}");
        scene.end()
    })
    .expect("a run that fails is taken back");
}

#[test]
fn outside_windows_isolated_a_service_joins_reports_what_calls_of_windows_made_and_comes_back_after_a_power_cut() {
    alone("WIN5", || {
        let mut scene = Scene::serviced("act")?;
        let server = scene.server().to_owned();
        let shown = scene.exchange.look()?.thumbprint;
        let told = scene.estate.desk().json(&["server", "show", &server])?.to_string();
        ensure!(told.contains(&shown), "expected the certificate that 444 shows, {shown}, in what is told: {told}");
        scene.put_back("delete-certificate", "deleted")?;

        // An operator stops it, it says so, and nothing but an approver's signature lets it go on.
        let made = scene.estate.desk().json(&["stop", "estate", "--reason", "mail flow is broken"])?;
        ensure!(made[0]["confirmed"] == 1, "found {made:#}");
        scene.exchange.damage(&["remove-record"])?;
        scene.verdict("unbound")?;
        let lost = scene.exchange.snapshot()?;
        wait::throughout(Duration::from_secs(4), || {
            ensure!(scene.exchange.snapshot()? == lost, "something moved");
            Ok(())
        })?;
        let key = scene.estate.desk().key_file("anna").display().to_string();
        scene.estate.desk().ok(&["resume", "--all", "--key", &key, "--reason", "the cause is found", "--yes"])?;
        scene.verdict("healthy")?;

        scene.exchange.reboot()?;
        scene.estate.wait_connected(&server, LIMIT)?;
        scene.put_back("remove-record", "unbound")?;
        scene.does(&["stop"])?;
        scene.estate.wait_server(&server, "the end of the link", LIMIT, |response| {
            wait::when(response.server.as_ref().is_some_and(|server| !server.connected), || "it is connected".to_owned())
        })?;
        scene.end()
    })
    .expect("a service does what a program at a console does");
}
