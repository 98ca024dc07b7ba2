//! What the blob store costs by itself: CPU and rate of pushes and pulls, below
//! any HTTP, and of pulls over loopback by both ways to a socket.
//!
//! `cargo bench --bench store [-- <part of a name>]`; `TMPDIR` says where.

use std::convert::Infallible;
use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use distribution::domain::{Algorithm, Digest};
use distribution::store::{BlobStore, Filesystem, Options, SendfileIo, Session, SessionOwner, Stored};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::net::RecvFlags;
use rustix::time::{ClockId, clock_gettime};
use sha2::Digest as _;
use tokio::net::TcpListener;

const MIB: usize = 1024 * 1024;
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, address, count, len] = arguments.as_slice()
        && role == "client"
    {
        return client(address.parse()?, count.parse()?, len.parse()?);
    }
    let only = arguments.first().map_or("", String::as_str);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(only))
}

async fn run(only: &str) -> Result {
    let directory = tempfile::tempdir()?;
    let store = Filesystem::open(directory.path(), Options::default())?;
    let wanted = |name: &str| name.contains(only);
    if wanted("control") {
        control(directory.path())?;
    }
    if wanted("push small") {
        for (tasks, count) in [(1, 500), (16, 4000)] {
            let measure = Measure::begin();
            at_once(tasks, count, |nth| push(store.clone(), small(nth))).await?;
            measure.end_each(&format!("push small: 4 KiB, {tasks} at once"), count);
        }
    }
    if wanted("push large") {
        for (tasks, count, len) in [(1, 2, 1024), (8, 16, 64)] {
            let content = large(len);
            let measure = Measure::begin();
            at_once(tasks, count, |_| push(store.clone(), content.clone())).await?;
            measure.end_bytes(&format!("push large: {len} MiB, {tasks} at once"), count * len * MIB);
        }
    }
    if wanted("pull small") {
        let stored = push(store.clone(), small(1)).await?;
        for tasks in [1, 16] {
            let measure = Measure::begin();
            at_once(tasks, 100_000, |_| pull(store.clone(), stored.clone())).await?;
            measure.end_each(&format!("pull small: 4 KiB, {tasks} at once"), 100_000);
        }
    }
    if wanted("pull large") || wanted("http warm") || wanted("http cold") {
        let stored = push(store.clone(), large(1024)).await?;
        if wanted("pull large") {
            for _ in 0..3 {
                let measure = Measure::begin();
                pull(store.clone(), stored.clone()).await?;
                measure.end_bytes("pull large: 1 GiB", 1024 * MIB);
            }
        }
        let file = std::fs::File::open(directory.path().join("blobs").join(stored.object.as_str()))?;
        for way in [Way::Read, Way::Sendfile] {
            if wanted("http cold") {
                rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
                over_http(&store, &stored, way, 1, 1, "cold").await?;
            }
        }
        for round in 0..3 {
            for way in [Way::Read, Way::Sendfile] {
                if wanted("http warm") {
                    over_http(&store, &stored, way, 1, 4, "warm").await?;
                    if round == 0 {
                        over_http(&store, &stored, way, 8, 1, "warm").await?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// What a bare loop costs here and now, to read the other figures by.
fn control(directory: &std::path::Path) -> Result {
    let chunk = vec![7; 512 * 1024];
    let measure = Measure::begin();
    let mut hash = sha2::Sha256::new();
    (0..2048).for_each(|_| hash.update(&chunk));
    std::hint::black_box(hash.finalize());
    measure.end_bytes("control: sha256 of 1 GiB", 1024 * MIB);
    let mut file = std::fs::File::create(directory.join("control"))?;
    let measure = Measure::begin();
    for _ in 0..2048 {
        file.write_all(&chunk)?;
    }
    measure.end_bytes("control: 1 GiB to the page cache", 1024 * MIB);
    let measure = Measure::begin();
    file.sync_data()?;
    measure.end_bytes("control: 1 GiB from there to the disk", 1024 * MIB);
    std::fs::remove_file(directory.join("control"))?;
    let measure = Measure::begin();
    for nth in 0..200 {
        let name = directory.join(format!("control {nth}"));
        let mut file = std::fs::File::create(&name)?;
        file.write_all(&chunk[..4096])?;
        file.sync_data()?;
        std::fs::remove_file(name)?;
    }
    measure.end_each("control: create, write 4 KiB, sync, remove", 200);
    Ok(())
}

fn owner() -> Result<SessionOwner> {
    Ok(SessionOwner { repository: "library/ubuntu".parse()?, account: "user:7".into() })
}

/// What is pushed: one chunk, so many times, and the digest of it all, which is not to be measured.
#[derive(Clone)]
struct Content {
    chunk: Bytes,
    times: usize,
    digest: Digest,
}

/// 4 KiB that differ from blob to blob.
fn small(nth: usize) -> Content {
    let mut bytes = vec![7; 4096];
    bytes[..8].copy_from_slice(&nth.to_le_bytes());
    let digest = Digest::from_hash(Algorithm::Sha256, &sha2::Sha256::digest(&bytes));
    Content { chunk: bytes.into(), times: 1, digest }
}

/// So many MiB in chunks as hyper gives them.
fn large(len: usize) -> Content {
    let chunk = Bytes::from(vec![7; 256 * 1024]);
    let mut hash = sha2::Sha256::new();
    (0..len * 4).for_each(|_| hash.update(&chunk));
    Content { chunk, times: len * 4, digest: Digest::from_hash(Algorithm::Sha256, &hash.finalize()) }
}

async fn push(store: Filesystem, content: Content) -> Result<Stored> {
    let owner = owner()?;
    let id = store.start(&owner, Algorithm::Sha256).await?;
    let mut session = store.resume(id, &owner).await?.ok_or("no session")?;
    for _ in 0..content.times {
        session.write(content.chunk.clone()).await?;
    }
    Ok(session.commit(&content.digest).await?)
}

async fn pull(store: Filesystem, stored: Stored) -> Result<Stored> {
    let mut reader = Box::pin(store.open(&stored.object, stored.size, None).await?.ok_or("no object")?);
    let mut len = 0;
    while let Some(frame) = reader.frame().await {
        len += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    if len == stored.size { Ok(stored) } else { Err("short".into()) }
}

async fn at_once<F, T>(tasks: usize, count: usize, work: impl Fn(usize) -> F) -> Result
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let mut running = tokio::task::JoinSet::new();
    for nth in 0..count {
        if running.len() == tasks
            && let Some(done) = running.join_next().await
        {
            done??;
        }
        running.spawn(work(nth));
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Read,
    Sendfile,
}

type AnyBody = Pin<Box<dyn Body<Data = Bytes, Error = std::io::Error> + Send>>;

/// Serves the object to clients in a process of their own, which drop what they get.
async fn over_http(store: &Filesystem, stored: &Stored, way: Way, clients: usize, times: usize, heat: &str) -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = Command::new(std::env::current_exe()?)
        .args(["client", &listener.local_addr()?.to_string(), &format!("{clients}x{times}"), &stored.size.to_string()])
        .stdout(Stdio::null())
        .spawn()?;
    let measure = Measure::begin();
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (store, stored) = (store.clone(), stored.clone());
        let service = service_fn(move |_| {
            let (store, stored) = (store.clone(), stored.clone());
            async move {
                let opened = store.open(&stored.object, stored.size, None).await;
                let reader = opened.ok().flatten().unwrap_or_else(|| panic!("no object"));
                let body: AnyBody = match way {
                    Way::Read => Box::pin(reader),
                    Way::Sendfile => Box::pin(reader.by_sendfile()),
                };
                Ok::<_, Infallible>(hyper::Response::new(body))
            }
        });
        let http = http1::Builder::new();
        match way {
            Way::Read => connections.spawn(http.serve_connection(TokioIo::new(stream), service)),
            Way::Sendfile => connections.spawn(http.serve_connection(SendfileIo::new(stream), service)),
        };
    }
    while let Some(done) = connections.join_next().await {
        done??;
    }
    let bytes = usize::try_from(stored.size)? * clients * times;
    measure.end_bytes(&format!("http {heat}, {way:?}: 1 GiB, {clients} at once"), bytes);
    if client.wait()?.success() { Ok(()) } else { Err("the client failed".into()) }
}

fn client(address: SocketAddr, count: String, len: usize) -> Result {
    let (clients, times) = count.split_once('x').ok_or("clients x times")?;
    let times: usize = times.parse()?;
    let threads: Vec<_> = (0..clients.parse()?)
        .map(|_| {
            std::thread::spawn(move || -> Result {
                let mut stream = std::net::TcpStream::connect(address)?;
                for nth in 1..=times {
                    let close = if nth == times { "connection: close\r\n" } else { "" };
                    write!(stream, "GET / HTTP/1.1\r\nhost: here\r\n{close}\r\n")?;
                    let (mut got, mut head) = (0, None);
                    let mut buffer = vec![0; MIB];
                    while head.is_none_or(|head| got < head + len) {
                        let flags = if head.is_some() { RecvFlags::TRUNC } else { RecvFlags::empty() };
                        let (_, n) = rustix::net::recv(&stream, &mut *buffer, flags)?;
                        if n == 0 {
                            return Err("the connection ended early".into());
                        }
                        head = head.or_else(|| Some(buffer[..n].windows(4).position(|w| w == b"\r\n\r\n")? + 4));
                        got += n;
                    }
                }
                Ok(())
            })
        })
        .collect();
    threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a client panicked")?)
}

struct Measure {
    wall: Instant,
    cpu: Duration,
}

impl Measure {
    fn begin() -> Self {
        Self { wall: Instant::now(), cpu: cpu() }
    }

    fn end_each(self, name: &str, count: usize) {
        let (wall, cpu) = (self.wall.elapsed().as_secs_f64(), (cpu() - self.cpu).as_secs_f64());
        let count = count as f64;
        println!("{name:40} {:9.1} µs CPU each {:9.0}/s", cpu * 1e6 / count, count / wall);
    }

    fn end_bytes(self, name: &str, bytes: usize) {
        let (wall, cpu) = (self.wall.elapsed().as_secs_f64(), (cpu() - self.cpu).as_secs_f64());
        let mib = bytes as f64 / MIB as f64;
        println!("{name:40} {:9.3} s CPU per GiB {:6.0} MiB/s", cpu * 1024.0 / mib, mib / wall);
    }
}

/// User and system time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
