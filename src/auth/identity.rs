//! Who asks, and what narrows them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::policy::{Asker, Reach, Token};
use super::scopes::Scopes;
use crate::domain::{Actions, Grant, Namespace, RepositoryName};
use crate::metadata::{Account, Actor, Origin, TokenId, UserId, Viewer};

/// Who somebody is.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Nobody that is known.
    Anonymous,
    /// A user.
    User(Account),
    /// A machine that belongs to a namespace.
    Robot(Robot),
}

/// A machine's account: its access token and nothing beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Robot {
    /// Its access token.
    pub id: TokenId,
    /// What it is called.
    pub name: RobotName,
}

/// Names a robot: `team+deploy`.
///
/// Grammar: a namespace, `+`, and one component of a repository name of at most
/// 64 bytes. No username has a `+`, and no shell minds one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RobotName {
    namespace: Namespace,
    robot: Box<str>,
}

/// Why a text is no [`RobotName`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a robot is called `<namespace>+<name>`, the name being 1 to 64 lower-case letters and digits, \
     joined by `.`, `_`, `__` or `-`"
)]
pub struct RobotNameError;

impl RobotName {
    /// Longest part after the `+`, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The robot of that name in that namespace.
    ///
    /// # Errors
    /// [`RobotNameError`] if the name is not one component, or too long.
    pub fn new(namespace: Namespace, robot: &str) -> Result<Self, RobotNameError> {
        let well_formed = robot.len() <= Self::MAX_LEN && robot.parse::<Namespace>().is_ok();
        if well_formed { Ok(Self { namespace, robot: robot.into() }) } else { Err(RobotNameError) }
    }

    /// The namespace it belongs to.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its name within the namespace.
    pub fn robot(&self) -> &str {
        &self.robot
    }
}

impl FromStr for RobotName {
    type Err = RobotNameError;
    fn from_str(text: &str) -> Result<Self, RobotNameError> {
        let (namespace, robot) = text.split_once('+').ok_or(RobotNameError)?;
        Self::new(namespace.parse().map_err(|_| RobotNameError)?, robot)
    }
}

impl fmt::Display for RobotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.namespace, self.robot)
    }
}

/// Where a request comes from, for limits and for the audit log.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address, past proxies that are trusted.
    pub address: IpAddr,
    /// The request's id.
    pub request: Option<Box<str>>,
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self { address, request: None }
    }
}

impl Peer {
    /// What the audit log keeps of it, and of who did something.
    pub fn origin(&self, actor: Actor) -> Origin {
        Origin { actor, address: Some(self.address), request: self.request.clone() }
    }
}

/// What the bearer token of a request says of its own reach.
#[derive(Debug, Clone)]
pub enum Bearer {
    /// There is none: Basic credentials, or nothing at all.
    Absent,
    /// It was asked for without a scope and does not narrow.
    Unscoped,
    /// It carries these scopes, perhaps none.
    Scoped(Arc<Scopes>),
}

/// The access token that an identity was proved with, here or at the token service.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Which one.
    pub id: TokenId,
    /// How far it reaches.
    pub grants: Arc<[Grant]>,
}

/// Who asks, with all that narrows them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Caller {
    identity: Identity,
    credential: Option<Credential>,
    bearer: Bearer,
}

impl Caller {
    /// Nobody, who sent nothing.
    pub fn anonymous() -> Self {
        Self::new(Identity::Anonymous, None, Bearer::Absent)
    }

    pub(super) fn new(identity: Identity, credential: Option<Credential>, bearer: Bearer) -> Self {
        Self { identity, credential, bearer }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The access token it was proved with, if it was one.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// What the bearer token says.
    pub fn bearer(&self) -> &Bearer {
        &self.bearer
    }

    /// Whether nobody is known to ask.
    pub fn is_anonymous(&self) -> bool {
        matches!(self.identity, Identity::Anonymous)
    }

    /// The user, if it is one.
    pub fn user(&self) -> Option<&Account> {
        match &self.identity {
            Identity::User(account) => Some(account),
            Identity::Anonymous | Identity::Robot(_) => None,
        }
    }

    /// The user's id, if it is one.
    pub fn user_id(&self) -> Option<UserId> {
        self.user().map(|account| account.id)
    }

    /// Whether it is a user who may do everything, what narrows them apart.
    pub fn is_admin(&self) -> bool {
        self.user().is_some_and(|account| account.admin)
    }

    /// What an upload session is bound to: `user:7`, `robot:3`, or `anonymous` (R-UPL-51).
    pub fn account(&self) -> Box<str> {
        match &self.identity {
            Identity::Anonymous => "anonymous".into(),
            Identity::User(account) => format!("user:{}", account.id.get()).into(),
            Identity::Robot(robot) => format!("robot:{}", robot.id.get()).into(),
        }
    }

    /// What people and logs call it; nothing for nobody.
    pub fn name(&self) -> Option<Box<str>> {
        match &self.identity {
            Identity::Anonymous => None,
            Identity::User(account) => Some(account.name.as_str().into()),
            Identity::Robot(robot) => Some(robot.name.to_string().into()),
        }
    }

    /// Who the audit log says it was.
    pub fn actor(&self) -> Actor {
        match &self.identity {
            Identity::Anonymous => Actor::Anonymous,
            Identity::User(account) => Actor::User { id: account.id, name: account.name.clone() },
            Identity::Robot(Robot { id, name }) => {
                Actor::Robot { id: *id, name: name.robot().into(), namespace: name.namespace().clone() }
            }
        }
    }

    /// Whose eyes a list is for, what narrows them apart.
    pub(super) fn viewer(&self) -> Viewer {
        match &self.identity {
            Identity::Anonymous => Viewer::Anonymous,
            Identity::User(account) if account.admin => Viewer::Admin,
            Identity::User(account) => Viewer::User(account.id),
            Identity::Robot(robot) => Viewer::Robot(robot.name.namespace().clone()),
        }
    }

    pub(super) fn asker(&self) -> Asker {
        match &self.identity {
            Identity::Anonymous => Asker::Anonymous,
            Identity::User(account) if account.admin => Asker::Admin,
            Identity::User(_) => Asker::User,
            Identity::Robot(_) => Asker::Robot,
        }
    }

    /// How far the credential reaches in that repository.
    pub(super) fn reach(&self, repository: &RepositoryName) -> Reach {
        match self.narrowing_grants() {
            None => Reach::Whole,
            Some(grants) => Reach::Granted(
                grants.iter().fold(Actions::NONE, |reach, grant| reach.union(grant.actions_in(repository))),
            ),
        }
    }

    /// The grants, unless they are for everything.
    pub(super) fn narrowing_grants(&self) -> Option<&[Grant]> {
        let grants = &*self.credential.as_ref()?.grants;
        (!grants.contains(&Grant::Everything)).then_some(grants)
    }

    /// What the bearer token says of that repository.
    pub(super) fn token(&self, repository: &RepositoryName) -> Token {
        match &self.bearer {
            Bearer::Absent => Token::Absent,
            Bearer::Unscoped => Token::Unscoped,
            Bearer::Scoped(scopes) => Token::Scoped(scopes.actions_in(repository)),
        }
    }

    /// What the bearer token says of everything that is no repository: scopes open none of it.
    pub(super) fn management_token(&self) -> Token {
        match &self.bearer {
            Bearer::Absent => Token::Absent,
            Bearer::Unscoped => Token::Unscoped,
            Bearer::Scoped(_) => Token::Scoped(Actions::NONE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Username;

    #[test]
    fn a_robots_name_is_nobody_elses_and_needs_no_quoting() {
        for text in ["team+deploy", "a+b", "my-org+ci.main", &format!("t+{}", "x".repeat(64))] {
            let name: RobotName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert!(text.parse::<Username>().is_err());
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b)));
        }
        let too_long = format!("t+{}", "x".repeat(65));
        for text in ["team", "+ci", "team+", "team+a+b", "team/x+ci", "Team+ci", "team+c i", "team$ci", &too_long] {
            assert_eq!(text.parse::<RobotName>(), Err(RobotNameError), "{text}");
        }
    }
}
