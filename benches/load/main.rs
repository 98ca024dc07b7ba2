//! What the registry does under load, and what that costs: ours, the reference
//! server and static nginx in turn, in the same run on the same machine.
//!
//! ```text
//! cargo bench --bench load                                   # everything, as docs/performance.md has it
//! cargo bench --bench load -- push-large --rounds 1          # one scenario
//! cargo bench --bench load -- mix --secs 600 --rounds 1      # memory over ten minutes
//! ```
//!
//! Every server is started by this program and used over loopback by its one
//! thread. What is compared is first the CPU that a server used, by the kernel's
//! account of its processes: it is steadier than the rate, which depends on what
//! else the machine does. Rounds go through all servers for every scenario, in
//! turns forwards and backwards, and the tables have medians. A wrong status,
//! size, digest or count ends the run: a figure is for work that was done.

mod client;
mod content;
mod database;
mod drive;
mod life;
mod limits;
mod line;
mod lists;
mod memory;
mod processes;
mod pulls;
mod pushes;
mod servers;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory as _, Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;

use memory::Memory;
use servers::{Kind, Server};
use table::{Results, Row};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

/// How long one scenario may take on one server, with what is pushed for it before.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// What the machine itself can do
    Limits,
    PullLarge,
    PullParallel,
    PullSmall,
    Manifests,
    PushLarge,
    PushParallel,
    Images,
    Mounts,
    #[value(name = "tags-10k")]
    Tags10k,
    #[value(name = "tags-100k")]
    Tags100k,
    /// Only where it is named: to push them takes minutes
    #[value(name = "tags-1m")]
    Tags1m,
    Referrers,
    /// Pulls and pushes, 70 to 30
    Mix,
    Idle,
}

/// Measures this registry, the reference server and static nginx in turn.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --bench load --")]
struct Arguments {
    /// What is measured [default: everything but tags-1m]
    scenarios: Vec<Scenario>,
    /// The servers, joined by commas [default: those that are there]
    #[arg(long = "with", value_delimiter = ',')]
    servers: Vec<Kind>,
    /// How often everything is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long the mix goes on
    #[arg(long, default_value_t = 20)]
    secs: u64,
    /// Tries the program rather than the servers: small sizes and counts
    #[arg(long)]
    quick: bool,
    /// A PostgreSQL, on which ours is measured as well, in a database of its own
    #[arg(long, env = "TEST_POSTGRES_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Where the servers keep their files: on a disk, with 10 GiB free and 10 more for each round
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    directory: PathBuf,
    /// What `cargo bench` says to every bench
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// How much of everything.
struct Scale {
    quick: bool,
    mix: Duration,
}

impl Scale {
    fn large(&self) -> usize {
        if self.quick { 64 * MIB } else { GIB }
    }

    fn medium(&self) -> usize {
        if self.quick { 4 * MIB } else { 64 * MIB }
    }

    fn count(&self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }

    /// How long reads are measured.
    fn at_least(&self) -> Duration {
        if self.quick { Duration::from_millis(200) } else { Duration::from_secs(2) }
    }
}

/// `1 GiB`, `64 MiB`.
fn size(len: usize) -> String {
    if len.is_multiple_of(GIB) { format!("{} GiB", len / GIB) } else { format!("{} MiB", len / MIB) }
}

fn main() -> Result {
    if !std::env::args().any(|word| word == "--bench") {
        // `cargo test --benches` is no wish for an hour of load, whatever it says to tests.
        return Ok(Arguments::command().print_help()?);
    }
    let arguments = Arguments::parse();
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let directory = tempfile::Builder::new().prefix("load-").tempdir_in(&arguments.directory)?;
        let mut servers = Vec::new();
        let done = tokio::select! {
            done = run(&arguments, directory.path(), &mut servers) => done,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        };
        for server in servers {
            server.end().await?;
        }
        done
    })
}

async fn run(arguments: &Arguments, directory: &Path, servers: &mut Vec<Server>) -> Result {
    let found = arguments.servers.is_empty();
    for kind in Kind::value_variants() {
        let wanted = if found {
            *kind != Kind::Postgres || arguments.database_url.is_some()
        } else {
            arguments.servers.contains(kind)
        };
        if wanted {
            match Server::start(*kind, directory, arguments.database_url.as_deref()).await? {
                Some(server) => servers.push(server),
                None if found => eprintln!("skipped, since it is not installed: {kind:?}"),
                None => return Err(format!("not installed: {kind:?}").into()),
            }
        }
    }
    let scenarios: Vec<Scenario> = match &*arguments.scenarios {
        [] => Scenario::value_variants().iter().copied().filter(|scenario| *scenario != Scenario::Tags1m).collect(),
        named => named.to_vec(),
    };
    let scale = Scale { quick: arguments.quick, mix: Duration::from_secs(arguments.secs) };
    let (mut results, mut memory) = (Results::default(), Memory::new(directory)?);
    for round in 1..=arguments.rounds {
        for scenario in &scenarios {
            eprintln!("round {round}: {scenario:?}");
            if *scenario == Scenario::Limits {
                memory.use_up()?;
                limits::measure(directory, &scale)?.into_iter().for_each(|row| results.add(limits::TITLE, row));
                continue;
            }
            let mut order: Vec<&Server> = servers.iter().filter(|server| scenario.suits(server.kind)).collect();
            if round % 2 == 0 {
                order.reverse();
            }
            for server in order {
                if scenario.writes_much() {
                    memory.use_up()?;
                }
                let rows = tokio::time::timeout(PATIENCE, scenario.measure(server, &scale)).await;
                let rows = rows.unwrap_or_else(|_| Err(format!("not done after {PATIENCE:?}").into()));
                let rows = rows.map_err(|error| format!("{}: {scenario:?}: {error}", server.title))?;
                rows.into_iter().for_each(|row| results.add(&server.title, row));
            }
        }
    }
    for server in &*servers {
        results.add(&server.title, Row::memory("peak RSS of it all".to_owned(), server.processes.peak_of_all()?));
    }
    print(arguments, directory, servers, &results)
}

fn print(arguments: &Arguments, directory: &Path, servers: &[Server], results: &Results) -> Result {
    let now = OffsetDateTime::from_unix_timestamp(clock_gettime(ClockId::Realtime).tv_sec)?;
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    println!("`cargo bench --bench load -- {}`, {}, medians of {}:", words.join(" "), now.date(), arguments.rounds);
    println!("{}.\n", limits::machine(directory)?);
    let (ours, others): (Vec<&Server>, Vec<&Server>) = servers.iter().partition(|server| server.kind.is_ours());
    let [ours, others] = [ours, others].map(|of| of.into_iter().map(|server| &*server.title).collect::<Vec<_>>());
    results.print(&others, &ours);
    results.print(&[limits::TITLE], &[]);
    results.print_details(&[others, ours].concat());
    Ok(())
}

impl Scenario {
    /// A server of files knows pulls alone.
    fn suits(self, kind: Kind) -> bool {
        let reads = [Self::PullLarge, Self::PullParallel, Self::PullSmall, Self::Manifests, Self::Idle];
        kind != Kind::Nginx || reads.contains(&self)
    }

    fn writes_much(self) -> bool {
        matches!(self, Self::PushLarge | Self::PushParallel)
    }

    async fn measure(self, server: &Server, scale: &Scale) -> Result<Vec<Row>> {
        match self {
            Self::Limits => Ok(Vec::new()),
            Self::PullLarge => pulls::large(server, scale).await,
            Self::PullParallel => pulls::parallel(server, scale).await,
            Self::PullSmall => pulls::small(server, scale).await,
            Self::Manifests => pulls::manifests(server, scale).await,
            Self::PushLarge => pushes::large(server, scale).await,
            Self::PushParallel => pushes::parallel(server, scale).await,
            Self::Images => pushes::images(server, scale).await,
            Self::Mounts => pushes::mounts(server, scale).await,
            Self::Tags10k => lists::tags(server, scale, 10_000).await,
            Self::Tags100k => lists::tags(server, scale, 100_000).await,
            Self::Tags1m => lists::tags(server, scale, 1_000_000).await,
            Self::Referrers => lists::referrers(server, scale).await,
            Self::Mix => life::mix(server, scale).await,
            Self::Idle => life::idle(server, scale).await,
        }
    }
}
