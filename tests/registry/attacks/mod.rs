//! What an attacker will try, one file per kind and one test per attack.
//!
//! An attack is a function that tries and tells what it got ([`Breaches`]): nothing,
//! from the registry. A test that finds nothing may be a test that cannot find
//! anything, so each attack is made once more on a registry whose defence was taken
//! away: either by a setting that does just that, or by [`Weakened`], which stands
//! before the real one and undoes what it does. There it must get what it came for.
//! Where neither can be had, the test says which change of the source it was seen to
//! fail with.

mod costs;
mod digests;
mod enumeration;
mod flips;
mod floods;
mod forwarded;
mod guessing;
mod leaks;
mod scopes;
mod tokens;
mod weakened;

use std::time::Duration;

use weakened::Weakened;

/// What an attack got, in sentences.
#[derive(Debug, Default)]
struct Breaches(Vec<String>);

impl Breaches {
    /// Got this.
    fn add(&mut self, breach: impl Into<String>) {
        self.0.push(breach.into());
    }

    /// Got this, if that is so.
    fn add_if(&mut self, got: bool, breach: impl FnOnce() -> String) {
        if got {
            self.add(breach());
        }
    }

    /// The registry withstood.
    #[track_caller]
    fn none(self) {
        assert!(self.0.is_empty(), "the attack got through:\n{}", self.0.join("\n"));
    }

    /// The weakened one did not: the attack is one.
    #[track_caller]
    fn some(self) {
        assert!(!self.0.is_empty(), "the attack finds nothing even where there is no defence");
    }

    /// The weakened one fell in every way that was tried.
    #[track_caller]
    fn all(self, ways: usize) {
        assert_eq!(self.0.len(), ways, "the attack does not find all: {:?}", self.0);
    }
}

/// How sure an observer of times can be which of two kinds one is: 0.5 is not at all, 0 and 1 are certain.
///
/// It is the share of pairs in which the second is slower, of the faster half of each: what else the machine does
/// only ever makes a request slower, so that is what an observer would look at.
fn telling_apart(one: &[Duration], two: &[Duration]) -> f64 {
    let faster = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times.truncate(times.len().div_ceil(2));
        times
    };
    let (one, two) = (faster(one), faster(two));
    let slower = one.iter().flat_map(|a| two.iter().map(move |b| b > a)).filter(|slower| *slower).count();
    slower as f64 / (one.len() * two.len()) as f64
}

/// Measures until nothing is told apart, four times at most: noise does not repeat itself, a difference does.
async fn assert_alike(mut measure: impl AsyncFnMut() -> f64) {
    let mut found = Vec::new();
    while !found.last().is_some_and(|certainty| (0.2..=0.8).contains(certainty)) {
        assert!(found.len() < 4, "by the time one can tell, with {found:?}");
        found.push(measure().await);
    }
}

/// Measures until the two are told apart, four times at most: else the measurement finds nothing.
async fn assert_told_apart(mut measure: impl AsyncFnMut() -> f64) {
    let mut found = Vec::new();
    while !found.last().is_some_and(|certainty| *certainty > 0.8) {
        assert!(found.len() < 4, "the measurement finds nothing where there is something: {found:?}");
        found.push(measure().await);
    }
}
