//! What the metadata must do, on both databases: SQLite always, PostgreSQL
//! where `TEST_POSTGRES_URL` names a server whose role may create databases.

mod accounts;
mod blobs;
mod faults;
mod lists;
mod manifests;
mod namespaces;
pub(super) mod plans;
mod races;
mod sweep;
mod tokens;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::{AnyConnection, Connection};

use super::*;
use crate::domain::{
    Algorithm, Digest, Manifest, MediaType, ObjectName, Reference, Role, UploadId, Username, Visibility,
};

/// A database of its own for one test, gone with it.
pub(super) struct Database {
    pub(super) metadata: Metadata,
    pub(super) options: Options,
    _directory: Option<tempfile::TempDir>,
    drop_at: Option<(String, String)>,
}

impl std::ops::Deref for Database {
    type Target = Metadata;
    fn deref(&self) -> &Metadata {
        &self.metadata
    }
}

/// Runs the same test on every database at hand, each time on an empty one.
pub(super) fn on_each<F: Future<Output = ()>>(test: impl Fn(Arc<Database>) -> F) {
    on_each_with(|_| {}, test);
}

pub(super) fn on_each_with<F: Future<Output = ()>>(change: impl Fn(&mut Options), test: impl Fn(Arc<Database>) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    #[expect(clippy::disallowed_methods, reason = "which server tests may use is no option of the room")]
    let server = std::env::var("TEST_POSTGRES_URL").ok();
    let servers = [None, server];
    for server in servers.iter().take(if servers[1].is_some() { 2 } else { 1 }) {
        runtime.block_on(async {
            let database = Arc::new(open(server.as_deref(), &change).await);
            test(Arc::clone(&database)).await;
            database.metadata.close().await;
            if let Some((server, name)) = &database.drop_at {
                let mut connection = AnyConnection::connect(server).await.unwrap();
                let sql = sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            }
        });
    }
}

async fn open(server: Option<&str>, change: &impl Fn(&mut Options)) -> Database {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (url, directory, drop_at) = match server {
        None => {
            let directory = tempfile::tempdir().unwrap();
            (format!("sqlite:{}/db/registry.db", directory.path().display()), Some(directory), None)
        }
        Some(server) => {
            let name = format!("metadata_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            sqlx::any::install_default_drivers();
            let mut connection = AnyConnection::connect(server).await.unwrap();
            let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            let (base, _) = server.rsplit_once('/').unwrap();
            (format!("{base}/{name}"), None, Some((server.to_owned(), name)))
        }
    };
    let mut options = Options::new(url);
    change(&mut options);
    let metadata = Metadata::open(&options).await.unwrap();
    Database { metadata, options, _directory: directory, drop_at }
}

pub(super) fn origin() -> Origin {
    Origin { actor: Actor::Anonymous, address: Some(IpAddr::from([192, 0, 2, 7])), request: Some("request-1".into()) }
}

pub(super) fn as_user(account: &Account) -> Origin {
    let actor = Actor::User { id: account.id, name: account.name.clone() };
    Origin { actor, ..origin() }
}

pub(super) fn new_user(name: &str) -> NewUser {
    NewUser {
        name: name.parse().unwrap(),
        password_hash: PasswordHash::new("$argon2id$…"),
        pepper_id: Some("p1".into()),
        admin: false,
    }
}

pub(super) async fn user(metadata: &Metadata, name: &str) -> Account {
    metadata.create_user(new_user(name), origin()).await.unwrap()
}

/// A push by that user, judged by the rules that matter here: writers push, and anyone claims what is nobody's.
pub(super) fn push_by(account: &Account, repository: &str) -> PushTarget {
    PushTarget {
        repository: repository.parse().unwrap(),
        origin: as_user(account),
        visibility: Visibility::Private,
        judge: Arc::new(|facts| facts.role >= Some(Role::Writer) || !facts.claimed),
    }
}

/// A push that nobody judges.
pub(super) fn push_freely(account: &Account, repository: &str) -> PushTarget {
    PushTarget { judge: Arc::new(|_| true), ..push_by(account, repository) }
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha256, &Sha256::digest(bytes))
}

pub(super) fn new_blob(bytes: &[u8]) -> NewBlob {
    let digest = digest_of(bytes);
    let object = ObjectName::new(&digest, UploadId::random());
    NewBlob { digest, object, size: bytes.len() as u64 }
}

/// Pushes those bytes as a blob.
pub(super) async fn push_blob(metadata: &Metadata, target: &PushTarget, bytes: &[u8]) -> Digest {
    let blob = new_blob(bytes);
    metadata.commit_blob(target.clone(), blob.clone()).await.unwrap();
    blob.digest
}

pub(super) async fn id_of(metadata: &Metadata, repository: &str) -> RepositoryId {
    metadata.repository(&repository.parse().unwrap()).await.unwrap().unwrap().id
}

pub(super) fn descriptor(media_type: &str, digest: &Digest) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1}}"#)
}

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

/// An image manifest of these bytes, and what is read of it.
pub(super) fn image(config: &Digest, layers: &[(&str, &Digest)], more: &str) -> NewManifest {
    let layers: Vec<_> = layers.iter().map(|(media_type, digest)| descriptor(media_type, digest)).collect();
    let config = descriptor(CONFIG, config);
    parsed(format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]{more}}}"#, layers.join(",")))
}

pub(super) fn index(children: &[&Digest], more: &str) -> NewManifest {
    let children: Vec<_> = children.iter().map(|digest| descriptor(MediaType::OCI_MANIFEST, digest)).collect();
    parsed(format!(r#"{{"schemaVersion":2,"manifests":[{}]{more}}}"#, children.join(",")))
}

fn parsed(text: String) -> NewManifest {
    let manifest = Manifest::parse(None, text.as_bytes()).unwrap();
    NewManifest { digest: digest_of(text.as_bytes()), bytes: text.into(), manifest, tags: Vec::new(), sparse: false }
}

impl NewManifest {
    pub(super) fn tagged(mut self, tags: &[&str]) -> Self {
        self.tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        self
    }
}

pub(super) fn by_tag(tag: &str) -> Reference {
    Reference::Tag(tag.parse().unwrap())
}

pub(super) fn names<T: ToString>(list: impl IntoIterator<Item = T>) -> Vec<String> {
    list.into_iter().map(|item| item.to_string()).collect()
}
