//! What a 401 says, and to whom it is said.

use http::Method;

use crate::harness::{Challenge, TestRegistry, basic, sha256, unique_name};

const SESSION: &str = "00000000-0000-4000-8000-000000000000";

/// R-CHL-01, R-CHL-02, R-CHL-05, R-CHL-06, R-CHL-07, R-CHL-08, R-SCP-06: every request is challenged for just what it needs.
#[tokio::test]
async fn a_challenge_names_the_scope_that_was_needed() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    let name = unique_name("nobody") + "/some/app";
    let digest = sha256(b"x");
    let pull = format!("repository:{name}:pull");
    let push = format!("repository:{name}:pull,push");
    let delete = format!("repository:{name}:delete");
    let table = [
        (Method::GET, format!("blobs/{digest}"), &pull),
        (Method::HEAD, format!("blobs/{digest}"), &pull),
        (Method::GET, "manifests/latest".to_owned(), &pull),
        (Method::HEAD, format!("manifests/{digest}"), &pull),
        (Method::GET, "tags/list".to_owned(), &pull),
        (Method::GET, format!("referrers/{digest}"), &pull),
        (Method::POST, "blobs/uploads/".to_owned(), &push),
        (Method::POST, format!("blobs/uploads/?digest={digest}"), &push),
        (Method::POST, format!("blobs/uploads/?mount={digest}"), &push),
        (Method::PATCH, format!("blobs/uploads/{SESSION}"), &push),
        (Method::PUT, format!("blobs/uploads/{SESSION}?digest={digest}"), &push),
        (Method::GET, format!("blobs/uploads/{SESSION}"), &push),
        (Method::DELETE, format!("blobs/uploads/{SESSION}"), &push),
        (Method::PUT, "manifests/latest".to_owned(), &push),
        (Method::PUT, format!("manifests/{digest}?tag=a"), &push),
        (Method::DELETE, "manifests/latest".to_owned(), &delete),
        (Method::DELETE, format!("manifests/{digest}"), &delete),
        (Method::DELETE, format!("blobs/{digest}"), &delete),
    ];
    for (method, path, scope) in table {
        let path = format!("/v2/{name}/{path}");
        let reply = nobody.call(method.clone(), &path).await;
        let challenge = Challenge::of(reply.is(401));
        assert_eq!(challenge.scope.as_ref(), Some(scope), "{reply:?}");
        assert_eq!((&*challenge.service, challenge.error), ("distribution", None));
        assert_eq!(challenge.realm, format!("http://{}/auth/token", nobody.host()));
        if method != Method::HEAD {
            reply.is_error(401, "UNAUTHORIZED");
        }
    }
}

/// R-CHL-07, R-JWT-04, R-AUZ-03: what is wrong with the credentials that came is told.
#[tokio::test]
async fn a_challenge_tells_what_was_wrong() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let path = format!("/v2/{app}/manifests/v1");
    let other = alice.scoped(&["repository:some/other:pull"]).await;
    let delete_only = alice.scoped(&[&format!("repository:{app}:delete")]).await;
    let nobody = registry.anonymous();
    let nobody_scoped = nobody.scoped(&[&format!("repository:{app}:pull")]).await;
    for (client, error) in [
        (&nobody, None),
        (&alice.with_token("nonsense"), Some("invalid_token")),
        (&alice.with_token("a.b.c"), Some("invalid_token")),
        (&other, Some("insufficient_scope")),
        (&delete_only, Some("insufficient_scope")),
        (&nobody_scoped, Some("insufficient_scope")),
        (&nobody.log_in().await, Some("insufficient_scope")),
    ] {
        let reply = client.get(&path).await;
        let challenge = Challenge::of(reply.is_error(401, "UNAUTHORIZED"));
        assert_eq!(challenge.error.as_deref(), error, "{reply:?}");
        assert_eq!(challenge.scope.unwrap(), format!("repository:{app}:pull"));
        client.head(&path).await.is(401).has("www-authenticate", reply.header("www-authenticate"));
    }
}

/// R-CHL-03, R-CHL-08, R-AUZ-08: nobody is asked for Basic, or given a cookie, but Basic is understood.
#[tokio::test]
async fn basic_is_never_asked_for_but_understood() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let by_password = alice.with_basic();
    let image = by_password.push_new_image(&app, "v1").await;
    by_password.get(&format!("/v2/{app}/manifests/v1")).await.is(200).has_body(&image.manifest.bytes);
    by_password.delete(&format!("/v2/{app}/manifests/v1")).await.is(202);
    let reply = registry.anonymous().get(&format!("/v2/{app}/manifests/v1")).await;
    reply.is(401).lacks("set-cookie").lacks("access-control-allow-origin");
    assert!(!reply.header("www-authenticate").to_lowercase().contains("basic"));
}

/// R-AUZ-08, R-AUZ-04: a wrong password is a challenge; a right one without the right is not.
#[tokio::test]
async fn basic_without_the_right_is_not_sent_for_a_token() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let mallory = registry.user("mallory").await.with_basic();
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    mallory.get(&format!("/v2/{app}/manifests/v1")).await.is_error(404, "NAME_UNKNOWN");
    mallory.post(&format!("/v2/{app}/blobs/uploads/")).await.is_error(403, "DENIED");
    mallory.delete(&format!("/v2/{app}/manifests/v1")).await.is_error(404, "NAME_UNKNOWN");
    let wrong = alice.as_user(alice.name(), "wrong password").with_basic().elsewhere();
    let reply = wrong.get(&format!("/v2/{app}/manifests/v1")).await;
    Challenge::of(reply.is_error(401, "UNAUTHORIZED"));
    let unknown = alice.as_user(&unique_name("unknown"), "wrong password").with_basic().elsewhere();
    unknown.get("/v2/").await.is_error(401, "UNAUTHORIZED");
}

/// R-LIM-01, N-11, R-TKG-03: whoever guesses is slowed down, told for how long, and locks nobody out who is in.
#[tokio::test]
async fn a_guesser_is_slowed_down() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let guesser = alice.elsewhere();
    let mut refused = None;
    for n in 0..100 {
        let guess = guesser.as_user(alice.name(), &format!("guess number {n}")).with_basic();
        let reply = guess.get("/auth/token").await;
        if reply.status == 429 {
            refused = Some((guess, reply));
            break;
        }
        reply.is_error(401, "UNAUTHORIZED");
    }
    let (guess, reply) = refused.expect("a hundred guesses are too many");
    reply.is_error(429, "TOOMANYREQUESTS");
    assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
    guess.get("/v2/").await.is_error(429, "TOOMANYREQUESTS");
    alice.get("/v2/").await.is(200);
    // From where she has logged in before, she still can.
    alice.with_basic().get("/auth/token").await.is(200);
}

/// R-AUZ-09: schemes are read in any case; what is malformed, or said twice, is refused.
#[tokio::test]
async fn authorization_is_read_strictly() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    for scheme in ["bearer", "BEARER", "Bearer"] {
        alice.with_authorization(&format!("{scheme} {token}")).get("/v2/").await.is(200);
    }
    let pair = basic(alice.name(), alice.password());
    for scheme in ["basic", "BASIC"] {
        alice.with_authorization(&pair.replace("Basic", scheme)).get("/v2/").await.is(200);
    }
    for value in [
        "Bearer",
        "Bearer ",
        "Basic",
        "Basic !!!",
        "Basic bm9jb2xvbg==",
        "Digest username=\"x\"",
        "nonsense",
        "",
        "Negotiate abc",
        &format!("Bearer {token} {token}"),
        &format!("Bearer{token}"),
        &token,
    ] {
        let reply = alice.with_authorization(value).elsewhere().get("/v2/").await;
        assert!(matches!(reply.status, 400 | 401), "{value:?}: {reply:?}");
    }
    let twice = alice.get("/v2/").header("authorization", &format!("Bearer {token}")).await;
    assert!(matches!(twice.status, 400 | 401), "{twice:?}");
    let mixed = alice.get("/v2/").header("authorization", &pair).await;
    assert!(matches!(mixed.status, 400 | 401), "{mixed:?}");
}
