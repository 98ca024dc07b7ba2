//! Repositories as things that are managed.

use serde::{Deserialize, Serialize};

use super::{Call, Error, IntoResponse, Json};
use crate::domain::Visibility;
use crate::metadata::Metadata;
use crate::protocol::Response;
use crate::router;

/// Manages repositories.
#[derive(Clone)]
pub struct Repositories {
    metadata: Metadata,
}

/// `{"visibility":"public"}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetVisibility {
    visibility: Box<str>,
}

/// A repository as the management API shows it.
#[derive(Debug, Serialize)]
pub struct RepositoryView {
    pub name: String,
    pub visibility: &'static str,
}

impl Repositories {
    /// Manages what `metadata` has.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata }
    }

    /// Says who may pull from the repository, from now on and whatever tokens are out (I6).
    ///
    /// # Errors
    /// [`Error::Form`] for a word that is no visibility.
    pub async fn set_visibility(
        &self,
        request: router::VisibilitySet,
        mut call: Call,
    ) -> Result<RepositoryView, Error> {
        let id = call.repository(&request.repository)?;
        let wanted: SetVisibility = call.json().await?;
        let visibility: Visibility =
            wanted.visibility.parse().map_err(|_| Error::Form("a visibility is `public`, `internal` or `private`"))?;
        self.metadata.set_visibility(id, visibility, call.audit_origin()).await?;
        Ok(RepositoryView { name: request.repository.to_string(), visibility: visibility.as_str() })
    }
}

impl IntoResponse for RepositoryView {
    fn into_response(self) -> Response {
        Json::ok(&self).into_response()
    }
}
