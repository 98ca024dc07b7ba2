//! Power cuts: a file system of its own that forgets what was not synced.
//!
//! An ext4 (or what `CRASH_FILESYSTEM` says: xfs) on a loop device is told to go
//! down at once without writing its journal out (the `shutdown` request that file
//! system developers test with), is unmounted, and mounted again: what a power cut
//! leaves. Timers that write behind a program's back are set so high that nothing
//! is saved by them.
//!
//! Going down takes some milliseconds, in which ext4 may answer a sync that is
//! under way with success although its journal is given up: with a program of
//! thirty lines that does nothing but append and sync, 7 of 200 cuts lose a write
//! whose sync returned between the beginning of the cut and its end, and none an
//! earlier one. So nobody hears what is said once a cut has begun, as nobody
//! would over a line without power.
//!
//! What this cannot show is a disk that lies, or an order in which the file system
//! is kinder than it promises to be; the trace of system calls shows the latter.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::check::Look;
use crate::client::{Client, Crash, Power};
use crate::line::Line;
use crate::random::Random;
use crate::server::{Place, Server};
use crate::tally::Tally;
use crate::{number, people, setting};

/// Goes down when it is told to: `_IOR('X', 125, u32)` with the flag that leaves
/// the journal as it is. Ready beforehand, so that it takes no time.
const SHUT_DOWN: &str = "$| = 1; open my $f, '<', $ARGV[0] or die; my $n = pack 'L', 2; print 'r'; <STDIN>; \
     ioctl $f, 0x8004587d, $n or die $!; print 'd'";

/// How much the file system saves behind a program's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// Nothing: only a sync reaches the disk.
    None,
    /// Names and sizes each second, and everything at some moment: of what was
    /// not synced some is there and some is not, which is worse.
    Some,
}

impl Memory {
    fn options(self, kind: &str) -> &'static str {
        match self {
            _ if kind == "xfs" => "loop,nouuid",
            _ if kind != "ext4" => "loop",
            Self::None => "loop,commit=300,noauto_da_alloc",
            Self::Some => "loop,commit=1,noauto_da_alloc",
        }
    }
}

fn kind() -> String {
    setting("CRASH_FILESYSTEM").unwrap_or_else(|| "ext4".to_owned())
}

/// A file system that can lose its power.
struct Disk {
    directory: TempDir,
    memory: Memory,
    mounted: bool,
    _alone: MutexGuard<'static, ()>,
}

/// One disk at a time: a server in a mount namespace of its own would keep the
/// disk of another test mounted there, dead as it is, beyond the end of that one's power.
static ALONE: Mutex<()> = Mutex::new(());

impl Disk {
    /// `None`, with the reason told, where this machine does not let us.
    fn new(memory: Memory) -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::Builder::new().prefix("power-").tempdir().unwrap();
        let image = directory.path().join("image");
        fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
        fs::create_dir(directory.path().join("disk")).unwrap();
        let mut disk = Self { directory, memory, mounted: false, _alone: alone };
        let ready = run(&format!("mkfs.{}", kind()), &["-q", image.to_str().unwrap()]) && disk.mount();
        if !ready {
            println!("skipped: an ext4 of one's own needs root, mkfs and loop devices");
            return None;
        }
        // Does it forget what was not synced, and nothing else?
        let file = |name: &str| disk.path().join(name);
        fs::write(file("synced"), "synced").unwrap();
        fs::File::open(file("synced")).unwrap().sync_all().unwrap();
        fs::File::open(disk.path()).unwrap().sync_all().unwrap();
        fs::write(file("unsynced"), "unsynced").unwrap();
        let cut = disk.cut();
        assert!(disk.remount());
        let kept = |name: &str| fs::read_to_string(disk.path().join(name)).is_ok_and(|text| text == name);
        assert!(!cut || kept("synced"));
        if !cut || kept("unsynced") {
            println!("skipped: this kernel's file system cannot be made to forget, or perl is not there");
            return None;
        }
        Some(disk)
    }

    /// Where it is mounted.
    fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn mount(&mut self) -> bool {
        let image = self.directory.path().join("image");
        let (options, path) = (self.memory.options(&kind()), self.path());
        self.mounted = run("mount", &["-o", options, image.to_str().unwrap(), path.to_str().unwrap()]);
        self.mounted
    }

    /// Who will cut the power.
    fn knife(&self) -> Option<Knife> {
        let (pipe, path) = (Stdio::piped, self.path());
        let perl = Command::new("perl").args(["-e", SHUT_DOWN]).arg(path).stdin(pipe()).stdout(pipe()).spawn();
        let mut knife = Knife(perl.ok()?);
        knife.hears().then_some(knife)
    }

    /// The power goes.
    fn cut(&self) -> bool {
        self.knife().is_some_and(Knife::cut)
    }

    /// The power comes back: what had reached the disk is looked at as another
    /// one, since whoever still holds the old one would have it as it went down.
    fn remount(&mut self) -> bool {
        let (image, copy) = (self.directory.path().join("image"), self.directory.path().join("copy"));
        self.unmount();
        // What was on its way to the disk, and nobody waited for, may arrive.
        thread::sleep(Duration::from_millis(50));
        run("cp", &["--sparse=always", image.to_str().unwrap(), copy.to_str().unwrap()])
            && fs::rename(copy, image).is_ok()
            && self.mount()
    }

    fn unmount(&mut self) {
        assert!(run("umount", &["--lazy", self.path().to_str().unwrap()]));
        self.mounted = false;
    }
}

/// A process that has the file system open and cuts its power.
struct Knife(Child);

impl Knife {
    /// Whoever still uses the disk sees errors from now on.
    fn cut(mut self) -> bool {
        drop(self.0.stdin.take());
        let done = self.hears();
        self.0.wait().unwrap().success() && done
    }

    fn hears(&mut self) -> bool {
        self.0.stdout.as_mut().unwrap().read_exact(&mut [0]).is_ok()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            self.unmount();
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Where the database is when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// With the blobs.
    Same,
    /// Somewhere that has its own power: whatever it has committed, acknowledged
    /// or not, must be in the store.
    Elsewhere,
}

/// One registry, whose power goes so many times.
fn cut_power(disk: &mut Disk, place: &Place, seed: u64, cuts: u64, wrapper: &[String], tally: &mut Tally) {
    let mut random = Random::new(seed);
    let boot = place.directory.join("boot");
    let mut clients: Vec<Client> = Vec::new();
    let power = Power::default();
    for cut in 0..=cuts {
        // Another boot has another id: nothing that this kernel remembers may be relied on.
        fs::write(&boot, format!("{}\n", uuid::Uuid::new_v4())).unwrap();
        let mut words = ["unshare", "-m", "sh", "-c"].map(str::to_owned).to_vec();
        words.push(r#"mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@""#.to_owned());
        words.push(boot.display().to_string());
        words.extend(wrapper.iter().cloned());
        let server = Server::start(place, &BTreeMap::new(), &words);
        let mut server = server.unwrap_or_else(|| panic!("the server does not start:\n{}", place.log()));
        tally.started(server.started_in);
        if clients.is_empty() {
            let bearer = people::register(server.port);
            clients.extend((0..6).map(|nth| {
                let line = Line::new(server.port, &bearer);
                Client::new(nth, people::NAME, random.next(), line).under(Crash::PowerCut(power.clone()))
            }));
        }
        let look = if cut == cuts { Look::Full } else { Look::Quick };
        thread::scope(|scope| {
            for client in &mut clients {
                client.line.reconnect(server.port);
                scope.spawn(move || client.check(look).expect("no power is cut now"));
            }
        });
        if cut == cuts {
            server.stop();
            break;
        }
        let stop = AtomicBool::new(false);
        let stop = &stop;
        let after = Duration::from_micros(100_000 + random.below(1_500_000));
        let knife = disk.knife().unwrap();
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(move || while !stop.load(Ordering::Relaxed) && client.act().is_ok() {});
            }
            thread::sleep(after / 2);
            if disk.memory == Memory::Some {
                assert!(run("sync", &["--file-system", disk.path().to_str().unwrap()]));
            }
            thread::sleep(after / 2);
            power.goes();
            assert!(knife.cut());
            server.kill();
            stop.store(true, Ordering::Relaxed);
        });
        drop(server);
        tally.killed += 1;
        assert!(disk.remount(), "the file system does not come back");
        power.returns();
    }
    let verified = place.command(&[]).args(["store", "verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    for client in &clients {
        tally.add(client.counts);
    }
}

fn place_on(disk: &Disk, database: Where) -> Place {
    let directory = disk.directory.path();
    let beside = match database {
        Where::Same => disk.path(),
        Where::Elsewhere => directory.to_owned(),
    };
    Place {
        directory: directory.to_owned(),
        root: disk.path().join("root"),
        database: format!("sqlite:{}", beside.join("db/registry.db").display()),
    }
}

/// I2: what was acknowledged survives a power cut at any moment.
#[test]
fn what_was_acknowledged_survives_power_cuts() {
    let total = number("CRASH_POWER_CUTS").unwrap_or(8);
    let seed = number("CRASH_SEED").unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    for database in [Where::Same, Where::Elsewhere] {
        let mut tally = Tally::default();
        let mut nth = 0;
        while tally.deaths() < total / 2 {
            let memory = if nth % 2 == 0 { Memory::None } else { Memory::Some };
            let Some(mut disk) = Disk::new(memory) else { return };
            let place = place_on(&disk, database);
            let seed = seed.wrapping_add(nth);
            println!("power, database {database:?}, memory {memory:?}: seed {seed}");
            let cuts = (total / 4).clamp(2, 10);
            cut_power(&mut disk, &place, seed, cuts, &[], &mut tally);
            nth += 1;
        }
        println!("power cuts, database {database:?}:\n{tally}\n");
    }
}

/// The same with a server whose syncs do nothing: that must be noticed, or the
/// test above proves nothing.
#[test]
fn without_syncs_it_would_not() {
    if !run("strace", &["-V"]) {
        println!("skipped: strace is not installed");
        return;
    }
    let Some(mut disk) = Disk::new(Memory::None) else { return };
    let place = place_on(&disk, Where::Same);
    let wrapper: Vec<_> = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync,fdatasync",
        "-e",
        "inject=fsync,fdatasync:retval=0",
    ]
    .map(str::to_owned)
    .to_vec();
    let lived = catch_unwind(AssertUnwindSafe(|| cut_power(&mut disk, &place, 1, 3, &wrapper, &mut Tally::default())));
    assert!(lived.is_err(), "three power cuts took nothing from a server that never synced");
}

/// Only so that a mistake in the rig is told apart from one in the registry.
#[test]
fn a_cut_disk_gives_errors() {
    let Some(disk) = Disk::new(Memory::None) else { return };
    assert!(disk.cut());
    assert!(fs::write(Path::new(&disk.path()).join("more"), "more").is_err());
}
