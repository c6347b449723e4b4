//! The pages on a real store, asked as a browser asks, and as somebody else does.

use std::time::Duration;

use axum::body::to_bytes;
use axum::http::Request as HttpRequest;
use policy::id::ServerName;
use policy::report::Fact;
use policy::trust::PersonRole;
use tower::ServiceExt as _;

use super::*;
use crate::stage::{self, PROPOSE, People, noon, person};
use crate::store::{Browser, Via};

mod ways_in;

/// What a browser's user sees of an answer.
struct Answer {
    status: StatusCode,
    cookie: Option<String>,
    headers: HeaderMap,
    text: String,
}

/// A controller's pages, and who is signed in.
struct Pages {
    router: Router,
    parts: Parts,
    _folder: tempfile::TempDir,
}

impl Pages {
    async fn new() -> Self {
        let (folder, parts) = stage::parts().await;
        let router = Web::new(parts.clone(), TaskTracker::new(), CancellationToken::new()).on_loopback();
        Self { router, parts, _folder: folder }
    }

    async fn ask(&self, request: axum::http::request::Builder, body: &str) -> Answer {
        let response =
            self.router.clone().oneshot(request.body(Body::from(body.to_owned())).expect("a request")).await.expect("answers");
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.expect("a body");
        let cookie = head.headers.get(header::SET_COOKIE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        Answer { status: head.status, cookie, headers: head.headers, text }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask(own(Method::GET, path).header(header::COOKIE, cookie), "").await
    }

    /// What is sent to that page as long as it is open.
    async fn live(&self, page: &str, cookie: &str) -> Body {
        let request = own(Method::GET, &format!("/live?page={page}")).header(header::COOKIE, cookie);
        let response = self.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("answers");
        assert_eq!(response.status(), StatusCode::OK, "{page}");
        response.into_body()
    }

    async fn link(&self, role: PersonRole) -> String {
        let (link, _) = crate::operators::sign_in::link(&self.parts, person("anna"), role, false).await.expect("a link");
        link.split_once("?link=").expect("a link").1.to_owned()
    }

    /// A renewal of EX1 that waits for approvers.
    async fn with_plan(&self, people: &People, need: u32) -> policy::id::PlanId {
        let store = &self.parts.store;
        people.rule(store, need, PROPOSE).await;
        stage::enrol(store, "EX1").await;
        stage::report(store, &stage::sight("EX1", &stage::certificate("EX1", (2026, 12, 10))), 1, noon()).await;
        let ex1: ServerName = "EX1".parse().expect("a name");
        stage::look_as(store, &ex1, noon()).await.expect("looked at");
        store.plans(&crate::store::PlanFilter::default(), None, 1).await.expect("reads").remove(0).id
    }

    /// The cookie of somebody who signed in by a link.
    async fn signed_in(&self, role: PersonRole) -> String {
        let link = self.link(role).await;
        let answer = self.ask(form("/sign-in"), &format!("link={link}")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        let cookie = answer.cookie.expect("a cookie");
        assert!(cookie.contains("HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
        cookie.split(';').next().expect("a pair").to_owned()
    }
}

/// What is sent next.
async fn sent(live: &mut Body) -> String {
    let frame = std::future::poll_fn(|context| axum::body::HttpBody::poll_frame(std::pin::Pin::new(&mut *live), context));
    let frame = tokio::time::timeout(Duration::from_secs(20), frame).await.expect("something is sent");
    let bytes = frame.expect("it is open").expect("reads").into_data().expect("bytes");
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Every page that has no name in its address.
const PAGES: [&str; 12] = [
    "/assess",
    "/",
    "/plans",
    "/policy",
    "/calendar",
    "/patch-night",
    "/audit",
    "/incidents",
    "/enrolment",
    "/stops",
    "/access",
    "/settings",
];

const HOST: &str = "127.0.0.1:7446";

fn own(method: Method, path: &str) -> axum::http::request::Builder {
    HttpRequest::builder().method(method).uri(path).header(header::HOST, HOST)
}

/// As a form encodes it.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// As one of the pages sends it.
fn form(path: &str) -> axum::http::request::Builder {
    own(Method::POST, path)
        .header(header::ORIGIN, format!("http://{HOST}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

#[tokio::test]
async fn a_request_from_elsewhere_changes_nothing() {
    let pages = Pages::new().await;
    let cookie = pages.signed_in(PersonRole::Admin).await;
    let post = |host: &str, origin: Option<&str>| {
        let request = HttpRequest::builder().method(Method::POST).uri("/sign-out").header(header::HOST, host);
        let request = request.header(header::COOKIE, &cookie);
        match origin {
            Some(origin) => request.header(header::ORIGIN, origin),
            None => request,
        }
    };
    let own_origin = format!("http://{HOST}");
    let attempts = [
        ("a form of another site", post(HOST, Some("https://evil.test"))),
        ("a form of another port", post(HOST, Some("http://127.0.0.1:8080"))),
        ("a form of a page that hides where it is", post(HOST, Some("null"))),
        ("a form of nobody", post(HOST, None)),
        ("a name of somebody else that leads here", post("evil.test:7446", Some("http://evil.test:7446"))),
        ("a name that begins as ours", post("127.0.0.1.evil.test", Some("http://127.0.0.1.evil.test"))),
        ("a name with somebody in it", post("127.0.0.1@evil.test", Some("http://127.0.0.1@evil.test"))),
        ("no name", HttpRequest::builder().method(Method::POST).uri("/sign-out").header(header::ORIGIN, &own_origin)),
    ];
    for (what, request) in attempts {
        let answer = pages.ask(request, "").await;
        assert_eq!((answer.status, answer.cookie), (StatusCode::FORBIDDEN, None), "{what}: {}", answer.text);
    }
    let elsewhere = HttpRequest::builder().uri("/").header(header::HOST, "evil.test").header(header::COOKIE, &cookie);
    assert_eq!(pages.ask(elsewhere, "").await.status, StatusCode::FORBIDDEN, "not even a look");
    let flood = pages.ask(form("/sign-in"), &format!("link={}", "a".repeat(MAX_FORM))).await;
    assert_eq!(flood.status, StatusCode::PAYLOAD_TOO_LARGE);
    for other in [Method::PUT, Method::DELETE, Method::PATCH] {
        let request = own(other, "/plans").header(header::ORIGIN, &own_origin).header(header::COOKIE, &cookie);
        assert!(pages.ask(request, "").await.status.is_client_error());
    }
    for forged in ["backstay=", "backstay=x", "backstay=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "other=1"] {
        assert_eq!(pages.get("/", forged).await.status, StatusCode::SEE_OTHER, "{forged}");
    }
    assert_eq!(pages.get("/", &cookie).await.status, StatusCode::OK, "after all that, still signed in");
    for host in ["localhost:7446", "[::1]:7446", "127.45.1.2:7446"] {
        let request = HttpRequest::builder().uri("/").header(header::HOST, host).header(header::COOKIE, &cookie);
        assert_eq!(pages.ask(request, "").await.status, StatusCode::OK, "{host}");
    }
}

/// Files as a browser sends them.
fn dropped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in files {
        body.extend(format!("--B\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\r\n").bytes());
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--B--\r\n");
    body
}

#[tokio::test]
async fn exports_that_are_dropped_are_judged_and_kept_nowhere() {
    let pages = Pages::new().await;
    let cookie = pages.signed_in(PersonRole::Viewer).await;
    let told = pages.parts.store.audit_head().await.expect("reads");
    let commits = pages.parts.store.commits();
    let send = async |body: Vec<u8>| {
        let request = own(Method::POST, "/assess")
            .header(header::ORIGIN, format!("http://{HOST}"))
            .header(header::COOKIE, &cookie)
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=B")
            .body(Body::from(body));
        let response = pages.router.clone().oneshot(request.expect("a request")).await.expect("answers");
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 22).await.expect("a body");
        (status, String::from_utf8(bytes.to_vec()).expect("text"))
    };
    let server = |name: &str| {
        format!(
            "<Objs><Obj><TN><T>Microsoft.Exchange.Data.Directory.Management.ExchangeServer</T></TN><Props><S N='Name'>{name}</S>\
             <S N='Fqdn'>&lt;script&gt;alert(1)&lt;/script&gt;</S></Props></Obj></Objs>"
        )
    };
    let (one, other) = (server("EX1"), server("EX2"));
    let both = dropped(&[("estate/EX1/server.xml", one.as_bytes()), ("estate/EX2/server.xml", other.as_bytes())]);
    let (status, text) = send(both).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(text.contains("2 servers, judged") && text.contains("EX1") && text.contains("EX2"), "{text}");
    assert!(!text.contains("<script>alert"), "{text}");
    let zeroes = vec![0; 100_000];
    let deep = "<a>".repeat(50_000);
    let names = "<img src=x onerror=alert(1)>";
    for (what, files, status, words) in [
        ("nothing", vec![], StatusCode::BAD_REQUEST, "found none"),
        ("an empty choice", vec![("", &b""[..])], StatusCode::BAD_REQUEST, "found none"),
        ("a picture", vec![("x.png", &b"\x89PNG\r\n\x1a\n"[..])], StatusCode::OK, "Not judged"),
        ("zeroes", vec![("x.bin", &zeroes[..])], StatusCode::OK, "Not judged"),
        ("no UTF-8", vec![("x.xml", &b"\xff\xfe<\xff"[..])], StatusCode::OK, "Not judged"),
        ("depth", vec![("x.xml", deep.as_bytes())], StatusCode::OK, "Not judged"),
        ("a name that is markup", vec![(names, &b"x"[..])], StatusCode::OK, "Not judged"),
        ("a path upwards", vec![("../../etc/passwd", &b"root:x:0:0"[..])], StatusCode::OK, "Not judged"),
        ("501 files", vec![("x.xml", &b"x"[..]); 501], StatusCode::PAYLOAD_TOO_LARGE, "at most 500 files"),
    ] {
        let (found, text) = send(dropped(&files)).await;
        assert_eq!(found, status, "{what}: {text}");
        assert!(text.contains(words) && !text.contains("<img"), "{what}: {text}");
    }
    let large = vec![b'x'; assess::MAX_BYTES + 1];
    assert_eq!(send(dropped(&[("x.xml", &large)])).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send(b"--B\r\nbroken".to_vec()).await.0, StatusCode::BAD_REQUEST);
    let now = pages.parts.store.audit_head().await.expect("reads");
    assert_eq!((now, pages.parts.store.commits()), (told, commits), "nothing was written");
}

/// What is refused to whom, and that it changed nothing: the table of attempts.
#[tokio::test]
async fn who_may_not_changes_nothing() {
    let pages = Pages::new().await;
    let store = &pages.parts.store;
    let people = People::new();
    let plan = pages.with_plan(&people, 2).await;
    let approve = |change: &dyn Fn(&mut policy::trust::Approval)| {
        let signed = people.approval("anna", plan, noon(), stage::later(86_400));
        let mut approval = policy::trust::Approval::from_bytes(&signed.body).expect("reads");
        change(&mut approval);
        let mut signed = proto::signed::SignedBytes::unsigned(approval.to_bytes());
        people.bert.sign(policy::trust::Kind::Approval, &mut signed).expect("signed");
        let (key, signature) = signed.signatures[0];
        let signature: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        let body = String::from_utf8(signed.body).expect("JSON");
        format!("approval={}&key={key}&signature={signature}", encoded(&body))
    };
    let of = |act: &str| format!("/plans/{plan}/{act}");
    use PersonRole::{Admin, Approver, Auditor, Operator, Viewer};
    let everybody = &PersonRole::ALL[..];
    let forged = approve(&|_| ());
    let attempts = [
        ("a no of who only looks", of("reject"), "reason=no".to_owned(), &[Viewer, Auditor][..], StatusCode::FORBIDDEN),
        (
            "a stop of who only looks",
            "/stops".to_owned(),
            "scope=estate&reason=no".to_owned(),
            &[Viewer, Auditor],
            StatusCode::FORBIDDEN,
        ),
        ("giving up of who may not", of("abandon"), "reason=no".to_owned(), &[Viewer, Auditor, Operator], StatusCode::FORBIDDEN),
        ("giving up what has not begun", of("abandon"), "reason=no".to_owned(), &[Approver, Admin], StatusCode::CONFLICT),
        ("a no without a reason", of("reject"), "reason=%20".to_owned(), &[Admin], StatusCode::BAD_REQUEST),
        (
            "a no with too much of a reason",
            of("reject"),
            format!("reason={}", "a".repeat(1_001)),
            &[Admin],
            StatusCode::BAD_REQUEST,
        ),
        ("a no in no words", of("reject"), "reason=%ff%fe".to_owned(), &[Admin], StatusCode::BAD_REQUEST),
        ("a no without its field", of("reject"), "why=no".to_owned(), &[Admin], StatusCode::UNPROCESSABLE_ENTITY),
        ("a no to no plan", "/plans/0000000000/reject".to_owned(), "reason=no".to_owned(), &[Admin], StatusCode::NOT_FOUND),
        (
            "a no to a path",
            "/plans/%2e%2e%0d%0aX:%20y/reject".to_owned(),
            "reason=no".to_owned(),
            &[Admin],
            StatusCode::NOT_FOUND,
        ),
        ("a stop of nothing", "/stops".to_owned(), "scope=everything&reason=no".to_owned(), &[Admin], StatusCode::BAD_REQUEST),
        ("a stop of a stranger", "/stops".to_owned(), "scope=server:EX9&reason=no".to_owned(), &[Admin], StatusCode::NOT_FOUND),
        (
            "an end of others' access by who is no admin",
            "/access/end".to_owned(),
            "person=bert&reason=out".to_owned(),
            &[Viewer, Operator, Approver, Auditor],
            StatusCode::FORBIDDEN,
        ),
        ("a token of somebody else's", "/access/revoke".to_owned(), "name=nagios".to_owned(), everybody, StatusCode::NOT_FOUND),
        ("another's signature under anna's name", of("approve"), forged, everybody, StatusCode::FORBIDDEN),
        (
            "a signature of nobody",
            of("approve"),
            format!("approval={{}}&key={}&signature={}", "0".repeat(64), "0".repeat(128)),
            everybody,
            StatusCode::BAD_REQUEST,
        ),
        (
            "a signature that is none",
            of("approve"),
            "approval={}&key=00&signature=zz".to_owned(),
            everybody,
            StatusCode::BAD_REQUEST,
        ),
        (
            "odd digits",
            of("approve"),
            format!("approval={{}}&key={}&signature={}", "0".repeat(64), "é".repeat(64)),
            everybody,
            StatusCode::BAD_REQUEST,
        ),
    ];
    let mut browsers = std::collections::BTreeMap::new();
    for role in PersonRole::ALL {
        browsers.insert(role, pages.signed_in(role).await);
    }
    let told = store.audit_head().await.expect("reads");
    for (what, path, body, roles, status) in &attempts {
        for role in *roles {
            let answer = pages.ask(form(path).header(header::COOKIE, &browsers[role]), body).await;
            assert_eq!(answer.status, *status, "{what}, {role:?}: {}", answer.text);
            assert_eq!(store.audit_head().await.expect("reads"), told, "{what}, {role:?}: nothing happened");
        }
        let nobody = pages.ask(form(path), body).await;
        assert_eq!(nobody.status, StatusCode::FORBIDDEN, "{what}, by nobody");
        let elsewhere =
            own(Method::POST, path).header(header::ORIGIN, "https://evil.test").header(header::COOKIE, &browsers[&Admin]);
        assert_eq!(pages.ask(elsewhere, body).await.status, StatusCode::FORBIDDEN, "{what}, from elsewhere");
    }
    assert_eq!(store.audit_head().await.expect("reads"), told);
    // What a role may not do its pages do not offer.
    for (role, path, words, offered) in [
        (Viewer, of(""), "Reject</button>", false),
        (Operator, of(""), "Reject</button>", true),
        (Auditor, "/stops".to_owned(), "Stop</button>", false),
        (Operator, "/stops".to_owned(), "Stop</button>", true),
    ] {
        let page = pages.get(path.trim_end_matches('/'), &browsers[&role]).await;
        assert_eq!((page.status, page.text.contains(words)), (StatusCode::OK, offered), "{role:?} {path} {}", page.text);
    }
    // And who may, does, once.
    let (stop, no) = ("scope=estate&reason=what+now", "reason=not+now");
    for (path, body, action) in [("/stops", stop, "stop.made"), (&*of("reject"), no, "plan.withdrawn")] {
        let answer = pages.ask(form(path).header(header::COOKIE, &browsers[&Operator]), body).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        let last = store.audit(0, 1_000).await.expect("reads").pop().expect("told");
        assert_eq!((&*last.actor, &*last.action), ("person:anna", action));
    }
    let page = pages.get("/stops", &browsers[&Viewer]).await;
    assert!(page.text.contains("what now") && page.text.contains("backstay resume"), "{}", page.text);
}

/// A form that was open while the plan became another one.
#[tokio::test]
async fn a_form_of_a_plan_that_is_no_more_is_refused_with_what_changed() {
    let pages = Pages::new().await;
    let people = People::new();
    let plan = pages.with_plan(&people, 2).await;
    let cookie = pages.signed_in(PersonRole::Approver).await;
    // Its certificate is another now: the plan that was shown is superseded.
    stage::report(&pages.parts.store, &stage::sight("EX1", &stage::certificate("EX1", (2026, 12, 11))), 2, noon()).await;
    let ex1: ServerName = "EX1".parse().expect("a name");
    stage::look_as(&pages.parts.store, &ex1, noon()).await.expect("looked at");
    let answer = pages.ask(form(&format!("/plans/{plan}/reject")).header(header::COOKIE, &cookie), "reason=no").await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
    for words in [
        "The plan has changed",
        "nothing was done with it",
        ">shown</span> <code>before: ",
        ">now</span> <code>before: ",
        "as shown",
    ] {
        assert!(answer.text.contains(words), "{words} in {}", answer.text);
    }
    let now = answer.text.split("/plans/").nth(1).and_then(|rest| rest.get(..64)).expect("a link");
    assert_ne!(now, plan.to_string());
    assert_eq!(pages.get(&format!("/plans/{now}"), &cookie).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_policy_is_tried_and_nothing_is_changed() {
    let pages = Pages::new().await;
    let people = People::new();
    pages.with_plan(&people, 2).await;
    let cookie = pages.signed_in(PersonRole::Viewer).await;
    let page = pages.get("/policy", &cookie).await;
    for words in ["Version 1 is in force, signed by anna", "<dt>waves.soak</dt><dd>1m", "version = 2", "mode = &#34;propose&#34;"]
    {
        assert!(page.text.contains(words), "{words} in {}", page.text);
    }
    let told = pages.parts.store.audit_head().await.expect("reads");
    let attempt = async |text: String| {
        pages.ask(form("/policy/try").header(header::COOKIE, &cookie), &format!("policy={}", encoded(&text))).await
    };
    let wider = PROPOSE.replace("propose", "act").replace('\n', "\r\n");
    let answer = attempt(wider).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    for words in ["<td>mode</td><td>propose</td><td>act</td>", "may do more", "Nothing was changed", "renewal may run"] {
        assert!(answer.text.contains(words), "{words} in {}", answer.text);
    }
    assert!(attempt(PROPOSE.to_owned()).await.text.contains("wants the same"));
    let wrong = attempt(format!("{PROPOSE}moed = 1\n")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("moed") && wrong.text.contains("It does not hold"), "{}", wrong.text);
    let large = attempt("#".repeat(policy::trust::MAX_BYTES + 1)).await;
    assert_eq!(large.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", large.text.len());
    assert_eq!(attempt("#".repeat(10 << 20)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(pages.parts.store.audit_head().await.expect("reads"), told);
}

#[tokio::test]
async fn the_trail_is_looked_through_verified_and_taken_away() {
    let pages = Pages::new().await;
    let people = People::new();
    pages.with_plan(&people, 2).await;
    let cookie = pages.signed_in(PersonRole::Auditor).await;
    let page = pages.get("/audit?words=plan.proposed", &cookie).await;
    assert_eq!((page.status, page.text.matches("<tr><td>").count()), (StatusCode::OK, 1), "{}", page.text);
    assert!(pages.get("/audit?words=nobody", &cookie).await.text.contains("In no entry does that stand"));
    assert_eq!(pages.get("/audit?behind=x", &cookie).await.status, StatusCode::BAD_REQUEST);
    let head = pages.parts.store.audit_head().await.expect("reads");
    let verified = pages.get("/audit/verify", &cookie).await;
    assert!(
        verified.text.contains("The trail is unbroken") && verified.text.contains(&format!("{}:{}", head.sequence, head.hash))
    );
    let file = pages.get("/audit/export", &cookie).await;
    let lines: Vec<serde_json::Value> = file.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((lines.len() as u64, &lines[0]["sequence"]), (head.sequence, &serde_json::json!(1)));
    assert_eq!(lines.last().expect("one")["hash"], head.hash.to_string());
    assert!(file.headers[header::CONTENT_DISPOSITION].to_str().expect("text").contains("audit-contoso.jsonl"));
    // Two pages of a long trail, without one entry twice.
    for number in 0..150 {
        let actor = crate::audit::Actor::Console;
        pages.parts.store.tell(actor, "test.told", format!("n{number}"), serde_json::json!({}), noon()).await.expect("told");
    }
    let first = pages.get("/audit?words=test.told", &cookie).await;
    assert_eq!(first.text.matches("<tr><td>").count(), 100);
    let behind =
        first.text.split("name=\"behind\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a page more");
    let second = pages.get(&format!("/audit?words=test.told&behind={behind}"), &cookie).await;
    assert_eq!(second.text.matches("<tr><td>").count(), 50, "{}", second.text);
    assert!(second.text.contains(">n0<") && !second.text.contains(">n50<") && first.text.contains(">n50<"));
}

#[tokio::test]
async fn every_answer_says_what_a_browser_must_not_do_and_no_page_has_anything_inline() {
    let pages = Pages::new().await;
    let cookie = pages.signed_in(PersonRole::Auditor).await;
    let others = [
        "/servers/EX9",
        "/sign-in",
        "/audit/verify",
        "/assets/page.css",
        "/assets/live.js",
        "/assets/key.js",
        "/assets/icon.svg",
        "/assets/x",
    ];
    for path in PAGES.into_iter().chain(others) {
        let answer = pages.get(path, &cookie).await;
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        assert_eq!(header("content-security-policy"), CONTENT_SECURITY, "{path}");
        assert_eq!(
            (header("x-content-type-options"), header("referrer-policy")),
            ("nosniff".to_owned(), "same-origin".to_owned())
        );
        let kept = if answer.status == StatusCode::OK && path.starts_with("/assets/") { "max-age=86400" } else { "no-store" };
        assert_eq!(header("cache-control"), kept, "{path}");
        if !path.starts_with("/assets/") {
            for inline in ["<style", " style=", "onclick", "onload", "javascript:", "<script>"] {
                assert!(!answer.text.contains(inline), "{inline} on {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_store_out_of_reach_is_said_with_what_goes_on_and_what_to_do_and_a_page_that_is_open_asks_again() {
    let pages = Pages::new().await;
    let cookie = pages.signed_in(PersonRole::Operator).await;
    pages.parts.store.close().await;
    let answer = pages.get("/plans", &cookie).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    for words in [
        "The controller cannot reach its store",
        "444 stays as it is",
        "Event 9503",
        "<p data-again><a class=\"button first\" href=\"/plans\">",
    ] {
        assert!(answer.text.contains(words), "{words} in\n{}", answer.text);
    }
    let sent = pages.ask(form("/stops").header(header::COOKIE, &cookie), "scope=estate&reason=now").await;
    assert_eq!(sent.status, StatusCode::SERVICE_UNAVAILABLE);
    // A browser never asks again where it was refused: it is answered.
    let live = pages.get("/live?page=/plans", &cookie).await;
    assert_eq!((live.status, live.headers[header::CONTENT_TYPE].as_bytes()), (StatusCode::OK, &b"text/event-stream"[..]));
    assert!(live.text.contains("event: away\ndata: the controller cannot reach its store\nretry: 5000\n"), "{}", live.text);
}

#[tokio::test]
async fn a_page_that_is_open_is_sent_when_it_reads_otherwise_and_then_only_and_ends_when_whoever_looks_goes() {
    let pages = Pages::new().await;
    let cookie = pages.signed_in(PersonRole::Viewer).await;
    let mut live = pages.live("/plans", &cookie).await;
    let first = sent(&mut live).await;
    assert!(first.starts_with("data: <h1>"), "{first}");
    let plan = pages.with_plan(&People::new(), 1).await;
    let told = sent(&mut live).await;
    let told = if told.contains(&plan.short()) { told } else { sent(&mut live).await };
    assert!(told.contains(&plan.short()), "{told}");
    // What is written next is not on this page.
    let secret = proto::token::Secret::generate().expect("random");
    let ex2: ServerName = "EX2".parse().expect("a name");
    pages.parts.store.create_token(&ex2, secret.hash(), 600, crate::audit::Actor::Console, noon()).await.expect("a token");
    let nothing = tokio::time::timeout(Duration::from_millis(1_500), sent(&mut live)).await;
    assert!(nothing.is_err(), "{nothing:?}");
    let gone = pages.ask(form("/sign-out").header(header::COOKIE, &cookie), "").await;
    assert_eq!(gone.status, StatusCode::SEE_OTHER, "{}", gone.text);
    assert_eq!(sent(&mut live).await, "event: gone\ndata: signed out\n\n");
}

#[tokio::test]
async fn a_page_is_compressed_for_whoever_takes_that_and_what_is_sent_to_it_is_not() {
    let pages = Pages::new().await;
    let cookie = pages.signed_in(PersonRole::Viewer).await;
    let encoding = async |path: &str| {
        let request = own(Method::GET, path).header(header::COOKIE, &cookie).header(header::ACCEPT_ENCODING, "gzip, deflate, br");
        let response = pages.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("answers");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.headers().get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_vec())
    };
    assert_eq!(encoding("/").await.as_deref(), Some(&b"gzip"[..]));
    assert_eq!(encoding("/assets/page.css").await.as_deref(), Some(&b"gzip"[..]));
    assert_eq!(encoding("/live?page=/").await, None);
}

#[tokio::test]
async fn nothing_that_a_host_or_a_person_says_becomes_markup() {
    let pages = Pages::new().await;
    let store = &pages.parts.store;
    let evil = "<img src=x onerror=alert(1)>\"'</main>";
    let people = People::new();
    people.rule(store, 1, PROPOSE).await;
    stage::enrol(store, "EX1").await;
    let mut sight = stage::sight("EX1", &stage::certificate("EX1", (2026, 12, 10)));
    sight.report.host.dag = Fact::Known(Some(evil.to_owned()));
    sight.report.host.ad_site = Fact::Known(evil.to_owned());
    if let Fact::Known(records) = &mut sight.report.records {
        records.push(policy::report::SslRecord { endpoint: format!("{evil}:443"), ..records[0].clone() });
    }
    stage::report(store, &sight, 1, noon()).await;
    let ex1: ServerName = "EX1".parse().expect("a name");
    stage::look_as(store, &ex1, noon()).await.expect("looked at");
    let plan = store.plans(&crate::store::PlanFilter::default(), None, 1).await.expect("reads");
    let cookie = pages.signed_in(PersonRole::Admin).await;
    let stop = format!("scope=dag:{}&reason={}", encoded(evil), encoded(evil));
    assert_eq!(pages.ask(form("/stops").header(header::COOKIE, &cookie), &stop).await.status, StatusCode::SEE_OTHER);
    let mut paths: Vec<String> = PAGES.map(str::to_owned).into();
    paths.push("/servers/EX1".to_owned());
    paths.push(format!("/audit?words={}", encoded(evil)));
    paths.extend(plan.first().map(|plan| format!("/plans/{}", plan.id.short())));
    paths.push("/servers/%3Cimg%20src=x%3E".to_owned());
    let mut said = 0;
    for path in paths {
        let answer = pages.get(&path, &cookie).await;
        assert!(!answer.text.contains("<img") && answer.text.matches("</main>").count() == 1, "{path}\n{}", answer.text);
        said += answer.text.matches("&#60;img src=x onerror=alert(1)&#62;").count();
    }
    // A form comes back with what was typed.
    let tried = pages.ask(form("/policy/try").header(header::COOKIE, &cookie), &format!("policy={}", encoded(evil))).await;
    assert_eq!(tried.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!tried.text.contains("<img") && tried.text.matches("</main>").count() == 1, "{}", tried.text);
    assert!(said > 6, "it was said on the pages, as text: {said}");
}

#[tokio::test]
async fn a_token_is_shown_once_and_only_to_who_may_make_one() {
    let pages = Pages::new().await;
    let people = People::new();
    people.rule(&pages.parts.store, 1, PROPOSE).await;
    let admin = pages.signed_in(PersonRole::Admin).await;
    let operator = pages.signed_in(PersonRole::Operator).await;
    let (path, body) = ("/enrolment/token", "server=EX7&hours=8");
    assert_eq!(pages.ask(form(path).header(header::COOKIE, &operator), body).await.status, StatusCode::FORBIDDEN);
    assert!(!pages.get("/enrolment", &operator).await.text.contains("Make a token"));
    let made = pages.ask(form(path).header(header::COOKIE, &admin), body).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let token = made.text.split("<pre id=\"token\">").nth(1).and_then(|rest| rest.split('<').next()).expect("a token");
    assert!(
        made.text.contains(&format!("'{token}'")) && made.text.contains("JOIN_TOKEN_FILE=C:\\deploy\\EX7.token"),
        "{}",
        made.text
    );
    assert!(!pages.get("/enrolment", &admin).await.text.contains(token));
    for wrong in
        ["server=EX7&hours=0", "server=EX7&hours=4294967295", "server=EX7&hours=x", "server=..%5cEX7&hours=8", "server='&hours=8"]
    {
        let answer = pages.ask(form(path).header(header::COOKIE, &admin), wrong).await;
        assert!(answer.status.is_client_error(), "{wrong}: {}", answer.status);
    }
}
