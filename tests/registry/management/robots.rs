//! Robots: machines that belong to a namespace and outlast the people in it.

use std::time::Duration;

use serde_json::json;

use super::{change_user, column, put_member, robot, secret, walk};
use crate::harness::TestRegistry;

fn robots(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/robots")
}

/// A robot pushes and pulls as far as its scopes reach; deleting has to be among them.
#[tokio::test]
async fn a_robot_does_what_it_was_made_for() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let team = alice.name();
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "v1").await;
    let (_, ci) = robot(&alice, team, "ci", &[&format!("namespace:{team}:pull,push")]).await;
    assert_eq!(ci.name(), format!("{team}+ci"));
    for client in [&ci, &ci.log_in().await, &ci.scoped(&[&format!("repository:{app}:pull,push,delete")]).await] {
        client.get(&format!("/v2/{app}/manifests/v1")).await.is(200);
        client.put_manifest(&app, "v2", &image.manifest).await.is(201);
        let refused = client.delete(&format!("/v2/{app}/manifests/v2")).await;
        assert!(matches!(refused.status, 401 | 403), "{refused:?}");
    }
    ci.push_new_image(&alice.repository("made-by-ci"), "v1").await;
    let (_, pruner) = robot(&alice, team, "pruner", &[&format!("repository:{app}:pull,delete")]).await;
    pruner.delete(&format!("/v2/{app}/manifests/v2")).await.is(202);
    pruner.put_manifest(&app, "v2", &image.manifest).await.is_error(403, "DENIED");
    pruner.get(&format!("/v2/{}/manifests/v1", alice.repository("made-by-ci"))).await.is_error(404, "NAME_UNKNOWN");
    // Elsewhere it is a stranger, and it manages nothing anywhere.
    let bob = registry.user("bob").await;
    bob.push_new_image(&bob.repository("app"), "v1").await;
    ci.get(&format!("/v2/{}/manifests/v1", bob.repository("app"))).await.is_error(404, "NAME_UNKNOWN");
    ci.post(&format!("/v2/{}/blobs/uploads/", bob.repository("app"))).await.is_error(403, "DENIED");
    for path in ["/api/v1/user".to_owned(), robots(team), format!("/api/v1/namespaces/{team}")] {
        ci.get(&path).await.is_error(403, "DENIED");
    }
    ci.put_visibility(&app, "public").await.is_error(403, "DENIED");
}

/// The scopes of a robot stay within its namespace, and its name is one word.
#[tokio::test]
async fn a_bad_robot_is_not_made() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let team = alice.name();
    let good = format!("namespace:{team}:pull");
    for (name, scopes) in [
        ("ci", vec!["*"]),
        ("ci", vec!["namespace:somebody:pull"]),
        ("ci", vec!["repository:somebody/app:pull"]),
        ("ci", vec![&*good, "repository:somebody:pull"]),
        ("ci", vec![]),
        ("", vec![&*good]),
        ("C", vec![&*good]),
        ("a/b", vec![&*good]),
        ("a+b", vec![&*good]),
        ("$ci", vec![&*good]),
        ("..", vec![&*good]),
    ] {
        let reply = alice.post(&robots(team)).json(&json!({ "name": name, "scopes": scopes })).await;
        reply.is_error(400, "REQUEST_INVALID");
    }
    let twice = json!({ "name": "ci", "scopes": [good] });
    alice.post(&robots(team)).json(&twice).await.is(201);
    alice.post(&robots(team)).json(&twice).await.is_error(409, "CONFLICT");
}

/// Only owners have to do with robots; to strangers there is not even a namespace.
#[tokio::test]
async fn robots_are_the_owners() {
    let registry = TestRegistry::shared().await;
    let (alice, bob) = (registry.user("alice").await, registry.user("bob").await);
    let team = alice.name();
    let body = json!({ "name": "mine", "scopes": [format!("namespace:{team}:*")] });
    let (number, _) = robot(&alice, team, "ci", &[&format!("namespace:{team}:pull")]).await;
    let one = format!("{}/{number}", robots(team));
    for role in [None, Some("reader"), Some("writer")] {
        if let Some(role) = role {
            put_member(&alice, team, &bob, role).await.is(204);
        }
        let (status, code) = if role.is_some() { (403, "DENIED") } else { (404, "NOT_FOUND") };
        bob.get(&robots(team)).await.is_error(status, code);
        bob.get(&one).await.is_error(status, code);
        bob.post(&robots(team)).json(&body).await.is_error(status, code);
        bob.delete(&one).await.is_error(status, code);
    }
    put_member(&alice, team, &bob, "owner").await.is(204);
    bob.post(&robots(team)).json(&body).await.is(201);
    assert_eq!(column(&walk(&bob, &robots(team), 1).await, "name"), [format!("{team}+ci"), format!("{team}+mine")]);
    // Another namespace's robot is not there.
    bob.delete(&format!("{}/{number}", robots(bob.name()))).await.is_error(404, "NOT_FOUND");
    let shown = bob.get(&one).await;
    assert_eq!(shown.is(200).json()["namespace"], team);
    bob.head(&one).await.is(200);
}

/// A person who leaves does not break CI.
#[tokio::test]
async fn a_robot_outlasts_its_maker() {
    let registry = TestRegistry::shared().await;
    let (alice, bob, admin) = (registry.user("alice").await, registry.user("bob").await, registry.admin().await);
    let team = alice.name();
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    put_member(&alice, team, &bob, "owner").await.is(204);
    let (_, ci) = robot(&bob, team, "ci", &[&format!("namespace:{team}:pull")]).await;
    let issued = ci.log_in().await;
    alice.delete(&format!("/api/v1/namespaces/{team}/members/{}", bob.name())).await.is(204);
    change_user(&admin, &bob, json!({ "disabled": true })).await.is(200);
    admin.delete(&format!("/api/v1/users/{}", bob.name())).await.is(204);
    for client in [&ci, &issued] {
        client.get(&format!("/v2/{app}/manifests/v1")).await.is(200);
    }
}

/// I6: a robot that is removed or whose time is over is nobody at once, whatever tokens it has out.
#[tokio::test]
async fn a_removed_robot_is_nobody() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await.elsewhere();
    let team = alice.name();
    let scope = format!("namespace:{team}:*");
    let (number, ci) = robot(&alice, team, "ci", &[&scope]).await;
    let issued = ci.log_in().await;
    issued.get("/v2/").await.is(200);
    alice.delete(&format!("{}/{number}", robots(team))).await.is(204);
    for client in [&ci, &issued] {
        client.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    }
    // One of the same name is another one.
    let (_, again) = robot(&alice, team, "ci", &[&scope]).await;
    again.get("/v2/").await.is(200);
    issued.get("/v2/").await.is_error(401, "UNAUTHORIZED");

    let short = json!({ "name": "short", "scopes": [scope], "expires_in": 2 });
    let short = alice.post(&robots(team)).json(&short).await.is(201).json();
    let short = alice.as_user(short["name"].as_str().unwrap(), secret(&short)).with_basic();
    let issued = short.log_in().await;
    issued.get("/v2/").await.is(200);
    tokio::time::sleep(Duration::from_millis(2200)).await;
    for client in [&short, &issued] {
        client.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    }
}

/// What the server has asked its database about who may do what, so far.
async fn questions(registry: &TestRegistry) -> u64 {
    let reply = registry.anonymous().get("/metrics").await;
    let text = String::from_utf8(reply.is(200).body.to_vec()).unwrap();
    let counts = text.lines().filter(|line| line.starts_with("registry_db_query_duration_seconds_count{"));
    let about = ["facts", "token", "token_by_secret", "account", "account_by_id"].map(|op| format!("op=\"{op}\""));
    let asked = counts.filter(|line| about.iter().any(|op| line.contains(op)));
    asked.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// A fleet's pulls by robot are decided from memory, like a member's, and a change ends that at once.
#[tokio::test]
async fn a_robot_that_pulls_again_asks_the_database_nothing() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let team = alice.name();
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let (number, ci) = robot(&alice, team, "ci", &[&format!("namespace:{team}:pull")]).await;
    let manifest = format!("/v2/{app}/manifests/v1");
    for client in [&ci, &ci.log_in().await, &ci.scoped(&[&format!("repository:{app}:pull")]).await] {
        client.get(&manifest).await.is(200);
        client.get(&manifest).await.is(200);
        let before = questions(&registry).await;
        assert!(before > 0, "questions are counted");
        client.get(&manifest).await.is(200);
        assert_eq!(questions(&registry).await, before);
    }
    // Where it was not granted anything, it is told the same as of what does not exist, and as slowly.
    let (_, narrow) = robot(&alice, team, "narrow", &[&format!("repository:{team}/other:pull")]).await;
    narrow.get("/v2/").await.is(200); // its first use is noted
    for path in [&manifest, &format!("/v2/{team}/nothing/manifests/v1")] {
        narrow.get(path).await.is_error(404, "NAME_UNKNOWN");
        let before = questions(&registry).await;
        narrow.get(path).await.is_error(404, "NAME_UNKNOWN");
        assert_eq!(questions(&registry).await, before + 1, "{path}");
    }
    alice.delete(&format!("/api/v1/repositories/{app}")).await.is(204);
    ci.get(&manifest).await.is_error(404, "NAME_UNKNOWN");
    alice.delete(&format!("{}/{number}", robots(team))).await.is(204);
    ci.get(&manifest).await.is_error(401, "UNAUTHORIZED");
}
