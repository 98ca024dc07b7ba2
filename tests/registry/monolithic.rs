//! end-4b: a blob in one request.

use crate::harness::{Reply, TestRegistry, sha256, sha512, unique};

/// R-MON-01, H-11, V-U04, V-U05: a body that matches its digest is a blob.
#[tokio::test]
async fn one_post_makes_a_blob() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    for (length, hash) in [(1, sha256 as fn(&[u8]) -> String), (200_000, sha256), (200_000, sha512)] {
        let bytes = unique(length);
        let digest = hash(&bytes);
        let path = format!("/v2/{app}/blobs/uploads/?digest={digest}");
        let reply = alice.post(&path).header("content-type", "application/octet-stream").body(bytes.clone()).await;
        reply.is(201).has("location", &format!("/v2/{app}/blobs/{digest}")).has("docker-content-digest", &digest);
        alice.get(reply.header("location")).await.is(200).has_body(&bytes);
        alice.post(&path).body(bytes).await.is(201);
    }
}

/// R-MON-02, R-DIG-05, H-26: a body that does not match is refused, and nothing of it stays.
#[tokio::test]
async fn a_mismatch_leaves_nothing() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let bytes = unique(500);
    for digest in
        [sha256(b"other"), sha256(&bytes).replace("sha256:", "sha256:0"), format!("blake3:{}", "a".repeat(64))]
    {
        let reply = alice.post(&format!("/v2/{app}/blobs/uploads/?digest={digest}")).body(bytes.clone()).await;
        reply.is_error(400, "DIGEST_INVALID").lacks("location");
    }
    // Not even a repository.
    alice.get(&format!("/v2/{app}/tags/list")).await.is_error(404, "NAME_UNKNOWN");
    alice.push_blob(&app, &unique(1)).await;
    alice.get(&format!("/v2/{app}/blobs/{}", sha256(&bytes))).await.is_error(404, "BLOB_UNKNOWN");
}

#[track_caller]
fn is_a_session(reply: &Reply) {
    reply.is(202).has("range", "0-0");
    assert!(reply.header("location").contains("/blobs/uploads/"), "{reply:?}");
}

/// R-MON-03: an empty body with the digest of something is a start, with that of nothing a blob.
#[tokio::test]
async fn an_empty_body_starts_a_session_or_is_the_empty_blob() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let bytes = unique(100);
    let start = alice.post(&format!("/v2/{app}/blobs/uploads/?digest={}", sha256(&bytes))).await;
    is_a_session(&start);
    let put = alice.put(&format!("{}?digest={}", start.header("location"), sha256(&bytes)));
    put.body(bytes.clone()).await.is(201);
    alice.post(&format!("/v2/{app}/blobs/uploads/?digest={}", sha256(b""))).await.is(201);
    alice.head(&format!("/v2/{app}/blobs/{}", sha256(b""))).await.is(200).has("content-length", "0");
}

/// R-MON-04: a mount comes first, and where it fails the body still counts.
#[tokio::test]
async fn a_mount_comes_before_the_body() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, other) = (alice.repository("app"), alice.repository("other"));
    let (bytes, mounted) = (unique(100), unique(200));
    let (digest, present) = (sha256(&bytes), alice.push_blob(&other, &mounted).await);

    let path = format!("/v2/{app}/blobs/uploads/?mount={digest}&from={other}&digest={digest}");
    let reply = alice.post(&path).body(bytes.clone()).await;
    reply.is(201).has("location", &format!("/v2/{app}/blobs/{digest}"));
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);

    let path = format!("/v2/{app}/blobs/uploads/?digest={}&mount={present}&from={other}", sha256(b"unsent"));
    alice.post(&path).await.is(201).has("location", &format!("/v2/{app}/blobs/{present}"));
    alice.get(&format!("/v2/{app}/blobs/{present}")).await.is(200).has_body(&mounted);
}

/// R-MON-04, R-UPL-05: beside a digest, the announced algorithm says nothing.
#[tokio::test]
async fn the_digest_wins_over_the_algorithm() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let bytes = unique(100);
    let path = format!("/v2/{app}/blobs/uploads/?digest-algorithm=sha512&digest={}", sha256(&bytes));
    alice.post(&path).body(bytes).await.is(201);
}
