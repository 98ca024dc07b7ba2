//! The catalog: which repositories there are, as far as the caller may know.

use serde::Serialize;

use super::page::Page;
use super::tags::NamePage;
use super::{Call, Error};
use crate::auth::Auth;
use crate::domain::RepositoryName;
use crate::metadata::Metadata;
use crate::router;
use crate::router::Links;

/// Lists repositories.
#[derive(Clone)]
pub struct Catalog {
    auth: Auth,
    metadata: Metadata,
    links: Links,
}

impl Catalog {
    /// Lists what `metadata` has and `auth` lets the caller see.
    pub fn new(auth: Auth, metadata: Metadata, links: Links) -> Self {
        Self { auth, metadata, links }
    }

    /// One page of the repositories the caller may pull from, in byte order, cut
    /// into pages after that filter (R-CAT-01, R-CAT-02).
    ///
    /// # Errors
    /// [`Error::PageSize`] for an `n` that is no number.
    pub async fn list(&self, _: router::Catalog, call: Call) -> Result<NamePage, Error> {
        #[derive(Serialize)]
        struct List<'a> {
            repositories: Vec<&'a str>,
        }
        let page = Page::of(&call.query)?;
        let viewer = self.auth.viewer(&call.caller);
        let mut names = self.metadata.catalog(&viewer, page.after.as_deref(), page.limit()).await?;
        let more = page.cut(&mut names);
        let repositories: Vec<_> = names.iter().map(RepositoryName::as_str).collect();
        let last = repositories.last().copied().filter(|_| more);
        Ok(NamePage::new(&List { repositories }, &self.links, "/v2/_catalog", &page, last))
    }
}
