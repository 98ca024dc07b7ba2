//! Places between two durable steps where a test makes the server die, stall or
//! fail. Unarmed, as always but in tests, one costs a single load.
//!
//! Like telemetry this is reached from everywhere: what must survive a death at
//! any instant is spread over the rooms that store, commit and acknowledge. Only
//! `cli` arms it, by what the environment of a test's server says. What it gives
//! up: places are texts, and one that is misspelt is never passed; the crash
//! tests count which places their servers died at.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::io::Errno;

static ARMED: OnceLock<Vec<Failpoint>> = OnceLock::new();

/// Why a text arms nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FailpointError {
    #[error("`{0}` is no failpoint: `<place>=<action>[@<nth hit>]` is wanted, with abort, eio, enospc or sleep:<ms>")]
    Malformed(Box<str>),
    #[error("failpoints are armed once")]
    Twice,
}

#[derive(Debug)]
struct Failpoint {
    place: Box<str>,
    action: Action,
    /// Acts on this hit alone; 0: on each.
    nth: u64,
    hits: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Abort,
    Fail(Errno),
    Sleep(Duration),
}

/// Arms failpoints for the rest of this process's life:
/// `store.commit.renamed=abort@3,store.commit.synced=sleep:50`. `@3` acts on the
/// third time that the place is passed, otherwise it acts each time.
///
/// # Errors
/// Where the text is malformed, or some were armed before.
pub fn arm(text: &str) -> Result<(), FailpointError> {
    let points = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let points = points
        .map(|part| parse(part).ok_or_else(|| FailpointError::Malformed(part.into())))
        .collect::<Result<Vec<_>, _>>()?;
    ARMED.set(points).map_err(|_| FailpointError::Twice)
}

/// Passes this place, unless it was armed to end, fail or delay what comes by.
///
/// # Errors
/// The disk's own errors, where the place is armed to fail.
pub fn failpoint(place: &str) -> io::Result<()> {
    match ARMED.get() {
        None => Ok(()),
        Some(points) => points.iter().filter(|point| *point.place == *place).try_for_each(Failpoint::hit),
    }
}

impl Failpoint {
    fn hit(&self) -> io::Result<()> {
        let hit = self.hits.fetch_add(1, Ordering::Relaxed) + 1;
        if self.nth != 0 && self.nth != hit {
            return Ok(());
        }
        match self.action {
            Action::Abort => std::process::abort(),
            Action::Fail(errno) => return Err(errno.into()),
            Action::Sleep(time) => std::thread::sleep(time),
        }
        Ok(())
    }
}

fn parse(text: &str) -> Option<Failpoint> {
    let (place, action) = text.split_once('=')?;
    let (action, nth) = match action.split_once('@') {
        Some((action, nth)) => (action, nth.parse().ok().filter(|&nth| nth > 0)?),
        None => (action, 0),
    };
    let action = match action.split_once(':') {
        Some(("sleep", time)) => Action::Sleep(Duration::from_millis(time.parse().ok()?)),
        None if action == "abort" => Action::Abort,
        None if action == "eio" => Action::Fail(Errno::IO),
        None if action == "enospc" => Action::Fail(Errno::NOSPC),
        _ => return None,
    };
    Some(Failpoint { place: place.into(), action, nth, hits: AtomicU64::new(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_armed_place_acts_on_the_hit_it_was_told() {
        let point = parse("a.b=enospc@2").unwrap();
        assert!(point.hit().is_ok());
        assert_eq!(point.hit().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(point.hit().is_ok());
    }

    #[test]
    fn malformed_texts_arm_nothing() {
        for text in ["a", "a=", "a=die", "a=abort@0", "a=abort@x", "a=sleep", "a=sleep:x", "a=eio:3"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
