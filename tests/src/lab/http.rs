//! As much of HTTP/1.1 as a front end and a back end of the lab need: one request per connection, within bounds.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest request line with all headers, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The longest body of a request, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// One request.
pub(super) struct Request {
    /// Method and target.
    start: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// Reads one; `None` when the client only closes.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if bytes.len() >= MAX_HEAD {
                return Err(invalid("request head too long"));
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return if bytes.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        };
        let mut body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).map_err(|_| invalid("request head is no text"))?;
        let mut lines = head.trim_end().split("\r\n");
        let start = lines
            .next()
            .and_then(|line| line.strip_suffix(" HTTP/1.1"))
            .ok_or_else(|| invalid("no HTTP/1.1 request"))?
            .to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<_>>()
            .ok_or_else(|| invalid("a header without a colon"))?;
        let request = Self { start, headers, body: Vec::new() };
        if request.header("transfer-encoding").is_some() {
            return Err(invalid("only bodies with a length are taken"));
        }
        let length = request.header("content-length").map_or(Ok(0), str::parse).map_err(|_| invalid("no length of a body"))?;
        if length > MAX_BODY {
            return Err(invalid("body too long"));
        }
        while body.len() < length {
            if stream.read_buf(&mut body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        body.truncate(length);
        Ok(Some(Self { body, ..request }))
    }

    /// The mailbox server that is asked for, by header or by query.
    pub(super) fn mailbox(&self) -> Option<&str> {
        let target = self.start.split(' ').nth(1).unwrap_or_default();
        let query = target.split_once('?').map_or("", |(_, query)| query);
        self.header("x-backstay-mailbox").or_else(|| query.split('&').find_map(|pair| pair.strip_prefix("mailbox=")))
    }

    /// Writes it on to `host`, which is to close afterwards.
    pub(super) async fn write(&self, stream: &mut (impl AsyncWrite + Unpin), host: &str) -> io::Result<()> {
        let mut head = format!("{} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n", self.start);
        for (name, value) in &self.headers {
            if !["host", "connection", "keep-alive"].contains(&name.to_ascii_lowercase().as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&self.body).await?;
        stream.flush().await
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Answers 200 with a text, after which the connection is to be closed.
pub(super) fn page(text: &str) -> Vec<u8> {
    let length = text.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
        .into_bytes()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str) -> io::Result<Option<Request>> {
        Request::read(&mut text.as_bytes()).await
    }

    #[tokio::test]
    async fn the_mailbox_server_is_named_by_header_or_query() {
        let plain = read("GET /owa/ HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap().unwrap();
        assert_eq!(plain.mailbox(), None);
        let query = read("GET /owa/?a=b&mailbox=EX2 HTTP/1.1\r\n\r\n").await.unwrap().unwrap();
        assert_eq!(query.mailbox(), Some("EX2"));
        let header =
            read("POST /ews HTTP/1.1\r\nx-backstay-mailbox: EX3\r\nContent-Length: 2\r\n\r\nhello").await.unwrap().unwrap();
        assert_eq!(header.mailbox(), Some("EX3"));
        let mut written = Vec::new();
        header.write(&mut written, "ex3:444").await.unwrap();
        assert_eq!(
            String::from_utf8(written).unwrap(),
            "POST /ews HTTP/1.1\r\nHost: ex3:444\r\nConnection: close\r\nx-backstay-mailbox: EX3\r\nContent-Length: 2\r\n\r\nhe"
        );
    }

    #[tokio::test]
    async fn what_is_no_request_or_too_much_is_an_error() {
        assert!(read("").await.unwrap().is_none());
        for text in ["GET /", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nbad\r\n\r\n", "\r\n\r\n", "\u{0}\r\n\r\n"] {
            assert!(read(text).await.is_err(), "{text:?}");
        }
        for header in ["Content-Length: 9", "Content-Length: -1", "Content-Length: 99999999999", "Transfer-Encoding: chunked"] {
            assert!(read(&format!("GET / HTTP/1.1\r\n{header}\r\n\r\nhello")).await.is_err(), "{header}");
        }
        assert!(read(&format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(MAX_HEAD))).await.is_err());
    }
}
