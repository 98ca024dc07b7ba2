//! From a path to its entry, read from the end.
//!
//! A repository's name is the one parameter with slashes in it. What stands
//! behind it never holds any, so the end of the path always decides: the last
//! three segments go in front of the rest in reverse, and matchit, whose
//! catch-all comes last, matches `/{reference}/manifests/{*repository}`. The
//! catch-all then holds the name's components in another order but in as many
//! bytes, so the name is that many bytes of the path itself.

use std::str::FromStr;
use std::sync::LazyLock;

use super::{BadParameter, PATHS, PathEntry};

/// Segments behind a repository's name that any path of the table has, at most.
const TAIL: usize = 3;

/// Longest path that is turned around without an allocation: a name of 255
/// bytes and a sha512 digest, with room to spare.
const STACK: usize = 640;

struct Paths {
    /// Paths without a repository, as they are.
    whole: matchit::Router<&'static PathEntry>,
    /// Paths with one, by what stands before its name.
    reversed: Vec<(&'static str, matchit::Router<&'static PathEntry>)>,
}

static TABLE: LazyLock<Paths> = LazyLock::new(|| {
    let mut table = Paths { whole: matchit::Router::new(), reversed: Vec::new() };
    for entry in &PATHS {
        let router = if entry.router.is_empty() {
            &mut table.whole
        } else {
            let known = table.reversed.iter().position(|(prefix, _)| *prefix == entry.router);
            let at = known.unwrap_or_else(|| {
                table.reversed.push((entry.router, matchit::Router::new()));
                table.reversed.len() - 1
            });
            &mut table.reversed[at].1
        };
        if let Err(conflict) = router.insert(entry.key, entry) {
            unreachable!("build.rs inserted {} too: {conflict}", entry.key);
        }
    }
    // The shorter prefix first: `/api/v1/…/visibility` is a repository's whatever stands before it.
    table.reversed.sort_by_key(|(prefix, _)| prefix.len());
    table
});

/// The parameters of a path as they stand there.
pub(super) struct Captures<'a, 'k, 'v> {
    repository: Option<&'a str>,
    others: Option<&'a matchit::Params<'k, 'v>>,
}

impl Captures<'_, '_, '_> {
    /// Parses the parameter of that name; an absent one is an empty text, which no type accepts.
    pub(super) fn parse<T: FromStr>(&self, name: &str) -> Result<T, BadParameter>
    where
        BadParameter: From<T::Err>,
    {
        let text = match (name, self.repository) {
            ("repository", Some(repository)) => repository,
            _ => self.others.and_then(|others| others.get(name)).unwrap_or_default(),
        };
        Ok(text.parse()?)
    }
}

/// Finds the entry of a decoded path and lets `found` see its parameters.
pub(super) fn lookup<T>(path: &str, found: impl FnOnce(Option<&'static PathEntry>, &Captures<'_, '_, '_>) -> T) -> T {
    for (prefix, router) in &TABLE.reversed {
        let Some(inner) = path.strip_prefix(prefix) else { continue };
        let mut stack = [0; STACK];
        let mut heap;
        let buffer: &mut [u8] = if inner.len() + 1 < STACK {
            &mut stack
        } else {
            heap = vec![0; inner.len() + 2];
            &mut heap
        };
        let length = reversed(inner, buffer);
        buffer[length] = b'/';
        let at = |length| std::str::from_utf8(&buffer[..length]).ok().and_then(|key| router.at(key).ok());
        // No catch-all takes an empty name, but one more slash, which is as little a name (R-NAM-03).
        let matched = at(length).or_else(|| if inner.starts_with('/') { at(length + 1) } else { None });
        if let Some(matched) = matched {
            let repository = matched.params.get("repository").map(|name| &inner[..name.len()]);
            return found(Some(*matched.value), &Captures { repository, others: Some(&matched.params) });
        }
    }
    match TABLE.whole.at(path) {
        Ok(matched) => found(Some(*matched.value), &Captures { repository: None, others: Some(&matched.params) }),
        Err(_) => found(None, &Captures { repository: None, others: None }),
    }
}

/// `a/b/c/manifests/v1` → `/v1/manifests/c/a/b`; its length, one byte more than it was.
fn reversed(inner: &str, buffer: &mut [u8]) -> usize {
    let mut written = 0;
    let mut put = |segment: &str| {
        buffer[written] = b'/';
        buffer[written + 1..=written + segment.len()].copy_from_slice(segment.as_bytes());
        written += 1 + segment.len();
    };
    let mut rest = inner;
    for _ in 0..TAIL {
        let Some((before, segment)) = rest.rsplit_once('/') else { break };
        put(segment);
        rest = before;
    }
    put(rest);
    written
}

#[cfg(test)]
mod tests {
    use super::super::{Endpoint, Route, Unroutable, route};
    use crate::domain::RepositoryName;
    use http::Method;
    use proptest::prelude::*;

    fn found(method: Method, path: &str) -> (Option<Endpoint>, Option<RepositoryName>) {
        let matched = route(&method, path);
        let repository = matched.route.ok().and_then(|route: Route| route.repository().cloned());
        (matched.endpoint, repository)
    }

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const UPLOAD: &str = "7b0b9a1e-8a0e-4b0e-9d53-1f2f3a4b5c6d";

    /// R-NAM-05, R-NAM-06: names made of reserved words, and both spellings of end-4.
    #[test]
    fn the_end_of_the_path_decides() {
        for name in
            ["a", "a/b", "blobs/uploads", "a/blobs/uploads/b", "manifests", "tags/list", "x/manifests/y", "referrers"]
        {
            let is = |method, tail: &str, endpoint| {
                let (matched, repository) = found(method, &format!("/v2/{name}/{tail}"));
                assert_eq!(matched, Some(endpoint), "{name}/{tail}");
                assert_eq!(repository.as_ref().map(RepositoryName::as_str), Some(name), "{name}/{tail}");
            };
            is(Method::GET, "manifests/latest", Endpoint::ManifestGet);
            is(Method::HEAD, &format!("blobs/{DIGEST}"), Endpoint::BlobGet);
            is(Method::POST, "blobs/uploads/", Endpoint::UploadStart);
            is(Method::POST, "blobs/uploads", Endpoint::UploadStart);
            is(Method::PATCH, &format!("blobs/uploads/{UPLOAD}"), Endpoint::UploadAppend);
            is(Method::GET, "tags/list", Endpoint::TagsList);
            is(Method::GET, &format!("referrers/{DIGEST}"), Endpoint::Referrers);
        }
    }

    #[test]
    fn fixed_paths_are_found_and_others_are_not() {
        assert_eq!(found(Method::GET, "/v2/").0, Some(Endpoint::Ping));
        assert_eq!(found(Method::GET, "/v2").0, Some(Endpoint::Ping));
        assert_eq!(found(Method::GET, "/v2/_catalog").0, Some(Endpoint::Catalog));
        assert_eq!(found(Method::PUT, "/api/v1/a/b/c/visibility").0, Some(Endpoint::VisibilitySet));
        assert_eq!(found(Method::PUT, "/api/v1/users/visibility").0, Some(Endpoint::VisibilitySet));
        for path in ["/", "/v1/search", "/v2//", "/v2/a", "/v2/a/tags/list/", "/v2/a/tags", "/v3/", "/v2/a/manifests/"]
        {
            assert!(matches!(route(&Method::GET, path).route, Err(Unroutable::UnknownPath)), "{path}");
        }
    }

    /// A path that ends in `/visibility` is always a repository's; a slash at the end says otherwise.
    #[test]
    fn what_is_called_visibility_is_reached_with_a_slash() {
        let repository = |method: Method, path: &str| {
            let (endpoint, repository) = found(method, path);
            (endpoint, repository.map(|name| name.to_string()))
        };
        let visibility = (Some(Endpoint::VisibilityGet), Some("repositories/team".to_owned()));
        assert_eq!(repository(Method::GET, "/api/v1/repositories/team/visibility"), visibility);
        let deleted = |name: &str| (Some(Endpoint::RepositoryDelete), Some(name.to_owned()));
        assert_eq!(repository(Method::DELETE, "/api/v1/repositories/team/visibility/"), deleted("team/visibility"));
        assert_eq!(repository(Method::DELETE, "/api/v1/repositories/team/app"), deleted("team/app"));
        assert_eq!(repository(Method::DELETE, "/api/v1/repositories/a/b/c/d/e"), deleted("a/b/c/d/e"));
        assert_eq!(repository(Method::DELETE, "/api/v1/repositories/a"), deleted("a"));
        assert_eq!(found(Method::GET, "/api/v1/users/visibility/").0, Some(Endpoint::UserGet));
        assert_eq!(found(Method::GET, "/api/v1/users/alice").0, Some(Endpoint::UserGet));
        assert_eq!(found(Method::PATCH, "/api/v1/namespaces/visibility/").0, Some(Endpoint::NamespaceChange));
        assert_eq!(found(Method::DELETE, "/api/v1/users/alice/tokens/7").0, Some(Endpoint::TokenRevoke));
        for path in ["/api/v1/repositories/", "/api/v1/repositories", "/api/v1/namespaces/team/nothing", "/api/v1/"] {
            assert!(matches!(route(&Method::GET, path).route, Err(Unroutable::UnknownPath)), "{path}");
        }
        for path in ["/api/v1/users/alice/tokens/07", "/api/v1/users/A", "/api/v1/repositories/team//app"] {
            assert!(matches!(route(&Method::DELETE, path).route, Err(Unroutable::Parameter(_))), "{path}");
        }
    }

    #[test]
    fn another_method_is_told_what_is_allowed() {
        let allow = |path: &str| match route(&Method::POST, path).route {
            Err(Unroutable::Method { allow }) => allow,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(allow("/v2/a/manifests/v1"), "GET, HEAD, PUT, DELETE");
        assert_eq!(allow("/v2/"), "GET, HEAD");
    }

    /// R-GEN-02, R-DIG-07: decoded once, never twice.
    #[test]
    fn escapes_are_decoded_once() {
        let escaped = DIGEST.replace(':', "%3A");
        assert_eq!(found(Method::GET, &format!("/v2/a%2Fb/blobs/{escaped}")).1.unwrap().as_str(), "a/b");
        for path in ["/v2/a%252Fb/tags/list", "/v2/a/%2e%2e/tags/list", "/v2/%ff/tags/list", "/v2/A/tags/list"] {
            assert!(matches!(route(&Method::GET, path).route, Err(Unroutable::Parameter(_))), "{path}");
        }
    }

    proptest! {
        /// R-NAM-05: whatever the name, the path made of it leads back to it.
        #[test]
        fn a_name_comes_back_from_every_path(
            name in "(blobs|manifests|tags|uploads|list|referrers|[a-z0-9]{1,12})(/(blobs|manifests|tags|uploads|list|referrers|visibility|[a-z0-9]{1,12})){0,20}"
        ) {
            prop_assume!(name.len() <= 255);
            for (method, tail, endpoint) in [
                (Method::PUT, "manifests/v1", Endpoint::ManifestPut),
                (Method::GET, "tags/list", Endpoint::TagsList),
                (Method::POST, "blobs/uploads/", Endpoint::UploadStart),
            ] {
                let (matched, repository) = found(method, &format!("/v2/{name}/{tail}"));
                prop_assert_eq!(matched, Some(endpoint));
                let repository = repository.unwrap();
                prop_assert_eq!(repository.as_str(), &name);
            }
            let (matched, repository) = found(Method::PUT, &format!("/api/v1/{name}/visibility"));
            prop_assert_eq!(matched, Some(Endpoint::VisibilitySet));
            let repository = repository.unwrap();
            prop_assert_eq!(repository.as_str(), &name);
            let (matched, repository) = found(Method::DELETE, &format!("/api/v1/repositories/{name}/"));
            prop_assert_eq!(matched, Some(Endpoint::RepositoryDelete));
            let repository = repository.unwrap();
            prop_assert_eq!(repository.as_str(), &name);
        }
    }
}
