use std::fmt;
use std::str::FromStr;

/// The type of some content, without parameters: `application/vnd.oci.image.manifest.v1+json`.
///
/// Grammar: RFC 6838 §4.2, `type "/" subtype`, each 1 to 127 of
/// `[A-Za-z0-9!#$&^_.+-]` beginning with a letter or digit. Parameters and white
/// space around it are dropped in parsing. Kept as written, compared without case.
///
/// Source: R-MT-01 to R-MT-03.
#[derive(Debug, Clone)]
pub struct MediaType(Box<str>);

/// Why a text is no [`MediaType`]. The client reads it under `MANIFEST_INVALID`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no media type: `type/subtype` by RFC 6838 is wanted")]
pub struct MediaTypeError(Box<str>);

impl MediaType {
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    pub const DOCKER_MANIFEST: &'static str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_LIST: &'static str = "application/vnd.docker.distribution.manifest.list.v2+json";

    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that type, whatever the case.
    pub fn is(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }

    /// Whether a layer of this type is normally left where it came from
    /// (R-MPT-12), so that a manifest may name it without its being here.
    pub fn is_non_distributable(&self) -> bool {
        const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
        const NON_DISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
        let lower = self.0.to_ascii_lowercase();
        [FOREIGN, NON_DISTRIBUTABLE]
            .iter()
            .any(|stem| lower.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '.'])))
    }
}

impl PartialEq for MediaType {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for MediaType {}

impl FromStr for MediaType {
    type Err = MediaTypeError;
    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        match essence.split_once('/') {
            Some((kind, subtype)) if is_restricted(kind) && is_restricted(subtype) => Ok(Self(essence.into())),
            _ => Err(MediaTypeError(essence.chars().take(255).collect())),
        }
    }
}

fn is_restricted(name: &str) -> bool {
    name.len() <= 127
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'!' | b'#' | b'$' | b'&' | b'^' | b'_' | b'.' | b'+' | b'-')
        })
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_make_another_type() {
        let parsed: MediaType = " Application/VND.oci.image.index.v1+json ; charset=utf-8".parse().unwrap();
        assert!(parsed.is(MediaType::OCI_INDEX));
        for text in ["", "application", "application/", "/json", "a b/c", "a/b/c", "ä/b"] {
            assert!(text.parse::<MediaType>().is_err(), "{text}");
        }
    }

    #[test]
    fn foreign_layers_are_known_in_every_compression() {
        for text in [
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ] {
            assert!(text.parse::<MediaType>().unwrap().is_non_distributable(), "{text}");
        }
        assert!(!"application/vnd.oci.image.layer.v1.tar".parse::<MediaType>().unwrap().is_non_distributable());
    }
}
