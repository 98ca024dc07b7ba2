//! What is done on the side: sessions that nobody goes on with are ended.

use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Options;
use super::open::Opened;
use crate::store::{BlobStore, Filesystem};

/// How often idle sessions are looked for.
const EVERY: Duration = Duration::from_secs(3600);

/// The housekeeping of one server.
pub(super) struct Housekeeping {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Starts it.
pub(super) fn start(opened: &Opened, options: &Options) -> Housekeeping {
    let stop = CancellationToken::new();
    let task = tokio::spawn(expire_sessions(opened.store.clone(), options.session_lifetime, stop.clone()));
    Housekeeping { stop, task }
}

impl Housekeeping {
    /// Ends it; what is being done now is done first.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the housekeeping failed");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the server is where time comes from")]
async fn expire_sessions(store: Filesystem, lifetime: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        match SystemTime::now().checked_sub(lifetime) {
            Some(before) => match store.expire(before).await {
                Ok(expired) if expired.sessions > 0 => {
                    tracing::info!(sessions = expired.sessions, bytes = expired.freed, "idle upload sessions ended");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "idle upload sessions could not be looked for"),
            },
            None => return,
        }
    }
}
