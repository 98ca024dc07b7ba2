use super::{Error, Metadata, UserId};
use crate::domain::{Namespace, RepositoryName};

/// Whose eyes a list is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewer {
    /// Sees what is public.
    Anonymous,
    /// Sees what is public or internal, and their namespaces.
    User(UserId),
    /// Sees what is public or internal, and its namespace.
    Robot(Namespace),
    /// Sees everything.
    Admin,
}

impl Metadata {
    /// The names of the repositories that the viewer may pull, in byte order,
    /// those after `after`, which need not be a name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn catalog(
        &self,
        viewer: &Viewer,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<RepositoryName>, Error> {
        todo!("{viewer:?} {after:?} {count:?}")
    }
}
