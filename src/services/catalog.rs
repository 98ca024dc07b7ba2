//! The catalog: which repositories there are, as far as the caller may know.

use serde::Serialize;

use super::page::Page;
use super::tags::NamePage;
use super::{Call, Error};
use crate::auth::Auth;
use crate::domain::RepositoryName;
use crate::router;
use crate::router::Links;

const PATH: &str = "/v2/_catalog";

/// Lists repositories.
#[derive(Clone)]
pub struct Catalog {
    auth: Auth,
    links: Links,
}

impl Catalog {
    /// Lists what `auth` lets the caller see.
    pub fn new(auth: Auth, links: Links) -> Self {
        Self { auth, links }
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
        let Some(size) = page.size else {
            return Ok(NamePage::new(&List { repositories: Vec::new() }, &self.links, PATH, &page, None));
        };
        let found = self.auth.catalog(&call.caller, page.after.as_deref(), size.get() as usize).await?;
        let repositories = found.names.iter().map(RepositoryName::as_str).collect();
        let last = found.next.as_ref().map(RepositoryName::as_str);
        Ok(NamePage::new(&List { repositories }, &self.links, PATH, &page, last))
    }
}
