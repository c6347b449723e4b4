//! Whatever write the store is killed at, and whichever fails: what was acknowledged is there, the one verb that was not is there whole or
//! not at all, and the audit trail is whole (P3, "durable before acknowledged").
//!
//! A life is a row of verbs, from an empty folder through everything that a store writes in its work. It is lived in a process of its own, which is killed
//! at its first write, at its second, and so on until one comes through (a run takes a third of them; a nightly one all). What a store must hold after each verb is told by a life that
//! nobody disturbed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};

use policy::certificate::Certificate;
use policy::finding::Severity;
use policy::id::Sha256;
use policy::peers::Seen;
use policy::receipt::Outcome;
use policy::report::ProbeOutcome;
use policy::stop::{Stop, StopId};
use policy::trust::PersonRole;
use proto::token::Secret;
use sqlx::Row as _;

use crate::audit::{self, Actor, Head};
use crate::config::Kind;
use crate::notify::Cause;
use crate::stage::look_as;
use crate::stage::{
    PROPOSE, People, certificate, estate, generation, key, knock, later, looked, noon, person, receipt, server, sight, verified,
};
use crate::store::{ApiToken, Browser, Ears, Held, IdentityState, Knock, PlanFilter, PlanRow, Recording, Store, StoreError, Via};

/// Tells the process that lives in which folder.
const FOLDER: &str = "BACKSTAY_STORE_LIFE";

/// Verbs of a life.
const VERBS: usize = 45;

/// Who plays in all lives: keys and certificates are made once.
struct Cast {
    people: People,
    old: Certificate,
    new: Certificate,
}

impl Cast {
    /// Reads them from this folder; who is not there is made.
    fn of(folder: &Path) -> Self {
        let kept = |name: &str, end: (i32, u8, u8)| {
            let path = folder.join(name);
            if !path.exists() {
                fs::write(&path, certificate("EX1", end).der()).expect("kept");
            }
            Certificate::from_der(&fs::read(&path).expect("reads")).expect("a certificate")
        };
        Self { people: People::known(), old: kept("old.der", (2026, 12, 1)), new: kept("new.der", (2031, 12, 1)) }
    }

    /// One verb. What comes back when it worked is of no interest here; the look's reads are its own.
    async fn verb(&self, store: &Store, number: usize) -> Result<(), StoreError> {
        let (people, ex1, omar) = (&self.people, server("EX1"), person("omar"));
        let secret = |letter: &str| Secret::from_text(&format!("{}A", letter.repeat(42))).expect("a secret");
        let clone = || Knock { key_id: key("clone"), machine_id: "another".to_owned(), ..knock("EX1", secret("b")) };
        let stop = Stop { estate: estate(), servers: None, person: omar.clone(), reason: "smoke".to_owned(), at: later(200) };
        let recording = |counter, certificate, when| Recording {
            server: server("EX1"),
            generation: generation(1, counter),
            report: sight("EX1", certificate).report,
            memory: None,
            said: String::new(),
            seen_at: when,
        };
        let admin = |expires_at| Browser { person: omar.clone(), role: PersonRole::Admin, via: Via::Link, expires_at };
        match number {
            0 => {
                let trust = people.trust(1, 2);
                store.apply_trust(proto::signed::trust(&trust).expect("trust"), trust, Actor::Console, noon()).await.map(drop)
            }
            1 => {
                let policy = people.policy(PROPOSE);
                let read = proto::signed::policy(&policy).expect("a policy");
                store.apply_policy(read, policy, Actor::Console, noon()).await.map(drop)
            }
            2 => store.create_token(&ex1, secret("a").hash(), 600, Actor::Console, noon()).await.map(drop),
            3 => store.enrol(knock("EX1", secret("a")), noon()).await.map(drop),
            4 => store.begin_session(key("EX1"), Vec::new(), vec![1; 16]).await.map(drop),
            5 => store.note_agent(&ex1, Some("0.1.0".to_owned()), Held::default()).await,
            6 => store.record_report(recording(1, &self.old, noon()), noon()).await.map(drop),
            7 => store.store_certificates(vec![self.old.der().to_vec()], noon()).await,
            8 => store.keep_checkup(&ex1, looked(noon()), noon()).await,
            9 => look_as(store, &ex1, noon()).await.map(drop),
            10 | 11 => {
                let who = if number == 10 { "anna" } else { "bert" };
                let signed = people.approval(who, plan(store).await.id, noon(), later(86_400));
                store.add_approval(verified(&signed), signed, Actor::Person(person(who)), noon()).await.map(drop)
            }
            12 => look_as(store, &ex1, later(1)).await.map(drop),
            13 => store.begun(&plan(store).await.id, &ex1, later(2)).await,
            14 => store.settle(&ex1, receipt(plan(store).await.id, Outcome::Restored, later(60)), later(60)).await.map(drop),
            15 => store.record_report(recording(2, &self.new, later(61)), later(61)).await.map(drop),
            16 => store.store_certificates(vec![self.new.der().to_vec()], later(61)).await,
            17 => look_as(store, &ex1, later(62)).await.map(drop),
            18 => look_as(store, &ex1, later(180)).await.map(drop),
            19 => store.make_stop(stop, later(200)).await.map(drop),
            20 => store.note_stopped(&ex1, BTreeSet::from([StopId::of(&stop.to_bytes())])).await,
            21 => {
                let signed = people.resume("anna", &[StopId::of(&stop.to_bytes())], "found");
                let read = proto::signed::resume(&signed).expect("a yes");
                store.add_resume(read, signed, Actor::Person(person("anna")), later(201)).await.map(drop)
            }
            22 => store.renewed(key("EX1"), Sha256([8; 32]), later(9_000_000), later(300)).await,
            23 => store.create_token(&ex1, secret("b").hash(), 600, Actor::Console, later(400)).await.map(drop),
            24 => store.enrol(clone(), later(401)).await.map(drop),
            25 => store.admit(key("clone"), Actor::Person(omar), later(402)).await.map(drop),
            26 => {
                let why = "decommissioned".to_owned();
                store.narrow(key("clone"), IdentityState::Evicted, why, Actor::Person(omar), later(403)).await.map(drop)
            }
            27 => store.tell(Actor::Controller, "test.told", "x".to_owned(), serde_json::json!({}), later(500)).await,
            28 => {
                let seen = Seen { server: ex1, question: Sha256([1; 32]), outcome: ProbeOutcome::Refused };
                store.witness(&server("EX2"), seen).await.map(drop)
            }
            29 => store.create_sign_in(Sha256([2; 32]), admin(later(800)), later(600)).await,
            30 => store.sign_in(Sha256([2; 32]), Sha256([3; 32]), later(9_000), later(601)).await.map(drop),
            31 => store.sign_out(Sha256([3; 32]), omar, later(602)).await,
            32 => {
                let dead = Cause {
                    server: "EX1".to_owned(),
                    code: "BST101".to_owned(),
                    severity: Severity::Page,
                    title: "dead".to_owned(),
                    detail: String::new(),
                };
                let ears = Ears {
                    channels: vec![("ops".to_owned(), vec![Kind::Page])],
                    calm_at: later(700),
                    next_digest: later(90_000),
                };
                store.note(vec![dead], ears, later(700)).await.map(drop)
            }
            33 => {
                let open = store.incidents(true, None, 1).await?.pop().expect("an incident");
                store.acknowledge(open.id, omar, later(701)).await.map(drop)
            }
            34 => store.not_sent(waiting(store).await?, "busy".to_owned(), Some(later(710)), later(702)).await,
            35 => store.sent(waiting(store).await?, later(711)).await,
            36 => store.test_channels(vec!["ops".to_owned()], omar, later(712)).await,
            37 => store.begin_browser(Sha256([4; 32]), admin(later(9_000)), later(720)).await,
            38 => store.set_password(omar, PersonRole::Admin, "kept".to_owned(), later(721)).await,
            39 => store.wrong_password(omar, later(722)).await,
            40 => store.right_password(Sha256([5; 32]), admin(later(9_000)), later(723)).await,
            41 => {
                let (name, scope) = ("nagios".to_owned(), "read".to_owned());
                let (person, role, created_at, expires_at) = (omar, PersonRole::Admin, later(724), later(9_000));
                let token = ApiToken { name, person, role, scope, created_at, expires_at, used_at: None };
                store.create_api_token(token, Sha256([6; 32]), later(724)).await
            }
            42 => store.api_token(Sha256([6; 32]), later(725)).await.map(drop),
            43 => store.revoke_api_token("nagios".to_owned(), None, omar, later(726)).await,
            44 => store.end_access(omar.clone(), "left".to_owned(), omar, later(727)).await.map(drop),
            _ => panic!("a life has {VERBS} verbs"),
        }
    }
}

/// The message that waits.
async fn waiting(store: &Store) -> Result<String, StoreError> {
    Ok(store.next_message("ops").await?.expect("one waits").id)
}

/// The plan of this life.
async fn plan(store: &Store) -> PlanRow {
    let filter = PlanFilter { open_only: false, server: None };
    store.plans(&filter, None, 1).await.expect("reads").pop().expect("a plan")
}

async fn open(folder: &Path) -> Result<Store, StoreError> {
    Store::open(&folder.join("backstay.db"), &estate(), noon()).await
}

/// Everything that the database holds, table by table; and its audit trail is whole.
async fn content(store: &Store) -> String {
    let entries = store.audit(0, 1000).await.expect("a trail");
    assert_eq!(audit::verify(Head::EMPTY, &entries), Ok(store.audit_head().await.expect("a head")));
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY name";
    let tables = sqlx::query(tables).fetch_all(store.readers()).await.expect("tables");
    let mut text = String::new();
    for table in tables {
        let table: String = table.get(0);
        let columns = format!("SELECT group_concat('quote(' || name || ')', ' || '','' || ') FROM pragma_table_info('{table}')");
        let columns: String = sqlx::query(sqlx::AssertSqlSafe(columns)).fetch_one(store.readers()).await.expect("columns").get(0);
        let rows = format!("SELECT {columns} FROM {table} ORDER BY 1");
        let rows = sqlx::query(sqlx::AssertSqlSafe(rows)).fetch_all(store.readers()).await.expect("rows");
        for row in rows {
            let row: String = row.get(0);
            text.push_str(&format!("{table}: {row}\n"));
        }
    }
    text
}

/// What a life wrote of itself, beside the store: `done N` for a verb that was acknowledged, `failed N SHA256` for one that was not, with
/// what the store held then.
fn note(folder: &Path, line: &str) {
    use std::io::Write as _;
    let mut file = fs::File::options().append(true).create(true).open(folder.join("told")).expect("a file");
    writeln!(file, "{line}").expect("written");
}

/// Lives in this folder. What fails is tried once more.
async fn live(folder: &Path) {
    let cast = Cast::of(folder.parent().expect("the folder of all lives"));
    let store = match open(folder).await {
        Ok(store) => store,
        Err(error) => {
            note(folder, &format!("closed {error}"));
            open(folder).await.expect("opens when it is tried again")
        }
    };
    note(folder, "open");
    for number in 0..VERBS {
        if let Err(error) = cast.verb(&store, number).await {
            note(folder, &format!("failed {number} {} {error}", Sha256::of(content(&store).await.as_bytes())));
            cast.verb(&store, number).await.expect("it works when it is tried again");
        }
        note(folder, &format!("done {number}"));
    }
    store.close().await;
    note(folder, &format!("calls {}", disk::calls()));
}

/// A life that nobody disturbs: what the store holds after its opening, and after each verb. In a process that was started for it, a life in which
/// something is done to its disk.
#[tokio::test]
async fn a_life_of_a_store() {
    #[expect(clippy::disallowed_methods, reason = "this process may have been started by the test below, to be killed")]
    if let Some(folder) = std::env::var_os(FOLDER) {
        return live(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let after = undisturbed(folder.path()).await;
    let different: BTreeSet<&String> = after.iter().collect();
    assert_eq!(different.len(), VERBS + 1, "every verb changes something");
}

async fn undisturbed(all: &Path) -> Vec<String> {
    let folder = all.join("undisturbed");
    fs::create_dir(&folder).expect("a folder");
    let (cast, store) = (Cast::of(all), open(&folder).await.expect("opens"));
    let mut after = vec![content(&store).await];
    for number in 0..VERBS {
        cast.verb(&store, number).await.unwrap_or_else(|error| panic!("verb {number}: {error}"));
        after.push(content(&store).await);
    }
    store.close().await;
    after
}

/// Of how many calls one is struck: in a nightly run as many as are said, else a third of them, of other sources others.
fn thinned(every: usize) -> (usize, usize) {
    #[expect(clippy::disallowed_methods, reason = "`tests/run` says so")]
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
    let nightly = number("BACKSTAY_CASES") > 8_000;
    let every = if nightly { every } else { 3 * every };
    (every, number("BACKSTAY_SEED") % every)
}

/// Lives whose process is started with this done to its disk at one of its first calls, at the one `every` calls later ([`thinned`]), and so on to
/// the last that an undisturbed one makes. `judge` gets what is left of each.
fn strike(all: &Path, deed: &str, every: usize, judge: impl Fn(&Struck) + Sync) {
    let (every, first) = thinned(every);
    let spared = Struck::at(all, "kill 999999999");
    assert!(spared.ended.success(), "{}", spared.said);
    let calls = spared.told.last().and_then(|line| line.strip_prefix("calls ")).and_then(|calls| calls.parse().ok());
    let calls: usize = calls.expect("it says how many calls it made");
    println!("{deed}: {calls} calls in a life, every {every}. of them struck, from number {} on", first + 1);
    assert!(calls > 10 * VERBS, "only {calls} calls were seen");
    fs::remove_dir_all(&spared.folder).expect("removed");
    let next = AtomicUsize::new(first);
    let one = || {
        loop {
            let call = next.fetch_add(every, Ordering::SeqCst) + 1;
            if call > calls {
                return;
            }
            let struck = Struck::at(all, &deed.replace("CALL", &call.to_string()));
            judge(&struck);
            fs::remove_dir_all(&struck.folder).expect("removed");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(one);
        }
    });
}

/// A life that was struck.
struct Struck {
    folder: PathBuf,
    /// What was done to its disk.
    deed: String,
    ended: ExitStatus,
    told: Vec<String>,
    said: String,
}

impl Struck {
    fn at(all: &Path, deed: &str) -> Self {
        let folder = all.join(deed.replace(' ', "-"));
        fs::create_dir(&folder).expect("a folder");
        #[expect(clippy::disallowed_methods, reason = "a process that is to be killed; it is this test itself")]
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "store::tests::kills::a_life_of_a_store", "--nocapture"]).env(FOLDER, &folder);
        command.env(disk::VARIABLE, format!("{deed} {}", folder.join("backstay.db").display()));
        let output = command.output().expect("it starts");
        let told = fs::read_to_string(folder.join("told")).unwrap_or_default().lines().map(str::to_owned).collect();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Self { folder, deed: deed.to_owned(), ended: output.status, told, said }
    }

    fn done(&self) -> usize {
        self.told.iter().filter(|line| line.starts_with("done")).count()
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

fn killed_everywhere(deed: &str, every: usize) {
    let all = tempfile::tempdir().expect("a folder");
    let after = run(undisturbed(all.path()));
    strike(all.path(), deed, every, |struck| {
        let Struck { folder, deed, ended, told, said } = struck;
        assert_eq!(ended.signal(), Some(9), "{deed}: {told:?}\n{said}");
        run(async {
            let store = open(folder).await.unwrap_or_else(|error| panic!("{deed}, after {} verbs: {error}", struck.done()));
            let found = content(&store).await;
            store.close().await;
            let done = struck.done();
            let next = after.get(done + 1).unwrap_or(&after[done]);
            assert!(found == after[done] || found == *next, "{deed}, after {done} verbs:\n{found}");
        });
    });
}

#[test]
fn long_killed_at_any_write_the_store_has_what_was_acknowledged_and_the_next_verb_whole_or_not_at_all() {
    killed_everywhere("kill CALL", 1);
}

#[test]
fn long_killed_with_half_of_any_write_on_disk_it_has_no_less() {
    killed_everywhere("torn CALL", 5);
}

#[test]
fn long_whatever_write_fails_its_verb_says_so_and_left_nothing_and_works_when_it_is_tried_again() {
    let all = tempfile::tempdir().expect("a folder");
    let after = run(undisturbed(all.path()));
    // A full disk, and one that breaks.
    for (deed, every) in [("fail CALL 28", 2), ("fail CALL 5", 5)] {
        strike(all.path(), deed, every, |struck| {
            let Struck { folder, deed, ended, told, said } = struck;
            assert!(ended.success(), "{deed}: {told:?}\n{said}");
            for line in told {
                let mut words = line.split(' ');
                if let (Some("failed"), Some(number), Some(digest)) = (words.next(), words.next(), words.next()) {
                    let number: usize = number.parse().expect("a number");
                    let expected = Sha256::of(after[number].as_bytes()).to_string();
                    assert_eq!(digest, expected, "{deed}: it said no, and changed something: {line}");
                }
            }
            run(async {
                let store = open(folder).await.expect("opens");
                assert_eq!(content(&store).await, after[VERBS], "{deed}: {told:?}");
                store.close().await;
            });
        });
    }
}
