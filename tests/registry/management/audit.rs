//! The log: every change of who may do what, every failed login, every delete, every tag that moves.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{change_user, column, id, log_of, personal_token, put_member, robot, walk};
use crate::harness::{Image, REQUEST_ID, Reply, TestRegistry, unique_name, unique_text};

/// The reply's request is written down as that action of that actor, once, from this address.
#[track_caller]
fn is_logged(log: &[Value], reply: &Reply, actor: &str, action: &str) {
    let request = reply.header(REQUEST_ID);
    let found: Vec<_> =
        log.iter().filter(|entry| entry["request_id"] == request && entry["action"] == action).collect();
    assert_eq!(found.len(), 1, "`{action}` of {reply:?}\n{log:#?}");
    assert_eq!((&found[0]["actor"], &found[0]["outcome"]), (&json!(actor), &json!("success")), "{found:?}");
    assert!(found[0]["address"].as_str().unwrap().starts_with("127."), "{found:?}");
    assert!(found[0]["at"].as_str().unwrap().ends_with('Z'), "{found:?}");
}

/// Whatever changes who may do what is written down with who did it, from where, and in which request.
#[tokio::test]
async fn every_change_is_written_down() {
    let registry = TestRegistry::start().await;
    let (admin, alice, bob) = (registry.admin().await, registry.user("alice").await, registry.user("bob").await);
    let (root, her) = (format!("user:{}", admin.name()), format!("user:{}", alice.name()));
    let team = unique_name("team");
    let namespace = format!("/api/v1/namespaces/{team}");
    let account = format!("/api/v1/users/{}", bob.name());
    let mut done = Vec::new();
    let mut note = |reply: Reply, actor: &str, action: &'static str| {
        assert!(reply.status < 300, "{reply:?}");
        done.push((reply, actor.to_owned(), action));
    };
    let new = json!({ "username": unique_name("new"), "password": "a good password" });
    note(registry.anonymous().post("/api/v1/users").json(&new).await, "anonymous", "user.create");
    note(change_user(&admin, &bob, json!({ "role": "admin" })).await, &root, "user.role");
    note(change_user(&admin, &bob, json!({ "disabled": true })).await, &root, "user.disable");
    note(change_user(&admin, &bob, json!({ "disabled": false })).await, &root, "user.enable");
    note(
        admin.put(&(account.clone() + "/password")).json(&json!({ "password": "another one" })).await,
        &root,
        "user.password",
    );
    note(alice.put(&namespace).await, &her, "namespace.claim");
    let default = json!({ "default_visibility": "internal" });
    note(alice.patch(&namespace).json(&default).await, &her, "namespace.default_visibility");
    note(put_member(&alice, &team, &bob, "writer").await, &her, "member.put");
    note(alice.delete(&format!("{namespace}/members/{}", bob.name())).await, &her, "member.remove");
    let owner = json!({ "owner": alice.name() });
    note(alice.put(&(namespace.clone() + "/owner")).json(&owner).await, &her, "namespace.transfer");
    let tokens = format!("/api/v1/users/{}/tokens", alice.name());
    let token = alice.post(&tokens).json(&json!({ "name": "ci", "scopes": ["*"] })).await;
    let number = id(&token.is(201).json());
    note(token, &her, "token.create");
    note(alice.delete(&format!("{tokens}/{number}")).await, &her, "token.revoke");
    let robots = namespace.clone() + "/robots";
    let machine = json!({ "name": "ci", "scopes": [format!("namespace:{team}:*")] });
    let machine = alice.post(&robots).json(&machine).await;
    let number = id(&machine.is(201).json());
    note(machine, &her, "token.create");
    note(alice.delete(&format!("{robots}/{number}")).await, &her, "token.revoke");
    let (_, ci) = robot(&alice, &team, "cd", &[&format!("namespace:{team}:*")]).await;
    let machine = format!("robot:{team}/cd");
    let app = format!("{team}/app");
    ci.push_new_image(&app, "v1").await;
    let image = Image::unique();
    ci.push_image(&app, "v2", &image).await;
    note(alice.put_visibility(&app, "public").await, &her, "repository.visibility");
    note(ci.put_manifest(&app, "v1", &image.manifest).await, &machine, "tag.move");
    note(ci.delete(&format!("/v2/{app}/manifests/v2")).await, &machine, "tag.delete");
    note(ci.delete(&format!("/v2/{app}/manifests/{}", image.digest())).await, &machine, "manifest.delete");
    let blob = ci.push_blob(&app, b"to be deleted").await;
    note(ci.delete(&format!("/v2/{app}/blobs/{blob}")).await, &machine, "blob.delete");
    note(alice.delete(&format!("/api/v1/repositories/{app}")).await, &her, "repository.delete");
    note(admin.delete(&account).await, &root, "user.delete");

    let log = walk(&admin, "/api/v1/audit", 7).await;
    for (reply, actor, action) in &done {
        is_logged(&log, reply, actor, action);
    }
    // What the command line does is there too, and what pushing makes.
    let actions: BTreeSet<_> = column(&log, "action").into_iter().collect();
    assert!(actions.contains("repository.create"), "{actions:?}");
    assert!(log.iter().any(|entry| entry["actor"] == "system" && entry["action"] == "user.create"), "{log:#?}");
    let text = Value::from(log).to_string();
    for secret in [alice.password(), admin.password(), ci.password(), "another one", "a good password"] {
        assert!(!text.contains(secret), "a secret is in the log");
    }
}

/// A tag that moves says from where and to where, and one that is pushed again to the same place does not move.
#[tokio::test]
async fn a_tag_that_moves_is_written_down() {
    let registry = TestRegistry::shared().await;
    let (admin, alice) = (registry.admin().await, registry.user("alice").await);
    let app = alice.repository("app");
    let one = alice.push_new_image(&app, "latest").await;
    let two = alice.push_new_image(&app, "latest").await;
    alice.put_manifest(&app, "latest", &two.manifest).await.is(201);
    let moves = log_of(&admin, &format!("tag:{app}:latest")).await;
    assert_eq!(column(&moves, "action"), ["tag.move"]);
    let detail = moves[0]["detail"].as_str().unwrap();
    assert!(detail.contains(&one.digest()) && detail.contains(&two.digest()), "{detail}");
}

/// A login that fails is written down with whom it was for and where it came from, and without what was tried.
#[tokio::test]
async fn a_failed_login_is_written_down() {
    let registry = TestRegistry::shared().await;
    let admin = registry.admin().await;
    let alice = registry.user("alice").await.elsewhere();
    let wrong = unique_text("wrong");
    let target = format!("user:{}", alice.name());
    let basic = alice.as_user(alice.name(), &wrong).with_basic().get("/auth/token").await;
    basic.is(401);
    let secret = format!("dpat_{}", "x".repeat(32));
    let token = alice.as_user(alice.name(), &secret).with_basic().get("/v2/").await;
    token.is(401);
    let log = log_of(&admin, &target).await;
    for reply in [&basic, &token] {
        let entry = log.iter().find(|entry| entry["request_id"] == reply.header(REQUEST_ID)).unwrap();
        assert_eq!((&entry["action"], &entry["outcome"]), (&json!("login"), &json!("failure")), "{entry}");
        assert!(entry["address"].as_str().unwrap().starts_with("127.77."), "{entry}");
    }
    let text = Value::from(log).to_string();
    assert!(!text.contains(&wrong) && !text.contains(&secret), "{text}");
}

/// How many failed logins those entries tell of.
fn failures<'a>(log: impl IntoIterator<Item = &'a Value>) -> u64 {
    log.into_iter().map(|entry| entry["times"].as_u64().unwrap()).sum()
}

/// R-TKP-01: a password that was refused a moment ago, and is refused again without a second look, is a failure each time.
#[tokio::test]
async fn a_failure_that_repeats_itself_is_counted() {
    let registry = TestRegistry::start().await;
    let admin = registry.admin().await;
    let alice = registry.user("alice").await.elsewhere();
    let mistyped = alice.as_user(alice.name(), &unique_text("mistyped")).with_basic();
    // Once the log is read, and once the process ends, nothing is left that is only counted.
    for times in [5, 10] {
        for n in 1..=5 {
            let path = if n % 2 == 0 { "/auth/token" } else { "/v2/" };
            mistyped.get(path).await.is_error(401, "UNAUTHORIZED");
        }
        if times == 10 {
            registry.restart();
        }
        let log = log_of(&admin, &format!("user:{}", alice.name())).await;
        let log: Vec<_> = log.iter().filter(|entry| entry["action"] == "login").collect();
        assert_eq!(failures(log.iter().copied()), times, "{log:#?}");
        assert!(log.len() < 6, "they are counted together: {log:#?}");
        for entry in log {
            assert_eq!((&entry["detail"], &entry["outcome"]), (&json!("password"), &json!("failure")), "{entry}");
            assert!(entry["address"].as_str().unwrap().starts_with("127.77."), "{entry}");
            assert!(entry["request_id"].is_string(), "{entry}");
        }
    }
}

/// What is turned away with 429 has failed, too; of many names that are tried from one address only the address is told.
#[tokio::test]
async fn what_is_turned_away_is_written_down() {
    let registry = TestRegistry::start().await;
    let admin = registry.admin().await;
    let alice = registry.user("alice").await.elsewhere();
    let mut answers = Vec::new();
    for _ in 0..30 {
        let guess = alice.as_user(alice.name(), &unique_text("guess")).with_basic();
        answers.push(guess.get("/auth/token").await.status);
    }
    let turned_away = answers.iter().filter(|status| **status == 429).count() as u64;
    assert!(turned_away > 5, "{answers:?}");
    let log = log_of(&admin, &format!("user:{}", alice.name())).await;
    let (late, early): (Vec<_>, Vec<_>) = log
        .iter()
        .filter(|entry| entry["action"] == "login")
        .partition(|entry| entry["detail"] == "password, after too many failures");
    assert_eq!((failures(late), failures(early)), (turned_away, 30 - turned_away), "{log:#?}");

    let secret = |n: u32| format!("dpat_{n:032}");
    let mut turned_away = 0;
    for n in 0..80 {
        let reply = alice.as_user(&format!("somebody{n}"), &secret(n)).with_basic().get("/v2/").await;
        turned_away += u64::from(reply.status == 429);
    }
    let log = log_of(&admin, "unknown").await;
    assert_eq!(failures(&log), turned_away, "{log:#?}");
    assert!(log.len() < 5, "they are counted together: {log:#?}");
}

/// R-AUZ-09: Basic credentials that cannot be read are a failed login of nobody knows whom, and bounded like others.
#[tokio::test]
async fn what_cannot_be_read_is_written_down() {
    let registry = TestRegistry::start().await;
    let admin = registry.admin().await;
    let nobody = registry.anonymous().elsewhere();
    let mut answers = Vec::new();
    // No base64, nothing, no colon, no UTF-8.
    for header in ["Basic !", "Basic", "Basic YWxpY2U=", "basic /zr/"].iter().cycle().take(80) {
        for path in ["/v2/", "/auth/token"] {
            answers.push(nobody.with_authorization(header).get(path).await.status);
        }
    }
    assert!(answers.iter().all(|status| matches!(status, 401 | 429)), "{answers:?}");
    assert_eq!(answers[0], 401);
    assert!(answers.contains(&429));
    let log = log_of(&admin, "unknown").await;
    assert_eq!(failures(&log), answers.len() as u64, "{log:#?}");
    assert!(log.len() < 6, "they are counted together: {log:#?}");
    // Other schemes are no login.
    nobody.with_authorization("Digest x").get("/v2/").await.is_error(401, "UNAUTHORIZED");
    assert_eq!(failures(&log_of(&admin, "unknown").await), answers.len() as u64);
}

/// Only admins read the log; it is filtered, newest first, and its pages hold still while more is written.
#[tokio::test]
async fn the_log_is_read_page_by_page() {
    let registry = TestRegistry::shared().await;
    let (admin, alice, bob) = (registry.admin().await, registry.user("alice").await, registry.user("bob").await);
    for path in ["/api/v1/audit", "/api/v1/audit/export"] {
        alice.get(path).await.is_error(403, "DENIED");
        registry.anonymous().get(path).await.is_error(401, "UNAUTHORIZED");
        admin.get(&format!("{path}?action=fly")).await.is_error(400, "REQUEST_INVALID");
        admin.head(path).await.is(200);
    }
    admin.get("/api/v1/audit?last=x").await.is_error(400, "REQUEST_INVALID");
    admin.get("/api/v1/audit/export?after=x").await.is_error(400, "REQUEST_INVALID");
    for n in 0..6 {
        put_member(&alice, alice.name(), &bob, ["reader", "writer"][n % 2]).await.is(204);
    }
    personal_token(&alice, "ci", &["*"]).await;
    let actor = format!("actor=user%3A{}", alice.name());
    let filter = format!("/api/v1/audit?{actor}&action=member.put");
    let found = walk(&admin, &filter, 2).await;
    assert_eq!(found.len(), 6);
    assert!(found.windows(2).all(|pair| id(&pair[0]) > id(&pair[1])), "{found:?}");
    assert!(column(&found, "actor").iter().all(|name| *name == format!("user:{}", alice.name())));
    // The link keeps the filter; what is written meanwhile is newer than what follows.
    let first = admin.get(&format!("{filter}&n=3")).await;
    put_member(&alice, alice.name(), &bob, "owner").await.is(204);
    let second = admin.get(&first.next().unwrap()).await;
    assert_eq!(super::items(&second), found[3..]);
    assert_eq!(walk(&admin, &format!("/api/v1/audit?{actor}&action=token.create"), 5).await.len(), 1);
    assert!(walk(&admin, "/api/v1/audit?actor=user%3Anobody", 5).await.is_empty());
}

/// The export is the same log as lines of JSON, oldest first, however long, and goes on where one left off.
#[tokio::test]
async fn the_log_is_exported() {
    let registry = TestRegistry::start().await;
    let (admin, alice, bob) = (registry.admin().await, registry.user("alice").await, registry.user("bob").await);
    for round in 0..13 {
        let role = ["reader", "writer"][round % 2];
        for reply in join_all((0..40).map(|_| put_member(&alice, alice.name(), &bob, role))).await {
            reply.is(204);
        }
    }
    let reply = admin.get("/api/v1/audit/export?action=member.put").await;
    reply.is(200).has("content-type", "application/x-ndjson").has("cache-control", "no-store");
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 520);
    let mut listed = walk(&admin, "/api/v1/audit?action=member.put", 300).await;
    listed.reverse();
    assert_eq!(lines, listed);
    let rest = admin.get(&format!("/api/v1/audit/export?action=member.put&after={}", id(&lines[500]))).await;
    assert_eq!(String::from_utf8_lossy(&rest.is(200).body).lines().count(), 19);
}
