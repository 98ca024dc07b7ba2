//! Nothing tells private from absent.

use http::Method;

use crate::harness::{Client, Manifest, TestRegistry, sha256};
use crate::names::requests;

/// Holds every request to `private` against the same to `absent`. The names are equally long.
async fn look_alike(client: &Client, private: &str, absent: &str) {
    let manifest = Manifest::index(&[], &serde_json::json!({}));
    let of_private = requests(private);
    let of_absent = requests(absent);
    for ((method, path), (_, other)) in of_private.iter().zip(&of_absent) {
        let body = if *method == Method::PUT { manifest.bytes.clone() } else { Vec::new() };
        let one = client.call(method.clone(), path).body(body.clone()).await;
        let two = client.call(method.clone(), other).body(body).await;
        assert_eq!(one.appearance(&[private]), two.appearance(&[absent]), "{one:?}\n{two:?}");
    }
    for query in ["?n=1", "?last=a", "?n=x", "?n=0"] {
        let one = client.get(&format!("/v2/{private}/tags/list{query}")).await;
        let two = client.get(&format!("/v2/{absent}/tags/list{query}")).await;
        assert_eq!(one.appearance(&[private]), two.appearance(&[absent]), "{one:?}\n{two:?}");
    }
    for visibility in ["public", "nonsense"] {
        let one = client.put_visibility(private, visibility).await;
        let two = client.put_visibility(absent, visibility).await;
        assert_eq!(one.appearance(&[private]), two.appearance(&[absent]), "{one:?}\n{two:?}");
    }
}

/// R-AUZ-06, R-AUZ-03, R-REF-01, I4: to a stranger, with any credentials, private and absent look the same on every endpoint.
#[tokio::test]
async fn a_private_repository_looks_absent_to_a_stranger() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let mallory = registry.user("mallory").await;
    let (private, absent) = (alice.repository("secret"), alice.repository("absent"));
    let image = alice.push_new_image(&private, "latest").await;
    alice.push_blob(&private, b"nothing").await;
    alice.push_blob(&private, b"{}").await;
    let signature = Manifest::referrer(&image.manifest.descriptor(), "a/b", &serde_json::json!({}));
    alice.push_manifest(&private, "signature", &signature).await;

    let scopes = [format!("repository:{private}:pull,push,delete"), format!("repository:{absent}:pull,push,delete")];
    let scoped = mallory.scoped(&[&scopes[0], &scopes[1]]).await;
    for client in [&mallory, &scoped, &mallory.with_basic()] {
        look_alike(client, &private, &absent).await;
        for digest in [image.digest(), sha256(&image.config)] {
            let one = client.get(&format!("/v2/{private}/referrers/{digest}")).await;
            let two = client.get(&format!("/v2/{absent}/referrers/{digest}")).await;
            assert_eq!(one.is(200).appearance(&[&private]), two.appearance(&[&absent]));
        }
    }
}

/// R-AUZ-06, R-AUZ-03, I4: so they do to nobody, with a token or without.
#[tokio::test]
async fn a_private_repository_looks_absent_to_nobody() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (private, absent) = (alice.repository("secret"), alice.repository("absent"));
    alice.push_new_image(&private, "latest").await;
    let nobody = registry.anonymous();
    let scopes = [format!("repository:{private}:pull"), format!("repository:{absent}:pull")];
    let scoped = nobody.scoped(&[&scopes[0], &scopes[1]]).await;
    for client in [&nobody, &scoped, &nobody.log_in().await, &nobody.with_token("nonsense")] {
        look_alike(client, &private, &absent).await;
    }
    // An internal repository is no more visible to nobody than a private one.
    alice.set_visibility(&private, "internal").await;
    look_alike(&nobody, &private, &absent).await;
}

/// R-AUZ-06, I4: nor does a token say what was there to be granted.
#[tokio::test]
async fn a_token_request_tells_nothing_about_what_exists() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let mallory = registry.user("mallory").await;
    let (private, absent) = (alice.repository("secret"), alice.repository("absent"));
    alice.push_new_image(&private, "latest").await;
    for client in [mallory.with_basic(), registry.anonymous()] {
        for actions in ["pull", "push", "*"] {
            let ask = |name: &str| client.get(&format!("/auth/token?scope=repository:{name}:{actions}"));
            let (one, two) = (ask(&private).await, ask(&absent).await);
            let (one_is, two_is) = (crate::tokens::granted(&one), crate::tokens::granted(&two));
            assert_eq!(format!("{one_is:?}").replace(&private, "x"), format!("{two_is:?}").replace(&absent, "x"));
        }
    }
}

/// R-UPL-37, I4: pushing bytes that are stored privately elsewhere is no different from pushing new ones.
#[tokio::test]
async fn pushing_known_bytes_looks_like_pushing_new_ones() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let mallory = registry.user("mallory").await;
    let known = crate::harness::unique(1000);
    alice.push_blob(&alice.repository("secret"), &known).await;
    let app = mallory.repository("app");
    mallory.push_blob(&app, b"x").await;
    let mut looks = Vec::new();
    for bytes in [known, crate::harness::unique(1000)] {
        let digest = sha256(&bytes);
        mallory.head(&format!("/v2/{app}/blobs/{digest}")).await.is(404);
        let session = mallory.start_upload(&app).await;
        // Without the bytes, knowing the digest gets nothing.
        mallory.put(&format!("{session}?digest={digest}")).await.is_error(400, "DIGEST_INVALID");
        mallory.head(&format!("/v2/{app}/blobs/{digest}")).await.is(404);
        let session = mallory.start_upload(&app).await;
        let put = mallory.put(&format!("{session}?digest={digest}")).body(bytes).await;
        looks.push(put.is(201).appearance(&[&digest]));
    }
    assert_eq!(looks[0], looks[1]);
}
