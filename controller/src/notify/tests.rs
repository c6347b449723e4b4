//! Couriers on real sockets, with a clock of their own: a receiver that is down for an hour, one that hangs, one that sends elsewhere.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use policy::finding::Severity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::clock::Clock;
use crate::config::Webhook;
use crate::stage::{self, noon, person};

/// A program that is called: what it says to each call, and what it was told.
struct Receiver {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Receiver {
    async fn saying(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (heard, tasks, stop) = (Arc::<Mutex<Vec<String>>>::default(), TaskTracker::new(), CancellationToken::new());
        let (kept, until) = (Arc::clone(&heard), stop.clone());
        tasks.spawn(async move {
            let mut number = 0;
            loop {
                let accepted = tokio::select! { () = until.cancelled() => return, accepted = listener.accept() => accepted };
                let (mut stream, _) = accepted.expect("a call");
                let mut request = Vec::new();
                let mut piece = [0; 4096];
                // A call of ours ends with its JSON.
                while !request.ends_with(b"}") {
                    match stream.read(&mut piece).await {
                        Ok(0) | Err(_) => break,
                        Ok(count) => request.extend_from_slice(&piece[..count]),
                    }
                }
                kept.lock().expect("no panic").push(String::from_utf8_lossy(&request).into_owned());
                let answer = answers[number.min(answers.len() - 1)];
                number += 1;
                if answer.is_empty() {
                    // It hangs.
                    until.cancelled().await;
                    return;
                }
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, heard, tasks, stop }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no panic").clone()
    }

    async fn ends(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

const FINE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn hook(url: &str, secret: Option<&std::path::Path>) -> Carrier {
    let webhook = Webhook {
        name: "pager".to_owned(),
        url: url.to_owned(),
        secret_file: secret.map(std::path::Path::to_owned),
        inward: true,
        says: [Kind::Page].into(),
    };
    Carrier::Webhook(Box::new(Hook::new(&webhook).expect("a hook")))
}

/// A controller with a message that waits, and the seconds since noon as its clock.
async fn waiting() -> (tempfile::TempDir, Parts, Arc<AtomicI64>) {
    let (folder, mut parts) = stage::parts().await;
    let seconds = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&seconds);
    parts.clock = Clock::of(move || {
        Timestamp::from_microsecond(noon().as_microsecond() + clock.load(Ordering::SeqCst) * 1_000_000).expect("a moment")
    });
    parts.store.test_channels(vec!["pager".to_owned()], person("anna"), noon()).await.expect("kept");
    (folder, parts, seconds)
}

/// Lets time pass as the courier would, until nothing waits or so many seconds are over; and says how often it was tried.
async fn pass(parts: &Parts, carrier: &Carrier, seconds: &AtomicI64, until: i64) -> u32 {
    let mut tried = 0;
    while seconds.load(Ordering::SeqCst) < until {
        let nap = deliver(parts, "pager", carrier).await.expect("the store answers");
        if nap.is_zero() {
            tried += 1;
        } else {
            seconds.fetch_add(i64::try_from(nap.as_secs().max(1)).expect("small"), Ordering::SeqCst);
        }
        if parts.store.next_message("pager").await.expect("reads").is_none() {
            break;
        }
    }
    tried
}

#[tokio::test]
async fn a_receiver_that_was_down_for_an_hour_has_everything_once() {
    let (folder, parts, seconds) = waiting().await;
    let receiver = Receiver::saying(&[FINE]).await;
    // Nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let nobody = hook(&format!("http://{free}/hook"), None);
    let tried = pass(&parts, &nobody, &seconds, 3_600).await;
    assert!((5..200).contains(&tried), "{tried} tries in an hour: often enough, and not in a circle");
    let state = parts.store.channel("pager").await.expect("reads");
    assert!(state.waiting == 1 && state.failure.contains("refused"), "{state:?}");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef\n").expect("written");
    pass(&parts, &hook(&receiver.url, Some(&secret)), &seconds, 10_000).await;
    let heard = receiver.heard();
    assert_eq!(heard.len(), 1, "{heard:#?}");
    for words in ["idempotency-key: ", "backstay-signature: sha256=", "\"kind\":\"test\"", "anna wanted to see"] {
        assert!(heard[0].contains(words), "{words} in {}", heard[0]);
    }
    let state = parts.store.channel("pager").await.expect("reads");
    assert!(state.waiting == 0 && state.sent_at.is_some() && state.failure.is_empty(), "{state:?}");
    receiver.ends().await;
}

#[tokio::test]
async fn what_is_tried_again_is_the_same_message() {
    let (_folder, parts, seconds) = waiting().await;
    let receiver = Receiver::saying(&[BUSY, BUSY, FINE]).await;
    pass(&parts, &hook(&receiver.url, None), &seconds, 10_000).await;
    let heard = receiver.heard();
    let keys: BTreeSet<&str> =
        heard.iter().filter_map(|call| call.lines().find(|line| line.starts_with("idempotency-key"))).collect();
    assert_eq!((heard.len(), keys.len()), (3, 1), "{heard:#?}");
    receiver.ends().await;
}

#[tokio::test]
async fn nobody_is_followed_elsewhere_and_nobody_is_waited_for_for_ever() {
    let (_folder, parts, seconds) = waiting().await;
    let elsewhere = Receiver::saying(&[FINE]).await;
    let target = elsewhere.url.clone();
    let redirect: &'static str = Box::leak(
        format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .into_boxed_str(),
    );
    let sends_elsewhere = Receiver::saying(Box::leak(Box::new([redirect]))).await;
    pass(&parts, &hook(&sends_elsewhere.url, None), &seconds, 10).await;
    assert!(elsewhere.heard().is_empty() && !sends_elsewhere.heard().is_empty());
    let failure = parts.store.channel("pager").await.expect("reads").failure;
    assert!(failure.contains("redirection"), "{failure}");

    let hangs = Receiver::saying(&[""]).await;
    let message = parts.store.next_message("pager").await.expect("reads").expect("still");
    let carried = hook(&hangs.url, None).carry(&message.id, message.kind, &message.body).await;
    assert!(carried.as_ref().is_err_and(|why| why.contains("timed out")), "{carried:?}");
    for receiver in [elsewhere, sends_elsewhere, hangs] {
        receiver.ends().await;
    }
}

#[test]
fn a_try_comes_later_each_time_and_ends_after_three_days() {
    let wait = |attempts| {
        let at = retry("abc", attempts, noon(), noon()).expect("again");
        at.duration_since(noon()).as_secs()
    };
    assert!((1..=5).contains(&wait(0)) && wait(40) <= 1_800);
    assert!((0..40).map(wait).max().expect("some") > 600);
    assert_eq!(retry("abc", 3, noon(), PATIENCE.after(noon())), None);
    let others: BTreeSet<_> = (0..50).map(|number| retry(&format!("m{number}"), 9, noon(), noon())).collect();
    assert!(others.len() > 45, "they do not come back together");
}

#[test]
fn an_agent_is_silent_only_when_it_was_away_for_long_enough() {
    let name = |name: &str| name.parse::<ServerName>().expect("a name");
    let (mut away, long) = (Away::default(), Span::seconds(900));
    let at = |seconds| stage::later(seconds);
    assert!(away.silent(vec![name("EX1"), name("EX2")], long, at(0)).is_empty());
    assert!(away.silent(vec![name("EX1")], long, at(899)).is_empty());
    assert_eq!(away.silent(vec![name("EX1"), name("EX2")], long, at(900)), [(name("EX1"), noon())], "EX2 was back meanwhile");
    let causes = cause::causes(&[], &[(name("EX1"), noon())], None, noon());
    assert_eq!((causes[0].key().as_str(), causes[0].severity), ("EX1 SILENT", Severity::Page));
}

#[test]
fn the_pages_own_certificate_is_told_of_two_weeks_before_it_ends() {
    let told = |days| cause::causes(&[], &[], Some(Span::days(days).after(noon())), noon());
    assert!(told(15).is_empty());
    for days in [0, 14] {
        let causes = told(days);
        assert_eq!((causes[0].key().as_str(), causes[0].severity), ("the controller PAGES", Severity::Warning), "{days}");
        assert!(causes[0].detail.contains("it is good until 2026-"), "{causes:?}");
    }
}
