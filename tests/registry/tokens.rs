//! The token endpoint: who asks, what is granted, and how it is answered.

use serde_json::{Value, json};

use crate::harness::{Client, Reply, TestRegistry, basic, claims, unique_name};

/// Asks for a token with this query.
async fn ask(client: &Client, query: &str) -> Reply {
    client.get(&format!("/auth/token?{query}")).await
}

/// What a token's `access` grants, as scopes, sorted.
#[track_caller]
pub(crate) fn granted(reply: &Reply) -> Vec<String> {
    let body = reply.is(200).json();
    let claims = claims(body["token"].as_str().expect("a token"));
    let mut scopes: Vec<_> = claims["access"]
        .as_array()
        .unwrap_or_else(|| panic!("no access: {claims}"))
        .iter()
        .map(|entry| {
            let mut actions: Vec<_> =
                entry["actions"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
            actions.sort_unstable();
            format!("{}:{}:{}", entry["type"].as_str().unwrap(), entry["name"].as_str().unwrap(), actions.join(","))
        })
        .collect();
    scopes.sort();
    scopes
}

/// R-TKR-01, R-TKR-02, R-TKR-03, R-TKR-04, R-TKG-09, R-JWT-02: the answer is what every client reads.
#[tokio::test]
async fn a_token_comes_with_all_that_clients_read() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let reply = ask(&alice.with_basic(), "service=distribution&client_id=docker&account=x").await;
    reply.is(200).has("content-type", "application/json").has("cache-control", "no-store");
    assert!(reply.body.len() < 8 << 10, "{} bytes", reply.body.len());
    let body = reply.json();
    assert!(body["token"].is_string() && body["token"] == body["access_token"], "{body}");
    assert_eq!(body["expires_in"], 3600);
    assert_eq!(body.get("refresh_token"), None);
    let issued = body["issued_at"].as_str().unwrap();
    assert!(issued.len() >= 20 && issued.ends_with('Z') && issued.as_bytes()[10] == b'T', "{issued}");
    let claims = claims(body["token"].as_str().unwrap());
    let number = |name: &str| claims[name].as_u64().unwrap_or_else(|| panic!("{name}: {claims}"));
    assert_eq!(number("exp"), number("iat") + 3660);
    assert_eq!(number("nbf"), number("iat") - 60);
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!(alice.name()), &json!("distribution")));
    assert_eq!((&claims["unscoped"], &claims["access"]), (&json!(true), &json!([])));
    assert!(claims["iss"].is_string() && claims["jti"].is_string());
}

/// R-TKG-01, R-SCP-03, R-TKG-08: scopes come repeated, in one value, or both; what repeats is joined.
#[tokio::test]
async fn scopes_are_read_however_they_are_sent() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await.with_basic();
    let (a, b) = (alice.repository("a"), alice.repository("b"));
    for query in [
        format!("scope=repository:{a}:pull,push&scope=repository:{b}:pull"),
        format!("scope=repository:{a}:pull,push%20repository:{b}:pull"),
        format!("scope=repository:{a}:pull,push+repository:{b}:pull"),
        format!(
            "scope=repository%3A{}%3Apush%2Cpull&x=1&scope=repository:{b}:pull&service=distribution",
            a.replace('/', "%2F")
        ),
        format!("scope=repository:{a}:pull&scope=repository:{b}:pull%20repository:{a}:push&account=someone"),
        format!("scope=repository:{b}:pull,pull&scope=repository:{a}:push,pull%20repository:{a}:pull"),
        format!("scope=%20repository:{a}:pull,push%20%20repository:{b}:pull%20&scope="),
    ] {
        let reply = ask(&alice, &query).await;
        assert_eq!(granted(&reply), [format!("repository:{a}:pull,push"), format!("repository:{b}:pull")], "{query}");
        let claims = claims(reply.json()["token"].as_str().unwrap());
        assert!(claims.get("unscoped").is_none_or(|unscoped| *unscoped == Value::Bool(false)), "{claims}");
    }
}

/// R-TKG-02, R-TKG-05, R-TKG-08: service, account and client are hints, the rest is nothing.
#[tokio::test]
async fn hints_change_nothing() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    for query in [
        String::new(),
        "service=other".to_owned(),
        "service=".to_owned(),
        "client_id=containerd-client&x=%zz&&=".to_owned(),
        format!("account={}", bob.name()),
        format!("account={}&account=x", alice.name()),
    ] {
        let reply = ask(&alice.with_basic(), &query).await;
        let claims = claims(reply.is(200).json()["token"].as_str().unwrap());
        assert_eq!((&claims["sub"], &claims["aud"]), (&json!(alice.name()), &json!("distribution")), "{query}");
        let anonymous = ask(&registry.anonymous(), &query).await;
        let claims = crate::harness::claims(anonymous.is(200).json()["token"].as_str().unwrap());
        assert_eq!(claims["sub"], "", "{query}");
    }
}

/// R-TKG-03, R-TKG-09, R-CHL-01: wrong credentials are refused, with no token and no challenge that leads back here.
#[tokio::test]
async fn wrong_credentials_get_no_token() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let unknown = unique_name("unknown");
    let mut looks = Vec::new();
    for (name, password) in [
        (alice.name(), "wrong password"),
        (alice.name(), ""),
        (&unknown, alice.password()),
        (&unknown, ""),
        ("NOT/a name", "x"),
        ("", "password"),
    ] {
        let client = registry.anonymous().with_authorization(&basic(name, password)).elsewhere();
        let reply = ask(&client, "service=distribution&scope=repository:a/b:pull").await;
        reply.is_error(401, "UNAUTHORIZED");
        for challenge in reply.header_lines("www-authenticate") {
            assert!(!challenge.to_lowercase().contains("bearer"), "{reply:?}");
        }
        looks.push(reply.appearance(&[]));
    }
    // A name that nobody has and a wrong password look the same.
    assert!(looks.windows(2).all(|pair| pair[0] == pair[1]), "{looks:#?}");
    for header in ["Basic !!!", "Bearer nonsense", "Basic bm9jb2xvbg=="] {
        let reply = ask(&registry.anonymous().with_authorization(header).elsewhere(), "").await;
        assert!(matches!(reply.status, 400 | 401), "{header}: {reply:?}");
    }
}

/// R-TKG-04, R-AUZ-01: nobody gets a token of nobody, also with an empty name and password.
#[tokio::test]
async fn nobody_gets_an_anonymous_token() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    for client in [nobody.clone(), nobody.with_authorization("Basic Og=="), nobody.with_authorization("basic Og==")] {
        let reply = ask(&client, "service=distribution&scope=repository:some/app:pull,push").await;
        assert_eq!(granted(&reply), [""; 0]);
        let body = reply.json();
        assert_eq!(claims(body["token"].as_str().unwrap())["sub"], "");
        assert_eq!(body.get("refresh_token"), None);
        nobody.with_token(body["token"].as_str().unwrap()).get("/v2/").await.is(200);
    }
}

/// R-TKG-06: a refresh token comes only to those who ask for it and are somebody.
#[tokio::test]
async fn a_refresh_token_is_never_given_unasked() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await.with_basic();
    for query in ["", "offline_token=false", "offline_token=", "scope=repository:a/b:pull"] {
        assert_eq!(ask(&alice, query).await.is(200).json().get("refresh_token"), None, "{query}");
    }
    assert_eq!(ask(&registry.anonymous(), "offline_token=true").await.is(200).json().get("refresh_token"), None);
    ask(&alice, "offline_token=true").await.is(200);
}

/// R-TKG-07: passwords hold colons and every other character.
#[tokio::test]
async fn a_password_may_hold_any_text() {
    let registry = TestRegistry::shared().await;
    for password in ["a:b:c:d", ":::::::", "pässwörd ☃ 密码", "  spaces  ", "\"quotes\\\"", &"x".repeat(1024)] {
        let name = unique_name("alice");
        let user = json!({ "username": name, "password": password });
        registry.anonymous().post("/api/v1/users").json(&user).await.is(201);
        let client = registry.anonymous().as_user(&name, password);
        client.log_in().await.get("/v2/").await.is(200);
        client.with_basic().get("/v2/").await.is(200);
        let upper = registry.anonymous().as_user(&name.to_uppercase(), password).with_basic().elsewhere();
        upper.get("/auth/token").await.is_error(401, "UNAUTHORIZED");
    }
}

/// R-TKG-08: a hundred scopes are an ordinary request, thousands are not.
#[tokio::test]
async fn many_scopes_are_granted_but_not_any_number() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await.with_basic();
    let scopes: Vec<_> =
        (0..100).map(|n| format!("scope=repository:{}:pull,push", alice.repository(&format!("r{n}")))).collect();
    assert_eq!(granted(&ask(&alice, &scopes.join("&")).await).len(), 100);
    let too_many = vec!["scope=repository:a:pull"; 600].join("&");
    ask(&alice, &too_many).await.is(400);
    let too_many = format!("scope={}", vec!["repository:a:pull"; 800].join("+"));
    ask(&alice, &too_many).await.is(400);
}

/// R-AUZ-01, R-AUZ-02, R-AUZ-07, R-SCP-04, R-SCP-05: what is granted is what was asked for and is allowed, never an error.
#[tokio::test]
async fn the_intersection_is_granted() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await.with_basic();
    let bob = registry.user("bob").await.with_basic();
    let [public, internal, private] = ["public", "internal", "private"];
    for visibility in [public, internal, private] {
        alice.push_blob(&alice.repository(visibility), b"x").await;
        alice.set_visibility(&alice.repository(visibility), visibility).await;
    }
    let nobody = registry.anonymous();
    let unclaimed = unique_name("unclaimed") + "/app";
    let table: [(&Client, String, &str, &str); 17] = [
        (&alice, alice.repository("private"), "pull", "pull"),
        (&alice, alice.repository("private"), "pull,push,delete", "delete,pull,push"),
        (&alice, alice.repository("private"), "*", "delete,pull,push"),
        (&alice, alice.repository("public"), "push", "push"),
        (&alice, alice.repository("new"), "pull,push", "pull,push"),
        (&alice, unclaimed.clone(), "pull,push", "pull,push"),
        (&bob, alice.repository("public"), "pull,push,delete", "pull"),
        (&bob, alice.repository("public"), "*", "pull"),
        (&bob, alice.repository("internal"), "pull,push", "pull"),
        (&bob, alice.repository("private"), "pull,push,delete", ""),
        (&bob, alice.repository("new"), "pull,push", ""),
        (&nobody, alice.repository("public"), "pull,push", "pull"),
        (&nobody, alice.repository("public"), "*", "pull"),
        (&nobody, alice.repository("internal"), "pull", ""),
        (&nobody, alice.repository("private"), "pull", ""),
        (&nobody, alice.repository("new"), "pull,push", ""),
        (&nobody, unclaimed, "pull,push", ""),
    ];
    for (client, name, asked, expected) in table {
        let reply = ask(client, &format!("scope=repository:{name}:{asked}")).await;
        let found: Vec<_> = granted(&reply).into_iter().filter(|scope| !scope.ends_with(':')).collect();
        let expected: Vec<_> = if expected.is_empty() { vec![] } else { vec![format!("repository:{name}:{expected}")] };
        assert_eq!(found, expected, "{name}:{asked}");
    }
    for client in [&alice, &nobody] {
        assert_eq!(granted(&ask(client, "scope=registry:catalog:*").await), ["registry:catalog:*"]);
    }
}

/// R-AUZ-07, C-DKR-05: one token carries a first push from its beginning to the HEAD after it.
#[tokio::test]
async fn one_token_carries_a_first_push() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    for app in [alice.repository("new"), unique_name("unclaimed") + "/app", unique_name("single")] {
        let pusher = alice.scoped(&[&format!("repository:{app}:pull,push")]).await;
        pusher.head(&format!("/v2/{app}/blobs/{}", crate::harness::sha256(b"none"))).await.is(404);
        let digest = pusher.push_blob(&app, b"first").await;
        pusher.head(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has("content-length", "5");
        let image = pusher.push_new_image(&app, "v1").await;
        pusher.get(&format!("/v2/{app}/manifests/v1")).await.is(200).has_body(&image.manifest.bytes);
    }
}
