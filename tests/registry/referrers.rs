//! end-12: what refers to a manifest.

use std::slice;

use serde_json::{Value, json};

use crate::harness::{
    Client, EMPTY_JSON, IMAGE_INDEX, IMAGE_MANIFEST, Image, Manifest, Reply, TestRegistry, descriptor, sha256, sha512,
};

/// The descriptors of a referrers reply, in the order of their digests.
#[track_caller]
fn listed(reply: &Reply) -> Vec<Value> {
    reply.is(200).has("content-type", IMAGE_INDEX);
    let body = reply.json();
    assert_eq!((&body["schemaVersion"], &body["mediaType"]), (&json!(2), &json!(IMAGE_INDEX)), "{reply:?}");
    let mut manifests = body["manifests"].as_array().expect("an array").clone();
    manifests.sort_by_key(|manifest| manifest["digest"].to_string());
    manifests
}

/// What a referrers list says of a manifest.
fn entry(manifest: &Manifest, artifact_type: Option<&str>, annotations: &Value) -> Value {
    let mut entry = manifest.descriptor();
    if let Some(artifact_type) = artifact_type {
        entry["artifactType"] = json!(artifact_type);
    }
    if !annotations.is_null() {
        entry["annotations"] = annotations.clone();
    }
    entry
}

fn sorted(mut entries: Vec<Value>) -> Vec<Value> {
    entries.sort_by_key(|entry| entry["digest"].to_string());
    entries
}

async fn prepared(alice: &Client) -> (String, Image) {
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    alice.push_blob(&app, b"{}").await;
    (app, image)
}

/// R-REF-01, R-REF-02, R-AUZ-07, H-03, V-D06, C-ORA-05: nothing refers to what nobody knows, and that is an answer.
#[tokio::test]
async fn the_unknown_has_no_referrers() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let zeros = format!("sha256:{}", "0".repeat(64));
    let app = alice.repository("app");
    let empty = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [] });
    for digest in [&zeros, &sha256(b"unknown"), &sha512(b"unknown")] {
        let reply = alice.get(&format!("/v2/{app}/referrers/{digest}")).await;
        reply.is(200).has("content-type", IMAGE_INDEX).lacks("oci-filters-applied").lacks("link");
        assert_eq!(reply.json(), empty);
    }
    alice.push_blob(&app, b"{}").await;
    assert_eq!(alice.get(&format!("/v2/{app}/referrers/{zeros}")).await.is(200).json(), empty);
}

/// R-REF-04, R-REF-05, R-REF-06, R-REF-10, R-REF-11, R-MPT-13, R-MPT-14, H-49, H-50, H-74, V-D05, V-D07: images and indexes, pushed
/// before and after the subject, each described as itself.
#[tokio::test]
async fn everything_that_names_the_subject_is_listed() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, _) = prepared(&alice).await;
    let subject = Image::unique();
    let of = subject.manifest.descriptor();
    let notes = json!({ "org.opencontainers.image.created": "2026-01-01", "b": "ä", "": "x" });
    let empty = descriptor(EMPTY_JSON, b"{}");
    let plain = descriptor("application/vnd.example.config+json", b"{}");
    let named = Manifest::referrer(&of, "application/vnd.example.sbom+json", &notes);
    let by_config = Manifest::image(&plain, &[], &json!({ "subject": of, "annotations": { "n": "1" } }));
    let empty_type = Manifest::image(&plain, slice::from_ref(&empty), &json!({ "subject": of, "artifactType": "" }));
    let index = Manifest::index(&[], &json!({ "subject": of, "artifactType": "a/index", "annotations": { "n": "2" } }));
    let bare_index = Manifest::index(&[], &json!({ "subject": of }));
    let none = Manifest::image(&empty, &[], &json!({ "subject": of, "annotations": {} }));

    for manifest in [&named, &by_config, &index] {
        let put = alice.push_manifest(&app, &manifest.digest(), manifest).await;
        put.has("oci-subject", &subject.digest());
    }
    alice.push_image(&app, "subject", &subject).await;
    for (n, manifest) in [&empty_type, &bare_index, &none].into_iter().enumerate() {
        alice.push_manifest(&app, &format!("tag{n}"), manifest).await.has("oci-subject", &subject.digest());
    }
    let reply = alice.get(&format!("/v2/{app}/referrers/{}", subject.digest())).await;
    reply.lacks("oci-filters-applied").lacks("link");
    let mut found = listed(&reply);
    for entry in &mut found {
        // Absent, or as empty as it was pushed.
        if entry["annotations"] == json!({}) {
            entry.as_object_mut().unwrap().remove("annotations");
        }
    }
    let expected = vec![
        entry(&named, Some("application/vnd.example.sbom+json"), &notes),
        entry(&by_config, Some("application/vnd.example.config+json"), &json!({ "n": "1" })),
        entry(&empty_type, Some("application/vnd.example.config+json"), &Value::Null),
        entry(&index, Some("a/index"), &json!({ "n": "2" })),
        entry(&bare_index, None, &Value::Null),
        entry(&none, Some(EMPTY_JSON), &Value::Null),
    ];
    assert_eq!(found, sorted(expected));
}

/// R-MPT-14, R-REF-11: a subject is acknowledged each time, and only where there is one.
#[tokio::test]
async fn the_subject_is_acknowledged_each_time() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = prepared(&alice).await;
    let signature = Manifest::referrer(&image.manifest.descriptor(), "a/signature", &json!({}));
    for reference in [&*signature.digest(), &signature.digest(), "tag", "tag", "tag2"] {
        let put = alice.push_manifest(&app, reference, &signature).await;
        put.has("oci-subject", &image.digest());
    }
    alice.push_manifest(&app, "v1", &image.manifest).await.lacks("oci-subject");
    let reply = alice.get(&format!("/v2/{app}/referrers/{}", image.digest())).await;
    assert_eq!(listed(&reply).len(), 1);
}

/// R-REF-04, R-MPT-13, H-51, V-D09: a subject that was never pushed has referrers all the same.
#[tokio::test]
async fn a_subject_need_not_exist() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, _) = prepared(&alice).await;
    for digest in [sha256(b"never pushed"), sha512(b"never pushed")] {
        let subject = json!({ "mediaType": IMAGE_MANIFEST, "digest": digest, "size": 12 });
        let signature = Manifest::referrer(&subject, "a/b", &json!({ "of": digest }));
        alice.push_manifest(&app, &signature.digest(), &signature).await.has("oci-subject", &digest);
        let reply = alice.get(&format!("/v2/{app}/referrers/{digest}")).await;
        assert_eq!(listed(&reply), [entry(&signature, Some("a/b"), &json!({ "of": digest }))]);
    }
}

/// R-REF-04, I4: another repository's signatures, and another digest's, are not listed.
#[tokio::test]
async fn only_this_repository_and_this_digest_count() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = prepared(&alice).await;
    let other = alice.repository("other");
    alice.push_image(&other, "v1", &image).await;
    alice.push_blob(&other, b"{}").await;
    let signature = Manifest::referrer(&image.manifest.descriptor(), "a/b", &json!({}));
    alice.push_manifest(&other, &signature.digest(), &signature).await;
    assert_eq!(listed(&alice.get(&format!("/v2/{app}/referrers/{}", image.digest())).await), [Value::Null; 0]);
    let long = sha512(&image.manifest.bytes);
    assert_eq!(listed(&alice.get(&format!("/v2/{other}/referrers/{long}")).await), [Value::Null; 0]);
    assert_eq!(listed(&alice.get(&format!("/v2/{other}/referrers/{}", image.digest())).await).len(), 1);
}

/// R-REF-04: a manifest under two digests is listed under each.
#[tokio::test]
async fn a_manifest_is_listed_once_per_digest() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = prepared(&alice).await;
    let signature = Manifest::referrer(&image.manifest.descriptor(), "a/b", &json!({}));
    let (short, long) = (signature.digest(), sha512(&signature.bytes));
    for reference in [&*short, "tag", &long, &long] {
        alice.push_manifest(&app, reference, &signature).await;
    }
    let reply = alice.get(&format!("/v2/{app}/referrers/{}", image.digest())).await;
    let digests: Vec<_> = listed(&reply).iter().map(|entry| entry["digest"].clone()).collect();
    assert_eq!(digests, [json!(short), json!(long)]);
}

/// R-REF-14, R-REF-04: a signature may itself be signed.
#[tokio::test]
async fn referrers_may_have_referrers() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = prepared(&alice).await;
    let first = Manifest::referrer(&image.manifest.descriptor(), "a/first", &json!({}));
    let second = Manifest::referrer(&first.descriptor(), "a/second", &json!({}));
    alice.push_manifest(&app, &second.digest(), &second).await;
    alice.push_manifest(&app, &first.digest(), &first).await;
    for (subject, referrer) in [(image.digest(), &first), (first.digest(), &second)] {
        let reply = alice.get(&format!("/v2/{app}/referrers/{subject}")).await;
        assert_eq!(listed(&reply)[0]["digest"], referrer.digest());
    }
}

/// R-REF-07, R-REF-08, R-REF-05, V-D08, C-CTD-09, C-NOT-01: a filter keeps what it names, says that it did, and takes `+` in every spelling.
#[tokio::test]
async fn referrers_are_filtered_by_type() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = prepared(&alice).await;
    let of = image.manifest.descriptor();
    let sbom = Manifest::referrer(&of, "application/vnd.example.sbom+json", &json!({}));
    let signature = Manifest::referrer(&of, "application/vnd.example.sig", &json!({}));
    let by_config =
        Manifest::image(&descriptor("application/vnd.example.config", b"{}"), &[], &json!({ "subject": of }));
    let untyped = Manifest::index(&[], &json!({ "subject": of }));
    for manifest in [&sbom, &signature, &by_config, &untyped] {
        alice.push_manifest(&app, &manifest.digest(), manifest).await;
    }
    let path = format!("/v2/{app}/referrers/{}", image.digest());
    for (query, expected) in [
        ("artifactType=application/vnd.example.sbom%2Bjson", vec![&sbom]),
        ("artifactType=application%2Fvnd.example.sbom%2bjson", vec![&sbom]),
        ("artifactType=application/vnd.example.sbom+json", vec![&sbom]),
        ("artifactType=application/vnd.example.sig", vec![&signature]),
        ("artifactType=application/vnd.example.config", vec![&by_config]),
        ("artifactType=application/vnd.example", vec![]),
        ("artifactType=APPLICATION/vnd.example.sig", vec![]),
        (
            "artifactType=application/vnd.example.sig&artifactType=application/vnd.example.config",
            vec![&signature, &by_config],
        ),
        ("artifactType=a/none&artifactType=application/vnd.example.sig", vec![&signature]),
    ] {
        let reply = alice.get(&format!("{path}?{query}")).await;
        reply.is(200).has("oci-filters-applied", "artifactType");
        let found: Vec<_> = listed(&reply).iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect();
        let mut expected: Vec<_> = expected.iter().map(|manifest| manifest.digest()).collect();
        expected.sort();
        assert_eq!(found, expected, "{query}");
    }
    for query in ["artifactType=", "x=y", "n=100"] {
        let reply = alice.get(&format!("{path}?{query}")).await;
        reply.lacks("oci-filters-applied");
        assert_eq!(listed(&reply).len(), 4, "{query}");
    }
    let unknown = alice.get(&format!("/v2/{app}/referrers/{}?artifactType=a/b", sha256(b"unknown"))).await;
    unknown.is(200).has("oci-filters-applied", "artifactType");
}

/// R-REF-11: gone with its DELETE, and back with its next PUT.
#[tokio::test]
async fn a_deleted_referrer_is_gone_at_once() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = prepared(&alice).await;
    let signature = Manifest::referrer(&image.manifest.descriptor(), "a/b", &json!({}));
    let path = format!("/v2/{app}/referrers/{}", image.digest());
    for _ in 0..3 {
        alice.push_manifest(&app, "sig", &signature).await;
        assert_eq!(listed(&alice.get(&path).await).len(), 1);
        // The tag alone is not what is listed.
        alice.delete(&format!("/v2/{app}/manifests/sig")).await.is(202);
        assert_eq!(listed(&alice.get(&path).await).len(), 1);
        alice.delete(&format!("/v2/{app}/manifests/{}", signature.digest())).await.is(202);
        assert_eq!(listed(&alice.get(&path).await).len(), 0);
    }
}

/// R-REF-13, R-REF-01: signatures survive a restart; there is nothing to switch on or off.
#[tokio::test]
async fn referrers_survive_a_restart() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let (app, image) = prepared(&alice).await;
    let notes = json!({ "by": "us" });
    let signature = Manifest::referrer(&image.manifest.descriptor(), "a/b", &notes);
    alice.push_manifest(&app, &signature.digest(), &signature).await;
    registry.crash();
    let reply = alice.get(&format!("/v2/{app}/referrers/{}", image.digest())).await;
    assert_eq!(listed(&reply), [entry(&signature, Some("a/b"), &notes)]);
}

/// Follows the links from `path`, and gives the digests of each page.
async fn pages(alice: &Client, path: &str, filtered: bool) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let reply = alice.get(&path).await;
        // Clients stop reading there.
        assert!(reply.body.len() < 4 << 20, "{} bytes", reply.body.len());
        assert_eq!(reply.headers.contains_key("oci-filters-applied"), filtered, "{reply:?}");
        pages.push(listed(&reply).iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect());
        next = reply.next();
        if let Some(next) = &next {
            assert!(!filtered || next.contains("artifactType=a%2Fb"), "{next}");
        }
        assert!(pages.len() < 100, "the links never end: {reply:?}");
    }
    pages
}

/// R-REF-09, R-REF-10, R-LOC-06: what does not fit below four mebibytes is linked to, filter and all.
#[tokio::test]
async fn referrers_with_huge_annotations_come_in_pages() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = prepared(&alice).await;
    let mut all = Vec::new();
    let mut wanted = Vec::new();
    for n in 0..8 {
        let kind = if n % 4 == 3 { "a/other" } else { "a/b" };
        let notes = json!({ "n": n.to_string(), "huge": "x".repeat(1_000_000) });
        let manifest = Manifest::referrer(&image.manifest.descriptor(), kind, &notes);
        alice.push_manifest(&app, &manifest.digest(), &manifest).await;
        all.push(manifest.digest());
        if kind == "a/b" {
            wanted.push(manifest.digest());
        }
    }
    let path = format!("/v2/{app}/referrers/{}", image.digest());
    for (query, filtered, mut expected) in [("", false, all), ("?artifactType=a/b", true, wanted)] {
        let found = pages(&alice, &format!("{path}{query}"), filtered).await;
        assert!(found.len() >= 2, "{found:?}");
        let mut found = found.concat();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}

/// R-REF-09, C-ORA-05: a page may be asked to be small; links lead over all of them, each once.
#[tokio::test]
async fn referrers_come_in_pages_of_n() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = prepared(&alice).await;
    let mut all = Vec::new();
    for n in 0..5 {
        let manifest = Manifest::referrer(&image.manifest.descriptor(), "a/b", &json!({ "n": n.to_string() }));
        alice.push_manifest(&app, &manifest.digest(), &manifest).await;
        all.push(manifest.digest());
    }
    all.sort();
    let path = format!("/v2/{app}/referrers/{}", image.digest());
    for (query, filtered) in [("n=2", false), ("n=2&artifactType=a/b", true)] {
        let found = pages(&alice, &format!("{path}?{query}"), filtered).await;
        assert!(found.iter().all(|page| page.len() <= 2) && found.len() >= 3, "{found:?}");
        let mut found = found.concat();
        found.sort();
        assert_eq!(found, all);
    }
}
