//! The document about the API is what the API does.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{personal_token, robot};
use crate::harness::{Reply, TestRegistry, unique_name};

/// The document, by which replies are judged.
struct Document(Value);

impl Document {
    fn resolve<'v>(&'v self, mut schema: &'v Value) -> &'v Value {
        while let Some(target) = schema["$ref"].as_str() {
            schema = self.0.pointer(target.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("no {target}"));
        }
        schema
    }

    /// Panics unless the value has just the fields that the schema has, of the types that it says.
    fn judge(&self, schema: &Value, value: &Value, path: &str) {
        let schema = self.resolve(schema);
        if let Some(any) = schema["anyOf"].as_array() {
            let fits = |one: &&Value| (value.is_null()) == (one["type"] == "null");
            return self.judge(
                any.iter().find(fits).unwrap_or_else(|| panic!("{path}: {value} fits none")),
                value,
                path,
            );
        }
        if let Some(words) = schema["enum"].as_array() {
            assert!(words.contains(value), "{path}: {value} is none of {words:?}");
        }
        let actual = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        match &schema["type"] {
            Value::String(kind) => assert_eq!(kind, actual, "{path}: {value}"),
            Value::Array(kinds) => assert!(kinds.contains(&json!(actual)), "{path}: {value} is none of {kinds:?}"),
            _ => {}
        }
        for item in value.as_array().into_iter().flatten() {
            self.judge(&schema["items"], item, &format!("{path}[]"));
        }
        if let Some(fields) = value.as_object() {
            let known = schema["properties"].as_object().unwrap_or_else(|| panic!("{path}: no properties: {schema}"));
            for (name, value) in fields {
                let schema = known.get(name).unwrap_or_else(|| panic!("{path}: `{name}` is not documented"));
                self.judge(schema, value, &format!("{path}.{name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(fields.contains_key(name.as_str().unwrap()), "{path}: no {name}");
            }
        }
    }

    /// Panics unless the reply is one that the document has for that operation.
    fn describes(&self, method: &str, template: &str, reply: &Reply) {
        let responses = &self.0["paths"][template][method]["responses"];
        let exact = &responses[reply.status.to_string()];
        let range = &responses[if reply.status < 500 { "4XX" } else { "5XX" }];
        let response = self.resolve(if exact.is_null() { range } else { exact });
        assert!(response.is_object(), "{method} {template}: no response is documented: {reply:?}");
        if reply.status == 204 {
            assert!(response["content"].is_null());
            return;
        }
        let kind = reply.header("content-type");
        let schema = &response["content"][kind]["schema"];
        assert!(schema.is_object(), "{method} {template}: no `{kind}`: {response}");
        for line in String::from_utf8_lossy(&reply.body).lines() {
            self.judge(schema, &serde_json::from_str(line).unwrap(), template);
        }
    }
}

/// What is answered has the statuses, types and fields that the document says.
#[tokio::test]
async fn replies_are_as_documented() {
    let registry = TestRegistry::start().await;
    let (admin, alice) = (registry.admin().await, registry.user("alice").await);
    let document = registry.anonymous().get("/api/v1/openapi.json").await;
    document.is(200).has("content-type", "application/json");
    let document = Document(document.json());
    let (name, app) = (alice.name(), alice.repository("app"));
    alice.push_new_image(&app, "v1").await;
    alice.with_basic().get("/auth/token?offline_token=true").await.is(200);
    let (token, _) = personal_token(&alice, "one", &["*"]).await;
    let (machine, _) = robot(&alice, name, "one", &[&format!("namespace:{name}:pull")]).await;
    let session = super::items(&alice.get(&format!("/api/v1/users/{name}/sessions")).await)[0]["id"].clone();
    let new = unique_name("new");

    let mut seen = BTreeSet::new();
    for (method, template, status, body) in [
        ("get", "/auth/token", 200, Value::Null),
        ("get", "/api/v1/user", 200, Value::Null),
        ("get", "/api/v1/users", 200, Value::Null),
        ("post", "/api/v1/users", 201, json!({ "username": new, "password": "a good password" })),
        ("get", "/api/v1/users/{username}", 200, Value::Null),
        ("patch", "/api/v1/users/{username}", 200, json!({ "role": "admin" })),
        ("put", "/api/v1/users/{username}/password", 403, json!({ "password": "a good password" })),
        ("get", "/api/v1/users/{username}/tokens", 200, Value::Null),
        ("post", "/api/v1/users/{username}/tokens", 201, json!({ "name": "n", "scopes": ["*"], "expires_in": 9 })),
        ("get", "/api/v1/users/{username}/tokens/{token}", 200, Value::Null),
        ("delete", "/api/v1/users/{username}/tokens/{token}", 204, Value::Null),
        ("get", "/api/v1/users/{username}/sessions", 200, Value::Null),
        ("delete", "/api/v1/users/{username}/sessions/{token}", 204, Value::Null),
        ("get", "/api/v1/namespaces", 200, Value::Null),
        ("get", "/api/v1/namespaces/{namespace}", 200, Value::Null),
        ("put", "/api/v1/namespaces/{namespace}", 200, Value::Null),
        ("patch", "/api/v1/namespaces/{namespace}", 200, json!({ "default_visibility": "internal" })),
        ("get", "/api/v1/namespaces/{namespace}/members", 200, Value::Null),
        ("put", "/api/v1/namespaces/{namespace}/members/{username}", 204, json!({ "role": "owner" })),
        ("delete", "/api/v1/namespaces/{namespace}/members/{username}", 409, Value::Null),
        ("put", "/api/v1/namespaces/{namespace}/owner", 204, json!({ "owner": name })),
        ("get", "/api/v1/namespaces/{namespace}/robots", 200, Value::Null),
        (
            "post",
            "/api/v1/namespaces/{namespace}/robots",
            201,
            json!({ "name": "n", "scopes": [format!("namespace:{name}:*")] }),
        ),
        ("get", "/api/v1/namespaces/{namespace}/robots/{token}", 200, Value::Null),
        ("delete", "/api/v1/namespaces/{namespace}/robots/{token}", 204, Value::Null),
        ("get", "/api/v1/namespaces/{namespace}/repositories", 200, Value::Null),
        ("get", "/api/v1/{repository}/visibility", 200, Value::Null),
        ("put", "/api/v1/{repository}/visibility", 200, json!({ "visibility": "public" })),
        ("get", "/api/v1/repositories/{repository}", 200, Value::Null),
        ("delete", "/api/v1/repositories/{repository}", 204, Value::Null),
        ("get", "/api/v1/audit", 200, Value::Null),
        ("get", "/api/v1/audit/export", 200, Value::Null),
        ("delete", "/api/v1/users/{username}", 204, Value::Null),
    ] {
        let number = if template.contains("sessions") {
            session.to_string()
        } else if template.contains("robots") {
            machine.to_string()
        } else {
            token.to_string()
        };
        let path = template.replace("{username}", name).replace("{namespace}", name);
        let path = path.replace("{repository}", &app).replace("{token}", &number);
        // Alice for what is hers, and the admin for the rest: the order above makes her one half way.
        let client = match template {
            "/auth/token" => alice.with_basic(),
            _ if method == "delete" && template == "/api/v1/users/{username}" => admin.clone(),
            _ if method == "patch" && template == "/api/v1/users/{username}" => admin.clone(),
            "/api/v1/users" => admin.clone(),
            _ => alice.clone(),
        };
        let mut call = client.call(method.to_uppercase().parse().unwrap(), &path);
        if !body.is_null() {
            call = call.json(&body);
        }
        let reply = call.await;
        assert_eq!(reply.status, status, "{reply:?}");
        document.describes(method, template, &reply);
        seen.insert(format!("{method} {template}"));
    }
    let form = format!("grant_type=password&username={}&password=wrong", admin.name());
    let post = registry.anonymous().post("/auth/token").header("content-type", "application/x-www-form-urlencoded");
    document.describes("post", "/auth/token", &post.body(form).await);
    seen.extend(["post /auth/token".to_owned(), "get /api/v1/openapi.json".to_owned()]);

    let mut documented = BTreeSet::new();
    for (path, operations) in document.0["paths"].as_object().unwrap() {
        documented.extend(
            operations.as_object().unwrap().keys().filter(|k| *k != "parameters").map(|k| format!("{k} {path}")),
        );
    }
    assert_eq!(seen, documented, "an endpoint is not tried here, or is not there any more");
}
