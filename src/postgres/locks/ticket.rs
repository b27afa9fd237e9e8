//! One wish for a lock, from being asked for to its answer. It is answered once.

use std::thread;
use std::time::{Duration, Instant};

use ::postgres::{CancelToken, NoTls};
use parking_lot::Mutex;

use super::worker::Held;
use crate::barrier::LockError;
use crate::promise::Owed;
use crate::sync::Arc;

pub(super) type Answer = Result<Held, LockError>;

pub(super) struct Ticket {
    /// In the order in which they were drawn.
    pub(super) number: u64,
    pub(super) key: i64,
    pub(super) deadline: Instant,
    stage: Mutex<Stage>,
}

enum Stage {
    /// No connection works on it.
    Waiting(Owed<Answer>),
    /// The server has been asked; by this it is told to stop.
    Working(Owed<Answer>, CancelToken),
    Over,
}

impl Ticket {
    pub(super) fn new(number: u64, key: i64, deadline: Instant, owed: Owed<Answer>) -> Arc<Ticket> {
        Arc::new(Ticket { number, key, deadline, stage: Mutex::new(Stage::Waiting(owed)) })
    }

    /// How long its wait may last from here. `None`: its time is up, or nobody waits any more.
    pub(super) fn left(&self) -> Option<Duration> {
        let over = matches!(*self.stage.lock(), Stage::Over);
        let left = self.deadline.saturating_duration_since(Instant::now());
        (!over && !left.is_zero()).then_some(left)
    }

    /// Before the server is asked. Says whether anybody still waits.
    pub(super) fn begin(&self, token: CancelToken) -> bool {
        let mut stage = self.stage.lock();
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Over => return false,
            Stage::Waiting(owed) | Stage::Working(owed, _) => *stage = Stage::Working(owed, token),
        }
        true
    }

    /// Answers it. Says whether anybody heard: otherwise the server may be told to stop whatever
    /// the connection does next, and a lock that was granted has been dropped.
    pub(super) fn answer(&self, answer: Answer) -> bool {
        match self.end() {
            Stage::Over => false,
            Stage::Waiting(owed) | Stage::Working(owed, _) => owed.give(answer).is_ok(),
        }
    }

    /// Ends it from the side of who waits: by an error, or because nobody does any more.
    pub(super) fn give_up(&self, error: Option<LockError>) {
        let (owed, token) = match self.end() {
            Stage::Over => return,
            Stage::Waiting(owed) => (owed, None),
            Stage::Working(owed, token) => (owed, Some(token)),
        };
        if let Some(error) = error {
            let _ = owed.give(Err(error));
        }
        if let Some(token) = token {
            // Where there is no thread for it, the server gives up at the deadline by itself.
            let cancel = move || drop(token.cancel_query(NoTls));
            let _ = thread::Builder::new().name("tollkeeper cancel".into()).spawn(cancel);
        }
    }

    fn end(&self) -> Stage {
        std::mem::replace(&mut *self.stage.lock(), Stage::Over)
    }
}
