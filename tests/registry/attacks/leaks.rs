//! Looking for secrets wherever the registry writes something.

use serde_json::json;

use super::Breaches;
use crate::harness::{Client, TestRegistry, basic, unique_text};
use crate::management::{personal_token, robot, walk};

const JWT_SECRET: &str = "the secret of all the tokens of this registry";
const PEPPER: &str = "0123456789abcdef";

/// What nobody may read anywhere, with what it is.
type Secrets = Vec<(&'static str, String)>;

/// Everything that the registry has written where somebody else can read it.
async fn written(registry: &TestRegistry, admin: &Client, replies: &[String]) -> Vec<(&'static str, String)> {
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let metrics = registry.anonymous().get("/metrics").await;
    let audit = walk(admin, "/api/v1/audit", 1000).await;
    vec![
        ("the log", registry.log()),
        ("the metrics", String::from_utf8_lossy(&metrics.body).into_owned()),
        ("the audit log", serde_json::Value::from(audit).to_string()),
        ("a reply", replies.join("\n")),
    ]
}

fn search(secrets: &Secrets, written: &[(&'static str, String)]) -> Breaches {
    let mut got = Breaches::default();
    for (place, text) in written {
        for (what, secret) in secrets {
            let escaped: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            for spelling in [secret, &escaped, &secret.replace(' ', "%20")] {
                if let Some(line) = text.lines().find(|line| line.contains(spelling.as_str())) {
                    got.add(format!("{place} has {what}: {}", line.chars().take(300).collect::<String>()));
                    break;
                }
            }
        }
    }
    got
}

/// Sends the secrets in every place that takes one, rightly and wrongly, and gives what came back.
async fn use_everywhere(registry: &TestRegistry, secrets: &Secrets, name: &str) -> Vec<String> {
    let nobody = registry.anonymous();
    let mut replies = Vec::new();
    let form = |fields: &[(&str, &str)]| {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        nobody.post("/auth/token").header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    for (_, secret) in secrets {
        // Each from somewhere else, so that no limit comes between.
        let client = nobody.elsewhere();
        let calls = [
            client.with_authorization(&basic(name, secret)).get("/v2/"),
            client.with_authorization(&basic("nobody-of-that-name", secret)).get("/v2/"),
            client.with_authorization(&format!("Bearer {secret}")).get("/v2/a/b/tags/list"),
            client.with_authorization(&format!("Digest {secret}")).get("/v2/"),
            client.with_authorization(&basic(name, secret)).get("/auth/token?offline_token=maybe"),
            form(&[("grant_type", "password"), ("username", name), ("password", secret)]),
            form(&[("grant_type", "refresh_token"), ("refresh_token", secret)]),
            form(&[("grant_type", secret)]),
            client.post("/api/v1/users").json(&json!({ "username": "A B", "password": secret })),
            client.post("/api/v1/users").json(&json!({ "username": name, "password": secret })),
            client.post("/api/v1/users").json(&json!({ "username": 5, "password": [secret] })),
            client.post("/api/v1/users").body(format!("{{\"password\":\"{secret}\"")),
        ];
        for call in calls {
            let reply = call.await;
            // A token that was asked for, rightly, is in its reply.
            if reply.status >= 400 {
                replies.push(format!("{reply:?}"));
            }
        }
    }
    replies
}

/// No secret in any log, error or metric, whatever was asked for and however loud the log is.
#[tokio::test]
async fn no_secret_is_written_anywhere() {
    let registry = TestRegistry::with(|settings| {
        settings.set("RUST_LOG", "trace").set("JWT_SECRET", JWT_SECRET).set("PASSWORD_SALT", PEPPER);
    })
    .await;
    let (admin, alice) = (registry.admin().await, registry.user("alice").await);
    let (_, token) = personal_token(&alice, "ci", &["*"]).await;
    let (_, machine) = robot(&alice, alice.name(), "ci", &[&format!("namespace:{}:*", alice.name())]).await;
    let login = alice.with_basic().get("/auth/token?offline_token=true").await.is(200).json();
    let bearer = alice.token(&[]).await;
    let new = unique_text("a new pass");
    let secrets: Secrets = vec![
        ("a password", alice.password().to_owned()),
        ("an admin's password", admin.password().to_owned()),
        ("a personal token", token.password().to_owned()),
        ("a robot's secret", machine.password().to_owned()),
        ("a refresh token", login["refresh_token"].as_str().unwrap().to_owned()),
        ("a token's signature", bearer.rsplit('.').next().unwrap().to_owned()),
        ("Basic credentials", basic(alice.name(), alice.password())["Basic ".len()..].to_owned()),
        ("the secret of tokens", JWT_SECRET.to_owned()),
        ("the pepper", PEPPER.to_owned()),
        ("a hash", "$argon2".to_owned()),
        ("a new password", new.clone()),
    ];
    let change = json!({ "old_password": alice.password(), "password": new });
    alice.put(&format!("/api/v1/users/{}/password", alice.name())).json(&change).await.is(204);
    let replies = use_everywhere(&registry, &secrets, alice.name()).await;
    assert!(replies.len() > 50);
    search(&secrets, &written(&registry, &admin, &replies).await).none();

    // The search finds what is there: a path is logged, so a secret in one is seen.
    let planted = vec![("a planted secret", "planted-where-it-is-seen".to_owned())];
    registry.anonymous().get("/v2/planted-where-it-is-seen/tags/list").await.is(401);
    search(&planted, &written(&registry, &admin, &[]).await).some();
}
