use std::sync::OnceLock;

use sha2::digest::Digest as _;
use sha2::digest::common::hazmat::{DeserializeStateError, SerializableState, SerializedState};
use sha2::{Sha256, Sha512};

use crate::domain::{Algorithm, Digest};

/// The longest state of a hash, in bytes.
pub(super) const MAX_STATE: usize = 208;

/// A hash in the middle of its work. Its state can be put away and taken up
/// again, so that an upload goes on after a restart without reading its bytes.
#[derive(Debug, Clone)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_hash(Algorithm::Sha256, &hash.finalize()),
            Self::Sha512(hash) => Digest::from_hash(Algorithm::Sha512, &hash.finalize()),
        }
    }

    /// Its state, to be understood by [`restore`](Self::restore) of the same
    /// [`format`].
    pub(super) fn state(&self) -> Vec<u8> {
        match self {
            Self::Sha256(hash) => hash.serialize().to_vec(),
            Self::Sha512(hash) => hash.serialize().to_vec(),
        }
    }

    /// The hasher that had this state; `None` where it is no such state.
    pub(super) fn restore(algorithm: Algorithm, state: &[u8]) -> Option<Self> {
        fn restored<H: SerializableState>(state: &[u8]) -> Result<H, DeserializeStateError> {
            H::deserialize(&SerializedState::<H>::try_from(state).map_err(|_| DeserializeStateError)?)
        }
        match algorithm {
            Algorithm::Sha256 => restored(state).map(Self::Sha256).ok(),
            Algorithm::Sha512 => restored(state).map(Self::Sha512).ok(),
        }
    }
}

/// Which layout a [state](Hasher::state) has. The library that makes it promises
/// none across its versions, so the format is named by what it makes of a fixed
/// text: another layout gets another number by itself.
pub(super) fn format() -> u64 {
    static FORMAT: OnceLock<u64> = OnceLock::new();
    *FORMAT.get_or_init(|| {
        let mut seen = Sha256::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&[0xA5; 1000]); // some whole blocks, and some bytes of the next
            seen.update(hasher.state());
        }
        fingerprint(&seen.finalize())
    })
}

/// The first eight bytes of a hash: enough to tell damage and difference.
pub(super) fn fingerprint(hash: &[u8]) -> u64 {
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Cut anywhere, put away, taken up again: the same digest.
        #[test]
        fn a_restored_hasher_goes_on_where_it_stood(
            bytes in proptest::collection::vec(any::<u8>(), 0..1000),
            cut in any::<proptest::sample::Index>(),
            long in any::<bool>(),
        ) {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut first = Hasher::new(algorithm);
            first.update(head);
            prop_assert!(first.state().len() <= MAX_STATE);
            let mut second = Hasher::restore(algorithm, &first.state()).unwrap();
            second.update(tail);
            let mut whole = Hasher::new(algorithm);
            whole.update(&bytes);
            prop_assert_eq!(second.finish(), whole.finish());
        }
    }

    #[test]
    fn what_is_no_state_is_not_taken_for_one() {
        assert!(Hasher::restore(Algorithm::Sha256, &[]).is_none());
        let state = Hasher::new(Algorithm::Sha256).state();
        assert!(Hasher::restore(Algorithm::Sha512, &state).is_none());
        let mut overfull = state;
        if let Some(position) = overfull.get_mut(40) {
            *position = 0xFF; // a block's fill that no block can have
        }
        assert!(Hasher::restore(Algorithm::Sha256, &overfull).is_none());
    }
}
