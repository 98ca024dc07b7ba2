use std::fmt;
use std::str::FromStr;

use super::{Namespace, RepositoryName};

/// Something one may ask leave to do with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    pub const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// The word for it in a scope.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of [`Action`]s.
///
/// Grammar: actions joined by `,` in any order; `*` is all of them, and an
/// unknown action is dropped (R-SCP-02 to R-SCP-04). Written in the order pull,
/// push, delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Actions(u8);

impl Actions {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(0b111);

    /// Whether nothing may be done.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the action is among them.
    pub fn contains(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }

    /// What is in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Its members, in the order pull, push, delete.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |&action| self.contains(action))
    }

    /// The set of the words that are known; `*` stands for all of them.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        words.into_iter().fold(Self::NONE, |set, word| match word {
            "*" => Self::ALL,
            _ => Action::ALL.into_iter().find(|a| a.as_str() == word).map_or(set, |action| set.union(action.into())),
        })
    }
}

impl From<Action> for Actions {
    fn from(action: Action) -> Self {
        Self(action.bit())
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        actions.into_iter().fold(Self::NONE, |set, action| set.union(action.into()))
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, action) in self.iter().enumerate() {
            if nth > 0 {
                f.write_str(",")?;
            }
            f.write_str(action.as_str())?;
        }
        Ok(())
    }
}

/// What a scope is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resource {
    /// `repository:<name>`
    Repository(RepositoryName),
    /// `registry:catalog`, whose one action is `*` (R-SCP-05).
    Catalog,
}

/// One thing a token is asked for: `repository:library/ubuntu:pull,push`.
///
/// Grammar: `type [ "(" class ")" ] ":" name ":" action *( "," action )`. The
/// name ends at the last `:`; a class is read and dropped.
///
/// Source: the docker token protocol; R-SCP-01 to R-SCP-05.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    pub resource: Resource,
    pub actions: Actions,
}

/// Why a text is no [`Scope`]. A token is granted without that part (R-SCP-02).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a scope is `repository:<name>:<actions>` or `registry:catalog:*`")]
pub struct ScopeError;

impl Scope {
    /// These actions in that repository.
    pub fn repository(name: RepositoryName, actions: Actions) -> Self {
        Self { resource: Resource::Repository(name), actions }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (kind, rest) = text.split_once(':').ok_or(ScopeError)?;
        let (name, actions) = rest.rsplit_once(':').ok_or(ScopeError)?;
        let kind = match kind.split_once('(') {
            Some((kind, class)) => {
                let class = class.strip_suffix(')').ok_or(ScopeError)?;
                let well_formed = !class.is_empty() && class.bytes().all(|b| b.is_ascii_alphanumeric());
                if !well_formed {
                    return Err(ScopeError);
                }
                kind
            }
            None => kind,
        };
        let actions = Actions::of_words(actions.split(','));
        match kind {
            "repository" => Ok(Self::repository(name.parse().map_err(|_| ScopeError)?, actions)),
            "registry" if name == "catalog" && actions == Actions::ALL => {
                Ok(Self { resource: Resource::Catalog, actions })
            }
            _ => Err(ScopeError),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resource {
            Resource::Repository(name) => write!(f, "repository:{name}:{}", self.actions),
            Resource::Catalog => f.write_str("registry:catalog:*"),
        }
    }
}

/// How far a personal or robot token reaches: some repositories, some actions.
/// It only narrows what its owner may do.
///
/// Grammar: `*` (everything its owner may do), or
/// `repository:<name>:<actions>`, or `namespace:<namespace>:<actions>`, with
/// actions as in a [`Scope`] but none unknown and at least one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Grant {
    Everything,
    Namespace(Namespace, Actions),
    Repository(RepositoryName, Actions),
}

/// Why a text is no [`Grant`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no scope of a token: `*`, `repository:<name>:<actions>` or `namespace:<namespace>:<actions>`, \
     with actions of `pull`, `push`, `delete` joined by `,`"
)]
pub struct GrantError(Box<str>);

impl Grant {
    /// What it lets its owner do in that repository, at most.
    pub fn actions_in(&self, repository: &RepositoryName) -> Actions {
        match self {
            Self::Everything => Actions::ALL,
            Self::Namespace(namespace, actions) if namespace.as_str() == repository.namespace_str() => *actions,
            Self::Repository(name, actions) if name == repository => *actions,
            Self::Namespace(..) | Self::Repository(..) => Actions::NONE,
        }
    }

    /// Whether it reaches nothing outside that namespace.
    pub fn is_within(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Everything => false,
            Self::Namespace(name, _) => name == namespace,
            Self::Repository(name, _) => name.namespace_str() == namespace.as_str(),
        }
    }
}

impl FromStr for Grant {
    type Err = GrantError;
    fn from_str(text: &str) -> Result<Self, GrantError> {
        let error = || GrantError(text.chars().take(300).collect());
        if text == "*" {
            return Ok(Self::Everything);
        }
        let (kind, rest) = text.split_once(':').ok_or_else(error)?;
        let (name, words) = rest.rsplit_once(':').ok_or_else(error)?;
        let known = |word: &str| word == "*" || Action::ALL.iter().any(|action| action.as_str() == word);
        if !words.split(',').all(known) {
            return Err(error());
        }
        let actions = Actions::of_words(words.split(','));
        match kind {
            "repository" => Ok(Self::Repository(name.parse().map_err(|_| error())?, actions)),
            "namespace" => Ok(Self::Namespace(name.parse().map_err(|_| error())?, actions)),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Namespace(namespace, actions) => write!(f, "namespace:{namespace}:{actions}"),
            Self::Repository(name, actions) => write!(f, "repository:{name}:{actions}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_real_clients_parse() {
        for (text, written) in [
            ("repository:a/b:pull,push", "repository:a/b:pull,push"),
            ("repository:a/b:push,pull", "repository:a/b:pull,push"),
            ("repository(plugin):a/b:pull", "repository:a/b:pull"),
            ("repository:a/b:*", "repository:a/b:pull,push,delete"),
            ("repository:a/b:pull,fly", "repository:a/b:pull"),
            ("repository:a/b:", "repository:a/b:"),
            ("registry:catalog:*", "registry:catalog:*"),
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), written, "{text}");
        }
    }

    /// R-SCP-02, and scopes made to confuse.
    #[test]
    fn scopes_made_to_confuse_name_nothing() {
        for text in [
            "",
            ":",
            "::",
            "repository:a/b",
            "repository::pull",
            "repository:*:pull",
            "repository:a/*:pull",
            "repository:A/b:pull",
            "repository:../b:pull",
            "repository:a%2Fb:pull",
            "repository:ä:pull",
            "repository:host:5000/a:pull",
            "repository():a:pull",
            "repository(x:a:pull",
            "registry:catalog:pull",
            "registry:other:*",
            "Repository:a:pull",
            "namespace:a:pull",
            " repository:a:pull",
        ] {
            assert_eq!(text.parse::<Scope>(), Err(ScopeError), "{text}");
        }
    }

    #[test]
    fn a_grant_reaches_what_it_names_and_nothing_else() {
        let grant = |text: &str| text.parse::<Grant>().unwrap();
        let repository: RepositoryName = "team/app".parse().unwrap();
        assert_eq!(grant("*").actions_in(&repository), Actions::ALL);
        assert_eq!(grant("namespace:team:pull").actions_in(&repository), Action::Pull.into());
        assert_eq!(grant("repository:team/app:push").actions_in(&repository), Action::Push.into());
        for other in ["namespace:tea:*", "repository:team:*", "repository:team/app/x:*"] {
            assert!(grant(other).actions_in(&repository).is_empty(), "{other}");
        }
        for text in ["", "team", "repository:a:", "repository:a:fly", "repository:*:pull", "namespace:a/b:pull"] {
            assert!(text.parse::<Grant>().is_err(), "{text}");
        }
    }
}
