use std::net::IpAddr;

use super::tokens::TokenId;
use super::users::UserId;
use crate::domain::{Namespace, Username};

/// Who asks for a change, and from where: the audit log keeps it.
#[derive(Debug, Clone)]
pub struct Origin {
    pub actor: Actor,
    /// Where the request came from; none on the command line.
    pub address: Option<IpAddr>,
    /// The request's id, which the client and the access log have too.
    pub request: Option<Box<str>>,
}

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Nobody who is known, such as who registers or fails to log in.
    Anonymous,
    User {
        id: UserId,
        name: Username,
    },
    /// A machine, by its token.
    Robot {
        id: TokenId,
        name: Box<str>,
        namespace: Namespace,
    },
    /// The registry itself, or its operator on the command line.
    System,
}

impl Origin {
    /// The registry itself, or its operator on the command line.
    pub fn system() -> Self {
        Self { actor: Actor::System, address: None, request: None }
    }
}

impl Actor {
    /// The user, where it is one.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::User { id, .. } => Some(*id),
            Self::Anonymous | Self::Robot { .. } | Self::System => None,
        }
    }

    /// As the audit log writes it: `user:alice`, `robot:team/ci`, `anonymous`, `system`.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::User { name, .. } => format!("user:{name}"),
            Self::Robot { name, namespace, .. } => format!("robot:{namespace}/{name}"),
            Self::System => "system".to_owned(),
        }
    }
}
