use std::fmt;
use std::str::FromStr;

use uuid::{NoContext, Timestamp, Uuid};

/// Names an upload session: a UUID of version 7, of which 74 bits are random and
/// not to be guessed. It begins with its time, so that in an index those of
/// today lie together; random ones would each touch a page of their own.
///
/// Grammar: the hyphenated lower-case form, 36 bytes.
///
/// Source: R-UPL-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(Uuid);

/// Why a text is no [`UploadId`]. To a client such a session is simply unknown (R-UPL-51).
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("an upload session's id is a UUID in lower case")]
pub struct UploadIdError;

impl UploadId {
    /// A fresh id that nobody can guess.
    pub fn random() -> Self {
        // No context: a counter would take bits that nobody should know. The clock is there for order alone.
        Self(Uuid::new_v7(Timestamp::now(NoContext)))
    }
}

impl FromStr for UploadId {
    type Err = UploadIdError;
    fn from_str(text: &str) -> Result<Self, UploadIdError> {
        // One spelling only: the id is a file's name too.
        let canonical = text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase());
        match Uuid::try_parse(text) {
            Ok(uuid) if canonical => Ok(Self(uuid)),
            _ => Err(UploadIdError),
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
