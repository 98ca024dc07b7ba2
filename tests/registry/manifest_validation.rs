//! end-7: manifests that are refused, and tags that come with one.

use serde_json::{Value, json};

use crate::harness::{
    Client, DOCKER_LIST, DOCKER_MANIFEST, EMPTY_JSON, IMAGE_INDEX, IMAGE_MANIFEST, Image, Manifest, TestRegistry,
    descriptor, sha256, sha512, unique, unique_text,
};

/// A repository that has the blob `{}`, so that only what is meant is wrong.
async fn prepared(alice: &Client) -> String {
    let app = alice.repository("app");
    alice.push_blob(&app, b"{}").await;
    app
}

/// R-MPT-06, R-MPT-07, R-MPT-02, R-MT-03: each of these is no manifest, and nothing of it stays.
#[tokio::test]
async fn what_is_no_manifest_is_refused() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = prepared(&alice).await;
    let empty = descriptor(EMPTY_JSON, b"{}");
    let with = |name: &str, value: Value| {
        let mut descriptor = empty.clone();
        descriptor[name] = value;
        descriptor
    };
    let without = |name: &str| {
        let mut descriptor = empty.clone();
        descriptor.as_object_mut().unwrap().remove(name);
        descriptor
    };
    let image =
        |config: Value, layers: Value| json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string();
    let index = |manifests: Value| json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
    let subject = |subject: Value| json!({ "schemaVersion": 2, "manifests": [], "subject": subject }).to_string();
    let good = image(empty.clone(), json!([]));

    let mut refused = vec![
        ("no JSON", IMAGE_MANIFEST, "nonsense".to_owned()),
        ("nothing", IMAGE_MANIFEST, String::new()),
        ("an array", IMAGE_MANIFEST, "[]".to_owned()),
        ("null", IMAGE_MANIFEST, "null".to_owned()),
        ("an empty object", IMAGE_MANIFEST, "{}".to_owned()),
        ("a cut object", IMAGE_MANIFEST, good[..good.len() - 1].to_owned()),
        ("trailing garbage", IMAGE_MANIFEST, format!("{good}x")),
        ("two documents", IMAGE_MANIFEST, format!("{good}{good}")),
        // A config's type may be what the registry itself says of an artifact.
        ("a config of no type", IMAGE_MANIFEST, image(with("mediaType", json!("not a type")), json!([]))),
        ("no schemaVersion", IMAGE_MANIFEST, json!({ "config": empty, "layers": [] }).to_string()),
        ("schemaVersion 1", IMAGE_MANIFEST, good.replace("\"schemaVersion\":2", "\"schemaVersion\":1")),
        ("schemaVersion 3", IMAGE_MANIFEST, good.replace("\"schemaVersion\":2", "\"schemaVersion\":3")),
        ("schemaVersion as text", IMAGE_MANIFEST, good.replace("\"schemaVersion\":2", "\"schemaVersion\":\"2\"")),
        ("no config", IMAGE_MANIFEST, json!({ "schemaVersion": 2, "layers": [] }).to_string()),
        ("a null config", IMAGE_MANIFEST, image(json!(null), json!([]))),
        ("a config that is no object", IMAGE_MANIFEST, image(json!("x"), json!([]))),
        ("layers that are no array", IMAGE_MANIFEST, image(empty.clone(), json!({}))),
        ("a layer that is no object", IMAGE_MANIFEST, image(empty.clone(), json!([1]))),
        ("manifests that are no array", IMAGE_INDEX, index(json!("x"))),
        ("a child that is no object", IMAGE_INDEX, index(json!([null]))),
        ("an index of an image's type", IMAGE_MANIFEST, index(json!([]))),
        ("an image of an index's type", IMAGE_INDEX, good.clone()),
        ("no index at all", IMAGE_INDEX, json!({ "schemaVersion": 2 }).to_string()),
        (
            "another mediaType",
            IMAGE_MANIFEST,
            json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "config": empty, "layers": [] }).to_string(),
        ),
        (
            "docker's mediaType",
            IMAGE_MANIFEST,
            json!({ "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": empty, "layers": [] }).to_string(),
        ),
        (
            "a mediaType that is no text",
            IMAGE_MANIFEST,
            json!({ "schemaVersion": 2, "mediaType": 5, "config": empty, "layers": [] }).to_string(),
        ),
        (
            "image and index in one",
            IMAGE_MANIFEST,
            json!({ "schemaVersion": 2, "config": empty, "layers": [], "manifests": [] }).to_string(),
        ),
        (
            "index and image in one",
            IMAGE_INDEX,
            json!({ "schemaVersion": 2, "config": empty, "manifests": [] }).to_string(),
        ),
        (
            "an index with layers",
            IMAGE_INDEX,
            json!({ "schemaVersion": 2, "layers": [empty], "manifests": [] }).to_string(),
        ),
        ("two configs", IMAGE_MANIFEST, good.replacen('{', "{\"config\":{},", 1)),
        (
            "two mediaTypes",
            IMAGE_MANIFEST,
            good.replacen('{', &format!("{{\"mediaType\":\"{IMAGE_MANIFEST}\",\"mediaType\":\"{IMAGE_MANIFEST}\","), 1),
        ),
        ("two layers fields", IMAGE_MANIFEST, good.replacen('{', "{\"layers\":[],", 1)),
        ("two schemaVersions", IMAGE_MANIFEST, good.replacen('{', "{\"schemaVersion\":2,", 1)),
        (
            "two subjects",
            IMAGE_INDEX,
            format!("{{\"schemaVersion\":2,\"manifests\":[],\"subject\":{empty},\"subject\":{empty}}}"),
        ),
        ("two manifests fields", IMAGE_INDEX, "{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}".to_owned()),
        ("a subject that is no object", IMAGE_INDEX, subject(json!("x"))),
        ("a subject without a digest", IMAGE_INDEX, subject(without("digest"))),
        ("a subject with a bad digest", IMAGE_INDEX, subject(with("digest", json!("sha256:bad")))),
        ("a subject without a size", IMAGE_INDEX, subject(without("size"))),
        (
            "an artifactType that is no type",
            IMAGE_INDEX,
            json!({ "schemaVersion": 2, "manifests": [], "artifactType": "no type" }).to_string(),
        ),
    ];
    for (what, bad) in [
        ("no digest", without("digest")),
        ("no size", without("size")),
        ("no mediaType", without("mediaType")),
        ("a bad digest", with("digest", json!("sha256:abc"))),
        ("an upper-case digest", with("digest", json!(sha256(b"{}").to_uppercase()))),
        ("a digest that is a number", with("digest", json!(5))),
        ("a negative size", with("size", json!(-1))),
        ("a broken size", with("size", json!(1.5))),
        ("a size in words", with("size", json!("2"))),
        ("a mediaType that is a number", with("mediaType", json!(5))),
    ] {
        refused.push((what, IMAGE_MANIFEST, image(bad.clone(), json!([]))));
        refused.push((what, IMAGE_MANIFEST, image(empty.clone(), json!([empty, bad]))));
        refused.push((what, IMAGE_INDEX, index(json!([bad]))));
    }
    let mut accepted = Vec::new();
    for (what, media_type, body) in refused {
        let by_digest = format!("/v2/{app}/manifests/{}", sha256(body.as_bytes()));
        for path in [format!("/v2/{app}/manifests/bad"), by_digest.clone()] {
            let reply = alice.put(&path).header("content-type", media_type).body(body.clone()).await;
            if reply.status != 400 || reply.error_codes() != ["MANIFEST_INVALID"] {
                accepted.push(format!("{what}: {reply:?}"));
            }
        }
        alice.get(&by_digest).await.is_error(404, "MANIFEST_UNKNOWN");
    }
    assert!(accepted.is_empty(), "{}", accepted.join("\n"));
    assert_eq!(alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags"), [""; 0]);
}

/// R-MPT-06: a manifest is UTF-8.
#[tokio::test]
async fn a_manifest_in_another_encoding_is_refused() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = prepared(&alice).await;
    let good = Manifest::image(&descriptor(EMPTY_JSON, b"{}"), &[], &json!({ "annotations": { "a": "XX" } }));
    let at = good.bytes.windows(2).position(|pair| pair == b"XX").unwrap();
    for bad in [b"\xff\xfe", b"\xc3\x28"] {
        let mut bytes = good.bytes.clone();
        bytes[at..at + 2].copy_from_slice(bad);
        let bad = Manifest { media_type: IMAGE_MANIFEST.to_owned(), bytes };
        alice.put_manifest(&app, "v1", &bad).await.is_error(400, "MANIFEST_INVALID");
    }
}

/// R-MPT-02, R-MPT-21: types that are no manifest of ours are refused, whatever the body says.
#[tokio::test]
async fn other_types_are_refused() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = prepared(&alice).await;
    let good = Manifest::image(&descriptor(EMPTY_JSON, b"{}"), &[], &json!({}));
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.oci.artifact.manifest.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "text/plain",
        "application/vnd.oci.image.manifest.v2+json",
        "nonsense",
    ] {
        let put = alice.put(&format!("/v2/{app}/manifests/v1")).header("content-type", media_type);
        put.body(good.bytes.clone()).await.is_error(400, "MANIFEST_INVALID");
    }
    let schema1 =
        json!({ "schemaVersion": 1, "name": app, "tag": "v1", "fsLayers": [], "history": [], "signatures": [] });
    for media_type in ["application/json", "application/vnd.docker.distribution.manifest.v1+prettyjws"] {
        let put = alice.put(&format!("/v2/{app}/manifests/v1")).header("content-type", media_type);
        put.body(schema1.to_string()).await.is_error(400, "MANIFEST_INVALID");
    }
    let neither = alice.put(&format!("/v2/{app}/manifests/v1")).body(json!({ "schemaVersion": 2 }).to_string());
    neither.await.is_error(400, "MANIFEST_INVALID");
}

/// R-MPT-04, R-DIG-05, H-60: a digest as reference is a claim that is checked.
#[tokio::test]
async fn a_manifest_must_hash_to_its_digest() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = prepared(&alice).await;
    let manifest = Manifest::image(&descriptor(EMPTY_JSON, b"{}"), &[], &json!({}));
    for digest in [sha256(b"other"), sha512(b"other"), sha256(&[&manifest.bytes[..], b"\n"].concat())] {
        alice.put_manifest(&app, &digest, &manifest).await.is_error(400, "DIGEST_INVALID");
        alice.put_manifest(&app, &format!("{digest}?tag=v1"), &manifest).await.is_error(400, "DIGEST_INVALID");
        alice.get(&format!("/v2/{app}/manifests/{digest}")).await.is_error(404, "MANIFEST_UNKNOWN");
    }
    alice.get(&format!("/v2/{app}/manifests/v1")).await.is_error(404, "MANIFEST_UNKNOWN");
}

/// R-MPT-05, R-LIM-04, H-42: four mebibytes are accepted, one byte more is not, announced or not.
#[tokio::test]
async fn a_manifest_may_have_four_mebibytes() {
    const LIMIT: usize = 4 << 20;
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = prepared(&alice).await;
    let annotations: serde_json::Map<_, _> = (0..390).map(|n| (format!("a{n}"), json!("x".repeat(10_000)))).collect();
    let mut manifest = Manifest::image(&descriptor(EMPTY_JSON, b"{}"), &[], &json!({ "annotations": annotations }));
    manifest.bytes.resize(LIMIT, b' ');
    alice.push_manifest(&app, "largest", &manifest).await;
    alice.get(&format!("/v2/{app}/manifests/largest")).await.is(200).has_body(&manifest.bytes);

    manifest.bytes.push(b' ');
    alice.put_manifest(&app, "larger", &manifest).await.is_error(413, "SIZE_INVALID");
    let put = alice.put(&format!("/v2/{app}/manifests/larger")).header("content-type", IMAGE_MANIFEST);
    put.chunked(&[&manifest.bytes[..LIMIT / 2], &manifest.bytes[LIMIT / 2..]]).await.is_error(413, "SIZE_INVALID");
    alice.get(&format!("/v2/{app}/manifests/larger")).await.is_error(404, "MANIFEST_UNKNOWN");
}

/// R-MPT-09, R-MPT-10, R-ERR-04, C-COS-04: every missing blob or child is named, and nothing is stored.
#[tokio::test]
async fn missing_references_are_named_one_by_one() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = prepared(&alice).await;
    let elsewhere = alice.repository("elsewhere");
    let [here, first, second] = [unique(10), unique(20), unique(30)];
    alice.push_blob(&app, &here).await;
    // Stored, and readable for her, but not in this repository.
    alice.push_blob(&elsewhere, &first).await;
    let layer = |bytes: &[u8]| descriptor("application/vnd.oci.image.layer.v1.tar", bytes);
    let image = Manifest::image(&layer(&second), &[layer(&here), layer(&first), layer(&first)], &json!({}));
    let child = alice.push_new_image(&elsewhere, "child").await;
    let index = Manifest::index(&[child.manifest.descriptor(), layer(&here), layer(&second)], &json!({}));
    for (manifest, missing) in
        [(&image, [sha256(&second), sha256(&first)]), (&index, [child.digest(), sha256(&second)])]
    {
        for reference in ["v1", &manifest.digest()] {
            let reply = alice.put_manifest(&app, reference, manifest).await;
            reply.is_error(400, "MANIFEST_BLOB_UNKNOWN");
            let body = reply.json();
            let mut named: Vec<_> = body["errors"]
                .as_array()
                .unwrap()
                .iter()
                .map(|error| error["detail"]["digest"].as_str().unwrap())
                .collect();
            let mut expected: Vec<_> = missing.iter().map(String::as_str).collect();
            named.sort_unstable();
            expected.sort_unstable();
            assert_eq!(named, expected, "{reply:?}");
            alice.get(&format!("/v2/{app}/manifests/{reference}")).await.is_error(404, "MANIFEST_UNKNOWN");
        }
    }
}

/// R-MPT-10, R-MPT-09, H-56: where the operator allows it, references may be missing.
#[tokio::test]
async fn sparse_manifests_are_accepted_where_that_is_set() {
    let registry = TestRegistry::with(|settings| {
        settings.set("OCI_REGISTRY_SPARSE_MANIFESTS", "accept");
    })
    .await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = Image::unique();
    crate::manifests::round_trip(&alice, &app, "image", &image.manifest).await;
    let index = Manifest::index(&[Image::unique().manifest.descriptor()], &json!({}));
    crate::manifests::round_trip(&alice, &app, "index", &index).await;
    let blob = format!("/v2/{app}/blobs/{}", sha256(&image.config));
    alice.get(&blob).await.is_error(404, "BLOB_UNKNOWN");
    // A blob that comes later is held like any other.
    alice.push_blob(&app, &image.config).await;
    alice.get(&blob).await.is(200);
    alice.delete(&blob).await.is_error(405, "UNSUPPORTED");
}

/// R-MPT-12, H-53, C-BKT-02: layers that are meant to be elsewhere need not be here; if they are, they are served.
#[tokio::test]
async fn foreign_layers_need_not_be_here() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = prepared(&alice).await;
    let pushed = unique(40);
    alice.push_blob(&app, &pushed).await;
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        let mut with_urls = descriptor(media_type, &unique(10));
        with_urls["urls"] = json!(["https://layers.example/x"]);
        let layers = [with_urls, descriptor(media_type, &unique(10)), descriptor(media_type, &pushed)];
        let manifest = Manifest::image(&descriptor(EMPTY_JSON, b"{}"), &layers, &json!({}));
        crate::manifests::round_trip(&alice, &app, "foreign", &manifest).await;
    }
    alice.get(&format!("/v2/{app}/blobs/{}", sha256(&pushed))).await.is(200).has_body(&pushed);
    // The type excuses layers only, never a config.
    let config = descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar", &unique(10));
    let manifest = Manifest::image(&config, &[], &json!({}));
    alice.put_manifest(&app, "config", &manifest).await.is_error(400, "MANIFEST_BLOB_UNKNOWN");
}

/// R-MPT-17, R-MPT-18, N-07, H-58, H-59, C-REG-04: several tags come with one push by digest, in both algorithms.
#[tokio::test]
async fn tags_are_set_with_a_push_by_digest() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = prepared(&alice).await;
    for (hash, count) in [(sha256 as fn(&[u8]) -> String, 1), (sha256, 64), (sha512, 10)] {
        let note = json!({ "annotations": { "note": unique_text("a") } });
        let manifest = Manifest::image(&descriptor(EMPTY_JSON, b"{}"), &[], &note);
        let digest = hash(&manifest.bytes);
        let tags: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
        let query: Vec<_> = tags.iter().map(|tag| format!("tag={tag}")).collect();
        let put = alice.put_manifest(&app, &format!("{digest}?{}", query.join("&")), &manifest).await;
        put.is(201).has("docker-content-digest", &digest).has("location", &format!("/v2/{app}/manifests/{digest}"));
        let mut set = put.header_items("oci-tag");
        let mut wanted: Vec<_> = tags.iter().map(String::as_str).collect();
        set.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(set, wanted);
        for tag in &tags {
            let get = alice.get(&format!("/v2/{app}/manifests/{tag}")).await;
            get.is(200).has("docker-content-digest", &digest).has_body(&manifest.bytes);
        }
    }
}

/// R-MPT-17: beside a tag as reference, the parameter means nothing.
#[tokio::test]
async fn tag_parameters_beside_a_tag_are_ignored() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = prepared(&alice).await;
    let manifest = Manifest::image(&descriptor(EMPTY_JSON, b"{}"), &[], &json!({}));
    alice.put_manifest(&app, "v1?tag=other&tag=.bad", &manifest).await.is(201).lacks("oci-tag");
    alice.push_manifest(&app, &manifest.digest(), &manifest).await.lacks("oci-tag");
    assert_eq!(alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags"), ["v1"]);
}

/// R-MPT-17: far too many tags are refused together.
#[tokio::test]
async fn too_many_tags_store_nothing() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = prepared(&alice).await;
    let manifest = Manifest::image(&descriptor(EMPTY_JSON, b"{}"), &[], &json!({}));
    let query: Vec<_> = (0..1000).map(|n| format!("tag=t{n}")).collect();
    let reference = format!("{}?{}", manifest.digest(), query.join("&"));
    alice.put_manifest(&app, &reference, &manifest).await.is_error(414, "UNSUPPORTED");
    alice.get(&format!("/v2/{app}/manifests/{}", manifest.digest())).await.is_error(404, "MANIFEST_UNKNOWN");
    assert_eq!(alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags"), [""; 0]);
}

/// R-MPT-16, I3: a push that is refused for its references moves no tag.
#[tokio::test]
async fn a_refused_push_changes_no_tag() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    let broken = Image::unique();
    alice.put_manifest(&app, "v1", &broken.manifest).await.is_error(400, "MANIFEST_BLOB_UNKNOWN");
    let reference = format!("{}?tag=v1&tag=v2", broken.digest());
    alice.put_manifest(&app, &reference, &broken.manifest).await.is_error(400, "MANIFEST_BLOB_UNKNOWN");
    alice.get(&format!("/v2/{app}/manifests/v1")).await.is(200).has_body(&image.manifest.bytes);
    assert_eq!(alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags"), ["v1"]);
}

/// R-MPT-21, R-MPT-06: docker's types follow the same rules.
#[tokio::test]
async fn docker_manifests_are_validated_too() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = prepared(&alice).await;
    let missing = descriptor("application/vnd.docker.container.image.v1+json", &unique(5));
    let image = json!({ "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": missing, "layers": [] });
    let reply = alice.put_manifest(&app, "v1", &Manifest::new(DOCKER_MANIFEST, &image)).await;
    reply.is_error(400, "MANIFEST_BLOB_UNKNOWN");
    let list = json!({ "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [], "config": missing });
    alice.put_manifest(&app, "v1", &Manifest::new(DOCKER_LIST, &list)).await.is_error(400, "MANIFEST_INVALID");
    let unconfigured = json!({ "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "layers": [] });
    let reply = alice.put_manifest(&app, "v1", &Manifest::new(DOCKER_MANIFEST, &unconfigured)).await;
    reply.is_error(400, "MANIFEST_INVALID");
}
