use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::Client;
use super::reply::Reply;

const PATIENCE: Duration = Duration::from_secs(30);

/// A connection on which a test writes what it likes, byte by byte.
pub(crate) struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
    sent: String,
}

impl Raw {
    /// Connects as that client. Its credentials are not sent by themselves.
    pub(crate) async fn connect(client: &Client) -> Self {
        Self { stream: client.connect().await, received: Vec::new(), sent: String::new() }
    }

    /// Writes these bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the server still listens");
    }

    /// Writes these bytes, unless the server has hung up.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let bytes = bytes.as_ref();
        if self.sent.is_empty() {
            self.sent = String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned();
        }
        self.stream.write_all(bytes).await
    }

    /// Says that no more will be sent, and goes on listening.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Vanishes with a reset, as a pulled cable behind a proxy looks.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// The next reply's status and headers; a body stays to be read.
    pub(crate) async fn head(&mut self) -> Reply {
        let end = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                break end;
            }
            assert!(self.more().await, "`{}`: hung up after {:?}", self.sent, String::from_utf8_lossy(&self.received));
        };
        let head = self.received.drain(..end + 4).collect::<Vec<_>>();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let first = lines.next().unwrap();
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no HTTP/1.1 reply: {first:?}"));
        let mut headers = HeaderMap::new();
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.trim()).unwrap());
        }
        Reply { request: self.sent.clone(), status, headers, body: Bytes::new() }
    }

    /// The next reply to anything but HEAD, with its body.
    pub(crate) async fn reply(&mut self) -> Reply {
        let mut reply = self.head().await;
        if matches!(reply.status, 204 | 304 | 100..=199) {
            return reply;
        }
        let length: usize = match reply.headers.get("content-length") {
            Some(length) => length.to_str().unwrap().parse().unwrap(),
            None => {
                reply.lacks("transfer-encoding");
                while self.more().await {}
                self.received.len()
            }
        };
        while self.received.len() < length {
            assert!(self.more().await, "hung up in the body: {reply:?}");
        }
        reply.body = self.received.drain(..length).collect::<Vec<_>>().into();
        reply
    }

    /// Whether the server hangs up, having sent nothing more, within that time.
    pub(crate) async fn hangs_up(&mut self, limit: Duration) -> bool {
        self.received.is_empty() && matches!(timeout(limit, self.read()).await, Ok(0))
    }

    /// Panics if anything arrives within that time.
    pub(crate) async fn stays_silent(&mut self, time: Duration) {
        assert!(self.received.is_empty(), "{:?}", String::from_utf8_lossy(&self.received));
        if timeout(time, self.read()).await.is_ok() {
            panic!("`{}` was answered: {:?}", self.sent, String::from_utf8_lossy(&self.received));
        }
    }

    /// What is left until the server hangs up.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.received)
    }

    async fn more(&mut self) -> bool {
        timeout(PATIENCE, self.read()).await.unwrap_or_else(|_| panic!("`{}`: no answer", self.sent)) > 0
    }

    /// Reads once. A reset counts as a hang-up.
    async fn read(&mut self) -> usize {
        let mut buffer = vec![0; 64 * 1024];
        let count = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.received.extend_from_slice(&buffer[..count]);
        count
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
