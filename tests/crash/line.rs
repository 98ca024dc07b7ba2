use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take. A server that lives and does not answer is a failure of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server went away before it had answered: what was asked for may have happened or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// What a server answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// For a person who reads a failure.
    pub(crate) fn text(&self) -> String {
        format!("{}\n{}", self.head.trim_end(), String::from_utf8_lossy(&self.body))
    }
}

/// A client's line to one server: HTTP/1.1, kept alive while the server lives.
///
/// By hand, because what happens to bytes half-sent is what the tests are about.
pub(crate) struct Line {
    address: SocketAddr,
    authorization: String,
    stream: Option<TcpStream>,
}

impl Line {
    pub(crate) fn new(port: u16, authorization: &str) -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, port).into(), authorization: authorization.to_owned(), stream: None }
    }

    /// From now on to a server that listens there.
    pub(crate) fn reconnect(&mut self, port: u16) {
        self.address.set_port(port);
        self.stream = None;
    }

    /// Sends a request and waits for its reply.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, Broken> {
        let head = self.head(method, path, headers, body.len());
        let reply = self.exchange(&head, body, method == "HEAD");
        if reply.as_ref().is_none_or(|reply| reply.header("connection") == Some("close")) {
            self.stream = None;
        }
        reply.ok_or(Broken)
    }

    /// Sends a request's head and the beginning of its body, and hangs up.
    pub(crate) fn break_off(&mut self, method: &str, path: &str, body: &[u8], sent: usize) -> Result<(), Broken> {
        let head = self.head(method, path, &[], body.len());
        let stream = self.connected().ok_or(Broken)?;
        let done = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..sent]));
        self.stream = None;
        done.map_err(|_| Broken)
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if !self.authorization.is_empty() {
            head += &format!("Authorization: {}\r\n", self.authorization);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if length > 0 || !matches!(method, "GET" | "HEAD" | "DELETE") {
            head += &format!("Content-Length: {length}\r\n");
        }
        head + "\r\n"
    }

    fn connected(&mut self) -> Option<&mut TcpStream> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, PATIENCE).ok()?;
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            self.stream = Some(stream);
        }
        self.stream.as_mut()
    }

    fn exchange(&mut self, head: &str, body: &[u8], no_body: bool) -> Option<Reply> {
        let stream = self.connected()?;
        stream.write_all(head.as_bytes()).ok()?;
        // Refused in the middle, there is an answer to read all the same.
        let _ = body.chunks(64 * 1024).try_for_each(|piece| stream.write_all(piece));
        let mut received = Vec::new();
        let end = loop {
            if let Some(end) = find(&received, b"\r\n\r\n") {
                break end + 4;
            }
            more(stream, &mut received)?;
        };
        let head = String::from_utf8(received[..end].to_vec()).ok()?;
        let status = head.get(9..12)?.parse().ok()?;
        let mut reply = Reply { status, head, body: received.split_off(end) };
        let length = reply.header("content-length").map(|length| length.parse::<usize>().unwrap());
        let length = if no_body || matches!(status, 204 | 304) { 0 } else { length.expect("a length is announced") };
        while reply.body.len() < length {
            more(stream, &mut reply.body)?;
        }
        assert_eq!(reply.body.len(), length, "more came than was announced: {}", reply.text());
        Some(reply)
    }
}

fn more(stream: &mut TcpStream, into: &mut Vec<u8>) -> Option<()> {
    let mut buffer = vec![0; 64 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) => None,
        Ok(len) => {
            into.extend(&buffer[..len]);
            Some(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("a living server has not answered within {PATIENCE:?}")
        }
        Err(_) => None,
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
