//! `routes.toml` as `build.rs` judges it: a wrong table fails the build in a
//! sentence that names the entry and the cure.

#[path = "../build.rs"]
#[expect(dead_code, reason = "the build runs the rest of it")]
mod build;

/// The table of this registry.
const TABLE: &str = include_str!("../routes.toml");

/// What the build says of a table, where it says anything.
fn complaint(table: &str) -> Option<String> {
    let table: build::Table = match toml::from_str(table) {
        Ok(table) => table,
        Err(error) => return Some(error.to_string()),
    };
    build::check(&table.endpoint).err()
}

/// The table with one text in the place of another, which must stand there.
fn with(old: &str, new: &str) -> String {
    assert!(TABLE.contains(old), "{old}");
    TABLE.replacen(old, new, 1)
}

/// An entry more, of that path and method.
fn with_entry(name: &str, method: &str, path: &str, access: &str) -> String {
    format!(
        "{TABLE}\n[[endpoint]]\nname = \"{name}\"\nmethods = [{method}]\npath = \"{path}\"\naccess = \"{access}\"\n\
         handler = \"management\"\nbody = \"none\"\nservice = \"ping.answer\"\nsummary = \"Another one.\"\n"
    )
}

#[test]
fn the_table_of_this_registry_is_accepted() {
    assert_eq!(complaint(TABLE), None);
}

#[test]
fn a_wrong_table_is_refused_by_a_sentence_that_names_the_entry() {
    let get = "\"GET\", \"HEAD\"";
    for (table, expected) in [
        (with("\"ping\"", "\"catalog\""), "two entries are called `catalog`; rename one of them"),
        (with("[\"end-3\"]", "[]"), "no entry is `end-3` of the specification; add one"),
        (with("[\"end-3\"]", "[\"end-2\"]"), "`blob_get` and `manifest_get` both claim to be `end-2`"),
        (with("[\"end-3\"]", "[\"end-99\"]"), "`manifest_get`: the specification has no endpoint `end-99`"),
        (with("\"pull\"", "\"read\""), "`blob_get`: access `read` is none of public,"),
        (with("[\"GET\", \"HEAD\"]", "[\"GET\"]"), "`ping`: it needs methods, and GET and HEAD together or neither"),
        (
            with("{digest}", "{hash}"),
            "`blob_get`: path `/v2/{repository}/blobs/{hash}` has a parameter `hash` of no known type",
        ),
        (with("\"ping.answer\"", "\"ping\""), "`ping`: service `ping` is not `field.method`"),
        (
            with_entry("pong", get, "/v2/", "public"),
            "`ping` and `pong` both answer GET /v2/; give the method to one of them",
        ),
        (with_entry("other", "\"PUT\"", "/v2/{repository}/manifests/{upload}", "push"), "cannot be told from another"),
        (
            with_entry("open", get, "/v2/{repository}/x", "public"),
            "access `public` and path `/v2/{repository}/x` do not agree",
        ),
        (
            with_entry("trap", "\"PUT\"", "/api/v1/namespaces/{namespace}/visibility", "namespace"),
            "ends in `/visibility`, which is always a repository's",
        ),
        (format!("{TABLE}\n[[endpoint]]\nname = \"half\"\n"), "missing field"),
    ] {
        let complaint = complaint(&table).unwrap_or_default();
        assert!(complaint.contains(expected), "wanted: {expected}\nfound: {complaint}");
    }
}
