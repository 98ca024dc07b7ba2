//! Who may do what: one pure function over the facts of a case.
//!
//! A right comes from the identity (visibility, role, admin) and from nothing
//! else. A credential's grants and a token's scopes only take away, with one
//! exception that gives nothing: what a stranger may pull, anybody may.

use crate::domain::{Action, Actions, Role, Visibility};

/// What somebody wants of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read its content.
    Pull,
    /// Write content, which creates the repository where it does not exist.
    Push,
    /// Delete content.
    Delete,
    /// List what refers to a digest: as [`Access::Pull`], but what may not be
    /// seen looks empty instead of absent (R-REF-01).
    Referrers,
    /// Change the repository itself, such as its visibility.
    Manage,
}

impl Access {
    /// Every access, for tables and tests.
    pub const ALL: [Self; 5] = [Self::Pull, Self::Push, Self::Delete, Self::Referrers, Self::Manage];

    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Referrers => "referrers",
            Self::Manage => "manage",
        }
    }

    /// The action a token's scope must name; none opens management (design §8).
    fn action(self) -> Option<Action> {
        match self {
            Self::Pull | Self::Referrers => Some(Action::Pull),
            Self::Push => Some(Action::Push),
            Self::Delete => Some(Action::Delete),
            Self::Manage => None,
        }
    }
}

/// The kind of identity that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    /// Nobody that is known.
    Anonymous,
    /// A user.
    User,
    /// A user who may do everything.
    Admin,
    /// A machine: it handles content, and manages and claims nothing.
    Robot,
}

/// How far the credential reaches that the identity was proved with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    /// As far as the identity itself: a password, or a token for everything.
    Whole,
    /// These actions in the repository at hand, perhaps none.
    Granted(Actions),
}

impl Reach {
    /// Whether it reaches as far as that.
    pub(super) fn covers(self, action: Action) -> bool {
        match self {
            Self::Whole => true,
            Self::Granted(actions) => actions.contains(action),
        }
    }
}

/// What the bearer token of the request says about the repository at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Token {
    /// There is none: Basic credentials, or nothing at all.
    Absent,
    /// It was asked for without a scope and does not narrow.
    Unscoped,
    /// It carries these actions, perhaps none.
    Scoped(Actions),
}

impl Token {
    /// Whether it lets the access through; `None` is what no scope opens.
    fn covers(self, action: Option<Action>) -> bool {
        match (self, action) {
            (Self::Absent | Self::Unscoped, _) => true,
            (Self::Scoped(actions), Some(action)) => actions.contains(action),
            (Self::Scoped(_), None) => false,
        }
    }
}

/// Who may claim a namespace that is nobody's, by pushing to it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Claim {
    /// Any user.
    #[default]
    Users,
    /// Admins only.
    Admins,
}

/// Everything a decision about a repository looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Case {
    /// Who asks.
    pub(super) asker: Asker,
    /// Their role in the namespace; [`Role::Owner`] in a repository they created while a member.
    pub(super) role: Option<Role>,
    /// The repository's visibility, or `None` where it does not exist.
    pub(super) visibility: Option<Visibility>,
    /// Whether the namespace is somebody's.
    pub(super) claimed: bool,
    /// Who may claim one that is not.
    pub(super) claim: Claim,
    /// How far the credential reaches here.
    pub(super) reach: Reach,
    /// What the token says of this repository.
    pub(super) token: Token,
}

/// How much a request that is let through may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sight {
    /// What is there.
    Clear,
    /// Nothing: the answer is that of an empty repository.
    Blank,
}

/// Why a request is not let through, and so how it is answered (R-AUZ-03).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Other credentials could help. `insufficient_scope` where a good token came, but one that carries too little.
    #[error("other credentials are needed")]
    Challenge {
        /// Whether a token was sent.
        insufficient_scope: bool,
    },
    /// Who asks is known and may not.
    #[error("the account may not do this")]
    Denied,
    /// Who asks is known and must not learn whether it exists (I4).
    #[error("not there, as far as the account can tell")]
    Hidden,
}

impl Refusal {
    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Challenge { insufficient_scope: false } => "unauthenticated",
            Self::Challenge { insufficient_scope: true } => "insufficient_scope",
            Self::Denied => "denied",
            Self::Hidden => "hidden",
        }
    }
}

impl Case {
    /// What the identity may do here as far as its credential reaches: what a
    /// token can be granted. Where the repository does not exist, whoever may
    /// create it is granted pull and push (R-AUZ-07).
    pub(super) fn rights(&self) -> Actions {
        let own = match self.visibility {
            Some(visibility) => self.rights_in_existing(visibility),
            None if self.may_create() => [Action::Pull, Action::Push].into_iter().collect(),
            None => Actions::NONE,
        };
        let reached = match self.reach {
            Reach::Whole => own,
            Reach::Granted(granted) => own.intersection(granted),
        };
        match self.visibility {
            Some(Visibility::Public) => reached.union(Action::Pull.into()),
            _ => reached,
        }
    }

    fn rights_in_existing(&self, visibility: Visibility) -> Actions {
        let by_role = match self.role {
            Some(Role::Owner) => Actions::ALL,
            Some(Role::Writer) => [Action::Pull, Action::Push].into_iter().collect(),
            Some(Role::Reader) => Action::Pull.into(),
            None => Actions::NONE,
        };
        match self.asker {
            Asker::Anonymous => Actions::NONE,
            Asker::Admin => Actions::ALL,
            Asker::User | Asker::Robot if visibility == Visibility::Internal => by_role.union(Action::Pull.into()),
            Asker::User | Asker::Robot => by_role,
        }
    }

    fn may_create(&self) -> bool {
        match self.asker {
            Asker::Anonymous => false,
            Asker::Admin => true,
            Asker::User | Asker::Robot if self.claimed => self.role >= Some(Role::Writer),
            Asker::User => self.claim == Claim::Users,
            Asker::Robot => false,
        }
    }

    fn may_manage(&self) -> bool {
        let owner = match self.asker {
            Asker::Admin => true,
            Asker::User => self.role == Some(Role::Owner),
            Asker::Anonymous | Asker::Robot => false,
        };
        owner && self.reach == Reach::Whole
    }
}

/// May they? No clock, no query, no header: a test visits every cell.
///
/// The order is that of R-AUZ-03. A missing scope comes before existence, so
/// that a token for one repository tells nothing of its owner's others.
///
/// # Errors
/// A [`Refusal`] that says how to answer.
pub(super) fn decide(access: Access, case: &Case) -> Result<Sight, Refusal> {
    let rights = case.rights();
    let exists = case.visibility.is_some();
    let may = access.action().map_or_else(|| exists && case.may_manage(), |action| rights.contains(action));
    let covered = case.token.covers(access.action());
    let known = case.asker != Asker::Anonymous;

    if known && !covered && (may || access == Access::Manage) {
        return Err(Refusal::Challenge { insufficient_scope: true });
    }
    if may && covered && (exists || access == Access::Push) {
        return Ok(Sight::Clear);
    }
    match access {
        _ if !known => Err(Refusal::Challenge { insufficient_scope: case.token != Token::Absent }),
        Access::Push => Err(Refusal::Denied),
        Access::Delete | Access::Manage if exists && rights.contains(Action::Pull) => Err(Refusal::Denied),
        Access::Referrers => Ok(Sight::Blank),
        Access::Pull | Access::Delete | Access::Manage => Err(Refusal::Hidden),
    }
}

/// What somebody wants of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NamespaceAccess {
    /// See its members, robots and settings.
    View,
    /// Change them.
    Manage,
}

/// Everything a decision about a namespace looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NamespaceCase {
    /// Who asks.
    pub(super) asker: Asker,
    /// Their role in it.
    pub(super) role: Option<Role>,
    /// Whether it is somebody's.
    pub(super) claimed: bool,
    /// Whether the credential reaches as far as the identity.
    pub(super) whole: bool,
    /// The token's own narrowing.
    pub(super) token: Token,
}

/// May they, in a namespace? To strangers it is absent.
///
/// # Errors
/// A [`Refusal`] that says how to answer.
pub(super) fn decide_namespace(access: NamespaceAccess, case: &NamespaceCase) -> Result<(), Refusal> {
    decide_management(case.asker, case.whole, case.token)?;
    let needed = match access {
        NamespaceAccess::View => Role::Reader,
        NamespaceAccess::Manage => Role::Owner,
    };
    match case.role {
        _ if !case.claimed => Err(Refusal::Hidden),
        _ if case.asker == Asker::Admin => Ok(()),
        None => Err(Refusal::Hidden),
        Some(role) if role >= needed => Ok(()),
        Some(_) => Err(Refusal::Denied),
    }
}

/// May they, with a user's account and tokens? Nobody but that user and admins,
/// so that strangers do not learn whether there is such a user.
///
/// # Errors
/// A [`Refusal`] that says how to answer.
pub(super) fn decide_user(asker: Asker, whole: bool, token: Token, own: bool) -> Result<(), Refusal> {
    decide_management(asker, whole, token)?;
    if own || asker == Asker::Admin { Ok(()) } else { Err(Refusal::Denied) }
}

/// May they claim a namespace without pushing to it?
///
/// # Errors
/// A [`Refusal`] that says how to answer.
pub(super) fn decide_claim(asker: Asker, whole: bool, token: Token, claim: Claim) -> Result<(), Refusal> {
    decide_management(asker, whole, token)?;
    if claim == Claim::Users || asker == Asker::Admin { Ok(()) } else { Err(Refusal::Denied) }
}

/// May they use the management API at all? It takes users, by Basic or by a
/// token without scopes, and no credential that was narrowed.
///
/// # Errors
/// A [`Refusal`] that says how to answer.
pub(super) fn decide_management(asker: Asker, whole: bool, token: Token) -> Result<(), Refusal> {
    match asker {
        Asker::Anonymous => Err(Refusal::Challenge { insufficient_scope: token != Token::Absent }),
        _ if matches!(token, Token::Scoped(_)) => Err(Refusal::Challenge { insufficient_scope: true }),
        Asker::User | Asker::Admin if whole => Ok(()),
        Asker::User | Asker::Admin | Asker::Robot => Err(Refusal::Denied),
    }
}
