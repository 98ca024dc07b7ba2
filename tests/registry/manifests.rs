//! end-3 and end-7: manifests that are accepted, and how they come back.

use std::slice;

use serde_json::{Value, json};

use crate::harness::{
    Client, DOCKER_LIST, DOCKER_MANIFEST, EMPTY_JSON, IMAGE_INDEX, IMAGE_MANIFEST, Image, Manifest, TestRegistry,
    descriptor, sha256, unique, unique_text,
};

/// Pushes the manifest by tag and by digest, and panics unless it comes back as it went.
pub(crate) async fn round_trip(client: &Client, repository: &str, tag: &str, manifest: &Manifest) {
    let digest = manifest.digest();
    for reference in [tag, &digest] {
        let put = client.push_manifest(repository, reference, manifest).await;
        put.has("location", &format!("/v2/{repository}/manifests/{digest}")).has("docker-content-digest", &digest);
        put.has("content-length", "0");
        client.get(put.header("location")).await.is(200).has_body(&manifest.bytes);
    }
    for reference in [tag, &digest] {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let get = client.get(&path).await;
        get.is(200).has_body(&manifest.bytes);
        let head = client.head(&path).await;
        head.is(200).has_body(b"");
        for reply in [&get, &head] {
            reply.has("content-type", &manifest.media_type).has("docker-content-digest", &digest);
            reply.has("content-length", &manifest.bytes.len().to_string()).has("etag", &format!("\"{digest}\""));
        }
    }
}

/// R-MPT-01, R-MPT-04, R-MPT-16, R-MGT-01, R-MGT-02, R-MGT-04, R-MGT-06, R-MGT-10, H-40, H-70, H-72, H-73, V-U24,
/// V-P11: an image goes in and comes out byte for byte, by tag and by digest.
#[tokio::test]
async fn an_image_comes_back_as_it_was_pushed() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    round_trip(&alice, &app, "v1", &image.manifest).await;
    round_trip(&alice, &app, "again", &image.manifest).await;
}

/// R-MPT-21, R-MT-02, R-MGT-02: docker's own types are served as what they were pushed as.
#[tokio::test]
async fn docker_manifests_and_lists_are_kept_as_they_are() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let (config, layer) = (unique(50), unique(500));
    alice.push_blob(&app, &config).await;
    alice.push_blob(&app, &layer).await;
    let manifest = Manifest::new(
        DOCKER_MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor("application/vnd.docker.container.image.v1+json", &config),
            "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", &layer)],
            // In docker's types a subject means nothing.
            "subject": descriptor(IMAGE_MANIFEST, b"something"),
        }),
    );
    round_trip(&alice, &app, "image", &manifest).await;
    alice.push_manifest(&app, "image", &manifest).await.lacks("oci-subject");
    let referrers = alice.get(&format!("/v2/{app}/referrers/{}", sha256(b"something"))).await;
    assert_eq!(referrers.json()["manifests"], json!([]));

    let mut child = manifest.descriptor();
    child["platform"] = json!({ "architecture": "amd64", "os": "linux" });
    let list =
        Manifest::new(DOCKER_LIST, &json!({ "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [child] }));
    round_trip(&alice, &app, "list", &list).await;
}

/// R-MPT-10, R-MPT-06, H-43, H-44, H-45, H-47, R-MPT-15: an index of manifests, of indexes, and of nothing.
#[tokio::test]
async fn indexes_may_be_nested_and_empty() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let first = alice.push_new_image(&app, "first").await;
    let second = alice.push_new_image(&app, "second").await;
    let mut attestation = second.manifest.descriptor();
    attestation["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
    attestation["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    let index = Manifest::index(&[first.manifest.descriptor(), attestation], &json!({}));
    round_trip(&alice, &app, "index", &index).await;
    let nested = Manifest::index(&[index.descriptor()], &json!({ "artifactType": "application/vnd.example" }));
    round_trip(&alice, &app, "nested", &nested).await;
    round_trip(&alice, &app, "empty", &Manifest::index(&[], &json!({ "annotations": { "n": unique_text("x") } })))
        .await;
}

/// R-MPT-10, C-BKT-03: BuildKit's cache is an index whose children are blobs.
#[tokio::test]
async fn an_index_may_list_blobs() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("cache");
    let (layer, config) = (unique(300), unique(100));
    alice.push_blob(&app, &layer).await;
    alice.push_blob(&app, &config).await;
    let children = [
        descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer),
        descriptor("application/vnd.buildkit.cacheconfig.v0", &config),
    ];
    round_trip(&alice, &app, "buildcache", &Manifest::index(&children, &json!({}))).await;
    // What the index names is not taken away under it.
    alice.delete(&format!("/v2/{app}/blobs/{}", sha256(&layer))).await.is_error(405, "UNSUPPORTED");
}

/// R-MT-02, R-MPT-08, R-MPT-15, H-41, H-46, H-48, H-52, H-54, H-55, V-P01, V-U25, C-COS-02, C-HLM-01: artifacts of any type,
/// with anything else in them.
#[tokio::test]
async fn artifacts_of_any_shape_are_accepted() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let layer = unique(100);
    alice.push_blob(&app, b"{}").await;
    alice.push_blob(&app, &layer).await;
    let empty = descriptor(EMPTY_JSON, b"{}");
    let mut inlined = empty.clone();
    inlined["data"] = json!("e30=");
    inlined["newUnspecifiedField"] = json!({ "a": [1, null, "b"] });
    inlined["artifactType"] = json!("application/vnd.dev.sigstore.bundle.v0.3+json");
    let helm = [descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &layer)];
    let tar = [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)];
    let odd = [descriptor("application/x.anything-at_all+json", &layer)];
    let artifact = json!({ "artifactType": "application/vnd.example+type" });
    let custom = json!({ "x-custom": { "deep": [{}] }, "annotations": { "": "", "ä": "ö\n" } });
    for (n, manifest) in [
        Manifest::image(&empty, &[], &json!({})),
        Manifest::image(&empty, slice::from_ref(&empty), &artifact),
        Manifest::image(&inlined, &[inlined.clone()], &custom),
        Manifest::image(&descriptor("application/vnd.cncf.helm.config.v1+json", b"{}"), &helm, &json!({})),
        Manifest::image(&empty, &tar, &json!({ "mediaType": null })),
        Manifest::image(&empty, &odd, &json!({})),
        Manifest::image(&empty, &[], &json!({ "layers": null })),
        Manifest::index(&[], &json!({ "org.example.custom": [1, { "n": unique_text("x") }] })),
    ]
    .into_iter()
    .enumerate()
    {
        round_trip(&alice, &app, &format!("a{n}"), &manifest).await;
    }
}

/// R-MPT-06: `null` reads as an empty list.
#[tokio::test]
async fn a_null_list_is_an_empty_one() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_blob(&app, b"{}").await;
    let config = descriptor(EMPTY_JSON, b"{}");
    let image = Manifest::new(IMAGE_MANIFEST, &json!({ "schemaVersion": 2, "config": config, "layers": null }));
    let index = Manifest::new(IMAGE_INDEX, &json!({ "schemaVersion": 2, "manifests": null }));
    round_trip(&alice, &app, "image", &image).await;
    round_trip(&alice, &app, "index", &index).await;
}

/// R-MPT-02, R-MPT-03, R-MT-01, R-MGT-02: the type is read without its parameters and, where the header says nothing, from the body.
#[tokio::test]
async fn the_type_is_found_where_it_is() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_blob(&app, b"{}").await;
    let config = descriptor(EMPTY_JSON, b"{}");
    let named = Manifest::image(&config, &[], &json!({})).bytes;
    let unnamed = Manifest::image(&config, &[], &json!({ "mediaType": null })).bytes;
    let index = Manifest::index(&[], &json!({ "mediaType": null })).bytes;
    let list =
        Manifest::new(DOCKER_LIST, &json!({ "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [] })).bytes;
    let spaced = format!("  {} ; charset=utf-8", IMAGE_MANIFEST.to_uppercase());
    let with_charset = format!("{IMAGE_MANIFEST}; charset=utf-8");
    for (header, body, stored) in [
        (Some(IMAGE_MANIFEST), &named, IMAGE_MANIFEST),
        (Some(IMAGE_MANIFEST), &unnamed, IMAGE_MANIFEST),
        (Some(&*with_charset), &named, IMAGE_MANIFEST),
        (Some(&*spaced), &named, spaced.trim_start().split(' ').next().unwrap()),
        (None, &named, IMAGE_MANIFEST),
        (Some("application/octet-stream"), &list, DOCKER_LIST),
        (Some("application/json"), &named, IMAGE_MANIFEST),
        (None, &unnamed, IMAGE_MANIFEST),
        (None, &index, IMAGE_INDEX),
        (Some("application/json"), &index, IMAGE_INDEX),
    ] {
        // The same bytes may have been pushed under another type before.
        alice.delete(&format!("/v2/{app}/manifests/{}", sha256(body))).await;
        let mut put = alice.put(&format!("/v2/{app}/manifests/typed")).body(body.clone());
        if let Some(header) = header {
            put = put.header("content-type", header);
        }
        put.await.is(201);
        alice.get(&format!("/v2/{app}/manifests/typed")).await.is(200).has("content-type", stored).has_body(body);
    }
}

/// R-MGT-03, R-MGT-08, C-DKR-02, C-CTD-01, C-ORA-02: no `Accept`, and no range, changes what is answered.
#[tokio::test]
async fn accept_never_changes_the_answer() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "image").await;
    let index = Manifest::index(&[image.manifest.descriptor()], &json!({}));
    alice.push_manifest(&app, "index", &index).await;
    let path = |tag| format!("/v2/{app}/manifests/{tag}");
    for (tag, manifest) in [("image", &image.manifest), ("index", &index)] {
        for lines in [
            &[][..],
            &["*/*"],
            &[IMAGE_MANIFEST],
            &[IMAGE_INDEX],
            &[DOCKER_MANIFEST, DOCKER_LIST],
            &[DOCKER_MANIFEST, DOCKER_LIST, IMAGE_MANIFEST, IMAGE_INDEX],
            &["application/vnd.docker.distribution.manifest.v1+prettyjws, application/json"],
            &["text/html;q=0.1"],
            &["nonsense", ""],
            &["application/vnd.oci.image.manifest.v1+json;q=0"],
        ] {
            let (mut get, mut head) = (alice.get(&path(tag)), alice.head(&path(tag)));
            for line in lines {
                get = get.header("accept", line);
                head = head.header("accept", line);
            }
            let get = get.await;
            get.is(200).has_body(&manifest.bytes).has("content-type", &manifest.media_type).lacks("vary");
            head.await
                .is(200)
                .has("content-type", &manifest.media_type)
                .has("docker-content-digest", &manifest.digest());
        }
        let ranged = alice.get(&path(tag)).header("range", "bytes=0-").await;
        ranged.is(200).has_body(&manifest.bytes);
    }
}

/// R-MGT-05, R-MGT-09, R-AUZ-05, H-80, H-81: to someone who may pull, what is missing is 404 and nothing else.
#[tokio::test]
async fn a_missing_manifest_is_not_found() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let missing = sha256(b"missing");
    alice.get(&format!("/v2/{app}/manifests/v1")).await.is_error(404, "NAME_UNKNOWN");
    alice.get(&format!("/v2/{app}/manifests/{missing}")).await.is_error(404, "NAME_UNKNOWN");
    let image = alice.push_new_image(&app, "v1").await;
    let signature = format!("{}.sig", image.digest().replace(':', "-"));
    let blob = sha256(&image.config);
    for reference in ["v2", "V1", &missing, &signature, &blob] {
        let path = format!("/v2/{app}/manifests/{reference}");
        alice.get(&path).await.is_error(404, "MANIFEST_UNKNOWN");
        alice.head(&path).await.is(404);
    }
}

/// R-MGT-07, C-CRL-03: whoever has the manifest already is told so; by tag it must be asked each time.
#[tokio::test]
async fn a_manifest_that_is_known_is_not_sent_again() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    let digest = image.digest();
    for reference in ["v1", &digest] {
        let path = format!("/v2/{app}/manifests/{reference}");
        for tag in [
            format!("\"{digest}\""),
            digest.clone(),
            format!("W/\"{digest}\""),
            format!("\"x\", \"{digest}\""),
            "*".into(),
        ] {
            for reply in [
                alice.get(&path).header("if-none-match", &tag).await,
                alice.head(&path).header("if-none-match", &tag).await,
            ] {
                reply.is(304).has("etag", &format!("\"{digest}\"")).has_body(b"");
            }
        }
        alice.get(&path).header("if-none-match", "\"other\"").await.is(200).has_body(&image.manifest.bytes);
    }
    let by_tag = alice.get(&format!("/v2/{app}/manifests/v1")).await;
    let cache = by_tag.header_lines("cache-control");
    assert!(cache.is_empty() || cache.concat().contains("no-cache"), "{by_tag:?}");
    let unknown = alice.get(&format!("/v2/{app}/manifests/none")).header("if-none-match", "*").await;
    unknown.is_error(404, "MANIFEST_UNKNOWN");
}

/// R-TAG-04, R-MGT-10, R-MPT-16: a tag moves at once, and what it left stays reachable by digest.
#[tokio::test]
async fn a_tag_moves_and_leaves_the_old_manifest() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let first = alice.push_new_image(&app, "latest").await;
    let second = alice.push_new_image(&app, "latest").await;
    let path = format!("/v2/{app}/manifests/latest");
    alice.get(&path).await.is(200).has_body(&second.manifest.bytes).has("docker-content-digest", &second.digest());
    alice.head(&path).await.is(200).has("docker-content-digest", &second.digest());
    alice.get(&format!("/v2/{app}/manifests/{}", first.digest())).await.is(200).has_body(&first.manifest.bytes);
    alice.push_manifest(&app, "latest", &first.manifest).await;
    alice.get(&path).await.has_body(&first.manifest.bytes);
    assert_eq!(alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags"), ["latest"]);
}

/// R-MPT-16, R-TAG-04, C-COS-03: whoever reads a tag while it moves sees one of the manifests, whole.
#[tokio::test]
async fn a_moving_tag_is_never_seen_half() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let images = [alice.push_new_image(&app, "latest").await, alice.push_new_image(&app, "latest").await];
    let path = format!("/v2/{app}/manifests/latest");
    let writers = async {
        for n in 0..20 {
            alice.push_manifest(&app, "latest", &images[n % 2].manifest).await;
        }
    };
    let readers = async {
        for _ in 0..40 {
            let reply = alice.get(&path).await;
            let seen = images.iter().find(|image| *image.manifest.bytes == reply.body).expect("one of the two");
            reply.is(200).has("docker-content-digest", &seen.digest());
        }
    };
    futures_util::future::join(writers, readers).await;
}

/// R-MPT-20, R-AUZ-07: the first push may be of a manifest alone.
#[tokio::test]
async fn a_manifest_may_create_its_repository() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let index = Manifest::index(&[], &json!({}));
    alice.push_manifest(&app, "v1", &index).await;
    assert_eq!(alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags"), ["v1"]);
}

/// R-MPT-22, R-GEN-06: a `digest=` beside a tag is ignored or checked, but never an error when it is right.
#[tokio::test]
async fn a_digest_parameter_beside_a_tag_does_no_harm() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let index = Manifest::index(&[], &json!({}));
    alice.put_manifest(&app, &format!("v1?digest={}", index.digest()), &index).await.is(201);
}

/// R-MPT-11: a descriptor's size is not held against the blob.
#[tokio::test]
async fn sizes_in_descriptors_are_not_compared() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = Image::unique();
    for blob in image.blobs() {
        alice.push_blob(&app, blob).await;
    }
    let mut content: Value = image.manifest.json();
    content["config"]["size"] = json!(1);
    content["layers"][0]["size"] = json!(9_007_199_254_740_991_u64);
    round_trip(&alice, &app, "v1", &Manifest::new(IMAGE_MANIFEST, &content)).await;
}
