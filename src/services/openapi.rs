//! The management API and the token service as an OpenAPI 3.1 document.
//!
//! Written from `routes.toml` and from the types that the services themselves
//! take and give: there is no second list of endpoints, and no second
//! description of a body, that could come to differ from what is answered.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::reply::Described;
use super::words::{Spelled, Word};
use super::{
    AccessTokens, Audit, Call, Error, IntoResponse, Members, Namespaces, Repositories, Robots, Sessions, Tokens, Users,
};
use crate::domain::{Namespace, RepositoryName, Username};
use crate::protocol::{Body, Response};
use crate::router;
use crate::router::{Access, BodyClass, Endpoint};

include!(concat!(env!("OUT_DIR"), "/operations.rs"));

/// Serves the document.
#[derive(Clone)]
pub struct Openapi {
    document: Bytes,
}

/// The document as a reply.
pub struct Document(Bytes);

/// What a service takes and gives, as its method's types describe it.
struct Operation {
    body: Option<Schema>,
    statuses: &'static [StatusCode],
    reply: Option<(&'static str, Schema)>,
}

impl Openapi {
    /// The document of a registry whose public URL has this path, empty for none.
    pub fn new(prefix: &str) -> Self {
        Self { document: document(prefix).to_string().into() }
    }

    /// The document.
    ///
    /// # Errors
    /// None of its own.
    pub async fn get(&self, _: router::Openapi, _: Call) -> Result<Document, Error> {
        Ok(Document(self.document.clone()))
    }
}

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.0));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl Described for Document {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];
    const MEDIA_TYPE: Option<&'static str> = Some("application/json");
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(Map::from_iter([("type".to_owned(), "object".into())]).into())
    }
}

/// Of a method that takes no parsed body.
fn without_body<S, R, T: Described>(
    _: impl AsyncFn(&S, R, Call) -> Result<T, Error>,
    schemas: &mut SchemaGenerator,
) -> Operation {
    Operation { body: None, statuses: T::STATUSES, reply: T::MEDIA_TYPE.zip(T::schema(schemas)) }
}

/// Of a method that takes one, as JSON or as a form.
fn with_body<S, R, B: JsonSchema, T: Described>(
    _: impl AsyncFn(&S, R, B, Call) -> Result<T, Error>,
    schemas: &mut SchemaGenerator,
) -> Operation {
    let body = Some(schemas.subschema_for::<B>());
    Operation { body, statuses: T::STATUSES, reply: T::MEDIA_TYPE.zip(T::schema(schemas)) }
}

fn document(prefix: &str) -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator();
    let mut paths = Map::<String, Value>::new();
    for (endpoint, operation) in operations(&mut schemas) {
        let facts = endpoint.facts();
        let path = paths.entry(facts.path).or_insert_with(|| json!({ "parameters": path_parameters(facts.path) }));
        let described = of_endpoint(endpoint, &operation);
        // HEAD is GET without the body, everywhere: once is enough to say so.
        for method in facts.methods.iter().filter(|method| **method != Method::HEAD) {
            path[method.as_str().to_lowercase()] = described.clone();
        }
    }
    let parameters = [parameter::<Username>(), parameter::<Namespace>(), parameter::<RepositoryName>()];
    let mut components = schemas.take_definitions(true);
    for (name, schema) in parameters {
        components.entry(name).or_insert(schema);
    }
    components.insert("Error".to_owned(), error_schema());
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Distribution",
            "summary": "The management API and the token service of an OCI registry.",
            "description": DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": if prefix.is_empty() { "/" } else { prefix } }],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": { "Error": {
                "description": "Refused, or failed. 401 carries a challenge, 429 and 503 carry `Retry-After`.",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
            } },
            "securitySchemes": {
                "basic": { "type": "http", "scheme": "basic",
                    "description": "A username with the password, or with a personal access token of scope `*`." },
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "A token that was asked for without a scope." },
            },
        },
    })
}

const DESCRIPTION: &str = "\
Pulling and pushing is the OCI Distribution Specification's and described there.

Every GET answers HEAD as well. Lists come in pages of `n` entries, 1000 where the client does not say and 10000 at \
most; where more follow, the header `Link` has the address of the next page. Names of fields that are not documented \
are refused. A path that ends in `/visibility` is always a repository's: the user, namespace or repository of that \
name is reached with a `/` at the end.

Every change is written to the audit log together with what it changes, and takes effect at once, whatever tokens are \
out.";

fn of_endpoint(endpoint: Endpoint, operation: &Operation) -> Value {
    let facts = endpoint.facts();
    let mut responses = Map::new();
    for status in operation.statuses {
        let mut response = json!({ "description": status.canonical_reason().unwrap_or_default() });
        if let Some((media_type, schema)) = &operation.reply {
            response["content"] = json!({ *media_type: { "schema": schema } });
        }
        if facts.query.contains(&"last") {
            response["headers"] = json!({ "Link": {
                "description": "The next page, where more follow.",
                "schema": { "type": "string", "examples": ["</api/v1/users?n=1&last=alice>; rel=\"next\""] },
            } });
        }
        responses.insert(status.as_u16().to_string(), response);
    }
    for range in ["4XX", "5XX"] {
        responses.insert(range.to_owned(), json!({ "$ref": "#/components/responses/Error" }));
    }
    let mut described = json!({
        "operationId": facts.name,
        "summary": facts.summary,
        "description": who(facts.access),
        "tags": [tag(facts.path)],
        "security": security(facts.access, endpoint),
        "responses": responses,
    });
    if !facts.query.is_empty() {
        described["parameters"] = facts.query.iter().map(|name| query_parameter(name)).collect();
    }
    if let Some(schema) = &operation.body {
        let media_type = match facts.body {
            BodyClass::Form => "application/x-www-form-urlencoded",
            _ => "application/json",
        };
        described["requestBody"] = json!({ "required": true, "content": { media_type: { "schema": schema } } });
    }
    described
}

/// The chapter an endpoint stands in: the resource its path is below.
fn tag(path: &str) -> &str {
    let resource = path.strip_prefix("/api/v1/").and_then(|rest| rest.split('/').next()).unwrap_or("auth");
    match resource {
        "user" => "users",
        "{repository}" => "repositories",
        "openapi.json" => "openapi",
        other => other,
    }
}

/// Who may, in a sentence.
fn who(access: Access) -> &'static str {
    match access {
        Access::Public => "Anyone.",
        Access::Register => "Anyone, or only admins where registration is theirs.",
        Access::Identity => "Anyone whose credentials are good.",
        Access::Account => "Users.",
        Access::Own => "The user, and admins.",
        Access::Admin => "Admins.",
        Access::Claim => "Users, or only admins where claiming is theirs.",
        Access::Pull | Access::Referrers => "Whoever may pull.",
        Access::Push => "Whoever may push.",
        Access::Delete | Access::Manage => "Owners of the repository.",
        Access::Catalog => "Anyone, each seeing what they may pull.",
        Access::NamespaceView => "Members of the namespace.",
        Access::Namespace => "Owners of the namespace.",
    }
}

fn security(access: Access, endpoint: Endpoint) -> Value {
    match (access, endpoint) {
        (_, Endpoint::TokenGet) => json!([{}, { "basic": [] }]),
        (Access::Public, _) => json!([]),
        (Access::Register | Access::Pull, _) => json!([{}, { "basic": [] }, { "bearer": [] }]),
        _ => json!([{ "basic": [] }, { "bearer": [] }]),
    }
}

/// The schema of a parameter's type, under the name it has in the document.
fn parameter<T: Spelled>() -> (String, Value) {
    (T::NAME.to_owned(), T::schema().into())
}

fn path_parameters(path: &str) -> Value {
    let schema = |name: &str| match name {
        "username" => reference::<Username>(),
        "namespace" => reference::<Namespace>(),
        "repository" => reference::<RepositoryName>(),
        // `TokenNumber`: what lists show as `id`.
        _ => json!({ "type": "integer", "format": "int64", "minimum": 1 }),
    };
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": schema(name) }))
        .collect()
}

fn reference<T: Spelled>() -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", Word::<T>::schema_name()) })
}

/// A parameter that some `query` in `routes.toml` names. A test sees to it that none is unknown here.
fn query_parameter(name: &str) -> Value {
    let text = json!({ "type": "string" });
    let (description, schema) = match name {
        "n" => ("Entries on a page, at most.", json!({ "type": "integer", "minimum": 0 })),
        "last" => ("Where the page before ended: entries after this one.", text),
        "after" => ("The id of the entry after which to begin.", json!({ "type": "integer", "minimum": 0 })),
        "actor" => ("Only what was done by this one, such as `user:alice`.", text),
        "action" => ("Only this action, such as `member.put`.", text),
        "target" => ("Only what was done to this, such as `repository:team/app`.", text),
        "service" => ("What the challenge said; tokens are for this registry whatever it is.", text),
        "scope" => (
            "What the token is for, such as `repository:team/app:pull,push`: any number of times, each perhaps \
             several, separated by spaces. Without any, the token carries all rights.",
            json!({ "type": "array", "items": { "type": "string" } }),
        ),
        "account" => ("A hint that changes nothing.", text),
        "client_id" => ("What the client calls itself.", text),
        "offline_token" => ("Whether a refresh token is wanted too.", json!({ "type": "boolean" })),
        _ => ("", text),
    };
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

/// Errors are written by `protocol`, which knows no schemas.
fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["errors"],
        "properties": { "errors": { "type": "array", "minItems": 1, "items": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": { "type": "string", "examples": ["DENIED", "NOT_FOUND", "CONFLICT", "REQUEST_INVALID"] },
                "message": { "type": "string" },
                "detail": {},
            },
        } } },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ours() -> impl Iterator<Item = Endpoint> {
        Endpoint::ALL.into_iter().filter(|endpoint| ["management", "token"].contains(&endpoint.facts().handler))
    }

    #[test]
    fn every_endpoint_of_ours_is_there_with_its_parameters() {
        let document = document("");
        for endpoint in ours() {
            let facts = endpoint.facts();
            let path = &document["paths"][facts.path];
            for method in facts.methods.iter().filter(|method| **method != Method::HEAD) {
                let operation = &path[method.as_str().to_lowercase()];
                assert_eq!(operation["operationId"], facts.name);
                let asked = operation["parameters"].as_array().map_or(0, Vec::len);
                assert_eq!(asked, facts.query.len(), "{}", facts.name);
                let parsed = matches!(facts.body, BodyClass::Json | BodyClass::Form);
                assert_eq!(operation["requestBody"].is_object(), parsed, "{}", facts.name);
            }
            for name in facts.query {
                assert_ne!(query_parameter(name)["description"], "", "`{name}` is not described");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(target)) = fields.get("$ref") {
                        found.insert(target);
                    }
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document("/registry");
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
        assert_eq!(document["servers"][0]["url"], "/registry");
    }

    /// What the pages of a list have is what the document says they have.
    #[test]
    fn bodies_are_described_by_the_types_that_are_sent() {
        let document = document("");
        let page = &document["paths"]["/api/v1/users"]["get"]["responses"]["200"]["content"]["application/json"];
        let schema = page["schema"]["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
        let items = &document.pointer(schema).unwrap()["properties"]["items"]["items"]["$ref"];
        assert_eq!(items, "#/components/schemas/User");
        let user = &document["components"]["schemas"]["User"];
        assert_eq!(user["required"].as_array().unwrap().len(), user["properties"].as_object().unwrap().len());
        let body = &document["paths"]["/auth/token"]["post"]["requestBody"]["content"];
        assert!(body["application/x-www-form-urlencoded"].is_object(), "{body}");
    }
}
