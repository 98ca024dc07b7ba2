//! What real clients send, replayed, for those that cannot be run everywhere.

use serde_json::json;

use crate::harness::{
    Challenge, Client, DOCKER_LIST, DOCKER_MANIFEST, EMPTY_JSON, IMAGE_INDEX, IMAGE_MANIFEST, Image, Manifest, OCTETS,
    TestRegistry, descriptor, sha256, unique, with_query,
};

/// A token as docker gets one: by the challenge's realm, with name and password.
async fn docker_token(user: &Client, challenge: &Challenge, scopes: &[&str]) -> Client {
    let path = challenge.realm.strip_prefix(&format!("http://{}", user.host())).expect("the same host").to_owned();
    let mut path = format!("{path}?account={}&client_id=docker&service={}", user.name(), challenge.service);
    for scope in scopes {
        path = with_query(&path, "scope", scope);
    }
    let reply = user.with_basic().get(&path).header("accept-encoding", "gzip").await;
    user.with_token(reply.is(200).json()["token"].as_str().unwrap())
}

/// R-PNG-02, R-PNG-03, C-DKR-12: `docker login`: a challenge, a token without scope, and a ping that must be 200.
#[tokio::test]
async fn docker_logs_in() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let ping = alice.without_credentials().get("/v2/").await;
    let challenge = Challenge::of(ping.is(401));
    let path = format!("/auth/token?account={}&client_id=docker&offline_token=true&service=distribution", alice.name());
    let reply = alice.with_basic().get(&path).await;
    assert_eq!(challenge.service, "distribution");
    alice.with_token(reply.is(200).json()["token"].as_str().unwrap()).get("/v2/").await.is(200);
    let wrong = alice.as_user(alice.name(), "wrong password").with_basic().elsewhere();
    wrong.get(&path).await.is_error(401, "UNAUTHORIZED");
}

/// R-UPL-15, R-UPL-20, R-BLB-04, R-AUZ-07, R-MGT-06, C-DKR-01, C-DKR-04, C-DKR-05, C-DKR-06, C-DKR-02: docker pushes to a new
/// repository and pulls from it, all with one token each.
#[tokio::test]
async fn docker_pushes_and_pulls() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, other) = (alice.repository("app"), alice.repository("other"));
    let challenge = Challenge::of(alice.without_credentials().get("/v2/").await.is(401));
    let scopes = [format!("repository:{app}:pull,push"), format!("repository:{other}:pull")];
    let docker = docker_token(&alice, &challenge, &[&scopes[0], &scopes[1]]).await;
    let (config, layer) = (unique(500), unique(100_000));
    for blob in [&layer, &config] {
        let digest = sha256(blob);
        let encoded = digest.replace(':', "%3A");
        docker.head(&format!("/v2/{app}/blobs/{digest}")).await.is(404);
        let from = other.replace('/', "%2F");
        let post = docker.post(&format!("/v2/{app}/blobs/uploads/?from={from}&mount={encoded}")).body("").await;
        let session = post.is(202).header("location").to_owned();
        let patch = docker.patch(&session).chunked(&[&blob[..100], &blob[100..]]).await;
        let range = patch.is(202).header("range");
        let (first, last) = range.split_once('-').unwrap();
        assert_eq!((first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap()), (0, blob.len() - 1));
        let put = docker.put(&format!("{}?digest={encoded}", patch.header("location"))).body("").await;
        put.is(201).has("docker-content-digest", &digest);
        docker.head(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has("content-length", &blob.len().to_string());
    }
    let manifest = Manifest::new(
        DOCKER_MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor("application/vnd.docker.container.image.v1+json", &config),
            "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", &layer)],
        }),
    );
    docker.push_manifest(&app, "latest", &manifest).await.has("docker-content-digest", &manifest.digest());

    let puller = docker_token(&alice, &challenge, &[&format!("repository:{app}:pull")]).await;
    let mut head = puller.head(&format!("/v2/{app}/manifests/latest"));
    for accept in [DOCKER_MANIFEST, DOCKER_LIST, IMAGE_MANIFEST, IMAGE_INDEX] {
        head = head.header("accept", accept);
    }
    let head = head.await;
    head.is(200).has("content-type", DOCKER_MANIFEST).has("docker-content-digest", &manifest.digest());
    head.has("content-length", &manifest.bytes.len().to_string());
    puller.get(&format!("/v2/{app}/manifests/{}", manifest.digest())).await.is(200).has_body(&manifest.bytes);
    for blob in [&layer, &config] {
        puller.get(&format!("/v2/{app}/blobs/{}", sha256(blob))).await.is(200).has_body(blob);
    }
    // A broken layer is gone on with.
    let rest = puller.get(&format!("/v2/{app}/blobs/{}", sha256(&layer))).header("range", "bytes=99000-").await;
    rest.is(206).has("content-range", "bytes 99000-99999/100000").has_body(&layer[99_000..]);
}

/// R-MNT-07, R-GEN-06, R-PRX-01, R-PRX-03, R-MGT-03, C-CTD-01, C-CTD-03, C-CTD-05, C-CTD-06, C-CTD-02: containerd.
#[tokio::test]
async fn containerd_pushes_and_pulls() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, from) = (alice.repository("app"), alice.repository("from"));
    let image = alice.push_new_image(&from, "v1").await;
    let ns = "ns=registry.example";
    for blob in image.blobs() {
        alice.head(&format!("/v2/{app}/blobs/{}?{ns}", sha256(blob))).await.is(404);
        alice.post(&format!("/v2/{app}/blobs/uploads/?mount={}&from={from}", sha256(blob))).await.is(201);
    }
    let accept = format!("{DOCKER_MANIFEST}, {DOCKER_LIST}, {IMAGE_MANIFEST}, {IMAGE_INDEX}, */*");
    alice.head(&format!("/v2/{app}/manifests/v1?{ns}")).header("accept", &accept).await.is(404);
    let put = alice.put_manifest(&app, &format!("v1?{ns}"), &image.manifest).await;
    put.is(201).has("docker-content-digest", &image.digest());
    let head = alice.head(&format!("/v2/{app}/manifests/v1?{ns}")).header("accept", &accept).await;
    head.is(200).has("docker-content-digest", &image.digest()).has("content-type", IMAGE_MANIFEST);
    let get = alice.get(&format!("/v2/{app}/manifests/{}?{ns}", image.digest())).header("range", "bytes=0-");
    get.header("accept", &format!("{IMAGE_MANIFEST}, */*")).await.is(200).has_body(&image.manifest.bytes);
    let encodings = "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5";
    let layer = alice.get(&format!("/v2/{app}/blobs/{}?{ns}", sha256(&image.layers[0])));
    let layer = layer.header("range", "bytes=0-").header("accept-encoding", encodings).await;
    layer.is(206).has("content-range", "bytes 0-299/300").has_body(&image.layers[0]);
    // Resolving by digest tries manifests first, then blobs.
    let config = sha256(&image.config);
    alice.head(&format!("/v2/{app}/manifests/{config}?{ns}")).await.is(404);
    alice.head(&format!("/v2/{app}/blobs/{config}?{ns}")).await.is(200);
}

/// R-MNT-02, R-UPL-60, R-UPL-04, R-SCP-04, C-POD-02, C-POD-03, C-POD-05, C-POD-09: skopeo, podman and buildah.
#[tokio::test]
async fn skopeo_copies_and_deletes() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (app, from) = (alice.repository("app"), alice.repository("from"));
    let image = Image::unique();
    let skopeo = alice.scoped(&[&format!("repository:{app}:pull,push"), &format!("repository:{from}:pull")]).await;
    for blob in image.blobs() {
        let encoded = sha256(blob).replace(':', "%3A");
        let post =
            skopeo.post(&format!("/v2/{app}/blobs/uploads/?from={}&mount={encoded}", from.replace('/', "%2F"))).await;
        skopeo.delete(post.is(202).header("location")).await.is(204);
        let session = skopeo.start_upload(&app).await;
        let patch = skopeo.patch(&session).header("content-type", OCTETS).body(blob.to_vec()).await;
        let location = patch.is(202).header("location").to_owned();
        let put = skopeo.put(&with_query(&location, "digest", &sha256(blob))).header("content-type", OCTETS).await;
        put.is(201);
    }
    skopeo.push_manifest(&app, "v1", &image.manifest).await;
    let signature = format!("{}.sig", image.digest().replace(':', "-"));
    skopeo.get(&format!("/v2/{app}/manifests/{signature}")).await.is(404);

    let deleter = alice.scoped(&[&format!("repository:{app}:*")]).await;
    let get = deleter.get(&format!("/v2/{app}/manifests/v1")).header("accept", DOCKER_MANIFEST).await;
    let digest = sha256(&get.is(200).body);
    deleter
        .delete(&format!("/v2/{app}/manifests/{digest}"))
        .header("accept", IMAGE_MANIFEST)
        .await
        .is(202)
        .has_body(b"");
}

/// R-REF-01, R-REF-12, R-MPT-14, R-MDL-05, C-ORA-01, C-ORA-03, C-ORA-04, C-ORA-05, C-GCR-07: oras attaches and discovers.
#[tokio::test]
async fn oras_attaches_and_discovers() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    // No ping: the first request is challenged, its scope asked for.
    let first = alice.without_credentials().post(&format!("/v2/{app}/blobs/uploads/")).await;
    let challenge = Challenge::of(first.is(401));
    let oras = docker_token(&alice, &challenge, &[&challenge.scope.clone().unwrap()]).await;
    let image = oras.push_new_image(&app, "v1").await;
    let zeros = format!("sha256:{}", "0".repeat(64));
    oras.get(&format!("/v2/{app}/referrers/{zeros}")).await.is(200).has("content-type", IMAGE_INDEX);
    oras.push_blob(&app, b"{}").await;
    let file = unique(100);
    oras.push_blob(&app, &file).await;
    let attached = Manifest::image(
        &descriptor(EMPTY_JSON, b"{}"),
        &[descriptor("application/vnd.example.doc", &file)],
        &json!({ "artifactType": "application/vnd.example.doc", "subject": image.manifest.descriptor() }),
    );
    let put = oras.push_manifest(&app, &attached.digest(), &attached).await;
    put.has("oci-subject", &image.digest()).has("docker-content-digest", &attached.digest());
    let list =
        oras.get(&format!("/v2/{app}/referrers/{}?artifactType=application/vnd.example.doc", image.digest())).await;
    assert_eq!(list.is(200).json()["manifests"][0]["digest"], attached.digest());
    let deleter = alice.scoped(&[&format!("repository:{app}:delete")]).await;
    deleter.delete(&format!("/v2/{app}/manifests/{}", attached.digest())).await.is(202).has_body(b"");
    let list = oras.get(&format!("/v2/{app}/referrers/{}", image.digest())).await;
    assert_eq!(list.is(200).json()["manifests"], json!([]));
}

/// R-GEN-07, R-MNT-02, R-SCP-03, R-UPL-61, C-GCR-02, C-GCR-03, C-GCR-04, C-KAN-01: crane, ko and kaniko.
#[tokio::test]
async fn crane_pushes_and_kaniko_checks() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let twice = [format!("repository:{app}:push,pull"), format!("repository:{app}:pull")];
    let crane = alice.scoped(&[&twice[0], &twice[1]]).await;
    // kaniko's check whether it may push.
    let check =
        crane.post(&format!("/v2/{app}/blobs/uploads/")).header("content-type", "application/json").body("").await;
    crane.delete(check.is(202).header("location")).await.is(204);
    let image = Image::unique();
    for blob in image.blobs() {
        let digest = sha256(blob);
        let query = format!("mount={digest}&from=library%2Fbusybox&origin=index.docker.io");
        let post = crane.post(&format!("/v2/{app}/blobs/uploads/?{query}")).header("content-type", "application/json");
        let location = post.body("").await.is(202).header("location").to_owned();
        let patch = crane.patch(&location).chunked(&[blob]).await;
        crane.put(&with_query(patch.is(202).header("location"), "digest", &digest)).await.is(201);
    }
    crane.push_manifest(&app, "v1", &image.manifest).await;
    let head = crane.head(&format!("/v2/{app}/manifests/v1")).await;
    for name in ["content-type", "content-length", "docker-content-digest"] {
        assert!(!head.is(200).header(name).is_empty());
    }
    assert_eq!(crane.get(&format!("/v2/{app}/tags/list?n=1000")).await.strings("tags"), ["v1"]);
}

/// R-UPL-17, R-BLB-19, R-MPT-17, R-UPL-05, C-REG-01, C-REG-02, C-REG-03, C-REG-04: regclient.
#[tokio::test]
async fn regclient_pushes_in_chunks() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let bytes = unique(2_500_000);
    let digest = sha256(&bytes);
    let anonymous_mount = alice.post(&format!("/v2/{app}/blobs/uploads/?mount={digest}")).await;
    let mut location = anonymous_mount.is(202).header("location").to_owned();
    for (n, chunk) in bytes.chunks(1 << 20).enumerate() {
        let first = n << 20;
        let range = format!("{first}-{}", first + chunk.len() - 1);
        if n == 1 {
            // A chunk again, as after a lost answer: the refusal tells where to go on.
            let again =
                alice.patch(&location).header("content-range", "0-1048575").body(bytes[..1 << 20].to_vec()).await;
            again.is(416).has("range", "0-1048575");
            location = again.header("location").to_owned();
        }
        let patch = alice.patch(&location).header("content-range", &range).header("content-type", OCTETS);
        location = patch.body(chunk.to_vec()).await.is(202).header("location").to_owned();
    }
    alice.put(&with_query(&location, "digest", &digest)).await.is(201);
    let resumed = alice.get(&format!("/v2/{app}/blobs/{digest}")).header("range", "bytes=2000000-2500000").await;
    resumed.is(206).has("content-range", "bytes 2000000-2499999/2500000").has_body(&bytes[2_000_000..]);
}
