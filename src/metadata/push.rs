use std::fmt;
use std::sync::Arc;

use super::transaction::Tx;
use super::{Error, Facts, Origin, RepositoryId};
use crate::domain::{RepositoryName, Visibility};

/// Where a push goes, who pushes, and by what rule they may.
///
/// The rule was asked before; it is asked again inside the transaction that
/// accepts the content, with what that transaction sees. So of two who push the
/// first blob of a namespace one gets it, and the other is denied.
#[derive(Clone)]
pub struct PushTarget {
    pub repository: RepositoryName,
    pub origin: Origin,
    /// What a new repository is, where its namespace does not say.
    pub visibility: Visibility,
    /// Whether these facts let the origin's actor push. `false` is [`Error::Denied`].
    pub judge: Arc<dyn Fn(&Facts) -> bool + Send + Sync>,
}

impl fmt::Debug for PushTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushTarget")
            .field("repository", &self.repository)
            .field("actor", &self.origin.actor)
            .finish_non_exhaustive()
    }
}

/// The repository that is pushed to, made if it is not there.
pub(super) async fn repository(_tx: &mut Tx<'_>, _target: &PushTarget) -> Result<RepositoryId, Error> {
    todo!()
}
