use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::UploadId;

/// Which sessions another request of this process waits for, so that their
/// writers can hear of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many wait for each.
    counts: Mutex<HashMap<UploadId, usize>>,
    more: Notify,
}

/// One that waits, until dropped.
#[derive(Debug)]
pub(super) struct Waiter {
    waiting: Waiting,
    id: UploadId,
}

impl Waiting {
    /// Says that one more waits for this session.
    pub(super) fn begin(&self, id: UploadId) -> Waiter {
        *self.counts().entry(id).or_default() += 1;
        self.0.more.notify_waiters();
        Waiter { waiting: self.clone(), id }
    }

    /// Returns once somebody waits for this session.
    pub(super) async fn until_wanted(&self, id: UploadId) {
        loop {
            let more = self.0.more.notified();
            if self.counts().contains_key(&id) {
                return;
            }
            more.await;
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<UploadId, usize>> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut counts = self.waiting.counts();
        if let Some(count) = counts.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.id);
            }
        }
    }
}
