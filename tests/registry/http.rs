//! What holds for every endpoint: paths, methods, HEAD, framing, no compression.

use http::Method;
use serde_json::json;

use crate::harness::{Image, REQUEST_ID, TestRegistry, sha256, unique};

const SESSION: &str = "00000000-0000-4000-8000-000000000000";

/// R-GEN-04, R-BLB-02, R-MGT-06, N-02: HEAD is GET without its body, found or not.
#[tokio::test]
async fn every_get_endpoint_answers_head_alike() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    alice.push_manifest(&app, "v2", &image.manifest).await;
    let layer = sha256(&image.layers[0]);
    let missing = sha256(b"missing");
    let session = alice.start_upload(&app).await;
    alice.patch(&session).body("12345").await.is(202);
    let paths = [
        "/v2/".to_owned(),
        "/v2".to_owned(),
        format!("/v2/{app}/blobs/{layer}"),
        format!("/v2/{app}/blobs/{missing}"),
        format!("/v2/{app}/blobs/sha256:bad"),
        format!("/v2/{app}/manifests/v1"),
        format!("/v2/{app}/manifests/{}", image.digest()),
        format!("/v2/{app}/manifests/none"),
        format!("/v2/{app}/manifests/{missing}"),
        format!("/v2/{app}/tags/list"),
        format!("/v2/{app}/tags/list?n=1"),
        format!("/v2/{app}/tags/list?n=x"),
        format!("/v2/{app}-none/tags/list"),
        format!("/v2/{app}/referrers/{layer}"),
        format!("/v2/{app}/referrers/{layer}?artifactType=a/b"),
        format!("/v2/{app}/referrers/bad"),
        "/v2/_catalog?n=1".to_owned(),
        "/v2/_oci/ext/discover".to_owned(),
        session,
        format!("/v2/{app}/blobs/uploads/{SESSION}"),
        "/v1/search".to_owned(),
        "/healthz".to_owned(),
        "/readyz".to_owned(),
    ];
    for client in [&alice, &registry.anonymous()] {
        for path in &paths {
            let get = client.get(path).await;
            let head = client.head(path).await;
            let (status, headers, _) = get.appearance(&[]);
            let (head_status, head_headers, body) = head.appearance(&[]);
            assert_eq!((head_status, head_headers), (status, headers), "{get:?}\n{head:?}");
            assert_eq!(body, "", "{head:?}");
        }
    }
    let metrics = registry.anonymous().head("/metrics").await;
    metrics.is(200).has_body(b"");
}

/// R-GEN-05: a known path says which methods it takes.
#[tokio::test]
async fn another_method_is_told_which_are_allowed() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let digest = sha256(b"x");
    let table = [
        ("/v2/".to_owned(), "GET HEAD"),
        ("/v2".to_owned(), "GET HEAD"),
        (format!("/v2/{app}/blobs/{digest}"), "DELETE GET HEAD"),
        (format!("/v2/{app}/manifests/v1"), "DELETE GET HEAD PUT"),
        (format!("/v2/{app}/manifests/{digest}"), "DELETE GET HEAD PUT"),
        (format!("/v2/{app}/blobs/uploads/"), "POST"),
        (format!("/v2/{app}/blobs/uploads/{SESSION}"), "DELETE GET HEAD PATCH PUT"),
        (format!("/v2/{app}/tags/list"), "GET HEAD"),
        (format!("/v2/{app}/referrers/{digest}"), "GET HEAD"),
        ("/v2/_catalog".to_owned(), "GET HEAD"),
    ];
    for (path, methods) in table {
        for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if methods.split(' ').any(|allowed| allowed == method) {
                continue;
            }
            let reply = alice.call(method.parse().unwrap(), &path).await;
            reply.is(405);
            if method != "HEAD" {
                reply.is_error(405, "UNSUPPORTED");
            }
            let mut allowed = reply.header_items("allow");
            allowed.sort_unstable();
            assert_eq!(allowed.join(" "), methods, "{reply:?}");
        }
    }
}

/// R-GEN-05, R-EXT-01, R-GEN-03, N-15: what is no path of the API is 404 in the spec's form.
#[tokio::test]
async fn an_unknown_path_below_v2_is_not_found() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let digest = sha256(b"x");
    for path in [
        "/v2/x".to_owned(),
        "/v2//".to_owned(),
        "/v2/_oci/ext/discover".to_owned(),
        format!("/v2/{app}/_oci/ext/discover"),
        "/v2/_docker/x".to_owned(),
        "/v2/_catalog/".to_owned(),
        "/v2/_catalog/x".to_owned(),
        format!("/v2/{app}"),
        format!("/v2/{app}/tags"),
        format!("/v2/{app}/unknown/v1"),
        format!("/v2/{app}/tags/list/"),
        format!("/v2/{app}/manifests/v1/"),
        format!("/v2/{app}/manifests/"),
        format!("/v2/{app}/blobs/{digest}/"),
        format!("/v2/{app}/referrers/{digest}/"),
        format!("/v2/{app}/blobs/uploads/{SESSION}/"),
    ] {
        let reply = alice.get(&path).await;
        reply.is_error(404, "UNSUPPORTED").lacks("location");
    }
    // A manifest's name is never lost to a slash either.
    alice.put(&format!("/v2/{app}/manifests/v1/")).body("{}").await.is(404);
}

/// R-GEN-05, C-DKR-13: outside the API there is nothing, quietly.
#[tokio::test]
async fn outside_the_api_nothing_is_found() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    for path in ["/", "/v1/search?n=25&q=x", "/v1/_ping", "/favicon.ico", "/v3/", "/v22", "/V2/", "/.env", "//v2/"] {
        let reply = nobody.get(path).await;
        reply.is(404).lacks("location").lacks("www-authenticate");
    }
    nobody.get("/api/v1/nothing").await.is(404);
    nobody.get("/auth/nothing").await.is(404);
}

/// R-GEN-03, R-LOC-07, N-10: nothing is ever redirected.
#[tokio::test]
async fn no_request_is_redirected() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    let layer = sha256(&image.layers[0]);
    for (method, path) in [
        (Method::GET, "/v2".to_owned()),
        (Method::GET, "/v2/".to_owned()),
        (Method::POST, format!("/v2/{app}/blobs/uploads")),
        (Method::POST, format!("/v2/{app}/blobs/uploads/")),
        (Method::GET, format!("/v2/{app}/blobs/{layer}")),
        (Method::HEAD, format!("/v2/{app}/blobs/{layer}")),
        (Method::GET, format!("/v2/{app}/manifests/v1")),
    ] {
        let reply = alice.call(method, &path).await;
        assert!(reply.status < 300, "{reply:?}");
    }
}

/// R-GEN-02: the path is decoded once, as a whole, and then read.
#[tokio::test]
async fn a_path_is_decoded_exactly_once() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1.0").await;
    for path in [
        format!("/v2/{}/manifests/v1.0", app.replace('/', "%2F")),
        format!("/v2/{}/manifests/v1.0", app.replace('a', "%61")),
        format!("/v2/{app}/manifests/v1%2E0"),
        format!("/v2/{app}/%6Danifests/v1.0"),
        format!("/v2/{app}%2Fmanifests%2Fv1.0"),
    ] {
        alice.get(&path).await.is(200).has_body(&image.manifest.bytes);
    }
    for path in [
        format!("/v2/{}/manifests/v1.0", app.replace('/', "%252F")),
        format!("/v2/{}%/manifests/v1.0", app),
        format!("/v2/{}%4/manifests/v1.0", app),
        format!("/v2/{}%zz/manifests/v1.0", app),
        format!("/v2/{}/../app/manifests/v1.0", app),
        format!("/v2/./{app}/manifests/v1.0"),
        format!("/v2/x/%2e%2e/{app}/manifests/v1.0"),
    ] {
        alice.get(&path).await.is_error(400, "NAME_INVALID");
    }
}

/// R-GEN-06, R-PRX-01, R-PRX-02, N-09: parameters and headers that nobody knows change nothing.
#[tokio::test]
async fn unknown_parameters_and_headers_are_ignored() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = Image::unique();
    let extra = "ns=docker.io&x=%00&y=&=z&&a;b&%zz";
    for blob in image.blobs() {
        let post = alice.post(&format!("/v2/{app}/blobs/uploads/?{extra}")).header("x-unknown", "1").await;
        let session = post.is(202).header("location").to_owned();
        alice.patch(&format!("{session}?{extra}")).body(blob.to_vec()).await.is(202);
        alice.get(&format!("{session}?{extra}")).await.is(204);
        let put = alice.put(&format!("{session}?{extra}&digest={}&{extra}", sha256(blob))).await;
        put.is(201).lacks("oci-namespace");
    }
    alice.put_manifest(&app, &format!("v1?{extra}"), &image.manifest).await.is(201);
    for path in [
        format!("/v2/{app}/manifests/v1"),
        format!("/v2/{app}/blobs/{}", sha256(&image.config)),
        format!("/v2/{app}/tags/list"),
        format!("/v2/{app}/referrers/{}", image.digest()),
        "/v2/".to_owned(),
        "/v2/_catalog".to_owned(),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let call = alice.call(method, &format!("{path}?{extra}")).header("x-meta", "\u{e4}").header("x-meta", "b");
            call.await.is(200).lacks("oci-namespace");
        }
    }
    alice.delete(&format!("/v2/{app}/manifests/v1?{extra}")).await.is(202);
}

/// R-GEN-07: a body where none belongs, or a type without a body, does no harm.
#[tokio::test]
async fn bodies_on_get_and_delete_are_tolerated() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    let layer = format!("/v2/{app}/blobs/{}", sha256(&image.layers[0]));
    alice.get("/v2/").body("x").await.is(200);
    alice.get(&layer).body("some body").await.is(200).has_body(&image.layers[0]);
    alice.head(&layer).body("some body").await.is(200);
    alice.get(&format!("/v2/{app}/tags/list")).chunked(&[b"a", b"b"]).await.is(200);
    let post = alice.post(&format!("/v2/{app}/blobs/uploads/")).header("content-type", "application/json").await;
    let session = post.is(202).header("location").to_owned();
    alice.get(&session).body("x").await.is(204).has("range", "0-0");
    alice.delete(&session).body("x").await.is(204);
    alice.delete(&format!("/v2/{app}/manifests/v1")).body("{}").await.is(202);
}

/// R-GEN-10: a body's length may be announced or not.
#[tokio::test]
async fn bodies_come_with_and_without_a_length() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let bytes = unique(70_000);
    let digest = sha256(&bytes);
    let session = alice.start_upload(&app).await;
    alice.patch(&session).chunked(&[&bytes[..10], &bytes[10..40_000]]).await.is(202).has("range", "0-39999");
    alice.patch(&session).body(bytes[40_000..50_000].to_vec()).await.is(202).has("range", "0-49999");
    alice.put(&format!("{session}?digest={digest}")).chunked(&[&bytes[50_000..]]).await.is(201);
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);

    let other = unique(3000);
    let post = alice.post(&format!("/v2/{app}/blobs/uploads/?digest={}", sha256(&other)));
    post.chunked(&[&other[..1000], &other[1000..]]).await.is(201);

    let image = Image::unique();
    for blob in image.blobs() {
        alice.push_blob(&app, blob).await;
    }
    let put = alice.put(&format!("/v2/{app}/manifests/v1")).header("content-type", &image.manifest.media_type);
    put.chunked(&[&image.manifest.bytes[..7], &image.manifest.bytes[7..]]).await.is(201);
    alice.get(&format!("/v2/{app}/manifests/v1")).await.is(200).has_body(&image.manifest.bytes);
}

/// R-GEN-11: whatever encodings a client advertises, it gets the bytes as they are.
#[tokio::test]
async fn nothing_is_ever_compressed() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = Image::with(&json!({ "annotations": { "long": "a".repeat(20_000) } }));
    alice.push_image(&app, "v1", &image).await;
    let text = "compressible ".repeat(5000);
    let digest = alice.push_blob(&app, text.as_bytes()).await;
    for encodings in ["gzip", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5", "br", "identity;q=0, *", "*"] {
        for (path, body) in [
            (format!("/v2/{app}/blobs/{digest}"), text.as_bytes()),
            (format!("/v2/{app}/manifests/v1"), &*image.manifest.bytes),
        ] {
            let reply = alice.get(&path).header("accept-encoding", encodings).await;
            reply.is(200).lacks("content-encoding").has_body(body);
        }
        for path in [format!("/v2/{app}/tags/list"), format!("/v2/{app}/tags/none"), "/v2/_catalog".to_owned()] {
            alice.get(&path).header("accept-encoding", encodings).await.lacks("content-encoding");
        }
    }
}

/// R-GEN-12, R-UPL-01, R-UPL-10, R-UPL-30: where a reply has no body it says so.
#[tokio::test]
async fn empty_replies_announce_no_bytes() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let post = alice.post(&format!("/v2/{app}/blobs/uploads/")).await;
    post.is(202).has("content-length", "0").has_body(b"");
    let session = post.header("location");
    alice.patch(session).body("{}").await.is(202).has("content-length", "0").has_body(b"");
    let status = alice.get(session).await;
    status.is(204).lacks("content-length").lacks("transfer-encoding");
    let digest = sha256(b"{}");
    let put = alice.put(&format!("{session}?digest={digest}")).await;
    put.is(201).has("content-length", "0").has_body(b"");
    let gone = alice.delete(&format!("/v2/{app}/blobs/{digest}")).await;
    gone.is(202).has("content-length", "0").has_body(b"");
}

/// R-GEN-13, R-GEN-16: every reply carries the API version, `nosniff`, and an id that no other has.
#[tokio::test]
async fn every_reply_names_the_api_and_itself() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let nobody = registry.anonymous();
    let mut seen = std::collections::HashSet::new();
    for (client, path, status) in [
        (&alice, "/v2/", 200),
        (&nobody, "/v2/", 401),
        (&alice, "/v2/A/tags/list", 400),
        (&alice, "/v2/none", 404),
        (&alice, "/v2/none/none/tags/list", 404),
        (&nobody, "/v2/none/none/tags/list", 401),
    ] {
        let reply = client.get(path).await;
        reply.is(status).has("docker-distribution-api-version", "registry/2.0");
        reply.has("x-content-type-options", "nosniff");
        assert!(seen.insert(reply.header(REQUEST_ID).to_owned()), "an id came twice: {reply:?}");
    }
    let outside = nobody.get("/healthz").await;
    outside.has("x-content-type-options", "nosniff");
    assert!(seen.insert(outside.header(REQUEST_ID).to_owned()));
}
