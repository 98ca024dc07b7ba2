//! The management API: registering, and saying who may pull.

use serde_json::json;

use crate::harness::{Client, Reply, TestRegistry, unique_name, unique_text};

async fn register(client: &Client, name: &str, password: &str) -> Reply {
    client.post("/api/v1/users").json(&json!({ "username": name, "password": password })).await
}

/// R-TKG-03, R-ERR-03: anybody may register, and can then log in; the password is said to nobody.
#[tokio::test]
async fn anybody_may_register() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    let longest = unique_name(&"l".repeat(50));
    for name in [&*unique_name("a"), &unique_name("a.b_c__d"), &unique_name("0"), &longest] {
        for password in ["123456", &unique_text("p")] {
            let name = unique_name(name);
            let reply = register(&nobody, &name, password).await;
            reply.is(201).has("content-type", "application/json");
            assert!(!String::from_utf8_lossy(&reply.body).contains(password), "{reply:?}");
            assert_eq!(reply.json()["username"], name);
            let user = nobody.as_user(&name, password).log_in().await;
            user.push_blob(&format!("{name}/app"), b"x").await;
        }
    }
    assert!(!registry.log().contains("123456"));
}

/// R-ERR-01, R-NAM-01: a name or password that will not do is refused with the reason.
#[tokio::test]
async fn a_bad_name_or_password_is_refused() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    let too_long = "n".repeat(65);
    for name in ["", "A", "a/b", "_a", "a_", "a..b", "-", "a b", "ä", "a\u{0}", "a:b", "a@b", " a", "a___b", &too_long]
    {
        let reply = register(&nobody, name, "a good password").await;
        reply.is(400);
        let message = reply.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains("username"), "{reply:?}");
    }
    // Bytes are counted: two of these letters are too few.
    for password in ["", "12345", "ää", &"p".repeat(1025), &"ä".repeat(513)] {
        let reply = register(&nobody, &unique_name("user"), password).await;
        reply.is(400);
        let message = reply.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains("password"), "{reply:?}");
        assert!(password.is_empty() || !message.contains(password), "{reply:?}");
    }
}

/// R-ERR-01, R-ERR-02: what is not the JSON that is documented is refused as such.
#[tokio::test]
async fn a_bad_body_is_refused() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    for body in [
        "",
        "{",
        "null",
        "[]",
        "\"x\"",
        "{}",
        r#"{"username":"someone"}"#,
        r#"{"password":"password"}"#,
        r#"{"username":5,"password":"password"}"#,
        r#"{"username":"someone","password":["p"]}"#,
        r#"{"username":"someone","password":"password"}x"#,
    ] {
        let reply = nobody.post("/api/v1/users").header("content-type", "application/json").body(body).await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
    }
    let binary = nobody.post("/api/v1/users").header("content-type", "application/json");
    binary.body(b"{\"username\":\"someone\",\"password\":\"\xff\xff\xff\xff\xff\xff\"}".to_vec()).await.is(400);
    let long = format!(r#"{{"username":"someone","password":"{}"}}"#, "x".repeat(70 << 10));
    nobody.post("/api/v1/users").header("content-type", "application/json").body(long).await.is(413);
}

/// R-ERR-03: a name is had by one, be it as a user or as a namespace that somebody has claimed.
#[tokio::test]
async fn a_taken_name_is_refused() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    let alice = registry.user("alice").await;
    register(&nobody, alice.name(), "another password").await.is_error(409, "USERNAME_TAKEN");
    alice.log_in().await.get("/v2/").await.is(200);
    for app in [unique_name("claimed"), unique_name("claimed") + "/app"] {
        alice.push_blob(&app, b"x").await;
        let namespace = app.split('/').next().unwrap();
        register(&nobody, namespace, "a good password").await.is_error(409, "USERNAME_TAKEN");
    }
    // A namespace is its user's from the start.
    let bob = registry.user("bob").await;
    alice.post(&format!("/v2/{}/app/blobs/uploads/", bob.name())).await.is_error(403, "DENIED");
    alice.post(&format!("/v2/{}/blobs/uploads/", bob.name())).await.is_error(403, "DENIED");
    bob.push_blob(bob.name(), b"x").await;
}

/// R-ERR-03, I3: of many who want a name at once, one gets it.
#[tokio::test]
async fn one_of_many_gets_a_name() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    let name = unique_name("wanted");
    let passwords: Vec<_> = (0..6).map(|_| unique_text("password")).collect();
    let tries = passwords.iter().map(|password| register(&nobody, &name, password));
    let replies = futures_util::future::join_all(tries).await;
    let won: Vec<_> = (0..6).filter(|n| replies[*n].status == 201).collect();
    assert_eq!(won.len(), 1, "{replies:?}");
    for (n, reply) in replies.iter().enumerate() {
        if n != won[0] {
            reply.is_error(409, "USERNAME_TAKEN");
        }
    }
    nobody.as_user(&name, &passwords[won[0]]).log_in().await.get("/v2/").await.is(200);
}

/// R-AUZ-08, R-NAM-02: visibility is set for names of any number of components, with a token or a password.
#[tokio::test]
async fn visibility_is_set_for_names_of_any_depth() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let nobody = registry.anonymous().log_in().await;
    for app in [
        alice.name().to_owned(),
        alice.repository("a"),
        alice.repository("a/b/c/d"),
        alice.repository("visibility"),
        alice.repository("a/visibility/b"),
        alice.repository("users"),
        unique_name("users"),
    ] {
        alice.push_new_image(&app, "v1").await;
        nobody.get(&format!("/v2/{app}/manifests/v1")).await.is(401);
        for client in [&alice, &alice.with_basic()] {
            client.set_visibility(&app, "public").await;
            nobody.get(&format!("/v2/{app}/manifests/v1")).await.is(200);
            client.set_visibility(&app, "private").await;
            nobody.get(&format!("/v2/{app}/manifests/v1")).await.is(401);
        }
        alice.set_visibility(&app, "internal").await;
        nobody.get(&format!("/v2/{app}/manifests/v1")).await.is(401);
    }
}

/// R-ERR-01, R-AUZ-03: a visibility that is none changes nothing.
#[tokio::test]
async fn a_bad_visibility_is_refused() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let path = format!("/api/v1/{app}/visibility");
    for body in [
        "",
        "{",
        "null",
        "{}",
        r#"{"visibility":"secret"}"#,
        r#"{"visibility":"PUBLIC"}"#,
        r#"{"visibility":""}"#,
        r#"{"visibility":null}"#,
        r#"{"visibility":["public"]}"#,
        r#"{"visibility":"public"}x"#,
        "public",
    ] {
        let reply = alice.put(&path).header("content-type", "application/json").body(body).await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
    }
    registry.anonymous().log_in().await.get(&format!("/v2/{app}/manifests/v1")).await.is(401);
    for method in ["POST", "DELETE", "PATCH"] {
        alice.call(method.parse().unwrap(), &path).await.is(405);
    }
}

/// R-AUZ-02, R-AUZ-03: a scope for a repository opens no management.
#[tokio::test]
async fn a_scoped_token_manages_nothing() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    for actions in ["*", "pull,push,delete"] {
        let scoped = alice.scoped(&[&format!("repository:{app}:{actions}")]).await;
        let reply = scoped.put_visibility(&app, "public").await;
        assert!(matches!(reply.status, 401 | 403), "{reply:?}");
    }
    registry.anonymous().log_in().await.get(&format!("/v2/{app}/manifests/v1")).await.is(401);
}
