//! A connection that is made when it is needed, and again after it broke.

use std::io;
use std::panic;
use std::thread;
use std::time::Duration;

use ::postgres::config::SslMode;
use ::postgres::{Client, Config, NoTls};
use parking_lot::Mutex;

use super::error::{Failure, told};
use crate::ledger::StoreError;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMES: u32 = 3;

/// What every connection of a store is told first. What nobody waits for cannot be waited for for
/// ever, and what is acknowledged is durable.
const SETTINGS: &str = "
    SET lock_timeout = '10s';
    SET statement_timeout = '30s';
    SET idle_in_transaction_session_timeout = '60s';
    SET default_transaction_isolation = 'read committed';
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off';";

/// One connection, used by one caller at a time.
pub(super) struct Session {
    config: Config,
    client: Mutex<Option<Client>>,
}

/// How to connect, as a URL says it, under this name if it says none.
pub(super) fn configured(url: &str, application: &str) -> Result<Config, StoreError> {
    const DOING: &str = "reading the database's URL";
    let rejected = |source| StoreError::Rejected { doing: DOING, constraint: None, source };
    let mut config: Config = url.parse().map_err(|e| rejected(Box::new(e)))?;
    if config.get_ssl_mode() == SslMode::Require {
        let accepted = "sslmode=require: connections are not encrypted by this crate; accepted: \
                        sslmode=disable or prefer, through a tunnel where encryption is needed";
        return Err(rejected(accepted.into()));
    }
    config.ssl_mode(SslMode::Disable);
    if config.get_application_name().is_none() {
        config.application_name(application);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_WITHIN);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_idle(KEEPALIVE_AFTER).keepalives_interval(KEEPALIVE_EVERY);
        config.keepalives_retries(KEEPALIVE_TIMES);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(KEEPALIVE_AFTER + KEEPALIVE_EVERY * KEEPALIVE_TIMES);
    }
    Ok(config)
}

impl Session {
    pub(super) fn new(config: Config) -> Session {
        Session { config, client: Mutex::new(None) }
    }

    /// Works on the connection, which is made first if there is none. A connection that is found
    /// broken is given up, so that the next call makes another.
    pub(super) fn call<T: Send>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Client) -> Result<T, Failure> + Send,
    ) -> Result<T, StoreError> {
        let done = aside(|| {
            let mut kept = self.client.lock();
            // Taken out: what panics on the way leaves no connection within a transaction behind.
            let mut client = match kept.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => self.connect().map_err(|e| told("connecting", e))?,
            };
            let done = work(&mut client);
            if !client.is_closed() {
                *kept = Some(client);
            }
            done.map_err(|failure| failure.told(doing))
        });
        done.unwrap_or_else(|source| Err(told(doing, source)))
    }

    fn connect(&self) -> Result<Client, ::postgres::Error> {
        let mut client = self.config.connect(NoTls)?;
        client.batch_execute(SETTINGS)?;
        Ok(client)
    }
}

/// Closing a connection blocks as well.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.get_mut().take() {
            // Without a thread it is closed by this one.
            let _ = aside(|| drop(client));
        }
    }
}

/// Runs the driver on a thread of its own and waits for it: the driver blocks on an async runtime
/// inside, which panics on a thread that runs another. It takes a few hundredths of the time of a
/// commit. A machine that has no thread left is an error, and one that passes.
pub(super) fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    beside(thread::Builder::new(), work)
}

fn beside<T: Send>(thread: thread::Builder, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| match thread.spawn_scoped(scope, work)?.join() {
        Ok(done) => Ok(done),
        Err(panicked) => panic::resume_unwind(panicked),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_thread_is_an_error_that_passes() {
        // More than any machine has.
        let none = thread::Builder::new().stack_size(usize::MAX / 4);
        let error = beside(none, || ()).expect_err("there is no room for it");
        assert!(told("working", error).is_transient());
        assert_eq!(aside(|| 7).expect("a thread"), 7);
    }
}
