//! What is done on the side: sessions and tokens whose time is over go, what was only counted is written down, and
//! memory that lies free is given back.

use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::open::Opened;
use super::{Options, allocator};
use crate::auth::Auth;
use crate::metadata::Metadata;
use crate::store::{BlobStore, Filesystem};

/// How often what has expired is looked for.
const EXPIRY: Duration = Duration::from_secs(3600);

/// How often failed logins that were counted together are written down.
const FAILURES: Duration = Duration::from_secs(60);

/// How often memory that lies free is given back.
const MEMORY: Duration = Duration::from_secs(15);

/// Tokens that are removed in one transaction.
const TOKENS_AT_A_TIME: usize = 500;

/// The housekeeping of one server.
pub(super) struct Housekeeping {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Starts it.
pub(super) fn start(opened: &Opened, options: &Options) -> Housekeeping {
    let stop = CancellationToken::new();
    let task = tokio::spawn(keep(opened.clone(), options.session_lifetime, stop.clone()));
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

async fn keep(opened: Opened, session_lifetime: Duration, stop: CancellationToken) {
    let (mut expiry, mut failures, mut memory) = (interval(EXPIRY), interval(FAILURES), interval(MEMORY));
    failures.set_missed_tick_behavior(MissedTickBehavior::Delay);
    memory.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = expiry.tick() => {
                expire_sessions(&opened.store, session_lifetime).await;
                expire_tokens(&opened.metadata, &opened.auth).await;
            }
            _ = failures.tick() => opened.auth.write_down_failures().await,
            _ = memory.tick() => give_back_memory().await,
            () = stop.cancelled() => break,
        }
    }
    opened.auth.write_down_failures().await;
}

async fn give_back_memory() {
    if let Err(error) = tokio::task::spawn_blocking(allocator::give_back).await {
        tracing::error!(%error, "free memory could not be given back");
    }
}

#[expect(clippy::disallowed_methods, reason = "the server is where time comes from")]
async fn expire_sessions(store: &Filesystem, lifetime: Duration) {
    let Some(before) = SystemTime::now().checked_sub(lifetime) else { return };
    match store.expire(before).await {
        Ok(expired) if expired.sessions > 0 => {
            tracing::info!(sessions = expired.sessions, bytes = expired.freed, "idle upload sessions ended");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "idle upload sessions could not be looked for"),
    }
}

/// They open nothing any more; this makes room, and a name free for its next robot.
async fn expire_tokens(metadata: &Metadata, auth: &Auth) {
    let (now, mut removed) = (auth.now(), 0);
    loop {
        match metadata.remove_expired_tokens(now, TOKENS_AT_A_TIME).await {
            Ok(0) => break,
            Ok(some) => removed += some,
            Err(error) => {
                tracing::warn!(%error, "expired tokens could not be removed");
                break;
            }
        }
    }
    if removed > 0 {
        tracing::info!(tokens = removed, "expired tokens removed");
    }
}
