//! The thread that ends waits whose time is up, whatever the server does meanwhile.

use std::time::{Duration, Instant};

use super::pool::Pool;
use crate::barrier::LockError;

/// So much later than the server, which ends a wait without costing a connection.
const LATER: Duration = Duration::from_millis(50);

/// Until the pool is closed.
pub(super) fn keep(pool: &Pool) {
    let mut state = pool.state.lock();
    while !state.closed {
        let due = state.deadlines.first_entry();
        let Some(due) = due else {
            pool.changed.wait(&mut state);
            continue;
        };
        let at = due.key().0 + LATER;
        if at > Instant::now() {
            pool.changed.wait_until(&mut state, at);
            continue;
        }
        let ticket = due.remove();
        let all_in_use = state.expire(&ticket);
        drop(state);
        let error = if all_in_use {
            let in_use = format!("all its {} connections are in use", pool.terms.connections);
            LockError::Unavailable(in_use.into())
        } else {
            LockError::Timeout
        };
        ticket.give_up(Some(error));
        state = pool.state.lock();
    }
}
