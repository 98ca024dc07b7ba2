//! The servers that are measured: each a process on a free port of loopback, in
//! a directory of its own, ended with the program.
//!
//! Ours runs as it is meant to be run: private repositories, tokens, the access
//! log at `info`, written to a file. The reference runs with its Debian package's
//! settings, but without authentication, access log or any message below `error`;
//! nginx serves the same content as files.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::Result;
use crate::client::{Client, Credentials, Repository, unique};
use crate::content::{Blob, Image, MANIFEST};
use crate::database::Database;
use crate::drive::{Plan, drive};
use crate::line::{Body, Line, Request};
use crate::processes::Processes;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Static files
    Nginx,
    /// CNCF Distribution, as Debian's docker-registry
    Reference,
    /// This registry on SQLite
    Sqlite,
    /// This registry on PostgreSQL
    Postgres,
}

pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// The head of its column.
    pub(crate) title: String,
    pub(crate) processes: Processes,
    address: SocketAddr,
    credentials: Rc<Credentials>,
    /// What was prepared for the scenarios to come.
    prepared: RefCell<HashSet<String>>,
    directory: PathBuf,
    process: Process,
    database: Option<Database>,
}

impl Server {
    /// Starts a server; `None` if it is not installed.
    pub(crate) async fn start(kind: Kind, parent: &Path, postgres: Option<&str>) -> Result<Option<Self>> {
        let Some(title) = title(kind)? else { return Ok(None) };
        let directory = parent.join(format!("{kind:?}").to_lowercase());
        fs::create_dir_all(directory.join("www/v2"))?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let database = match (kind, postgres) {
            (Kind::Postgres, Some(server)) => Some(Database::create(server).await?),
            (Kind::Postgres, None) => return Err("PostgreSQL needs a --database-url".into()),
            _ => None,
        };
        let url = database.as_ref().map(|database| database.url.clone());
        let mut command = match kind {
            Kind::Nginx => nginx(&directory, port)?,
            Kind::Reference => reference(&directory, port)?,
            Kind::Sqlite | Kind::Postgres => ours(&directory, port, url),
        };
        let log = File::create(directory.join("log"))?;
        command.current_dir(&directory).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut process = Process(command.spawn()?);
        let began = Instant::now();
        while Line::new(address).ask(&Request::new("GET", "/v2/"), None).await.is_err() {
            if process.0.try_wait()?.is_some() || began.elapsed() > Duration::from_secs(60) {
                return Err(format!("no {title}:\n{}", fs::read_to_string(directory.join("log"))?).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let processes = Processes::new(process.0.id(), database.as_ref().and_then(|database| database.process));
        let credentials = Rc::new(if kind.is_ours() { register(address).await? } else { Credentials::default() });
        let prepared = RefCell::default();
        Ok(Some(Self { kind, title, processes, address, credentials, prepared, directory, process, database }))
    }

    /// Ends it, and takes its database away.
    pub(crate) async fn end(self) -> Result {
        drop(self.process);
        match self.database {
            Some(database) => database.remove().await,
            None => Ok(()),
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address, &self.credentials)
    }

    /// Whether this is asked for the first time: what is to be read is pushed once.
    pub(crate) fn first(&self, scenario: &str) -> bool {
        self.prepared.borrow_mut().insert(scenario.to_owned())
    }

    /// Sees to it that a repository has these blobs.
    pub(crate) async fn provide(&self, repository: &Repository, blobs: &[Blob]) -> Result {
        if self.kind == Kind::Nginx {
            return blobs.iter().try_for_each(|blob| self.write(&repository.blob(&blob.digest), blob.pieces(0)));
        }
        self.push(16, blobs.len(), async |client, nth| repository.push_new_blob(client, &blobs[nth]).await).await
    }

    /// Sees to it that a repository has these images.
    pub(crate) async fn provide_images(&self, repository: &Repository, images: &[Image]) -> Result {
        if self.kind == Kind::Nginx {
            return images.iter().try_for_each(|Image { tag, manifest, .. }| {
                let mut references = [tag, &manifest.digest].into_iter();
                references.try_for_each(|name| self.write(&repository.manifest(name), [&*manifest.bytes]))
            });
        }
        self.push(8, images.len(), async |client, nth| repository.push_image(client, &images[nth]).await).await
    }

    /// Does what is done before the clock starts, so many times.
    pub(crate) async fn push(
        &self,
        clients: usize,
        count: usize,
        work: impl AsyncFn(&mut Client, usize) -> Result,
    ) -> Result {
        let clients = clients.min(count);
        drive(self, Plan { clients, count, at_least: Duration::ZERO, writes: 0 }, work).await.map(drop)
    }

    fn write<'p>(&self, path: &str, pieces: impl IntoIterator<Item = &'p [u8]>) -> Result {
        let path = self.directory.join("www").join(&path[1..]);
        fs::create_dir_all(path.parent().ok_or("a file is in a directory")?)?;
        let mut file = File::create(path)?;
        Ok(pieces.into_iter().try_for_each(|piece| std::io::Write::write_all(&mut file, piece))?)
    }
}

impl Kind {
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Sqlite | Self::Postgres)
    }
}

/// A child that does not outlive the program, even if it has children of its own.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let began = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// What it is and of which version; `None` if it is not installed.
fn title(kind: Kind) -> Result<Option<String>> {
    let (program, flag, name) = match kind {
        Kind::Nginx => ("nginx", "-v", "static nginx"),
        Kind::Reference => ("docker-registry", "--version", "docker-registry"),
        Kind::Sqlite => return Ok(Some("ours, SQLite".to_owned())),
        Kind::Postgres => return Ok(Some("ours, PostgreSQL".to_owned())),
    };
    let output = match command(program).arg(flag).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    let version = said.split([' ', '/']).next_back().unwrap_or_default().trim();
    Ok(Some(format!("{name} {version}")))
}

fn ours(directory: &Path, port: u16, database: Option<String>) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_distribution"));
    let database = database.unwrap_or_else(|| format!("sqlite:{}", directory.join("registry.db").display()));
    command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--root"]).arg(directory.join("blobs"));
    command.env("DATABASE_URL", database).env("RUST_LOG", "info");
    command.env("JWT_SECRET", unique() + &unique()).env("PASSWORD_SALT", &unique()[..16]);
    command
}

/// Registers the user whose namespace everything is pushed to.
async fn register(address: SocketAddr) -> Result<Credentials> {
    let (user, password) = ("bench", unique());
    let body = json!({ "username": user, "password": password }).to_string();
    let headers: &[(&str, &str)] = &[("Content-Type", "application/json")];
    let request = Request { headers, body: Body::Bytes(body.as_bytes()), ..Request::new("POST", "/api/v1/users") };
    Line::new(address).ask(&request, None).await?.expect(201, "POST /api/v1/users")?;
    Ok(Credentials::of(user, &password))
}

fn reference(directory: &Path, port: u16) -> Result<Command> {
    let settings = format!(
        "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
         storage: {{ cache: {{ blobdescriptor: inmemory }}, delete: {{ enabled: true }}, \
         filesystem: {{ rootdirectory: '{}' }} }}\nhttp: {{ addr: '127.0.0.1:{port}', secret: {} }}\n\
         health: {{ storagedriver: {{ enabled: true, interval: 10s, threshold: 3 }} }}\n",
        directory.join("blobs").display(),
        unique(),
    );
    fs::write(directory.join("config.yml"), settings)?;
    let mut command = command("docker-registry");
    command.arg("serve").arg(directory.join("config.yml"));
    Ok(command)
}

fn nginx(directory: &Path, port: u16) -> Result<Command> {
    fs::write(directory.join("www/v2/index"), "{}")?;
    // Started by root, its workers would be somebody who may not read the files.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}; ", directory.join(kind).display()))
        .concat();
    let settings = format!(
        "daemon off; {user} worker_processes auto; worker_rlimit_nofile 30000; pid nginx.pid; error_log stderr;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; open_file_cache max=20000 inactive=1h; \
         open_file_cache_valid 1h; keepalive_requests 100000000; keepalive_timeout 1h; default_type {MANIFEST}; {temporary}\n\
         server {{ listen 127.0.0.1:{port}; root {}; index index; }} }}\n",
        directory.join("www").display(),
    );
    fs::write(directory.join("nginx.conf"), settings)?;
    let mut command = command("nginx");
    command.args(["-e", "stderr", "-p"]).arg(directory).arg("-c").arg(directory.join("nginx.conf"));
    Ok(command)
}
