//! Clients that are slow, stand still, vanish, or just stay.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{Registry, bytes};
use crate::content::sha256;
use crate::line::Line;
use crate::number;

/// What a server holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    files: usize,
    threads: usize,
    /// Resident memory, in KiB.
    memory: u64,
    requests: f64,
    writers: f64,
}

impl Held {
    fn by(registry: &mut Registry) -> Self {
        let process = format!("/proc/{}", registry.server.id());
        let entries = |what: &str| std::fs::read_dir(format!("{process}/{what}")).unwrap().map(Result::unwrap);
        // Those of finished sessions wait to be used again, as many as there were at once.
        let spare = |file: &std::fs::DirEntry| {
            let uploads = registry.place.root.join("uploads");
            let path = std::fs::read_link(file.path()).unwrap_or_default();
            path.parent() == Some(&uploads) && path.extension().is_none()
        };
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            files: entries("fd").filter(|file| !spare(file)).count(),
            threads: entries("task").count(),
            memory: memory.trim().trim_end_matches(" kB").parse().unwrap(),
            // Without the one that asks.
            requests: registry.metric("registry_http_in_flight_requests") - 1.0,
            writers: registry.metric("registry_uploads_in_progress"),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, threads, memory, requests, writers } = self;
        write!(f, "{files} files, {threads} threads, {memory} KiB, {requests} requests, {writers} writers")
    }
}

/// Waits until the server holds no more than it did.
fn settles(registry: &mut Registry, before: Held, more_memory: u64) {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let now = Held::by(registry);
        // Threads that block come and go; they are bounded, and idle ones end after ten seconds.
        let settled = now.files <= before.files
            && now.requests <= 0.0
            && now.writers <= 0.0
            && now.threads <= before.threads + 8
            && now.memory <= before.memory + more_memory;
        if settled {
            println!("before: {before}\nafter:  {now}");
            return;
        }
        assert!(Instant::now() < deadline, "before: {before}\nafter:  {now}");
        thread::sleep(Duration::from_millis(200));
    }
}

fn connect(registry: &Registry) -> TcpStream {
    TcpStream::connect(("127.0.0.1", registry.server.port)).unwrap()
}

fn head(registry: &Registry, first: &str, rest: &str) -> String {
    format!("{first} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n{rest}\r\n", registry.bearer)
}

/// Opens a session: its path.
fn session(registry: &mut Registry) -> String {
    let reply = registry.expect("POST", "/v2/alice/app/blobs/uploads/", b"", 202);
    reply.header("location").unwrap().to_owned()
}

/// I7: whoever vanishes, at whatever stage, takes everything along.
#[test]
fn clients_that_vanish_leave_nothing() {
    let mut registry = Registry::start(|_, _| {});
    let large = bytes(1, 20_000_000);
    registry.push("alice/app", &large, 201);
    let blob = format!("/v2/alice/app/blobs/{}", sha256(&large));
    let half = bytes(2, 700_000);
    let digest = sha256(&bytes(2, 1_400_000));
    let mut sessions = Vec::new();
    let vanish_everywhere = |registry: &mut Registry, times: usize, sessions: &mut Vec<String>| {
        for nth in 0..times {
            let (patched, put) = (session(registry), session(registry));
            let length = "Content-Length: 1400000\r\n";
            let stages: Vec<(String, &[u8], usize)> = vec![
                (String::new(), b"", 0),
                ("GET /v2/ HT".to_owned(), b"", 0),
                (head(registry, "GET /v2/", "X: y").trim_end().to_owned(), b"", 0),
                ("\0\x16\x03 no HTTP at all\r\n\r\n".to_owned(), b"", 0),
                (head(registry, &format!("GET {blob}"), ""), b"", 0),
                (head(registry, &format!("GET {blob}"), ""), b"", 300_000),
                (head(registry, &format!("PATCH {patched}"), length), &half, 0),
                (head(registry, &format!("PUT {put}?digest={digest}"), length), &half, 0),
                (head(registry, &format!("POST /v2/alice/app/blobs/uploads/?digest={digest}"), length), &half, 0),
                (head(registry, "PUT /v2/alice/app/manifests/v1", length), &half, 0),
                (head(registry, "POST /auth/token", "Content-Length: 90\r\n"), b"grant_type", 0),
            ];
            sessions.extend([patched, put]);
            for (head, body, read) in stages {
                let mut stream = connect(registry);
                // Where it is refused at once, it may be gone before all is sent.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
                let mut buffer = vec![0; read];
                let _ = stream.read_exact(&mut buffer);
                if nth % 2 == 0 {
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                }
            }
        }
    };
    // What is made once, and kept, is made before it is counted.
    vanish_everywhere(&mut registry, 3, &mut sessions);
    thread::sleep(Duration::from_secs(1));
    let before = Held::by(&mut registry);
    let before = Held { requests: 0.0, writers: 0.0, ..before };
    vanish_everywhere(&mut registry, 25, &mut sessions);
    settles(&mut registry, before, 48 * 1024);
    // A session stays for whoever comes back to it, and is cancelled like any other.
    for session in sessions {
        registry.expect("DELETE", &session, b"", 204);
    }
    assert_eq!(registry.unfinished_uploads(), [""; 0]);
    registry.pull("alice/app", &large);
    assert_eq!(registry.objects().len(), 1);
}

/// R-GEN-14: a body in which nothing moves is ended, what came is kept, and nobody else waits.
#[test]
fn clients_that_stand_still_hold_nobody_up() {
    let mut registry = Registry::start(|_, environment| {
        environment.insert("OCI_REGISTRY_IDLE_TIMEOUT_SECONDS", "2".to_owned());
    });
    let (large, small) = (bytes(1, 30_000_000), bytes(2, 2_000));
    registry.push("alice/app", &large, 201);
    registry.push("alice/app", &small, 201);
    let before = Held { requests: 0.0, writers: 0.0, ..Held::by(&mut registry) };
    let sessions: Vec<_> = (0..40).map(|_| session(&mut registry)).collect();
    let mut uploads = Vec::new();
    let mut others = Vec::new();
    for path in &sessions {
        let mut up = connect(&registry);
        let head_of_patch = head(&registry, &format!("PATCH {path}"), "Content-Length: 100000\r\n");
        up.write_all(head_of_patch.as_bytes()).unwrap();
        up.write_all(&small).unwrap();
        uploads.push(up);
        let mut down = connect(&registry);
        let get = head(&registry, &format!("GET /v2/alice/app/blobs/{}", sha256(&large)), "");
        down.write_all(get.as_bytes()).unwrap();
        let mut slow = connect(&registry);
        slow.write_all(b"GET /v2/ HTTP/1.1\r\nHost:").unwrap();
        others.extend([down, slow]);
    }
    let begun = Instant::now();
    for _ in 0..50 {
        registry.pull("alice/app", &small);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "others waited: {:?}", begun.elapsed());
    for (up, path) in uploads.iter_mut().zip(&sessions) {
        up.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut status = [0; 12];
        up.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 408");
        assert_eq!(registry.expect("GET", path, b"", 204).header("range"), Some("0-1999"));
    }
    assert!(begun.elapsed() > Duration::from_secs(1), "nobody was given time");
    // Whoever stands still in a head or does not read has 90 seconds, which only the long form waits for.
    if number("CRASH_PATIENCE").is_some() {
        let files = before.files + uploads.len();
        let deadline = Instant::now() + Duration::from_secs(150);
        while Held::by(&mut registry).files > files {
            assert!(Instant::now() < deadline, "stalled connections stay: {}", Held::by(&mut registry));
            thread::sleep(Duration::from_secs(1));
        }
        println!("stalled heads and readers were hung up on after {:?}", begun.elapsed());
    }
    drop((uploads, others));
    settles(&mut registry, before, 48 * 1024);
}

/// A slow line is no stalled one, however long it takes altogether.
#[test]
fn a_slow_upload_is_waited_for() {
    let mut registry = Registry::start(|_, environment| {
        environment.insert("OCI_REGISTRY_IDLE_TIMEOUT_SECONDS", "1".to_owned());
    });
    let path = session(&mut registry);
    let mut stream = connect(&registry);
    let begin = head(&registry, &format!("PATCH {path}"), "Content-Length: 16\r\n");
    stream.write_all(begin.as_bytes()).unwrap();
    for byte in 0..16 {
        thread::sleep(Duration::from_millis(300));
        stream.write_all(&[byte]).unwrap();
    }
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 202");
    assert_eq!(registry.expect("GET", &path, b"", 204).header("range"), Some("0-15"));
}

/// I7, R-LIM-01: more requests than are served at once are told to come again, and probes are answered.
#[test]
fn too_many_requests_are_told_to_come_again() {
    let mut registry = Registry::start(|_, environment| {
        environment.insert("OCI_REGISTRY_MAX_CONCURRENT_REQUESTS", "4".to_owned());
    });
    let sessions: Vec<_> = (0..4).map(|_| session(&mut registry)).collect();
    let mut busy = Vec::new();
    for path in &sessions {
        let mut stream = connect(&registry);
        let patch = head(&registry, &format!("PATCH {path}"), "Content-Length: 10\r\n");
        stream.write_all(patch.as_bytes()).unwrap();
        busy.push(stream);
    }
    // Until all four are there, a question of ours could take the place of one of them.
    const THERE: &str = r#"registry_http_in_flight_requests{handler="blob_upload_chunk",endpoint="upload_append"} 4"#;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !registry.ask("GET", "/metrics", &[], b"").text().contains(THERE) {
        assert!(Instant::now() < deadline, "the uploads did not begin");
    }
    let refused = registry.ask("GET", "/v2/", &[], b"");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some(), "{}", refused.text());
    registry.expect("GET", "/healthz", b"", 200);
    registry.expect("GET", "/readyz", b"", 200);
    for mut stream in busy {
        stream.write_all(&[7; 10]).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 202");
    }
    registry.expect("GET", "/v2/", b"", 200);
}

/// I7: connections on which nothing happens cost little, and are given back.
/// `CRASH_IDLE_CONNECTIONS=10000` is the long form.
#[test]
fn idle_connections_are_cheap() {
    let count = usize::try_from(number("CRASH_IDLE_CONNECTIONS").unwrap_or(2000)).unwrap();
    if !may_open(count + 200) {
        println!("skipped: this process may not open {count} connections");
        return;
    }
    let mut registry = Registry::start(|_, _| {});
    registry.push("alice/app", &bytes(1, 1000), 201);
    let before = Held { requests: 0.0, writers: 0.0, ..Held::by(&mut registry) };
    let lines = idle_lines(&registry, count);
    let with = Held::by(&mut registry);
    assert!(with.files >= count, "{with}");
    let each = with.memory.saturating_sub(before.memory) as f64 / count as f64;
    println!("{count} idle connections: {:.1} MiB in all, {each:.1} KiB each", with.memory as f64 / 1024.0);
    assert!(each < 40.0, "{each} KiB each");
    let begun = Instant::now();
    registry.pull("alice/app", &bytes(1, 1000));
    assert!(begun.elapsed() < Duration::from_secs(2));
    drop(lines);
    // Memory that was needed once may be kept for the next time, when no more is needed.
    let kept = with.memory;
    settles(&mut registry, before, kept);
    drop(idle_lines(&registry, count));
    settles(&mut registry, before, kept);
}

/// Connections on which one request was answered, as a client's pool has them.
fn idle_lines(registry: &Registry, count: usize) -> Vec<Line> {
    let line = || {
        let mut line = Line::new(registry.server.port, &registry.bearer);
        let reply = line.ask("GET", "/v2/", &[], b"").unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        line
    };
    std::iter::repeat_with(line).take(count).collect()
}

/// Sees to it that this process may have so many files open.
fn may_open(count: usize) -> bool {
    let soft = || {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        line.split_whitespace().nth(3).and_then(|number| number.parse::<usize>().ok()).unwrap_or(usize::MAX)
    };
    if soft() < count {
        let limit = format!("--nofile={count}:{count}");
        let _ = Command::new("prlimit").args([&limit, "--pid", &std::process::id().to_string()]).status();
    }
    soft() >= count
}
