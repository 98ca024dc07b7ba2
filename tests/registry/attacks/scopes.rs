//! Scopes that are made to confuse.

use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::weakened::{Answer, Meddler};
use super::{Breaches, Weakened};
use crate::harness::{Client, TestRegistry, claims};

/// Names that look like alice's repository to whoever is generous with names.
fn scopes(private: &str) -> Vec<String> {
    let (namespace, name) = private.split_once('/').unwrap();
    let mut scopes = vec![
        "repository:*:pull".to_owned(),
        "repository:*:*".to_owned(),
        format!("repository:{namespace}/*:pull"),
        format!("repository:{namespace}/**:*"),
        "repository:%:pull".to_owned(),
        "repository:_:pull".to_owned(),
        "repository::pull".to_owned(),
        format!("repository:{private}:"),
        format!("repository:{private}:,"),
        format!("repository:{private}:PULL"),
        format!("repository:{private}:pull*"),
        format!("repository:{private}:admin"),
        format!("REPOSITORY:{private}:pull"),
        format!("repository:{}:pull", private.to_uppercase()),
        format!("repository:{}/{}:pull", namespace.to_uppercase(), name),
        format!("repository:mallory/../{private}:pull"),
        format!("repository:./{private}:pull"),
        format!("repository:/{private}:pull"),
        format!("repository:{private}/:pull"),
        format!("repository:{namespace}//{name}:pull"),
        format!("repository:{namespace}%2F{name}:pull"),
        format!("repository:{namespace}%252F{name}:pull"),
        format!("repository:{namespace}\\{name}:pull"),
        format!("repository:{namespace}\u{2215}{name}:pull"),
        format!("repository:{namespace}\u{ff0f}{name}:pull"),
        format!("repository:{private}\u{0}:pull"),
        format!("repository:{private}\u{200b}:pull"),
        format!("repository:{}:pull", private.replace('a', "\u{430}")),
        format!("repository:{}:pull", private.replace('s', "\u{17f}")),
        format!("repository:{private}#x:pull"),
        format!("repository:{private}?x:pull"),
        format!("repository:{private};x:pull"),
        format!("repository:{private}:443:pull"),
        format!("repository(*):{private}:pull"),
        format!("repository(plugin:{private}:pull"),
        format!("registry:{private}:*"),
        "registry:*:*".to_owned(),
        "registry:catalog:*".to_owned(),
        "admin:*:*".to_owned(),
        format!("namespace:{namespace}:*"),
        format!("repository:{private}:pull repository:{private}:push"),
        format!("repository:{private}:pull\trepository:x:pull"),
        format!("\"repository:{private}:pull\""),
        format!("[\"repository:{private}:pull\"]"),
        "*".to_owned(),
        "null".to_owned(),
    ];
    scopes.push(format!("repository:{private}:{}", vec!["pull"; 5000].join(",")));
    scopes
}

/// Asks for each, with mallory's credentials or none, and tries what came of it.
async fn attack(client: &Client, private: &str) -> Breaches {
    let mut got = Breaches::default();
    for scope in scopes(private) {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("service", "distribution").append_pair("scope", &scope);
        let reply = client.get(&format!("/auth/token?{}", query.finish())).await;
        let shown: String = scope.chars().take(80).collect();
        if reply.status == 414 || reply.status == 400 {
            continue; // too long to be read is a refusal as well
        }
        let token = reply.is(200).json()["token"].as_str().unwrap().to_owned();
        let claims = claims(&token);
        for entry in claims["access"].as_array().unwrap() {
            let catalog = entry["type"] == "registry" && entry["name"] == "catalog";
            got.add_if(!catalog && entry["actions"] != json!([]), || format!("{shown}: {entry} was granted"));
        }
        got.add_if(claims["unscoped"] == json!(true), || format!("{shown}: all rights were granted"));
        let bearer = client.with_token(&token);
        let status = bearer.get(&format!("/v2/{private}/tags/list")).await.status;
        got.add_if(!matches!(status, 401 | 404), || format!("{shown}: {status} from a private repository"));
        let status = bearer.get("/api/v1/user").await.status;
        got.add_if(status != 401, || format!("{shown}: {status} from the management"));
    }
    got
}

/// A registry that is generous with names, and believes a token's scope whoever it was issued to.
struct Generous {
    private: String,
    owner: String,
}

impl Meddler for Generous {
    fn before(&self, request: &mut Parts) -> Option<Answer> {
        let uri = request.uri.to_string();
        let decoded = percent_decode_str(&uri).decode_utf8_lossy().into_owned();
        let decoded = percent_decode_str(&decoded).decode_utf8_lossy().to_lowercase();
        let alike = decoded.replace("//", "/").contains(&self.private.to_lowercase());
        if uri.starts_with("/auth/token?") && alike {
            let scope = format!("/auth/token?scope=repository:{}:pull", self.private);
            request.uri = scope.parse().unwrap();
            request.headers.insert("authorization", self.owner.parse().unwrap());
        }
        None
    }
}

/// Scope strings made to confuse (wildcards, empty actions, tricks with names, unicode, double encoding, `..`, upper
/// case) are granted nothing, and open nothing.
#[tokio::test]
async fn confusing_scopes_open_nothing() {
    let registry = TestRegistry::start().await;
    let (alice, mallory) = (registry.user("alice").await, registry.user("mallory").await);
    let private = alice.repository("secrets");
    alice.push_new_image(&private, "v1").await;
    for client in [&mallory.with_basic(), &registry.anonymous()] {
        attack(client, &private).await.none();
    }
    let owner = crate::harness::basic(alice.name(), alice.password());
    let weak = Weakened::before(&registry.anonymous(), Generous { private: private.clone(), owner }).await;
    attack(&weak.seen_by(&mallory.with_basic()), &private).await.some();
}
