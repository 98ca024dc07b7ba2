//! The half of a session that waits for the disk only on a [lane](super::lanes): it
//! gathers what is received and hands it to a [`Writer`], there at once, elsewhere on
//! a blocking thread, one job at a time.

use std::io;
use std::mem;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::gather::{self, Gathered};
use super::lanes::{self, Wish};
use super::waiting::Waiting;
use super::writer::{Unsaved, Writer};
use super::{CommitError, Error, Session, Stored};
use crate::domain::{Digest, UploadId};

/// A session of the file system's store, with its lock.
#[derive(Debug)]
pub struct Upload {
    id: UploadId,
    worker: Worker,
    gathered: Gathered,
    accepted: u64,
    unsaved: Unsaved,
    /// Whether an error was told and not cut back yet.
    failed: bool,
    waiting: Waiting,
    /// Who waits for what a dropped session still has to save.
    tracker: TaskTracker,
    /// For a lane, once much has come.
    wish: Option<Wish>,
}

#[derive(Debug)]
enum Worker {
    Idle(Box<Writer>),
    /// A job that gives the writer back, and says how it went.
    Busy(JoinHandle<(Box<Writer>, io::Result<()>)>),
    Gone,
}

impl Upload {
    pub(super) fn new(id: UploadId, writer: Box<Writer>, waiting: Waiting, tracker: TaskTracker) -> Self {
        let accepted = writer.saved();
        let worker = Worker::Idle(writer);
        let (gathered, unsaved) = (Gathered::default(), Unsaved::Cut);
        Self { id, worker, gathered, accepted, unsaved, failed: false, waiting, tracker, wish: None }
    }

    /// Starts a job on the writer, which must be idle.
    fn begin(&mut self, writer: Box<Writer>, job: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static) {
        let mut writer = writer;
        self.worker = Worker::Busy(tokio::task::spawn_blocking(move || {
            let result = job(&mut writer);
            (writer, result)
        }));
    }

    /// Waits for the job that runs, if any, and says how it went. Dropped while
    /// it waits, nothing is lost: the job goes on, and the next call waits for it.
    async fn settle(&mut self) -> io::Result<()> {
        let Worker::Busy(job) = &mut self.worker else { return Ok(()) };
        let joined = job.await;
        let (worker, result) = match joined {
            Ok((writer, result)) => (Worker::Idle(writer), result),
            Err(error) => (Worker::Gone, Err(io::Error::other(error))),
        };
        self.worker = worker;
        result
    }

    fn take(&mut self) -> io::Result<Box<Writer>> {
        match mem::replace(&mut self.worker, Worker::Gone) {
            Worker::Idle(writer) => Ok(writer),
            Worker::Busy(_) | Worker::Gone => Err(io::Error::other("the writer of this upload is gone")),
        }
    }

    /// Runs one job to its end; its outcome stands in the writer.
    async fn run(&mut self, job: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static) -> io::Result<u64> {
        let writer = self.take()?;
        self.begin(writer, job);
        let result = self.settle().await;
        if let Worker::Idle(writer) = &self.worker {
            self.accepted = writer.saved();
        }
        result.map(|()| self.accepted)
    }

    fn is_saved(&self) -> bool {
        matches!(&self.worker, Worker::Idle(writer) if writer.is_saved())
    }

    fn refuse(&mut self, error: io::Error) -> Error {
        self.failed = true;
        self.gathered = Gathered::default();
        error.into()
    }
}

impl Session for Upload {
    fn offset(&self) -> u64 {
        self.accepted
    }

    async fn wanted(&self) {
        self.waiting.until_wanted(self.id).await;
    }

    fn keep_unsaved(&mut self) {
        self.unsaved = Unsaved::Keep;
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Io(io::Error::other("an earlier part of this upload could not be written")));
        }
        // Taken before anything is awaited: a dropped future loses no middle.
        self.accepted += chunk.len() as u64;
        let in_place = lanes::write_in_place(chunk.len());
        self.gathered.push(chunk);
        if !self.gathered.is_enough(if in_place { gather::IN_PLACE } else { gather::ENOUGH }) {
            return Ok(());
        }
        self.wish = self.wish.take().or_else(Wish::new);
        self.settle().await.map_err(|error| self.refuse(error))?;
        let mut writer = self.take().map_err(|error| self.refuse(error))?;
        let (gathered, unsaved) = (self.gathered.take(), self.unsaved);
        if !in_place {
            self.begin(writer, move |writer| writer.append(&gathered, unsaved));
            return Ok(());
        }
        let appended = writer.append(&gathered, unsaved);
        self.worker = Worker::Idle(writer);
        appended.map_err(|error| self.refuse(error))
    }

    async fn save(&mut self) -> Result<u64, Error> {
        let earlier = self.settle().await;
        let gathered = self.gathered.take();
        if !self.failed && earlier.is_ok() && gathered.len() == 0 && self.is_saved() {
            return Ok(self.accepted);
        }
        let saved = self.run(move |writer| writer.save(&gathered)).await;
        match earlier.and(saved) {
            Ok(offset) => Ok(offset),
            // Once told that something failed, the caller asks for what had arrived before.
            Err(_) if self.failed && matches!(self.worker, Worker::Idle(_)) => Ok(self.accepted),
            Err(error) => Err(self.refuse(error)),
        }
    }

    async fn cut_back(&mut self) -> Result<u64, Error> {
        let _ = self.settle().await;
        self.gathered = Gathered::default();
        self.failed = false;
        Ok(self.run(Writer::cut_back).await?)
    }

    async fn commit(mut self, claimed: &Digest) -> Result<Stored, CommitError> {
        self.unsaved = Unsaved::Cut;
        let earlier = self.settle().await;
        if self.failed || earlier.is_err() {
            self.cut_back().await?;
            earlier?;
            return Err(Error::Io(io::Error::other("a part of this upload could not be written")).into());
        }
        let (writer, gathered, claimed) = (self.take()?, self.gathered.take(), claimed.clone());
        let job = tokio::task::spawn_blocking(move || writer.commit(&gathered, &claimed));
        job.await.map_err(io::Error::other)?
    }

    async fn discard(mut self) -> Result<(), Error> {
        self.unsaved = Unsaved::Cut;
        let _ = self.settle().await;
        let writer = self.take()?;
        let job = tokio::task::spawn_blocking(move || writer.discard());
        Ok(job.await.map_err(io::Error::other)??)
    }
}

impl Drop for Upload {
    /// What a broken PATCH had brought is saved by a task of its own; the lock
    /// is with it until then.
    fn drop(&mut self) {
        // All that was sent is saved: whoever comes next need not wait for a task to see that.
        let unsaved = match self.gathered.len() == 0 && self.is_saved() {
            true => Unsaved::Cut,
            false => self.unsaved,
        };
        let worker = mem::replace(&mut self.worker, Worker::Gone);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        match (worker, unsaved) {
            (Worker::Gone, _) | (Worker::Busy(_), Unsaved::Cut) => {}
            // To close a file may mean to send it to another host.
            (Worker::Idle(writer), Unsaved::Cut) if !writer.is_local() => {
                self.tracker.spawn_blocking_on(move || drop(writer), &runtime);
            }
            (Worker::Idle(_), Unsaved::Cut) => {}
            (worker, Unsaved::Keep) => {
                let mut rest = Self {
                    worker,
                    gathered: self.gathered.take(),
                    unsaved: Unsaved::Cut,
                    waiting: self.waiting.clone(),
                    tracker: self.tracker.clone(),
                    wish: None,
                    ..*self
                };
                let save = async move {
                    if let Err(error) = rest.save().await {
                        tracing::warn!(%error, "could not save what a broken upload had sent");
                    }
                };
                self.tracker.spawn_on(save, &runtime);
            }
        }
    }
}
