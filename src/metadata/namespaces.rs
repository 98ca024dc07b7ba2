use super::error::Refusal;
use super::{Error, Metadata, Origin, Timestamp, UserId};
use crate::domain::{Namespace, Role, Username, Visibility};

/// A namespace that is somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRecord {
    pub name: Namespace,
    /// Whose it is; nobody's but the admins' once that user is deleted.
    pub owner: Option<Username>,
    /// What new repositories in it are; where it says nothing, the registry's default.
    pub default_visibility: Option<Visibility>,
    pub created_at: Timestamp,
}

/// Why a namespace was not claimed or handed over.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("the namespace is claimed already")]
    Taken,
    #[error("there is no such namespace")]
    UnknownNamespace,
    #[error("there is no such user")]
    UnknownUser,
    #[error(transparent)]
    Database(#[from] Error),
}

impl Refusal for ClaimError {
    fn failure(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Taken | Self::UnknownNamespace | Self::UnknownUser => None,
        }
    }
}

impl Metadata {
    /// The namespace, if it is anybody's.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceRecord>, Error> {
        todo!("{name:?}")
    }

    /// The user's role in the namespace.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn role(&self, namespace: &Namespace, user: UserId) -> Result<Option<Role>, Error> {
        todo!("{namespace:?} {user:?}")
    }

    /// Namespaces by name, those after `after`: of that member only, where one is named.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn namespaces(
        &self,
        member: Option<UserId>,
        after: Option<&Namespace>,
        count: usize,
    ) -> Result<Vec<NamespaceRecord>, Error> {
        todo!("{member:?} {after:?} {count:?}")
    }

    /// Gives an unclaimed namespace to a user.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing was changed then.
    pub async fn claim_namespace(&self, name: Namespace, owner: UserId, origin: Origin) -> Result<(), ClaimError> {
        todo!("{name:?} {owner:?} {origin:?}")
    }

    /// Hands a namespace over. Whoever had it stays a member, as an owner who can
    /// now be removed like any other.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing was changed then.
    pub async fn transfer_namespace(&self, name: Namespace, to: UserId, origin: Origin) -> Result<(), ClaimError> {
        todo!("{name:?} {to:?} {origin:?}")
    }

    /// Sets what new repositories in the namespace are. `false` if nobody has claimed it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_default_visibility(
        &self,
        name: Namespace,
        visibility: Option<Visibility>,
        origin: Origin,
    ) -> Result<bool, Error> {
        todo!("{name:?} {visibility:?} {origin:?}")
    }
}
