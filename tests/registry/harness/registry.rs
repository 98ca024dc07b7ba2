use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::client::Client;
use super::command::{Output, distribution};
use super::content::{unique_name, unique_text};
use super::database::Database;
use super::process::{self, Process};

/// A real server on a free port, with its own directory and database, gone when dropped.
pub(crate) struct TestRegistry {
    process: Mutex<Process>,
    port: Arc<AtomicU16>,
    settings: Settings,
    // Dropped in this order: nothing is taken away under a running server.
    _database: Database,
    directory: TempDir,
}

/// How a registry is started, beside what every test needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    environment: BTreeMap<String, String>,
    arguments: Vec<String>,
    files: Vec<(String, String)>,
}

impl Settings {
    /// Sets an environment variable.
    pub(crate) fn set(&mut self, variable: &str, value: &str) -> &mut Self {
        self.environment.insert(variable.to_owned(), value.to_owned());
        self
    }

    /// Adds arguments to the command line.
    pub(crate) fn argue(&mut self, arguments: &[&str]) -> &mut Self {
        self.arguments.extend(arguments.iter().copied().map(str::to_owned));
        self
    }

    /// Puts a file where the server starts.
    pub(crate) fn file(&mut self, name: &str, content: &str) -> &mut Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }
}

/// A second server on the same database and files.
pub(crate) struct Replica {
    // Runs until dropped.
    _process: Process,
    port: Arc<AtomicU16>,
}

impl Replica {
    /// The same person, asking this server.
    pub(crate) fn seen_by(&self, client: &Client) -> Client {
        client.at(self.port.clone())
    }
}

static SHARED: tokio::sync::Mutex<Weak<TestRegistry>> = tokio::sync::Mutex::const_new(Weak::new());

impl TestRegistry {
    /// A server with the defaults, which other tests use too: names must be unique
    /// (`Client::repository` sees to it), and nobody may stop it.
    pub(crate) async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&started);
        started
    }

    /// A server of the test's own, with the defaults.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server of the test's own, set up by `configure`.
    pub(crate) async fn with(configure: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::Builder::new().prefix("registry-").tempdir().unwrap();
        let database = Database::create(directory.path()).await;
        let mut settings = Settings::default();
        settings.set("PATH", "/usr/bin:/bin").set("DATABASE_URL", database.url());
        settings.argue(&["--root", directory.path().join("root").to_str().unwrap()]);
        configure(&mut settings);
        for (name, content) in &settings.files {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        let process = Process::start(&settings, directory.path());
        let port = Arc::new(AtomicU16::new(process.port()));
        Self { process: Mutex::new(process), port, settings, _database: database, directory }
    }

    /// Another server beside this one, on the same database and files.
    pub(crate) fn replica(&self) -> Replica {
        let process = Process::start(&self.settings, self.directory.path());
        let port = Arc::new(AtomicU16::new(process.port()));
        Replica { _process: process, port }
    }

    /// Kills the server. Whoever asks it something fails until it is started again.
    pub(crate) fn kill(&self) {
        self.process.lock().unwrap().kill();
    }

    /// Kills the server and starts it again on the same files.
    pub(crate) fn crash(&self) {
        self.crash_with(|_| {});
    }

    /// As [`TestRegistry::crash`], with other settings from now on.
    pub(crate) fn crash_with(&self, configure: impl FnOnce(&mut Settings)) {
        let mut process = self.process.lock().unwrap();
        process.kill();
        let mut settings = self.settings.clone();
        configure(&mut settings);
        *process = Process::start(&settings, self.directory.path());
        self.port.store(process.port(), Ordering::SeqCst);
    }

    /// Lets the server finish, and starts it again on the same files.
    pub(crate) fn restart(&self) {
        let mut process = self.process.lock().unwrap();
        process.terminate();
        assert!(process.wait(Duration::from_secs(60)).success(), "a clean stop ends with 0");
        *process = Process::start(&self.settings, self.directory.path());
        self.port.store(process.port(), Ordering::SeqCst);
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.process.lock().unwrap().terminate();
    }

    /// Waits until the server has ended.
    pub(crate) fn wait(&self, limit: Duration) -> ExitStatus {
        self.process.lock().unwrap().wait(limit)
    }

    /// Whether the server still runs.
    pub(crate) fn is_running(&self) -> bool {
        self.process.lock().unwrap().is_running()
    }

    /// The most memory that the server has had so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let id = self.process.lock().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        1024 * peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.load(Ordering::SeqCst)).into()
    }

    /// The directory that blobs and sessions are in.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// The file that holds the bytes of a digest, for a test that damages it.
    pub(crate) fn stored(&self, digest: &str) -> PathBuf {
        let hex = digest.split_once(':').unwrap().1;
        let mut open = vec![self.root()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if path.file_name().unwrap().to_string_lossy().contains(hex) {
                    return path;
                }
            }
        }
        panic!("no file for {digest} below {}", self.root().display());
    }

    /// Everything the server has logged.
    pub(crate) fn log(&self) -> String {
        process::log(self.directory.path())
    }

    /// Somebody without credentials.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(self.port.clone())
    }

    /// Somebody new who has registered and logged in. The name begins with `name` and is unique.
    pub(crate) async fn user(&self, name: &str) -> Client {
        let name = unique_name(name);
        let password = unique_text("pass word");
        let registered = self
            .anonymous()
            .post("/api/v1/users")
            .header("content-type", "application/json")
            .body(json!({ "username": name, "password": password }).to_string())
            .await;
        registered.is(201);
        self.anonymous().as_user(&name, &password).log_in().await
    }

    /// An administrator. Made by the command line, as an operator makes the first one.
    pub(crate) async fn admin(&self) -> Client {
        let name = unique_name("root");
        let password = unique_text("pass word");
        self.command(&["user", "create", "--admin", &name, "--password-stdin"], &password).ok();
        self.anonymous().as_user(&name, &password).log_in().await
    }

    /// Gives somebody a role in a namespace: `reader`, `writer` or `owner`.
    pub(crate) fn set_member(&self, namespace: &str, user: &Client, role: &str) {
        self.command(&["namespace", "member", "set", namespace, user.name(), role], "").ok();
    }

    /// Runs a subcommand against the same files and database.
    pub(crate) fn command(&self, arguments: &[&str], input: &str) -> Output {
        let mut environment = self.settings.environment().clone();
        environment.insert("OCI_REGISTRY_ROOTDIR".to_owned(), self.root().display().to_string());
        distribution(self.directory.path(), &environment, arguments, input)
    }

    /// Its own directory: log, database, root.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        if let Ok(process) = self.process.get_mut() {
            process.kill();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(30)..];
            eprintln!("the last lines of the server's log:\n{}", tail.join("\n"));
        }
    }
}
