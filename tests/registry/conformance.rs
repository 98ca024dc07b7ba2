//! The checks of the released conformance suite (1.1.1), in its order and with its traits:
//! no token is kept, each request is challenged first, and the categories share a namespace.

use std::slice;

use http::Method;
use serde_json::{Value, json};

use crate::harness::{
    Challenge, Client, EMPTY_JSON, IMAGE_INDEX, IMAGE_MANIFEST, Manifest, OCTETS, Reply, TestRegistry, descriptor,
    sha256, unique, with_query,
};

/// One run of the suite: somebody with a password, and two namespaces.
struct Suite {
    user: Client,
    one: String,
    two: String,
}

impl Suite {
    async fn begin(registry: &TestRegistry) -> Self {
        let user = registry.user("suite").await;
        Self { one: user.repository("one"), two: user.repository("two"), user }
    }

    /// A request as reggie makes it: once without a token, then with one for the challenge's scope.
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let call = |client: &Client| {
            let mut call = client.call(method.clone(), path);
            for (name, value) in headers {
                call = call.header(name, value);
            }
            if body.is_empty() { call } else { call.body(body.to_vec()) }
        };
        let first = call(&self.user.without_credentials()).await;
        if first.status != 401 {
            return first;
        }
        let scope = Challenge::of(&first).scope;
        let scopes: Vec<_> = scope.iter().map(String::as_str).collect();
        call(&self.user.scoped(&scopes).await).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], b"").await
    }

    async fn start(&self, repository: &str) -> String {
        let post = self.send(Method::POST, &format!("/v2/{repository}/blobs/uploads/"), &[], b"").await;
        post.is(202).header("location").to_owned()
    }

    async fn push(&self, repository: &str, bytes: &[u8]) -> String {
        let location = self.start(repository).await;
        let put = with_query(&location, "digest", &sha256(bytes));
        let put = self.send(Method::PUT, &put, &[("content-type", OCTETS)], bytes).await;
        assert!(!put.is(201).header("location").is_empty());
        sha256(bytes)
    }

    async fn put_manifest(&self, reference: &str, manifest: &Manifest) -> Reply {
        let path = format!("/v2/{}/manifests/{reference}", self.one);
        let put = self.send(Method::PUT, &path, &[("content-type", &manifest.media_type)], &manifest.bytes).await;
        assert!(!put.is(201).header("location").is_empty());
        put
    }

    async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, &format!("/v2/{}/{path}", self.one), &[], b"").await
    }
}

/// V-P01, V-P02, V-P03, V-P04, V-P05, V-P06, V-P07, V-P08, V-P09, V-P10, V-P11, V-P12, V-P13, V-P14, V-P15: the category Pull.
#[tokio::test]
async fn pull() {
    let registry = TestRegistry::shared().await;
    let suite = Suite::begin(&registry).await;
    let one = &suite.one;
    let layer = unique(100);
    let mut manifests = Vec::new();
    let mut configs = Vec::new();
    suite.push(one, &layer).await;
    for reference in [Some("tagtest0"), None] {
        let config = unique(60);
        suite.push(one, &config).await;
        let mut described = descriptor("application/vnd.oci.image.config.v1+json", &config);
        described["data"] = json!("eyJhIjoxfQ==");
        described["newUnspecifiedField"] = json!("bmV3");
        let layers = [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer)];
        let manifest = Manifest::image(&described, &layers, &json!({}));
        suite.put_manifest(reference.unwrap_or(&manifest.digest()), &manifest).await;
        manifests.push(manifest);
        configs.push(sha256(&config));
    }
    let blob = |digest: &str| format!("/v2/{one}/blobs/{digest}");
    let manifest = |reference: &str| format!("/v2/{one}/manifests/{reference}");
    suite.send(Method::HEAD, &blob(&sha256(b"hello world")), &[], b"").await.is(404);
    suite.send(Method::HEAD, &blob(&configs[0]), &[], b"").await.is(200).has("docker-content-digest", &configs[0]);
    suite.get(&blob(&sha256(b"hello world"))).await.is(404);
    suite.get(&blob(&configs[0])).await.is(200);
    suite.send(Method::HEAD, &manifest(".INVALID_MANIFEST_NAME"), &[], b"").await.is(404);
    for pushed in &manifests {
        let head = suite.send(Method::HEAD, &manifest(&pushed.digest()), &[], b"").await;
        head.is(200).has("docker-content-digest", &pushed.digest());
        suite.get(&manifest(&pushed.digest())).await.is(200).has_body(&pushed.bytes);
    }
    suite.send(Method::HEAD, &manifest("tagtest0"), &[], b"").await.is(200);
    suite.get(&manifest("tagtest0")).await.is(200).has_body(&manifests[0].bytes);
    suite.get(&manifest(".INVALID_MANIFEST_NAME")).await.is(404);
    suite.get(&manifest("sha256:totallywrong")).await.is_error(400, "DIGEST_INVALID");
    for pushed in &manifests {
        suite.delete(&format!("manifests/{}", pushed.digest())).await.is(202);
    }
    for digest in [&configs[0], &configs[1], &sha256(&layer)] {
        suite.delete(&format!("blobs/{digest}")).await.is(202);
    }
}

/// V-U01, V-U02, V-U03, V-U04, V-U05, V-U06, V-U07, V-U08, V-U09, V-U10, V-U11, V-U12, V-U13, V-U14, V-U15, V-U16: the category
/// Push, its blobs.
#[tokio::test]
async fn push_blobs() {
    let registry = TestRegistry::shared().await;
    let suite = Suite::begin(&registry).await;
    let one = &suite.one;
    let streamed = unique(200);
    let location = suite.start(one).await;
    let patch = suite.send(Method::PATCH, &location, &[("content-type", OCTETS)], &streamed).await;
    let location = patch.is(202).header("location");
    let put = suite.send(Method::PUT, &with_query(location, "digest", &sha256(&streamed)), &[], b"").await;
    assert!(!put.is(201).header("location").is_empty());

    let single = unique(200);
    suite.get(&format!("/v2/{one}/blobs/{}", sha256(b"hello world"))).await.is(404);
    let post = format!("/v2/{one}/blobs/uploads/?digest={}", sha256(&single));
    suite.send(Method::POST, &post, &[("content-type", OCTETS)], &single).await.is(201);
    suite.get(&format!("/v2/{one}/blobs/{}", sha256(&single))).await.is(200).has_body(&single);
    for _ in 0..2 {
        let pushed = suite.push(one, &single).await;
        suite.get(&format!("/v2/{one}/blobs/{pushed}")).await.is(200);
    }

    let chunked = unique(42);
    let first = suite.start(one).await;
    let chunk = |range: &'static str, bytes: &[u8]| (range, bytes.to_vec());
    let (range, bytes) = chunk("22-41", &chunked[22..]);
    suite.send(Method::PATCH, &first, &[("content-range", range)], &bytes).await.is(416);
    let (range, bytes) = chunk("0-21", &chunked[..22]);
    let patch = suite.send(Method::PATCH, &first, &[("content-range", range)], &bytes).await;
    patch.is(202).has("range", "0-21");
    suite.send(Method::PATCH, &first, &[("content-range", range)], &bytes).await.is(416);
    let status = suite.get(&first).await;
    let location = status.is(204).has("range", "0-21").header("location");
    let patch = suite.send(Method::PATCH, location, &[("content-range", "22-41")], &chunked[22..]).await;
    let location = patch.is(202).header("location");
    let put = with_query(location, "digest", &sha256(&chunked));
    let put = suite.send(Method::PUT, &put, &[("content-length", "0")], b"").await;
    assert!(!put.is(201).header("location").is_empty());
}

/// V-U17, V-U18, V-U19, V-U20, V-U21, V-U22: the category Push, its mounts. A mount without `from` finds what the token covers
/// or what is public.
#[tokio::test]
async fn push_mounts() {
    let registry = TestRegistry::shared().await;
    let suite = Suite::begin(&registry).await;
    let (one, two) = (&suite.one, &suite.two);
    let mount = |query: String| {
        let path = format!("/v2/{two}/blobs/uploads/?{query}");
        let suite = &suite;
        async move { suite.send(Method::POST, &path, &[], b"").await }
    };
    let unknown = mount(format!("mount={}", sha256(b"hello world"))).await;
    assert!(unknown.is(202).header("location").starts_with(&format!("/v2/{two}/blobs/uploads/")));
    let bytes = unique(50);
    let digest = suite.push(one, &bytes).await;
    let private = mount(format!("mount={digest}")).await;
    assert!(private.is(202).header("location").starts_with(&format!("/v2/{two}/blobs/uploads/")));
    let mounted = mount(format!("mount={digest}&from={one}")).await;
    mounted.is(201).has("location", &format!("/v2/{two}/blobs/{digest}"));
    suite.get(&format!("/v2/{two}/blobs/{digest}")).await.is(200).has_body(&bytes);
    let other = suite.push(one, &unique(50)).await;
    suite.user.set_visibility(one, "public").await;
    mount(format!("mount={other}")).await.is(201);
}

/// V-U23, V-U24, V-U25, V-U26, V-U27: the category Push, its manifests.
#[tokio::test]
async fn push_manifests() {
    let registry = TestRegistry::shared().await;
    let suite = Suite::begin(&registry).await;
    let one = &suite.one;
    let (config, layer) = (unique(60), unique(70));
    suite.push(one, &config).await;
    suite.push(one, &layer).await;
    suite.get(&format!("/v2/{one}/manifests/.INVALID_MANIFEST_NAME")).await.is(404);
    let config_of = descriptor("application/vnd.oci.image.config.v1+json", &config);
    let layers = [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer)];
    let manifest = Manifest::image(&config_of, &layers, &json!({}));
    for tag in ["test0", "test1", "test2", "test3"] {
        suite.put_manifest(tag, &manifest).await;
    }
    let empty = Manifest::image(&config_of, &[], &json!({ "mediaType": null }));
    suite.put_manifest("emptylayer", &empty).await;
    for pushed in [&manifest, &empty] {
        suite.get(&format!("/v2/{one}/manifests/{}", pushed.digest())).await.is(200).has_body(&pushed.bytes);
        suite.delete(&format!("manifests/{}", pushed.digest())).await.is(202);
    }
    for blob in [&config, &layer] {
        suite.delete(&format!("blobs/{}", sha256(blob))).await.is(202);
    }
}

/// V-D01, V-D02, V-D03, V-D04, V-D05, V-D06, V-D07, V-D08, V-D09, V-D10: the category Discovery.
#[tokio::test]
async fn discovery() {
    let registry = TestRegistry::shared().await;
    let suite = Suite::begin(&registry).await;
    let one = &suite.one;
    let (config, layer) = (unique(60), unique(70));
    for blob in [&config[..], &layer, b"{}"] {
        suite.push(one, blob).await;
    }
    let config_of = descriptor("application/vnd.oci.image.config.v1+json", &config);
    let layers = [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer)];
    let subject = Manifest::image(&config_of, &layers, &json!({}));
    let tags: Vec<_> = (0..8).map(|n| format!("test{n}")).collect();
    for tag in &tags {
        suite.put_manifest(tag, &subject).await;
    }
    let list = format!("/v2/{one}/tags/list");
    assert_eq!(suite.get(&list).await.is(200).strings("tags"), tags);
    assert_eq!(suite.get(&format!("{list}?n=4")).await.is(200).strings("tags"), tags[..4]);
    assert_eq!(suite.get(&format!("{list}?n=4&last=test3")).await.is(200).strings("tags"), tags[4..]);

    // Before the subject, after it, an index, and one whose subject never comes.
    let later = Manifest::image(&config_of, &layers, &json!({ "annotations": { "later": "subject" } }));
    let empty = descriptor(EMPTY_JSON, b"{}");
    let notes = |n: usize| json!({ "org.opencontainers.conformance.test": format!("test config {n}") });
    let with_type = |n: usize, artifact_type: &str, of: &Value| {
        let extra = json!({ "artifactType": artifact_type, "subject": of, "annotations": notes(n) });
        Manifest::image(&empty, slice::from_ref(&empty), &extra)
    };
    let by_config = |n: usize, of: &Value| {
        let typed = descriptor("application/vnd.nba.strawberry.jam.croissant", b"{}");
        Manifest::image(&typed, slice::from_ref(&empty), &json!({ "subject": of, "annotations": notes(n) }))
    };
    let of = later.descriptor();
    let index = Manifest::index(
        &[subject.descriptor()],
        &json!({ "artifactType": "application/vnd.food.stand", "subject": of, "annotations": notes(4) }),
    );
    let before = [with_type(0, "application/vnd.nhl.peanut.butter.bagel", &of), by_config(1, &of)];
    let after = [with_type(2, "application/vnd.nhl.peanut.butter.bagel", &of), by_config(3, &of), index];
    for manifest in &before {
        suite.put_manifest(&manifest.digest(), manifest).await.has("oci-subject", &later.digest());
    }
    suite.put_manifest("later", &later).await;
    for manifest in &after {
        suite.put_manifest(&manifest.digest(), manifest).await.has("oci-subject", &later.digest());
    }
    let missing = descriptor(IMAGE_MANIFEST, b"never pushed");
    let lonely = with_type(5, "application/vnd.nhl.peanut.butter.bagel", &missing);
    let put = suite.put_manifest(&lonely.digest(), &lonely).await;
    put.has("oci-subject", &sha256(b"never pushed"));

    let referrers = |digest: &str| format!("/v2/{one}/referrers/{digest}");
    let unknown = suite.get(&referrers(&sha256(b"hello world"))).await;
    assert_eq!(unknown.is(200).has("content-type", IMAGE_INDEX).json()["manifests"], json!([]));
    let all = suite.get(&referrers(&later.digest())).await;
    let all = all.is(200).json()["manifests"].as_array().unwrap().clone();
    assert_eq!(all.len(), 5);
    for entry in &all {
        assert_eq!(entry["annotations"].as_object().unwrap().len(), 1, "{entry}");
    }
    let filter = format!("{}?artifactType=application/vnd.nhl.peanut.butter.bagel", referrers(&later.digest()));
    let filtered = suite.get(&filter).await;
    filtered.is(200).has("oci-filters-applied", "artifactType");
    assert_eq!(filtered.json()["manifests"].as_array().unwrap().len(), 2);
    let lone = suite.get(&referrers(&sha256(b"never pushed"))).await;
    assert_eq!(lone.is(200).json()["manifests"].as_array().unwrap().len(), 1);
    for manifest in before.iter().chain(&after).chain([&lonely, &subject, &later]) {
        suite.delete(&format!("manifests/{}", manifest.digest())).await.is(202);
    }
    for blob in [&config[..], &layer, b"{}"] {
        suite.delete(&format!("blobs/{}", sha256(blob))).await.is(202);
    }
}

/// V-M01, V-M02, V-M03, V-M04, V-M05, V-M06: the category Management.
#[tokio::test]
async fn management() {
    let registry = TestRegistry::shared().await;
    let suite = Suite::begin(&registry).await;
    let one = &suite.one;
    let (config, layer) = (unique(60), unique(70));
    for blob in [&config, &layer] {
        suite.push(one, blob).await;
    }
    let layers = [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer)];
    let manifest =
        Manifest::image(&descriptor("application/vnd.oci.image.config.v1+json", &config), &layers, &json!({}));
    for tag in ["tagToDelete", "other"] {
        suite.put_manifest(tag, &manifest).await;
    }
    let tags = format!("/v2/{one}/tags/list");
    assert_eq!(suite.get(&tags).await.is(200).strings("tags").len(), 2);
    suite.delete("manifests/tagToDelete").await.is(202);
    suite.get(&format!("/v2/{one}/manifests/tagToDelete")).await.is(404);
    assert_eq!(suite.get(&tags).await.is(200).strings("tags").len(), 1);
    suite.delete(&format!("manifests/{}", manifest.digest())).await.is(202);
    suite.get(&format!("/v2/{one}/manifests/{}", manifest.digest())).await.is(404);
    assert_eq!(suite.get(&tags).await.is(200).strings("tags"), [""; 0]);
    for blob in [&config, &layer] {
        suite.delete(&format!("blobs/{}", sha256(blob))).await.is(202);
        suite.get(&format!("/v2/{one}/blobs/{}", sha256(blob))).await.is(404);
    }
}
