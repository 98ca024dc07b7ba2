use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, Error as _};

use super::Error;
use crate::auth::{Caller, Peer, Permit};
use crate::domain::{RepositoryName, Visibility};
use crate::metadata;
use crate::metadata::{RepositoryFacts, RepositoryId};
use crate::protocol::{Body, Origin, Query};

/// What is read from the fields of a form.
pub trait FromForm: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Form`] says what is not as documented.
    fn from_form(form: &Query) -> Result<Self, Error>;
}

/// What a request brings besides the parameters in its path: who asks, how they
/// were let in, query, headers and body.
#[derive(Debug)]
pub struct Call {
    pub method: Method,
    pub headers: HeaderMap,
    /// Whether the connection is plain HTTP/1.1, which the kernel can send files to.
    pub plain: bool,
    pub query: Query,
    pub body: Body,
    pub caller: Caller,
    /// What authorization found out about the repository in the path; endpoints
    /// without one have none.
    pub permit: Option<Permit>,
    pub origin: Origin,
}

impl Call {
    /// Whether only the head of the reply will be sent.
    pub fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// What is known of the repository in the path, if it exists and may be seen.
    pub fn facts(&self) -> Option<&RepositoryFacts> {
        self.permit.as_ref()?.repository.as_ref()
    }

    /// The repository in the path, which must exist.
    ///
    /// # Errors
    /// [`Error::NameUnknown`] where it does not.
    pub fn repository(&self, name: &RepositoryName) -> Result<RepositoryId, Error> {
        let found = self.facts().map(|facts| facts.id);
        found.ok_or_else(|| Error::NameUnknown(name.clone()))
    }

    /// Who may pull from the repository in the path, which must exist.
    ///
    /// # Errors
    /// [`Error::NameUnknown`] where it does not.
    pub fn visibility(&self, name: &RepositoryName) -> Result<Visibility, Error> {
        let found = self.permit.and_then(|permit| permit.repository).map(|found| found.visibility);
        found.ok_or_else(|| Error::NameUnknown(name.clone()))
    }

    /// Where the request comes from, as a login is counted.
    pub fn peer(&self) -> Peer {
        Peer { address: self.origin.client, request: Some(self.origin.id.0.as_ref().into()) }
    }

    /// Who asks, and from where, as the audit log keeps it.
    pub fn audit_origin(&self) -> metadata::Origin {
        self.peer().origin(self.caller.actor())
    }

    /// The value of a header that is text.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The whole body, whose length the layers bound.
    ///
    /// # Errors
    /// [`Error::Body`] where it is too long, stalls or breaks.
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        let body = std::mem::take(&mut self.body);
        Ok(body.collect().await.map_err(Error::of_body)?.to_bytes())
    }

    /// The body as a JSON object.
    ///
    /// # Errors
    /// [`Error::Json`] says where it is not as documented.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let bytes = self.bytes().await?;
        // A list of a struct's fields in their order would do for serde, too.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Error::Json(serde_json::Error::custom("an object is expected")));
        }
        serde_json::from_slice(&bytes).map_err(Error::Json)
    }
    /// The body as the fields of a form.
    ///
    /// # Errors
    /// [`Error::Form`] says where it is not as documented.
    pub async fn form<T: FromForm>(&mut self) -> Result<T, Error> {
        T::from_form(&Query::parse(&self.bytes().await?))
    }
}
