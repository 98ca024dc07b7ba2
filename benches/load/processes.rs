//! What a server's processes have used, by what the kernel says of them.

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use crate::Result;

/// The kernel counts CPU in these (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// The processes of a server, and all that descend from them.
#[derive(Debug)]
pub(crate) struct Processes {
    server: u32,
    /// Whose CPU counts too: a database's.
    database: Option<u32>,
    /// The most resident memory so far, in MiB.
    peak: Cell<f64>,
}

impl Processes {
    pub(crate) fn new(server: u32, database: Option<u32>) -> Self {
        Self { server, database, peak: Cell::new(0.0) }
    }

    /// User and system time since they were started.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let alive = Stat::of(self.server).is_some();
        let roots: Vec<u32> = [self.server].into_iter().chain(self.database).collect();
        let ticks: u64 = with_descendants(&roots)?.into_iter().filter_map(Stat::of).map(|stat| stat.ticks).sum();
        if alive { Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)) } else { Err("the server died".into()) }
    }

    /// Resident memory in MiB: now, and the most since [`Self::begin_peak`].
    pub(crate) fn memory(&self) -> Result<(f64, f64)> {
        let (mut now, mut peak) = (0.0, 0.0);
        for process in with_descendants(&[self.server])? {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            now += mib(&status, "VmRSS:");
            peak += mib(&status, "VmHWM:");
        }
        self.peak.set(self.peak.get().max(peak));
        Ok((now, peak))
    }

    pub(crate) fn begin_peak(&self) -> Result {
        self.memory()?;
        for process in with_descendants(&[self.server])? {
            fs::write(format!("/proc/{process}/clear_refs"), "5")?;
        }
        Ok(())
    }

    /// The most resident memory since the server was started, in MiB.
    pub(crate) fn peak_of_all(&self) -> Result<f64> {
        self.memory()?;
        Ok(self.peak.get())
    }
}

fn mib(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).map_or(0.0, |kib: f64| kib / 1024.0)
}

struct Stat {
    parent: u32,
    /// Its own, and those of its children that have ended: a sum never shrinks.
    ticks: u64,
}

impl Stat {
    fn of(process: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // Its second word is a name in parentheses, and may hold anything.
        let words: Vec<&str> = text[text.rfind(')')? + 2..].split(' ').collect();
        let ticks = words.get(11..15)?.iter().filter_map(|word| word.parse::<u64>().ok()).sum();
        Some(Self { parent: words.get(1)?.parse().ok()?, ticks })
    }
}

fn with_descendants(roots: &[u32]) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let process = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        all.extend(process.and_then(|process| Some((process, Stat::of(process)?.parent))));
    }
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(process, _)| process));
        next += 1;
    }
    Ok(found)
}

/// The server process of a connection to a PostgreSQL on this machine.
pub(crate) fn postmaster_of(backend: u32) -> Option<u32> {
    let parent = Stat::of(backend)?.parent;
    (fs::read_to_string(format!("/proc/{parent}/comm")).ok()?.trim_end() == "postgres").then_some(parent)
}
