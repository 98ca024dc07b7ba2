//! What a server asked of the kernel, as strace tells it, and what a power cut
//! would leave of that at the moment of an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One call of the kernel, in the order in which they began.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    name: String,
    arguments: String,
    result: i64,
    /// What the result is called, where it is an open file.
    opened: Option<PathBuf>,
    /// Where in the trace it began and ended: calls overlap.
    begin: usize,
    end: usize,
}

/// The calls worth watching.
pub(crate) const CALLS: &str = "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,\
     write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync,ftruncate";

/// What of a power cut's victims a call makes or saves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A name came to be in its directory.
    Name(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink(PathBuf),
    Write(PathBuf),
    Sync(PathBuf),
    /// The first bytes of a reply: its status.
    Answer(u16),
}

impl Call {
    /// What the call did, if that is of interest here.
    pub(crate) fn step(&self) -> Option<Step> {
        if self.result < 0 {
            return None;
        }
        let step = match &*self.name {
            "open" | "openat" | "creat" if self.arguments.contains("O_CREAT") => Step::Name(self.opened.clone()?),
            "mkdir" | "mkdirat" => Step::Name(self.names().into_iter().next()?),
            "rename" | "renameat" | "renameat2" => {
                let [from, to] = <[PathBuf; 2]>::try_from(self.names()).ok()?;
                Step::Rename { from, to }
            }
            "link" | "linkat" => Step::Name(self.names().into_iter().nth(1)?),
            "unlink" | "unlinkat" => Step::Unlink(self.names().into_iter().next()?),
            "fsync" | "fdatasync" => Step::Sync(self.file()?),
            "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" | "ftruncate" | "sendto" | "sendmsg" => {
                match self.arguments.split_once("\"HTTP/1.1 ") {
                    Some((_, rest)) => Step::Answer(rest.get(..3)?.parse().ok()?),
                    None => Step::Write(self.file()?),
                }
            }
            _ => return None,
        };
        Some(step)
    }

    /// The file that the first argument, a descriptor, stands for.
    fn file(&self) -> Option<PathBuf> {
        let path = self.arguments.split_once('<')?.1.split_once('>')?.0;
        path.starts_with('/').then(|| path.into())
    }

    /// The paths that are named, each with the directory it is relative to.
    fn names(&self) -> Vec<PathBuf> {
        let mut directory = PathBuf::new();
        let mut names = Vec::new();
        for argument in self.arguments.split(", ") {
            if let Some((_, rest)) = argument.split_once('<') {
                directory = rest.trim_end_matches('>').into();
            } else if let Some(name) = argument.strip_prefix('"') {
                names.push(directory.join(name.trim_end_matches('"')));
            }
        }
        names
    }
}

/// Reads what `strace -f -y -o` wrote.
pub(crate) fn read(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    // Of each thread, the call that has begun and not ended.
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix("<... ") {
            let Some(nth) = open.remove(thread) else { continue };
            let Some((_, rest)) = rest.split_once("resumed>") else { continue };
            let (arguments, result) = rest.rsplit_once(" = ").unwrap_or((rest, "-1"));
            calls[nth].arguments += arguments;
            calls[nth].finish(result, at);
            continue;
        }
        let Some((name, rest)) = rest.split_once('(') else { continue };
        let mut call = Call {
            name: name.to_owned(),
            arguments: String::new(),
            result: -1,
            opened: None,
            begin: at,
            end: usize::MAX,
        };
        if let Some(arguments) = rest.strip_suffix(" <unfinished ...>") {
            call.arguments = arguments.to_owned();
            open.insert(thread, calls.len());
        } else if let Some((arguments, result)) = rest.rsplit_once(" = ") {
            call.arguments = arguments.trim_end().trim_end_matches(')').to_owned();
            call.finish(result, at);
        }
        calls.push(call);
    }
    calls
}

impl Call {
    fn finish(&mut self, result: &str, at: usize) {
        let number: String = result.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
        self.result = number.parse().unwrap_or(-1);
        self.opened = result.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path.into());
        self.end = at;
    }
}

/// Which unsafe orders a trace shows, in sentences. None: a power cut at any
/// moment after an answer that acknowledges a change leaves what that needs.
///
/// Below `root` are the store's files, and `database` is SQLite's. A row that
/// names an object may become durable from the moment it is written to the WAL,
/// so all that the object is made of must be durable before.
pub(crate) fn faults(calls: &[Call], root: &Path, database: &Path) -> Vec<String> {
    let wal = PathBuf::from(format!("{}-wal", database.display()));
    let steps: Vec<(&Call, Step)> = calls.iter().filter_map(|call| Some((call, call.step()?))).collect();
    let mut faults = Vec::new();
    let mut named: BTreeSet<&Path> = BTreeSet::new();
    // Objects, and when they got their names; each must be durable when the next row is written.
    let mut objects: Vec<(&Path, usize)> = Vec::new();
    for (call, step) in &steps {
        match step {
            Step::Name(path) => {
                named.insert(path);
            }
            Step::Rename { from, to } => {
                named.insert(to);
                // What moves elsewhere, such as a finished session's file that serves again, is nobody's promise.
                if to.starts_with(root.join("blobs")) {
                    if !is_written(&steps, from, call.begin) {
                        faults.push(format!("{} is renamed before its bytes are synced", from.display()));
                    }
                    objects.push((to, call.end));
                }
            }
            Step::Write(path) if *path == wal => {
                objects.retain(|(object, renamed)| {
                    if call.begin > *renamed {
                        faults.extend(lost_names(&steps, &named, object, call.begin, "a row may name it"));
                    }
                    call.begin <= *renamed
                });
            }
            Step::Unlink(path) if path.starts_with(root.join("blobs")) && !is_written(&steps, &wal, call.begin) => {
                faults.push(format!("{} is removed before the database is sure of it", path.display()));
            }
            Step::Answer(201 | 202) => {
                for path in [database, &wal] {
                    faults.extend(lost_names(&steps, &named, path, call.begin, "an answer relies on it"));
                }
                faults.extend(lost_names(&steps, &named, &root.join("identity"), call.begin, "an answer relies on it"));
                if !is_written(&steps, &wal, call.begin) {
                    faults.push(format!("an answer on line {} comes before the WAL is synced", call.begin + 1));
                }
            }
            _ => {}
        }
    }
    faults.dedup();
    faults
}

/// Whether everything that was written to the file before that moment is synced by then.
fn is_written(steps: &[(&Call, Step)], file: &Path, at: usize) -> bool {
    let before = || steps.iter().filter(|(call, _)| call.begin < at);
    let last = before().filter(|(_, step)| *step == Step::Write(file.to_owned())).map(|(call, _)| call.end).max();
    let synced = before().filter(|(call, step)| *step == Step::Sync(file.to_owned()) && call.end < at);
    last.is_none_or(|last| synced.into_iter().any(|(call, _)| call.begin > last))
}

/// The parts of a path that a power cut at that moment would take: those that
/// came to be in this trace, in a directory that was not synced since.
fn lost_names(steps: &[(&Call, Step)], named: &BTreeSet<&Path>, path: &Path, at: usize, why: &str) -> Vec<String> {
    let lost = path.ancestors().filter(|part| named.contains(part)).filter(|part| {
        let parent = part.parent().unwrap();
        let before = || steps.iter().filter(|(call, _)| call.begin < at);
        let born = before()
            .filter(|(_, step)| match step {
                Step::Name(name) => name == part,
                Step::Rename { to, .. } => to == part,
                _ => false,
            })
            .map(|(call, _)| call.end)
            // Later openings with O_CREAT find it there.
            .min();
        let synced = before().any(|(call, step)| {
            *step == Step::Sync(parent.to_owned()) && call.end < at && born.is_some_and(|born| call.begin > born)
        });
        born.is_some() && !synced
    });
    lost.map(|part| format!("the name of {} is not synced when {why}", part.display())).collect()
}

/// The trace without its nth call that syncs something.
pub(crate) fn without_sync(calls: &[Call], nth: usize) -> Option<(Vec<Call>, PathBuf)> {
    let syncs: Vec<_> = calls
        .iter()
        .enumerate()
        .filter_map(|(at, call)| match call.step()? {
            Step::Sync(path) => Some((at, path)),
            _ => None,
        })
        .collect();
    let (at, path) = syncs.get(nth)?.clone();
    let mut rest = calls.to_vec();
    rest.remove(at);
    Some((rest, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Vec<String> {
        faults(&read(text), Path::new("/r"), Path::new("/d/r.db"))
    }

    const SAFE: &str = r#"
1 pwritev(5</r/uploads/i.data>, [{iov_base="abc"..., iov_len=3}], 1, 0) = 3
1 fdatasync(5</r/uploads/i.data>) = 0
1 mkdirat(7</r/blobs>, "sha256/ab", 0750) = 0
1 renameat2(6</r/uploads>, "i.data", 7</r/blobs>, "sha256/ab/ab.i", RENAME_NOREPLACE <unfinished ...>
2 fsync(9</d/r.db-wal>) = 0
1 <... renameat2 resumed>) = 0
1 fsync(8</r/blobs/sha256/ab>) = 0
1 fsync(8</r/blobs/sha256>) = 0
2 pwrite64(9</d/r.db-wal>, "x", 1, 0) = 1
2 fsync(9</d/r.db-wal>) = 0
1 sendto(10<socket:[1]>, "HTTP/1.1 201 Created\r\n"..., 300, MSG_NOSIGNAL, NULL, 0) = 300
"#;

    #[test]
    fn the_safe_order_is_safe() {
        assert_eq!(judge(SAFE), [""; 0]);
    }

    /// Every step of it is needed, and in its place.
    #[test]
    fn whatever_is_left_out_or_late_is_seen() {
        for (line, what) in [
            ("1 fdatasync(5</r/uploads/i.data>) = 0", "renamed before"),
            ("1 fsync(8</r/blobs/sha256/ab>) = 0", "the name of /r/blobs/sha256/ab/ab.i"),
            ("1 fsync(8</r/blobs/sha256>) = 0", "the name of /r/blobs/sha256/ab "),
        ] {
            let without = SAFE.replace(&format!("{line}\n"), "");
            assert!(judge(&without).iter().any(|fault| fault.contains(what)), "{line}");
            let late = without
                .replace("2 pwrite64", &format!("2 pwrite64(9</d/r.db-wal>, \"y\", 1, 0) = 1\n{line}\n2 pwrite64"));
            assert!(!judge(&late).is_empty(), "{line}");
        }
        let unsynced = SAFE.replace("= 1\n2 fsync(9</d/r.db-wal>) = 0", "= 1");
        assert!(judge(&unsynced).iter().any(|fault| fault.contains("WAL")));
        // A sync that has begun before the write ended has not synced it.
        let overlapping = SAFE.replace(
            "2 pwrite64(9</d/r.db-wal>, \"x\", 1, 0) = 1\n2 fsync(9</d/r.db-wal>) = 0",
            "2 pwrite64(9</d/r.db-wal>, \"x\", 1, 0 <unfinished ...>\n3 fsync(9</d/r.db-wal>) = 0\n2 <... pwrite64 resumed>) = 1",
        );
        assert!(judge(&overlapping).iter().any(|fault| fault.contains("WAL")));
    }
}
