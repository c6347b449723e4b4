//! The pages of a controller with many servers: how soon *Estate* is there, how large it is, and what a hundred open ones cost.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::estate::Estate;
use tokio::runtime::Handle;

use super::process::charged;
use super::{line, share};

/// Pages that are open at once.
const OPEN: usize = 100;

/// How often *Estate* is asked for.
const ASKED: usize = 30;

/// So long they are watched.
const WATCHED: Duration = Duration::from_secs(30);

/// `change`: something on the page becomes another, and is on disk.
pub(crate) fn measure(
    estate: &Estate,
    process: u32,
    crowd: &Handle,
    title: impl Fn(&str) -> String,
    mut change: impl FnMut() -> Result<()>,
) -> Result<()> {
    let web = estate.ports().web;
    let cookie = signed_in(estate, web)?;
    let mut took = Vec::new();
    let mut page = String::new();
    for _ in 0..ASKED {
        let began = Instant::now();
        page = get(web, &cookie, "/")?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    // EX1 has no agent here, and the crowd is well: a page of an estate as it is on most days.
    let headline = page.split("<h1>").nth(1).and_then(|rest| rest.split("</h1>").next()).unwrap_or_default();
    ensure!(
        headline.starts_with("1 of ") && headline.ends_with(" not heard"),
        "expected a crowd that is well, found: {headline}"
    );
    let mut health: Vec<f64> = Vec::new();
    for _ in 0..ASKED {
        let began = Instant::now();
        get(web, &cookie, "/healthz")?;
        health.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let (page_ms, health_ms) = (share(&mut took, 0.5), share(&mut health, 0.5));
    line(
        &title("Estate, whole, median"),
        "200 ms",
        &format!("{page_ms:.0} ms"),
        &format!("{health_ms:.1} ms /healthz"),
        &format!("{:.0}", page_ms / health_ms),
    );
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (raw, packed) = (page.len() as f64 / 1024.0, packed(&page)? as f64 / 1024.0);
    line(&title("Estate, packed by gzip -6"), "150 KiB", &format!("{packed:.0} KiB"), &format!("{raw:.0} KiB as it is"), "-");

    let alone = spent(process, &mut change)?;
    let sent = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..OPEN).map(|_| crowd.spawn(watch(web, cookie.clone(), sent.clone()))).collect();
    tests::wait::beat(Duration::from_secs(3));
    let idle = spent(process, &mut || Ok(()))?;
    line(&title("100 pages open, nothing happens"), "5 %", &format!("{:.2} % of a core", idle * 100.0), "-", "-");
    let before = sent.load(Ordering::Relaxed);
    let busy = spent(process, &mut change)?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let whole = (sent.load(Ordering::Relaxed) - before) as f64 / (page.len() * OPEN) as f64;
    line(
        &title("100 pages open, a server changes each second"),
        "5 %",
        &format!("{:.2} % of a core", busy * 100.0),
        &format!("{:.2} % none open", alone * 100.0),
        &format!("{:.1}", busy / alone),
    );
    line(
        &title("each of them was sent anew meanwhile, every"),
        "-",
        &format!("{:.1} s", WATCHED.as_secs_f64() / whole),
        "-",
        "-",
    );
    ensure!(tasks.iter().all(|task| !task.is_finished()), "expected {OPEN} pages to stay open");
    ensure!(whole > 2.0, "expected each page to be sent again and again, found {whole:.1} times");
    tasks.into_iter().for_each(|task| task.abort());
    Ok(())
}

/// The share of a core that the controller took while this was done each second.
fn spent(process: u32, each_second: &mut impl FnMut() -> Result<()>) -> Result<f64> {
    let (began, used) = (Instant::now(), charged(process)?);
    while began.elapsed() < WATCHED {
        each_second()?;
        tests::wait::beat(Duration::from_secs(1));
    }
    Ok((charged(process)? - used) / began.elapsed().as_secs_f64())
}

fn signed_in(estate: &Estate, web: SocketAddr) -> Result<String> {
    let link = estate.desk().ok(&["sign-in"])?;
    let secret = link.trim().split_once("?link=").context("a link")?.1;
    let body = format!("link={secret}");
    let answer = ask(web, "", "POST /sign-in", &body)?;
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).context("a cookie")?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

fn get(web: SocketAddr, cookie: &str, path: &str) -> Result<String> {
    let answer = ask(web, cookie, &format!("GET {path}"), "")?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{path}: {}", answer.lines().next().unwrap_or_default());
    Ok(answer)
}

fn head(web: SocketAddr, cookie: &str, line: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nHost: {web}\r\nOrigin: http://{web}\r\nCookie: {cookie}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn ask(web: SocketAddr, cookie: &str, line: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(web)?;
    stream.write_all(head(web, cookie, line, body).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn packed(text: &str) -> Result<usize> {
    let mut gzip = Command::new("gzip").arg("-6").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("gzip")?;
    let mut input = gzip.stdin.take().context("piped")?;
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = gzip.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("gzip's input panicked"))??;
    Ok(output.stdout.len())
}

/// An open page: takes whatever is sent, and counts the bytes.
async fn watch(web: SocketAddr, cookie: String, sent: Arc<AtomicU64>) -> Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(web).await?;
    stream.write_all(head(web, &cookie, "GET /live?page=/", "").as_bytes()).await?;
    let mut bytes = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut bytes).await? {
            0 => return Ok(()),
            some => sent.fetch_add(some as u64, Ordering::Relaxed),
        };
    }
}
