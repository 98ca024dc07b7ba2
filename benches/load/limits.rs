//! What the machine itself can do, which no registry goes beyond: the limits
//! that the other figures are read by.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::Digest as _;

use crate::drive::{Cost, Phase, own_cpu};
use crate::table::Row;
use crate::{KIB, MIB, Result, Scale, size};

pub(crate) const TITLE: &str = "the machine";
const CHUNK: usize = 256 * KIB;

pub(crate) fn measure(directory: &Path, scale: &Scale) -> Result<Vec<Row>> {
    let len = scale.large();
    let name = size(len);
    let chunk: Vec<u8> = (0..CHUNK).map(|nth| nth as u8).collect();
    let path = directory.join("limits");
    let mut rows = Vec::new();
    let mut row = |work: &str, hash: bool, write: bool| -> Result {
        rustix::fs::sync();
        let mut file = File::create(&path)?;
        let cost = cost(|| {
            let mut hasher = sha2::Sha256::new();
            for _ in 0..len / CHUNK {
                if hash {
                    hasher.update(&chunk);
                }
                if write {
                    file.write_all(&chunk)?;
                }
            }
            std::hint::black_box(hasher.finalize());
            if write { Ok(file.sync_data()?) } else { Ok(()) }
        })?;
        fs::remove_file(&path)?;
        rows.push(Row::bytes(work.replace("{}", &name), len, &cost));
        Ok(())
    };
    row("sha256 of {}, one core", true, false)?;
    row("write of {}, then fdatasync", false, true)?;
    row("hash and write {} in one loop, then fdatasync", true, true)?;
    let mut latencies = Vec::new();
    let cost = cost(|| {
        for nth in 0..scale.count(500) {
            let began = Instant::now();
            let mut file = File::create(directory.join(format!("limits-{nth}")))?;
            file.write_all(&chunk[..4 * KIB])?;
            file.sync_all()?;
            latencies.push(began.elapsed());
        }
        Ok(())
    })?;
    for nth in 0..latencies.len() {
        fs::remove_file(directory.join(format!("limits-{nth}")))?;
    }
    latencies.sort_unstable();
    let requests = latencies.len();
    let phase = Phase { cost, latencies, requests };
    rows.push(Row::requests("create a file, write 4 KiB, fsync".to_owned(), &phase));
    Ok(rows)
}

fn cost(work: impl FnOnce() -> Result) -> Result<Cost> {
    let (began, cpu) = (Instant::now(), own_cpu());
    work()?;
    Ok(Cost { wall: began.elapsed(), cpu: own_cpu().saturating_sub(cpu), peak: 0.0, client: Duration::ZERO })
}

/// The machine in a line, for whoever reads the figures elsewhere.
pub(crate) fn machine(directory: &Path) -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib: usize = memory.split_whitespace().nth(1).ok_or("no MemTotal")?.parse()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let files = match rustix::fs::statfs(directory)?.f_type {
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "XFS".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x0102_1994 => "tmpfs, where fsync costs nothing".to_owned(),
        other => format!("file system {other:#x}"),
    };
    let (model, gib) = (model.map_or("CPU unknown", |(_, model)| model), kib / MIB);
    Ok(format!("{cores} × {model}, {gib} GiB, {files}, Linux {}", kernel.trim()))
}
