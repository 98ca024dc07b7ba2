//! What breaks besides servers: disks that are full, databases that are away,
//! bytes that rot, clients that stall or vanish.

mod clients;
mod database;
mod disk;
mod rot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::content::sha256;
use crate::database::Database;
use crate::line::{Line, Reply};
use crate::model::Manifest;
use crate::people;
use crate::server::{Place, Server};

/// A registry of a test's own, with a user.
struct Registry {
    server: Server,
    place: Place,
    environment: BTreeMap<&'static str, String>,
    line: Line,
    bearer: String,
    // Dropped last: nothing is taken away under a running server.
    _database: Database,
    directory: TempDir,
}

impl Registry {
    /// On SQLite, set up by `configure`.
    fn start(configure: impl FnOnce(&mut Place, &mut BTreeMap<&'static str, String>)) -> Self {
        let directory = directory();
        let database = Database::sqlite(directory.path());
        Self::start_on(directory, database, configure)
    }

    fn start_on(
        directory: TempDir,
        database: Database,
        configure: impl FnOnce(&mut Place, &mut BTreeMap<&'static str, String>),
    ) -> Self {
        let mut place = Place {
            directory: directory.path().to_owned(),
            root: directory.path().join("root"),
            database: database.url().to_owned(),
        };
        let mut environment = BTreeMap::new();
        configure(&mut place, &mut environment);
        let server = Server::start(&place, &environment, &[]);
        let server = server.unwrap_or_else(|| panic!("the server does not start:\n{}", place.log()));
        let bearer = people::register(server.port);
        let line = Line::new(server.port, &bearer);
        Self { server, place, environment, line, bearer, _database: database, directory }
    }

    /// Kills the server and starts it again, set up in another way.
    fn restart(&mut self, configure: impl FnOnce(&mut BTreeMap<&'static str, String>)) {
        self.server.kill();
        configure(&mut self.environment);
        let server = Server::start(&self.place, &self.environment, &[]);
        self.server = server.unwrap_or_else(|| panic!("the server does not start again:\n{}", self.place.log()));
        self.line.reconnect(self.server.port);
    }

    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let reply = self.line.ask(method, path, headers, body);
        reply.unwrap_or_else(|_| panic!("{method} {path}: hung up on; the log:\n{}", self.place.log()))
    }

    /// Asks, and must be answered so.
    #[track_caller]
    fn expect(&mut self, method: &str, path: &str, body: &[u8], status: u16) -> Reply {
        let headers: &[_] =
            if path.contains("/manifests/") { &[("Content-Type", crate::content::IMAGE_MANIFEST)] } else { &[] };
        let reply = self.ask(method, path, headers, body);
        assert_eq!(reply.status, status, "{method} {path}: {}\nthe log:\n{}", reply.text(), self.place.log());
        if status >= 400 && method != "HEAD" && path.starts_with("/v2/") {
            let errors = reply.json();
            assert!(errors["errors"][0]["code"].is_string(), "{}", reply.text());
        }
        reply
    }

    /// Pushes a blob in one request.
    #[track_caller]
    fn push(&mut self, repository: &str, bytes: &[u8], status: u16) -> Reply {
        self.expect("POST", &format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(bytes)), bytes, status)
    }

    /// Pulls a blob, which must be whole.
    #[track_caller]
    fn pull(&mut self, repository: &str, bytes: &[u8]) {
        let reply = self.expect("GET", &format!("/v2/{repository}/blobs/{}", sha256(bytes)), b"", 200);
        assert!(reply.body == bytes, "{repository} gives other bytes than were pushed");
    }

    /// Pushes an image of these two blobs, which are there.
    #[track_caller]
    fn tag(&mut self, repository: &str, tag: &str, config: &[u8], layer: &[u8], status: u16) -> Reply {
        let image = image(config, layer);
        self.expect("PUT", &format!("/v2/{repository}/manifests/{tag}"), &image.bytes, status)
    }

    /// Runs a subcommand: its exit code, and all that it said.
    fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.place.command(&[]).args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// The file that holds these bytes, which must be stored once.
    fn object(&self, bytes: &[u8]) -> PathBuf {
        let digest = sha256(bytes);
        let objects = self.objects();
        let mut found = objects.into_iter().filter(|path| path.to_str().unwrap().contains(&digest["sha256:".len()..]));
        let object = found.next().expect("the object is there");
        assert_eq!(found.next(), None, "the object is there once");
        object
    }

    /// All files of the store that are objects.
    fn objects(&self) -> Vec<PathBuf> {
        crate::files::shards(&self.place.root).iter().flat_map(|shard| crate::files::entries(shard)).collect()
    }

    /// Files of sessions that are not finished. Of those that are, some are kept to be used again.
    fn unfinished_uploads(&self) -> Vec<String> {
        let uploads = crate::files::entries(&self.place.root.join("uploads"));
        let begins_a_session =
            |path: &PathBuf| std::fs::read(path).unwrap().starts_with(b"distribution upload session");
        let is_data = |path: &PathBuf| path.extension().is_some();
        let unfinished = uploads.into_iter().filter(|path| is_data(path) || begins_a_session(path));
        unfinished.map(|path| path.display().to_string()).collect()
    }

    /// What the metrics page says of a series without labels.
    fn metric(&mut self, name: &str) -> f64 {
        let page = String::from_utf8(self.expect("GET", "/metrics", b"", 200).body).unwrap();
        let lines = page.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

/// However much was left by a death, a start does not go through it: it takes less than a second.
#[test]
fn a_start_is_quick_whatever_was_left() {
    let mut registry = Registry::start(|_, _| {});
    let (config, layer) = (bytes(1, 500), bytes(2, 20_000));
    registry.push("alice/app", &config, 201);
    registry.push("alice/app", &layer, 201);
    for nth in 0..1000 {
        let session = registry.expect("POST", "/v2/alice/app/blobs/uploads/", b"", 202);
        let session = session.header("location").unwrap().to_owned();
        registry.expect("PATCH", &session, &layer, 202);
        registry.tag("alice/app", &format!("v{nth}"), &config, &layer, 201);
    }
    assert!(registry.unfinished_uploads().len() >= 1000);
    // Of several, so that a busy machine fails nobody.
    let mut starts = Vec::new();
    for _ in 0..5 {
        registry.restart(|_| {});
        starts.push(registry.server.started_in);
        registry.pull("alice/app", &layer);
        registry.expect("GET", "/readyz", b"", 200);
    }
    println!("started in {starts:?}");
    assert!(*starts.iter().min().unwrap() < std::time::Duration::from_secs(1), "{starts:?}");
}

fn directory() -> TempDir {
    tempfile::Builder::new().prefix("faults-").tempdir().unwrap()
}

fn image(config: &[u8], layer: &[u8]) -> Manifest {
    Manifest::image(&(sha256(config), config.len()), &[(sha256(layer), layer.len())], None)
}

/// That many bytes, which are the same for the same seed.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut random = crate::random::Random::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|metadata| metadata.uid() == 0)
}
