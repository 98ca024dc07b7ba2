//! end-9: deleting tags and manifests.

use serde_json::json;

use crate::harness::{EMPTY_JSON, Manifest, TestRegistry, descriptor, sha256, unique_text};

/// R-MDL-01, R-MDL-05, R-TAG-04, V-M02, H-75: a deleted tag is gone, its manifest stays.
#[tokio::test]
async fn deleting_a_tag_leaves_the_manifest() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    alice.push_manifest(&app, "v2", &image.manifest).await;
    let by_digest = format!("/v2/{app}/manifests/{}", image.digest());
    for (tag, left) in [("v1", &["v2"][..]), ("v2", &[])] {
        let path = format!("/v2/{app}/manifests/{tag}");
        alice.delete(&path).await.is(202).has_body(b"").has("content-length", "0");
        alice.get(&path).await.is_error(404, "MANIFEST_UNKNOWN");
        alice.head(&path).await.is(404);
        alice.delete(&path).await.is_error(404, "MANIFEST_UNKNOWN");
        alice.get(&by_digest).await.is(200).has_body(&image.manifest.bytes);
        assert_eq!(alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags"), left);
    }
}

/// R-MDL-02, R-MDL-05, R-MDL-08, V-M03, V-M04, C-REG-05: a deleted manifest takes its tags with it, and nobody else's.
#[tokio::test]
async fn deleting_a_manifest_takes_all_its_tags() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    for tag in ["v2", "latest"] {
        alice.push_manifest(&app, tag, &image.manifest).await;
    }
    let other = alice.push_new_image(&app, "other").await;
    let by_digest = format!("/v2/{app}/manifests/{}", image.digest());
    let gone = alice.delete(&by_digest).await;
    gone.is(202).has_body(b"");
    if gone.headers.contains_key("docker-content-digest") {
        gone.has("docker-content-digest", &image.digest());
    }
    for reference in ["v1", "v2", "latest", &image.digest()] {
        let path = format!("/v2/{app}/manifests/{reference}");
        alice.get(&path).await.is_error(404, "MANIFEST_UNKNOWN");
        alice.head(&path).await.is(404);
    }
    assert_eq!(alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags"), ["other"]);
    alice.delete(&by_digest).await.is_error(404, "MANIFEST_UNKNOWN");
    alice.get(&format!("/v2/{app}/manifests/other")).await.is(200).has_body(&other.manifest.bytes);
    // The dummy trick of regclient: the same content can be pushed again at once.
    alice.push_manifest(&app, "v1", &image.manifest).await;
    alice.get(&by_digest).await.is(200);
}

/// R-MDL-02, I4: a manifest is deleted here, not where else it is.
#[tokio::test]
async fn deleting_a_manifest_leaves_other_repositories_alone() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, other) = (alice.repository("app"), alice.repository("other"));
    let image = alice.push_new_image(&app, "v1").await;
    alice.push_image(&other, "v1", &image).await;
    alice.delete(&format!("/v2/{app}/manifests/{}", image.digest())).await.is(202);
    alice.get(&format!("/v2/{other}/manifests/v1")).await.is(200).has_body(&image.manifest.bytes);
    alice.get(&format!("/v2/{other}/blobs/{}", sha256(&image.config))).await.is(200);
}

/// R-MDL-03: what is not there is not deleted.
#[tokio::test]
async fn deleting_what_is_not_there_is_not_found() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let missing = sha256(b"missing");
    for reference in ["v1", &missing] {
        alice.delete(&format!("/v2/{app}/manifests/{reference}")).await.is_error(404, "NAME_UNKNOWN");
    }
    let image = alice.push_new_image(&app, "v1").await;
    for reference in ["v2", &missing, ".bad", &sha256(&image.config)] {
        alice.delete(&format!("/v2/{app}/manifests/{reference}")).await.is_error(404, "MANIFEST_UNKNOWN");
    }
    alice.delete(&format!("/v2/{app}/manifests/sha256:bad")).await.is_error(400, "DIGEST_INVALID");
    alice.get(&format!("/v2/{app}/manifests/v1")).await.is(200);
}

/// R-MDL-06: a child of an index may go, and so may a subject; what names them stays.
#[tokio::test]
async fn children_and_subjects_may_be_deleted() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    let index = Manifest::index(&[image.manifest.descriptor()], &json!({}));
    alice.push_manifest(&app, "index", &index).await;
    alice.push_blob(&app, b"{}").await;
    let signature = Manifest::referrer(&image.manifest.descriptor(), "a/signature", &json!({}));
    alice.push_manifest(&app, &signature.digest(), &signature).await;

    alice.delete(&format!("/v2/{app}/manifests/{}", image.digest())).await.is(202);
    alice.get(&format!("/v2/{app}/manifests/index")).await.is(200).has_body(&index.bytes);
    alice.get(&format!("/v2/{app}/manifests/{}", signature.digest())).await.is(200).has_body(&signature.bytes);
    let referrers = alice.get(&format!("/v2/{app}/referrers/{}", image.digest())).await;
    assert_eq!(referrers.json()["manifests"][0]["digest"], signature.digest());
}

/// R-MDL-07: deleting a manifest never gets in the way of pushing the same content.
#[tokio::test]
async fn a_push_wins_over_a_delete() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    let path = format!("/v2/{app}/manifests/{}", image.digest());
    let pushing = async {
        for _ in 0..15 {
            alice.push_manifest(&app, "v1", &image.manifest).await;
        }
    };
    let deleting = async {
        for _ in 0..15 {
            let status = alice.delete(&path).await.status;
            assert!(status == 202 || status == 404, "{status}");
        }
    };
    futures_util::future::join(pushing, deleting).await;
    for blob in image.blobs() {
        alice.head(&format!("/v2/{app}/blobs/{}", sha256(blob))).await.is(200);
    }
    alice.push_manifest(&app, "v1", &image.manifest).await;
    alice.get(&path).await.is(200);
}

/// N-12, R-RTS-01, R-RTS-02, R-RTS-03, R-RTS-04, C-COS-01, C-COS-04: the fall-back tags of clients without a referrers API are ordinary tags.
#[tokio::test]
async fn fall_back_tags_are_ordinary_tags() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    let tag = image.digest().replace(':', "-");
    let path = format!("/v2/{app}/manifests/{tag}");
    alice.get(&path).await.is_error(404, "MANIFEST_UNKNOWN");
    alice.head(&path).await.is(404);

    alice.push_blob(&app, b"{}").await;
    let note = json!({ "annotations": { "note": unique_text("n") } });
    let unrelated = Manifest::image(&descriptor(EMPTY_JSON, b"{}"), &[], &note);
    alice.push_manifest(&app, &unrelated.digest(), &unrelated).await;
    let old = Manifest::index(&[unrelated.descriptor()], &json!({}));
    let new = Manifest::index(&[unrelated.descriptor(), image.manifest.descriptor()], &json!({}));
    alice.push_manifest(&app, &tag, &old).await;
    alice.push_manifest(&app, &tag, &new).await;
    alice.delete(&format!("/v2/{app}/manifests/{}", old.digest())).await.is(202);
    alice.get(&path).await.is(200).has_body(&new.bytes);
    let mut tags = alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags");
    tags.sort();
    assert_eq!(tags, [tag.as_str(), "v1"]);
    // What such an index lists refers to nothing by itself.
    let referrers = alice.get(&format!("/v2/{app}/referrers/{}", image.digest())).await;
    assert_eq!(referrers.json()["manifests"], json!([]));
    alice.delete(&path).await.is(202);
    alice.get(&path).await.is_error(404, "MANIFEST_UNKNOWN");
}
