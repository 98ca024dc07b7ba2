use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{Advice, FlockOperation};
use rustix::io::Errno;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::layout::{Patience, Root};
use super::metrics::{Metrics, timed};
use super::reader::{self, BlobReader, INLINE, Pools, Source};
use super::record::{self, Record};
use super::spares::Spares;
use super::upload::Upload;
use super::waiting::Waiting;
use super::writer::Writer;
use super::{BlobStore, Error, Expired, Listed, Options, SessionOwner, Shard, identity, sweep};
use crate::domain::{Algorithm, ByteRange, ObjectName, UploadId};

/// Blobs and uploads as plain files below one directory, which replicas may share.
#[derive(Debug, Clone)]
pub struct Filesystem(Arc<Shared>);

/// What all handles of one store share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) root: Root,
    pub(super) metrics: Metrics,
    /// This run of this host's kernel: how far another process's word counts.
    pub(super) boot: Uuid,
    identity: Uuid,
    pub(super) pools: Pools,
    options: Options,
    pub(super) spares: Spares,
    waiting: Waiting,
    tracker: TaskTracker,
}

/// What came of an attempt to become a session's writer.
enum Attempt {
    Absent,
    Held,
    Writer(Box<Writer>),
}

impl Filesystem {
    /// Opens the store below this directory, and makes it where it is not there
    /// yet. Blocks for a moment; meant for start.
    ///
    /// # Errors
    /// [`Error::Root`] where the directory cannot be made, read, written or locked.
    pub fn open(root: &Path, options: Options) -> Result<Self, Error> {
        Self::open_in(boot(), root, options)
    }

    /// Opens it as if in that boot of the host.
    pub(super) fn open_in(boot: Uuid, root: &Path, options: Options) -> Result<Self, Error> {
        let refused = |source: io::Error| Error::Root { path: root.to_path_buf(), source };
        let opened = Root::prepare(root)?;
        let identity = identity::of(&opened).map_err(refused)?;
        match probe(&opened) {
            // Pulls are served from a full disk too, and space may be freed.
            Err(error) if matches!(Error::from(io::Error::from(error.kind())), Error::Full(_)) => {
                tracing::warn!(%error, "the blob store is full: pushes are refused until there is space");
            }
            probed => probed.map_err(refused)?,
        }
        Ok(Self(Arc::new(Shared {
            root: opened,
            metrics: Metrics::new("filesystem"),
            boot,
            identity,
            pools: Pools::default(),
            options,
            spares: Spares::default(),
            waiting: Waiting::default(),
            tracker: TaskTracker::new(),
        })))
    }

    /// Gives the store the identity of another database's. Only for an operator
    /// who knows that the two belong together.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn pair(&self, identity: Uuid) -> Result<(), Error> {
        Ok(identity::replace(&self.0.root, identity)?)
    }

    /// Waits until what broken uploads had sent is saved. For a shutdown, once
    /// no request is served any more.
    pub async fn drain(&self) {
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }

    /// Does it at once where that waits for nobody, else on a blocking thread.
    async fn attempt<T: Send + 'static>(
        &self,
        work: impl Fn(&Arc<Shared>, Patience) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match work(&self.0, Patience::None) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocking(move |shared| work(shared, Patience::Unlimited)).await
            }
            done => done,
        }
    }

    fn upload(&self, id: UploadId, writer: Box<Writer>) -> Upload {
        Upload::new(id, writer, self.0.waiting.clone(), self.0.tracker.clone())
    }

    #[cfg(test)]
    pub(super) fn root(&self) -> &Root {
        &self.0.root
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Shared>) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let shared = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&shared)).await.map_err(io::Error::other)?
    }
}

impl BlobStore for Filesystem {
    type Session = Upload;
    type Reader = BlobReader;

    async fn start(&self, owner: &SessionOwner, algorithm: Algorithm) -> Result<UploadId, Error> {
        let id = UploadId::random();
        let file = Record::empty(algorithm).file(id, owner, self.0.boot);
        let file = file.ok_or_else(|| Error::Io(io::ErrorKind::InvalidInput.into()))?;
        self.blocking(move |shared| shared.spares.begin(&shared.root, id, &file)).await?;
        Ok(id)
    }

    async fn offset(&self, id: UploadId, owner: &SessionOwner) -> Result<Option<u64>, Error> {
        let owner = owner.clone();
        Ok(self.attempt(move |shared, patience| shared.offset(id, &owner, patience)).await?)
    }

    async fn resume(&self, id: UploadId, owner: &SessionOwner) -> Result<Option<Upload>, Error> {
        let deadline = Instant::now() + self.0.options.lock_wait;
        let mut pause = Duration::from_millis(2);
        let mut waiter = None;
        loop {
            let owner = owner.clone();
            match self.attempt(move |shared, patience| shared.lock(id, &owner, patience)).await? {
                Attempt::Absent => return Ok(None),
                Attempt::Writer(writer) => return Ok(Some(self.upload(id, writer))),
                Attempt::Held if Instant::now() >= deadline => return Err(Error::Busy),
                Attempt::Held => waiter = waiter.or_else(|| Some(self.0.waiting.begin(id))),
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    async fn open(
        &self,
        object: &ObjectName,
        size: u64,
        range: Option<ByteRange>,
    ) -> Result<Option<BlobReader>, Error> {
        let range = range.map_or(0..size, |range| range.first()..range.last() + 1);
        let wanted = object.clone();
        let opened = self.attempt(move |shared, patience| shared.open(&wanted, size, range.clone(), patience)).await;
        match opened {
            Ok(Some(Ok(reader))) => Ok(Some(reader)),
            Ok(Some(Err(actual))) => Err(Error::Damaged { object: object.clone(), expected: size, actual }),
            Ok(None) => Ok(None),
            Err(source) => Err(Error::reading(object, source)),
        }
    }

    async fn size(&self, object: &ObjectName) -> Result<Option<u64>, Error> {
        let object = object.clone();
        Ok(self.blocking(move |shared| shared.root.object_size(&object)).await?)
    }

    async fn delete(&self, object: &ObjectName) -> Result<(), Error> {
        let object = object.clone();
        Ok(self.blocking(move |shared| timed(&shared.metrics.delete, || shared.root.remove_object(&object))).await?)
    }

    async fn list(&self, shard: Shard) -> Result<Vec<Listed>, Error> {
        Ok(self.blocking(move |shared| sweep::list(&shared.root, shard)).await?)
    }

    async fn expire(&self, before: SystemTime) -> Result<Expired, Error> {
        Ok(self.blocking(move |shared| sweep::expire(&shared.root, before)).await?)
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(self.blocking(|shared| probe(&shared.root)).await?)
    }

    fn identity(&self) -> Uuid {
        self.0.identity
    }
}

impl Shared {
    fn offset(&self, id: UploadId, owner: &SessionOwner, patience: Patience) -> io::Result<Option<u64>> {
        let Some(session) = self.root.open_session(id, patience)? else { return Ok(None) };
        let file = read_session(&session, patience)?;
        match Record::latest(&file, id, self.boot).filter(|_| record::is_owned(&file, id, owner)) {
            Some(record) => Ok(self.data(id, &record, patience)?.map(|data| data.len.min(record.offset))),
            None => Ok(None),
        }
    }

    /// Tries to become the writer of a session.
    fn lock(self: &Arc<Self>, id: UploadId, owner: &SessionOwner, patience: Patience) -> io::Result<Attempt> {
        let Some(session) = self.root.open_session(id, patience)? else { return Ok(Attempt::Absent) };
        let locked = match rustix::fs::flock(&session, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => true,
            Err(Errno::WOULDBLOCK) => false,
            Err(error) => return Err(error.into()),
        };
        let file = read_session(&session, patience)?;
        // A stranger does not even wait. And whoever had the lock before may have finished the session.
        if !record::is_owned(&file, id, owner) || session.metadata()?.nlink() == 0 {
            return Ok(Attempt::Absent);
        }
        if !locked {
            return Ok(Attempt::Held);
        }
        let Some(mut record) = Record::latest(&file, id, self.boot) else { return Ok(Attempt::Absent) };
        let Some(data) = self.data(id, &record, patience)? else { return Ok(Attempt::Absent) };
        let shortened = data.len < record.offset;
        if shortened {
            // A power cut has taken bytes that the record had counted.
            record = Record { sequence: record.sequence, offset: data.len, ..Record::empty(record.hasher.algorithm()) };
        }
        let overlong = data.file.as_ref().filter(|_| data.len > record.offset);
        if (shortened || overlong.is_some()) && patience == Patience::None {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(file) = overlong {
            file.set_len(record.offset)?;
        }
        let mut writer = Writer::new(Arc::clone(self), id, session, data.file, record);
        if shortened {
            // At once: the next bytes would be taken for those that were lost.
            writer.record_base()?;
        }
        Ok(Attempt::Writer(Box::new(writer)))
    }

    /// The bytes of a session; `None` where they have become an object and the
    /// session's own file is a mere leftover.
    fn data(&self, id: UploadId, record: &Record, patience: Patience) -> io::Result<Option<Data>> {
        if record.offset == 0 {
            return Ok(Some(Data { file: None, len: 0 }));
        }
        let Some(file) = self.root.open_data(id, patience)? else { return Ok(None) };
        let metadata = file.metadata()?;
        // With two names, one of them is the object's.
        Ok((metadata.nlink() == 1).then(|| Data { len: metadata.len(), file: Some(file) }))
    }

    /// Opens an object and reads its first bytes, all of a short one: what is
    /// wrong with it is known before anything is sent. `Err`: its length.
    fn open(
        self: &Arc<Self>,
        object: &ObjectName,
        size: u64,
        range: std::ops::Range<u64>,
        patience: Patience,
    ) -> io::Result<Option<Result<BlobReader, u64>>> {
        timed(&self.metrics.open, || {
            let Some(file) = self.root.open_object(object, patience)? else { return Ok(None) };
            let actual = file.metadata()?.len();
            if actual != size {
                return Ok(Some(Err(actual)));
            }
            let source = Source { file: Arc::new(file), shared: Arc::clone(self) };
            let len = range.end.saturating_sub(range.start);
            let first = if len == 0 { None } else { first_bytes(&source, &range, patience)? };
            Ok(Some(Ok(BlobReader::new(source, range, first))))
        })
    }
}

/// The bytes of a short range; of a longer one only the proof that it can be read.
fn first_bytes(source: &Source, range: &std::ops::Range<u64>, patience: Patience) -> io::Result<Option<bytes::Bytes>> {
    let len = range.end - range.start;
    let short = usize::try_from(len).ok().filter(|&len| len <= INLINE);
    match (patience, short) {
        (Patience::None, Some(len)) => {
            let bytes = source.read_cached(range.clone())?;
            if bytes.len() == len { Ok(Some(bytes)) } else { Err(io::ErrorKind::WouldBlock.into()) }
        }
        (Patience::None, None) => reader::read_nowait(&source.file, &mut [0], range.start).map(|_| None),
        (Patience::Unlimited, Some(len)) => {
            let mut bytes = vec![0; len];
            timed(&source.shared.metrics.read, || source.file.read_exact_at(&mut bytes, range.start))?;
            Ok(Some(bytes.into()))
        }
        (Patience::Unlimited, None) => {
            rustix::fs::fadvise(&source.file, range.start, None, Advice::Sequential)?;
            source.file.read_exact_at(&mut [0], range.start)?;
            Ok(None)
        }
    }
}

struct Data {
    file: Option<File>,
    len: u64,
}

fn read_session(session: &File, patience: Patience) -> io::Result<Vec<u8>> {
    let mut file = vec![0; record::LEN];
    let len = match patience {
        Patience::None => reader::read_nowait(session, &mut file, 0),
        Patience::Unlimited => session.read_at(&mut file, 0),
    };
    match len {
        Ok(len) => file.truncate(len),
        // Nothing but an empty file ends before its first byte.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => file.clear(),
        Err(error) => return Err(error),
    }
    Ok(file)
}

/// Really writes, locks and removes something.
fn probe(root: &Root) -> io::Result<()> {
    let name = format!("{}{}", sweep::PROBE, Uuid::new_v4());
    let mut file = root.create_probe(&name)?;
    let tried = file
        .write_all(b"?")
        .and_then(|()| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from));
    root.remove_upload(&name).and(tried)
}

/// The kernel's id of this boot. Without one, only this process's word counts.
fn boot() -> Uuid {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.ok().and_then(|text| Uuid::try_parse(text.trim()).ok()).unwrap_or_else(Uuid::new_v4)
}
