use std::fmt;
use std::str::FromStr;

/// Who may pull from a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Anyone, logged in or not.
    Public,
    /// Anyone who is logged in.
    Internal,
    /// Members of its namespace only.
    Private,
}

/// Why a text is no [`Visibility`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a visibility is `public`, `internal` or `private`")]
pub struct VisibilityError;

impl Visibility {
    pub const ALL: [Self; 3] = [Self::Public, Self::Internal, Self::Private];

    /// The word for it, in requests and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Private => "private",
        }
    }
}

impl FromStr for Visibility {
    type Err = VisibilityError;
    fn from_str(text: &str) -> Result<Self, VisibilityError> {
        Self::ALL.into_iter().find(|v| v.as_str() == text).ok_or(VisibilityError)
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
