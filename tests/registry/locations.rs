//! Where replies point: Locations, Links, and the realm behind proxies.

use std::net::Ipv4Addr;

use crate::harness::{Challenge, Client, TestRegistry, sha256};

async fn realm(client: &Client, headers: &[(&str, &str)]) -> String {
    let mut call = client.get("/v2/");
    for (name, value) in headers {
        call = call.header(name, value);
    }
    let reply = call.await;
    reply.is(401);
    Challenge::of(&reply).realm
}

/// R-LOC-01, R-LOC-02, R-LOC-04, R-LOC-05, N-14: Locations begin at the root, stay in their
/// repository, and hold nothing that a client could write differently.
#[tokio::test]
async fn locations_are_absolute_paths_without_fragile_parts() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let uploads = format!("/v2/{app}/blobs/uploads/");
    let post = alice.post(&uploads).await;
    let session = post.is(202).header("location").to_owned();
    let patch = alice.patch(&session).body("{}").await;
    let status = alice.get(&session).await;
    let wrong = alice.patch(&session).header("content-range", "9-9").body("x").await;
    for (reply, code) in [(post, 202), (patch, 202), (status, 204), (wrong, 416)] {
        let location = reply.is(code).header("location");
        let id = location.strip_prefix(&uploads).unwrap_or_else(|| panic!("{reply:?}"));
        assert!(id.len() >= 22, "{reply:?}");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.~-?=&".contains(&b);
        assert!(id.bytes().all(plain), "{reply:?}");
    }
    let digest = sha256(b"{}");
    let put = alice.put(&format!("{session}?digest={digest}")).await;
    put.is(201).has("location", &format!("/v2/{app}/blobs/{digest}"));
    let image = alice.push_new_image(&app, "v1").await;
    let again = alice.push_manifest(&app, "v1", &image.manifest).await;
    again.has("location", &format!("/v2/{app}/manifests/{}", image.digest()));
}

/// R-LOC-08, R-CHL-04: without a configured address the realm is where the client dialled.
#[tokio::test]
async fn the_realm_follows_the_host_that_was_dialled() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    assert_eq!(realm(&nobody, &[]).await, format!("http://{}/auth/token", nobody.host()));
    assert_eq!(realm(&nobody, &[("host", "registry.example:5000")]).await, "http://registry.example:5000/auth/token");
}

/// R-LOC-08: nobody's word about another address is taken without being trusted.
#[tokio::test]
async fn forwarded_headers_of_strangers_are_ignored() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    let own = format!("http://{}/auth/token", nobody.host());
    for headers in [
        &[("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")][..],
        &[("forwarded", "proto=https;host=evil.example")],
        &[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-host", "evil.example")],
    ] {
        assert_eq!(realm(&nobody, headers).await, own);
    }
}

/// R-LOC-08: a trusted proxy's word counts, `Forwarded` before the older headers.
#[tokio::test]
async fn forwarded_headers_of_a_trusted_proxy_count() {
    let registry = TestRegistry::with(|settings| {
        settings.set("OCI_REGISTRY_TRUSTED_PROXIES", "127.0.0.1, 127.9.0.0/16");
    })
    .await;
    let proxy = registry.anonymous();
    let own = proxy.host();
    let table: [(&[(&str, &str)], String); 10] = [
        (&[("x-forwarded-proto", "https"), ("x-forwarded-host", "r.example")], "https://r.example".into()),
        (
            &[("x-forwarded-proto", "https, http"), ("x-forwarded-host", "r.example:8443, inner")],
            "https://r.example:8443".into(),
        ),
        (&[("x-forwarded-proto", "https")], format!("https://{own}")),
        (&[("x-forwarded-host", "r.example")], "http://r.example".into()),
        (&[("forwarded", "proto=https;host=r.example")], "https://r.example".into()),
        (&[("forwarded", "for=192.0.2.1;Proto=https; Host=\"r.example:8443\"")], "https://r.example:8443".into()),
        (&[("forwarded", "host=r.example;proto=https, host=inner;proto=http")], "https://r.example".into()),
        (
            &[
                ("forwarded", "proto=https;host=r.example"),
                ("x-forwarded-host", "other.example"),
                ("x-forwarded-proto", "http"),
            ],
            "https://r.example".into(),
        ),
        (&[("forwarded", "proto=https")], format!("https://{own}")),
        (&[], format!("http://{own}")),
    ];
    for (headers, expected) in table {
        assert_eq!(realm(&proxy, headers).await, format!("{expected}/auth/token"), "{headers:?}");
    }
    let network = proxy.at_address(Ipv4Addr::new(127, 9, 1, 2));
    assert_eq!(realm(&network, &[("x-forwarded-host", "r.example")]).await, "http://r.example/auth/token");
    let stranger = proxy.at_address(Ipv4Addr::new(127, 8, 1, 2));
    assert_eq!(realm(&stranger, &[("x-forwarded-host", "r.example")]).await, format!("http://{own}/auth/token"));
}

/// R-LOC-08, R-LOC-09: even a trusted proxy cannot put anything but a host into a header.
#[tokio::test]
async fn a_forwarded_host_is_validated() {
    let registry = TestRegistry::with(|settings| {
        settings.set("OCI_REGISTRY_TRUSTED_PROXIES", "127.0.0.0/8");
    })
    .await;
    let proxy = registry.anonymous();
    for (name, value) in [
        ("x-forwarded-host", "a\",error=\"x"),
        ("x-forwarded-host", "a b"),
        ("x-forwarded-host", "a/b"),
        ("forwarded", "host=\"a\\\"b\""),
        ("forwarded", "host=\"a/b\""),
        ("x-forwarded-proto", "javascript"),
        ("forwarded", "proto=\"x y\";host=a"),
    ] {
        let reply = proxy.get("/v2/").header(name, value).await;
        // Refused, or read as if it were not there; never repeated.
        if reply.status != 400 {
            let challenge = Challenge::of(reply.is(401));
            let plain = challenge.realm.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/auth/token"));
            assert!(plain == Some(&proxy.host()) || plain == Some("a"), "{reply:?}");
        }
    }
}

/// R-LOC-08, R-CHL-04, R-LOC-03: a configured address is the address, whoever says what; Locations stay relative.
#[tokio::test]
async fn a_configured_address_wins() {
    let registry = TestRegistry::with(|settings| {
        settings.set("OCI_REGISTRY_PUBLIC_URL", "https://registry.example:8443");
        settings.set("OCI_REGISTRY_TRUSTED_PROXIES", "127.0.0.1");
    })
    .await;
    let nobody = registry.anonymous();
    for headers in [&[][..], &[("host", "other")], &[("x-forwarded-host", "other"), ("x-forwarded-proto", "http")]] {
        assert_eq!(realm(&nobody, headers).await, "https://registry.example:8443/auth/token");
    }
    let alice = registry.user("alice").await;
    let session = alice.start_upload(&alice.repository("app")).await;
    assert!(session.starts_with("/v2/"), "{session}");
}

/// R-LOC-06, R-CHL-02: what a link holds is encoded, so that it can be followed as it stands.
#[tokio::test]
async fn links_are_percent_encoded() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    alice.push_new_image(&alice.repository("bpp"), "v1").await;
    let below = format!("{}/a", alice.name());
    let page = alice.get(&format!("/v2/_catalog?n=1&last={}", below.replace('/', "%2F"))).await;
    assert_eq!(page.is(200).strings("repositories"), [app.as_str()]);
    let next = page.next().expect("a second page");
    let (path, query) = next.split_once('?').unwrap();
    assert_eq!(path, "/v2/_catalog");
    let mut pairs: Vec<_> = query.split('&').collect();
    pairs.sort_unstable();
    assert_eq!(pairs, [format!("last={}", app.replace('/', "%2F")), "n=1".to_owned()]);
    assert_eq!(alice.get(&next).await.strings("repositories"), [alice.repository("bpp")]);
}
