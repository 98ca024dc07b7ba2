//! The scopes of one token: what is asked of the token service, and what a token carries.

use crate::domain::{Actions, RepositoryName, Resource, Scope};

/// A set of scopes, each repository once (R-SCP-03).
///
/// As a question, `None` in its place means that no scope was asked for; an
/// empty set means that nothing of what was asked for makes sense.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes {
    repositories: Vec<(RepositoryName, Actions)>,
    catalog: bool,
}

/// More scopes were asked for than a token can carry (R-TKG-08).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a token carries at most {max} scopes", max = Scopes::MAX)]
pub struct TooManyScopes;

impl Scopes {
    /// The most that may be asked for at once. Clients send up to 100 (R-TKG-08).
    pub const MAX: usize = 128;

    /// Reads the values of `scope`: each is a list separated by spaces, and what
    /// does not parse is dropped (R-TKG-01, R-SCP-02). Without a value, or with
    /// empty ones only, nothing was asked for: `None`.
    ///
    /// # Errors
    /// [`TooManyScopes`] above [`Scopes::MAX`], counted before anything is read.
    pub fn asked<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Option<Self>, TooManyScopes> {
        let mut parts = values.into_iter().flat_map(|value| value.split(' ')).filter(|part| !part.is_empty());
        let first: Vec<&str> = parts.by_ref().take(Self::MAX).collect();
        if parts.next().is_some() {
            return Err(TooManyScopes);
        }
        if first.is_empty() {
            return Ok(None);
        }
        Ok(Some(first.into_iter().filter_map(|part| part.parse::<Scope>().ok()).collect()))
    }

    /// What may be done in that repository.
    pub fn actions_in(&self, repository: &RepositoryName) -> Actions {
        self.repositories.iter().find(|(name, _)| name == repository).map_or(Actions::NONE, |&(_, actions)| actions)
    }

    /// Whether the catalog may be listed.
    pub fn catalog(&self) -> bool {
        self.catalog
    }

    /// Whether nothing may be done.
    pub fn is_empty(&self) -> bool {
        self.repositories.is_empty() && !self.catalog
    }

    /// The repositories and what may be done in each, in the order in which they were asked for.
    pub fn repositories(&self) -> impl Iterator<Item = (&RepositoryName, Actions)> {
        self.repositories.iter().map(|(name, actions)| (name, *actions))
    }

    /// Each as a scope.
    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        let catalog = self.catalog.then_some(Scope { resource: Resource::Catalog, actions: Actions::ALL });
        self.repositories().map(|(name, actions)| Scope::repository(name.clone(), actions)).chain(catalog)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut set = Self::default();
        for Scope { resource, actions } in scopes {
            match resource {
                _ if actions.is_empty() => {}
                Resource::Catalog => set.catalog = true,
                Resource::Repository(name) => match set.repositories.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = known.union(actions),
                    None => set.repositories.push((name, actions)),
                },
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Action;

    fn written(values: &[&str]) -> Option<Vec<String>> {
        let asked = Scopes::asked(values.iter().copied()).unwrap();
        asked.map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect())
    }

    /// R-TKG-01, R-SCP-02 to R-SCP-05.
    #[test]
    fn scopes_are_read_as_clients_write_them() {
        assert_eq!(written(&[]), None);
        assert_eq!(written(&[""]), None, "a parameter without a value counts as omitted");
        assert_eq!(written(&["repository:a/b:pull repository:c:push"]).unwrap().len(), 2);
        assert_eq!(
            written(&["repository:a/b:push,pull", "repository:a/b:pull", "repository:a/b:delete"]),
            Some(vec!["repository:a/b:pull,push,delete".into()])
        );
        assert_eq!(written(&["registry:catalog:*"]), Some(vec!["registry:catalog:*".into()]));
    }

    /// What was asked for in vain stays asked for: the token narrows to nothing.
    #[test]
    fn scopes_that_make_no_sense_are_an_empty_set_and_not_no_scope() {
        for text in [
            "nonsense",
            "repository:a:fly",
            "repository:a:",
            "repository:../a:pull",
            "repository:A:pull",
            "repository:a%2fb:pull",
            "repository:*:*",
            "repository:a\u{ff0f}b:pull",
            "registry:catalog:pull",
            "*",
        ] {
            assert_eq!(written(&[text]), Some(vec![]), "{text}");
        }
    }

    /// R-TKG-08.
    #[test]
    fn a_hundred_scopes_are_accepted_and_a_thousand_are_not() {
        let scopes = |count: usize| (0..count).map(|n| format!("repository:a/r{n}:pull")).collect::<Vec<_>>();
        let hundred = scopes(100).join(" ");
        assert_eq!(Scopes::asked([&*hundred]).unwrap().unwrap().repositories().count(), 100);
        let thousand = scopes(1000);
        assert_eq!(Scopes::asked(thousand.iter().map(String::as_str)), Err(TooManyScopes));
        assert_eq!(Scopes::asked([&*thousand.join(" ")]), Err(TooManyScopes));
    }

    #[test]
    fn a_scope_covers_its_own_repository_and_no_other() {
        let scopes = Scopes::asked(["repository:team/app:pull"]).unwrap().unwrap();
        assert_eq!(scopes.actions_in(&"team/app".parse().unwrap()), Action::Pull.into());
        for other in ["team", "team/app/x", "team/ap", "app", "team/app2"] {
            assert!(scopes.actions_in(&other.parse().unwrap()).is_empty(), "{other}");
        }
        assert!(!scopes.catalog());
    }
}
