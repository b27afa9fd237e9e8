//! A thread with a connection, on which one lock at a time is waited for and held.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ::postgres::error::SqlState;
use ::postgres::{Client, Config, Error, NoTls};

use super::LONGEST;
use super::pool::{First, Pool};
use super::ticket::Ticket;
use crate::barrier::{LockError, Loss, RemoteGuard};
use crate::sync::Arc;

/// Sessions may stay within a transaction, for as long as a call takes. Not every server has all of
/// these settings.
const SETTINGS: &str = "
    SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN
        ('idle_in_transaction_session_timeout', 'statement_timeout', 'transaction_timeout')";

/// A server that has heard nothing of a holder for as long as so many looks take, and for so long
/// at least, ends its session: the process stands still, or its machine is gone without a word. By
/// then one that lives has been told of the loss: its own looks were not answered.
const SILENT: u32 = 4;
const SILENT_AT_LEAST: Duration = Duration::from_secs(5);

/// A lock that is held, until it is dropped.
pub(super) struct Held {
    loss: Loss,
    /// Dropping it ends the wait of the worker for the release.
    _release: Sender<()>,
}

impl RemoteGuard for Held {
    fn loss(&self) -> &Loss {
        &self.loss
    }
}

pub(super) fn connect(config: &Config) -> Result<Client, Error> {
    let mut client = config.connect(NoTls)?;
    client.batch_execute(SETTINGS)?;
    Ok(client)
}

/// Serves tickets, until there are none for a while.
pub(super) fn work(pool: &Arc<Pool>, first: First) {
    /// What it has, and the key that it has to do with. Gives both back however the thread ends.
    struct Ending<'a>(&'a Arc<Pool>, Option<Client>, Option<i64>);
    impl Drop for Ending<'_> {
        fn drop(&mut self) {
            drop(self.1.take());
            self.0.worker_ended(self.2);
        }
    }
    let mut ending = Ending(pool, None, None);
    let mut next = match first {
        First::Ticket(ticket) => Some(ticket),
        First::Idle(client, place) => {
            ending.1 = Some(*client);
            pool.idle(place)
        }
    };
    while let Some(ticket) = next {
        ending.2 = Some(ticket.key);
        serve(pool, &mut ending.1, &ticket);
        ending.2 = None;
        next = pool.next(ticket.key);
    }
}

/// One ticket, to the end of its lock. Leaves a connection only if nothing is open on it.
fn serve(pool: &Pool, kept: &mut Option<Client>, ticket: &Ticket) {
    if ticket.left().is_none() {
        pool.leave(ticket);
        ticket.answer(Err(LockError::Timeout));
        return;
    }
    let asked = ask(pool, kept, ticket);
    pool.leave(ticket);
    let loss = Loss::new();
    let (release, released) = channel();
    let answer = asked.map(|()| Held { loss: loss.clone(), _release: release });
    let granted = answer.is_ok();
    if !ticket.answer(answer) {
        // The server may be told at any moment to stop whatever this connection does. The lock is
        // released before the next connection for this key is made.
        drop(kept.take().and_then(rolled_back));
    } else if granted && !hold(pool, kept, &released) {
        loss.tell();
        *kept = None;
    }
    // The transaction's end is the lock's, and must be known before the connection is used again.
    *kept = kept.take().and_then(rolled_back);
}

/// Waits for the lock. Afterwards a connection is there only if it can be rolled back: of an error,
/// none if it was the connection's own.
fn ask(pool: &Pool, kept: &mut Option<Client>, ticket: &Ticket) -> Result<(), LockError> {
    let mut idled = kept.is_some();
    loop {
        let left = ticket.left().ok_or(LockError::Timeout)?;
        let mut client = match kept.take() {
            Some(client) => client,
            None => {
                let mut config = pool.config.clone();
                let within = config.get_connect_timeout().copied().unwrap_or(left);
                config.connect_timeout(within.min(left));
                connect(&config).map_err(unavailable)?
            }
        };
        if !ticket.begin(client.cancel_token()) {
            return Err(LockError::Timeout);
        }
        match client.batch_execute(&taking(ticket.key, left, pool.terms.keep_alive)) {
            Ok(()) => {
                *kept = Some(client);
                return Ok(());
            }
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                *kept = Some(client);
                return Err(LockError::Timeout);
            }
            // It broke while nobody used it. A new one may work.
            Err(_) if idled && client.is_closed() => idled = false,
            Err(error) => return Err(unavailable(error)),
        }
    }
}

/// What takes a lock, in one message.
fn taking(key: i64, within: Duration, keep_alive: Duration) -> String {
    // Zero would be for ever.
    let within = within.as_micros().div_ceil(1_000).max(1);
    let silent = keep_alive.saturating_mul(SILENT).clamp(SILENT_AT_LEAST, LONGEST).as_millis();
    format!(
        "BEGIN; SET LOCAL lock_timeout = {within}; SET LOCAL statement_timeout = 0;
        SET LOCAL idle_in_transaction_session_timeout = {silent};
        SELECT pg_catalog.pg_advisory_xact_lock({key})"
    )
}

/// Until the guard is dropped. Says whether the lock was held all the time, as far as is known.
fn hold(pool: &Pool, kept: &mut Option<Client>, released: &Receiver<()>) -> bool {
    let keep_alive = pool.terms.keep_alive;
    loop {
        match released.recv_timeout(keep_alive) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => {
                let there = |client: &mut Client| client.is_valid(keep_alive).is_ok();
                if !kept.as_mut().is_some_and(there) {
                    return false;
                }
            }
        }
    }
}

/// The connection, if the end of its transaction is known: by that its lock is released.
fn rolled_back(mut client: Client) -> Option<Client> {
    client.batch_execute("ROLLBACK").ok().map(|()| client)
}

fn unavailable(error: Error) -> LockError {
    LockError::Unavailable(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wait_is_so_short_that_it_is_for_ever() {
        let soon = taking(7, Duration::from_nanos(1), Duration::ZERO);
        assert!(soon.contains("lock_timeout = 1;"), "{soon}");
        let late = taking(7, LONGEST, Duration::MAX);
        assert!(late.contains("lock_timeout = 2073600000;"), "{late}");
        assert!(late.contains("session_timeout = 2073600000;"), "{late}");
    }
}
