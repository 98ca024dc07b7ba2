//! Namespaces: whose repositories are whose.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::page::Page;
use super::reply::{Ensured, Json, List, NoContent};
use super::words::{Moment, Word};
use super::{Call, Error};
use crate::domain::{Namespace, Username, Visibility};
use crate::metadata::{ClaimError, Metadata, NamespaceRecord};
use crate::router;
use crate::router::Links;

/// Keeps namespaces.
#[derive(Clone)]
pub struct Namespaces {
    metadata: Metadata,
    links: Links,
}

/// A namespace.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Namespace")]
pub struct NamespaceView {
    name: Word<Namespace>,
    /// Null where its owner's account was deleted: it is the admins' then.
    owner: Option<Word<Username>>,
    /// Of repositories that a push creates in it; null: the registry's default.
    default_visibility: Option<Word<Visibility>>,
    created_at: Moment,
}

/// What is changed of a namespace; what is left out stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeNamespace {
    /// Of repositories that a push creates in it; null: the registry's default.
    #[serde(default, deserialize_with = "said")]
    #[schemars(with = "Option<Word<Visibility>>")]
    default_visibility: Option<Option<Word<Visibility>>>,
}

/// To whom a namespace goes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferNamespace {
    owner: Word<Username>,
}

/// What was said, be it `null`; a field that is not there says nothing.
fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Namespaces {
    /// Those that `metadata` has.
    pub fn new(metadata: Metadata, links: Links) -> Self {
        Self { metadata, links }
    }

    /// One page of the namespaces that the caller is a member of, by name; of all, for an admin.
    ///
    /// # Errors
    /// [`Error::PageSize`], [`Error::Cursor`].
    pub async fn list(&self, _: router::NamespaceList, call: Call) -> Result<List<NamespaceView>, Error> {
        let account = call.caller.user().ok_or(Error::Denied)?;
        let member = (!account.admin).then_some(account.id);
        let page = Page::of(&call.query)?;
        let namespaces = self.metadata.namespaces(member, page.cursor()?.as_ref(), page.limit()).await?;
        let place = |namespace: &NamespaceRecord| namespace.name.to_string();
        Ok(page.list(namespaces, &self.links, "/api/v1/namespaces", place, NamespaceView::of))
    }

    /// A namespace.
    ///
    /// # Errors
    /// [`Error::NamespaceUnknown`].
    pub async fn get(&self, request: router::NamespaceGet, _: Call) -> Result<Json<NamespaceView>, Error> {
        Ok(Json::of(&NamespaceView::of(self.record(&request.namespace).await?)))
    }

    /// Makes a namespace that is nobody's the caller's; one that is theirs already stays it.
    ///
    /// # Errors
    /// [`Error::NamespaceTaken`].
    pub async fn claim(&self, request: router::NamespaceClaim, call: Call) -> Result<Ensured<NamespaceView>, Error> {
        let account = call.caller.user().ok_or(Error::Denied)?;
        let namespace = request.namespace;
        let new = match self.metadata.claim_namespace(namespace.clone(), account.id, call.audit_origin()).await {
            Ok(()) => true,
            Err(ClaimError::Taken) => false,
            Err(other) => return Err(of_claim(other, &namespace, &account.name)),
        };
        let record = self.record(&namespace).await?;
        if !new && record.owner.as_ref() != Some(&account.name) {
            return Err(Error::NamespaceTaken(namespace));
        }
        Ok(Ensured::of(&NamespaceView::of(record), new))
    }

    /// Says what repositories will be that are made in it.
    ///
    /// # Errors
    /// [`Error::NamespaceUnknown`].
    pub async fn change(
        &self,
        request: router::NamespaceChange,
        wanted: ChangeNamespace,
        call: Call,
    ) -> Result<Json<NamespaceView>, Error> {
        let namespace = request.namespace;
        if let Some(visibility) = wanted.default_visibility {
            let visibility = visibility.map(|word| word.0);
            let origin = call.audit_origin();
            if !self.metadata.set_default_visibility(namespace.clone(), visibility, origin).await? {
                return Err(Error::NamespaceUnknown(namespace));
            }
        }
        Ok(Json::of(&NamespaceView::of(self.record(&namespace).await?)))
    }

    /// Hands it over. Whoever had it stays a member with the role of an owner, and can be removed like any other.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::NamespaceUnknown`].
    pub async fn transfer(
        &self,
        request: router::NamespaceTransfer,
        wanted: TransferNamespace,
        call: Call,
    ) -> Result<NoContent, Error> {
        let (namespace, name) = (request.namespace, wanted.owner.0);
        let account = self.metadata.account(&name).await?.ok_or_else(|| Error::UserUnknown(name.clone()))?;
        let handed = self.metadata.transfer_namespace(namespace.clone(), account.id, call.audit_origin()).await;
        handed.map_err(|error| of_claim(error, &namespace, &name))?;
        Ok(NoContent)
    }

    async fn record(&self, name: &Namespace) -> Result<NamespaceRecord, Error> {
        self.metadata.namespace(name).await?.ok_or_else(|| Error::NamespaceUnknown(name.clone()))
    }
}

fn of_claim(error: ClaimError, namespace: &Namespace, user: &Username) -> Error {
    match error {
        ClaimError::Taken => Error::NamespaceTaken(namespace.clone()),
        ClaimError::UnknownNamespace => Error::NamespaceUnknown(namespace.clone()),
        ClaimError::UnknownUser => Error::UserUnknown(user.clone()),
        ClaimError::Database(error) => error.into(),
    }
}

impl NamespaceView {
    fn of(record: NamespaceRecord) -> Self {
        Self {
            name: Word(record.name),
            owner: record.owner.map(Word),
            default_visibility: record.default_visibility.map(Word),
            created_at: Moment(record.created_at),
        }
    }
}
