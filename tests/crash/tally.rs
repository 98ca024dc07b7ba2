use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::client::Counts;

/// What a run was made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Servers killed by SIGKILL while clients were at work.
    pub(crate) killed: u64,
    /// Servers that ended because they were asked to, with work in flight.
    pub(crate) stopped: u64,
    /// Servers killed before they had started, or by a failpoint on their way up.
    pub(crate) killed_starting: u64,
    /// Servers that died at each failpoint.
    died: BTreeMap<&'static str, u64>,
    starts: Vec<Duration>,
    pub(crate) counts: Counts,
    /// Stored objects whose bytes were hashed at the end.
    pub(crate) objects: u64,
    /// Files of sessions that nobody will go on with, at the end.
    pub(crate) leftovers: u64,
}

impl Tally {
    pub(crate) fn died_at(&mut self, place: &'static str) {
        *self.died.entry(place).or_default() += 1;
    }

    pub(crate) fn started(&mut self, after: Duration) {
        self.starts.push(after);
    }

    /// All deaths.
    pub(crate) fn deaths(&self) -> u64 {
        self.killed + self.stopped + self.killed_starting + self.died.values().sum::<u64>()
    }

    /// The failpoints at which no server died.
    pub(crate) fn never_died_at(&self, places: &[&'static str]) -> Vec<&'static str> {
        places.iter().filter(|place| !self.died.contains_key(*place)).copied().collect()
    }

    /// The slowest start.
    pub(crate) fn slowest(&self) -> Duration {
        self.starts.iter().max().copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, counts: Counts) {
        self.counts.acknowledged += counts.acknowledged;
        self.counts.happened += counts.happened;
        self.counts.did_not += counts.did_not;
        self.counts.resumed += counts.resumed;
        self.counts.gone += counts.gone;
        self.counts.busy += counts.busy;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.killed += other.killed;
        self.stopped += other.stopped;
        self.killed_starting += other.killed_starting;
        for (place, count) in &other.died {
            *self.died.entry(place).or_default() += count;
        }
        self.starts.extend(&other.starts);
        self.add(other.counts);
        self.objects += other.objects;
        self.leftovers += other.leftovers;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut starts = self.starts.clone();
        starts.sort();
        let at =
            |percent: usize| starts.get(starts.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
        let Counts { acknowledged, happened, did_not, resumed, gone, busy } = self.counts;
        writeln!(
            f,
            "{} deaths: {} by SIGKILL at work, {} by SIGTERM at work, {} while starting, at failpoints:",
            self.deaths(),
            self.killed,
            self.stopped,
            self.killed_starting
        )?;
        for (place, count) in &self.died {
            writeln!(f, "  {place:32} {count}")?;
        }
        writeln!(f, "{acknowledged} changes acknowledged, 0 lost")?;
        writeln!(
            f,
            "{} in flight at a death: {happened} had happened, {did_not} had not, none half",
            happened + did_not
        )?;
        writeln!(f, "sessions after a death: {resumed} went on, {gone} were gone that were being ended")?;
        writeln!(f, "{} objects hashed at the end; {} files of sessions nobody knew of", self.objects, self.leftovers)?;
        writeln!(f, "{busy} answers said to come again")?;
        write!(f, "{} starts: median {:?}, 99 % {:?}, slowest {:?}", starts.len(), at(50), at(99), at(100))
    }
}
