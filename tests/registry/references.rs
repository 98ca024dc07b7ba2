//! Tags and digests: which texts are one, and what happens to the others.

use serde_json::json;

use crate::harness::{Client, Image, Manifest, TestRegistry, sha256, sha512, unique};

const UNKNOWN_SESSION: &str = "00000000-0000-4000-8000-000000000000";

async fn pushed(alice: &Client) -> (String, Image) {
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "latest").await;
    (app, image)
}

/// R-TAG-01: up to 128 characters, the first one no `.` or `-`, and case counts.
#[tokio::test]
async fn every_legal_tag_can_be_pushed() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = pushed(&alice).await;
    let longest = "t".repeat(128);
    let signature = sha256(b"x").replace(':', "-") + ".sig";
    for tag in ["a", "_", "0", "A.b-c_d", "1.0_abc", "_.-", "sha256", &longest, &signature] {
        alice.push_manifest(&app, tag, &image.manifest).await;
        alice.get(&format!("/v2/{app}/manifests/{tag}")).await.is(200).has_body(&image.manifest.bytes);
        alice.delete(&format!("/v2/{app}/manifests/{tag}")).await.is(202);
    }
}

/// R-TAG-01: `V1` and `v1` are two tags.
#[tokio::test]
async fn tags_differ_by_case() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let upper = alice.push_new_image(&app, "V1").await;
    let lower = alice.push_new_image(&app, "v1").await;
    alice.get(&format!("/v2/{app}/manifests/V1")).await.is(200).has_body(&upper.manifest.bytes);
    alice.get(&format!("/v2/{app}/manifests/v1")).await.is(200).has_body(&lower.manifest.bytes);
}

/// R-TAG-03, R-TAG-02, R-MDL-03, V-P06, V-P10, V-U23: what is neither tag nor digest is
/// simply not there, and cannot be put there.
#[tokio::test]
async fn an_illegal_tag_is_unknown_to_read_and_invalid_to_write() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = pushed(&alice).await;
    let too_long = "t".repeat(129);
    let tags =
        [".INVALID_MANIFEST_NAME", "-a", ".a", "a+b", "a@b", "a%20b", "%C3%A4", "a%25b", "a!", "%20a", &too_long];
    for tag in tags {
        let path = format!("/v2/{app}/manifests/{tag}");
        alice.get(&path).await.is_error(404, "MANIFEST_UNKNOWN");
        alice.head(&path).await.is(404);
        alice.delete(&path).await.is_error(404, "MANIFEST_UNKNOWN");
        alice.put_manifest(&app, tag, &image.manifest).await.is_error(400, "MANIFEST_INVALID");
    }
    assert_eq!(alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags"), ["latest"]);
}

/// R-TAG-03, R-MPT-17: an illegal tag among good ones stores none of them.
#[tokio::test]
async fn an_illegal_tag_parameter_stores_nothing() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, _) = pushed(&alice).await;
    let image = Image::unique();
    for blob in image.blobs() {
        alice.push_blob(&app, blob).await;
    }
    let digest = image.digest();
    for bad in [".a", "-a", "a%2Bb", "a/b", "", "a:b", &"t".repeat(129)] {
        let reference = format!("{digest}?tag=good&tag={bad}");
        alice.put_manifest(&app, &reference, &image.manifest).await.is_error(400, "MANIFEST_INVALID");
    }
    alice.get(&format!("/v2/{app}/manifests/good")).await.is_error(404, "MANIFEST_UNKNOWN");
    alice.get(&format!("/v2/{app}/manifests/{digest}")).await.is_error(404, "MANIFEST_UNKNOWN");
}

fn malformed() -> Vec<String> {
    let hex = "a".repeat(64);
    let mut digests: Vec<String> = [
        "sha256:totallywrong",
        "sha256:baddigeststring",
        "sha256:",
        ":abc",
        ":",
        "a:b:c",
        "sha256:a%20b",
        "sha 256:abc",
    ]
    .map(|text| text.replace(' ', "%20"))
    .into();
    digests.extend([
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}a"),
        format!("sha256:{}g", &hex[1..]),
        format!("SHA256:{hex}"),
        format!("sha512:{hex}"),
        format!("sha256:{hex}{hex}"),
        format!("-sha256:{hex}"),
        format!("sha256-:{hex}"),
        format!("sha256:{}:", &hex[1..]),
    ]);
    digests
}

/// R-DIG-01, R-DIG-02, R-REF-03, V-P14, H-82, H-83: a malformed digest is 400 wherever it stands.
#[tokio::test]
async fn a_malformed_digest_is_refused_everywhere() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = pushed(&alice).await;
    for digest in malformed() {
        for path in [format!("/v2/{app}/blobs/{digest}"), format!("/v2/{app}/manifests/{digest}")] {
            alice.get(&path).await.is_error(400, "DIGEST_INVALID");
            alice.head(&path).await.is(400);
            alice.delete(&path).await.is_error(400, "DIGEST_INVALID");
        }
        alice.put_manifest(&app, &digest, &image.manifest).await.is_error(400, "DIGEST_INVALID");
        alice.get(&format!("/v2/{app}/referrers/{digest}")).await.is_error(400, "DIGEST_INVALID");
        let post = alice.post(&format!("/v2/{app}/blobs/uploads/?digest={digest}")).body("x").await;
        post.is_error(400, "DIGEST_INVALID");
        let session = alice.start_upload(&app).await;
        alice.put(&format!("{session}?digest={digest}")).body("x").await.is_error(400, "DIGEST_INVALID");
        alice.get(&session).await.is(204).has("range", "0-0");
    }
    for not_a_digest in ["latest", "uploads", "sha256", "a%20b"] {
        let reply = alice.get(&format!("/v2/{app}/referrers/{not_a_digest}")).await;
        reply.is_error(400, "DIGEST_INVALID");
        // `blobs/uploads` is an address of its own.
        if not_a_digest != "uploads" {
            alice.get(&format!("/v2/{app}/blobs/{not_a_digest}")).await.is_error(400, "DIGEST_INVALID");
        }
    }
}

/// R-DIG-03: a digest of an algorithm that we lack is well formed and not here.
#[tokio::test]
async fn an_unsupported_algorithm_is_unknown_to_read_and_invalid_to_write() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = pushed(&alice).await;
    let hex = "a".repeat(64);
    let digests = [
        format!("blake3:{hex}"),
        format!("sha384:{hex}{}", &hex[..32]),
        "sha-256:abc".into(),
        "multi+sha.1:a=b_c-D".into(),
    ];
    for digest in digests {
        let blob = format!("/v2/{app}/blobs/{digest}");
        let manifest = format!("/v2/{app}/manifests/{digest}");
        alice.get(&blob).await.is_error(404, "BLOB_UNKNOWN");
        alice.head(&blob).await.is(404);
        alice.delete(&blob).await.is_error(404, "BLOB_UNKNOWN");
        alice.get(&manifest).await.is_error(404, "MANIFEST_UNKNOWN");
        alice.head(&manifest).await.is(404);
        alice.delete(&manifest).await.is_error(404, "MANIFEST_UNKNOWN");
        let referrers = alice.get(&format!("/v2/{app}/referrers/{digest}")).await;
        assert_eq!(referrers.is(200).json()["manifests"], json!([]));
        alice.put_manifest(&app, &digest, &image.manifest).await.is_error(400, "DIGEST_INVALID");
        let escaped = digest.replace('+', "%2B").replace('=', "%3D");
        let post = alice.post(&format!("/v2/{app}/blobs/uploads/?digest={escaped}")).body("x").await;
        post.is_error(400, "DIGEST_INVALID");
        let session = alice.start_upload(&app).await;
        alice.put(&format!("{session}?digest={escaped}")).body("x").await.is_error(400, "DIGEST_INVALID");
        alice.post(&format!("/v2/{app}/blobs/uploads/?mount={escaped}")).await.is(202);
    }
    let post = alice.post(&format!("/v2/{app}/blobs/uploads/?digest-algorithm=blake3")).await;
    post.is_error(400, "DIGEST_INVALID");
}

/// R-DIG-02, R-TAG-03: the reference is judged before the credentials.
#[tokio::test]
async fn a_malformed_reference_is_refused_before_anybody_is_asked_who_they_are() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    nobody.put("/v2/a/manifests/sha256:bad").body("{}").await.is_error(400, "DIGEST_INVALID");
    nobody.put("/v2/a/manifests/.bad").body("{}").await.is_error(400, "MANIFEST_INVALID");
    nobody.get("/v2/a/blobs/sha256:bad").await.is_error(400, "DIGEST_INVALID");
    nobody.get("/v2/a/referrers/sha256:bad").await.is_error(400, "DIGEST_INVALID");
}

/// R-DIG-04, R-DIG-06, R-BLB-03: the same bytes have two addresses, and each reply names the one asked for.
#[tokio::test]
async fn sha512_is_an_address_of_its_own() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let bytes = unique(5000);
    let (short, long) = (sha256(&bytes), sha512(&bytes));

    // No `digest-algorithm`, and the first chunk is hashed before anybody knows.
    let session = alice.start_upload(&app).await;
    alice.patch(&session).body(bytes[..3000].to_vec()).await.is(202);
    let put = alice.put(&format!("{session}?digest={long}")).body(bytes[3000..].to_vec()).await;
    put.is(201).has("docker-content-digest", &long).has("location", &format!("/v2/{app}/blobs/{long}"));

    let reply = alice.get(&format!("/v2/{app}/blobs/{long}")).await;
    reply.is(200).has_body(&bytes).has("docker-content-digest", &long);
    let other = alice.get(&format!("/v2/{app}/blobs/{short}")).await;
    if other.status == 200 {
        other.has_body(&bytes).has("docker-content-digest", &short);
    } else {
        other.is_error(404, "BLOB_UNKNOWN");
    }
    alice.push_blob(&app, &bytes).await;
    alice.head(&format!("/v2/{app}/blobs/{short}")).await.is(200).has("docker-content-digest", &short);
    alice.head(&format!("/v2/{app}/blobs/{long}")).await.is(200).has("docker-content-digest", &long);
}

/// R-DIG-04, R-MGT-04, H-57: a manifest lives under the digest it was pushed with.
#[tokio::test]
async fn a_manifest_pushed_by_sha512_is_served_by_it() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = Image::unique();
    for blob in image.blobs() {
        alice.push_blob(&app, blob).await;
    }
    let long = sha512(&image.manifest.bytes);
    let put = alice.push_manifest(&app, &long, &image.manifest).await;
    put.has("docker-content-digest", &long).has("location", &format!("/v2/{app}/manifests/{long}"));
    for reply in [alice.get(&format!("/v2/{app}/manifests/{long}")).await, alice.get(put.header("location")).await] {
        reply.is(200).has_body(&image.manifest.bytes).has("docker-content-digest", &long);
    }
    let index = Manifest::index(
        &[json!({ "mediaType": image.manifest.media_type, "digest": long, "size": image.manifest.bytes.len() })],
        &json!({}),
    );
    alice.push_manifest(&app, &sha512(&index.bytes), &index).await;
}

/// R-DIG-05, R-DIG-01: the vectors of the specification hash as they should, in both algorithms.
#[tokio::test]
async fn the_known_vectors_are_accepted() {
    let vectors = [
        (
            "",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ),
        (
            "{}",
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "27c74670adb75075fad058d5ceaf7b20c4e7786c83bae8a32f626f9782af34c9a33c2046ef60fd2a7878d378e29fec851806bbd9a67878f3a9f1cda4830763fd",
        ),
        (
            "hello world",
            "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
            "309ecc489c12d6eb4cc40f50c902f2b4d0ed77ee511a7c7a9bcd3ca86d4cd86f989dd35bc5ff499670da34255b45b0cfd830e81f605dcf7dc5542e93ae9cd76f",
        ),
    ];
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    for (content, short, long) in vectors {
        for digest in [format!("sha256:{short}"), format!("sha512:{long}")] {
            alice.push_blob_as(&app, content.as_bytes(), &digest).await;
            alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(content.as_bytes());
        }
    }
}

/// R-DIG-07, R-UPL-38: `%3A` and `:` are the same, in paths and in queries.
#[tokio::test]
async fn a_percent_encoded_digest_is_the_same_digest() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, image) = pushed(&alice).await;
    let layer = sha256(&image.layers[0]).replace(':', "%3A");
    let manifest = image.digest().replace(':', "%3a");
    let reply = alice.get(&format!("/v2/{app}/blobs/{layer}")).await;
    reply.is(200).has_body(&image.layers[0]).has("docker-content-digest", &sha256(&image.layers[0]));
    alice.get(&format!("/v2/{app}/manifests/{manifest}")).await.is(200).has_body(&image.manifest.bytes);
    alice.get(&format!("/v2/{app}/referrers/{manifest}")).await.is(200);
    for encoded in [sha256(b"abc"), sha256(b"abc").replace(':', "%3A"), sha256(b"abc").replace(':', "%3a")] {
        let session = alice.start_upload(&app).await;
        alice.put(&format!("{session}?digest={encoded}")).body("abc").await.is(201);
    }
    let twice = sha256(b"abc").replace(':', "%253A");
    alice.get(&format!("/v2/{app}/blobs/{twice}")).await.is_error(400, "DIGEST_INVALID");
    alice.get(&format!("/v2/{app}/blobs/uploads/{UNKNOWN_SESSION}")).await.is_error(404, "BLOB_UPLOAD_UNKNOWN");
}
