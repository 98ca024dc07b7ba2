//! Repositories as things that are managed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::Page;
use super::reply::{Json, List, NoContent};
use super::words::{Moment, Word};
use super::{Call, Error};
use crate::domain::{RepositoryName, Username, Visibility};
use crate::metadata::{Metadata, RepositoryRecord};
use crate::router;
use crate::router::Links;

/// Manages repositories.
#[derive(Clone)]
pub struct Repositories {
    metadata: Metadata,
    links: Links,
}

/// Who may pull.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetVisibility {
    visibility: Word<Visibility>,
}

/// Who may pull from a repository.
#[derive(Serialize, JsonSchema)]
pub struct RepositoryVisibility {
    name: Word<RepositoryName>,
    visibility: Word<Visibility>,
}

/// A repository.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Repository")]
pub struct RepositoryView {
    name: Word<RepositoryName>,
    visibility: Word<Visibility>,
    /// Who made it and owns it while a member of its namespace; null where that was a robot or is no user any more.
    creator: Option<Word<Username>>,
    created_at: Moment,
}

impl Repositories {
    /// Manages what `metadata` has.
    pub fn new(metadata: Metadata, links: Links) -> Self {
        Self { metadata, links }
    }

    /// One page of a namespace's repositories, by name.
    ///
    /// # Errors
    /// [`Error::PageSize`], [`Error::Cursor`].
    pub async fn list(&self, request: router::RepositoryList, call: Call) -> Result<List<RepositoryView>, Error> {
        let namespace = request.namespace;
        let page = Page::of(&call.query)?;
        let found = self.metadata.repositories(&namespace, page.cursor()?.as_ref(), page.limit()).await?;
        let path = format!("/api/v1/namespaces/{namespace}/repositories");
        Ok(page.list(found, &self.links, &path, |repository| repository.name.to_string(), RepositoryView::of))
    }

    /// A repository.
    ///
    /// # Errors
    /// [`Error::NameUnknown`].
    pub async fn get(&self, request: router::RepositoryGet, _: Call) -> Result<Json<RepositoryView>, Error> {
        match self.metadata.repository(&request.repository).await? {
            Some(record) => Ok(Json::of(&RepositoryView::of(record))),
            None => Err(Error::NameUnknown(request.repository)),
        }
    }

    /// Deletes a repository with all it holds. Bytes that other repositories link stay.
    ///
    /// # Errors
    /// [`Error::NameUnknown`].
    pub async fn delete(&self, request: router::RepositoryDelete, call: Call) -> Result<NoContent, Error> {
        let id = call.repository(&request.repository)?;
        let deleted = self.metadata.delete_repository(id, call.audit_origin()).await?;
        if deleted { Ok(NoContent) } else { Err(Error::NameUnknown(request.repository)) }
    }

    /// Who may pull from the repository.
    ///
    /// # Errors
    /// [`Error::NameUnknown`].
    pub async fn visibility(
        &self,
        request: router::VisibilityGet,
        call: Call,
    ) -> Result<Json<RepositoryVisibility>, Error> {
        let visibility = call.visibility(&request.repository)?;
        Ok(Json::of(&RepositoryVisibility { name: Word(request.repository), visibility: Word(visibility) }))
    }

    /// Says who may pull from the repository, from now on and whatever tokens are out (I6).
    ///
    /// # Errors
    /// [`Error::NameUnknown`].
    pub async fn set_visibility(
        &self,
        request: router::VisibilitySet,
        wanted: SetVisibility,
        call: Call,
    ) -> Result<Json<RepositoryVisibility>, Error> {
        let id = call.repository(&request.repository)?;
        if !self.metadata.set_visibility(id, wanted.visibility.0, call.audit_origin()).await? {
            return Err(Error::NameUnknown(request.repository));
        }
        Ok(Json::of(&RepositoryVisibility { name: Word(request.repository), visibility: wanted.visibility }))
    }
}

impl RepositoryView {
    fn of(record: RepositoryRecord) -> Self {
        Self {
            name: Word(record.name),
            visibility: Word(record.visibility),
            creator: record.creator.map(Word),
            created_at: Moment(record.created_at),
        }
    }
}
