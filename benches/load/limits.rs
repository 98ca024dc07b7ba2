//! What the machine itself can do, which no registry goes beyond: the limits
//! that the other figures are read by.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, thread};

use distribution::domain::{Algorithm, Digest};
use rustix::time::ClockId;
use sha2::Digest as _;

use crate::content::Blob;
use crate::drive::{Cost, Phase, cpu};
use crate::table::Row;
use crate::{KIB, MIB, Result, Scale, memory, size};

pub(crate) const TITLE: &str = "the machine";
const CHUNK: usize = MIB;

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
    let name = format!("receive, hash and write {name} in one loop, then fdatasync");
    rows.push(Row::bytes(name, len, &received(1, len, directory)?));
    let (streams, len) = (8, scale.medium());
    let name = format!("the same in {streams} loops at once, {} each", size(len));
    rows.push(Row::bytes(name, streams * len, &received(streams, len, directory)?));
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

/// So many streams of so many bytes each from clients on loopback, each through the hash to the
/// disk in a thread of its own: pushes of nobody's protocol.
fn received(streams: usize, len: usize, directory: &Path) -> Result<Cost> {
    let paths: Vec<_> = (0..streams).map(|nth| directory.join(format!("limits-{nth}"))).collect();
    let blobs = Blob::many("limits", streams, len);
    rustix::fs::sync();
    memory::touch(streams * len);
    let began = Instant::now();
    let costs = thread::scope(|scope| {
        let loops = blobs.iter().zip(&paths).map(|(blob, path)| scope.spawn(move || one_received(blob, path)));
        let running: Vec<_> = loops.collect();
        running.into_iter().map(|one| one.join().map_err(|_| "a loop panicked")?).collect::<Result<Vec<_>>>()
    })?;
    let wall = began.elapsed();
    paths.iter().try_for_each(fs::remove_file)?;
    Ok(Cost { wall, cpu: costs.iter().map(|cost| cost.cpu).sum(), peak: 0.0, client: Duration::ZERO })
}

fn one_received(blob: &Blob, path: &Path) -> Result<Cost> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (mut hash, mut chunk) = (sha2::Sha256::new(), vec![0; CHUNK]);
    let cost = thread::scope(|scope| {
        let mut client = TcpStream::connect(address)?;
        let (mut stream, _) = listener.accept()?;
        let client = scope.spawn(move || send(blob, &mut client));
        let cost = cost(|| {
            let mut file = File::create(path)?;
            loop {
                let read = stream.read(&mut chunk)?;
                if read == 0 {
                    break;
                }
                hash.update(&chunk[..read]);
                file.write_all(&chunk[..read])?;
            }
            Ok(file.sync_data()?)
        })?;
        client.join().map_err(|_| "the client panicked")??;
        Result::Ok(cost)
    })?;
    let digest = Digest::from_hash(Algorithm::Sha256, &hash.finalize()).to_string();
    if digest == blob.digest { Ok(cost) } else { Err(format!("{digest} came instead of {}", blob.digest).into()) }
}

fn send(blob: &Blob, stream: &mut TcpStream) -> io::Result<()> {
    let wire = blob.plain();
    stream.write_all(&wire.first)?;
    let (mut at, end) = (wire.from, wire.from + wire.len);
    while at < end {
        let offset = at % wire.period;
        let len = (end - at).min(wire.period - offset);
        at += rustix::fs::sendfile(&*stream, wire.tape, Some(&mut (offset as u64)), len)?;
    }
    Ok(())
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
    let (began, used) = (Instant::now(), cpu(ClockId::ThreadCPUTime));
    work()?;
    let cpu = cpu(ClockId::ThreadCPUTime).saturating_sub(used);
    Ok(Cost { wall: began.elapsed(), cpu, peak: 0.0, client: Duration::ZERO })
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
