//! Holding on to what one may see no more.

use std::collections::HashMap;
use std::sync::Mutex;

use http::request::Parts;

use super::weakened::{Answer, Meddler};
use super::{Breaches, Weakened};
use crate::harness::{Client, Raw, Reply, TestRegistry, sha256, unique};

/// A cache before the registry, which answers again what it has answered once.
#[derive(Default)]
struct Cache {
    seen: Mutex<HashMap<String, Answer>>,
}

fn key(request: &Parts) -> String {
    format!("{} {} {:?}", request.method, request.uri, request.headers.get("range"))
}

impl Meddler for Cache {
    fn before(&self, request: &mut Parts) -> Option<Answer> {
        self.seen.lock().unwrap().get(&key(request)).cloned()
    }

    fn after(&self, request: &Parts, reply: &mut Answer) {
        if reply.status().is_success() {
            self.seen.lock().unwrap().insert(key(request), reply.clone());
        }
    }
}

/// Reads all that can be read, also with a condition that saves the bytes.
async fn read(client: &Client, app: &str, blob: &str) -> Vec<Reply> {
    let path = format!("/v2/{app}/blobs/{blob}");
    vec![
        client.get(&path).await,
        client.head(&path).await,
        client.get(&path).header("range", "bytes=1000-1999").await,
        client.get(&path).header("if-none-match", &format!("\"{blob}\"")).await,
        client.get(&format!("/v2/{app}/manifests/v1")).await,
        client.get(&format!("/v2/{app}/tags/list")).await,
        client.get(&format!("/api/v1/{app}/visibility")).await,
    ]
}

/// Reads while it is public, and again once it is not.
async fn hold_on(client: &Client, owner: &Client, app: &str, blob: &str) -> Breaches {
    let mut got = Breaches::default();
    owner.set_visibility(app, "public").await;
    for reply in read(client, app, blob).await {
        assert!(reply.status < 400, "it was public: {reply:?}");
    }
    owner.set_visibility(app, "private").await;
    for reply in read(client, app, blob).await {
        got.add_if(!matches!(reply.status, 401 | 404), || format!("it is private now: {reply:?}"));
    }
    got
}

/// Visibility flips: what is asked for after the flip is refused, whatever token was issued before, ranges and
/// conditions included (I6).
#[tokio::test]
async fn nothing_is_read_after_a_flip() {
    let registry = TestRegistry::shared().await;
    let (alice, mallory) = (registry.user("alice").await, registry.user("mallory").await);
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let blob = alice.push_blob(&app, &unique(5000)).await;
    alice.set_visibility(&app, "public").await;
    let scope = format!("repository:{app}:pull");
    let clients = [
        mallory.clone(),
        mallory.scoped(&[&scope]).await,
        mallory.with_basic(),
        registry.anonymous().scoped(&[&scope]).await,
    ];
    for client in &clients {
        hold_on(client, &alice, &app, &blob).await.none();
    }
    let weak = Weakened::before(&registry.anonymous(), Cache::default()).await;
    hold_on(&weak.seen_by(&clients[3]), &alice, &app, &blob).await.some();
}

/// A GET of the blob, to be written on a connection.
fn get(client: &Client, path: &str, token: &str, header: &str) -> String {
    let host = client.host();
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{header}\r\n\r\n")
}

/// Reads twice on one connection, before and after the flip.
async fn keep_the_connection(client: &Client, owner: &Client, app: &str, path: &str, token: &str) -> Breaches {
    let mut got = Breaches::default();
    owner.set_visibility(app, "public").await;
    let mut kept = Raw::connect(client).await;
    kept.send(get(client, path, token, "Range: bytes=0-9")).await;
    kept.reply().await.is(206);
    owner.set_visibility(app, "private").await;
    kept.send(get(client, path, token, "Range: bytes=0-9")).await;
    let reply = kept.reply().await;
    got.add_if(reply.status != 401, || format!("the connection keeps its permission: {reply:?}"));
    got
}

/// Visibility flips during a long pull: what was allowed when it was asked for arrives whole, and no connection keeps
/// a permission for the next request on it.
#[tokio::test]
async fn a_long_pull_ends_with_what_was_asked() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let blob = alice.push_blob(&app, &unique(16 << 20)).await;
    let path = format!("/v2/{app}/blobs/{blob}");
    alice.set_visibility(&app, "public").await;
    let nobody = registry.anonymous();
    let token = nobody.token(&[&format!("repository:{app}:pull")]).await;
    let mut long = Raw::connect(&nobody).await;
    long.send(get(&nobody, &path, &token, "Connection: close")).await;
    long.head().await.is(200);
    // Far more is on its way than sockets hold: the rest is sent after the flip.
    keep_the_connection(&nobody, &alice, &app, &path, &token).await.none();
    assert_eq!(sha256(&long.rest().await), blob, "what was allowed arrives whole");

    let weak = Weakened::before(&nobody, Cache::default()).await;
    keep_the_connection(&weak.seen_by(&nobody), &alice, &app, &path, &token).await.some();
}
