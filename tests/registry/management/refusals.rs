//! What every endpoint of the management API keeps, whatever it is for.

use http::Method;
use serde_json::{Value, json};

use super::{personal_token, robot};
use crate::harness::TestRegistry;

/// Every endpoint for people, as the served document lists them, about that user's own things.
async fn requests(registry: &TestRegistry, name: &str, app: &str) -> Vec<(Method, String, bool)> {
    let document = registry.anonymous().get("/api/v1/openapi.json").await.is(200).json();
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api/v1/") || path.ends_with("openapi.json") || path.ends_with("/users") {
            continue;
        }
        let filled = path.replace("{username}", name).replace("{namespace}", name);
        let filled = filled.replace("{repository}", app).replace("{token}", "1");
        for (method, operation) in operations.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            let public = operation["security"].as_array().unwrap().contains(&json!({}));
            found.push((method.to_uppercase().parse().unwrap(), filled.clone(), public));
            if method == "get" {
                found.push((Method::HEAD, filled.clone(), public));
            }
        }
    }
    assert!(found.len() > 30, "{found:?}");
    found
}

/// R-AUZ-03, I8: nobody, robots, tokens for repositories and narrowed tokens manage nothing, on no endpoint.
#[tokio::test]
async fn only_whole_credentials_of_users_manage() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let scope = format!("repository:{app}:pull,push,delete");
    let (_, narrow) = personal_token(&alice, "narrow", &[&format!("namespace:{}:*", alice.name())]).await;
    let (_, machine) = robot(&alice, alice.name(), "ci", &[&format!("namespace:{}:*", alice.name())]).await;
    let nobody = registry.anonymous();
    let cases = [
        ("nobody", nobody.clone(), 401),
        ("an anonymous token", nobody.log_in().await, 401),
        ("a scoped token", alice.scoped(&[&scope]).await, 401),
        ("a narrowed token", narrow.clone(), 403),
        ("a JWT of a narrowed token", narrow.log_in().await, 403),
        ("a robot", machine.clone(), 403),
        ("a JWT of a robot", machine.log_in().await, 403),
    ];
    for (method, path, public) in requests(&registry, alice.name(), &app).await {
        for (who, client, status) in &cases {
            let reply = client.call(method.clone(), &path).json(&Value::Null).await;
            // Reading about a repository takes no more than pulling from it.
            let reads = public && (reply.status == 200 || reply.status == 401);
            assert!(reply.status == *status || reads, "{who}: {reply:?}");
        }
    }
}

/// R-ERR-01, I8: bodies that are not as documented are refused before anything happens, in one format.
#[tokio::test]
async fn bodies_are_read_strictly() {
    let registry = TestRegistry::shared().await;
    let admin = registry.admin().await;
    let app = admin.repository("app");
    admin.push_new_image(&app, "v1").await;
    let document = registry.anonymous().get("/api/v1/openapi.json").await.is(200).json();
    for (method, path, _) in requests(&registry, admin.name(), &app).await {
        if !matches!(method, Method::POST | Method::PUT | Method::PATCH) || !path.contains(admin.name()) {
            continue;
        }
        let template = path.replace(&app, "{repository}").replace(admin.name(), "{username}");
        let operation = [template.clone(), template.replace("{username}", "{namespace}")]
            .iter()
            .map(|template| document["paths"][template][method.as_str().to_lowercase()].clone())
            .find(Value::is_object);
        if operation.is_some_and(|operation| operation["requestBody"].is_null()) {
            continue;
        }
        for body in ["", "{", "null", "[]", "5", r#"{"unheard":"of"}"#, "\u{feff}{}"] {
            let reply = admin.call(method.clone(), &path).header("content-type", "application/json").body(body).await;
            assert_eq!(reply.status, 400, "{body:?}: {reply:?}");
        }
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(70 << 10));
        admin.call(method.clone(), &path).header("content-type", "application/json").body(long).await.is(413);
    }
}
