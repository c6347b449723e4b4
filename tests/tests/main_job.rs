//! The main job's lines that the tour does not walk: several approvers, and a host that is alone.

use std::time::Duration;

use policy::trust::{Approval, Kind};
use proto::operator::SubmitApprovalRequest;
use tests::desk::hex;
use tests::estate::{Estate, Setup, policy};
use tests::lab::Damage;
use tests::outside::Client;
use tests::{papers, wait};

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

const SERVER: &str = "EX1";

fn estate(need: Vec<&'static str>, mode: &str) -> Estate {
    let setup = Setup { servers: vec![(SERVER, None)], need, policy: Some(policy(mode)), ..Setup::default() };
    Estate::temporary(&setup).expect("an estate")
}

#[test]
fn a_renewal_runs_when_as_many_persons_approved_as_the_estate_wants_and_not_before() {
    let mut estate = estate(vec!["renew=2"], "propose");
    let host = estate.host(SERVER).expect("a host");
    host.damage(&Damage::Expiring { days: 20 }).expect("ages");
    let plan = estate.wait_plan(SERVER, "proposed", LIMIT, |plan| plan.life == "proposed").expect("a plan");
    let (id, before) = (hex(&plan.id), host.snapshot().expect("a disk"));
    let desk = estate.desk();
    desk.approve(&id, "anna", "CHG-1").expect("approved");

    // The same person again, by another approval; and one who says that he asked for it.
    let key = desk.key_file("anna").display().to_string();
    let again = desk.run(&["plan", "approve", &id, "--key", &key, "--reason", "once more", "--yes"]).expect("ends");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(5), "{said}");
    assert!(said.contains("persons are counted, not approvals"), "{said}");
    let body = policy::plan::Plan::from_bytes(&desk.plan(&plan.id).expect("a plan").body).expect("reads");
    let submit = |approval: &Approval, person: &str| {
        let signed = papers::signed(Kind::Approval, approval.to_bytes(), &[&desk.key(person).expect("a key")]).expect("signed");
        let request = SubmitApprovalRequest { approval: Some(signed.into()) };
        desk.ask(async |mut client| client.submit_approval(request.clone()).await).map(drop)
    };
    let asked =
        Approval { requester: Some("ben".parse().expect("a name")), ..papers::approval(&body, "ben").expect("an approval") };
    let refused = submit(&asked, "ben").expect_err("who asks does not approve").to_string();
    assert!(refused.contains("PermissionDenied") && refused.contains("ben asked for the plan"), "{refused}");
    let borrowed = papers::approval(&body, "ben").expect("an approval");
    let refused = submit(&borrowed, "anna").expect_err("not ben's key").to_string();
    assert!(refused.contains("PermissionDenied"), "{refused}");

    let row =
        estate.wait_plan(SERVER, "approved by one", LIMIT, |found| found.id == plan.id && found.approvals == 1).expect("a plan");
    assert_eq!((row.life.as_str(), row.needed), ("proposed", 2));
    wait::throughout(Duration::from_secs(3), || {
        assert_eq!(host.snapshot()?, before);
        Ok(())
    })
    .expect("nothing changes");

    estate.desk().approve(&id, "ben", "CHG-2").expect("approved");
    let done = |found: &proto::operator::Plan| found.id == plan.id && found.life == "confirmed";
    estate.wait_plan(SERVER, "confirmed", LIMIT, done).expect("runs");
    estate.wait_verdict(SERVER, "healthy", LIMIT).expect("seen");
    // Said by two, written in the trail, and nothing else complained.
    let trail = estate.desk().ok(&["audit", "list", "--all"]).expect("a trail");
    assert!(trail.contains("CHG-1") && trail.contains("CHG-2"), "{trail}");
    estate.desk().ok(&["audit", "verify"]).expect("verifies");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}

#[test]
fn a_host_that_is_alone_puts_back_what_it_lost_and_the_controller_learns_of_it() {
    let mut estate = estate(Vec::new(), "act");
    let host = estate.host(SERVER).expect("a host");
    let back_end = estate.back_end(SERVER).expect("444");
    let good = Client::find().look(back_end).expect("shown");
    estate.stop_controller().expect("stops");
    host.damage(&Damage::RemoveRecordAndCertificate).expect("lost");
    assert!(Client::find().look(back_end).is_err());
    let again = wait::until("444 to serve again", LIMIT, || Client::find().look(back_end).into()).expect("put back");
    assert_eq!(again, good);
    // An agent that starts while nobody is there finds nothing to do, and waits.
    estate.stop_agent(SERVER).expect("stops");
    estate.start_agent(SERVER).expect("starts");
    estate.start_controller().expect("starts");
    let done = |plan: &proto::operator::Plan| plan.purpose == "undelete" && plan.life == "confirmed";
    let plan = estate.wait_plan(SERVER, "an undelete that is confirmed", LIMIT, done).expect("told");
    let receipt = estate.desk().plan(&plan.id).expect("a plan").receipt.expect("a receipt");
    assert!(!receipt.standing.is_empty(), "{receipt:?}");
    estate.wait_verdict(SERVER, "healthy", LIMIT).expect("seen");
    estate.stop().expect("stops");
    estate.check_logs(&[]).expect("quiet logs");
}
