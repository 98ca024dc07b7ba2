use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::content::{Content, sha256};
use crate::line::{Broken, Line, Reply};
use crate::model::{Change, Manifest, Repository};
use crate::random::Random;

/// Tags are few, so that they are moved often.
const TAGS: [&str; 5] = ["latest", "v1", "v2", "edge", "0"];
/// Upload sessions that a client has open at a time, at most.
const SESSIONS: usize = 3;

/// A repository with all that was ever tried there.
pub(crate) struct Book {
    pub(crate) name: String,
    /// What was acknowledged, and nothing else.
    pub(crate) state: Repository,
    /// Every blob that was ever sent there, with its size.
    pub(crate) blobs: BTreeMap<String, usize>,
    /// Every manifest that was ever sent there.
    pub(crate) manifests: BTreeMap<String, Manifest>,
    /// What was changed since the last check, and is to be read byte by byte.
    pub(crate) touched: BTreeSet<String>,
}

/// An upload that goes on over several requests, and over crashes.
pub(crate) struct Session {
    pub(crate) at: usize,
    pub(crate) path: String,
    pub(crate) content: Content,
    /// What was acknowledged.
    pub(crate) offset: u64,
    pub(crate) under_way: Step,
}

/// What was asked of a session and not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    /// A chunk up to this offset.
    Append(u64),
    /// To become a blob, or to be cancelled.
    End,
}

/// What happens to servers.
#[derive(Debug, Clone)]
pub(crate) enum Crash {
    /// They are killed; the kernel keeps what they wrote.
    Killed,
    /// What was not synced is lost. What a server says after that moment it says
    /// to nobody: it would be without power, too.
    PowerCut(Power),
}

/// Whether there is any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Power(Arc<AtomicBool>);

impl Power {
    /// It is about to go: what is answered from now on was not heard.
    pub(crate) fn goes(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// It is there again.
    pub(crate) fn returns(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    fn is_gone(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// How often what happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) acknowledged: u64,
    /// Changes in flight at a crash, which were there afterwards, and which were not.
    pub(crate) happened: u64,
    pub(crate) did_not: u64,
    /// Sessions that went on after a crash, and that were gone.
    pub(crate) resumed: u64,
    pub(crate) gone: u64,
    /// Answers that said to come again.
    pub(crate) busy: u64,
}

/// Somebody who pushes to two repositories of their own, one request at a time,
/// so that at a crash at most one change is open.
pub(crate) struct Client {
    pub(crate) line: Line,
    pub(crate) books: Vec<Book>,
    pub(crate) sessions: Vec<Session>,
    /// Asked for and not answered.
    pub(crate) pending: Option<(usize, Change)>,
    pub(crate) random: Random,
    pub(crate) counts: Counts,
    pub(crate) crash: Crash,
}

impl Client {
    pub(crate) fn new(nth: usize, namespace: &str, seed: u64, line: Line) -> Self {
        let book = |part: &str| Book {
            name: format!("{namespace}/c{nth}/{part}"),
            state: Repository::default(),
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            touched: BTreeSet::new(),
        };
        let books = vec![book("app"), book("base")];
        let random = Random::new(seed);
        let counts = Counts::default();
        Self { line, books, sessions: Vec::new(), pending: None, random, counts, crash: Crash::Killed }
    }

    /// Where this is what happens to servers.
    pub(crate) fn under(self, crash: Crash) -> Self {
        Self { crash, ..self }
    }

    /// Does one thing that a client does.
    pub(crate) fn act(&mut self) -> Result<(), Broken> {
        let at = usize::try_from(self.random.below(2)).unwrap();
        match self.random.below(100) {
            0..25 => self.push_image(at),
            25..40 => self.push_referrer(at),
            40..47 => self.push_index(at),
            47..55 => self.push_some_blob(at),
            55..75 => self.go_on_with_a_session(at),
            75..82 => self.mount(at),
            82..86 => self.untag(at),
            86..90 => self.drop_manifest(at),
            90..94 => self.unlink(at),
            _ => self.read(at),
        }
    }

    /// Sends a request; where it is told to come again, it does.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, Broken> {
        for _ in 0..50 {
            let reply = self.line.ask(method, path, headers, body)?;
            if matches!(&self.crash, Crash::PowerCut(power) if power.is_gone()) {
                return Err(Broken);
            }
            if reply.status != 503 || reply.header("retry-after").is_none() {
                assert!(reply.status < 500, "{method} {path}: {}", reply.text());
                return Ok(reply);
            }
            self.counts.busy += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{method} {path}: told to come again fifty times");
    }

    /// Asks for a change. It counts as made if it was answered with one of `done`.
    fn change(
        &mut self,
        at: usize,
        change: Change,
        request: (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, Broken> {
        self.books[at].touched.extend(match &change {
            Change::Link(digest) | Change::Unlink(digest) => Some(digest.clone()),
            _ => None,
        });
        self.pending = Some((at, change));
        let reply = self.ask(request.0, request.1, headers, body)?;
        Ok(reply)
    }

    /// What was asked for last was acknowledged.
    fn made(&mut self) {
        let (at, change) = self.pending.take().unwrap();
        change.apply(&mut self.books[at].state);
        self.counts.acknowledged += 1;
    }

    fn some_content(&mut self) -> Content {
        if self.random.one_in(3) { Content::common(&mut self.random) } else { Content::new(&mut self.random) }
    }

    fn push_some_blob(&mut self, at: usize) -> Result<(), Broken> {
        let content = self.some_content();
        self.push_blob(at, content).map(drop)
    }

    /// Pushes a blob unless it is there, in one of the ways of doing it in one go.
    fn push_blob(&mut self, at: usize, content: Content) -> Result<(String, usize), Broken> {
        let bytes = content.bytes();
        let digest = sha256(&bytes);
        let repository = self.books[at].name.clone();
        self.books[at].blobs.insert(digest.clone(), bytes.len());
        let pushed = Ok((digest.clone(), bytes.len()));
        if self.random.one_in(2) {
            let there = self.ask("HEAD", &format!("/v2/{repository}/blobs/{digest}"), &[], b"")?;
            assert_eq!(there.status == 200, self.books[at].state.blobs.contains(&digest), "{digest}");
            if there.status == 200 {
                return pushed;
            }
        }
        let path = if self.random.one_in(2) {
            format!("/v2/{repository}/blobs/uploads/?digest={digest}")
        } else {
            let session = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"")?;
            assert_eq!(session.status, 202, "{}", session.text());
            format!("{}?digest={digest}", session.header("location").unwrap())
        };
        let method = if path.contains("/uploads/?") { "POST" } else { "PUT" };
        let reply = self.change(at, Change::Link(digest), (method, &path), &[], &bytes)?;
        assert_eq!(reply.status, 201, "{}", reply.text());
        self.made();
        pushed
    }

    fn push_image(&mut self, at: usize) -> Result<(), Broken> {
        let config = self.some_content();
        let config = self.push_blob(at, config)?;
        let mut layers = Vec::new();
        for _ in 0..=self.random.below(2) {
            let layer = self.some_content();
            layers.push(self.push_blob(at, layer)?);
        }
        self.put(at, Manifest::image(&config, &layers, None))
    }

    fn push_referrer(&mut self, at: usize) -> Result<(), Broken> {
        let present: Vec<_> = self.books[at].state.manifests.iter().cloned().collect();
        let Some(subject) = self.random.pick(&present).cloned() else { return self.push_image(at) };
        let subject = self.books[at].manifests[&subject].descriptor();
        let signature = Content::new(&mut self.random);
        let signature = self.push_blob(at, signature)?;
        self.put(at, Manifest::image(&signature.clone(), &[signature], Some(subject)))
    }

    fn push_index(&mut self, at: usize) -> Result<(), Broken> {
        let present: Vec<_> = self.books[at].state.manifests.iter().cloned().collect();
        let (Some(one), Some(other)) = (self.random.pick(&present).cloned(), self.random.pick(&present).cloned())
        else {
            return self.push_image(at);
        };
        let known = &self.books[at].manifests;
        let nth = self.random.next();
        let children = if one == other { vec![&known[&one]] } else { vec![&known[&one], &known[&other]] };
        let index = Manifest::index(&children, nth);
        self.put(at, index)
    }

    /// Pushes a manifest by a tag, or by digest with tags or without.
    fn put(&mut self, at: usize, manifest: Manifest) -> Result<(), Broken> {
        let digest = manifest.digest.clone();
        let tag = |random: &mut Random| random.pick(&TAGS).unwrap().to_string();
        let (reference, tags) = match self.random.below(3) {
            0 => (digest, Vec::new()),
            1 => {
                let tags = vec![tag(&mut self.random), tag(&mut self.random)];
                (format!("{digest}?tag={}&tag={}", tags[0], tags[1]), tags)
            }
            _ => {
                let tag = tag(&mut self.random);
                (tag.clone(), vec![tag])
            }
        };
        let path = format!("/v2/{}/manifests/{reference}", self.books[at].name);
        let (media_type, bytes) = (manifest.media_type, manifest.bytes.clone());
        self.books[at].manifests.insert(manifest.digest.clone(), manifest.clone());
        let change = Change::Put { manifest: Box::new(manifest), tags };
        let reply = self.change(at, change, ("PUT", &path), &[("Content-Type", media_type)], &bytes)?;
        assert_eq!(reply.status, 201, "{path}: {}", reply.text());
        self.made();
        Ok(())
    }

    fn mount(&mut self, at: usize) -> Result<(), Broken> {
        let from = &self.books[1 - at];
        let linked: Vec<_> = from.state.blobs.iter().cloned().collect();
        let Some(digest) = self.random.pick(&linked).cloned() else { return self.push_some_blob(at) };
        let size = from.blobs[&digest];
        let path = format!("/v2/{}/blobs/uploads/?mount={digest}&from={}", self.books[at].name, from.name);
        self.books[at].blobs.insert(digest.clone(), size);
        let reply = self.change(at, Change::Link(digest), ("POST", &path), &[], b"")?;
        assert_eq!(reply.status, 201, "{path}: {}", reply.text());
        self.made();
        Ok(())
    }

    fn untag(&mut self, at: usize) -> Result<(), Broken> {
        let tags: Vec<_> = self.books[at].state.tags.keys().cloned().collect();
        let Some(tag) = self.random.pick(&tags).cloned() else { return Ok(()) };
        let path = format!("/v2/{}/manifests/{tag}", self.books[at].name);
        self.delete(at, Change::Untag(tag), &path)
    }

    fn drop_manifest(&mut self, at: usize) -> Result<(), Broken> {
        let present: Vec<_> = self.books[at].state.manifests.iter().cloned().collect();
        let Some(digest) = self.random.pick(&present) else { return Ok(()) };
        let path = format!("/v2/{}/manifests/{digest}", self.books[at].name);
        let manifest = self.books[at].manifests[digest].clone();
        self.delete(at, Change::Drop(Box::new(manifest)), &path)
    }

    /// Deletes a blob that no manifest names.
    fn unlink(&mut self, at: usize) -> Result<(), Broken> {
        let book = &self.books[at];
        let held: BTreeSet<_> = book.state.manifests.iter().flat_map(|m| &book.manifests[m].blobs).collect();
        let free: Vec<_> = book.state.blobs.iter().filter(|digest| !held.contains(digest)).cloned().collect();
        let Some(digest) = self.random.pick(&free).cloned() else { return Ok(()) };
        let path = format!("/v2/{}/blobs/{digest}", book.name);
        self.delete(at, Change::Unlink(digest), &path)
    }

    fn delete(&mut self, at: usize, change: Change, path: &str) -> Result<(), Broken> {
        let reply = self.change(at, change, ("DELETE", path), &[], b"")?;
        assert_eq!(reply.status, 202, "{path}: {}", reply.text());
        self.made();
        Ok(())
    }

    /// Reads something while others write.
    fn read(&mut self, at: usize) -> Result<(), Broken> {
        let book = &self.books[at];
        let linked: Vec<_> = book.state.blobs.iter().cloned().collect();
        if let Some(digest) = self.random.pick(&linked) {
            let path = format!("/v2/{}/blobs/{digest}", book.name);
            let digest = digest.clone();
            let blob = self.ask("GET", &path, &[], b"")?;
            assert_eq!(blob.status, 200, "{}", blob.text());
            assert_eq!(sha256(&blob.body), digest);
        }
        Ok(())
    }

    // --- Sessions ------------------------------------------------------------------

    fn go_on_with_a_session(&mut self, at: usize) -> Result<(), Broken> {
        if self.sessions.len() < SESSIONS && self.random.one_in(2) {
            let path = format!("/v2/{}/blobs/uploads/", self.books[at].name);
            let reply = self.ask("POST", &path, &[], b"")?;
            assert_eq!(reply.status, 202, "{}", reply.text());
            let path = reply.header("location").unwrap().to_owned();
            let content = Content::new(&mut self.random);
            self.sessions.push(Session { at, path, content, offset: 0, under_way: Step::Nothing });
            return Ok(());
        }
        let count = u64::try_from(self.sessions.len()).unwrap();
        if count == 0 {
            return Ok(());
        }
        let nth = usize::try_from(self.random.below(count)).unwrap();
        match self.random.below(10) {
            0 => self.cancel(nth),
            1..=3 => self.commit(nth),
            4 => self.break_off(nth),
            _ => self.append(nth),
        }
    }

    fn append(&mut self, nth: usize) -> Result<(), Broken> {
        let session = &mut self.sessions[nth];
        let offset = usize::try_from(session.offset).unwrap();
        let left = session.content.len() - offset;
        // Two bytes at least: `0-0` says that there are none.
        if left < 4 {
            return self.commit(nth);
        }
        let len = 2 + usize::try_from(self.random.below(u64::try_from(left - 2).unwrap())).unwrap();
        let chunk = session.content.bytes()[offset..offset + len].to_vec();
        session.under_way = Step::Append(session.offset + u64::try_from(len).unwrap());
        let path = session.path.clone();
        let range = format!("{offset}-{}", offset + len - 1);
        let headers: &[(&str, &str)] = if self.random.one_in(2) { &[("Content-Range", &range)] } else { &[] };
        let reply = self.ask("PATCH", &path, headers, &chunk)?;
        assert_eq!(reply.status, 202, "{}", reply.text());
        let session = &mut self.sessions[nth];
        session.offset = offset_of(&reply);
        assert_eq!(Step::Append(session.offset), session.under_way);
        session.under_way = Step::Nothing;
        self.counts.acknowledged += 1;
        Ok(())
    }

    /// Hangs up in the middle of a chunk. What had been sent is kept (R-UPL-18).
    fn break_off(&mut self, nth: usize) -> Result<(), Broken> {
        let session = &mut self.sessions[nth];
        let rest = session.content.bytes()[usize::try_from(session.offset).unwrap()..].to_vec();
        let sent = usize::try_from(self.random.below(u64::try_from(rest.len()).unwrap())).unwrap();
        let sent = if sent < 2 { 0 } else { sent };
        let until = session.offset + u64::try_from(sent).unwrap();
        session.under_way = Step::Append(until);
        let path = session.path.clone();
        self.line.break_off("PATCH", &path, &rest, sent)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let reply = self.ask("GET", &path, &[], b"")?;
            assert_eq!(reply.status, 204, "{}", reply.text());
            if offset_of(&reply) == until {
                break;
            }
            assert!(Instant::now() < deadline, "{path}: still at {} instead of {until}", offset_of(&reply));
            std::thread::sleep(Duration::from_millis(2));
        }
        let session = &mut self.sessions[nth];
        session.offset = until;
        session.under_way = Step::Nothing;
        Ok(())
    }

    fn commit(&mut self, nth: usize) -> Result<(), Broken> {
        let session = &mut self.sessions[nth];
        session.under_way = Step::End;
        let bytes = session.content.bytes();
        let rest = &bytes[usize::try_from(session.offset).unwrap()..];
        let digest = sha256(&bytes);
        let (at, path) = (session.at, format!("{}?digest={digest}", session.path));
        self.books[at].blobs.insert(digest.clone(), bytes.len());
        let reply = self.change(at, Change::Link(digest), ("PUT", &path), &[], rest)?;
        assert_eq!(reply.status, 201, "{}", reply.text());
        self.made();
        self.sessions.swap_remove(nth);
        Ok(())
    }

    fn cancel(&mut self, nth: usize) -> Result<(), Broken> {
        self.sessions[nth].under_way = Step::End;
        let path = self.sessions[nth].path.clone();
        let reply = self.ask("DELETE", &path, &[], b"")?;
        assert_eq!(reply.status, 204, "{}", reply.text());
        self.sessions.swap_remove(nth);
        Ok(())
    }
}

/// How many bytes a session has, by the reply's `Range`.
pub(crate) fn offset_of(reply: &Reply) -> u64 {
    let last: u64 = reply.header("range").and_then(|range| range.strip_prefix("0-")).unwrap().parse().unwrap();
    if last == 0 { 0 } else { last + 1 }
}
