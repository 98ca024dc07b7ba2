use super::{Error, Metadata, Origin, RepositoryId};
use crate::domain::Tag;

impl Metadata {
    /// The repository's tags in byte order, those after `after`, which need not
    /// be a tag. Asked for one more than a page holds, it tells whether more follow.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tags(&self, repository: RepositoryId, after: Option<&str>, count: usize) -> Result<Vec<Tag>, Error> {
        todo!("{repository:?} {after:?} {count:?}")
    }

    /// Takes a tag away; the manifest stays. `false` if there is no such tag.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete_tag(&self, repository: RepositoryId, tag: Tag, origin: Origin) -> Result<bool, Error> {
        todo!("{repository:?} {tag:?} {origin:?}")
    }
}
