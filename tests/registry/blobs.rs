//! end-2 and end-10: reading blobs, asking whether they changed, deleting them.

use std::fs::OpenOptions;

use crate::harness::{OCTETS, TestRegistry, sha256, unique};

/// R-BLB-01, R-BLB-03, R-BLB-05, R-BLB-06, N-01, V-P05: the bytes, and everything a client wants to know of them.
#[tokio::test]
async fn a_blob_is_served_with_all_its_headers() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    for length in [1, 1000, 300_000] {
        let bytes = unique(length);
        let digest = alice.push_blob(&app, &bytes).await;
        for reply in [
            alice.get(&format!("/v2/{app}/blobs/{digest}")).await,
            alice.get(&format!("/v2/{app}/blobs/{digest}")).header("accept", "image/png").await,
        ] {
            reply.is(200).has_body(&bytes);
            reply.has("content-length", &length.to_string()).has("content-type", OCTETS);
            reply.has("docker-content-digest", &digest).has("etag", &format!("\"{digest}\""));
            reply.has("accept-ranges", "bytes").lacks("content-range").lacks("vary");
            let cache = reply.header_items("cache-control");
            assert!(cache.contains(&"max-age=31536000") && cache.contains(&"private"), "{reply:?}");
        }
    }
}

/// R-BLB-01, R-BLB-02, V-P02, V-P04, V-U03, H-10: a blob that is not here is 404, and so is a repository.
#[tokio::test]
async fn a_missing_blob_is_not_found() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, other) = (alice.repository("app"), alice.repository("other"));
    let digest = alice.push_blob(&other, &unique(10)).await;
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is_error(404, "NAME_UNKNOWN");
    alice.push_blob(&app, &unique(10)).await;
    // It is stored, and even readable for the caller, but not through this repository (I4).
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is_error(404, "BLOB_UNKNOWN");
    alice.head(&format!("/v2/{app}/blobs/{digest}")).await.is(404);
    let longer = format!("/v2/{app}/blobs/sha512:{}", "a".repeat(128));
    alice.get(&longer).await.is_error(404, "BLOB_UNKNOWN");
}

/// R-BLB-02, R-BLB-04, H-31, V-P03: HEAD right after the push tells the length.
#[tokio::test]
async fn a_blob_is_there_as_soon_as_it_is_pushed() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    for length in [0, 7, 100_000] {
        let digest = alice.push_blob(&app, &unique(length)).await;
        let head = alice.head(&format!("/v2/{app}/blobs/{digest}")).await;
        head.is(200).has("content-length", &length.to_string()).has("docker-content-digest", &digest).has_body(b"");
    }
}

/// R-BLB-07: whoever has the blob already is told so, in every spelling of the question.
#[tokio::test]
async fn a_blob_that_is_known_is_not_sent_again() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let bytes = unique(100);
    let digest = alice.push_blob(&app, &bytes).await;
    let other = sha256(b"other");
    let path = format!("/v2/{app}/blobs/{digest}");
    for tag in [
        format!("\"{digest}\""),
        digest.clone(),
        format!("W/\"{digest}\""),
        format!("\"{other}\", \"{digest}\""),
        format!("\"{digest}\",\"{other}\""),
        "*".to_owned(),
    ] {
        for reply in [
            alice.get(&path).header("if-none-match", &tag).await,
            alice.head(&path).header("if-none-match", &tag).await,
        ] {
            reply.is(304).has("etag", &format!("\"{digest}\"")).has_body(b"");
        }
    }
    alice.get(&path).header("if-none-match", &format!("\"{other}\"")).await.is(200).has_body(&bytes);
    alice.get(&path).header("if-none-match", "").await.is(200).has_body(&bytes);
    let lines = alice.get(&path).header("if-none-match", &other).header("if-none-match", &digest).await;
    lines.is(304);
}

/// R-BLB-07: a guess about content is answered only to those who may see it.
#[tokio::test]
async fn a_condition_tells_a_stranger_nothing() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let mallory = registry.user("mallory").await;
    let app = alice.repository("app");
    let digest = alice.push_blob(&app, &unique(10)).await;
    let path = format!("/v2/{app}/blobs/{digest}");
    mallory.get(&path).header("if-none-match", "*").await.is_error(404, "NAME_UNKNOWN");
    registry.anonymous().get(&path).header("if-none-match", "*").await.is(401);
    let missing = format!("/v2/{app}/blobs/{}", sha256(b"missing"));
    alice.get(&missing).header("if-none-match", "*").await.is_error(404, "BLOB_UNKNOWN");
}

/// R-BLB-08: a manifest is not a blob.
#[tokio::test]
async fn a_manifest_is_not_served_as_a_blob() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    alice.get(&format!("/v2/{app}/blobs/{}", image.digest())).await.is_error(404, "BLOB_UNKNOWN");
}

/// R-BLB-09: damage is told before the first byte, and pushing the blob again heals it.
#[tokio::test]
async fn a_damaged_blob_is_an_error_until_it_is_pushed_again() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    for damage in ["cut", "gone"] {
        let bytes = unique(50_000);
        let digest = alice.push_blob(&app, &bytes).await;
        let path = format!("/v2/{app}/blobs/{digest}");
        let file = registry.stored(&digest);
        match damage {
            "cut" => OpenOptions::new().write(true).open(&file).unwrap().set_len(20_000).unwrap(),
            _ => std::fs::remove_file(&file).unwrap(),
        }
        alice.get(&path).faults_welcome().await.is_error(500, "UNKNOWN");
        // She may push, and so is told what makes her client do so.
        alice.head(&path).await.is(404);
        alice.get(&path).header("range", "bytes=30000-").faults_welcome().await.is_error(500, "UNKNOWN");
        alice.push_blob(&app, &bytes).await;
        alice.get(&path).await.is(200).has_body(&bytes);
    }
}

/// R-BDL-01, H-33, V-M05, V-M06: a deleted blob is gone here at once, and stays elsewhere.
#[tokio::test]
async fn a_deleted_blob_is_gone_from_its_repository_only() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, other) = (alice.repository("app"), alice.repository("other"));
    let bytes = unique(100);
    let digest = alice.push_blob(&app, &bytes).await;
    alice.push_blob(&other, &bytes).await;
    alice.delete(&format!("/v2/{app}/blobs/{digest}")).await.is(202).has_body(b"");
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is_error(404, "BLOB_UNKNOWN");
    alice.head(&format!("/v2/{app}/blobs/{digest}")).await.is(404);
    alice.get(&format!("/v2/{other}/blobs/{digest}")).await.is(200).has_body(&bytes);
    alice.push_blob(&app, &bytes).await;
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
}

/// R-BDL-02: what is not here cannot be deleted.
#[tokio::test]
async fn deleting_a_missing_blob_is_not_found() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let digest = sha256(b"missing");
    alice.delete(&format!("/v2/{app}/blobs/{digest}")).await.is_error(404, "NAME_UNKNOWN");
    let present = alice.push_blob(&app, &unique(10)).await;
    alice.delete(&format!("/v2/{app}/blobs/{digest}")).await.is_error(404, "BLOB_UNKNOWN");
    alice.delete(&format!("/v2/{app}/blobs/{present}")).await.is(202);
    alice.delete(&format!("/v2/{app}/blobs/{present}")).await.is_error(404, "BLOB_UNKNOWN");
}

/// R-BDL-03: a blob that a manifest needs stays, and the refusal says how many need it.
#[tokio::test]
async fn a_referenced_blob_is_not_deleted() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    for blob in image.blobs() {
        let refused = alice.delete(&format!("/v2/{app}/blobs/{}", sha256(blob))).await;
        refused.is_error(405, "UNSUPPORTED");
        let message = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains('1'), "{message}");
        alice.get(&format!("/v2/{app}/blobs/{}", sha256(blob))).await.is(200);
    }
    alice.delete(&format!("/v2/{app}/manifests/{}", image.digest())).await.is(202);
    for blob in image.blobs() {
        alice.delete(&format!("/v2/{app}/blobs/{}", sha256(blob))).await.is(202);
    }
}
