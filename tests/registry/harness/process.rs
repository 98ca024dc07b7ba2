use std::fs::{File, OpenOptions};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::registry::Settings;
use crate::port::Port;

/// How long a server may take to answer its first health check, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// One running server.
pub(crate) struct Process {
    child: Child,
    port: Port,
}

impl Process {
    /// Starts the binary on a free port and waits until it is healthy.
    pub(crate) fn start(settings: &Settings, directory: &Path) -> Self {
        let port = Port::reserve();
        let before = log(directory).len();
        let output = open_log(directory);
        let mut child = Command::new(env!("CARGO_BIN_EXE_distribution"))
            .args(["--host", "127.0.0.1", "--port", &port.number().to_string()])
            .args(settings.arguments())
            .env_clear()
            .envs(settings.environment())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the server ended with {status} before it was healthy:\n{}", log(directory).split_off(before));
            }
            if healthy(port.number()) {
                return Self { child, port };
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("the server was not healthy after {START:?}:\n{}", log(directory).split_off(before));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a chance to tidy up, as a power cut would.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself; either way it is gone now.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as a service manager would.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().unwrap();
        assert!(sent.success(), "could not signal {pid}");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end within {limit:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a server in this directory has logged so far.
pub(crate) fn log(directory: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(directory.join("log")).unwrap_or_default()).into_owned()
}

fn open_log(directory: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(directory.join("log")).unwrap()
}

/// One health check, by hand, so that it needs no runtime.
fn healthy(port: u16) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let asked = write!(stream, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    let mut answer = [0; 12];
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"HTTP/1.1 200"
}
