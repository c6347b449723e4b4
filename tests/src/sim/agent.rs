//! An agent: the product's session, authority, workbench and view, in the order in which its main loop uses them. Its state folder lies in
//! memory; a run has a thread of its own and holds at each call, so that only one of all goes on at a time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use agent::authority::{Authority, Judged};
use agent::session::{Document, Effect, FromController, Kept, Latest, Offer, Session, Speaker, ToController};
use agent::view::View;
use agent::work::{By, CalledOff, Look, Standing, WorkError, Workbench};
use anyhow::{Context, Result};
use jiff::Timestamp;
use policy::document::Policy;
use policy::duration::Span;
use policy::id::{PlanId, ServerName, Sha256};
use policy::plan::Plan;
use policy::receipt::{Outcome, Receipt};
use policy::trust::Kind;
use proto::signed::SignedBytes;

use super::bugs::Bug;
use super::host::{Go, Host, HostClock, Stop};
use super::people::People;

/// How often a host is looked at, whatever happens.
const LOOK_EVERY: Span = Span::seconds(60);

/// How long a session lasts that began with a clock in doubt.
const DOUBTFUL_AGE: Duration = Duration::from_secs(300);

/// A plan of its own that was refused is not tried again so soon.
const REFUSED_PAUSE: Span = Span::seconds(30);

/// What a run began with: what those who judge need to know.
#[derive(Debug, Clone)]
pub(super) struct Began {
    pub(super) plan: Plan,
    /// By its own leave, under this policy.
    pub(super) standing: bool,
    pub(super) policy: Policy,
    pub(super) stops: usize,
    pub(super) at: Timestamp,
}

/// What the world learns of a turn.
#[derive(Debug)]
pub(super) enum News {
    Began(Box<Began>),
    Ended(Box<Receipt>),
    Said(ToController),
    /// It wants another connection.
    Hangs,
    Note(String),
}

/// What a thread of the workbench comes back with.
enum Done {
    Ran(Receipt, bool),
    Recovered(Result<Option<Receipt>, WorkError>),
}

struct Busy {
    thread: JoinHandle<()>,
    go: Sender<Go>,
    stopped: Receiver<Stop<(Workbench, Done)>>,
    plan: Option<(Plan, bool, Policy)>,
    stops: usize,
}

enum Bench {
    Free(Box<Workbench>),
    Busy(Box<Busy>),
    Gone,
}

struct Awake {
    session: Session,
    authority: Authority,
    bench: Bench,
    offer: Option<Offer>,
    own: Option<Plan>,
    refused: Option<(PlanId, Timestamp)>,
    acknowledged: BTreeSet<PlanId>,
    cancels: BTreeSet<PlanId>,
    begun: Arc<Mutex<Vec<PlanId>>>,
    called_off: CalledOff,
    recovered: bool,
    /// What it made of its last look.
    sees: String,
    look_at: Timestamp,
    born: Timestamp,
}

pub(super) struct Agent {
    pub(super) name: ServerName,
    pub(super) host: Arc<Host>,
    /// The connection to the controller is open.
    pub(super) connected: bool,
    folder: PathBuf,
    /// `session.json`.
    kept: Kept,
    awake: Option<Awake>,
    bug: Option<Bug>,
}

impl Agent {
    /// An agent that has joined, with the first trust document.
    pub(super) fn new(name: &str, host: Arc<Host>, folder: &Path, people: &People, bug: Option<Bug>) -> Result<Self> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        Authority::found(&folder, &people.trust, people.root(), host.clock())?;
        let name = name.parse()?;
        Ok(Self { name, host, connected: false, folder, kept: Kept::default(), awake: None, bug })
    }

    pub(super) fn is_awake(&self) -> bool {
        self.awake.is_some()
    }

    /// A run is under way, or its journal waits.
    pub(super) fn at_work(&self) -> bool {
        match &self.awake {
            Some(Awake { bench: Bench::Free(bench), .. }) => bench.open_plan().is_some(),
            Some(Awake { bench: Bench::Busy(_), .. }) => true,
            Some(Awake { bench: Bench::Gone, .. }) | None => self.folder.join("journal").exists(),
        }
    }

    /// Receipts that no controller acknowledged.
    pub(super) fn untold(&self) -> usize {
        match &self.awake {
            Some(Awake { bench: Bench::Free(bench), .. }) => bench.receipts().len(),
            Some(_) | None => 0,
        }
    }

    /// The process starts.
    pub(super) fn start(&mut self, now: Timestamp) -> Result<Vec<News>> {
        let driver: Arc<Host> = self.host.clone();
        let mut bench = Workbench::open(&self.folder, driver).context("a workbench")?;
        let authority = Authority::open(&self.folder)?.context("documents")?;
        let begun = Arc::new(Mutex::new(Vec::new()));
        let tell = begun.clone();
        bench.on_begin(move |plan| tell.lock().unwrap_or_else(PoisonError::into_inner).push(plan));
        let called_off = bench.called_off();
        let speaker =
            Speaker { server: self.name.clone(), machine_id: format!("machine-{}", self.name), agent_version: "0".to_owned() };
        let session =
            Session::new(speaker, authority.held(), self.kept.clone(), bench.receipts(), bench.open_plan(), bench.last_end());
        self.connected = false;
        self.awake = Some(Awake {
            session,
            authority,
            bench: Bench::Free(Box::new(bench)),
            offer: None,
            own: None,
            refused: None,
            acknowledged: BTreeSet::new(),
            cancels: BTreeSet::new(),
            begun,
            called_off,
            recovered: false,
            sees: String::new(),
            look_at: now,
            born: now,
        });
        Ok(vec![News::Note("starts".to_owned())])
    }

    /// The process is killed, wherever it is.
    pub(super) fn kill(&mut self) {
        self.connected = false;
        if let Some(Awake { bench: Bench::Busy(busy), .. }) = self.awake.take() {
            let Busy { thread, go, stopped, .. } = *busy;
            // It stands at a call, and goes no further.
            let _ = go.send(Go::Die);
            drop(stopped);
            let _ = thread.join();
        }
        self.host.drop_baton();
        let lost: &[&str] = match self.bug {
            Some(Bug::LedgerLost) => &["begun", "receipts"],
            Some(Bug::JournalLost) => &["journal"],
            _ => &[],
        };
        for name in lost {
            let path = self.folder.join(name);
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        }
    }

    /// One step: of the run at work, or of whatever comes next.
    pub(super) fn turn(&mut self, now: Timestamp, people: &People) -> Result<Vec<News>> {
        let mut news = Vec::new();
        let Some(awake) = &mut self.awake else { return Ok(news) };
        let up = up(awake.born, now);
        let due = awake.session.tick(up);
        self.perform(due, now, &mut news);
        let Some(awake) = &mut self.awake else { return Ok(news) };
        if let Bench::Busy(busy) = &awake.bench {
            let _ = busy.go.send(Go::On);
            self.heed(now, &mut news);
        } else {
            self.begin_work(now, people, &mut news)?;
        }
        Ok(news)
    }

    /// The controller said something.
    pub(super) fn received(&mut self, message: FromController, now: Timestamp) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(awake) = &mut self.awake {
            let effects = awake.session.received(message, up(awake.born, now));
            self.perform(effects, now, &mut news);
        }
        news
    }

    pub(super) fn connects(&mut self, now: Timestamp) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(awake) = &mut self.awake {
            self.connected = true;
            let effects = awake.session.connected(Duration::from_secs(12 * 3600), up(awake.born, now));
            self.perform(effects, now, &mut news);
        }
        news
    }

    pub(super) fn disconnected(&mut self, now: Timestamp) {
        self.connected = false;
        if let Some(awake) = &mut self.awake {
            let _ = awake.session.disconnected(0.5, up(awake.born, now));
        }
    }

    fn perform(&mut self, effects: Vec<Effect>, now: Timestamp, news: &mut Vec<News>) {
        let mut effects = std::collections::VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let Some(awake) = &mut self.awake else { return };
            match effect {
                Effect::Keep(kept) => self.kept = kept,
                Effect::Send(message) => news.push(News::Said(message)),
                Effect::Run(offer) => awake.offer = Some(offer),
                Effect::Cancel(plan) => match &awake.bench {
                    Bench::Busy(busy) if busy.plan.as_ref().is_some_and(|(at_work, ..)| at_work.id() == plan) => {
                        awake.called_off.set(plan);
                    }
                    Bench::Busy(_) | Bench::Free(_) | Bench::Gone => {
                        awake.offer.take_if(|offer| offer.id == plan);
                        awake.cancels.insert(plan);
                    }
                },
                Effect::Settle(plan) => drop(awake.acknowledged.insert(plan)),
                Effect::Judge(document) => effects.extend(judge(awake, &document, self.host.clock(), now, news)),
                Effect::Confirm { policy, clock } => {
                    if let Err(error) = awake.authority.confirm(policy, clock, self.host.clock()) {
                        news.push(News::Note(format!("{error}")));
                    }
                    if awake.authority.clock_doubt(self.host.clock()).is_some() {
                        awake.session.shorten(DOUBTFUL_AGE, up(awake.born, now));
                    }
                }
                Effect::Recall | Effect::LookBeside(_) => {}
                Effect::Reconnect(why) => {
                    news.push(News::Note(format!("wants another connection: {why}")));
                    news.push(News::Hangs);
                    return;
                }
            }
        }
    }

    /// Gives the workbench the next thing to do, as the product's main loop does.
    fn begin_work(&mut self, now: Timestamp, people: &People, news: &mut Vec<News>) -> Result<()> {
        let clock = self.host.clock();
        let Some(awake) = &mut self.awake else { return Ok(()) };
        let Bench::Free(bench) = &mut awake.bench else { return Ok(()) };
        for plan in std::mem::take(&mut awake.acknowledged) {
            bench.acknowledge(&plan)?;
        }
        let taken_back = std::mem::take(&mut awake.cancels);
        let receipts: Vec<Receipt> =
            taken_back.into_iter().map(|plan| bench.ended(&plan).unwrap_or_else(|| Receipt::taken_back(plan, clock))).collect();
        let open = bench.open_plan().filter(|_| !awake.recovered);
        let own = awake.own.take().map(|plan| plan.untried(|id| bench.has_begun(id)));
        let held = |plan: PlanId| awake.refused.is_some_and(|(refused, until)| refused == plan && clock < until);
        if let Some(offer) = awake.offer.take() {
            self.run(&offer.plan, Some(offer.approvals), people, now, news);
        } else if let Some(plan) = own.filter(|plan| !held(plan.id())) {
            awake.session.starts(plan.id());
            self.run(&plan.to_bytes(), None, people, now, news);
        } else if awake.look_at <= now {
            if open.is_some() {
                awake.recovered = true;
                self.recover(now, news);
            } else {
                awake.recovered = false;
                awake.look_at = LOOK_EVERY.after(now);
                self.look(now, news);
            }
        }
        for receipt in receipts {
            let Some(awake) = &mut self.awake else { return Ok(()) };
            let effects = awake.session.settled(receipt, up(awake.born, now));
            self.perform(effects, now, news);
        }
        Ok(())
    }

    fn look(&mut self, now: Timestamp, news: &mut Vec<News>) {
        let clock = self.host.clock();
        let Some(awake) = &mut self.awake else { return };
        let Bench::Free(bench) = &mut awake.bench else { return };
        let standing = awake.authority.standing(clock);
        let look = match bench.look(&standing.policy, clock) {
            Ok(look) => look,
            Err(error) => return news.push(News::Note(format!("cannot look: {error}"))),
        };
        if let Err(error) = awake.authority.clock_read(clock) {
            news.push(News::Note(error.to_string()));
        }
        let View { text, act, look_again, assessment: _ } =
            View::of(&look, &standing.policy, standing.authority_fresh(clock), clock);
        if let Some(again) = look_again {
            awake.look_at = awake.look_at.min(now.saturating_add(again.duration_since(clock)).unwrap_or(now));
        }
        awake.own = act.filter(|_| awake.session.at_work().is_none());
        let Look { sight, last } = look;
        let memory = Some(last);
        let latest = Arc::new(Latest { digest: sight.report.digest(), sight, memory, decision: text.clone(), seen_at: clock });
        if awake.sees != text {
            news.push(News::Note(format!("sees: {text}")));
            awake.sees.clone_from(&text);
        }
        let effects = awake.session.looked(latest, up(awake.born, now));
        self.perform(effects, now, news);
    }

    /// What something changed is looked at soon.
    pub(super) fn wakes(&mut self, now: Timestamp) {
        if let Some(awake) = &mut self.awake {
            awake.look_at = awake.look_at.min(now);
        }
    }

    fn run(&mut self, bytes: &[u8], approvals: Option<Vec<SignedBytes>>, people: &People, now: Timestamp, news: &mut Vec<News>) {
        let Some(awake) = &mut self.awake else { return };
        let mut standing = awake.authority.standing(self.host.clock());
        let truth = standing.policy.clone();
        let own = approvals.is_none();
        let mut approvals = approvals;
        match self.bug {
            Some(Bug::WindowAlwaysOpen) => {
                (standing.policy.expiry.propose_at, standing.policy.expiry.renew_before) = (Span::days(4000), Span::days(4000));
            }
            Some(Bug::ApprovalForAny) => {
                let plan = Sha256::of(bytes);
                approvals.iter_mut().flatten().for_each(|approval| people.take_for(plan, approval));
            }
            Some(Bug::SignaturesUnread) => {
                approvals.iter_mut().flatten().for_each(|approval| people.sign_in_any_name(Kind::Approval, approval));
            }
            Some(Bug::StopForgotten) => drop(std::fs::remove_file(self.folder.join("stops.json"))),
            _ => {}
        }
        let plan = Plan::from_bytes(bytes).ok().map(|plan| (plan, own, truth));
        let (bytes, clock) = (bytes.to_vec(), HostClock(self.host.clone()));
        self.spawn(plan, now, news, move |bench| {
            let by = approvals.as_deref().map_or(By::Standing, By::Approvals);
            Done::Ran(bench.run(&bytes, by, &standing, &clock), own)
        });
    }

    fn recover(&mut self, now: Timestamp, news: &mut Vec<News>) {
        let Some(awake) = &mut self.awake else { return };
        let (standing, clock): (Standing, _) = (awake.authority.standing(self.host.clock()), HostClock(self.host.clone()));
        self.spawn(None, now, news, move |bench| Done::Recovered(bench.recover(&standing, &clock)));
    }

    fn spawn(
        &mut self,
        plan: Option<(Plan, bool, Policy)>,
        now: Timestamp,
        news: &mut Vec<News>,
        work: impl FnOnce(&mut Workbench) -> Done + Send + 'static,
    ) {
        let Some(awake) = &mut self.awake else { return };
        let stops = awake.authority.held().stops.len();
        let Bench::Free(mut bench) = std::mem::replace(&mut awake.bench, Bench::Gone) else { return };
        let ((go, told), (stop, stopped)) = (channel(), channel());
        let stop_at_call = stop.clone();
        // What a run tells at its calls goes the same way as its end.
        self.host.hold_baton(Box::new(move || drop(stop_at_call.send(Stop::AtCall))), told);
        let thread = std::thread::spawn(move || {
            let done = work(&mut bench);
            let _ = stop.send(Stop::Done((*bench, done)));
        });
        awake.bench = Bench::Busy(Box::new(Busy { thread, go, stopped, plan, stops }));
        self.heed(now, news);
    }

    /// Waits until the run stands at its next call or has ended, and takes in what came of it.
    fn heed(&mut self, now: Timestamp, news: &mut Vec<News>) {
        let Some(awake) = &mut self.awake else { return };
        let Bench::Busy(busy) = &mut awake.bench else { return };
        let stopped = busy.stopped.recv();
        let begun = std::mem::take(&mut *awake.begun.lock().unwrap_or_else(PoisonError::into_inner));
        let mut effects = Vec::new();
        for id in begun {
            if let Some((plan, standing, policy)) = busy.plan.clone() {
                let began = Began { plan, standing, policy, stops: busy.stops, at: self.host.clock() };
                news.push(News::Began(Box::new(began)));
            }
            effects.extend(awake.session.began(id));
        }
        let done = match stopped {
            Ok(Stop::Done((bench, done))) => {
                self.host.drop_baton();
                awake.bench = Bench::Free(Box::new(bench));
                Some(done)
            }
            Ok(Stop::AtCall) => None,
            Err(_) => {
                news.push(News::Note("the thread of a run is gone".to_owned()));
                awake.bench = Bench::Gone;
                None
            }
        };
        self.perform(effects, now, news);
        if let Some(done) = done {
            self.worked(done, now, news);
        }
    }

    fn worked(&mut self, done: Done, now: Timestamp, news: &mut Vec<News>) {
        let clock = self.host.clock();
        let Some(awake) = &mut self.awake else { return };
        let receipt = match done {
            Done::Ran(receipt, own) if receipt.outcome == Outcome::Refused && own => {
                awake.refused = Some((receipt.plan, REFUSED_PAUSE.after(clock)));
                let effects = awake.session.gave_up(receipt.plan);
                news.push(News::Note(format!("its own plan was refused: {}", receipt.notes.join("; "))));
                return self.perform(effects, now, news);
            }
            Done::Ran(receipt, _) | Done::Recovered(Ok(Some(receipt))) => receipt,
            Done::Recovered(Ok(None)) => {
                let Bench::Free(bench) = &awake.bench else { return };
                let Some(receipt) = awake.session.at_work().and_then(|plan| bench.ended(&plan)) else { return };
                receipt
            }
            Done::Recovered(Err(error)) => return news.push(News::Note(format!("the run stays open: {error}"))),
        };
        awake.look_at = now;
        let effects = awake.session.settled(receipt.clone(), up(awake.born, now));
        news.push(News::Ended(Box::new(receipt)));
        self.perform(effects, now, news);
    }
}

fn judge(awake: &mut Awake, document: &Document, clock: Timestamp, now: Timestamp, news: &mut Vec<News>) -> Vec<Effect> {
    match awake.authority.judge(document, clock) {
        Ok(Judged::Stopped) => {
            news.push(News::Note("is stopped".to_owned()));
            awake.own = None;
            if let Some(plan) = awake.session.at_work() {
                awake.called_off.set(plan);
            }
        }
        Ok(judged) => news.push(News::Note(format!("judges a document: {judged:?}"))),
        Err(error) => news.push(News::Note(format!("refuses a document: {error}"))),
    }
    awake.look_at = now;
    awake.session.held(awake.authority.held())
}

fn up(born: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(born).unsigned_abs()
}

/// The digest of what a host would report now.
pub(super) fn digest(host: &Host) -> Option<Sha256> {
    agent::work::sight(host, None).ok().map(|sight| sight.report.digest())
}
