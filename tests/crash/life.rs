use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::check::Look;
use crate::client::Client;
use crate::database::Database;
use crate::line::Line;
use crate::people;
use crate::random::Random;
use crate::server::{Place, Server, aborted};
use crate::tally::Tally;

/// Where a server may be made to die: between every two durable steps. Those of healing are passed in `faults::rot`.
pub(crate) const PLACES: [&str; 14] = [
    "store.append",
    "store.record",
    "store.commit.written",
    "store.commit.synced",
    "store.commit.directory_made",
    "store.commit.renamed",
    "store.commit.directory_synced",
    "store.commit.published",
    "push.stored",
    "push.linked",
    "push.superfluous",
    "metadata.change.made",
    "metadata.commit.begin",
    "metadata.commit.done",
];

/// How one life of a registry is lived.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) clients: usize,
    /// Servers on the same store and database.
    pub(crate) replicas: usize,
    /// How often servers die.
    pub(crate) rounds: usize,
    /// Where PostgreSQL is; SQLite otherwise.
    pub(crate) postgres: Option<String>,
}

/// How the servers of a round die.
#[derive(Debug)]
enum Death {
    /// By SIGKILL, after so long.
    Sudden(Duration),
    /// By themselves at a failpoint, the nth time that it is passed.
    At(&'static str, u64),
    /// Asked to end by SIGTERM after so long, and given the time.
    Asked(Duration),
    /// By SIGKILL, while everybody waits at this failpoint.
    Waiting(&'static str, Duration),
}

impl Death {
    fn new(random: &mut Random) -> Self {
        let place = *random.pick(&PLACES).unwrap();
        match random.below(10) {
            0..4 => Self::Sudden(Duration::from_micros(random.below(400_000))),
            4..8 => {
                // Early ones are likelier, and the first ones, on new files, likeliest.
                let range = 1 << random.below(5);
                Self::At(place, 1 + random.below(range))
            }
            8 => Self::Asked(Duration::from_micros(random.below(300_000))),
            _ => Self::Waiting(place, Duration::from_micros(random.below(300_000))),
        }
    }

    fn failpoints(&self) -> Option<String> {
        match self {
            Self::Sudden(_) | Self::Asked(_) => None,
            Self::At(place, nth) => Some(format!("{place}=abort@{nth}")),
            Self::Waiting(place, _) => Some(format!("{place}=sleep:40")),
        }
    }
}

/// A store and a database, their servers, and those who push to them.
pub(crate) struct Life {
    plan: Plan,
    random: Random,
    place: Place,
    servers: Vec<Option<Server>>,
    clients: Vec<Client>,
    pub(crate) tally: Tally,
    // Dropped in this order: nothing is taken away under a running server.
    _database: Database,
    directory: Option<TempDir>,
}

impl Life {
    pub(crate) fn begin(plan: Plan) -> Self {
        let directory = tempfile::Builder::new().prefix("crash-").tempdir().unwrap();
        let database = match &plan.postgres {
            Some(server) => Database::postgres(server),
            None => Database::sqlite(directory.path()),
        };
        let place = Place {
            directory: directory.path().to_owned(),
            root: directory.path().join("root"),
            database: database.url().to_owned(),
        };
        let random = Random::new(plan.seed);
        let servers = (0..plan.replicas).map(|_| None).collect();
        Self {
            plan,
            random,
            place,
            servers,
            clients: Vec::new(),
            tally: Tally::default(),
            _database: database,
            directory: Some(directory),
        }
    }

    /// Lives it to its end: everything that was ever acknowledged is read again.
    pub(crate) fn live(&mut self) {
        // The first start, which makes everything, may be broken off as well.
        for _ in 0..self.random.below(3) {
            let after = Duration::from_micros(self.random.below(150_000));
            Server::start_in_vain(&self.place, after);
            self.tally.killed_starting += 1;
        }
        self.start_all(&BTreeMap::new());
        self.register();
        for round in 0..self.plan.rounds {
            self.round(round);
        }
        self.start_all(&BTreeMap::new());
        self.connect();
        self.everybody(|client, _| client.check(Look::Full).expect("no server dies now"));
        for server in self.servers.iter_mut().flatten() {
            server.stop();
        }
        self.check_files();
        for client in &self.clients {
            self.tally.add(client.counts);
        }
    }

    fn register(&mut self) {
        let bearer = people::register(self.port(0));
        for nth in 0..self.plan.clients {
            let line = Line::new(self.port(nth), &bearer);
            self.clients.push(Client::new(nth, people::NAME, self.random.next(), line));
        }
    }

    /// One crash: whoever is dead is started, what was acknowledged is looked
    /// for, everybody goes on, and some server dies under it.
    fn round(&mut self, round: usize) {
        let death = Death::new(&mut self.random);
        let victim = usize::try_from(self.random.below(self.plan.replicas as u64)).unwrap();
        let armed = death.failpoints();
        for nth in 0..self.plan.replicas {
            let environment = armed.iter().filter(|_| nth == victim);
            let environment = environment.map(|points| ("DISTRIBUTION_FAILPOINTS", points.clone())).collect();
            // A server that was left alone goes on; the one that is to die is armed at its start.
            if nth == victim && armed.is_some() {
                self.servers[nth] = None;
            }
            self.start(nth, &environment);
        }
        self.connect();
        let stop = Arc::new(AtomicBool::new(false));
        let checked = Arc::new(Barrier::new(self.plan.clients + 1));
        let failure = thread::scope(|scope| {
            let workers: Vec<_> = self
                .clients
                .iter_mut()
                .map(|client| {
                    let (stop, checked) = (stop.clone(), checked.clone());
                    scope.spawn(move || {
                        // Whoever fails must not leave the others waiting at the barrier.
                        let looked =
                            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.check(Look::Quick)));
                        checked.wait();
                        let looked = looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                        while looked.is_ok() && !stop.load(Ordering::Relaxed) && client.act().is_ok() {}
                    })
                })
                .collect();
            checked.wait();
            let server = self.servers[victim].as_mut().unwrap();
            match &death {
                Death::Sudden(after) | Death::Waiting(_, after) => {
                    thread::sleep(*after);
                    server.kill();
                    self.tally.killed += 1;
                }
                Death::Asked(after) => {
                    thread::sleep(*after);
                    server.stop();
                    self.tally.stopped += 1;
                }
                Death::At(place, _) => {
                    if server.dies_within(Duration::from_millis(1500)) {
                        assert!(aborted(server.kill()), "the server died, but not of {death:?}");
                        self.tally.died_at(place);
                    } else {
                        server.kill();
                        self.tally.killed += 1;
                    }
                }
            }
            self.servers[victim] = None;
            // The others go on for a while, and now and then go down with it.
            if self.plan.replicas > 1 {
                thread::sleep(Duration::from_micros(self.random.below(200_000)));
                if self.random.one_in(2) {
                    self.servers.iter_mut().for_each(|server| *server = None);
                    self.tally.killed += self.plan.replicas as u64 - 1;
                }
            }
            stop.store(true, Ordering::Relaxed);
            workers.into_iter().filter_map(|worker| worker.join().err()).next()
        });
        if let Some(panic) = failure {
            self.keep(round, &death);
            std::panic::resume_unwind(panic);
        }
    }

    /// Says what is needed to look into a failure, and keeps the files.
    fn keep(&mut self, round: usize, death: &Death) {
        if let Some(directory) = self.directory.take() {
            let kept = directory.keep();
            eprintln!("round {round}, {death:?}, {:?}; the files are kept in {}", self.plan, kept.display());
            eprintln!("the last lines of the log:\n{}", self.place.log());
        }
    }

    fn start_all(&mut self, environment: &BTreeMap<&str, String>) {
        for nth in 0..self.plan.replicas {
            self.start(nth, environment);
        }
    }

    /// Starts a server unless it runs. One that dies of a failpoint before it
    /// answers has died once more, and is started without.
    fn start(&mut self, nth: usize, environment: &BTreeMap<&str, String>) {
        if self.servers[nth].as_mut().is_some_and(Server::is_running) {
            return;
        }
        if !environment.is_empty() && self.random.one_in(8) {
            let after = Duration::from_micros(self.random.below(100_000));
            Server::start_in_vain(&self.place, after);
            self.tally.killed_starting += 1;
        }
        let server = Server::start(&self.place, environment, &[]).or_else(|| {
            self.tally.killed_starting += 1;
            Server::start(&self.place, &BTreeMap::new(), &[])
        });
        let server = server.unwrap_or_else(|| panic!("the server does not start:\n{}", self.place.log()));
        self.tally.started(server.started_in);
        self.servers[nth] = Some(server);
    }

    fn port(&self, client: usize) -> u16 {
        self.servers[client % self.plan.replicas].as_ref().unwrap().port
    }

    /// Gives every client a line to some server that runs.
    fn connect(&mut self) {
        let shift = usize::try_from(self.random.below(self.plan.replicas as u64)).unwrap();
        for nth in 0..self.clients.len() {
            let port = self.port(nth + shift);
            self.clients[nth].line.reconnect(port);
        }
    }

    fn everybody(&mut self, deed: impl Fn(&mut Client, usize) + Sync) {
        let deed = &deed;
        thread::scope(|scope| {
            for (nth, client) in self.clients.iter_mut().enumerate() {
                scope.spawn(move || deed(client, nth));
            }
        });
    }

    /// With nobody at work: no object holds other bytes than its name says, and
    /// the registry's own look at them agrees.
    fn check_files(&mut self) {
        let verified = self.place.command(&[]).args(["store", "verify"]).output().unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        for shard in crate::files::shards(&self.place.root) {
            for file in crate::files::entries(&shard) {
                let name = file.file_name().unwrap().to_str().unwrap().to_owned();
                let bytes = std::fs::read(&file).unwrap();
                let hash = crate::content::sha256(&bytes);
                assert_eq!(name.split('.').next(), hash.strip_prefix("sha256:"), "{}", file.display());
                self.tally.objects += 1;
            }
        }
        self.tally.leftovers += crate::files::entries(&self.place.root.join("uploads")).len() as u64;
    }
}
