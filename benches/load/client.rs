//! A registry's client: it authenticates as docker does, and believes no answer unseen.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::Result;
use crate::content::{Blob, Image, MANIFEST, Manifest};
use crate::line::{Body, Fate, Line, Reply, Request};

/// The media types that docker accepts.
const ACCEPT: [(&str, &str); 1] = [(
    "Accept",
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json",
)];

/// A user and the tokens had so far, by scope. Nothing is sent before a 401 asks for it.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    user: Option<(String, String)>,
    tokens: RefCell<HashMap<String, Rc<str>>>,
}

impl Credentials {
    pub(crate) fn of(user: &str, password: &str) -> Self {
        Self { user: Some((user.to_owned(), password.to_owned())), ..Self::default() }
    }

    /// Does what the challenge of a 401 says.
    async fn answer(&self, address: SocketAddr, challenge: &str, scope: &str) -> Result {
        let (user, password) = self.user.as_ref().ok_or("401, and there is no user")?;
        let parameter = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let realm = parameter("realm").ok_or("a challenge without a realm")?;
        let path = realm.strip_prefix(&format!("http://{address}")).ok_or("the realm is elsewhere")?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(parameter("service").map(|service| ("service", service)));
        query.extend_pairs(scope.split_whitespace().map(|scope| ("scope", scope)));
        let path = format!("{path}?{}", query.finish());
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        let reply = Line::new(address).ask(&Request::new("GET", &path), Some(&basic)).await?.expect(200, &path)?;
        let reply: serde_json::Value = serde_json::from_slice(&reply.body)?;
        let token = reply["token"].as_str().ok_or("no token")?;
        self.tokens.borrow_mut().insert(scope.to_owned(), format!("Bearer {token}").into());
        Ok(())
    }
}

pub(crate) struct Client {
    address: SocketAddr,
    pub(crate) line: Line,
    credentials: Rc<Credentials>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, credentials: &Rc<Credentials>) -> Self {
        Self { address, line: Line::new(address), credentials: credentials.clone() }
    }

    /// Sends a request with the token of its scope, which it gets where a 401 asks for one.
    pub(crate) async fn ask(&mut self, scope: &str, request: &Request<'_>) -> Result<Reply> {
        let token = self.credentials.tokens.borrow().get(scope).cloned();
        let reply = self.line.ask(request, token.as_deref()).await?;
        if reply.status != 401 {
            return Ok(reply);
        }
        let challenge = reply.header("www-authenticate").ok_or("a 401 without a challenge")?;
        self.credentials.answer(self.address, challenge, scope).await?;
        let token = self.credentials.tokens.borrow().get(scope).cloned();
        self.line.ask(request, token.as_deref()).await
    }

    pub(crate) async fn get(&mut self, scope: &str, path: &str) -> Result<Reply> {
        self.ask(scope, &Request::new("GET", path)).await?.expect(200, path)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// POST, and PUT with everything.
    Put,
    /// POST, PATCH in chunks, and PUT, as docker does.
    Docker,
}

/// A repository, with its paths and scopes.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    pub(crate) name: String,
    pub(crate) pull: String,
    pub(crate) push: String,
}

impl Repository {
    pub(crate) fn new(part: &str) -> Self {
        let name = format!("bench/{part}");
        let (pull, push) = (format!("repository:{name}:pull"), format!("repository:{name}:pull,push"));
        Self { name, pull, push }
    }

    /// One that nobody has pushed to.
    pub(crate) fn fresh(part: &str) -> Self {
        Self::new(&format!("{part}-{}", unique()))
    }

    pub(crate) fn blob(&self, digest: &str) -> String {
        format!("/v2/{}/blobs/{digest}", self.name)
    }

    pub(crate) fn manifest(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.name)
    }

    /// Pulls a blob, looking at its length, and at its digest too if it is to be hashed.
    pub(crate) async fn pull_blob(&self, client: &mut Client, blob: &Blob, fate: Fate) -> Result<Reply> {
        let path = self.blob(&blob.digest);
        let reply =
            client.ask(&self.pull, &Request { fate, ..Request::new("GET", &path) }).await?.expect(200, &path)?;
        if reply.len != blob.len || reply.digest.as_ref().is_some_and(|digest| *digest != blob.digest) {
            return Err(format!("{path}: {} bytes of digest {:?}", reply.len, reply.digest).into());
        }
        Ok(reply)
    }

    /// Whether the blob is here.
    pub(crate) async fn has(&self, client: &mut Client, blob: &Blob) -> Result<bool> {
        let path = self.blob(&blob.digest);
        let reply = client.ask(&self.push, &Request::new("HEAD", &path)).await?;
        match reply.status {
            404 => Ok(false),
            200 if reply.announced()? == Some(blob.len) => Ok(true),
            status => Err(format!("HEAD {path}: {status}, length {:?}", reply.announced()).into()),
        }
    }

    pub(crate) async fn push_blob(&self, client: &mut Client, blob: &Blob, way: Way) -> Result {
        let path = format!("/v2/{}/blobs/uploads/", self.name);
        let reply = client.ask(&self.push, &Request::new("POST", &path)).await?.expect(202, &path)?;
        let mut path = location(&reply)?;
        let mut body = Body::Blob(blob);
        let headers: &[(&str, &str)] = &[("Content-Type", "application/octet-stream")];
        if way == Way::Docker {
            let request = Request { headers, body: Body::Chunked(blob), ..Request::new("PATCH", &path) };
            path = location(&client.ask(&self.push, &request).await?.expect(202, "PATCH")?)?;
            body = Body::None;
        }
        let separator = if path.contains('?') { '&' } else { '?' };
        path = format!("{path}{separator}digest={}", blob.digest.replace(':', "%3A"));
        let request = Request { headers, body, ..Request::new("PUT", &path) };
        created(client.ask(&self.push, &request).await?, &path, &blob.digest)
    }

    /// Pushes a blob that must not be here yet, having asked whether it is.
    pub(crate) async fn push_new_blob(&self, client: &mut Client, blob: &Blob) -> Result {
        if self.has(client, blob).await? {
            return Err(format!("{} is in {} already", blob.digest, self.name).into());
        }
        self.push_blob(client, blob, Way::Put).await
    }

    pub(crate) async fn push_manifest(&self, client: &mut Client, reference: &str, manifest: &Manifest) -> Result {
        let path = self.manifest(reference);
        let headers: &[(&str, &str)] = &[("Content-Type", MANIFEST)];
        let request = Request { headers, body: Body::Bytes(&manifest.bytes), ..Request::new("PUT", &path) };
        created(client.ask(&self.push, &request).await?, &path, &manifest.digest)
    }

    pub(crate) async fn push_image(&self, client: &mut Client, image: &Image) -> Result {
        for blob in &image.blobs {
            self.push_new_blob(client, blob).await?;
        }
        self.push_manifest(client, &image.tag, &image.manifest).await
    }

    /// Asks for a manifest, which must be this one.
    pub(crate) async fn read_manifest(
        &self,
        client: &mut Client,
        method: &'static str,
        reference: &str,
        manifest: &Manifest,
    ) -> Result {
        let path = self.manifest(reference);
        let request = Request { headers: &ACCEPT, ..Request::new(method, &path) };
        let reply = client.ask(&self.pull, &request).await?.expect(200, &path)?;
        let whole = match method {
            "HEAD" => reply.announced()? == Some(manifest.bytes.len()),
            _ => reply.body == manifest.bytes,
        };
        let of_digest = reply.header("docker-content-digest").is_none_or(|digest| digest == manifest.digest);
        let of_type = reply.header("content-type").is_some_and(|value| value.starts_with(MANIFEST));
        if whole && of_digest && of_type { Ok(()) } else { Err(format!("{method} {path}: {reply:?}").into()) }
    }
}

fn created(reply: Reply, path: &str, digest: &str) -> Result {
    let reply = reply.expect(201, path)?;
    match reply.header("docker-content-digest") {
        Some(said) if said != digest => Err(format!("{path}: it says {said} of {digest}").into()),
        _ => Ok(()),
    }
}

/// Where an upload goes on: a path on the same server, whether or not it says which.
fn location(reply: &Reply) -> Result<String> {
    Ok(path_of(reply.header("location").ok_or("no Location")?).to_owned())
}

/// The path of a URL that may be one already.
pub(crate) fn path_of(url: &str) -> &str {
    let at = url.find("://").and_then(|scheme| Some(scheme + 3 + url[scheme + 3..].find('/')?));
    &url[at.unwrap_or_default()..]
}

/// What no other run, round or server has.
pub(crate) fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
