use std::fs::File;
use std::os::unix::fs::FileExt;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::SessionOwner;
use super::hasher::{self, Hasher, MAX_STATE};
use crate::domain::{Algorithm, UploadId};

/// Begins every session's file; the last number is the version of what follows.
const MAGIC: &[u8] = b"distribution upload session 1\n";
/// Begins a file that is no session's any more.
pub(super) const FINISHED: &[u8] = b"finished distribution session\n";
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
/// A session's file names it and its owner once and has two slots for records. A
/// save overwrites the older one, so that a reader without the lock, and a
/// process killed in the middle, always find a whole one. The session's id is in
/// there since the file may have been another's before, and be another's by the
/// time it is read. Not synced: a power cut may take a session, never a blob.
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
    pub(super) fn latest(file: &[u8], id: UploadId, boot: Uuid) -> Option<Self> {
        let slots =
            [0, 1].map(|nth| file.get(HEAD + nth * SLOT..)?.get(..USED).and_then(|slot| decode(slot, id, boot)));
        slots.into_iter().flatten().max_by_key(|record| record.sequence)
    }

    /// Where in the file this record goes, and its bytes.
    pub(super) fn slot(&self, id: UploadId, boot: Uuid) -> (u64, Vec<u8>) {
        let at = HEAD as u64 + (self.sequence % 2) * SLOT as u64;
        (at, encode(self, id, boot))
    }

    /// The file of a new session; `None` where the account's name cannot stand in one.
    pub(super) fn file(&self, id: UploadId, owner: &SessionOwner, boot: Uuid) -> Option<Vec<u8>> {
        if owner.account.len() > MAX_ACCOUNT || owner.account.contains('\n') {
            return None;
        }
        let mut file = head(id, owner);
        file.resize(HEAD, 0);
        file.extend(encode(self, id, boot));
        file.resize(LEN, 0);
        Some(file)
    }
}

/// Whether this is the file of this session, and of this repository and account.
pub(super) fn is_owned(file: &[u8], id: UploadId, owner: &SessionOwner) -> bool {
    let head = head(id, owner);
    // The newline at its end makes the prefix exact.
    head.len() <= HEAD && file.starts_with(&head)
}

/// Whether this file waits to become another session's.
pub(super) fn is_finished(file: &File) -> bool {
    let mut begin = [0; FINISHED.len()];
    file.read_exact_at(&mut begin, 0).is_ok() && begin == *FINISHED
}

fn head(id: UploadId, owner: &SessionOwner) -> Vec<u8> {
    let mut head = Vec::with_capacity(LEN);
    head.extend(MAGIC);
    for line in [&id.to_string(), owner.repository.as_str(), &owner.account] {
        head.extend(line.as_bytes());
        head.push(b'\n');
    }
    head
}

fn encode(record: &Record, id: UploadId, boot: Uuid) -> Vec<u8> {
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
    let check = checksum(&slot, id);
    slot.extend(check.to_le_bytes());
    slot
}

fn decode(slot: &[u8], id: UploadId, boot: Uuid) -> Option<Record> {
    let (content, check) = slot.split_at_checked(USED - 8)?;
    if check != checksum(content, id).to_le_bytes() {
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

/// Of a slot; another session's is as wrong as a torn one.
fn checksum(content: &[u8], id: UploadId) -> u64 {
    hasher::fingerprint(&Sha256::new().chain_update(content).chain_update(id.to_string()).finalize())
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
        let (id, boot) = (UploadId::random(), Uuid::new_v4());
        let mut file = record(0, b"").file(id, &owner("a/b", "user:1"), boot).unwrap();
        for sequence in 1..4 {
            let (at, slot) = record(sequence, &vec![7; sequence as usize]).slot(id, boot);
            file[at as usize..][..slot.len()].copy_from_slice(&slot);
            assert_eq!(Record::latest(&file, id, boot).unwrap().offset, sequence);
        }
        let (at, slot) = record(4, b"1234").slot(id, boot);
        file[at as usize..][..slot.len() / 2].copy_from_slice(&slot[..slot.len() / 2]);
        assert_eq!(Record::latest(&file, id, boot).unwrap().offset, 3);
    }

    #[test]
    fn a_hash_of_another_boot_is_not_believed() {
        let (id, boot) = (UploadId::random(), Uuid::new_v4());
        let file = record(0, b"abc").file(id, &owner("a/b", "user:1"), boot).unwrap();
        assert_eq!(Record::latest(&file, id, boot).unwrap().hashed, 3);
        let doubted = Record::latest(&file, id, Uuid::new_v4()).unwrap();
        assert_eq!((doubted.offset, doubted.hashed), (3, 0));
        assert_eq!(doubted.hasher.finish(), Hasher::new(Algorithm::Sha256).finish());
    }

    /// R-UPL-51: neither a prefix nor an extension of a name is the name.
    #[test]
    fn a_session_is_its_owners_alone() {
        let id = UploadId::random();
        let longest = owner(&"a".repeat(255), &"u".repeat(MAX_ACCOUNT));
        for mine in [owner("a/b", "user:1"), longest] {
            let file = Record::empty(Algorithm::Sha512).file(id, &mine, Uuid::nil()).unwrap();
            assert_eq!(file.len(), LEN);
            assert!(is_owned(&file, id, &mine));
            assert!(!is_owned(&file, UploadId::random(), &mine));
            for other in [owner("a/b", "user:12"), owner("a/b", "user:"), owner("a/bc", "user:1"), owner("a", "b")] {
                assert!(!is_owned(&file, id, &other));
            }
        }
        let refused = |account: &str| Record::empty(Algorithm::Sha512).file(id, &owner("a", account), Uuid::nil());
        assert!(refused(&"u".repeat(129)).is_none());
        assert!(refused("u\nv").is_none());
    }

    /// Every file that a crash can leave begins with whatever the disk had, and
    /// one that is used again has the rest of what it was.
    #[test]
    fn what_is_no_session_is_not_taken_for_one() {
        let (id, other) = (UploadId::random(), UploadId::random());
        assert!(Record::latest(&[], id, Uuid::nil()).is_none());
        assert!(Record::latest(&[0; LEN], id, Uuid::nil()).is_none());
        assert!(!is_owned(&[0; LEN], id, &owner("a", "u")));
        let mut file = record(7, b"abc").file(id, &owner("a", "u"), Uuid::nil()).unwrap();
        assert!(Record::latest(&file, other, Uuid::nil()).is_none());
        file[..FINISHED.len()].copy_from_slice(FINISHED);
        assert!(!is_owned(&file, id, &owner("a", "u")));
    }
}
