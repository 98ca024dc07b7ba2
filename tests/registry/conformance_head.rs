//! The checks of the conformance suite at the specification's head: every way of pushing a
//! blob, in both algorithms, and every data set of manifests through its whole life.

use std::slice;

use serde_json::{Value, json};

use crate::harness::{
    Client, DOCKER_MANIFEST, EMPTY_JSON, IMAGE_INDEX, IMAGE_MANIFEST, Manifest, TestRegistry, descriptor, sha256,
    sha512, unique, with_query,
};

type Hash = fn(&[u8]) -> String;

const ALGORITHMS: [Hash; 2] = [sha256, sha512];

/// A blob is asked for, read, deleted, and gone.
async fn children(client: &Client, repository: &str, digest: &str, bytes: &[u8]) {
    let path = format!("/v2/{repository}/blobs/{digest}");
    let head = client.head(&path).await;
    head.is(200).has("content-length", &bytes.len().to_string()).has("docker-content-digest", digest).has_body(b"");
    client.get(&path).await.is(200).has_body(bytes).has("docker-content-digest", digest);
    client.delete(&path).await.is(202);
    client.head(&path).await.is(404);
    client.get(&path).await.is(404);
}

/// H-01, H-02, H-03: before anything was pushed.
#[tokio::test]
async fn empty() {
    let registry = TestRegistry::shared().await;
    let user = registry.user("suite").await;
    let repository = user.repository("repo1");
    user.get("/v2/").await.is(200);
    user.get(&format!("/v2/{repository}/tags/list")).await.is_error(404, "NAME_UNKNOWN");
    let referrers = user.get(&format!("/v2/{repository}/referrers/{}", sha256(b"missing"))).await;
    referrers.is(200).has("content-type", IMAGE_INDEX);
    let expected = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [] });
    assert_eq!(referrers.json(), expected);
}

/// H-10, H-11, H-12, H-13, H-14, H-19, H-20, H-24, H-25, H-31, H-32, H-33: every way of pushing a blob.
#[tokio::test]
async fn blobs() {
    let registry = TestRegistry::shared().await;
    let user = registry.user("suite").await;
    let repository = user.repository("repo1");
    let uploads = format!("/v2/{repository}/blobs/uploads/");
    for hash in ALGORITHMS {
        for bytes in [unique(4096), Vec::new(), b"{}".to_vec()] {
            let digest = hash(&bytes);
            let length = bytes.len();
            let missing = user.get(&format!("/v2/{repository}/blobs/{digest}")).await;
            assert_eq!(missing.status, 404, "{missing:?}");

            user.post(&with_query(&uploads, "digest", &digest)).body(bytes.clone()).await.is(201);
            children(&user, &repository, &digest, &bytes).await;

            let location = user.start_upload(&repository).await;
            let put = user.put(&with_query(&location, "digest", &digest)).body(bytes.clone()).await;
            user.get(put.is(201).header("location")).await.is(200).has_body(&bytes);
            children(&user, &repository, &digest, &bytes).await;

            let location = user.start_upload(&repository).await;
            let patch = user.patch(&location).chunked(&[&bytes]).await;
            user.put(&with_query(patch.is(202).header("location"), "digest", &digest)).await.is(201);
            children(&user, &repository, &digest, &bytes).await;
            if length < 3 {
                continue;
            }
            for (chunks, put_last) in [(1, false), (3, false), (3, true)] {
                let mut location = user.start_upload(&repository).await;
                let size = length.div_ceil(chunks);
                let mut first = 0;
                for (n, chunk) in bytes.chunks(size).enumerate() {
                    let range = format!("{first}-{}", first + chunk.len() - 1);
                    first += chunk.len();
                    if put_last && n == chunks - 1 {
                        let put = user.put(&with_query(&location, "digest", &digest)).header("content-range", &range);
                        put.body(chunk.to_vec()).await.is(201);
                        break;
                    }
                    let patch = user.patch(&location).header("content-range", &range).body(chunk.to_vec()).await;
                    location = patch.is(202).header("location").to_owned();
                }
                if !put_last {
                    user.put(&with_query(&location, "digest", &digest)).await.is(201);
                }
                children(&user, &repository, &digest, &bytes).await;
            }
        }
    }
}

/// H-15, H-16, H-17, H-18: mounts from a public repository, with and without its name, of what is missing; and a cancelled upload.
#[tokio::test]
async fn mounts_and_cancel() {
    let registry = TestRegistry::shared().await;
    let user = registry.user("suite").await;
    let (one, two) = (user.repository("repo1"), user.repository("repo2"));
    let uploads = format!("/v2/{two}/blobs/uploads/");
    user.push_blob(&one, b"{}").await;
    user.set_visibility(&one, "public").await;
    let scopes = [format!("repository:{two}:pull,push"), format!("repository:{one}:pull")];
    for hash in ALGORITHMS {
        for from in [Some(&one), None] {
            let bytes = unique(2000);
            let digest = hash(&bytes);
            user.push_blob_as(&one, &bytes, &digest).await;
            let mut path = with_query(&uploads, "mount", &digest);
            if let Some(from) = from {
                path = with_query(&path, "from", from);
            }
            let client = user.scoped(&[&scopes[0], &scopes[1]]).await;
            let location = client.post(&path).await.is(201).header("location").to_owned();
            client.get(&location).await.is(200).has_body(&bytes);
            children(&user, &two, &digest, &bytes).await;
        }
        let bytes = unique(2000);
        let path = with_query(&with_query(&uploads, "mount", &hash(&bytes)), "from", &one);
        let location = user.post(&path).await.is(202).header("location").to_owned();
        user.put(&with_query(&location, "digest", &hash(&bytes))).body(bytes.clone()).await.is(201);
        children(&user, &two, &hash(&bytes), &bytes).await;
    }
    let location = user.start_upload(&two).await;
    user.delete(&location).await.is(204);
    user.get(&location).await.is(404);
}

/// H-21, H-22, H-26, H-27, H-28, H-29, H-30: chunks out of order, and digests that do not match.
#[tokio::test]
async fn refused_uploads() {
    let registry = TestRegistry::shared().await;
    let user = registry.user("suite").await;
    let repository = user.repository("repo1");
    for hash in ALGORITHMS {
        for put_last in [false, true] {
            let bytes = unique(3072);
            let digest = hash(&bytes);
            let mut location = user.start_upload(&repository).await;
            for n in 0..3 {
                let (first, last) = (n * 1024, n * 1024 + 1023);
                let wrong = format!("{}-{}", first + 512, last + 512);
                let chunk = bytes[first..=last].to_vec();
                let put = put_last && n == 2;
                let closing = with_query(&location, "digest", &digest);
                let refused = if put { user.put(&closing) } else { user.patch(&location) };
                refused.header("content-range", &wrong).body(chunk.clone()).await.is(416);
                let status = user.get(if put { &closing } else { &location }).await;
                let range = if n == 0 { "0-0".to_owned() } else { format!("0-{}", first - 1) };
                location = status.is(204).has("range", &range).header("location").to_owned();
                let right = format!("{first}-{last}");
                if put {
                    let closing = with_query(&location, "digest", &digest);
                    user.put(&closing).header("content-range", &right).body(chunk).await.is(201);
                } else {
                    let patch = user.patch(&location).header("content-range", &right).body(chunk).await;
                    location = patch.is(202).header("location").to_owned();
                }
            }
            if !put_last {
                user.put(&with_query(&location, "digest", &digest)).await.is(201);
            }
            children(&user, &repository, &digest, &bytes).await;
        }
        let bytes = unique(3072);
        let wrong = hash(b"other");
        let post = with_query(&format!("/v2/{repository}/blobs/uploads/"), "digest", &wrong);
        user.post(&post).body(bytes.clone()).await.is_error(400, "DIGEST_INVALID");
        for chunks in [vec![], vec![(0, 3071)], vec![(0, 1023), (1024, 3071)]] {
            let location = user.start_upload(&repository).await;
            for (first, last) in &chunks {
                let patch = user.patch(&location).header("content-range", &format!("{first}-{last}"));
                patch.body(bytes[*first..=*last].to_vec()).await.is(202);
            }
            let rest = if chunks.is_empty() { bytes.clone() } else { Vec::new() };
            user.put(&with_query(&location, "digest", &wrong)).body(rest).await.is_error(400, "DIGEST_INVALID");
        }
        let streamed = user.start_upload(&repository).await;
        user.patch(&streamed).chunked(&[&bytes]).await.is(202);
        user.put(&with_query(&streamed, "digest", &wrong)).await.is_error(400, "DIGEST_INVALID");
    }
}

/// One manifest of a data set, and what a referrers list says of it.
struct Entry {
    manifest: Manifest,
    subject: Option<String>,
    artifact_type: Option<&'static str>,
}

fn plain(manifest: Manifest) -> Entry {
    Entry { manifest, subject: None, artifact_type: None }
}

/// The whole life of a data set, children first, deleted newest first.
async fn live(client: &Client, repository: &str, hash: Hash, entries: &[Entry]) {
    for (n, entry) in entries.iter().enumerate() {
        let digest = hash(&entry.manifest.bytes);
        for reference in [digest.clone(), format!("tag{n}")] {
            // A tag names the sha256 digest, unless it came with another.
            let digest = if reference == digest { digest.clone() } else { entry.manifest.digest() };
            if hash(b"") != sha256(b"") && reference.starts_with("tag") {
                continue;
            }
            let put = client.push_manifest(repository, &reference, &entry.manifest).await;
            put.has("docker-content-digest", &digest);
            if let Some(subject) = &entry.subject {
                put.has("oci-subject", subject);
            }
            for path in [put.header("location").to_owned(), format!("/v2/{repository}/manifests/{reference}")] {
                for reply in [client.get(&path).await, client.head(&path).await] {
                    reply.is(200).has("content-type", &entry.manifest.media_type).has("docker-content-digest", &digest);
                    reply.has("content-length", &entry.manifest.bytes.len().to_string());
                }
                client.get(&path).await.has_body(&entry.manifest.bytes);
            }
        }
    }
    if hash(b"") == sha256(b"") {
        let mut tags: Vec<_> = (0..entries.len()).map(|n| format!("tag{n}")).collect();
        tags.sort();
        let list = format!("/v2/{repository}/tags/list");
        assert_eq!(client.get(&list).await.strings("tags"), tags);
        let middle = tags.len() / 2;
        assert_eq!(client.get(&format!("{list}?last={}", tags[middle])).await.strings("tags"), tags[middle + 1..]);
    }
    for subject in entries.iter().filter_map(|entry| entry.subject.as_ref()) {
        let path = format!("/v2/{repository}/referrers/{subject}");
        let listed = client.get(&path).await.is(200).json()["manifests"].clone();
        for entry in entries.iter().filter(|entry| entry.subject.as_ref() == Some(subject)) {
            let digest = hash(&entry.manifest.bytes);
            let found = listed.as_array().unwrap().iter().find(|found| found["digest"] == digest.as_str());
            let found = found.unwrap_or_else(|| panic!("{digest} is not listed: {listed}"));
            let content = entry.manifest.json();
            assert_eq!(found["size"], entry.manifest.bytes.len());
            assert_eq!(found["mediaType"], entry.manifest.media_type.as_str());
            assert_eq!(found.get("artifactType").and_then(Value::as_str), entry.artifact_type);
            assert_eq!(found.get("annotations"), content.get("annotations"));
            if let Some(artifact_type) = entry.artifact_type {
                let filtered = client.get(&with_query(&path, "artifactType", artifact_type)).await;
                filtered.is(200).has("oci-filters-applied", "artifactType");
                let filtered = filtered.json()["manifests"].as_array().unwrap().clone();
                assert!(filtered.iter().any(|found| found["digest"] == digest.as_str()), "{filtered:?}");
                assert!(filtered.iter().all(|found| found["artifactType"] == artifact_type), "{filtered:?}");
            }
        }
    }
    for (n, entry) in entries.iter().enumerate().rev() {
        if hash(b"") == sha256(b"") {
            let tag = format!("/v2/{repository}/manifests/tag{n}");
            client.delete(&tag).await.is(202);
            client.head(&tag).await.is(404);
        }
        let path = format!("/v2/{repository}/manifests/{}", hash(&entry.manifest.bytes));
        client.delete(&path).await.is(202);
        client.head(&path).await.is(404);
    }
}

fn described(hash: Hash, media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": hash(bytes), "size": bytes.len() })
}

/// H-40, H-41, H-43, H-44, H-45, H-55, H-57, H-70, H-71, H-72, H-73, H-75: images and indexes, also wholly in sha512.
#[tokio::test]
async fn images_and_indexes() {
    for hash in ALGORITHMS {
        let registry = TestRegistry::shared().await;
        let user = registry.user("suite").await;
        let repository = user.repository("repo1");
        let (config, layer) = (unique(80), unique(1000));
        for blob in [&config, &layer] {
            user.push_blob_as(&repository, blob, &hash(blob)).await;
        }
        let config = described(hash, "application/vnd.oci.image.config.v1+json", &config);
        let gzip = described(hash, "application/vnd.oci.image.layer.v1.tar+gzip", &layer);
        let tar = described(hash, "application/vnd.oci.image.layer.v1.tar", &layer);
        let image = Manifest::image(&config, &[gzip], &json!({}));
        let uncompressed = Manifest::image(&config, &[tar], &json!({}));
        let no_layers = Manifest::image(&config, &[], &json!({}));
        let child = |manifest: &Manifest| described(hash, &manifest.media_type, &manifest.bytes);
        let index = Manifest::index(&[child(&image), child(&uncompressed)], &json!({}));
        let nested = Manifest::index(&[child(&index)], &json!({}));
        let empty = Manifest::index(&[], &json!({}));
        let entries = [image, uncompressed, no_layers, index, nested, empty].map(plain);
        live(&user, &repository, hash, &entries).await;
    }
}

/// H-46, H-47, H-48, H-49, H-50, H-51, H-52, H-53, H-54, H-70, H-74: artifacts, subjects, and fields that nobody knows.
#[tokio::test]
async fn artifacts_and_subjects() {
    let registry = TestRegistry::shared().await;
    let user = registry.user("suite").await;
    let repository = user.repository("repo1");
    let (config, layer) = (unique(80), unique(1000));
    for blob in [&config[..], &layer, b"{}"] {
        user.push_blob(&repository, blob).await;
    }
    let config = descriptor("application/vnd.oci.image.config.v1+json", &config);
    let gzip = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer);
    let empty = descriptor(EMPTY_JSON, b"{}");
    let image = Manifest::image(&config, slice::from_ref(&gzip), &json!({}));
    let artifact =
        Manifest::image(&empty, slice::from_ref(&empty), &json!({ "artifactType": "application/vnd.example+type" }));
    let bare = Manifest::image(&empty, &[], &json!({ "artifactType": "application/vnd.example+bare" }));
    let artifact_index =
        Manifest::index(&[artifact.descriptor()], &json!({ "artifactType": "application/vnd.example+index" }));
    let mut data = empty.clone();
    data["data"] = json!("e30=");
    let data_field = Manifest::image(&data, &[data.clone()], &json!({}));
    let mut foreign = descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", &unique(10));
    foreign["urls"] = json!(["https://store.example/layer"]);
    let foreign = Manifest::image(&config, &[foreign, gzip.clone()], &json!({}));
    let mut odd = gzip;
    odd["org.example.custom"] = json!("field");
    let custom = Manifest::image(&config, &[odd], &json!({ "org.example.custom": { "field": [1, 2] } }));

    let of = image.descriptor();
    let missing = descriptor(IMAGE_MANIFEST, b"missing subject");
    let notes = json!({ "org.example.note": "x" });
    let sbom = Manifest::image(
        &empty,
        slice::from_ref(&empty),
        &json!({ "artifactType": "application/vnd.example.sbom+json", "subject": of, "annotations": notes }),
    );
    let typed = descriptor("application/vnd.example.config+json", b"{}");
    let by_config = Manifest::image(&typed, slice::from_ref(&empty), &json!({ "subject": of }));
    let index = Manifest::index(&[], &json!({ "artifactType": "application/vnd.example.list", "subject": of }));
    let lonely = Manifest::image(&empty, &[], &json!({ "artifactType": "a/lonely", "subject": missing }));
    let subject = image.digest();
    let referring =
        |manifest, subject: String, artifact_type| Entry { manifest, subject: Some(subject), artifact_type };
    let entries = [
        plain(image),
        plain(artifact),
        plain(bare),
        plain(artifact_index),
        plain(data_field),
        plain(foreign),
        plain(custom),
        referring(sbom, subject.clone(), Some("application/vnd.example.sbom+json")),
        referring(by_config, subject.clone(), Some("application/vnd.example.config+json")),
        referring(index, subject, Some("application/vnd.example.list")),
        referring(lonely, sha256(b"missing subject"), Some("a/lonely")),
    ];
    live(&user, &repository, sha256, &entries).await;
}

/// H-60, H-80, H-81, H-82, H-83: digests that do not match or are none, and what is missing.
#[tokio::test]
async fn refused_manifests() {
    let registry = TestRegistry::shared().await;
    let user = registry.user("suite").await;
    let repository = user.repository("repo1");
    let image = user.push_new_image(&repository, "v1").await;
    for hash in ALGORITHMS {
        user.put_manifest(&repository, &hash(b"other"), &image.manifest).await.is_error(400, "DIGEST_INVALID");
        user.get(&format!("/v2/{repository}/manifests/{}", hash(b"missing"))).await.is_error(404, "MANIFEST_UNKNOWN");
    }
    user.get(&format!("/v2/{repository}/manifests/missing")).await.is_error(404, "MANIFEST_UNKNOWN");
    user.put_manifest(&repository, "sha256:baddigeststring", &image.manifest).await.is_error(400, "DIGEST_INVALID");
    user.get(&format!("/v2/{repository}/manifests/sha256:baddigeststring")).await.is_error(400, "DIGEST_INVALID");
    let docker = Manifest { media_type: DOCKER_MANIFEST.to_owned(), ..image.manifest };
    // The type of the body is another one.
    user.put_manifest(&repository, "v2", &docker).await.is_error(400, "MANIFEST_INVALID");
}

/// H-90: content that is there already can be read by those who cannot push.
#[tokio::test]
async fn read_only() {
    let registry = TestRegistry::shared().await;
    let owner = registry.user("owner").await;
    let repository = owner.repository("repo1");
    let image = owner.push_new_image(&repository, "v1").await;
    owner.set_visibility(&repository, "public").await;
    let reader = registry.anonymous().scoped(&[&format!("repository:{repository}:pull")]).await;
    assert_eq!(reader.get(&format!("/v2/{repository}/tags/list")).await.strings("tags"), ["v1"]);
    for reference in ["v1", &image.digest()] {
        reader.get(&format!("/v2/{repository}/manifests/{reference}")).await.is(200).has_body(&image.manifest.bytes);
    }
    for blob in image.blobs() {
        reader.get(&format!("/v2/{repository}/blobs/{}", sha256(blob))).await.is(200).has_body(blob);
    }
    reader.get(&format!("/v2/{repository}/referrers/{}", image.digest())).await.is(200);
    reader.post(&format!("/v2/{repository}/blobs/uploads/")).await.is_error(401, "UNAUTHORIZED");
}
