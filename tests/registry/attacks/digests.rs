//! Finding out by its digest whether content exists that one may not see.

use std::time::{Duration, Instant};

use http::StatusCode;
use http::request::Parts;

use super::weakened::{Answer, Meddler};
use super::{Breaches, Weakened, assert_alike, assert_told_apart, telling_apart};
use crate::harness::{Client, TestRegistry, sha256, sha512, unique};

/// A registry that mounts whatever is stored, and keeps no bytes twice.
struct Thrifty {
    known: Vec<String>,
}

impl Meddler for Thrifty {
    fn after(&self, request: &Parts, reply: &mut Answer) {
        let uri = request.uri.to_string().replace("%3A", ":");
        let named = self.known.iter().any(|digest| uri.contains(digest.as_str()));
        if named && request.method != http::Method::HEAD && matches!(reply.status().as_u16(), 202 | 400) {
            *reply.status_mut() = StatusCode::CREATED;
        }
    }
}

/// Everything that can be asked about a digest without its bytes.
async fn ask(client: &Client, app: &str, private: &str, digest: &str) -> Vec<(u16, Vec<(String, String)>, String)> {
    let mut seen = Vec::new();
    let escaped = digest.replace(':', "%3A");
    for query in [
        format!("mount={digest}&from={private}"),
        format!("mount={digest}"),
        format!("mount={digest}&from={app}"),
        format!("mount={escaped}&from={private}"),
        format!("digest={digest}"),
    ] {
        seen.push(client.post(&format!("/v2/{app}/blobs/uploads/?{query}")).await);
    }
    for repository in [app, private] {
        seen.push(client.head(&format!("/v2/{repository}/blobs/{digest}")).await);
        seen.push(client.get(&format!("/v2/{repository}/blobs/{digest}")).await);
        seen.push(client.get(&format!("/v2/{repository}/blobs/{digest}")).header("range", "bytes=0-0").await);
        seen.push(
            client
                .get(&format!("/v2/{repository}/blobs/{digest}"))
                .header("if-none-match", &format!("\"{digest}\""))
                .await,
        );
        seen.push(client.get(&format!("/v2/{repository}/manifests/{digest}")).await);
        seen.push(client.get(&format!("/v2/{repository}/referrers/{digest}")).await);
        seen.push(client.delete(&format!("/v2/{repository}/blobs/{digest}")).await);
        seen.push(client.delete(&format!("/v2/{repository}/manifests/{digest}")).await);
    }
    // Bytes that are none of it.
    for bytes in [&b""[..], b"other bytes"] {
        let session = client.start_upload(app).await;
        seen.push(client.put(&format!("{session}?digest={digest}")).body(bytes.to_vec()).await);
    }
    let session = |text: String| {
        // Sessions have names of their own.
        let at = text.find("/blobs/uploads/").map(|at| at + "/blobs/uploads/".len());
        at.map_or(text.clone(), |at| text[..at].to_owned())
    };
    seen.iter()
        .map(|reply| {
            let (status, mut headers, body) = reply.appearance(&[digest]);
            headers.retain(|(name, _)| name != "docker-upload-uuid");
            headers.iter_mut().for_each(|(_, value)| *value = session(value.clone()));
            (status, headers, body.replace(&sha256(b""), "<hash>").replace(&sha256(b"other bytes"), "<hash>"))
        })
        .collect()
}

/// Compares a digest that is stored where the client may not look with one that nobody has.
async fn attack(client: &Client, app: &str, private: &str, stored: &str, unknown: &str) -> Breaches {
    let mut got = Breaches::default();
    let (one, two) = (ask(client, app, private, stored).await, ask(client, app, private, unknown).await);
    for (one, two) in one.iter().zip(&two) {
        got.add_if(one != two, || format!("what is stored is told from what is not:\n{one:?}\n{two:?}"));
    }
    got
}

/// Mounting or uploading by digest, and asking for it: whether it is stored elsewhere makes no difference (I4).
#[tokio::test]
async fn a_digest_tells_nothing() {
    let registry = TestRegistry::start().await;
    let (alice, mallory) = (registry.user("alice").await, registry.user("mallory").await);
    let (private, app) = (alice.repository("secret"), mallory.repository("app"));
    mallory.push_blob(&app, b"x").await;
    let image = alice.push_new_image(&private, "v1").await;
    let bytes = unique(2000);
    let long = sha512(&bytes);
    alice.push_blob_as(&private, &bytes, &long).await;
    let known = [sha256(&image.config), image.digest(), long];
    let unknown = [sha256(&unique(10)), sha256(&unique(11)), sha512(&unique(12))];
    let scopes = [format!("repository:{app}:pull,push,delete"), format!("repository:{private}:pull")];
    for client in [&mallory, &mallory.with_basic(), &mallory.scoped(&[&scopes[0], &scopes[1]]).await] {
        for (known, unknown) in known.iter().zip(&unknown) {
            attack(client, &app, &private, known, unknown).await.none();
        }
    }
    let weak = Weakened::before(&registry.anonymous(), Thrifty { known: known.to_vec() }).await;
    attack(&weak.seen_by(&mallory), &app, &private, &known[0], &unknown[0]).await.some();
}

/// A registry that looks the blob up before it asks who may see it.
struct Curious {
    known: String,
}

impl Meddler for Curious {
    fn delay(&self, request: &Parts) -> Duration {
        let names = request.uri.to_string().contains(&self.known);
        Duration::from_millis(if names { 60 } else { 0 })
    }
}

/// How sure one can be, from the time of a HEAD or of a mount, whether it is stored.
async fn time(client: &Client, app: &str, mount: bool, stored: [&str; 2], absent: [&str; 2]) -> f64 {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for round in 0..60 {
        for is_stored in [round % 2 == 0, round % 2 == 1] {
            let [repository, digest] = if is_stored { stored } else { absent };
            let call = if mount {
                client.post(&format!("/v2/{app}/blobs/uploads/?mount={digest}&from={repository}"))
            } else {
                client.head(&format!("/v2/{repository}/blobs/{digest}"))
            };
            let begun = Instant::now();
            call.await;
            (if is_stored { &mut one } else { &mut two }).push(begun.elapsed());
        }
    }
    telling_apart(&two, &one)
}

/// Nor does the time of HEAD and mount (I4).
#[tokio::test]
async fn the_time_tells_nothing_about_a_digest() {
    let registry = TestRegistry::start().await;
    let (alice, mallory) = (registry.user("alice").await, registry.user("mallory").await);
    let (private, absent, app) = (alice.repository("secret"), alice.repository("absent"), mallory.repository("app"));
    mallory.push_blob(&app, b"x").await;
    let known = alice.push_blob(&private, &unique(2000)).await;
    let unknown = sha256(&unique(10));
    let (stored, absent) = ([&*private, &*known], [&*absent, &*unknown]);
    let weak = Weakened::before(&registry.anonymous(), Curious { known: known.clone() }).await;
    let through = weak.seen_by(&mallory);
    for mount in [false, true] {
        assert_alike(async || time(&mallory, &app, mount, stored, absent).await).await;
        assert_told_apart(async || time(&through, &app, mount, stored, absent).await).await;
    }
}
