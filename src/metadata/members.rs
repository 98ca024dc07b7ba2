use super::{Error, Metadata, Origin, Timestamp, UserId};
use crate::domain::{Namespace, Role, Username};

/// Somebody who may do something in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub user: UserId,
    pub name: Username,
    pub role: Role,
    pub since: Timestamp,
}

/// What became of the wish to change who is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    Done,
    UnknownNamespace,
    /// There is no such user, or they are no member.
    UnknownUser,
    /// The namespace is theirs: transfer it first.
    IsOwner,
}

impl Metadata {
    /// The namespace's members by name, those after `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn members(
        &self,
        namespace: &Namespace,
        after: Option<&Username>,
        count: usize,
    ) -> Result<Vec<Member>, Error> {
        todo!("{namespace:?} {after:?} {count:?}")
    }

    /// Makes a user a member, or changes their role.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_member(
        &self,
        namespace: Namespace,
        user: UserId,
        role: Role,
        origin: Origin,
    ) -> Result<MemberChange, Error> {
        todo!("{namespace:?} {user:?} {role:?} {origin:?}")
    }

    /// Removes a member.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_member(
        &self,
        namespace: Namespace,
        user: UserId,
        origin: Origin,
    ) -> Result<MemberChange, Error> {
        todo!("{namespace:?} {user:?} {origin:?}")
    }
}
