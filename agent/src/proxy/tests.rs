use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

fn controller() -> Address {
    "controller.contoso.test:7443".parse().expect("an address")
}

/// A proxy that reads one request, gives this answer, and says what it was asked.
async fn proxy(answer: Vec<u8>, stays: bool) -> (Proxy, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("an address");
    #[expect(clippy::disallowed_methods, reason = "it ends with the connection that it serves")]
    let heard = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        let mut heard = Vec::new();
        while end_of_head(&heard).is_none() {
            assert_ne!(tcp.read_buf(&mut heard).await.expect("reads"), 0, "a whole request");
        }
        // Whoever has read enough hangs up.
        let _ = tcp.write_all(&answer).await;
        if stays {
            let _ = tcp.read_buf(&mut Vec::new()).await;
        }
        String::from_utf8(heard).expect("text")
    });
    (Proxy { address, credentials: None }, heard)
}

async fn refusal(answer: impl Into<Vec<u8>>) -> String {
    let (proxy, _) = proxy(answer.into(), true).await;
    let error = proxy.connect(&controller(), LIMIT).await.expect_err("no way");
    let text = crate::chain(&error);
    assert!(text.contains(&proxy.address.to_string()), "it names the proxy: {text}");
    text
}

#[test]
fn an_address_is_a_host_and_a_port() {
    for (text, shown) in
        [("http://proxy.contoso.test:3128", "http://proxy.contoso.test:3128"), ("http://[::1]:8080/", "http://[::1]:8080")]
    {
        assert_eq!(text.parse::<ProxyAddress>().expect(text).to_string(), shown);
    }
    for text in
        ["", "proxy:3128", "https://proxy:3128", "http://proxy", "http://u:p@proxy:3128", "http://proxy:3128/x", "http://proxy:0"]
    {
        assert!(text.parse::<ProxyAddress>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn it_is_asked_for_the_controller_by_name() {
    let (proxy, heard) = proxy(b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n".to_vec(), true).await;
    drop(proxy.connect(&controller(), LIMIT).await.expect("a way"));
    let heard = heard.await.expect("heard");
    assert_eq!(heard, "CONNECT controller.contoso.test:7443 HTTP/1.1\r\nHost: controller.contoso.test:7443\r\n\r\n");
}

#[tokio::test]
async fn credentials_come_from_the_file_and_stand_in_no_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("proxy");
    std::fs::write(&path, "anna:ge:heim\r\n").expect("writes");
    let (answer, heard) =
        proxy(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nProxy-Authenticate: NTLM\r\n\r\n".to_vec(), true)
            .await;
    let proxy = Proxy { credentials: Some(path.clone()), ..answer };
    let text = crate::chain(&proxy.connect(&controller(), LIMIT).await.expect_err("no way"));
    assert!(text.contains("407 No: it offers Basic, NTLM; Basic was tried"), "{text}");
    assert!(heard.await.expect("heard").contains("\r\nProxy-Authorization: Basic YW5uYTpnZTpoZWlt\r\n\r\n"));
    for wrong in ["geheim", ":geheim", "anna:ge\nheim", "anna:geheim\n\n", &"geheim:".repeat(200)] {
        std::fs::write(&path, wrong).expect("writes");
        let text = crate::chain(&proxy.connect(&controller(), LIMIT).await.expect_err("no credentials"));
        assert!(text.contains("expected one line user:password") && !text.contains("heim"), "{text}");
    }
    std::fs::remove_file(&path).expect("removes");
    let text = crate::chain(&proxy.connect(&controller(), LIMIT).await.expect_err("no file"));
    assert!(text.contains("credentials for the proxy cannot be read: "), "{text}");
}

#[tokio::test]
async fn a_refusal_is_told_as_the_proxy_said_it() {
    let text = refusal("HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Negotiate\r\n\r\n<html>").await;
    assert!(text.contains("407 Proxy Authentication Required: it offers Negotiate; set proxy_credentials_file"), "{text}");
    assert!(refusal("HTTP/1.1 407 No\r\n\r\n").await.contains("it offers no way to authenticate"));
    let text = refusal("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nhello").await;
    assert!(text.contains("answered HTTP/1.1 502 Bad Gateway") && text.contains("controller.contoso.test:7443"), "{text}");
    for answer in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n"] {
        assert!(refusal(answer).await.contains("answered HTTP/1.1"));
    }
}

#[tokio::test]
async fn what_is_no_answer_is_told_as_such_and_not_repeated_at_length() {
    for answer in ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 \u{e4}\u{e4}\u{e4} OK\r\n\r\n"]
    {
        let text = refusal(answer).await;
        assert!(text.contains("is this an HTTP proxy?"), "{text}");
    }
    let text = refusal(vec![0x15, 0x03, 0x01, 0x0a]).await;
    assert!(text.contains("found \\u{15}\\u{3}\\u{1}"), "{text}");
    let text = refusal(format!("HTTP/1.1 503 {}\r\n\r\n", "x".repeat(9000))).await;
    assert!(text.len() < 400, "{text}");
    let text = refusal("HTTP/1.1 200 OK\r\n\r\nhello").await;
    assert!(text.contains("hello after its answer"), "{text}");
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_for_ever() {
    let mut endless = b"HTTP/1.1 200 OK\r\n".to_vec();
    endless.resize(MAX_ANSWER + 5000, b'x');
    assert!(refusal(endless).await.contains("at most 16384 bytes, found more"));
}

#[tokio::test]
async fn a_proxy_that_hangs_up_is_silent_or_not_there_is_an_error() {
    let (closing, _) = proxy(b"HTTP/1.1 200".to_vec(), false).await;
    let text = crate::chain(&closing.connect(&controller(), LIMIT).await.expect_err("closed"));
    assert!(text.contains("found the end of the connection after 12 bytes"), "{text}");

    let (silent, _) = proxy(Vec::new(), true).await;
    let text = crate::chain(&silent.connect(&controller(), Duration::from_millis(200)).await.expect_err("silent"));
    assert!(text.contains("expected an answer to CONNECT within 0.2 s, found none"), "{text}");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("an address");
    drop(listener);
    let absent = Proxy { address, credentials: None };
    let text = crate::chain(&absent.connect(&controller(), LIMIT).await.expect_err("nobody"));
    assert!(text.contains("cannot be reached: "), "{text}");
}
