//! Wires rooms together and serves: layers around the dispatch, sockets, drain.
//!
//! What is spawned in this room is awaited in this room: connections by
//! [`listener`], also while they are on a [lane](store::Lanes), requests that
//! change something by [`run`], wherever they were left, and so the housekeeping.
//! It returns when all of them have ended.

mod allocator;
mod detach;
mod dispatch;
mod housekeeping;
mod io;
mod listener;
mod open;
mod shutdown;
mod stack;
mod streams;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::auth;
use crate::layers::{LimitsOptions, OriginOptions};
use crate::metadata;
use crate::services::{ManifestsOptions, PushOptions};
use crate::store;

pub use allocator::keep_little;
pub use dispatch::Services;
pub use listener::{Bound, bind};
pub use open::{Error, Opened, open, pair, storage};
pub use shutdown::terminated;

/// Everything that serving goes by.
pub struct Options {
    pub host: IpAddr,
    pub port: u16,
    /// Directory of the blob store.
    pub root: PathBuf,
    pub database: metadata::Options,
    pub store: store::Options,
    pub auth: auth::Options,
    pub origin: OriginOptions,
    /// Path under which the public URL mounts the registry, empty for none.
    pub path_prefix: String,
    pub limits: LimitsOptions,
    pub push: PushOptions,
    pub manifests: ManifestsOptions,
    /// How long requests in flight may go on after SIGTERM.
    pub drain: Duration,
    /// How long an upload session lives without a byte (R-UPL-62).
    pub session_lifetime: Duration,
    /// Writes the metrics page.
    pub render_metrics: fn() -> String,
}

/// Serves until `stop` is done, then drains.
///
/// # Errors
/// Where database, store or socket cannot be opened; each says what to do.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), Error> {
    listener::raise_descriptor_limit();
    let opened = open(&options).await?;
    let bound = bind(options.host, options.port).await?;
    let services = Services::new(&opened, &options);
    let changes = TaskTracker::new();
    let stack = stack::stack(services, changes.clone(), &opened, &options);
    let lanes =
        store::Lanes::start(std::thread::available_parallelism().map_or(1, usize::from)).map_err(Error::Threads)?;
    let housekeeping = housekeeping::start(&opened, &options);
    tracing::info!(address = %bound.address(), database = opened.metadata.backend().as_str(), root = %options.root.display(), "listening");
    bound.serve(stack, &lanes, stop, options.drain).await;
    // Changes whose client went away are finished all the same.
    changes.close();
    if timeout(options.drain, changes.wait()).await.is_err() {
        tracing::warn!("changes were still under way at the deadline and were broken off");
    }
    opened.store.drain().await;
    housekeeping.stop().await;
    opened.metadata.close().await;
    tracing::info!("stopped");
    Ok(())
}
