//! Namespaces, and the repositories in them.

use std::time::Duration;

use serde_json::json;

use super::{column, items, put_member, walk};
use crate::harness::{Client, TestRegistry, unique_name};

fn path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}")
}

async fn default_visibility(owner: &Client, namespace: &str, word: serde_json::Value) {
    let reply = owner.patch(&path(namespace)).json(&json!({ "default_visibility": word })).await;
    assert_eq!(reply.is(200).json()["default_visibility"], word);
}

/// A namespace that is nobody's is had by whoever asks first; asking again changes nothing.
#[tokio::test]
async fn a_namespace_is_claimed() {
    let registry = TestRegistry::shared().await;
    let (alice, bob) = (registry.user("alice").await, registry.user("bob").await);
    let team = unique_name("team");
    alice.get(&path(&team)).await.is_error(404, "NOT_FOUND");
    let claimed = alice.put(&path(&team)).await;
    assert_eq!(claimed.is(201).json()["owner"], alice.name());
    alice.put(&path(&team)).await.is(200);
    bob.put(&path(&team)).await.is_error(409, "CONFLICT");
    // A username's is its user's from the start.
    alice.put(&path(bob.name())).await.is_error(409, "CONFLICT");
    bob.put(&path(bob.name())).await.is(200);
    registry.anonymous().put(&path(&unique_name("team"))).await.is_error(401, "UNAUTHORIZED");
    alice.put("/api/v1/namespaces/A").await.is_error(404, "NOT_FOUND");
    alice.push_new_image(&format!("{team}/app"), "v1").await;
    bob.post(&format!("/v2/{team}/app/blobs/uploads/")).await.is_error(403, "DENIED");
    bob.get(&path(&team)).await.is_error(404, "NOT_FOUND");
}

/// Where the operator says so, only admins claim, be it by asking or by pushing.
#[tokio::test]
async fn claiming_can_be_the_admins() {
    let registry = TestRegistry::with(|settings| {
        settings.set("OCI_REGISTRY_NAMESPACE_CLAIM", "admins");
    })
    .await;
    let (alice, admin) = (registry.user("alice").await, registry.admin().await);
    alice.put(&path("team")).await.is_error(403, "DENIED");
    alice.post("/v2/team/app/blobs/uploads/").await.is_error(403, "DENIED");
    admin.put(&path("team")).await.is(201);
    admin.put(&format!("{}/owner", path("team"))).json(&json!({ "owner": alice.name() })).await.is(204);
    alice.push_new_image("team/app", "v1").await;
    alice.push_new_image(&alice.repository("app"), "v1").await;
}

/// One sees the namespaces that one is a member of, an admin all, page by page.
#[tokio::test]
async fn namespaces_are_listed() {
    let registry = TestRegistry::start().await;
    let (alice, bob, admin) = (registry.user("alice").await, registry.user("bob").await, registry.admin().await);
    let mut hers = vec![alice.name().to_owned()];
    for name in ["one", "two", "three"] {
        alice.put(&path(name)).await.is(201);
        hers.push(name.to_owned());
    }
    hers.sort();
    let mut all = hers.clone();
    all.extend([bob.name().to_owned(), admin.name().to_owned()]);
    all.sort();
    for n in [1, 2, 100] {
        assert_eq!(column(&walk(&alice, "/api/v1/namespaces", n).await, "name"), hers);
        assert_eq!(column(&walk(&admin, "/api/v1/namespaces", n).await, "name"), all);
    }
    put_member(&alice, "one", &bob, "reader").await.is(204);
    let mut his = vec![bob.name().to_owned(), "one".to_owned()];
    his.sort();
    assert_eq!(column(&walk(&bob, "/api/v1/namespaces", 1).await, "name"), his);
    bob.get(&path("one")).await.is(200);
    bob.get(&path("two")).await.is_error(404, "NOT_FOUND");
    registry.anonymous().get("/api/v1/namespaces").await.is_error(401, "UNAUTHORIZED");
}

/// What new repositories are is a field of the namespace; those that are there stay as they are.
#[tokio::test]
async fn new_repositories_follow_their_namespace() {
    let registry = TestRegistry::shared().await;
    let (alice, bob) = (registry.user("alice").await, registry.user("bob").await);
    let team = alice.name();
    let visibility = async |name: &str| {
        let app = alice.repository(name);
        alice.push_new_image(&app, "v1").await;
        alice.get(&format!("/api/v1/{app}/visibility")).await.is(200).json()["visibility"].as_str().unwrap().to_owned()
    };
    assert_eq!(visibility("before").await, "private");
    default_visibility(&alice, team, json!("public")).await;
    assert_eq!(visibility("public").await, "public");
    default_visibility(&alice, team, json!("internal")).await;
    assert_eq!(visibility("internal").await, "internal");
    alice.patch(&path(team)).json(&json!({})).await.is(200);
    assert_eq!(visibility("still").await, "internal");
    default_visibility(&alice, team, json!(null)).await;
    assert_eq!(visibility("after").await, "private");
    assert_eq!(visibility("public").await, "public");
    for body in [json!({ "default_visibility": "secret" }), json!({ "visibility": "public" }), json!([])] {
        alice.patch(&path(team)).json(&body).await.is_error(400, "REQUEST_INVALID");
    }
    put_member(&alice, team, &bob, "writer").await.is(204);
    bob.patch(&path(team)).json(&json!({ "default_visibility": "public" })).await.is_error(403, "DENIED");
}

/// A namespace is handed over by its owners; whoever had it can then be removed.
#[tokio::test]
async fn a_namespace_is_handed_over() {
    let registry = TestRegistry::shared().await;
    let (alice, bob) = (registry.user("alice").await, registry.user("bob").await);
    let team = unique_name("team");
    alice.put(&path(&team)).await.is(201);
    let hand_over = |from: &Client, to: &str| from.put(&(path(&team) + "/owner")).json(&json!({ "owner": to }));
    hand_over(&bob, bob.name()).await.is_error(404, "NOT_FOUND");
    put_member(&alice, &team, &bob, "writer").await.is(204);
    hand_over(&bob, bob.name()).await.is_error(403, "DENIED");
    hand_over(&alice, "nobody-of-that-name").await.is_error(404, "NOT_FOUND");
    hand_over(&alice, "No User").await.is_error(400, "REQUEST_INVALID");
    hand_over(&alice, bob.name()).await.is(204);
    assert_eq!(bob.get(&path(&team)).await.is(200).json()["owner"], bob.name());
    let membership = |user: &Client| format!("{}/members/{}", path(&team), user.name());
    alice.delete(&membership(&bob)).await.is_error(409, "CONFLICT");
    bob.delete(&membership(&alice)).await.is(204);
    alice.get(&path(&team)).await.is_error(404, "NOT_FOUND");
    alice.post(&format!("/v2/{team}/app/blobs/uploads/")).await.is_error(403, "DENIED");
}

/// The repositories of a namespace are its members' to see, and its owners' to delete.
#[tokio::test]
async fn repositories_are_listed_and_deleted() {
    let registry = TestRegistry::shared().await;
    let (alice, bob, carol) = (registry.user("alice").await, registry.user("bob").await, registry.user("carol").await);
    let team = alice.name();
    let list = path(team) + "/repositories";
    let names: Vec<_> = ["a", "b/c", "d"].map(|name| alice.repository(name)).into();
    for name in &names {
        alice.push_new_image(name, "v1").await;
    }
    alice.set_visibility(&names[0], "public").await;
    put_member(&alice, team, &bob, "reader").await.is(204);
    for n in [1, 2, 100] {
        let found = walk(&bob, &list, n).await;
        assert_eq!(column(&found, "name"), names);
        assert_eq!(column(&found, "visibility"), ["public", "private", "private"]);
        assert_eq!(column(&found, "creator"), [team, team, team]);
    }
    carol.get(&list).await.is_error(404, "NOT_FOUND");

    let one = |name: &str| format!("/api/v1/repositories/{name}");
    assert_eq!(bob.get(&one(&names[1])).await.is(200).json()["name"], names[1]);
    carol.get(&one(&names[1])).await.is_error(404, "NAME_UNKNOWN");
    registry.anonymous().get(&one(&names[0])).await.is(200);
    registry.anonymous().get(&one(&names[1])).await.is_error(401, "UNAUTHORIZED");
    bob.get(&format!("/api/v1/{}/visibility", names[1])).await.is(200);
    carol.get(&format!("/api/v1/{}/visibility", names[1])).await.is_error(404, "NAME_UNKNOWN");

    carol.delete(&one(&names[1])).await.is_error(404, "NAME_UNKNOWN");
    carol.delete(&one(&names[0])).await.is_error(403, "DENIED");
    bob.delete(&one(&names[1])).await.is_error(403, "DENIED");
    alice.delete(&one(&names[1])).await.is(204);
    alice.delete(&one(&names[1])).await.is_error(404, "NAME_UNKNOWN");
    alice.get(&format!("/v2/{}/manifests/v1", names[1])).await.is_error(404, "NAME_UNKNOWN");
    assert_eq!(column(&walk(&alice, &list, 10).await, "name"), [&*names[0], &*names[2]]);
    // What is pushed there now is a new repository, and begins with nothing.
    alice.push_new_image(&names[1], "v2").await;
    alice.get(&format!("/v2/{}/manifests/v1", names[1])).await.is_error(404, "MANIFEST_UNKNOWN");
    assert_eq!(items(&bob.get(&list).await).len(), 3);
}

/// The command line deletes a repository beside a running server, and it is written down.
#[tokio::test]
async fn a_repository_is_deleted_on_the_command_line() {
    let registry = TestRegistry::start().await;
    let (admin, alice) = (registry.admin().await, registry.user("alice").await);
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    alice.get(&format!("/v2/{app}/manifests/v1")).await.is(200);
    registry.command(&["repository", "delete", &app], "").ok();
    // The server looks several times a second for what others wrote; on PostgreSQL it believes for two seconds what it knew.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    alice.get(&format!("/v2/{app}/manifests/v1")).await.is_error(404, "NAME_UNKNOWN");
    let log = super::log_of(&admin, &format!("repository:{app}")).await;
    assert_eq!(
        (&log.last().unwrap()["action"], &log.last().unwrap()["actor"]),
        (&"repository.delete".into(), &"system".into())
    );
    alice.push_new_image(&app, "v1").await;
}

/// A path that ends in `/visibility` is a repository's; a slash at the end makes it something else.
#[tokio::test]
async fn what_is_called_visibility_can_be_managed() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("visibility");
    alice.push_new_image(&app, "v1").await;
    assert_eq!(alice.get(&format!("/api/v1/{app}/visibility")).await.is(200).json()["name"], app);
    alice.delete(&format!("/api/v1/repositories/{app}")).await.is(405).has("allow", "GET, HEAD, PUT");
    alice.delete(&format!("/api/v1/repositories/{app}/")).await.is(204);
    alice.get(&format!("/v2/{app}/manifests/v1")).await.is_error(404, "NAME_UNKNOWN");
    alice.get("/api/v1/namespaces/visibility").await.is_error(404, "NAME_UNKNOWN");
    alice.get("/api/v1/namespaces/visibility/").await.is_error(404, "NOT_FOUND");
}
