use super::{Error, Metadata, RepositoryId};
use crate::domain::Digest;

/// Some of a subject's referrers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReferrerPage {
    /// Their descriptors, JSON objects joined by commas: what stands between the
    /// brackets of an index's `manifests`.
    pub descriptors: String,
    /// Where the next page begins, if there is one: after this digest.
    pub next: Option<Digest>,
}

impl Metadata {
    /// Manifests of the repository whose subject is that digest, by their own
    /// digest, those after `after`; of these artifact types only, where any are
    /// named. A page ends before `count` or `bytes` would be passed, but holds
    /// at least one entry where there is one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn referrers(
        &self,
        repository: RepositoryId,
        subject: &Digest,
        artifact_types: &[String],
        after: Option<&Digest>,
        count: usize,
        bytes: usize,
    ) -> Result<ReferrerPage, Error> {
        todo!("{repository:?} {subject:?} {artifact_types:?} {after:?} {count:?} {bytes:?}")
    }
}
