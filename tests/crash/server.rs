use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::port::Port;
use crate::setting;

/// What servers that share a store and a database have in common.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Where logs go, and what a server is started in.
    pub(crate) directory: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) database: String,
}

impl Place {
    /// A command of the binary that knows its way around here, and nothing else.
    pub(crate) fn command(&self, wrapper: &[String]) -> Command {
        let binary = setting("CRASH_SERVER").unwrap_or_else(|| env!("CARGO_BIN_EXE_distribution").to_owned());
        let mut words = wrapper.iter().chain([&binary]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg("--root").arg(&self.root).env_clear();
        command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("DATABASE_URL", &self.database);
        command.env("RUST_LOG", "warn").current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    /// The last lines of the log.
    pub(crate) fn log(&self) -> String {
        let log = String::from_utf8_lossy(&std::fs::read(self.directory.join("log")).unwrap_or_default()).into_owned();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// One running server.
pub(crate) struct Server {
    child: Child,
    /// Whether the child is somebody who runs the server, and dies without it.
    wrapped: bool,
    pub(crate) port: u16,
    _reservation: Port,
    /// From its start until it answered.
    pub(crate) started_in: Duration,
}

impl Server {
    /// Starts a server; `None` where it died before it answered, as one that is meant to die may.
    pub(crate) fn start(place: &Place, environment: &BTreeMap<&str, String>, wrapper: &[String]) -> Option<Self> {
        let reservation = Port::reserve();
        let port = reservation.number();
        let begun = Instant::now();
        let mut child = spawn(place, port, environment, wrapper);
        while child.try_wait().unwrap().is_none() {
            if healthy(port) {
                let (wrapped, started_in) = (!wrapper.is_empty(), begun.elapsed());
                return Some(Self { child, wrapped, port, _reservation: reservation, started_in });
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no server after a minute:\n{}", place.log());
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }

    /// Starts a server and kills it so soon that it has hardly begun.
    pub(crate) fn start_in_vain(place: &Place, after: Duration) {
        let port = Port::reserve();
        let mut child = spawn(place, port.number(), &BTreeMap::new(), &[]);
        std::thread::sleep(after);
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, or finds it dead.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        if self.wrapped && self.is_running() {
            // Its process group is its own, and has the server in it.
            let group = format!("-{}", self.child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        }
        let _ = self.child.kill();
        self.child.wait().unwrap()
    }

    /// Waits for it to die by itself. Whether it did.
    pub(crate) fn dies_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end well, and waits until it has.
    pub(crate) fn stop(&mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the server does not stop");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "asked to stop, it ended with {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether it died of a failpoint rather than of SIGKILL.
pub(crate) fn aborted(status: ExitStatus) -> bool {
    const SIGABRT: i32 = 6;
    status.signal() == Some(SIGABRT)
}

fn spawn(place: &Place, port: u16, environment: &BTreeMap<&str, String>, wrapper: &[String]) -> Child {
    let log = open_log(&place.directory);
    let mut command = place.command(wrapper);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]).envs(environment);
    if !wrapper.is_empty() {
        command.process_group(0);
    }
    command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn open_log(directory: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(directory.join("log")).unwrap()
}

fn healthy(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let asked = write!(stream, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    let mut answer = [0; 12];
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"HTTP/1.1 200"
}
