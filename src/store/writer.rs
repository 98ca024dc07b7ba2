//! The half of a session that waits for the disk. Everything here blocks.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use super::filesystem::Shared;
use super::gather::Gathered;
use super::hasher::Hasher;
use super::layout::{self, Patience};
use super::metrics::{InProgress, timed};
use super::raw;
use super::record::Record;
use super::steps::Step;
use super::{CommitError, Stored};
use crate::domain::{Algorithm, Digest, UploadId};
use crate::failpoint::failpoint;

/// How many bytes are written before the disk is told to begin with them.
const WINDOW: u64 = 8 * 1024 * 1024;
/// From this length on, room is reserved for as many bytes as there are, or for a window of them.
const LONG: u64 = 1024 * 1024;

/// Whether a dropped session keeps what was not saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsaved {
    Cut,
    Keep,
}

/// A session's files and how far they are filled. Whoever has it has the
/// session's lock, which is on the open session file and goes when that closes:
/// a job that still writes keeps it, even if its request is long gone.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    id: UploadId,
    session: File,
    /// There from the first byte on.
    data: Option<File>,
    /// How many bytes `data` has, and how many of them `hasher` has seen: all, or
    /// else it goes no further and the file is read again at commit.
    written: u64,
    hashed: u64,
    hasher: Hasher,
    /// What the session goes back to if nothing more is saved.
    base: Record,
    /// Of the record that the session's file holds.
    sequence: u64,
    /// Where the disk was last told to begin.
    window: u64,
    /// Until where room was reserved.
    reserved: u64,
    /// Why no more bytes are taken until the session is cut back.
    failed: Option<io::Error>,
    _in_progress: InProgress,
}

impl Writer {
    /// Of a session that is locked and whose files agree with `base`.
    pub(super) fn new(shared: Arc<Shared>, id: UploadId, session: File, data: Option<File>, base: Record) -> Self {
        let _in_progress = InProgress::begin(&shared.metrics.uploads);
        let (written, hashed, hasher, sequence) = (base.offset, base.hashed, base.hasher.clone(), base.sequence);
        let (window, reserved, failed) = (written, written, None);
        Self {
            shared,
            id,
            session,
            data,
            written,
            hashed,
            hasher,
            base,
            sequence,
            window,
            reserved,
            failed,
            _in_progress,
        }
    }

    /// Whether its files close without asking another host.
    pub(super) fn is_local(&self) -> bool {
        self.shared.root.local
    }

    /// What the session goes back to if nothing more is saved.
    pub(super) fn saved(&self) -> u64 {
        self.base.offset
    }

    /// Whether the session's file says all there is to say.
    pub(super) fn is_saved(&self) -> bool {
        self.failed.is_none() && self.written == self.base.offset
    }

    /// Writes and hashes, or does nothing where an earlier write failed.
    pub(super) fn append(&mut self, gathered: &Gathered, unsaved: Unsaved) -> io::Result<()> {
        if gathered.len() == 0 {
            return self.failed.as_ref().map_or(Ok(()), |error| Err(again(error)));
        }
        let follows = self.hashed == self.written;
        self.reserve(self.written + gathered.len() as u64);
        self.write(gathered)?;
        if follows {
            gathered.pieces().for_each(|piece| self.hasher.update(piece));
            self.hashed = self.written;
        }
        if self.written - self.window >= WINDOW {
            if let Some(data) = &self.data {
                raw::begin_writeback(data, self.window..self.written);
            }
            self.window = self.written;
            if unsaved == Unsaved::Keep {
                // So that a restarted server has most of a long PATCH, too.
                self.record(self.current())?;
            }
        }
        Ok(())
    }

    /// Sees to it that there is room until there, and for more to come. What is not used goes at
    /// the commit, or with the session: at most as much again as that has.
    fn reserve(&mut self, until: u64) {
        if let Some(data) = self.data.as_ref().filter(|_| self.written >= LONG && until > self.reserved) {
            let from = self.written.max(self.reserved);
            self.reserved = until + until.min(WINDOW);
            self.shared.root.reserve(data, from..self.reserved);
        }
    }

    fn write(&mut self, gathered: &Gathered) -> io::Result<()> {
        if let Some(error) = &self.failed {
            return Err(again(error));
        }
        let metrics = self.shared.metrics.clone();
        timed(&metrics.append, || self.write_all(gathered)).inspect_err(|error| {
            // Bytes of a half-written piece: neither counted nor hashed.
            if let Some(data) = &self.data {
                let _ = data.set_len(self.written);
                self.reserved = self.written;
            }
            self.failed = Some(again(error));
        })
    }

    fn write_all(&mut self, gathered: &Gathered) -> io::Result<()> {
        failpoint("store.append")?;
        let data = match &mut self.data {
            Some(data) => data,
            None => self.data.insert(self.shared.root.create_data(self.id)?),
        };
        let mut slices = gathered.slices();
        let mut rest = &mut *slices;
        let mut at = self.written;
        while !rest.is_empty() {
            match rustix::io::pwritev(&*data, rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    io::IoSlice::advance_slices(&mut rest, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.written = at;
        self.shared.root.steps.took(|| Step::Write { file: layout::data_name(self.id), until: at });
        Ok(())
    }

    fn current(&self) -> Record {
        Record { sequence: 0, offset: self.written, hashed: self.hashed, hasher: self.hasher.clone() }
    }

    /// Puts a record into the session's file; it is the truth from then on.
    fn record(&mut self, record: Record) -> io::Result<Record> {
        let record = Record { sequence: self.sequence + 1, ..record };
        let (at, slot) = record.slot(self.id, self.shared.boot);
        failpoint("store.record")?;
        self.session.write_all_at(&slot, at)?;
        self.sequence = record.sequence;
        Ok(record)
    }

    /// Appends and records. After a failure, what had arrived before it is recorded.
    pub(super) fn save(&mut self, gathered: &Gathered) -> io::Result<()> {
        let appended = self.append(gathered, Unsaved::Cut);
        if self.base.offset != self.written {
            self.base = self.record(self.current())?;
        }
        appended
    }

    /// Back to what was last saved.
    pub(super) fn cut_back(&mut self) -> io::Result<()> {
        if let Some(data) = &self.data
            && self.written != self.base.offset
        {
            data.set_len(self.base.offset)?;
            self.reserved = self.base.offset;
        }
        if self.sequence != self.base.sequence {
            self.record_base()?;
        }
        self.written = self.base.offset;
        self.hashed = self.base.hashed;
        self.hasher = self.base.hasher.clone();
        self.window = self.window.min(self.written);
        self.failed = None;
        Ok(())
    }

    /// Makes what the session goes back to the truth about it.
    pub(super) fn record_base(&mut self) -> io::Result<()> {
        self.base = self.record(self.base.clone())?;
        Ok(())
    }

    /// Ends the session and drops its bytes.
    pub(super) fn discard(self: Box<Self>) -> io::Result<()> {
        let Self { shared, id, session, .. } = *self;
        shared.spares.retire(&shared.root, id, session)?;
        shared.root.remove_data(id)
    }

    /// Appends, verifies and makes an object of it all; see the order in the
    /// door of this room. Any error leaves the session as it was last saved, or
    /// gone where its bytes can no longer be trusted.
    pub(super) fn commit(mut self: Box<Self>, gathered: &Gathered, claimed: &Digest) -> Result<Stored, CommitError> {
        let metrics = self.shared.metrics.clone();
        timed(&metrics.commit, || {
            let actual = self.verify(gathered, claimed).inspect_err(|_| {
                let _ = self.cut_back();
            })?;
            if actual != *claimed {
                self.discard()?;
                return Err(CommitError::Mismatch { claimed: claimed.clone(), actual });
            }
            Ok(self.publish(actual)?)
        })
    }

    /// The digest of everything. If it is the claimed one, all of it is written.
    fn verify(&mut self, gathered: &Gathered, claimed: &Digest) -> io::Result<Digest> {
        if let Some(error) = &self.failed {
            return Err(again(error));
        }
        let follows = self.hashed == self.written && claimed.algorithm() == self.hasher.algorithm();
        if !follows {
            self.write(gathered)?;
            return self.read_again(claimed.algorithm());
        }
        let mut hasher = self.hasher.clone();
        gathered.pieces().for_each(|piece| hasher.update(piece));
        let digest = hasher.finish();
        if digest == *claimed && (gathered.len() > 0 || self.data.is_none()) {
            self.write(gathered)?;
        }
        Ok(digest)
    }

    /// Hashes the file: another algorithm is claimed, or the saved state was not to be trusted.
    fn read_again(&self, algorithm: Algorithm) -> io::Result<Digest> {
        let mut hasher = Hasher::new(algorithm);
        let mut buffer = vec![0; 256 * 1024];
        let mut at = 0;
        if let Some(data) = &self.data {
            while at < self.written {
                let want = usize::try_from(self.written - at).unwrap_or(usize::MAX).min(buffer.len());
                data.read_exact_at(&mut buffer[..want], at)?;
                hasher.update(&buffer[..want]);
                at += want as u64;
            }
        }
        Ok(hasher.finish())
    }

    fn publish(mut self: Box<Self>, digest: Digest) -> io::Result<Stored> {
        if let Err(error) = failpoint("store.commit.written").and_then(|()| self.sync()) {
            // The kernel may have dropped pages that it could not write, and
            // would not say so again.
            let _ = self.discard();
            return Err(error);
        }
        let published = failpoint("store.commit.synced").and_then(|()| self.shared.root.publish(self.id, &digest));
        let object = match published {
            Ok(object) => object,
            Err(error) => {
                // Nothing bears an object's name; the bytes may still bear the session's.
                let _ = match self.shared.root.open_data(self.id, Patience::Unlimited) {
                    Ok(Some(_)) => self.cut_back(),
                    _ => self.discard(),
                };
                return Err(error);
            }
        };
        let Self { shared, id, session, written: size, .. } = *self;
        // Left behind, it is a session whose bytes are gone.
        let _ = shared.spares.retire(&shared.root, id, session);
        shared.root.steps.took(|| Step::Returned(object.to_string()));
        Ok(Stored { object, digest, size })
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(data) = &self.data else { return Err(io::ErrorKind::NotFound.into()) };
        let metadata = data.metadata()?;
        let len = metadata.size();
        if len != self.written {
            return Err(io::Error::other(format!("an upload's file has {len} bytes instead of {}", self.written)));
        }
        self.shared.root.release(data, &metadata);
        failpoint("store.commit.written")?;
        timed(&self.shared.metrics.fsync, || data.sync_data())?;
        self.shared.root.steps.took(|| Step::SyncFile(layout::data_name(self.id)));
        Ok(())
    }
}

/// The same error once more, for whoever asks next.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}
