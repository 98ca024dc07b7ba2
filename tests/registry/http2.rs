//! The same registry over HTTP/2, with prior knowledge.

use http::Method;

use crate::harness::{Http2, OCTETS, TestRegistry, sha256, unique};

/// R-GEN-01, R-GEN-10, R-GEN-04, R-UPL-18: a push and a pull over one HTTP/2 connection.
#[tokio::test]
async fn a_push_and_a_pull_over_one_connection() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let h2 = Http2::connect(&alice, Some(format!("Bearer {}", alice.token(&[]).await))).await;
    h2.send(Method::GET, "/v2/", &[], b"").await.is(200).has_body(b"{}");
    let bytes = unique(500_000);
    let digest = sha256(&bytes);
    let post = h2.send(Method::POST, &format!("/v2/{app}/blobs/uploads/"), &[], b"").await;
    let session = post.is(202).header("location").to_owned();
    let patch = h2.send(Method::PATCH, &session, &[("content-type", OCTETS)], &bytes[..300_000]).await;
    patch.is(202).has("range", "0-299999");
    h2.send(Method::PUT, &format!("{session}?digest={digest}"), &[], &bytes[300_000..]).await.is(201);
    let path = format!("/v2/{app}/blobs/{digest}");
    h2.send(Method::GET, &path, &[], b"").await.is(200).has_body(&bytes);
    h2.send(Method::HEAD, &path, &[], b"").await.is(200).has("content-length", "500000").has_body(b"");
    h2.send(Method::GET, &path, &[("range", "bytes=5-9")], b"").await.is(206).has_body(&bytes[5..10]);
    h2.send(Method::GET, &format!("/v2/{app}/manifests/none"), &[], b"").await.is_error(404, "MANIFEST_UNKNOWN");
    h2.send(Method::POST, "/v2/", &[], b"").await.is_error(405, "UNSUPPORTED");
}

/// R-GEN-04, R-ERR-01: a refused HEAD has no body either, which would be an error of the stream.
#[tokio::test]
async fn a_refused_head_has_no_body() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let path = format!("/v2/{}/manifests/latest", alice.repository("app"));
    for (client, status) in [(&registry.anonymous(), 401), (&registry.user("bob").await, 404), (&alice, 404)] {
        let bearer = match status {
            401 => None,
            _ => Some(format!("Bearer {}", client.token(&[]).await)),
        };
        let h2 = Http2::connect(client, bearer).await;
        let reply = h2.send(Method::HEAD, &path, &[], b"").await;
        let length: u64 = reply.is(status).has_body(b"").header("content-length").parse().unwrap();
        assert!(length > 2, "the length of what GET would answer: {length}");
    }
}

/// R-GEN-01, R-LIM-03: many streams at once share a connection.
#[tokio::test]
async fn many_streams_share_a_connection() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let bytes = unique(100_000);
    let digest = alice.push_blob(&app, &bytes).await;
    let h2 = Http2::connect(&alice, Some(format!("Bearer {}", alice.token(&[]).await))).await;
    let path = format!("/v2/{app}/blobs/{digest}");
    let requests = (0..50).map(|_| h2.send(Method::GET, &path, &[], b""));
    for reply in futures_util::future::join_all(requests).await {
        reply.is(200).has_body(&bytes);
    }
}

/// R-CHL-01, R-LOC-08, R-LOC-09: the authority of HTTP/2 is the host.
#[tokio::test]
async fn the_authority_is_the_host() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    let h2 = Http2::connect(&nobody, None).await;
    let reply = h2.send(Method::GET, "/v2/", &[], b"").await;
    let challenge = crate::harness::Challenge::of(reply.is_error(401, "UNAUTHORIZED"));
    assert_eq!(challenge.realm, format!("http://{}/auth/token", nobody.host()));
}
