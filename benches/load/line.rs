//! A client's line to a server: HTTP/1.1 by hand, kept alive.
//!
//! By hand, because the client shares the machine with what it measures: large
//! bodies are dropped and sent inside the kernel, and nothing is done to a small
//! one that is not needed to check it.

use std::io;
use std::net::SocketAddr;

use distribution::domain::{Algorithm, Digest};
use rustix::net::RecvFlags;
use sha2::Digest as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::TcpStream;

use crate::content::{Blob, Wire};
use crate::{KIB, MIB, Result};

#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    Blob(&'a Blob),
    /// In chunks, as docker sends it.
    Chunked(&'a Blob),
}

/// What becomes of a reply's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    /// In the kernel: it costs the client nothing.
    Dropped,
    Hashed,
}

pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: Body<'a>,
    pub(crate) fate: Fate,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: &'static str, path: &'a str) -> Self {
        Self { method, path, headers: &[], body: Body::None, fate: Fate::Kept }
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
    /// How long the body was, kept or not.
    pub(crate) len: usize,
    pub(crate) digest: Option<String>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn announced(&self) -> Result<Option<usize>> {
        Ok(self.header("content-length").map(str::parse).transpose()?)
    }

    /// That the server did what was asked.
    pub(crate) fn expect(self, status: u16, request: &str) -> Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        let body = String::from_utf8_lossy(&self.body);
        Err(format!("{request}: {} instead of {status}\n{}\n{body}", self.status, self.head.trim_end()).into())
    }
}

pub(crate) struct Line {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
    /// Where nothing is written: see [`drop_received`].
    scratch: Vec<u8>,
    pub(crate) requests: usize,
}

impl Line {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, scratch: Vec::new(), requests: 0 }
    }

    pub(crate) async fn connect(&mut self) -> Result<()> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        self.stream = Some(BufReader::with_capacity(64 * KIB, stream));
        Ok(())
    }

    pub(crate) async fn ask(&mut self, request: &Request<'_>, authorization: Option<&str>) -> Result<Reply> {
        if self.stream.is_none() {
            self.connect().await?;
        }
        self.requests += 1;
        let reply = self.exchange(request, authorization).await;
        let reply = reply.map_err(|error| format!("{} {}: {error}", request.method, request.path))?;
        if reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.stream = None;
        }
        Ok(reply)
    }

    async fn exchange(&mut self, request: &Request<'_>, authorization: Option<&str>) -> Result<Reply> {
        let Self { address, stream: Some(stream), scratch, .. } = self else { return Err("not connected".into()) };
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {address}\r\n", request.method, request.path);
        let authorization = authorization.map(|value| ("Authorization", value));
        for (name, value) in request.headers.iter().copied().chain(authorization) {
            head.extend([name, ": ", value, "\r\n"]);
        }
        send(stream.get_mut(), head, request).await?;
        let mut reply = read_head(stream).await?;
        while reply.status < 200 {
            reply = read_head(stream).await?;
        }
        if request.method == "HEAD" || matches!(reply.status, 204 | 304) {
            return Ok(reply);
        }
        let fate = if reply.status < 300 { request.fate } else { Fate::Kept };
        let mut receiver = Receiver { stream, scratch, fate, hash: sha2::Sha256::new(), reply: &mut reply };
        receiver.receive().await?;
        if fate == Fate::Hashed {
            let hash = receiver.hash.finalize();
            reply.digest = Some(Digest::from_hash(Algorithm::Sha256, &hash).to_string());
        }
        Ok(reply)
    }
}

async fn send(stream: &mut TcpStream, head: String, request: &Request<'_>) -> io::Result<()> {
    let length = match request.body {
        Body::None if matches!(request.method, "GET" | "HEAD" | "DELETE") => String::new(),
        Body::None => "Content-Length: 0\r\n".to_owned(),
        Body::Bytes(bytes) => format!("Content-Length: {}\r\n", bytes.len()),
        Body::Blob(blob) => format!("Content-Length: {}\r\n", blob.len),
        Body::Chunked(_) => "Transfer-Encoding: chunked\r\n".to_owned(),
    };
    let head = format!("{head}{length}\r\n").into_bytes();
    match request.body {
        Body::None => stream.write_all(&head).await,
        Body::Bytes(bytes) => stream.write_all(&[&head, bytes].concat()).await,
        Body::Blob(blob) if blob.len <= 64 * KIB => stream.write_all(&[head, blob.bytes()].concat()).await,
        Body::Blob(blob) => send_wire(stream, head, blob.plain()).await,
        Body::Chunked(blob) => send_wire(stream, head, blob.chunked()).await,
    }
}

async fn send_wire(stream: &mut TcpStream, head: Vec<u8>, wire: Wire) -> io::Result<()> {
    stream.write_all(&[head, wire.first].concat()).await?;
    let (mut at, end) = (wire.from, wire.from + wire.len);
    while at < end {
        let offset = at % wire.period;
        let len = (end - at).min(wire.period - offset);
        stream.writable().await?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            Ok(rustix::fs::sendfile(&*stream, wire.tape, Some(&mut (offset as u64)), len)?)
        });
        match sent {
            Ok(sent) => at += sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    stream.write_all(wire.last).await
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> Result<Reply> {
    let mut head = Vec::with_capacity(KIB);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).await? == 0 {
            return Err("the connection ended before the reply".into());
        }
    }
    let head = String::from_utf8(head)?;
    let status = head.get(9..12).ok_or("no status line")?.parse()?;
    Ok(Reply { status, head, body: Vec::new(), len: 0, digest: None })
}

/// A body on its way in.
struct Receiver<'a> {
    stream: &'a mut BufReader<TcpStream>,
    scratch: &'a mut Vec<u8>,
    fate: Fate,
    hash: sha2::Sha256,
    reply: &'a mut Reply,
}

impl Receiver<'_> {
    async fn receive(&mut self) -> Result {
        if let Some(len) = self.reply.announced()? {
            return self.take(len).await;
        }
        if self.reply.header("transfer-encoding") != Some("chunked") {
            return Err("a body without a length".into());
        }
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            let len = usize::from_str_radix(line.trim_end(), 16)?;
            self.take(len).await?;
            self.stream.read_line(&mut line).await?;
            if len == 0 {
                return Ok(());
            }
        }
    }

    /// So many bytes, exactly.
    async fn take(&mut self, len: usize) -> Result {
        let mut left = len;
        while left > 0 {
            let taken = if self.fate == Fate::Dropped && left > 4 * KIB && self.stream.buffer().is_empty() {
                self.scratch.resize(MIB, 0);
                drop_received(self.stream.get_ref(), self.scratch, left).await?
            } else {
                let received = self.stream.fill_buf().await?;
                let piece = &received[..received.len().min(left)];
                match self.fate {
                    Fate::Kept => self.reply.body.extend_from_slice(piece),
                    Fate::Dropped => {}
                    Fate::Hashed => self.hash.update(piece),
                }
                let taken = piece.len();
                self.stream.consume(taken);
                taken
            };
            if taken == 0 {
                return Err(format!("the body ended {left} bytes early").into());
            }
            left -= taken;
        }
        self.reply.len += len;
        Ok(())
    }
}

/// Lets the kernel drop what has arrived, `left` bytes at most: with `TRUNC` a
/// TCP socket counts and copies nothing.
async fn drop_received(stream: &TcpStream, scratch: &mut [u8], left: usize) -> io::Result<usize> {
    let len = left.min(scratch.len());
    loop {
        stream.readable().await?;
        let dropped = stream
            .try_io(Interest::READABLE, || Ok(rustix::net::recv(stream, &mut scratch[..len], RecvFlags::TRUNC)?.1));
        match dropped {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            dropped => return dropped,
        }
    }
}
