//! Bad input of every kind: a precise refusal, nothing changed, nothing told that is nobody's business.

use http::Method;
use serde_json::json;

use crate::harness::{EMPTY_JSON, Image, Manifest, TestRegistry, descriptor, sha256, unique};

/// R-ERR-01, R-ERR-02, R-ERR-03, R-ERR-05: whatever is sent to whatever address, the answer is in the spec's form and no fault of ours.
#[tokio::test]
async fn nonsense_is_refused_in_the_specs_form() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    let session = alice.start_upload(&app).await;
    let digest = sha256(&image.config);
    let targets = [
        "/v2/".to_owned(),
        "/v2/_catalog".to_owned(),
        format!("/v2/{app}/tags/list"),
        format!("/v2/{app}/manifests/v1"),
        format!("/v2/{app}/manifests/{}", image.digest()),
        format!("/v2/{app}/blobs/{digest}"),
        format!("/v2/{app}/blobs/uploads/"),
        session,
        format!("/v2/{app}/referrers/{digest}"),
        "/auth/token".to_owned(),
        "/api/v1/users".to_owned(),
        format!("/api/v1/{app}/visibility"),
    ];
    let queries = [
        "",
        "?",
        "?n=-1&last=%00",
        "?n=%F0%9F%92%A9",
        "?digest=%00",
        "?digest=sha256:%ff%fe",
        "?mount=%&from=%",
        "?tag=%00&tag=",
        "?artifactType=%00%ff",
        "?scope=%00&scope=%ff",
        "?%ff=%ff",
        "?a[b]=c",
        "?n=1e9&digest=..%2f..%2f",
        "?last=' OR 1=1--",
        "?digest-algorithm=../../etc",
    ];
    let headers = [
        ("x-none", "x"),
        ("content-range", "\u{e9}"),
        ("range", "bytes=\u{e9}"),
        ("content-type", "\u{e9}/\u{e9}"),
        ("if-none-match", "\u{e9}"),
        ("if-range", "\""),
        ("content-type", ";;;"),
        ("accept", "\u{e9}"),
    ];
    for target in &targets {
        for (n, query) in queries.iter().enumerate() {
            let path = format!("{target}{}", query.replace(' ', "%20").replace('\'', "%27"));
            for method in [Method::GET, Method::PUT, Method::POST, Method::PATCH] {
                let (name, value) = headers[n % headers.len()];
                // The rules for every reply are held by the harness; a fault fails by itself.
                let call = alice.call(method, &path).header(name, value).body(&b"\0\xff{nonsense"[..]);
                let reply = call.await;
                assert!(reply.status < 500, "{reply:?}");
            }
        }
    }
    alice.get(&format!("/v2/{app}/manifests/v1")).await.is(200).has_body(&image.manifest.bytes);
}

/// R-ERR-01, R-ERR-04: each of several problems has an entry, and all have one status.
#[tokio::test]
async fn several_problems_are_several_entries() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let layers: Vec<_> = (0..10).map(|_| descriptor("application/x-layer", &unique(5))).collect();
    alice.push_blob(&app, b"{}").await;
    let manifest = Manifest::image(&descriptor(EMPTY_JSON, b"{}"), &layers, &json!({}));
    let reply = alice.put_manifest(&app, "v1", &manifest).await;
    reply.is_error(400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(reply.error_codes().len(), 10);
}

/// R-ERR-06: what is no problem of the manifest is not told as one, for clients convert manifests on that word.
#[tokio::test]
async fn only_manifest_problems_are_called_so() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let mallory = registry.user("mallory").await;
    let app = alice.repository("app");
    let image = Image::unique();
    let manifest = &image.manifest;
    let narrow = alice.scoped(&[&format!("repository:{app}:pull")]).await;
    for reply in [
        alice.put_manifest(&app, "v1", manifest).await,
        alice.put_manifest(&app, &sha256(b"x"), manifest).await,
        alice.put_manifest("A", "v1", manifest).await,
        mallory.put_manifest(&app, "v1", manifest).await,
        narrow.put_manifest(&app, "v1", manifest).await,
        registry.anonymous().put_manifest(&app, "v1", manifest).await,
    ] {
        assert!(reply.status >= 400, "{reply:?}");
        assert!(
            reply.error_codes().iter().all(|code| code != "MANIFEST_INVALID" && code != "TAG_INVALID"),
            "{reply:?}"
        );
    }
}

/// R-ERR-07, R-ERR-05: no error tells of paths, queries or other people's content.
#[tokio::test]
async fn errors_tell_no_internals() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let digest = alice.push_blob(&app, &unique(100)).await;
    let session = alice.start_upload(&app).await;
    std::fs::remove_file(registry.stored(&digest)).unwrap();
    let broken = alice.get(&format!("/v2/{app}/blobs/{digest}")).faults_welcome().await;
    broken.is_error(500, "UNKNOWN");
    for reply in [
        broken,
        alice.put(&format!("{session}?digest=sha256:bad")).await,
        alice.put(&format!("{session}?digest={}", sha256(b"other"))).body("x").await,
        alice.get(&format!("/v2/{app}/manifests/%27%3B%20SELECT")).await,
        alice.get(&format!("/v2/{app}/tags/list?n=%27")).await,
        alice.put(&format!("/v2/{app}/manifests/v1")).body("{").await,
    ] {
        assert!(reply.status >= 400, "{reply:?}");
        let text = String::from_utf8_lossy(&reply.body).to_lowercase();
        let directory = registry.directory().display().to_string();
        for word in [&*directory, "sqlite", "postgres", "sqlx", "no such file", "os error", "src/", ".rs", "panicked"] {
            assert!(!text.contains(word), "`{word}`: {reply:?}");
        }
    }
}

/// R-ERR-05, R-BLB-09: a fault of ours is logged once, with the id that the client was given.
#[tokio::test]
async fn a_fault_is_logged_with_its_id() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let digest = alice.push_blob(&app, &unique(100)).await;
    std::fs::remove_file(registry.stored(&digest)).unwrap();
    let reply = alice.get(&format!("/v2/{app}/blobs/{digest}")).faults_welcome().await;
    let id = reply.is_error(500, "UNKNOWN").header(crate::harness::REQUEST_ID).to_owned();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let log = registry.log();
    let errors: Vec<_> = log.lines().filter(|line| line.contains(&id) && line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    // Others are not hurt.
    alice.get("/v2/").await.is(200);
}
