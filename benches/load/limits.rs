//! What the machine itself can do, which no registry goes beyond: the limits
//! that the other figures are read by.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::Digest as _;

use crate::drive::{Cost, Phase, own_cpu};
use crate::table::Row;
use crate::{KIB, Result, Scale, memory, size};

pub(crate) const TITLE: &str = "the machine";
const CHUNK: usize = 256 * KIB;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Hash,
    Write,
    HashAndWrite,
}

pub(crate) fn measure(directory: &Path, scale: &Scale) -> Result<Vec<Row>> {
    let (len, name) = (scale.large(), size(scale.large()));
    let works = [
        (Work::Hash, format!("sha256 of {name}, one core")),
        (Work::Write, format!("write of {name}, then fdatasync")),
        (Work::HashAndWrite, format!("hash and write {name} in one loop, then fdatasync")),
    ];
    let mut rows = Vec::new();
    for (work, name) in works {
        rows.push(Row::bytes(name, len, &stream(work, len, &directory.join("limits"))?));
    }
    rows.push(Row::requests("create a file, write 4 KiB, fsync".to_owned(), &files(scale.count(500), directory)?));
    Ok(rows)
}

/// So many bytes through the hash, to the disk, or both.
fn stream(work: Work, len: usize, path: &Path) -> Result<Cost> {
    let chunk: Vec<u8> = (0..CHUNK).map(|nth| nth as u8).collect();
    rustix::fs::sync();
    memory::touch(len);
    let cost = cost(|| {
        let (mut hash, mut file) = (sha2::Sha256::new(), File::create(path)?);
        for _ in 0..len / CHUNK {
            if work != Work::Write {
                hash.update(&chunk);
            }
            if work != Work::Hash {
                file.write_all(&chunk)?;
            }
        }
        std::hint::black_box(hash.finalize());
        Ok(file.sync_data()?)
    })?;
    fs::remove_file(path)?;
    Ok(cost)
}

/// So many small files, each durable before the next.
fn files(count: usize, directory: &Path) -> Result<Phase> {
    let paths: Vec<_> = (0..count).map(|nth| directory.join(format!("limits-{nth}"))).collect();
    let mut latencies = Vec::new();
    let cost = cost(|| {
        for path in &paths {
            let began = Instant::now();
            let mut file = File::create(path)?;
            file.write_all(&[7; 4 * KIB])?;
            file.sync_all()?;
            latencies.push(began.elapsed());
        }
        Ok(())
    })?;
    paths.iter().try_for_each(fs::remove_file)?;
    latencies.sort_unstable();
    Ok(Phase { cost, latencies, requests: count })
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
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let files = match rustix::fs::statfs(directory)?.f_type {
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "XFS".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x0102_1994 => "tmpfs, where fsync costs nothing".to_owned(),
        other => format!("file system {other:#x}"),
    };
    let (model, gib) = (model.map_or("CPU unknown", |(_, model)| model), memory::total()?);
    Ok(format!("{cores} × {model}, {gib} GiB, {files}, Linux {}", kernel.trim()))
}
