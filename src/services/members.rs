//! Members: who may do what in a namespace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::Page;
use super::reply::{List, NoContent};
use super::words::{Moment, Word};
use super::{Call, Error};
use crate::domain::{Namespace, Role, Username};
use crate::metadata::{Member, MemberChange, Metadata, UserId};
use crate::router;
use crate::router::Links;

/// Keeps the members of namespaces.
#[derive(Clone)]
pub struct Members {
    metadata: Metadata,
    links: Links,
}

/// A member of a namespace.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Member")]
pub struct MemberView {
    username: Word<Username>,
    role: Word<Role>,
    since: Moment,
}

/// What a member is to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutMember {
    role: Word<Role>,
}

impl Members {
    /// Those that `metadata` has.
    pub fn new(metadata: Metadata, links: Links) -> Self {
        Self { metadata, links }
    }

    /// One page of a namespace's members, by name.
    ///
    /// # Errors
    /// [`Error::PageSize`], [`Error::Cursor`].
    pub async fn list(&self, request: router::MemberList, call: Call) -> Result<List<MemberView>, Error> {
        let namespace = request.namespace;
        let page = Page::of(&call.query)?;
        let members = self.metadata.members(&namespace, page.cursor()?.as_ref(), page.limit()).await?;
        let path = format!("/api/v1/namespaces/{namespace}/members");
        let view = |member: Member| MemberView {
            username: Word(member.name),
            role: Word(member.role),
            since: Moment(member.since),
        };
        Ok(page.list(members, &self.links, &path, |member| member.name.to_string(), view))
    }

    /// Makes a user a member or changes their role, at once and whatever tokens are out (I6).
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::NamespaceOwner`] where the namespace is theirs.
    pub async fn put(&self, request: router::MemberPut, wanted: PutMember, call: Call) -> Result<NoContent, Error> {
        let (namespace, name) = (request.namespace, request.username);
        let user = self.user(&name).await?;
        let change = self.metadata.put_member(namespace.clone(), user, wanted.role.0, call.audit_origin()).await?;
        done(change, namespace, name)
    }

    /// Removes a member, at once and whatever tokens are out (I6).
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::NamespaceOwner`] where the namespace is theirs.
    pub async fn remove(&self, request: router::MemberRemove, call: Call) -> Result<NoContent, Error> {
        let (namespace, name) = (request.namespace, request.username);
        let user = self.user(&name).await?;
        let change = self.metadata.remove_member(namespace.clone(), user, call.audit_origin()).await?;
        done(change, namespace, name)
    }

    async fn user(&self, name: &Username) -> Result<UserId, Error> {
        let account = self.metadata.account(name).await?;
        account.map(|account| account.id).ok_or_else(|| Error::UserUnknown(name.clone()))
    }
}

fn done(change: MemberChange, namespace: Namespace, user: Username) -> Result<NoContent, Error> {
    match change {
        MemberChange::Done => Ok(NoContent),
        MemberChange::UnknownNamespace => Err(Error::NamespaceUnknown(namespace)),
        MemberChange::UnknownUser => Err(Error::UserUnknown(user)),
        MemberChange::IsOwner => Err(Error::NamespaceOwner { namespace, user }),
    }
}
