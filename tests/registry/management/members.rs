//! Members: who may do what, from the moment it is said (I6).

use serde_json::json;

use super::{column, put_member, walk};
use crate::harness::{Client, TestRegistry};

fn members(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/members")
}

/// What a client with these rights is answered: pull, push, delete.
async fn may(client: &Client, app: &str) -> [u16; 3] {
    let pull = client.get(&format!("/v2/{app}/manifests/v1")).await.status;
    let push = client.post(&format!("/v2/{app}/blobs/uploads/")).await.status;
    let delete = client.delete(&format!("/v2/{app}/manifests/nothing")).await.status;
    [pull, push, delete]
}

/// I6: a role counts at the next request, for tokens of any kind that were out before.
#[tokio::test]
async fn a_membership_counts_at_once() {
    let registry = TestRegistry::shared().await;
    let (alice, bob) = (registry.user("alice").await, registry.user("bob").await);
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    for (role, rights) in [
        (Some("reader"), [200, 403, 403]),
        (Some("writer"), [200, 202, 403]),
        (Some("owner"), [200, 202, 404]),
        (Some("reader"), [200, 403, 403]),
        (None, [404, 403, 404]),
    ] {
        match role {
            Some(role) => put_member(&alice, alice.name(), &bob, role).await.is(204),
            None => &alice.delete(&format!("{}/{}", members(alice.name()), bob.name())).await,
        };
        for client in [&bob, &bob.with_basic()] {
            assert_eq!(may(client, &app).await, rights, "{role:?}");
        }
    }
}

/// Members see each other, owners say who they are; to others there is nothing to see.
#[tokio::test]
async fn owners_say_who_is_a_member() {
    let registry = TestRegistry::shared().await;
    let (alice, bob, carol) = (registry.user("alice").await, registry.user("bob").await, registry.user("carol").await);
    let team = alice.name();
    let path = |user: &Client| format!("{}/{}", members(team), user.name());
    for (method, path) in [("GET", members(team)), ("PUT", path(&carol)), ("DELETE", path(&alice))] {
        let call = bob.call(method.parse().unwrap(), &path).json(&json!({ "role": "owner" }));
        call.await.is_error(404, "NOT_FOUND");
    }
    for role in ["reader", "writer"] {
        put_member(&alice, team, &bob, role).await.is(204);
        put_member(&bob, team, &carol, "reader").await.is_error(403, "DENIED");
        put_member(&bob, team, &bob, "owner").await.is_error(403, "DENIED");
        bob.delete(&path(&alice)).await.is_error(403, "DENIED");
    }
    let found = walk(&bob, &members(team), 1).await;
    let mut expected = [(team, "owner"), (bob.name(), "writer")];
    expected.sort_unstable();
    let found: Vec<_> = column(&found, "username").into_iter().zip(column(&found, "role")).collect();
    assert_eq!(found, expected.iter().map(|(name, role)| (name.to_string(), role.to_string())).collect::<Vec<_>>());

    put_member(&alice, team, &bob, "owner").await.is(204);
    put_member(&bob, team, &carol, "reader").await.is(204);
    bob.delete(&path(&carol)).await.is(204);
    bob.delete(&path(&carol)).await.is_error(404, "NOT_FOUND");
    carol.get(&members(team)).await.is_error(404, "NOT_FOUND");
    // Whose it is, they stay an owner, until they hand it over.
    put_member(&bob, team, &alice, "reader").await.is_error(409, "CONFLICT");
    put_member(&bob, team, &alice, "owner").await.is(204);
    bob.delete(&path(&alice)).await.is_error(409, "CONFLICT");
}

/// What makes no member is refused with the reason.
#[tokio::test]
async fn a_bad_membership_is_refused() {
    let registry = TestRegistry::shared().await;
    let (alice, bob) = (registry.user("alice").await, registry.user("bob").await);
    let path = format!("{}/{}", members(alice.name()), bob.name());
    for body in [json!({}), json!({ "role": "admin" }), json!({ "role": null }), json!({ "role": "reader", "x": 1 })] {
        alice.put(&path).json(&body).await.is_error(400, "REQUEST_INVALID");
    }
    let nobody = format!("{}/nobody-of-that-name", members(alice.name()));
    alice.put(&nobody).json(&json!({ "role": "reader" })).await.is_error(404, "NOT_FOUND");
    alice.delete(&nobody).await.is_error(404, "NOT_FOUND");
    alice.get("/api/v1/namespaces/nothing-of-that-name/members").await.is_error(404, "NOT_FOUND");
}
