use std::fmt;
use std::str::FromStr;

/// What a member may do in a namespace; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Pulls.
    Reader,
    /// Pushes, and so creates repositories.
    Writer,
    /// Deletes, changes visibility, manages members and robots.
    Owner,
}

/// Why a text is no [`Role`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a role is `reader`, `writer` or `owner`")]
pub struct RoleError;

impl Role {
    pub const ALL: [Self; 3] = [Self::Reader, Self::Writer, Self::Owner];

    /// The word for it, in requests and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Owner => "owner",
        }
    }
}

impl FromStr for Role {
    type Err = RoleError;
    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(RoleError)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
