//! A controller with many agents: each enrols at the real port with a token of its own, and speaks the real protocol over its own mutual TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use agent::driver::Driver as _;
use agent::driver::lab::key::Key;
use agent::driver::mint::Profile;
use agent::identity::{Identity, enrol};
use agent::tls::{self, PinnedCa};
use anyhow::{Context, Result, anyhow, ensure};
use controller::audit::Actor;
use controller::store::Store;
use jiff::Timestamp;
use policy::certificate::Certificate;
use policy::id::Sha256;
use policy::report::{Fact, Report};
use policy::trust::PersonRole;
use prost::Message as _;
use proto::agent::open_request::Message as Up;
use proto::agent::open_response::Message as Down;
use proto::agent::{Heartbeat, Held, Hello, OpenRequest, OpenResponse, ReportMessage, SessionServiceClient};
use proto::token::{JoinToken, Secret};
use proto::types::Generation;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tests::desk::ESTATE;
use tests::estate::{Estate, Setup, policy};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use super::control::Control;
use super::latency::ratio;
use super::process::{charged, loopback, memory};
use super::{line, pages};

/// Handshakes at a time: agents come back over a while, not in one moment.
const AT_ONCE: usize = 200;

/// Fewer say nothing of what each costs.
const MANY: u32 = 100;

/// So long nothing happens.
const QUIET: Duration = Duration::from_secs(60);

/// For whatever must happen in the end.
const LIMIT: Duration = Duration::from_secs(120);

/// The `number`th of the crowd.
fn name(number: u32) -> String {
    format!("CROWD{number}")
}

/// What a server of this name would see that is like the one with this report and certificate, with a certificate of its own on 444; and that.
fn like(report: &Report, old: &Certificate, name: &str, key: &Key) -> Result<(Report, Vec<u8>)> {
    let (own, full) = (report.host.name.as_str(), report.host.fqdn.known().context("a full name")?);
    let fqdn = full.replacen(&own.to_lowercase(), &name.to_lowercase(), 1);
    let profile = Profile {
        common_name: name.to_owned(),
        names: vec![name.to_owned(), fqdn.clone()],
        not_before: old.not_before(),
        not_after: old.not_after(),
    };
    let der = profile.parameters()?.self_signed(key.pair())?.der().to_vec();
    let new = Certificate::from_der(&der)?;
    let text = serde_json::to_string(report)?
        .replace(&old.id().to_string(), &new.id().to_string())
        .replace(&old.thumbprint().to_string(), &new.thumbprint().to_string())
        .replace(&format!("\"{full}\""), &format!("\"{fqdn}\""))
        .replace(&format!("\"{own}\""), &format!("\"{name}\""));
    Ok((serde_json::from_str(&text)?, der))
}

/// Tokens for so many servers, as `backstay token create` makes them, but all at once, and certificates: into the store of a controller
/// that stands still. It stands still on return only for that long.
pub(crate) fn ceremony(estate: &mut Estate, agents: u32, certificates: Vec<Vec<u8>>) -> Result<Vec<JoinToken>> {
    estate.desk().ok(&["token", "create", "--server", "CROWD", "--out", "crowd-token"])?;
    let text = fs::read_to_string(estate.desk().file("crowd-token"))?;
    let first = JoinToken::decode(text.trim())?;
    estate.stop_controller()?;
    let config = estate.folder().join("controller").join("controller.toml");
    fs::write(&config, fs::read_to_string(&config)?.replace("heartbeat_seconds = 1\n", ""))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tokens = runtime.block_on(async {
        let now = Timestamp::now();
        let store = Store::open(&estate.controller_state().join("backstay.db"), &ESTATE.parse()?, now).await?;
        store.store_certificates(certificates, now).await?;
        let mut tokens = Vec::new();
        for number in 0..agents {
            let token = JoinToken { server: name(number).parse()?, secret: Secret::generate()?, ..first.clone() };
            store.create_token(&token.server, token.secret.hash(), 86_400, Actor::Console, now).await?;
            tokens.push(token);
        }
        store.close().await;
        anyhow::Ok(tokens)
    })?;
    estate.start_controller()?;
    Ok(tokens)
}

/// An agent that has joined.
pub(crate) struct Line {
    identity: Identity,
    config: Arc<rustls::ClientConfig>,
    held: Held,
    lineage: Vec<u8>,
    counter: u64,
}

/// One whose session is open.
pub(crate) struct Open<'a> {
    line: &'a mut Line,
    out: UnboundedSender<OpenRequest>,
    answers: Streaming<OpenResponse>,
    epoch: u64,
    beat: Duration,
}

impl Line {
    /// Joins with this token.
    pub(crate) async fn join(folder: &Path, token: &JoinToken) -> Result<Self> {
        let folder: PathBuf = folder.join(token.server.as_str());
        fs::create_dir_all(&folder)?;
        let machine = format!("machine-{}", token.server);
        let admission = enrol(&folder, token, &token.controllers, None, &token.server, &machine, Timestamp::now()).await?;
        let (identity, held) = (admission.identity, admission.authority.held());
        let ca: BTreeSet<Sha256> = identity.ca().iter().map(|der| Sha256::of(der)).collect();
        let (certificate, key) = identity.credentials();
        let config = tls::identified(PinnedCa::new(ca, identity.ca().to_vec()), certificate, key)?;
        let held = Held {
            trust: held.trust.id.0.to_vec(),
            trust_version: held.trust.number,
            policy: held.policy.map(|policy| policy.id.0.to_vec()).unwrap_or_default(),
            policy_version: held.policy.map_or(0, |policy| policy.number),
            stops: Vec::new(),
        };
        Ok(Self { identity, config, held, lineage: Vec::new(), counter: 0 })
    }

    /// Connects, says hello, and is welcomed.
    pub(crate) async fn open(&mut self) -> Result<Open<'_>> {
        let joined = self.identity.joined();
        let address = joined.agents.first().context("an address")?;
        let channel = tls::dial(address, None, self.config.clone()).await?.channel;
        let (out, queue) = unbounded_channel();
        let hello = Hello {
            protocol: proto::PROTOCOL,
            server: joined.server.to_string(),
            machine_id: format!("machine-{}", joined.server),
            agent_version: "0.0.0".to_owned(),
            lineage: self.lineage.clone(),
            held: Some(self.held.clone()),
            now: Timestamp::now().as_microsecond(),
            ..Hello::default()
        };
        out.send(OpenRequest { message: Some(Up::Hello(hello)) })?;
        let mut client = SessionServiceClient::new(channel);
        let mut answers = client.open(UnboundedReceiverStream::new(queue)).await?.into_inner();
        loop {
            let message = answers.message().await?.context("a welcome")?;
            if let Some(Down::Welcome(welcome)) = message.message {
                self.lineage = welcome.lineage;
                let beat = Duration::from_secs(u64::from(welcome.heartbeat_seconds));
                return Ok(Open { line: self, out, answers, epoch: welcome.epoch, beat });
            }
        }
    }
}

impl Open<'_> {
    /// Tells a report, and waits until it is on disk there. How long that took, and how large it was.
    pub(crate) async fn report(&mut self, report: Report) -> Result<(Duration, usize)> {
        self.line.counter += 1;
        let generation = Generation { epoch: self.epoch, counter: self.line.counter };
        let message = ReportMessage {
            generation: Some(generation),
            report: Some(report.into()),
            decision: "healthy: leave alone".to_owned(),
            seen_at: Timestamp::now().as_microsecond(),
            memory: Vec::new(),
        };
        let length = message.encoded_len();
        let began = Instant::now();
        self.out.send(OpenRequest { message: Some(Up::Report(message)) })?;
        loop {
            let message = self.answers.message().await?.context("an acknowledgement")?;
            if let Some(Down::ReportAcknowledged(acknowledged)) = message.message
                && acknowledged.generation == Some(generation)
            {
                return Ok((began.elapsed(), length));
            }
        }
    }

    /// Beats until an emergency stop arrives, and says that it is held. False when the stream ended.
    async fn attend(&mut self) -> bool {
        let mut beat = tokio::time::interval(self.beat);
        beat.tick().await;
        loop {
            let message = tokio::select! {
                _ = beat.tick() => {
                    let heartbeat = Heartbeat { digest: Vec::new(), now: Timestamp::now().as_microsecond() };
                    let _ = self.out.send(OpenRequest { message: Some(Up::Heartbeat(heartbeat)) });
                    continue;
                }
                message = self.answers.message() => message,
            };
            let Ok(Some(message)) = message else { return false };
            if let Some(Down::Stop(stop)) = message.message {
                let held = Held { stops: vec![Sha256::of(&stop.body).0.to_vec()], ..self.line.held.clone() };
                let _ = self.out.send(OpenRequest { message: Some(Up::Held(held)) });
                return true;
            }
        }
    }
}

/// How the crowd stands.
#[derive(Debug, Default)]
struct Tally {
    open: AtomicU32,
    stopped: AtomicU32,
    /// Tasks that ended, and should not have.
    failed: AtomicU32,
}

pub(crate) fn measure(agents: u32) -> Result<()> {
    let setup = Setup { servers: vec![("EX1", None)], policy: Some(policy("observe")), ..Setup::default() };
    let mut estate = Estate::temporary(&setup)?;
    let host = estate.host("EX1")?;
    let report = host.driver().observe().context("a look")?.report;
    let certificate = host.back_end_certificate()?.context("a back end")?;
    let key = Key::generate(2048, Key::default_access()).context("a key")?;
    // One more than the crowd: the one to which something happens.
    let own = (0..=agents).map(|number| like(&report, &certificate, &name(number), &key)).collect::<Result<Vec<_>>>()?;
    let (mut reports, certificates): (Vec<_>, Vec<_>) = own.into_iter().unzip();
    let mut restless = reports.pop().context("a report")?;
    estate.stop_agent("EX1")?;
    let mut tokens = ceremony(&mut estate, agents + 1, certificates)?;
    let last = tokens.pop().context("a token")?;
    let process = estate.controller()?.id();
    let (empty, _) = memory(process)?;
    let title = |what: &str| format!("{agents} agents: {what}");
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let crowd = runtime.handle().clone();
    // One thread drives all of them.
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let driver = std::thread::spawn(move || runtime.block_on(async { drop(ended.await) }));

    // They join, and are connected.
    let began = Instant::now();
    let lines = crowd.block_on(join(folder.path(), tokens))?;
    line(&title("enrolled, at most 200 at a time"), "-", &format!("{:.1} s", began.elapsed().as_secs_f64()), "-", "-");
    let (tally, gate) = (Arc::new(Tally::default()), Arc::new(Semaphore::new(AT_ONCE)));
    let mut tasks = JoinSet::new();
    for (line, report) in lines.into_iter().zip(reports) {
        let (tally, gate) = (tally.clone(), gate.clone());
        tasks.spawn_on(live(line, tally, gate, report), &crowd);
    }
    all(&tally.open, agents, "connected")?;
    at_rest(process)?;

    // Nothing happens.
    let (resident, _) = memory(process)?;
    let (bytes, used) = (loopback()?, charged(process)?);
    tests::wait::beat(QUIET);
    let (bytes, used) = (loopback()? - bytes, charged(process)? - used);
    let bare = Bare::measure(&estate, agents, &crowd)?;
    let (n, seconds) = (f64::from(agents), QUIET.as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (each, all_memory, carried) =
        (resident.saturating_sub(empty) as f64 / n, resident as f64 / 1024.0, bytes as f64 / n * 3600.0 / seconds / 1024.0);
    line(&title("controller resident"), "-", &format!("{all_memory:.1} MiB"), "-", "-");
    if agents >= MANY {
        line(
            &title("of it for each agent"),
            "34 KiB",
            &format!("{each:.1} KiB"),
            &format!("{:.1} KiB TLS", bare.memory),
            &ratio(each, bare.memory),
        );
    }
    line(&title("processor time, nothing happens"), "-", &format!("{:.2} ms/s", used / seconds * 1e3), "-", "-");
    line(&title("bytes for each agent and hour, all headers"), "-", &format!("{carried:.0} KiB"), "-", "-");

    if agents >= MANY {
        let mut line = crowd.block_on(Line::join(folder.path(), &last))?;
        let mut open = crowd.block_on(line.open())?;
        let mut moves = 0_u32;
        let moved = || {
            moves += 1;
            restless.host.dag = Fact::Known(Some(format!("DAG{moves}")));
            crowd.block_on(open.report(restless.clone())).map(drop)
        };
        pages::measure(&estate, process, &crowd, title, moved)?;
    }

    // One command to all.
    let began = Instant::now();
    estate.desk().ok(&["stop", "estate", "--reason", "the benchmark"])?;
    all(&tally.stopped, agents, "stopped")?;
    line(
        &title("emergency stop, until the last has it"),
        "-",
        &format!("{:.0} ms", began.elapsed().as_secs_f64() * 1e3),
        "-",
        "-",
    );

    // All come back.
    estate.kill_controller()?;
    all_gone(&tally.open)?;
    estate.start_controller()?;
    let process = estate.controller()?.id();
    let (began, used) = (Instant::now(), charged(process)?);
    all(&tally.open, agents, "connected again")?;
    let (took, used) = (began.elapsed().as_secs_f64(), (charged(process)? - used) / n * 1e6);
    if agents < MANY {
        line(&title("all back after the controller was killed"), "-", &format!("{took:.1} s"), "-", "-");
    } else {
        line(
            &title("all back after the controller was killed"),
            "-",
            &format!("{took:.1} s"),
            &format!("{:.1} s TLS", bare.seconds),
            &ratio(took, bare.seconds),
        );
        line(
            &title("processor time for each that comes back"),
            "1.35",
            &format!("{used:.0} us"),
            &format!("{:.0} us TLS", bare.cpu),
            &ratio(used, bare.cpu),
        );
    }
    ensure!(tally.failed.load(Ordering::Relaxed) == 0, "expected all to stay, {} did not", tally.failed.load(Ordering::Relaxed));
    drop(end);
    driver.join().map_err(|_| anyhow!("the crowd panicked"))?;
    estate.stop()
}

async fn join(folder: &Path, tokens: Vec<JoinToken>) -> Result<Vec<Line>> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut joining = JoinSet::new();
    for (number, token) in tokens.into_iter().enumerate() {
        let (gate, folder) = (gate.clone(), folder.to_owned());
        joining.spawn(async move {
            let _place = gate.acquire().await?;
            anyhow::Ok((number, Line::join(&folder, &token).await?))
        });
    }
    let mut lines = BTreeMap::new();
    while let Some(line) = joining.join_next().await {
        let (number, line) = line??;
        lines.insert(number, line);
    }
    Ok(lines.into_values().collect())
}

/// Connects, reports once, and stays; comes back when the stream ends.
async fn live(mut line: Line, tally: Arc<Tally>, gate: Arc<Semaphore>, report: Report) {
    let mut first = true;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1800) {
        let Ok(place) = gate.acquire().await else { return };
        let opened = line.open().await;
        drop(place);
        let Ok(mut open) = opened else {
            #[expect(clippy::disallowed_methods, reason = "nobody is there: an agent pauses before it tries again, too")]
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if first && open.report(report.clone()).await.is_err() {
            break;
        }
        first = false;
        tally.open.fetch_add(1, Ordering::Relaxed);
        while open.attend().await {
            tally.stopped.fetch_add(1, Ordering::Relaxed);
        }
        tally.open.fetch_sub(1, Ordering::Relaxed);
    }
    tally.failed.fetch_add(1, Ordering::Relaxed);
}

fn all(count: &AtomicU32, agents: u32, what: &str) -> Result<()> {
    tests::wait::until(&format!("all to be {what}"), LIMIT, || {
        let found = count.load(Ordering::Relaxed);
        tests::wait::when(found >= agents, || format!("{found} of {agents}"))
    })
}

/// Waits until whatever followed from their coming is done: a second in which hardly anything is charged.
fn at_rest(process: u32) -> Result<()> {
    let mut before = charged(process)?;
    tests::wait::until("the controller to rest", LIMIT, || {
        tests::wait::beat(Duration::from_secs(1));
        let now = charged(process).unwrap_or(f64::INFINITY);
        let used = now - std::mem::replace(&mut before, now);
        tests::wait::when(used < 0.1, || format!("{used:.2} s in a second"))
    })
}

fn all_gone(count: &AtomicU32) -> Result<()> {
    tests::wait::until("all to notice", LIMIT, || {
        let found = count.load(Ordering::Relaxed);
        tests::wait::when(found == 0, || format!("{found} have not"))
    })
}

/// The control: as many connections to a server that only shakes hands.
struct Bare {
    /// KiB for each.
    memory: f64,
    /// Microseconds for each.
    cpu: f64,
    /// For all.
    seconds: f64,
}

impl Bare {
    fn measure(estate: &Estate, agents: u32, crowd: &tokio::runtime::Handle) -> Result<Self> {
        let control = Control::start(&estate.controller_state())?;
        let (empty, _) = memory(control.id())?;
        let used = charged(control.id())?;
        let authority = controller::ca::Authority::load(&estate.controller_state(), &ESTATE.parse()?)?;
        // Any client of this CA will do.
        let client = authority.issue_operator(&"bench".parse()?, PersonRole::Viewer, Timestamp::now())?;
        let leaf = CertificateDer::from_pem_slice(client.certificate_pem.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(client.key_pem.as_bytes())?;
        let ca = PinnedCa::new([authority.fingerprint()].into(), vec![authority.certificate().clone()]);
        let config = tls::identified(ca, leaf, key)?;
        let began = Instant::now();
        let open = crowd.block_on(async {
            let gate = Arc::new(Semaphore::new(AT_ONCE));
            let mut shaking = JoinSet::new();
            for _ in 0..agents {
                let (gate, config, address) = (gate.clone(), config.clone(), control.address);
                shaking.spawn(async move {
                    let _place = gate.acquire().await?;
                    let tcp = tokio::net::TcpStream::connect(address).await?;
                    let name = rustls::pki_types::ServerName::try_from(proto::names::CONTROLLER)?;
                    let mut tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await?;
                    tls.read_exact(&mut [0; 1]).await?;
                    anyhow::Ok(tls)
                });
            }
            let mut open = Vec::new();
            while let Some(one) = shaking.join_next().await {
                open.push(one.map_err(|error| anyhow!(error))??);
            }
            anyhow::Ok(open)
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let (n, used) = (f64::from(agents), charged(control.id())? - used);
        let (resident, _) = memory(control.id())?;
        drop(open);
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let each = resident.saturating_sub(empty) as f64 / n;
        Ok(Self { memory: each.max(0.1), cpu: used / n * 1e6, seconds })
    }
}
