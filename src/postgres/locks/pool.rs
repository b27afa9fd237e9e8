//! Who has a connection and who waits for one.

use std::collections::{BTreeMap, BTreeSet};
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

/// What a worker begins with.
pub(super) enum First {
    Ticket(Arc<Ticket>),
    /// Its connection, and its place among the idle ones: it has it before anybody asks.
    Idle(Box<Client>, Idle),
}

/// A worker's place among the idle ones.
pub(super) struct Idle {
    number: u64,
    receiver: Receiver<Arc<Ticket>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) closed: bool,
    /// The last number given to a ticket or an idle worker.
    drawn: u64,
    /// How many workers there are. Each has at most one connection.
    workers: usize,
    /// The keys that a worker asks for, holds, or is releasing: it has the only connection for that
    /// key, and who wants the same one waits until it is done.
    serving: BTreeSet<i64>,
    /// Those that have nothing to do, the last one last.
    idle: BTreeMap<u64, Sender<Arc<Ticket>>>,
    /// Tickets that wait for a worker or for their key, in the order in which they came.
    waiting: BTreeMap<u64, Arc<Ticket>>,
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
        let added = {
            let mut state = pool.state.lock();
            let first = First::Idle(Box::new(first), state.idle());
            pool.add_worker(&mut state, first)
        };
        if let Err(error) = added {
            pool.close();
            return Err(told(DOING, error));
        }
        Ok(pool)
    }

    /// The next ticket's number.
    pub(super) fn number(&self) -> u64 {
        self.state.lock().draw()
    }

    /// A ticket gets a worker, or a place among those who wait: for any, or for the one that has
    /// its key.
    pub(super) fn admit(self: &Arc<Self>, ticket: &Arc<Ticket>) {
        let mut state = self.state.lock();
        state.deadlines.insert((ticket.deadline, ticket.number), Arc::clone(ticket));
        self.changed.notify_one();
        if !state.serving.insert(ticket.key) {
            state.waiting.insert(ticket.number, Arc::clone(ticket));
            return;
        }
        if let Some((_, idle)) = state.idle.pop_last() {
            // It listens: it ends only after it has taken itself out of the idle ones.
            let _ = idle.send(Arc::clone(ticket));
            return;
        }
        if state.workers < self.terms.connections {
            match self.add_worker(&mut state, First::Ticket(Arc::clone(ticket))) {
                Ok(()) => return,
                Err(error) if state.workers == 0 => {
                    state.serving.remove(&ticket.key);
                    drop(state);
                    self.leave(ticket);
                    ticket.answer(Err(LockError::Unavailable(Box::new(error))));
                    return;
                }
                // Those that there are will come to it.
                Err(_) => {}
            }
        }
        state.serving.remove(&ticket.key);
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

    fn add_worker(self: &Arc<Self>, state: &mut State, first: First) -> std::io::Result<()> {
        let pool = Arc::clone(self);
        let work = move || worker::work(&pool, first);
        thread::Builder::new().name("tollkeeper lock".into()).spawn(work)?;
        state.workers += 1;
        Ok(())
    }

    /// The next ticket for a worker that is done with a key. `None`: it ends, because none came for
    /// a while or the pool is closed.
    pub(super) fn next(&self, done: i64) -> Option<Arc<Ticket>> {
        let idle = {
            let mut state = self.state.lock();
            if let Some(ticket) = state.after(Some(done)) {
                return Some(ticket);
            }
            if state.closed {
                return None;
            }
            state.idle()
        };
        self.idle(idle)
    }

    /// The next ticket for a worker that has nothing to do, as above.
    pub(super) fn idle(&self, Idle { number, receiver }: Idle) -> Option<Arc<Ticket>> {
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
    pub(super) fn worker_ended(self: &Arc<Self>, done: Option<i64>) {
        let mut state = self.state.lock();
        state.workers -= 1;
        let Some(ticket) = state.after(done) else { return };
        if self.add_worker(&mut state, First::Ticket(Arc::clone(&ticket))).is_err() {
            state.serving.remove(&ticket.key);
            state.waiting.insert(ticket.number, ticket);
        }
    }
}

impl State {
    /// Forgets a ticket whose time is up. Says whether it waited for a connection, not for its key.
    pub(super) fn expire(&mut self, ticket: &Ticket) -> bool {
        let waited = self.waiting.remove(&ticket.number).is_some();
        waited && !self.serving.contains(&ticket.key)
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    /// A place among the idle workers.
    fn idle(&mut self) -> Idle {
        let (sender, receiver) = channel();
        let number = self.draw();
        self.idle.insert(number, sender);
        Idle { number, receiver }
    }

    /// When a worker is done with a key: the ticket that has waited longest of those whose key no
    /// worker has.
    fn after(&mut self, done: Option<i64>) -> Option<Arc<Ticket>> {
        if let Some(key) = done {
            self.serving.remove(&key);
        }
        let mut waiting = self.waiting.iter();
        let number = *waiting.find(|(_, ticket)| !self.serving.contains(&ticket.key))?.0;
        let ticket = self.waiting.remove(&number)?;
        self.serving.insert(ticket.key);
        Some(ticket)
    }
}
