//! The same through an HTTP proxy: a real one of a few lines, which alone knows where the names of the controllers lead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use agent::proxy::Proxy;
use proto::names::Address;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

const ENROLMENT: &str = "enrolment.contoso.test:7444";
const AGENTS: &str = "agents.contoso.test:7443";

/// A proxy that connects to whom it knows, unless it is told to answer something else.
struct Connect {
    address: String,
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    asked: Arc<Mutex<BTreeSet<String>>>,
    _tasks: JoinSet<()>,
}

impl Connect {
    async fn to(controller: &Controller) -> Self {
        let known = BTreeMap::from([
            (ENROLMENT.to_owned(), controller.token.controllers[0].to_string()),
            (AGENTS.to_owned(), controller.token.agents[0].to_string()),
        ]);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let (answer, asked) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(BTreeSet::new())));
        let (answers, hears) = (answer.clone(), asked.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                lines.spawn(serve(tcp, known.clone(), answers.clone(), hears.clone()));
            }
        });
        Self { address, answer, asked, _tasks: tasks }
    }

    fn answers(&self, answer: Option<&[u8]>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer.map(<[u8]>::to_vec);
    }

    fn proxy(&self) -> Proxy {
        Proxy { address: self.address.parse().expect("an address"), credentials: None }
    }
}

async fn serve(
    mut tcp: TcpStream,
    known: BTreeMap<String, String>,
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    asked: Arc<Mutex<BTreeSet<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(tcp.read_buf(&mut head).await, Ok(1..)) {
            return;
        }
    }
    let head = String::from_utf8(head).expect("text");
    let name = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).expect("CONNECT").to_owned();
    asked.lock().expect("not poisoned").insert(name.clone());
    let other = answer.lock().expect("not poisoned").clone();
    if let Some(other) = other {
        let _ = tcp.write_all(&other).await;
        return;
    }
    let mut controller = TcpStream::connect(known.get(&name).expect("a known name")).await.expect("a controller");
    tcp.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.expect("writes");
    let _ = copy_bidirectional(&mut tcp, &mut controller).await;
}

#[tokio::test]
async fn a_host_joins_attends_and_renews_through_a_proxy_that_alone_knows_the_controllers() {
    let (controller, site) = (Controller::start().await, Site::new());
    let proxy = Connect::to(&controller).await;
    controller.mind().life = Duration::from_secs(4);
    controller.write_token(&site.token_file());
    let toml = format!("[controllers]\nenrolment = [{ENROLMENT:?}]\nagents = [{AGENTS:?}]\nproxy = {:?}\n", proxy.address);
    site.attended_with(&toml, async {
        until("the first report", || reports(&controller) == 1).await;
        until("the renewal", || controller.mind().renewed == 1).await;
        until("a session with the new identity", || hellos(&controller) == 2).await;
    })
    .await;
    assert_eq!(*proxy.asked.lock().expect("not poisoned"), [AGENTS.to_owned(), ENROLMENT.to_owned()].into());
    assert_eq!(controller.mind().groups, ["X25519MLKEM768".to_owned()].into(), "TLS goes from end to end");
}

#[tokio::test]
async fn a_proxy_that_says_no_is_asked_again_until_it_lets_the_host_pass() {
    let (controller, site) = (Controller::start().await, Site::new());
    let proxy = Connect::to(&controller).await;
    proxy.answers(Some(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"));
    controller.write_token(&site.token_file());
    let toml = format!("[controllers]\nenrolment = [{ENROLMENT:?}]\nagents = [{AGENTS:?}]\nproxy = {:?}\n", proxy.address);
    site.attended_with(&toml, async {
        until("the first try", || !proxy.asked.lock().expect("not poisoned").is_empty()).await;
        assert!(site.token_file().exists(), "the token is not used up");
        proxy.answers(None);
        until("the first report", || reports(&controller) == 1).await;
    })
    .await;
    assert_eq!(controller.mind().enrolled.len(), 1);
}

/// Why a host does not join through this proxy.
async fn refusal(controller: &Controller, proxy: &Connect) -> String {
    let site = Site::new();
    std::fs::create_dir_all(site.state()).expect("a folder");
    let (server, addresses) = ("EX1".parse().expect("a name"), [ENROLMENT.parse::<Address>().expect("an address")]);
    let (state, proxy) = (site.state(), proxy.proxy());
    let asked = agent::identity::enrol(&state, &controller.token, &addresses, Some(&proxy), &server, "m", controller::now());
    let error = asked.await.expect_err("must be refused");
    assert!(controller.mind().enrolled.is_empty());
    agent::chain(&error)
}

#[tokio::test]
async fn a_proxy_that_leads_to_somebody_else_is_shown_no_secret() {
    let thief = Ca::new();
    let controller = Controller::start_as(Ca::new(), Some(&thief), CONTROLLER).await;
    let proxy = Connect::to(&controller).await;
    let text = refusal(&controller, &proxy).await;
    assert!(text.contains("the TLS handshake failed") && text.contains("UnknownIssuer"), "{text}");
}

#[tokio::test]
async fn what_a_proxy_answers_reaches_whoever_asks_why_a_host_does_not_join() {
    let controller = Controller::start().await;
    let proxy = Connect::to(&controller).await;
    let long = vec![b'x'; 20_000];
    let cases: [(&[u8], &str); 5] = [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\n\r\n",
            "it offers NTLM; set proxy_credentials_file",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered HTTP/1.1 502 Bad Gateway"),
        (b"220 smtp.contoso.test\r\n", "found 220 smtp.contoso.test; is this an HTTP proxy?"),
        (&[b"HTTP/1.1 200 OK\r\nx: ", &*long].concat(), "at most 16384 bytes, found more"),
        (b"", "found the end of the connection after 0 bytes"),
    ];
    for (answer, says) in cases {
        proxy.answers(Some(answer));
        let text = refusal(&controller, &proxy).await;
        assert!(text.contains(&format!("{ENROLMENT} cannot be reached through the proxy: proxy {}", proxy.address)), "{text}");
        assert!(text.contains(says), "expected {says} in {text}");
    }
}
