//! Many clients at once, for so often and so long, and what that cost the server.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::unconstrained;

use crate::client::Client;
use crate::servers::Server;
use crate::{MIB, Result, memory};

/// How much is to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    /// So often in all, and on until so long has passed.
    pub(crate) count: usize,
    pub(crate) at_least: Duration,
    /// Bytes that the server is going to write.
    pub(crate) writes: usize,
}

/// What was done, and what it cost.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) cost: Cost,
    /// In order.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) requests: usize,
}

/// Does the work again and again, each client one at a time. The first error ends it.
pub(crate) async fn drive(
    server: &Server,
    plan: Plan,
    work: impl AsyncFn(&mut Client, usize) -> Result,
) -> Result<Phase> {
    let mut clients = Vec::new();
    for _ in 0..plan.clients {
        let mut client = server.client();
        client.line.connect().await?;
        clients.push(client);
    }
    let meter = Meter::begin(server, plan.writes)?;
    let (began, next) = (Instant::now(), Cell::new(0));
    let one = async |mut client: Client| {
        let mut latencies = Vec::new();
        loop {
            let (nth, now) = (next.get(), Instant::now());
            if nth >= plan.count && now - began >= plan.at_least {
                return Result::Ok((latencies, client.line.requests));
            }
            next.set(nth + 1);
            work(&mut client, nth).await?;
            latencies.push(now.elapsed());
        }
    };
    let mut running: FuturesUnordered<_> = clients.into_iter().map(|client| unconstrained(one(client))).collect();
    let (mut latencies, mut requests) = (Vec::new(), 0);
    while let Some(done) = running.next().await {
        let (of_one, asked) = done?;
        latencies.extend(of_one);
        requests += asked;
    }
    let cost = meter.end()?;
    latencies.sort_unstable();
    Ok(Phase { cost, latencies, requests })
}

/// What a stretch of time cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// The server's.
    pub(crate) cpu: Duration,
    /// The most resident memory of the server, in MiB.
    pub(crate) peak: f64,
    /// The client's own.
    pub(crate) client: Duration,
}

pub(crate) struct Meter<'s> {
    server: &'s Server,
    cpu: Duration,
    client: Duration,
    began: Instant,
}

impl<'s> Meter<'s> {
    /// What others left to be written is written before, and memory for what will be is touched.
    pub(crate) fn begin(server: &'s Server, writes: usize) -> Result<Self> {
        rustix::fs::sync();
        if writes > MIB {
            memory::touch(writes);
        }
        server.processes.begin_peak()?;
        Ok(Self { server, cpu: server.processes.cpu()?, client: own_cpu(), began: Instant::now() })
    }

    pub(crate) fn end(self) -> Result<Cost> {
        let wall = self.began.elapsed();
        let (_, peak) = self.server.processes.memory()?;
        let cpu = self.server.processes.cpu()?.saturating_sub(self.cpu);
        Ok(Cost { wall, cpu, peak, client: own_cpu().saturating_sub(self.client) })
    }
}

/// User and system time of this process.
pub(crate) fn own_cpu() -> Duration {
    cpu(ClockId::ProcessCPUTime)
}

/// User and system time of this process or thread.
pub(crate) fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
