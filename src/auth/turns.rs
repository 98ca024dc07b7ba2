//! Few at a time, the rest in line, and no line holds up another.
//!
//! A password hash costs 19 MiB and milliseconds of a core, so only a few run at
//! once. Those who wait stand in one line per address and the lines take turns:
//! a flood from one address delays its own requests, not those of others. Both
//! the lines and their sum are bounded.
//!
//! A turn has tools, such as the memory to hash in. They are handed on with it,
//! warm, for as long as somebody waits, and put away when nobody does.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Hands out turns.
pub(super) struct Turns<T: Default> {
    queue: Arc<Queue<T>>,
}

/// A turn; dropping it lets the next one go.
pub(super) struct Turn<T: Default> {
    pub(super) tools: T,
    queue: Option<Arc<Queue<T>>>,
}

/// Too many are waiting already.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("too many are waiting for their turn")]
pub(super) struct Full;

struct Queue<T: Default> {
    longest_line: usize,
    longest: usize,
    lines: Mutex<Lines<T>>,
}

struct Lines<T: Default> {
    free: usize,
    waiting: usize,
    /// Who waits behind which address; no line is empty.
    of: HashMap<IpAddr, VecDeque<oneshot::Sender<Turn<T>>>>,
    /// Every address with a line, the next one first.
    order: VecDeque<IpAddr>,
}

impl<T: Default> Turns<T> {
    /// So many turns at a time; so many may wait, in one line and in all.
    pub(super) fn new(at_a_time: usize, longest_line: usize, longest: usize) -> Self {
        let lines =
            Mutex::new(Lines { free: at_a_time.max(1), waiting: 0, of: HashMap::new(), order: VecDeque::new() });
        Self { queue: Arc::new(Queue { longest_line, longest, lines }) }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`Full`] at once, if too many wait.
    pub(super) async fn take(&self, address: IpAddr) -> Result<Turn<T>, Full> {
        let called = {
            let mut lines = self.queue.lines();
            if lines.free > 0 {
                lines.free -= 1;
                return Ok(Turn { tools: T::default(), queue: Some(Arc::clone(&self.queue)) });
            }
            let in_line = lines.of.get(&address).map_or(0, VecDeque::len);
            if in_line >= self.queue.longest_line || lines.waiting >= self.queue.longest {
                return Err(Full);
            }
            let (call, called) = oneshot::channel();
            lines.join(address, call);
            called
        };
        called.await.map_err(|_| Full)
    }
}

impl<T: Default> Queue<T> {
    fn lines(&self) -> MutexGuard<'_, Lines<T>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a turn that ended, with its tools, to the next who still waits.
    fn pass_on(self: Arc<Self>, mut tools: T) {
        let mut lines = self.lines();
        while let Some(call) = lines.next() {
            match call.send(Turn { tools, queue: Some(Arc::clone(&self)) }) {
                Ok(()) => return,
                Err(mut refused) => {
                    // Gone meanwhile; the turn is still ours.
                    refused.queue = None;
                    tools = mem::take(&mut refused.tools);
                }
            }
        }
        lines.free += 1;
        drop(lines); // putting the tools away may take a while
    }
}

impl<T: Default> Lines<T> {
    fn join(&mut self, address: IpAddr, call: oneshot::Sender<Turn<T>>) {
        let line = self.of.entry(address).or_default();
        if line.is_empty() {
            self.order.push_back(address);
        }
        line.push_back(call);
        self.waiting += 1;
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn<T>>> {
        let address = self.order.pop_front()?;
        let line = self.of.get_mut(&address)?;
        let call = line.pop_front();
        if line.is_empty() {
            self.of.remove(&address);
        } else {
            self.order.push_back(address);
        }
        self.waiting -= usize::from(call.is_some());
        call
    }
}

impl<T: Default> Drop for Turn<T> {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.pass_on(mem::take(&mut self.tools));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::{FutureExt, join_all};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[tokio::test]
    async fn no_more_than_allowed_run_at_once_and_all_get_their_turn() {
        let turns = Turns::<()>::new(2, 100, 100);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let jobs = (0..50).map(|n| {
            let (turns, running, most) = (&turns, &running, &most);
            async move {
                let turn = turns.take(address(n % 3)).await.unwrap();
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                drop(turn);
            }
        });
        join_all(jobs).await;
        assert_eq!(most.into_inner(), 2);
        assert_eq!(turns.queue.lines().free, 2);
        assert!(turns.queue.lines().of.is_empty());
    }

    /// A flood from one address does not make another wait for its end.
    #[tokio::test]
    async fn lines_take_turns() {
        let turns = Turns::<()>::new(1, 100, 100);
        let held = turns.take(address(1)).await.unwrap();
        let mut flood: Vec<_> = (0..50).map(|_| Box::pin(turns.take(address(1)))).collect();
        for waiting in &mut flood {
            assert!(waiting.now_or_never().is_none());
        }
        let mut other = Box::pin(turns.take(address(2)));
        assert!((&mut other).now_or_never().is_none());
        drop(held);
        let first = (&mut flood[0]).now_or_never().unwrap().unwrap();
        drop(first);
        assert!(other.now_or_never().is_some(), "second after one of the flood");
    }

    #[tokio::test]
    async fn both_bounds_hold_and_who_left_is_passed_over() {
        let turns = Turns::<()>::new(1, 2, 3);
        let held = turns.take(address(1)).await.unwrap();
        let mut waiting = Vec::new();
        for last in [1, 1, 2] {
            let mut one = Box::pin(turns.take(address(last)));
            assert!((&mut one).now_or_never().is_none());
            waiting.push(one);
        }
        assert_eq!(turns.take(address(1)).await.err(), Some(Full), "its line is full");
        assert_eq!(turns.take(address(3)).await.err(), Some(Full), "all lines together are");
        waiting.clear();
        drop(held);
        assert!(turns.take(address(4)).now_or_never().is_some());
    }

    #[tokio::test]
    async fn tools_are_handed_on_while_somebody_waits_and_put_away_then() {
        let turns = Turns::<Vec<u8>>::new(1, 9, 9);
        let mut first = turns.take(address(1)).await.unwrap();
        first.tools.push(1);
        let mut second = Box::pin(turns.take(address(1)));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        let second = second.await.unwrap();
        assert_eq!(second.tools, [1]);
        drop(second);
        assert!(turns.take(address(1)).await.unwrap().tools.is_empty());
    }
}
