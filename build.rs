//! Turns `routes.toml` into code: `router.rs` (endpoints, typed parameters, paths) for the
//! room `router`, `dispatch.rs` (endpoint → service) for the room `server`, `operations.rs`
//! (endpoint → what its service takes and gives) for the OpenAPI document in `services`.
//!
//! Several files, so that arrows keep pointing down: the table knows domain types only, the
//! dispatch knows the services. A wrong table fails the build in a sentence that names the
//! entry and the cure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::{env, fs, path::Path, process};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) endpoint: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    #[serde(default)]
    id: Vec<String>,
    name: String,
    methods: Vec<String>,
    path: String,
    #[serde(default)]
    also: Vec<String>,
    #[serde(default)]
    query: Vec<String>,
    access: String,
    handler: String,
    body: String,
    service: String,
    summary: String,
}

/// Every endpoint that OCI Distribution Spec 1.1.1 names, and what its head adds.
const SPEC: [&str; 19] = [
    "end-1", "end-2", "end-3", "end-4a", "end-4b", "end-4c", "end-5", "end-6", "end-7a", "end-7b", "end-8a", "end-8b",
    "end-9", "end-10", "end-11", "end-12a", "end-12b", "end-13", "end-14",
];

/// A parameter's name is its type.
const PARAMETERS: [(&str, &str); 7] = [
    ("repository", "RepositoryName"),
    ("reference", "Reference"),
    ("digest", "Digest"),
    ("upload", "UploadId"),
    ("username", "Username"),
    ("namespace", "Namespace"),
    ("token", "TokenNumber"),
];

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const ACCESS: [&str; 15] = [
    "public",
    "register",
    "identity",
    "account",
    "own",
    "admin",
    "claim",
    "pull",
    "push",
    "delete",
    "referrers",
    "manage",
    "catalog",
    "namespace_view",
    "namespace",
];
const REPOSITORY_ACCESS: [&str; 5] = ["pull", "push", "delete", "referrers", "manage"];
const BODIES: [&str; 5] = ["none", "manifest", "blob", "json", "form"];

#[expect(clippy::disallowed_methods, reason = "a build script is told by its environment where to write")]
fn main() {
    println!("cargo::rerun-if-changed=routes.toml");
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR").unwrap_or_else(|_| fail("OUT_DIR is not set: run this through cargo or buck2"));
    let text = fs::read_to_string("routes.toml").unwrap_or_else(|error| fail(&format!("routes.toml: {error}")));
    let table: Table = toml::from_str(&text).unwrap_or_else(|error| fail(&format!("routes.toml: {error}")));
    if let Err(problem) = check(&table.endpoint) {
        fail(&format!("routes.toml: {problem}"));
    }
    let entries = &table.endpoint;
    let files =
        [("router.rs", router(entries)), ("dispatch.rs", dispatch(entries)), ("operations.rs", operations(entries))];
    for (file, code) in files {
        fs::write(Path::new(&out).join(file), code).unwrap_or_else(|error| fail(&format!("{out}/{file}: {error}")));
    }
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    process::exit(1)
}

// --- Checks ----------------------------------------------------------------------------

/// Whether the table makes sense: what is wrong names the entry and the cure.
pub(crate) fn check(entries: &[Entry]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    let mut ids = BTreeMap::new();
    for entry in entries {
        let name = &entry.name;
        let is_word = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if !is_word {
            return Err(format!("`{name}`: a name is lower-case letters and `_`"));
        }
        if !names.insert(name) {
            return Err(format!("two entries are called `{name}`; rename one of them"));
        }
        for id in &entry.id {
            if !SPEC.contains(&id.as_str()) {
                return Err(format!("`{name}`: the specification has no endpoint `{id}`"));
            }
            if let Some(other) = ids.insert(id, name) {
                return Err(format!("`{other}` and `{name}` both claim to be `{id}`"));
            }
        }
        check_entry(entry).map_err(|problem| format!("`{name}`: {problem}"))?;
    }
    if let Some(missing) = SPEC.iter().find(|id| !ids.keys().any(|known| known == *id)) {
        return Err(format!("no entry is `{missing}` of the specification; add one"));
    }
    check_matches(entries)
}

fn check_entry(entry: &Entry) -> Result<(), String> {
    one_of("access", &entry.access, &ACCESS)?;
    one_of("body", &entry.body, &BODIES)?;
    for method in &entry.methods {
        one_of("method", method, &METHODS)?;
    }
    let answers = |method: &str| entry.methods.iter().any(|m| m == method);
    if entry.methods.is_empty() || answers("GET") != answers("HEAD") {
        return Err("it needs methods, and GET and HEAD together or neither (R-GEN-04)".to_owned());
    }
    let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if !entry.service.split_once('.').is_some_and(|(field, method)| word(field) && word(method)) {
        return Err(format!("service `{}` is not `field.method`", entry.service));
    }
    if entry.summary.is_empty() || entry.handler.is_empty() {
        return Err("it needs a summary and a handler".to_owned());
    }
    let of_repository = REPOSITORY_ACCESS.contains(&entry.access.as_str());
    for path in paths(entry) {
        let parameters = parameters(path);
        for parameter in &parameters {
            if !PARAMETERS.iter().any(|(known, _)| known == parameter) {
                return Err(format!("path `{path}` has a parameter `{parameter}` of no known type"));
            }
        }
        if !path.starts_with('/') || parameters.len() != parameters.iter().collect::<BTreeSet<_>>().len() {
            return Err(format!("path `{path}` does not begin with `/`, or has a parameter twice"));
        }
        if of_repository != parameters.contains(&"repository") {
            return Err(format!("access `{}` and path `{path}` do not agree about a repository", entry.access));
        }
        for (access, needed) in [("namespace", "namespace"), ("namespace_view", "namespace"), ("own", "username")] {
            if entry.access == access && !parameters.contains(&needed) {
                return Err(format!("access `{access}` needs a `{{{needed}}}` in `{path}`"));
            }
        }
        let ends_in_visibility = path.ends_with("/visibility");
        if path.starts_with("/api/") && ends_in_visibility && !parameters.contains(&"repository") {
            return Err(format!("`{path}` ends in `/visibility`, which is always a repository's; call it otherwise"));
        }
    }
    Ok(())
}

fn one_of(what: &str, value: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&value) { Ok(()) } else { Err(format!("{what} `{value}` is none of {}", known.join(", "))) }
}

/// No two entries may answer the same request, and matchit must accept every path.
fn check_matches(entries: &[Entry]) -> Result<(), String> {
    let mut answers = BTreeMap::new();
    for entry in entries {
        for path in paths(entry) {
            for method in &entry.methods {
                if let Some(other) = answers.insert((path, method), &entry.name) {
                    return Err(format!(
                        "`{other}` and `{}` both answer {method} {path}; give the method to one of them",
                        entry.name
                    ));
                }
            }
        }
    }
    let mut routers: BTreeMap<&str, matchit::Router<()>> = BTreeMap::new();
    for path in distinct_paths(entries) {
        let place = place(path);
        routers.entry(place.router).or_default().insert(place.key, ()).map_err(|error| {
            let owner = entries.iter().find(|entry| paths(entry).any(|p| p == path)).map_or("", |entry| &entry.name);
            format!("`{owner}`: path `{path}` cannot be told from another: {error}")
        })?;
    }
    Ok(())
}

// --- Paths -----------------------------------------------------------------------------

fn paths(entry: &Entry) -> impl Iterator<Item = &str> {
    std::iter::once(entry.path.as_str()).chain(entry.also.iter().map(String::as_str))
}

fn distinct_paths(entries: &[Entry]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    entries.iter().flat_map(paths).filter(|path| seen.insert(*path)).collect()
}

fn parameters(path: &str) -> Vec<&str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect()
}

/// Where a path is looked up: a router, and the key in it.
struct Place<'a> {
    /// What stands before `{repository}`; empty for the router of whole paths.
    router: &'a str,
    key: String,
}

/// A repository's name holds slashes and matchit wants its catch-all last, so the segments
/// behind the name go in front of it in reverse: `/{reference}/manifests/{*repository}`.
fn place(path: &str) -> Place<'_> {
    match path.split_once("{repository}") {
        None => Place { router: "", key: path.to_owned() },
        Some((before, behind)) => {
            let mut key = String::new();
            for segment in behind.strip_prefix('/').into_iter().flat_map(|behind| behind.rsplit('/')) {
                key.push('/');
                key.push_str(segment);
            }
            key.push_str("/{*repository}");
            Place { router: before, key }
        }
    }
}

// --- Code ------------------------------------------------------------------------------

fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
        })
        .collect()
}

/// The parameters that every path of the entry has, the repository first (R-NAM-03).
fn fields(entry: &Entry) -> Vec<(&str, &'static str)> {
    let mut fields: Vec<_> = parameters(&entry.path)
        .into_iter()
        .filter_map(|name| PARAMETERS.iter().find(|(known, _)| *known == name).map(|(_, kind)| (name, *kind)))
        .collect();
    fields.sort_by_key(|(name, _)| *name != "repository");
    fields
}

fn router(entries: &[Entry]) -> String {
    let mut code = String::from("// Written by build.rs from routes.toml.\n\n");
    endpoint_enum(&mut code, entries);
    facts(&mut code, entries);
    route_types(&mut code, entries);
    path_table(&mut code, entries);
    code
}

fn endpoint_enum(code: &mut String, entries: &[Entry]) {
    code.push_str(
        "/// An entry of `routes.toml`.\n#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]\npub enum Endpoint {\n",
    );
    for entry in entries {
        let _ = writeln!(code, "    /// {}\n    {},", entry.summary, camel(&entry.name));
    }
    let _ = writeln!(code, "}}\n\nimpl Endpoint {{\n    /// Every endpoint, in the order of the table.");
    let _ = writeln!(code, "    pub const ALL: [Self; {}] = [", entries.len());
    for entry in entries {
        let _ = writeln!(code, "        Self::{},", camel(&entry.name));
    }
    code.push_str("    ];\n}\n\n");
}

fn facts(code: &mut String, entries: &[Entry]) {
    let _ = writeln!(code, "static FACTS: [Facts; {}] = [", entries.len());
    for entry in entries {
        let methods: Vec<_> = entry.methods.iter().map(|method| format!("Method::{method}")).collect();
        let _ = writeln!(
            code,
            "    Facts {{ ids: &{:?}, name: {:?}, methods: &[{}], path: {:?}, query: &{:?}, access: Access::{}, \
             handler: {:?}, body: BodyClass::{}, summary: {:?} }},",
            entry.id,
            entry.name,
            methods.join(", "),
            entry.path,
            entry.query,
            camel(&entry.access),
            entry.handler,
            camel(&entry.body),
            entry.summary,
        );
    }
    code.push_str("];\n\n");
}

fn route_types(code: &mut String, entries: &[Entry]) {
    for entry in entries {
        let _ = writeln!(code, "/// {}\n#[derive(Debug, Clone)]\npub struct {} {{", entry.summary, camel(&entry.name));
        for (name, kind) in fields(entry) {
            let _ = writeln!(code, "    pub {name}: {kind},");
        }
        code.push_str("}\n\n");
    }
    code.push_str(
        "/// An endpoint with its parameters, each of them checked.\n#[derive(Debug, Clone)]\npub enum Route {\n",
    );
    for entry in entries {
        let _ = writeln!(code, "    {0}({0}),", camel(&entry.name));
    }
    code.push_str("}\n\nimpl Route {\n    fn parse(endpoint: Endpoint, captures: &Captures<'_, '_, '_>) -> Result<Self, BadParameter> {\n");
    code.push_str("        Ok(match endpoint {\n");
    for entry in entries {
        let kind = camel(&entry.name);
        let mut parsed = String::new();
        for (name, _) in fields(entry) {
            let _ = write!(parsed, " {name}: captures.parse({name:?})?,");
        }
        let _ = writeln!(code, "            Endpoint::{kind} => Self::{kind}({kind} {{{parsed} }}),");
    }
    code.push_str("        })\n    }\n\n    /// The repository in the path, where it has one.\n");
    code.push_str("    pub fn repository(&self) -> Option<&RepositoryName> {\n        match self {\n");
    for entry in entries {
        let kind = camel(&entry.name);
        let found = if fields(entry).iter().any(|(name, _)| *name == "repository") {
            format!("            Self::{kind}(route) => Some(&route.repository),")
        } else {
            format!("            Self::{kind}(_) => None,")
        };
        let _ = writeln!(code, "{found}");
    }
    code.push_str("        }\n    }\n");
    for (parameter, kind, what) in [
        ("namespace", "Namespace", "namespace in the path, where it has one of its own"),
        ("username", "Username", "user in the path, where it has one"),
    ] {
        let _ = write!(
            code,
            "\n    /// The {what}.\n    pub fn {parameter}(&self) -> Option<&{kind}> {{\n        match self {{\n"
        );
        let (with, without): (Vec<_>, Vec<_>) =
            entries.iter().partition(|entry| fields(entry).iter().any(|(name, _)| *name == parameter));
        for entry in &with {
            let _ = writeln!(code, "            Self::{}(route) => Some(&route.{parameter}),", camel(&entry.name));
        }
        if !without.is_empty() {
            code.push_str("            _ => None,\n");
        }
        code.push_str("        }\n    }\n");
    }
    code.push_str("}\n\n");
}

fn path_table(code: &mut String, entries: &[Entry]) {
    let paths_in_order = distinct_paths(entries);
    let _ = writeln!(code, "static PATHS: [PathEntry; {}] = [", paths_in_order.len());
    for path in &paths_in_order {
        let place = place(path);
        let mut answers = String::new();
        let mut allow = Vec::new();
        for entry in entries.iter().filter(|entry| paths(entry).any(|p| p == *path)) {
            for method in &entry.methods {
                let _ = write!(answers, "(Method::{method}, Endpoint::{}), ", camel(&entry.name));
                allow.push(method.as_str());
            }
        }
        let _ = writeln!(
            code,
            "    PathEntry {{ router: {:?}, key: {:?}, answers: &[{}], allow: {:?} }},",
            place.router,
            place.key,
            answers.trim_end_matches(", "),
            allow.join(", "),
        );
    }
    code.push_str("];\n");
}

/// Bodies that are read and parsed before their service sees them.
fn parsed(entry: &Entry) -> Option<&str> {
    ["json", "form"].into_iter().find(|class| *class == entry.body)
}

fn dispatch(entries: &[Entry]) -> String {
    let mut code = String::from(
        "// Written by build.rs from routes.toml.\n\n\
         /// Hands the request to the service that the table names for it, with its body where that is parsed.\n\
         fn dispatch(services: Arc<Services>, route: Route, mut call: Call) -> BoxFuture<'static, Response> {\n    \
         match route {\n",
    );
    for entry in entries {
        let kind = camel(&entry.name);
        // Each in a box of its own size: the longest is several times the most frequent.
        let _ = match parsed(entry) {
            Some(class) => writeln!(
                code,
                "        Route::{kind}(request) => Box::pin(async move {{\n            \
                 match call.{class}().await {{\n                \
                 Ok(body) => answer(services.{}(request, body, call).await),\n                \
                 Err(error) => error.into_response(),\n            }}\n        }}),",
                entry.service
            ),
            None => writeln!(
                code,
                "        Route::{kind}(request) => \
                 Box::pin(async move {{ answer(services.{}(request, call).await) }}),",
                entry.service
            ),
        };
    }
    code.push_str("    }\n}\n");
    code
}

/// What the OpenAPI document tells of the endpoints that are ours: bodies and replies as the
/// methods that answer them have them.
fn operations(entries: &[Entry]) -> String {
    let mut code = String::from(
        "// Written by build.rs from routes.toml.\n\n\
         /// The endpoints of the management API and the token service, each with what its service takes and gives.\n\
         fn operations(schemas: &mut SchemaGenerator) -> Vec<(Endpoint, Operation)> {\n    vec![\n",
    );
    for entry in entries.iter().filter(|entry| ["management", "token"].contains(&entry.handler.as_str())) {
        let Some((field, method)) = entry.service.split_once('.') else { continue };
        let (kind, service) = (camel(&entry.name), camel(field));
        let how = if parsed(entry).is_some() { "with_body" } else { "without_body" };
        let _ = writeln!(code, "        (Endpoint::{kind}, {how}({service}::{method}, schemas)),");
    }
    code.push_str("    ]\n}\n");
    code
}
