//! Who has a connection and who waits for one.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ::postgres::{Client, Config};
use parking_lot::{Condvar, Mutex};

use super::ticket::Ticket;
use super::{LockPool, keeper, worker};
use crate::barrier::LockError;
use crate::ledger::StoreError;
use crate::postgres::error::told;
use crate::postgres::session::aside;
use crate::sync::Arc;

/// The shortest time between two looks at a held lock.
const SHORTEST: Duration = Duration::from_millis(10);

pub(super) struct Pool {
    pub(super) config: Config,
    pub(super) terms: LockPool,
    pub(super) state: Mutex<State>,
    /// Told when a deadline is added and when the pool is closed.
    pub(super) changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) closed: bool,
    /// The last number given to a ticket or an idle worker.
    drawn: u64,
    /// How many workers there are. Each has at most one connection.
    workers: usize,
    /// Those that have nothing to do, the last one last.
    idle: BTreeMap<u64, Sender<Arc<Ticket>>>,
    /// Tickets that wait for a worker, in the order in which they came.
    pub(super) waiting: BTreeMap<u64, Arc<Ticket>>,
    /// All tickets that are not answered.
    pub(super) deadlines: BTreeMap<(Instant, u64), Arc<Ticket>>,
}

impl Pool {
    /// A pool with one connection, which shows that there is a server.
    pub(super) fn open(config: Config, terms: LockPool) -> Result<Arc<Pool>, StoreError> {
        const DOING: &str = "connecting for locks";
        let terms = LockPool {
            connections: terms.connections.max(1),
            keep_alive: terms.keep_alive.max(SHORTEST),
            ..terms
        };
        let first = aside(|| worker::connect(&config)).map_err(|e| told(DOING, e))?;
        let first = first.map_err(|e| told(DOING, e))?;
        let state = Mutex::new(State::default());
        let pool = Arc::new(Pool { config, terms, state, changed: Condvar::new() });
        let keeping = Arc::clone(&pool);
        let thread = || thread::Builder::new().name("tollkeeper locks".into());
        let begun = thread().spawn(move || keeper::keep(&keeping));
        begun.map_err(|e| told(DOING, e))?;
        if let Err(error) = pool.add_worker(&mut pool.state.lock(), Some(first), None) {
            pool.close();
            return Err(told(DOING, error));
        }
        Ok(pool)
    }

    /// The next ticket's number.
    pub(super) fn number(&self) -> u64 {
        self.state.lock().draw()
    }

    /// A ticket gets a worker, or a place among those who wait.
    pub(super) fn admit(self: &Arc<Self>, ticket: &Arc<Ticket>) {
        let mut state = self.state.lock();
        state.deadlines.insert((ticket.deadline, ticket.number), Arc::clone(ticket));
        self.changed.notify_one();
        if let Some((_, idle)) = state.idle.pop_last() {
            // It listens: it ends only after it has taken itself out of the idle ones.
            let _ = idle.send(Arc::clone(ticket));
            return;
        }
        if state.workers < self.terms.connections {
            match self.add_worker(&mut state, None, Some(Arc::clone(ticket))) {
                Ok(()) => return,
                Err(error) if state.workers == 0 => {
                    drop(state);
                    self.leave(ticket);
                    ticket.answer(Err(LockError::Unavailable(Box::new(error))));
                    return;
                }
                // Those that there are will come to it.
                Err(_) => {}
            }
        }
        state.waiting.insert(ticket.number, Arc::clone(ticket));
    }

    /// Forgets a ticket: it is answered, or nobody waits.
    pub(super) fn leave(&self, ticket: &Ticket) {
        let mut state = self.state.lock();
        state.waiting.remove(&ticket.number);
        state.deadlines.remove(&(ticket.deadline, ticket.number));
    }

    /// Ends the waits, and the workers when they are done.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.idle.clear();
        state.waiting.clear();
        let tickets = std::mem::take(&mut state.deadlines);
        drop(state);
        self.changed.notify_one();
        for ticket in tickets.values() {
            let closed = "its connections are being closed";
            ticket.give_up(Some(LockError::Unavailable(closed.into())));
        }
    }

    fn add_worker(
        self: &Arc<Self>,
        state: &mut State,
        client: Option<Client>,
        ticket: Option<Arc<Ticket>>,
    ) -> std::io::Result<()> {
        let pool = Arc::clone(self);
        let work = move || worker::work(&pool, client, ticket);
        thread::Builder::new().name("tollkeeper lock".into()).spawn(work)?;
        state.workers += 1;
        Ok(())
    }

    /// The next ticket for a worker. `None`: it ends, because none came for a while or the pool is
    /// closed.
    pub(super) fn next(&self) -> Option<Arc<Ticket>> {
        let (number, receiver): (u64, Receiver<Arc<Ticket>>);
        {
            let mut state = self.state.lock();
            if let Some((_, ticket)) = state.waiting.pop_first() {
                return Some(ticket);
            }
            if state.closed {
                return None;
            }
            let (sender, own) = channel();
            (number, receiver) = (state.draw(), own);
            state.idle.insert(number, sender);
        }
        match receiver.recv_timeout(self.terms.idle) {
            Ok(ticket) => Some(ticket),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                // One that was sent at this moment is in the channel; no more can come.
                self.state.lock().idle.remove(&number);
                receiver.try_recv().ok()
            }
        }
    }

    /// A worker has ended, and its connection with it. Who came while it did so gets another.
    pub(super) fn worker_ended(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.workers -= 1;
        let Some((number, ticket)) = state.waiting.pop_first() else { return };
        if self.add_worker(&mut state, None, Some(Arc::clone(&ticket))).is_err() {
            state.waiting.insert(number, ticket);
        }
    }
}

impl State {
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }
}
