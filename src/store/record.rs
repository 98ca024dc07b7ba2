use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::SessionOwner;
use super::hasher::{self, Hasher, MAX_STATE};
use crate::domain::Algorithm;

/// Begins every session's file; the last number is the version of what follows.
const MAGIC: &[u8] = b"distribution upload session 1\n";
/// Where the owner ends and the first slot begins.
const HEAD: usize = 512;
/// Room for one slot.
const SLOT: usize = 512;
/// Bytes of a slot that are used, its checksum last.
const USED: usize = 8 * 4 + 16 + 2 + MAX_STATE + 8;
/// All of a session's file.
pub(super) const LEN: usize = HEAD + 2 * SLOT;
/// An account's name fits beside the longest repository's.
const MAX_ACCOUNT: usize = 128;

/// How far a session has come: the only truth about it.
///
/// A session's file names its owner once and has two slots for records. A save
/// overwrites the older one, so that a reader without the lock, and a process
/// killed in the middle, always find a whole one. Not synced: a power cut may
/// take a session, never a blob.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Counts the saves; the slot with the higher number is the truth.
    pub(super) sequence: u64,
    /// How many bytes the session has.
    pub(super) offset: u64,
    /// How many of them `hasher` has seen: all, or where it had to be doubted, none.
    pub(super) hashed: u64,
    pub(super) hasher: Hasher,
}

impl Record {
    /// Of a session that has no bytes.
    pub(super) fn empty(algorithm: Algorithm) -> Self {
        Self { sequence: 0, offset: 0, hashed: 0, hasher: Hasher::new(algorithm) }
    }

    /// The latest record in a session's file, as far as this boot of this host
    /// may believe it: bytes that another has written may have been lost with
    /// its memory although its hash has counted them.
    pub(super) fn latest(file: &[u8], boot: Uuid) -> Option<Self> {
        let slots = [0, 1].map(|nth| file.get(HEAD + nth * SLOT..)?.get(..USED).and_then(|slot| decode(slot, boot)));
        slots.into_iter().flatten().max_by_key(|record| record.sequence)
    }

    /// Where in the file this record goes, and its bytes.
    pub(super) fn slot(&self, boot: Uuid) -> (u64, Vec<u8>) {
        let at = HEAD as u64 + (self.sequence % 2) * SLOT as u64;
        (at, encode(self, boot))
    }

    /// The file of a new session, up to its first record.
    pub(super) fn file(&self, owner: &SessionOwner, boot: Uuid) -> Option<Vec<u8>> {
        if owner.account.len() > MAX_ACCOUNT || owner.account.contains('\n') {
            return None;
        }
        let mut file = head(owner);
        file.resize(HEAD, 0);
        file.extend(encode(self, boot));
        Some(file)
    }
}

/// Whether the session in this file belongs to this repository and account.
pub(super) fn is_owned(file: &[u8], owner: &SessionOwner) -> bool {
    let head = head(owner);
    // The newline at its end makes the prefix exact.
    head.len() <= HEAD && file.starts_with(&head)
}

fn head(owner: &SessionOwner) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD + USED);
    head.extend(MAGIC);
    for line in [owner.repository.as_str(), &owner.account] {
        head.extend(line.as_bytes());
        head.push(b'\n');
    }
    head
}

fn encode(record: &Record, boot: Uuid) -> Vec<u8> {
    let mut slot = Vec::with_capacity(USED);
    for number in [record.sequence, record.offset, record.hashed, hasher::format()] {
        slot.extend(number.to_le_bytes());
    }
    slot.extend(boot.as_bytes());
    let state = record.hasher.state();
    slot.push(match record.hasher.algorithm() {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    });
    slot.push(u8::try_from(state.len()).unwrap_or(u8::MAX));
    slot.extend(state);
    slot.resize(USED - 8, 0);
    let check = checksum(&slot);
    slot.extend(check.to_le_bytes());
    slot
}

fn decode(slot: &[u8], boot: Uuid) -> Option<Record> {
    let (content, check) = slot.split_at_checked(USED - 8)?;
    if check != checksum(content).to_le_bytes() {
        return None;
    }
    let (numbers, rest) = content.split_first_chunk::<32>()?;
    let (written_by, rest) = rest.split_first_chunk::<16>()?;
    let [algorithm, state_len, state @ ..] = rest else { return None };
    let (numbers, _) = numbers.as_chunks::<8>();
    let [sequence, offset, hashed, format] = *numbers else { return None };
    let [sequence, offset, hashed, format] = [sequence, offset, hashed, format].map(u64::from_le_bytes);
    let algorithm = match algorithm {
        1 => Algorithm::Sha256,
        2 => Algorithm::Sha512,
        _ => return None,
    };
    let trusted = format == hasher::format() && written_by == boot.as_bytes();
    let state = state.get(..usize::from(*state_len)).filter(|_| trusted);
    let (hashed, hasher) = match state.and_then(|state| Hasher::restore(algorithm, state)) {
        Some(hasher) => (hashed, hasher),
        None => (0, Hasher::new(algorithm)),
    };
    Some(Record { sequence, offset, hashed, hasher })
}

fn checksum(content: &[u8]) -> u64 {
    hasher::fingerprint(&Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(repository: &str, account: &str) -> SessionOwner {
        SessionOwner { repository: repository.parse().unwrap(), account: account.into() }
    }

    fn record(sequence: u64, bytes: &[u8]) -> Record {
        let mut record = Record { sequence, ..Record::empty(Algorithm::Sha256) };
        record.hasher.update(bytes);
        record.offset = bytes.len() as u64;
        record.hashed = record.offset;
        record
    }

    #[test]
    fn the_later_record_counts_and_a_torn_one_does_not() {
        let boot = Uuid::new_v4();
        let mut file = record(0, b"").file(&owner("a/b", "user:1"), boot).unwrap();
        file.resize(LEN, 0);
        for sequence in 1..4 {
            let (at, slot) = record(sequence, &vec![7; sequence as usize]).slot(boot);
            file[at as usize..][..slot.len()].copy_from_slice(&slot);
            assert_eq!(Record::latest(&file, boot).unwrap().offset, sequence);
        }
        let (at, slot) = record(4, b"1234").slot(boot);
        file[at as usize..][..slot.len() / 2].copy_from_slice(&slot[..slot.len() / 2]);
        assert_eq!(Record::latest(&file, boot).unwrap().offset, 3);
    }

    #[test]
    fn a_hash_of_another_boot_is_not_believed() {
        let boot = Uuid::new_v4();
        let file = record(0, b"abc").file(&owner("a/b", "user:1"), boot).unwrap();
        assert_eq!(Record::latest(&file, boot).unwrap().hashed, 3);
        let doubted = Record::latest(&file, Uuid::new_v4()).unwrap();
        assert_eq!((doubted.offset, doubted.hashed), (3, 0));
        assert_eq!(doubted.hasher.finish(), Hasher::new(Algorithm::Sha256).finish());
    }

    /// R-UPL-51: neither a prefix nor an extension of a name is the name.
    #[test]
    fn a_session_is_its_owners_alone() {
        let longest = owner(&"a".repeat(255), &"u".repeat(MAX_ACCOUNT));
        for mine in [owner("a/b", "user:1"), longest] {
            let file = Record::empty(Algorithm::Sha512).file(&mine, Uuid::nil()).unwrap();
            assert!(is_owned(&file, &mine));
            for other in [owner("a/b", "user:12"), owner("a/b", "user:"), owner("a/bc", "user:1"), owner("a", "b")] {
                assert!(!is_owned(&file, &other));
            }
        }
        assert!(Record::empty(Algorithm::Sha512).file(&owner("a", &"u".repeat(129)), Uuid::nil()).is_none());
        assert!(Record::empty(Algorithm::Sha512).file(&owner("a", "u\nv"), Uuid::nil()).is_none());
    }

    /// Every session that a crash can leave begins with whatever the disk had.
    #[test]
    fn what_is_no_session_is_not_taken_for_one() {
        assert!(Record::latest(&[], Uuid::nil()).is_none());
        assert!(Record::latest(&[0; LEN], Uuid::nil()).is_none());
        assert!(!is_owned(&[0; LEN], &owner("a", "u")));
    }
}
