//! Repository names: which are legal, and that none of the API's own words confuses the router.

use http::Method;

use crate::harness::{EMPTY_JSON, Manifest, TestRegistry, descriptor, sha256, unique_name};

const SESSION: &str = "00000000-0000-4000-8000-000000000000";

/// Every request that names a repository below `/v2/`.
pub(crate) fn requests(name: &str) -> Vec<(Method, String)> {
    let digest = sha256(b"nothing");
    [
        (Method::GET, format!("blobs/{digest}")),
        (Method::HEAD, format!("blobs/{digest}")),
        (Method::DELETE, format!("blobs/{digest}")),
        (Method::GET, "manifests/latest".to_owned()),
        (Method::HEAD, "manifests/latest".to_owned()),
        (Method::PUT, "manifests/latest".to_owned()),
        (Method::DELETE, "manifests/latest".to_owned()),
        (Method::GET, format!("manifests/{digest}")),
        (Method::POST, "blobs/uploads/".to_owned()),
        (Method::POST, "blobs/uploads".to_owned()),
        (Method::POST, format!("blobs/uploads/?digest={digest}")),
        (Method::POST, format!("blobs/uploads/?mount={digest}&from=a/b")),
        (Method::GET, format!("blobs/uploads/{SESSION}")),
        (Method::PATCH, format!("blobs/uploads/{SESSION}")),
        (Method::PUT, format!("blobs/uploads/{SESSION}?digest={digest}")),
        (Method::DELETE, format!("blobs/uploads/{SESSION}")),
        (Method::GET, "tags/list".to_owned()),
        (Method::GET, format!("referrers/{digest}")),
    ]
    .map(|(method, rest)| (method, format!("/v2/{name}/{rest}")))
    .into()
}

/// R-NAM-01, R-NAM-02: each of these is a name, and a blob can be pushed to it and read back.
#[tokio::test]
async fn every_legal_name_can_be_pushed_to() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let long = format!("l/{}", "x".repeat(253));
    let component = "y".repeat(255);
    let names = [
        "a",
        "0",
        "a/b",
        "a/b/c/d/e",
        "a--b",
        "a---b",
        "a__b",
        "a.b_c-d",
        "foo/bar-baz/0.1",
        "localhost/x",
        "blobs/uploads",
        "a-----------b/c",
        &long,
        &component,
    ];
    for name in names {
        let digest = alice.push_blob(name, name.as_bytes()).await;
        alice.get(&format!("/v2/{name}/blobs/{digest}")).await.is(200).has_body(name.as_bytes());
        assert_eq!(alice.get(&format!("/v2/{name}/tags/list")).await.json()["name"], name);
    }
}

/// R-NAM-01, R-NAM-02, R-NAM-03, R-NAM-04: what is no name is refused as such on every
/// endpoint, before anybody looks who asks or whether it exists.
#[tokio::test]
async fn no_endpoint_takes_an_illegal_name() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let too_long = "z".repeat(256);
    let too_long_together = format!("{}/{}", "z".repeat(200), "z".repeat(55));
    let names = [
        "A",
        "a/B",
        "_a",
        "a_",
        "-a",
        "a-",
        ".a",
        "a.",
        "a..b",
        "a___b",
        "a._b",
        "a.-b",
        "a_-b",
        "a//b",
        "/a",
        "a/",
        "a%20b",
        "a%20",
        "%20a",
        "a:b",
        "a@b",
        "a%25b",
        "%C3%A4",
        "%EF%BD%81",
        "a%00",
        "a%0a",
        "a%FF",
        "a/../b",
        "..",
        "a/./b",
        "%2e%2e",
        "a%2F%2Fb",
        "a%2fB",
        "a%3Fb",
        "a%23b",
        "a%5Cb",
        "a+b",
        "a%2Bb",
        "a~b",
        "a!b",
        "a/blobs/uploads/B",
        "",
        &too_long,
        &too_long_together,
    ];
    for name in names {
        for (method, path) in requests(name) {
            let reply = alice.call(method.clone(), &path).await;
            reply.is(400);
            if method != Method::HEAD {
                reply.is_error(400, "NAME_INVALID");
            }
            registry.anonymous().call(method, &path).await.is(400);
        }
    }
}

/// R-NAM-03: every part of a name is judged, also by the management API.
#[tokio::test]
async fn no_visibility_is_set_for_an_illegal_name() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    for name in ["A", "a..b", "a/B", "_a", "a%25b"] {
        alice.put_visibility(name, "public").await.is_error(400, "NAME_INVALID");
    }
}

/// R-NAM-05, R-NAM-06: components may be the API's own words; the rightmost reading counts.
#[tokio::test]
async fn names_made_of_reserved_words_are_ordinary() {
    const WORDS: [&str; 7] = ["blobs", "manifests", "tags", "uploads", "list", "referrers", "v2"];
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let mut names: Vec<String> = WORDS.map(str::to_owned).into();
    names.extend(WORDS.iter().flat_map(|a| WORDS.iter().map(move |b| format!("{a}/{b}"))));
    names.extend(
        [
            "a/blobs/uploads/b",
            "a/manifests/latest",
            "a/tags/list",
            "a/blobs/uploads",
            "x/referrers/y/tags/list",
            "blobs/uploads/blobs/uploads",
            "manifests/manifests/manifests/manifests",
            "tags/list/tags/list",
            "api/v1/users",
            "auth/token",
            "healthz",
            "metrics",
        ]
        .map(str::to_owned),
    );
    for name in names {
        let session = alice.post(&format!("/v2/{name}/blobs/uploads/")).await.is(202).header("location").to_owned();
        assert!(session.starts_with(&format!("/v2/{name}/blobs/uploads/")), "{session}");
        alice.get(&session).await.is(204);
        let session = alice.post(&format!("/v2/{name}/blobs/uploads")).await.is(202).header("location").to_owned();
        let digest = sha256(b"{}");
        let put = alice.put(&format!("{session}?digest={digest}")).body("{}").await;
        put.is(201).has("location", &format!("/v2/{name}/blobs/{digest}"));
        let empty = descriptor(EMPTY_JSON, b"{}");
        let manifest = Manifest::image(&empty, &[], &serde_json::json!({ "annotations": { "in": name } }));
        for tag in ["list", "uploads"] {
            alice.push_manifest(&name, tag, &manifest).await;
            alice.get(&format!("/v2/{name}/manifests/{tag}")).await.is(200).has_body(&manifest.bytes);
        }
        let list = alice.get(&format!("/v2/{name}/tags/list")).await;
        assert_eq!(list.is(200).json(), serde_json::json!({ "name": name, "tags": ["list", "uploads"] }));
        alice.get(&format!("/v2/{name}/referrers/{digest}")).await.is(200);
    }
}

/// R-NAM-06: `x/manifests/y` is a name only where an endpoint follows it.
#[tokio::test]
async fn a_path_with_two_readings_is_read_from_the_right() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let inner = alice.repository("x");
    let outer = alice.repository("x/manifests/y");
    let image = alice.push_new_image(&inner, "y").await;
    alice.get(&format!("/v2/{inner}/manifests/y")).await.is(200).has_body(&image.manifest.bytes);
    alice.get(&format!("/v2/{outer}/tags/list")).await.is_error(404, "NAME_UNKNOWN");
    alice.push_new_image(&outer, "z").await;
    assert_eq!(alice.get(&format!("/v2/{outer}/tags/list")).await.strings("tags"), ["z"]);
    alice.get(&format!("/v2/{inner}/manifests/y")).await.is(200).has_body(&image.manifest.bytes);
}

/// R-NAM-07, R-TGL-08: a repository that has become empty is still there.
#[tokio::test]
async fn an_emptied_repository_still_exists() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.get(&format!("/v2/{app}/tags/list")).await.is_error(404, "NAME_UNKNOWN");
    let image = alice.push_new_image(&app, "v1").await;
    alice.delete(&format!("/v2/{app}/manifests/{}", image.digest())).await.is(202);
    for blob in image.blobs() {
        alice.delete(&format!("/v2/{app}/blobs/{}", sha256(blob))).await.is(202);
    }
    let list = alice.get(&format!("/v2/{app}/tags/list")).await;
    assert_eq!(list.is(200).json(), serde_json::json!({ "name": app, "tags": [] }));
}

/// R-NAM-07: a repository begins with its first blob, without any manifest.
#[tokio::test]
async fn a_repository_begins_with_a_blob() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository(&unique_name("app"));
    alice.push_blob(&app, b"first").await;
    assert_eq!(alice.get(&format!("/v2/{app}/tags/list")).await.is(200).strings("tags"), [""; 0]);
}
