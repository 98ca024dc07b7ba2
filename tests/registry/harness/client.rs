use std::convert::Infallible;
use std::fmt::Display;
use std::future::{Future, IntoFuture};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use http::{Method, Request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

use super::content::{Image, Manifest, OCTETS, sha256};
use super::reply::Reply;
use super::rules;

/// How long one exchange may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who speaks HTTP/1.1 to one registry, each request on a connection of its
/// own, following no redirect and decoding nothing.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    port: Arc<AtomicU16>,
    account: Option<(String, String)>,
    authorization: Option<String>,
    source: Option<Ipv4Addr>,
}

impl Client {
    pub(super) fn new(port: Arc<AtomicU16>) -> Self {
        Self { port, account: None, authorization: None, source: None }
    }

    /// The same place, as somebody with this name and password, not yet logged in.
    pub(crate) fn as_user(&self, name: &str, password: &str) -> Self {
        Self { account: Some((name.to_owned(), password.to_owned())), authorization: None, ..self.clone() }
    }

    /// The same person, presenting this token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), ..self.clone() }
    }

    /// The same person, sending name and password with every request.
    pub(crate) fn with_basic(&self) -> Self {
        Self { authorization: Some(basic(self.name(), self.password())), ..self.clone() }
    }

    /// The same person, sending no credentials with requests.
    pub(crate) fn without_credentials(&self) -> Self {
        Self { authorization: None, ..self.clone() }
    }

    /// The same person with this text as the whole `Authorization` header.
    pub(crate) fn with_authorization(&self, value: &str) -> Self {
        Self { authorization: Some(value.to_owned()), ..self.clone() }
    }

    /// The same person from a loopback address that nobody else uses, so that
    /// failures counted by address are this test's own.
    pub(crate) fn elsewhere(&self) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(2);
        let next = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self { source: Some(Ipv4Addr::new(127, 77, next[2], next[3])), ..self.clone() }
    }

    /// The same person from that address.
    pub(crate) fn at_address(&self, source: Ipv4Addr) -> Self {
        Self { source: Some(source), ..self.clone() }
    }

    /// The same person, speaking to what listens at that port.
    pub(crate) fn at_port(&self, port: u16) -> Self {
        Self { port: Arc::new(AtomicU16::new(port)), ..self.clone() }
    }

    /// The user's name.
    pub(crate) fn name(&self) -> &str {
        &self.account.as_ref().expect("this client is somebody").0
    }

    /// The user's password.
    pub(crate) fn password(&self) -> &str {
        &self.account.as_ref().expect("this client is somebody").1
    }

    /// A repository in the user's own namespace.
    pub(crate) fn repository(&self, rest: &str) -> String {
        format!("{}/{rest}", self.name())
    }

    /// Where the registry listens right now.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.load(Ordering::SeqCst)).into()
    }

    /// The `Host` a client would send.
    pub(crate) fn host(&self) -> String {
        self.address().to_string()
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub(crate) fn head(&self, path: &str) -> Call {
        self.call(Method::HEAD, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub(crate) fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    pub(crate) fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// A request that is sent when awaited.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        Call {
            client: self.clone(),
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            payload: Payload::None,
            faults_welcome: false,
        }
    }

    /// Gets a token with the user's name and password (or as nobody) for these scopes.
    /// Without any, it carries all the account's rights.
    pub(crate) async fn token(&self, scopes: &[&str]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("service", "distribution");
        for scope in scopes {
            query.append_pair("scope", scope);
        }
        let path = format!("/auth/token?{}", query.finish());
        let asker = if self.account.is_some() { self.with_basic() } else { self.without_credentials() };
        let reply = asker.get(&path).await;
        reply.is(200).json()["token"].as_str().expect("a token").to_owned()
    }

    /// The same person with a token for all they may do.
    pub(crate) async fn log_in(&self) -> Self {
        self.with_token(&self.token(&[]).await)
    }

    /// The same person with a token for just these scopes.
    pub(crate) async fn scoped(&self, scopes: &[&str]) -> Self {
        self.with_token(&self.token(scopes).await)
    }

    /// Starts an upload session and gives its address.
    pub(crate) async fn start_upload(&self, repository: &str) -> String {
        self.post(&format!("/v2/{repository}/blobs/uploads/")).await.is(202).header("location").to_owned()
    }

    /// Pushes a blob as containerd does: POST, then one PUT. Gives its sha256 digest.
    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        self.push_blob_as(repository, bytes, &digest).await;
        digest
    }

    /// Pushes a blob under that digest.
    pub(crate) async fn push_blob_as(&self, repository: &str, bytes: &[u8], digest: &str) {
        let session = self.start_upload(repository).await;
        let put = self.put(&with_query(&session, "digest", digest)).header("content-type", OCTETS).body(bytes.to_vec());
        put.await.is(201);
    }

    /// Pushes a manifest, which must be accepted.
    pub(crate) async fn push_manifest(&self, repository: &str, reference: &str, manifest: &Manifest) -> Reply {
        let reply = self.put_manifest(repository, reference, manifest).await;
        reply.is(201);
        reply
    }

    /// A manifest's PUT, to be sent.
    pub(crate) fn put_manifest(&self, repository: &str, reference: &str, manifest: &Manifest) -> Call {
        self.put(&format!("/v2/{repository}/manifests/{reference}"))
            .header("content-type", &manifest.media_type)
            .body(manifest.bytes.clone())
    }

    /// Pushes an image's blobs and its manifest.
    pub(crate) async fn push_image(&self, repository: &str, reference: &str, image: &Image) {
        for blob in image.blobs() {
            self.push_blob(repository, blob).await;
        }
        self.push_manifest(repository, reference, &image.manifest).await;
    }

    /// Pushes a new small image under that tag.
    pub(crate) async fn push_new_image(&self, repository: &str, tag: &str) -> Image {
        let image = Image::unique();
        self.push_image(repository, tag, &image).await;
        image
    }

    /// Sets a repository's visibility, which must succeed.
    pub(crate) async fn set_visibility(&self, repository: &str, visibility: &str) {
        self.put_visibility(repository, visibility).await.is(200);
    }

    /// The visibility's PUT, to be sent.
    pub(crate) fn put_visibility(&self, repository: &str, visibility: &str) -> Call {
        self.put(&format!("/api/v1/{repository}/visibility"))
            .header("content-type", "application/json")
            .body(format!(r#"{{"visibility":"{visibility}"}}"#))
    }

    /// The same person at another replica.
    pub(super) fn at(&self, port: Arc<AtomicU16>) -> Self {
        Self { port, ..self.clone() }
    }

    /// An open connection, for what needs one.
    pub(crate) async fn connect(&self) -> TcpStream {
        self.try_connect().await.expect("the registry accepts connections")
    }

    async fn try_connect(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(source) = self.source {
            socket.bind((IpAddr::V4(source), 0).into())?;
        }
        let stream = socket.connect(self.address()).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The value of `Authorization` for a name and password.
pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// The address with one more query parameter, as clients append it to a Location.
pub(crate) fn with_query(location: &str, key: &str, value: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
    format!("{location}{separator}{key}={value}")
}

enum Payload {
    None,
    Whole(Bytes),
    Chunked(Vec<Bytes>),
}

/// One request, sent when awaited.
#[must_use = "a call does nothing until it is awaited"]
pub(crate) struct Call {
    client: Client,
    method: Method,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    payload: Payload,
    faults_welcome: bool,
}

impl Call {
    /// Adds a header, beside others of that name.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.parse().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap()));
        self
    }

    /// A body whose length is announced.
    pub(crate) fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.payload = Payload::Whole(bytes.into());
        self
    }

    /// A body in chunked coding, whose length nobody announces.
    pub(crate) fn chunked(mut self, chunks: &[&[u8]]) -> Self {
        self.payload = Payload::Chunked(chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk)).collect());
        self
    }

    /// A JSON body.
    pub(crate) fn json(self, value: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body(value.to_string())
    }

    /// A 5xx is what this test wants to see; elsewhere it is a failure by itself.
    pub(crate) fn faults_welcome(mut self) -> Self {
        self.faults_welcome = true;
        self
    }

    async fn exchange(self) -> Result<Reply, String> {
        let Self { client, method, path, headers, payload, faults_welcome } = self;
        let mut request = Request::builder().method(&method).uri(&path);
        if !headers.iter().any(|(name, _)| name == HOST) {
            request = request.header(HOST, client.host());
        }
        if let Some(authorization) = &client.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let body: UnsyncBoxBody<Bytes, Infallible> = match payload {
            Payload::None => Empty::new().boxed_unsync(),
            Payload::Whole(bytes) => Full::new(bytes).boxed_unsync(),
            Payload::Chunked(chunks) => {
                StreamBody::new(stream::iter(chunks.into_iter().map(|chunk| Ok(Frame::data(chunk))))).boxed_unsync()
            }
        };
        let request = request.body(body).unwrap_or_else(|error| panic!("{method} {path}: {error}"));

        let failed = |error: &dyn Display| format!("{method} {path}: {error}");
        let stream = client.try_connect().await.map_err(|error| failed(&error))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| failed(&error))?.to_bytes();
        driver.abort();
        let reply =
            Reply { request: format!("{method} {path}"), status: head.status.as_u16(), headers: head.headers, body };
        rules::check(&method, &path, &reply);
        assert!(faults_welcome || reply.status < 500, "a server fault: {reply:?}");
        Ok(reply)
    }

    /// Sends it to a server that may be killed meanwhile: `None` where no whole reply came.
    pub(crate) async fn attempt(self) -> Option<Reply> {
        self.exchange().await.ok()
    }
}

impl IntoFuture for Call {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let what = format!("{} {}", self.method, self.path);
            let answered = tokio::time::timeout(PATIENCE, self.exchange()).await;
            let reply = answered.unwrap_or_else(|_| panic!("{what}: no answer within {PATIENCE:?}"));
            reply.unwrap_or_else(|error| panic!("{error}"))
        })
    }
}
