use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Digest, UploadId};

/// Names a stored object: `sha256/9f/9f86…0a08.<upload id>`.
///
/// Unique for ever: it carries the id of the upload that made it, so no two
/// commits share a name and no sweep can take a file that a concurrent push has
/// just named. Which object a digest is, the database says.
///
/// Grammar: `<algorithm>/<first 2 hex digits>/<hex>.<upload id>`; a relative
/// path below the store's `blobs/`, safe to join.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(Arc<str>);

/// Why a text is no [`ObjectName`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no object's name: `<algorithm>/<2 hex>/<hex>.<upload id>` is wanted")]
pub struct ObjectNameError(Box<str>);

impl ObjectName {
    /// The name of the object that this upload makes of these bytes.
    pub fn new(digest: &Digest, upload: UploadId) -> Self {
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        Self(format!("{algorithm}/{}/{hex}.{upload}", &hex[..2]).into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest its bytes were verified against when it was made.
    pub fn digest(&self) -> Digest {
        self.parts().0
    }

    /// The upload that made it.
    pub fn upload(&self) -> UploadId {
        self.parts().1
    }

    fn parts(&self) -> (Digest, UploadId) {
        split(&self.0).unwrap_or_else(|| unreachable!("built only from a digest and an upload: {}", self.0))
    }
}

impl FromStr for ObjectName {
    type Err = ObjectNameError;
    fn from_str(text: &str) -> Result<Self, ObjectNameError> {
        match split(text) {
            Some((digest, upload)) if Self::new(&digest, upload).as_str() == text => Ok(Self(text.into())),
            _ => Err(ObjectNameError(text.into())),
        }
    }
}

fn split(text: &str) -> Option<(Digest, UploadId)> {
    let (algorithm, rest) = text.split_once('/')?;
    let (_, file) = rest.split_once('/')?;
    let (hex, upload) = file.split_once('.')?;
    Some((format!("{algorithm}:{hex}").parse().ok()?, upload.parse().ok()?))
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_name_reads_back_and_nothing_else_does() {
        let digest: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let upload = UploadId::random();
        let name = ObjectName::new(&digest, upload);
        assert_eq!(name.as_str().parse::<ObjectName>().unwrap(), name);
        assert_eq!((name.digest(), name.upload()), (digest, upload));
        let elsewhere = name.as_str().replacen("/ab/", "/cd/", 1);
        for text in ["", "../../etc/passwd", &elsewhere, name.as_str().trim_end_matches(|c| c != '.')] {
            assert!(text.parse::<ObjectName>().is_err(), "{text}");
        }
    }
}
