//! Users: who they are, what becomes of them, and that it takes effect at once (I6).

use serde_json::json;

use super::{change_user, column, items, personal_token, walk};
use crate::harness::{Client, TestRegistry, unique_name, unique_text};

fn user_path(user: &Client) -> String {
    format!("/api/v1/users/{}", user.name())
}

/// One sees oneself and nobody else, and does not learn who else there is.
#[tokio::test]
async fn users_see_themselves() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    for path in ["/api/v1/user".to_owned(), user_path(&alice), user_path(&alice) + "/"] {
        let reply = alice.get(&path).await;
        let user = reply.is(200).json();
        assert_eq!(
            (&user["username"], &user["role"], &user["disabled"]),
            (&json!(alice.name()), &json!("user"), &json!(false))
        );
        assert!(user["created_at"].as_str().unwrap().ends_with('Z'), "{user}");
        alice.head(&path).await.is(200).has("content-length", reply.header("content-length"));
        reply.has("cache-control", "no-store");
    }
    let there = alice.get(&user_path(&bob)).await;
    let absent = alice.get(&format!("/api/v1/users/{}", unique_name("nobody"))).await;
    there.is_error(403, "DENIED");
    assert_eq!(there.appearance(&[]), absent.appearance(&[]));
    alice.get("/api/v1/users").await.is_error(403, "DENIED");
    registry.anonymous().get("/api/v1/user").await.is_error(401, "UNAUTHORIZED");
}

/// An admin sees everybody, page by page.
#[tokio::test]
async fn admins_list_users() {
    let registry = TestRegistry::start().await;
    let admin = registry.admin().await;
    let mut names = vec![admin.name().to_owned()];
    for n in 0..4 {
        names.push(registry.user(&format!("user{n}")).await.name().to_owned());
    }
    names.sort();
    for n in [1, 2, 5, 100] {
        assert_eq!(column(&walk(&admin, "/api/v1/users", n).await, "username"), names, "pages of {n}");
    }
    let after = admin.get(&format!("/api/v1/users?last={}", names[1])).await;
    assert_eq!(column(&items(&after), "username"), names[2..]);
    assert!(items(&admin.get("/api/v1/users?n=0").await).is_empty());
    admin.get("/api/v1/users?n=x").await.is(400);
    admin.get("/api/v1/users?last=..%2Fx").await.is_error(400, "REQUEST_INVALID");
    let user = admin.get(&format!("/api/v1/users/{}", names[1])).await.is(200).json();
    assert_eq!(user["username"], names[1]);
    admin.get("/api/v1/users/nobody-of-that-name").await.is_error(404, "NOT_FOUND");
    admin.get("/api/v1/users/A").await.is_error(404, "NOT_FOUND");
}

/// I6: a role counts at the next request, whatever token is shown.
#[tokio::test]
async fn a_role_counts_at_once() {
    let registry = TestRegistry::shared().await;
    let admin = registry.admin().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    let secret = bob.repository("secret");
    bob.push_new_image(&secret, "v1").await;
    alice.get("/api/v1/users?n=1").await.is(403);
    alice.get(&format!("/v2/{secret}/manifests/v1")).await.is(404);
    let changed = change_user(&admin, &alice, json!({ "role": "admin" })).await.is(200).json();
    assert_eq!(changed["role"], "admin");
    alice.get("/api/v1/users?n=1").await.is(200);
    alice.get(&format!("/v2/{secret}/manifests/v1")).await.is(200);
    change_user(&admin, &alice, json!({ "role": "user" })).await.is(200);
    alice.get("/api/v1/users?n=1").await.is(403);
    alice.get(&format!("/v2/{secret}/manifests/v1")).await.is(404);
    change_user(&admin, &alice, json!({})).await.is(200);
    for change in [json!({ "role": "owner" }), json!({ "disabled": "yes" }), json!({ "admin": true }), json!([])] {
        change_user(&admin, &alice, change).await.is_error(400, "REQUEST_INVALID");
    }
    change_user(&alice, &alice, json!({ "role": "admin" })).await.is_error(403, "DENIED");
    admin.patch("/api/v1/users/nobody-of-that-name").json(&json!({})).await.is_error(404, "NOT_FOUND");
}

/// I6: who is locked out is so with every credential, and gets in again only by a new login.
#[tokio::test]
async fn a_disabled_user_is_out_at_once() {
    let registry = TestRegistry::shared().await;
    let admin = registry.admin().await;
    let alice = registry.user("alice").await.elsewhere();
    let (_, token) = personal_token(&alice, "ci", &["*"]).await;
    let with_token = token.log_in().await;
    for client in [&alice, &alice.with_basic(), &token, &with_token] {
        client.get("/v2/").await.is(200);
    }
    let changed = change_user(&admin, &alice, json!({ "disabled": true })).await.is(200).json();
    assert_eq!(changed["disabled"], true);
    for client in [&alice, &alice.with_basic(), &token, &with_token] {
        client.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    }
    alice.with_basic().get("/auth/token").await.is_error(401, "UNAUTHORIZED");
    change_user(&admin, &alice, json!({ "disabled": false })).await.is(200);
    alice.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    alice.log_in().await.get("/v2/").await.is(200);
    token.get("/v2/").await.is(200);
}

/// I6: a password changes with the old one, and all that rests on that ends.
#[tokio::test]
async fn users_change_their_password() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await.elsewhere();
    let bob = registry.user("bob").await;
    let path = user_path(&alice) + "/password";
    let (_, token) = personal_token(&alice, "ci", &["*"]).await;
    let session = alice.with_basic().get("/auth/token?offline_token=true").await.is(200).json();
    let refresh = session["refresh_token"].as_str().unwrap().to_owned();
    let new = unique_text("another");

    let change = |old: &str| json!({ "old_password": old, "password": new });
    for old in ["wrong password", token.password(), ""] {
        alice.put(&path).json(&change(old)).await.is_error(403, "DENIED");
    }
    alice.put(&path).json(&json!({ "password": new })).await.is_error(403, "DENIED");
    bob.put(&path).json(&change(alice.password())).await.is_error(403, "DENIED");
    let short = json!({ "old_password": alice.password(), "password": "12345" });
    alice.put(&path).json(&short).await.is_error(400, "PASSWORD_INVALID");
    alice.get("/v2/").await.is(200);

    alice.put(&path).json(&change(alice.password())).await.is(204);
    for client in [&alice, &alice.with_basic()] {
        client.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    }
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let refreshed = alice.without_credentials().post("/auth/token");
    refreshed.header("content-type", "application/x-www-form-urlencoded").body(form).await.is(401);
    alice.as_user(alice.name(), &new).log_in().await.get("/v2/").await.is(200);
    // A personal token is a credential of its own.
    token.get("/v2/").await.is(200);
}

/// An admin resets another's password without knowing it, and their own only as everybody does.
#[tokio::test]
async fn admins_reset_passwords() {
    let registry = TestRegistry::shared().await;
    let admin = registry.admin().await;
    let alice = registry.user("alice").await.elsewhere();
    let new = unique_text("another");
    admin.put(&(user_path(&alice) + "/password")).json(&json!({ "password": new })).await.is(204);
    alice.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    alice.with_basic().get("/v2/").await.is_error(401, "UNAUTHORIZED");
    alice.as_user(alice.name(), &new).log_in().await.get("/v2/").await.is(200);
    admin.put(&(user_path(&admin) + "/password")).json(&json!({ "password": new })).await.is_error(403, "DENIED");
    let nobody = admin.put("/api/v1/users/nobody-of-that-name/password").json(&json!({ "password": new })).await;
    nobody.is_error(404, "NOT_FOUND");
}

/// I6: who is deleted is nobody at once; what they made stays, and nobody inherits it with their name.
#[tokio::test]
async fn a_deleted_user_is_gone() {
    let registry = TestRegistry::shared().await;
    let admin = registry.admin().await;
    let (alice, bob) = (registry.user("alice").await.elsewhere(), registry.user("bob").await.elsewhere());
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let (_, token) = personal_token(&alice, "ci", &["*"]).await;
    bob.delete(&user_path(&alice)).await.is_error(403, "DENIED");
    alice.delete(&user_path(&alice)).await.is_error(403, "DENIED");

    admin.delete(&user_path(&alice)).await.is(204);
    admin.delete(&user_path(&alice)).await.is_error(404, "NOT_FOUND");
    for client in [&alice, &alice.with_basic(), &token] {
        client.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    }
    admin.get(&format!("/v2/{app}/manifests/v1")).await.is(200);
    let register = |name: &str| {
        let body = json!({ "username": name, "password": "a good password" });
        registry.anonymous().post("/api/v1/users").json(&body)
    };
    register(alice.name()).await.is_error(409, "USERNAME_TAKEN");
    // Where nothing was made, the name is free; the old credentials are not of the new user.
    admin.delete(&user_path(&bob)).await.is(204);
    register(bob.name()).await.is(201);
    bob.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    bob.with_basic().get("/v2/").await.is_error(401, "UNAUTHORIZED");
}

/// The last admin who can log in cannot be taken away, not even by two who dismiss each other.
#[tokio::test]
async fn an_admin_is_always_left() {
    let registry = TestRegistry::start().await;
    let admin = registry.admin().await;
    let alice = registry.user("alice").await;
    change_user(&admin, &alice, json!({ "role": "admin", "disabled": true })).await.is(200);
    for change in [json!({ "role": "user" }), json!({ "disabled": true })] {
        change_user(&admin, &admin, change).await.is_error(409, "CONFLICT");
    }
    admin.delete(&user_path(&admin)).await.is_error(409, "CONFLICT");
    admin.get("/api/v1/users?n=1").await.is(200);

    for round in 0..5 {
        let (one, two) = (registry.admin().await, registry.admin().await);
        change_user(&one, &admin, json!({ "role": "user" })).await.is(200);
        let change = || json!({ "role": "user" });
        let (first, second) = tokio::join!(change_user(&one, &two, change()), change_user(&two, &one, change()));
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert!(matches!(statuses, [200, 403 | 409]), "round {round}: {first:?}\n{second:?}");
        let left = if first.status == 200 { &one } else { &two };
        change_user(left, &admin, json!({ "role": "admin" })).await.is(200);
        left.delete(&user_path(left)).await.is(204);
    }
}

/// Where the operator says so, only admins register users.
#[tokio::test]
async fn registration_can_be_closed() {
    let registry = TestRegistry::with(|settings| {
        settings.set("OCI_REGISTRY_REGISTRATION", "admins");
    })
    .await;
    let admin = registry.admin().await;
    let body = |name: &str| json!({ "username": name, "password": "a good password" });
    registry.anonymous().post("/api/v1/users").json(&body("alice")).await.is_error(401, "UNAUTHORIZED");
    admin.post("/api/v1/users").json(&body("alice")).await.is(201);
    let alice = registry.anonymous().as_user("alice", "a good password").log_in().await;
    alice.post("/api/v1/users").json(&body("bob")).await.is_error(403, "DENIED");
}
