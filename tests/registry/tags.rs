//! end-8: the tags of a repository, in order, page by page.

use serde_json::json;

use crate::harness::{Client, EMPTY_JSON, Manifest, TestRegistry, descriptor};

/// Pushes one manifest under all these tags.
async fn tagged(alice: &Client, repository: &str, tags: &[&str]) -> Manifest {
    alice.push_blob(repository, b"{}").await;
    let manifest = Manifest::image(&descriptor(EMPTY_JSON, b"{}"), &[], &json!({}));
    for some in tags.chunks(50) {
        let query: Vec<_> = some.iter().map(|tag| format!("tag={tag}")).collect();
        let reference = format!("{}?{}", manifest.digest(), query.join("&"));
        alice.push_manifest(repository, &reference, &manifest).await;
    }
    manifest
}

/// Follows the links from `path` to the end and gives what is in `field` on each page.
pub(crate) async fn pages(client: &Client, path: &str, field: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let reply = client.get(&path).await;
        pages.push(reply.is(200).strings(field));
        next = reply.next();
        assert!(pages.len() < 1000, "the links never end: {reply:?}");
    }
    pages
}

/// R-TGL-01, R-TGL-02, N-08, H-71, V-D01: all tags, in the order of their bytes.
#[tokio::test]
async fn tags_are_listed_in_byte_order() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let tags = ["b", "a", "B", "A", "_", "1", "10", "2", "a-b", "a.b", "a_b", "ab", "Z", "z", "sha256-0", "v1.0.0"];
    tagged(&alice, &app, &tags).await;
    let mut sorted = tags.to_vec();
    sorted.sort_unstable();
    let reply = alice.get(&format!("/v2/{app}/tags/list")).await;
    reply.is(200).has("content-type", "application/json").lacks("link");
    assert_eq!(reply.json(), json!({ "name": app, "tags": sorted }));
}

/// R-TGL-03, R-TGL-06, R-LOC-06, V-D02, V-D03, H-71: pages of n, and links from each to the next.
#[tokio::test]
async fn tags_come_page_by_page() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let path = format!("/v2/{app}/tags/list");
    let tags = ["A", "B", "_x", "a", "b", "c", "d"];
    tagged(&alice, &app, &tags).await;
    for n in 1..=8 {
        let found = pages(&alice, &format!("{path}?n={n}"), "tags").await;
        assert!(found[..found.len() - 1].iter().all(|page| page.len() == n), "{found:?}");
        assert_eq!(found.concat(), tags, "n={n}");
        assert_eq!(found.len(), tags.len().div_ceil(n), "n={n}: {found:?}");
    }
    let first = alice.get(&format!("{path}?n=3")).await;
    let next = first.next().unwrap();
    assert!(next.starts_with(&format!("{path}?")) && next.contains("n=3") && next.contains("last=_x"), "{next}");
    alice.get(&format!("{path}?n=7")).await.is(200).lacks("link");
}

/// R-TGL-03: `last` is a place in the order, whether or not there is such a tag, or could be.
#[tokio::test]
async fn last_is_a_place_in_the_order() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    tagged(&alice, &app, &["a", "b", "c"]).await;
    for (last, expected) in [
        ("a", &["b", "c"][..]),
        ("aa", &["b", "c"]),
        ("c", &[]),
        ("zzz", &[]),
        ("", &["a", "b", "c"]),
        ("A", &["a", "b", "c"]),
        ("b%00", &["c"]),
        ("b%2F%21", &["c"]),
        ("%C3%A4", &[]),
        (&"x".repeat(500), &[]),
    ] {
        let reply = alice.get(&format!("/v2/{app}/tags/list?last={last}")).await;
        assert_eq!(reply.is(200).strings("tags"), expected, "last={last}");
        let reply = alice.get(&format!("/v2/{app}/tags/list?last={last}&n=1")).await;
        assert_eq!(reply.is(200).strings("tags"), expected[..expected.len().min(1)], "last={last}&n=1");
    }
}

/// R-TGL-04: a page of nothing is empty, and leads nowhere.
#[tokio::test]
async fn a_page_of_nothing_leads_nowhere() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    tagged(&alice, &app, &["a", "b"]).await;
    for query in ["n=0", "n=0&last=a", "n=00"] {
        let reply = alice.get(&format!("/v2/{app}/tags/list?{query}")).await;
        reply.is(200).lacks("link");
        assert_eq!(reply.json(), json!({ "name": app, "tags": [] }));
    }
}

/// R-TGL-05: what is no number is refused; what is too large is cut down, with a link to the rest.
#[tokio::test]
async fn a_page_size_must_be_a_number() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    tagged(&alice, &app, &["a", "b"]).await;
    let path = format!("/v2/{app}/tags/list");
    for n in ["-1", "x", "", "1.5", "1e3", "0x10", "%20", "1%20", "+"] {
        alice.get(&format!("{path}?n={n}")).await.is_error(400, "UNSUPPORTED");
    }
    for n in ["10000", "1000000", "18446744073709551615", "99999999999999999999999999"] {
        let reply = alice.get(&format!("{path}?n={n}")).await;
        assert_eq!(reply.is(200).lacks("link").strings("tags"), ["a", "b"], "n={n}");
    }
}

/// R-TGL-07, R-TGL-05, R-TGL-06, C-GCR-04: a thousand tags fit on one page; more are linked to, also where too many were asked for.
#[tokio::test]
async fn many_tags_are_listed_without_gaps() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let tags: Vec<String> = (0..1050).map(|n| format!("t{n:05}")).collect();
    let names: Vec<_> = tags.iter().map(String::as_str).collect();
    tagged(&alice, &app, &names).await;
    let path = format!("/v2/{app}/tags/list");
    for query in ["", "?n=1000", "?n=10000", "?n=1000000000"] {
        let found = pages(&alice, &format!("{path}{query}"), "tags").await;
        assert!(found[0].len() >= 1000, "{query}: {}", found[0].len());
        assert_eq!(found.concat(), tags, "{query}");
    }
}

/// R-TGL-08, H-02, V-M04, R-AUZ-07: a repository that is not there has no list, not even an empty one.
#[tokio::test]
async fn an_unknown_repository_has_no_tags() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let path = format!("/v2/{app}/tags/list");
    alice.get(&path).await.is_error(404, "NAME_UNKNOWN");
    alice.push_blob(&app, b"x").await;
    assert_eq!(alice.get(&path).await.is(200).json(), json!({ "name": app, "tags": [] }));
    alice.get(&format!("/v2/{}/tags/list", alice.name())).await.is_error(404, "NAME_UNKNOWN");
}

/// R-TGL-09: tags that come and go between the pages disturb none of the others.
#[tokio::test]
async fn paging_is_steady_while_tags_change() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let manifest = tagged(&alice, &app, &["b", "d", "f", "h", "j"]).await;
    let first = alice.get(&format!("/v2/{app}/tags/list?n=2")).await;
    assert_eq!(first.strings("tags"), ["b", "d"]);
    for tag in ["a", "c", "e"] {
        alice.push_manifest(&app, tag, &manifest).await;
    }
    for tag in ["d", "b"] {
        alice.delete(&format!("/v2/{app}/manifests/{tag}")).await.is(202);
    }
    let rest = pages(&alice, &first.next().unwrap(), "tags").await.concat();
    assert_eq!(rest, ["e", "f", "h", "j"]);
}

/// R-TGL-03, R-GEN-06: parameters that stand there twice do no harm.
#[tokio::test]
async fn repeated_parameters_do_no_harm() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    tagged(&alice, &app, &["a", "b", "c"]).await;
    for query in ["n=1&n=1", "last=a&last=a&n=5", "n=2&&ns=x&last="] {
        alice.get(&format!("/v2/{app}/tags/list?{query}")).await.is(200);
    }
}
