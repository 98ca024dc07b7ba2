use std::collections::BTreeSet;

use crate::client::{Book, Client, Crash, Step, offset_of};
use crate::content::sha256;
use crate::line::{Broken, Line, Reply};
use crate::model::Repository;

/// How closely a repository is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// What was touched since the last look, byte by byte; of everything else whether it is there.
    Quick,
    /// Every byte.
    Full,
}

impl Client {
    /// After a crash: everything acknowledged is there, what was in flight is
    /// there wholly or not at all, and nothing else is.
    pub(crate) fn check(&mut self, look: Look) -> Result<(), Broken> {
        let pending = self.pending.clone();
        for at in 0..self.books.len() {
            let seen = observe(&mut self.line, &self.books[at], look)?;
            let book = &mut self.books[at];
            let mut after = book.state.clone();
            if let Some((_, change)) = pending.as_ref().filter(|(place, _)| *place == at) {
                change.apply(&mut after);
                if seen == after {
                    self.counts.happened += 1;
                } else {
                    self.counts.did_not += 1;
                }
            }
            assert!(
                seen == after || seen == book.state,
                "{}: what is there is neither what was acknowledged nor that with what was in flight\n\
                 acknowledged beside it: {}\nin flight: {pending:?}",
                book.name,
                difference(&book.state, &seen),
            );
            book.state = seen;
            book.touched.clear();
        }
        self.pending = None;
        self.check_sessions()
    }

    /// A session goes on where it was acknowledged to be, or a little further
    /// where a chunk was in flight; one that was being ended may be gone.
    fn check_sessions(&mut self) -> Result<(), Broken> {
        let power_was_cut = matches!(self.crash, Crash::PowerCut(_));
        for nth in (0..self.sessions.len()).rev() {
            let path = self.sessions[nth].path.clone();
            let reply = self.ask("GET", &path, &[], b"")?;
            let session = &mut self.sessions[nth];
            let may_be_gone = session.under_way == Step::End || power_was_cut;
            if reply.status == 404 && may_be_gone {
                self.counts.gone += 1;
                self.sessions.swap_remove(nth);
                continue;
            }
            assert_eq!(reply.status, 204, "{path}, {:?}: {}", session.under_way, reply.text());
            let offset = offset_of(&reply);
            let most = match session.under_way {
                Step::Append(most) => most,
                Step::Nothing | Step::End => session.offset,
            };
            // Nothing of a session is synced before it becomes a blob.
            let least = if power_was_cut { 0 } else { session.offset };
            assert!(
                (least..=most).contains(&offset),
                "{path}, {:?}: at {offset} after {} were acknowledged",
                session.under_way,
                session.offset,
            );
            session.offset = offset;
            session.under_way = Step::Nothing;
            self.counts.resumed += 1;
        }
        Ok(())
    }
}

/// All that a client can see of a repository, asked for in every way there is.
fn observe(line: &mut Line, book: &Book, look: Look) -> Result<Repository, Broken> {
    let mut seen = Repository::default();
    let name = &book.name;
    for (digest, size) in &book.blobs {
        let read = look == Look::Full || book.touched.contains(digest);
        let reply = ask(line, if read { "GET" } else { "HEAD" }, &format!("/v2/{name}/blobs/{digest}"))?;
        if !found(&reply) {
            continue;
        }
        assert_eq!(reply.header("content-length"), Some(&*size.to_string()), "{name}@{digest}: {}", reply.text());
        assert!(!read || sha256(&reply.body) == *digest, "{name}@{digest}: its bytes are not its own");
        seen.blobs.insert(digest.clone());
    }
    for (digest, manifest) in &book.manifests {
        let reply = ask(line, "GET", &format!("/v2/{name}/manifests/{digest}"))?;
        if !found(&reply) {
            continue;
        }
        assert_eq!(reply.body, manifest.bytes, "{name}@{digest}");
        let missing: Vec<_> = manifest.blobs.difference(&seen.blobs).collect();
        assert!(missing.is_empty(), "{name}@{digest} is there, and its blobs {missing:?} are not");
        seen.manifests.insert(digest.clone());
    }
    let reply = ask(line, "GET", &format!("/v2/{name}/tags/list"))?;
    if found(&reply) {
        for tag in reply.json()["tags"].as_array().unwrap() {
            let tag = tag.as_str().unwrap();
            let manifest = ask(line, "GET", &format!("/v2/{name}/manifests/{tag}"))?;
            assert_eq!(manifest.status, 200, "the tag {tag} points nowhere: {}", manifest.text());
            seen.tags.insert(tag.to_owned(), sha256(&manifest.body));
        }
    }
    let subjects: BTreeSet<_> = book.manifests.values().filter_map(|manifest| manifest.subject.as_ref()).collect();
    for subject in subjects {
        let reply = ask(line, "GET", &format!("/v2/{name}/referrers/{subject}"))?;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let listed = reply.json();
        let listed = listed["manifests"].as_array().unwrap().iter();
        let referrers: BTreeSet<_> =
            listed.map(|descriptor| descriptor["digest"].as_str().unwrap().to_owned()).collect();
        if !referrers.is_empty() {
            seen.referrers.insert(subject.clone(), referrers);
        }
    }
    Ok(seen)
}

fn ask(line: &mut Line, method: &str, path: &str) -> Result<Reply, Broken> {
    line.ask(method, path, &[], b"")
}

/// Whether it is there. Anything but yes and no is a failure.
fn found(reply: &Reply) -> bool {
    assert!(matches!(reply.status, 200 | 404), "{}", reply.text());
    reply.status == 200
}

/// What two states do not have in common, for a person.
fn difference(one: &Repository, other: &Repository) -> String {
    let sets = |what: &str, one: &BTreeSet<String>, other: &BTreeSet<String>| {
        format!(
            "\n  {what} missing: {:?}\n  {what} too many: {:?}",
            one.difference(other).collect::<Vec<_>>(),
            other.difference(one).collect::<Vec<_>>()
        )
    };
    sets("blobs", &one.blobs, &other.blobs)
        + &sets("manifests", &one.manifests, &other.manifests)
        + &format!("\n  tags: {:?}\n  seen: {:?}", one.tags, other.tags)
        + &format!("\n  referrers: {:?}\n  seen: {:?}", one.referrers, other.referrers)
}
