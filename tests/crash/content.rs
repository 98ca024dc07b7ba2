use std::fmt::Write;

use ring::digest;

use crate::random::Random;

pub(crate) const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Bytes that are the same for the same seed, so that only the seed need be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    seed: u64,
    len: usize,
}

impl Content {
    /// Of the size that a blob may have: mostly a config's, sometimes a layer's.
    pub(crate) fn new(random: &mut Random) -> Self {
        Self::of_seed(random.next())
    }

    /// What everybody has: pushed by many at once, into many repositories.
    pub(crate) fn common(random: &mut Random) -> Self {
        Self::of_seed(random.below(24))
    }

    fn of_seed(seed: u64) -> Self {
        let mut sizes = Random::new(seed);
        let len = match sizes.below(20) {
            0 => 600_000 + sizes.below(1_400_000),
            1..=6 => 10_000 + sizes.below(190_000),
            _ => 2 + sizes.below(4_000),
        };
        Self { seed, len: usize::try_from(len).unwrap() }
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut random = Random::new(!self.seed);
        let mut bytes = Vec::with_capacity(self.len + 8);
        while bytes.len() < self.len {
            bytes.extend(random.next().to_le_bytes());
        }
        bytes.truncate(self.len);
        bytes
    }
}

/// `sha256:…` of the bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    hash.as_ref().iter().fold(String::from("sha256:"), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
