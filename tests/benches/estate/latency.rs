//! How long an administrator waits: from a change to its verdict, from the end of the quiet time to 444, and an agent for its acknowledgement.

use std::time::{Duration, Instant};

use agent::driver::Driver as _;
use anyhow::{Context, Result};
use proto::operator::GetServerRequest;
use tests::estate::{Estate, Setup, policy};
use tests::lab::Damage;
use tests::outside;

use super::control::{flushes, millis};
use super::crowd::{Line, ceremony};
use super::{line, share};

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(60);

/// Changes, and restores.
const ROUNDS: usize = 40;

/// Reports.
const REPORTS: u64 = 1000;

pub(crate) fn measure() -> Result<()> {
    let setup = Setup { servers: vec![("EX1", None)], policy: Some(policy("observe")), ..Setup::default() };
    let mut estate = Estate::temporary(&setup)?;
    verdicts(&estate)?;
    estate.desk().apply_policy(&policy("act"), &["anna"])?;
    estate.wait_server("EX1", "mode act", LIMIT, |found| {
        let mode = found.server.as_ref().map(|server| server.mode.clone()).unwrap_or_default();
        tests::wait::when(mode == "act", || mode)
    })?;
    restores(&estate)?;
    reports(&mut estate)?;
    estate.stop()
}

/// The operators' API is asked again and again over one connection.
fn verdicts(estate: &Estate) -> Result<()> {
    let host = estate.host("EX1")?;
    let (mut took, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        host.damage(&Damage::DeleteCertificate)?;
        let began = Instant::now();
        let (found, asks) = estate.desk().ask(async |mut client| {
            let mut asks = Vec::new();
            loop {
                let asking = Instant::now();
                let answer = client.get_server(GetServerRequest { name: "EX1".to_owned() }).await?;
                asks.push(millis(asking.elapsed()));
                let verdict = answer.get_ref().server.as_ref().map(|server| server.verdict.clone()).unwrap_or_default();
                if verdict == "deleted" || began.elapsed() > LIMIT {
                    return Ok(tonic::Response::new((verdict == "deleted", asks)));
                }
            }
        })?;
        anyhow::ensure!(found, "expected the verdict `deleted` within {LIMIT:?}");
        took.push(millis(began.elapsed()));
        asked.extend(asks);
        host.heal()?;
        estate.wait_verdict("EX1", "healthy", LIMIT)?;
    }
    let (typical, slow, control) = (share(&mut took, 0.5), share(&mut took, 0.99), share(&mut asked, 0.5));
    let control_text = format!("{control:.1} ms a call");
    line(
        "change on a host to its verdict at the API, median",
        "-",
        &format!("{typical:.0} ms"),
        &control_text,
        &ratio(typical, control),
    );
    line("the same, 99 of 100", "1000 ms", &format!("{slow:.0} ms"), "-", "-");
    Ok(())
}

/// The record is removed; after two seconds of quiet it must be back. From outside.
fn restores(estate: &Estate) -> Result<()> {
    let (host, quiet, back_end) = (estate.host("EX1")?, Duration::from_secs(2), estate.back_end("EX1")?);
    let (mut took, mut shaken) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS / 2 {
        let began = Instant::now();
        outside::handshake(back_end)?;
        shaken.push(millis(began.elapsed()));
        host.damage(&Damage::RemoveRecord)?;
        let began = Instant::now();
        while outside::handshake(back_end).is_err() {
            anyhow::ensure!(began.elapsed() < LIMIT, "expected 444 to serve again within {LIMIT:?}");
        }
        took.push(millis(began.elapsed().saturating_sub(quiet)));
        estate.wait_verdict("EX1", "healthy", LIMIT)?;
    }
    let (typical, slow, control) = (share(&mut took, 0.5), share(&mut took, 0.99), share(&mut shaken, 0.5));
    let control_text = format!("{control:.1} ms a TLS");
    line(
        "end of the quiet time to 444 served, median",
        "-",
        &format!("{typical:.0} ms"),
        &control_text,
        &ratio(typical, control),
    );
    line("the same, 99 of 100", "2000 ms", &format!("{slow:.0} ms"), "-", "-");
    Ok(())
}

/// One agent reports and reports, each time something else.
fn reports(estate: &mut Estate) -> Result<()> {
    let sight = estate.host("EX1")?.driver().observe().context("a look")?;
    let tokens = ceremony(estate, 1, Vec::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir_in(estate.folder())?;
    let (mut took, bytes) = runtime.block_on(async {
        let token = tokens.first().context("a token")?;
        let mut line = Line::join(folder.path(), token).await?;
        let mut open = line.open().await?;
        let mut took = Vec::new();
        let mut bytes = 0;
        for number in 0..REPORTS {
            let mut report = sight.report.clone();
            report.host.name = token.server.clone();
            report.hold = Some(format!("number {number}"));
            let (time, length) = open.report(report).await?;
            took.push(millis(time));
            bytes = length;
        }
        anyhow::Ok((took, bytes))
    })?;
    let mut flushed = flushes(estate.folder(), bytes, 500)?;
    let (typical, slow) = (share(&mut took, 0.5), share(&mut took, 0.99));
    let (control, control_slow) = (share(&mut flushed, 0.5), share(&mut flushed, 0.99));
    line(
        &format!("report of {bytes} bytes committed and acknowledged, median"),
        "-",
        &format!("{typical:.2} ms"),
        &format!("{control:.2} ms flush"),
        &ratio(typical, control),
    );
    line(
        "the same, 99 of 100",
        "20 ms",
        &format!("{slow:.2} ms"),
        &format!("{control_slow:.2} ms flush"),
        &ratio(slow, control_slow),
    );
    Ok(())
}

pub(crate) fn ratio(one: f64, other: f64) -> String {
    format!("{:.1}", one / other)
}
