//! The token endpoint's OAuth2 form.

use form_urlencoded::Serializer;
use serde_json::Value;

use crate::harness::{Client, Reply, TestRegistry, claims};

async fn post(client: &Client, fields: &[(&str, &str)]) -> Reply {
    let form = Serializer::new(String::new()).extend_pairs(fields).finish();
    let post = client.without_credentials().post("/auth/token");
    post.header("content-type", "application/x-www-form-urlencoded").body(form).await
}

/// R-TKP-01, R-TKP-03, R-TKR-01, R-TKR-02, R-TKG-09: a password gets a token, and the answer says what it is good for.
#[tokio::test]
async fn a_password_gets_a_token() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let scope = format!("repository:{app}:pull,push repository:some/other-place:delete");
    let base = [("grant_type", "password"), ("username", alice.name()), ("password", alice.password())];
    let usual = [("service", "distribution"), ("client_id", "test"), ("scope", scope.as_str())];
    for extra in [&usual[..], &usual[2..]] {
        let reply = post(&alice, &[&base[..], extra].concat()).await;
        reply.is(200).has("cache-control", "no-store").has("content-type", "application/json");
        let body = reply.json();
        assert_eq!(body["token"], body["access_token"]);
        assert_eq!(body["expires_in"], 3600);
        assert_eq!(body.get("refresh_token"), None);
        assert!(
            body["scope"].as_str().unwrap().split(' ').any(|s| s == format!("repository:{app}:pull,push")),
            "{body}"
        );
        let client = alice.with_token(body["access_token"].as_str().unwrap());
        client.push_blob(&app, b"x").await;
    }
    // helm logs in without any scope.
    let reply = post(&alice, &base).await;
    let token = reply.is(200).json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&token)["sub"], alice.name());
    alice.with_token(&token).get("/v2/").await.is(200);
}

/// R-TKP-01, R-SCP-03, C-POD-10: a type with parameters, and scopes in several fields, are understood.
#[tokio::test]
async fn the_form_is_read_generously() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let (a, b) = (alice.repository("a"), alice.repository("b"));
    let form = Serializer::new(String::new())
        .extend_pairs([("grant_type", "password"), ("username", alice.name()), ("password", alice.password())])
        .extend_pairs([
            ("scope", format!("repository:{a}:pull")),
            ("scope", format!("repository:{b}:pull")),
            ("x", "y".into()),
        ])
        .finish();
    let call = alice.without_credentials().post("/auth/token").body(form);
    let body = call.header("content-type", "application/x-www-form-urlencoded; charset=UTF-8").await.is(200).json();
    let mut granted: Vec<_> = body["scope"].as_str().unwrap().split(' ').collect();
    granted.sort_unstable();
    assert_eq!(granted, [format!("repository:{a}:pull"), format!("repository:{b}:pull")]);
}

/// R-TKP-02, R-TKP-05: wrong secrets are 401, wrong forms 400, and long ones 413.
#[tokio::test]
async fn a_wrong_form_is_refused() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let elsewhere = alice.elsewhere();
    let (name, password) = (alice.name(), alice.password());
    for (fields, status) in [
        (&[("grant_type", "password"), ("username", name), ("password", "wrong password")][..], 401),
        (&[("grant_type", "password"), ("username", "unknown-user"), ("password", password)], 401),
        // By the header, nothing and nothing is nobody (R-TKG-04); whoever fills in the form means somebody.
        (&[("grant_type", "password"), ("username", ""), ("password", "")], 401),
        (&[("grant_type", "password"), ("username", name), ("password", "")], 401),
        (&[("grant_type", "password"), ("username", ""), ("password", password)], 401),
        (&[("grant_type", "refresh_token"), ("refresh_token", "nonsense")], 401),
        (&[("grant_type", "refresh_token"), ("refresh_token", "")], 401),
        (&[("grant_type", "password")], 400),
        (&[("grant_type", "password"), ("username", name)], 400),
        (&[("grant_type", "password"), ("password", password)], 400),
        (&[("grant_type", "refresh_token")], 400),
        (&[("grant_type", "client_credentials")], 400),
        (&[("username", name), ("password", password)], 400),
        (&[], 400),
    ] {
        let reply = post(&elsewhere, fields).await;
        assert_eq!(reply.status, status, "{fields:?}: {reply:?}");
        reply.is_error(status, if status == 401 { "UNAUTHORIZED" } else { "REQUEST_INVALID" });
    }
    let long = "x".repeat(65 << 10);
    let fields = [("grant_type", "password"), ("username", name), ("password", &long)];
    post(&elsewhere, &fields).await.is(413);
    let json = elsewhere.post("/auth/token").header("content-type", "application/json").body("{}").await;
    assert!(matches!(json.status, 400 | 415), "{json:?}");
}

/// R-TKP-03, R-TKP-04, R-TKG-06: a refresh token is given to who asks for it, gets tokens, and stays good.
#[tokio::test]
async fn a_refresh_token_gets_tokens() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let scope = format!("repository:{app}:pull,push");
    let fields = [
        ("grant_type", "password"),
        ("username", alice.name()),
        ("password", alice.password()),
        ("access_type", "offline"),
        ("service", "distribution"),
        ("client_id", "docker"),
    ];
    let by_post = post(&alice, &fields).await.is(200).json();
    let by_get = alice.with_basic().get("/auth/token?offline_token=true&service=distribution&client_id=docker").await;
    let mut tokens = vec![by_post["refresh_token"].as_str().expect("a refresh token").to_owned()];
    // By GET it may be given; docker then goes on with POST.
    tokens.extend(by_get.is(200).json().get("refresh_token").and_then(Value::as_str).map(str::to_owned));
    for refresh in tokens {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
            ("service", "distribution"),
            ("client_id", "docker"),
            ("scope", scope.as_str()),
        ];
        for _ in 0..2 {
            let body = post(&alice, &fields).await.is(200).json();
            assert_eq!(body["scope"], scope.as_str());
            let client = alice.with_token(body["access_token"].as_str().unwrap());
            client.push_blob(&app, b"x").await;
            // It is no access token itself.
            alice.with_token(&refresh).get("/v2/").await.is_error(401, "UNAUTHORIZED");
        }
    }
}

/// R-TKP-04, R-TKG-06: a request that is refused after its login was right leaves no session behind.
#[tokio::test]
async fn a_refused_request_begins_no_session() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let sessions = format!("/api/v1/users/{}/sessions", alice.name());
    let too_many = vec!["repository:a:pull"; 600].join(" ");
    // Each is small, and together they do not fit into one token (R-TKR-04).
    let app = alice.repository(&"a".repeat(100));
    let too_long = (0..300).map(|n| format!("repository:{app}{n}:pull,push")).collect::<Vec<_>>().join(" ");
    for scope in [&too_many, &too_long] {
        let fields = [
            ("grant_type", "password"),
            ("username", alice.name()),
            ("password", alice.password()),
            ("access_type", "offline"),
            ("scope", scope),
        ];
        post(&alice, &fields).await.is(400);
    }
    let query = Serializer::new(String::new()).append_pair("scope", &too_many).finish();
    alice.with_basic().get(&format!("/auth/token?offline_token=true&{query}")).await.is(400);
    assert_eq!(alice.get(&sessions).await.is(200).json()["items"], Value::Array(Vec::new()));
}
