use std::io;
use std::net::SocketAddr;
use std::path::Path;

use uuid::Uuid;

use super::Options;
use crate::auth;
use crate::auth::Auth;
use crate::metadata;
use crate::metadata::Metadata;
use crate::store;
use crate::store::{BlobStore, Filesystem, Shard};

/// The setting that names the store a database belongs to.
const STORE_ID: &str = "store_id";

/// What serving stands on.
#[derive(Clone)]
pub struct Opened {
    pub metadata: Metadata,
    pub store: Filesystem,
    pub auth: Auth,
}

/// Why the registry does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Database(#[from] metadata::OpenError),
    #[error("the database failed: {0}")]
    Metadata(#[from] metadata::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("authentication cannot be set up: {0}")]
    Auth(#[from] auth::OpenError),
    #[error("cannot listen on {address}: {source}; choose another with --host and --port")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("cannot start the threads that take uploads: {0}")]
    Threads(#[source] io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    #[error(
        "this database belongs to the blob store {database}, but the blob store here is {store}. With the wrong pair \
         every blob would look like garbage. Check the root and the database URL; if they do belong together, such as \
         after a restore, run `distribution store pair`"
    )]
    Unpaired { database: Uuid, store: Uuid },
    #[error(
        "this database is new, but the blob store {store} holds blobs. Beside it every one of them would look like \
         garbage. Check the root and the database URL; if they do belong together, such as after a restore, run \
         `distribution store pair`"
    )]
    NewDatabase { store: Uuid },
}

/// Opens database and store, checks that they belong together, sets up authentication.
///
/// # Errors
/// As it goes; nothing is served half.
pub async fn open(options: &Options) -> Result<Opened, Error> {
    let (metadata, store) = storage(&options.root, options.store.clone(), &options.database).await?;
    let auth = Auth::new(metadata.clone(), options.auth.clone()).await?;
    Ok(Opened { metadata, store, auth })
}

/// Opens database and store, which must belong together.
///
/// # Errors
/// Where either cannot be opened, and [`Error::Unpaired`].
pub async fn storage(
    root: &Path,
    options: store::Options,
    database: &metadata::Options,
) -> Result<(Metadata, Filesystem), Error> {
    let store = Filesystem::open(root, options)?;
    let metadata = Metadata::open(database).await?;
    let id = store.identity();
    let known = match metadata.setting(STORE_ID).await? {
        Some(known) => known,
        None if holds_blobs(&store).await? => return Err(Error::NewDatabase { store: id }),
        None => metadata.setting_or_insert(STORE_ID, id.to_string()).await?,
    };
    match known.parse::<Uuid>() {
        Ok(known) if known == id => Ok((metadata, store)),
        known => Err(Error::Unpaired { database: known.unwrap_or_default(), store: id }),
    }
}

async fn holds_blobs(store: &Filesystem) -> Result<bool, store::Error> {
    for shard in Shard::all() {
        if !store.list(shard).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Says that this database and this store belong together from now on.
///
/// # Errors
/// Where either cannot be opened.
pub async fn pair(root: &Path, database: &metadata::Options) -> Result<Uuid, Error> {
    let store = Filesystem::open(root, store::Options::default())?;
    let metadata = Metadata::open(database).await?;
    metadata.set_setting(STORE_ID, store.identity().to_string()).await?;
    metadata.close().await;
    Ok(store.identity())
}
