//! Reads what limits and the ledger do, and tells it.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

#[cfg(feature = "tracing")]
use super::told;
#[cfg(feature = "metrics")]
use super::{counts, gauges, names};
#[cfg(feature = "metrics")]
use crate::barrier::{Barrier, BarrierCounts};
use crate::engine::{Event, Subscription};
use crate::ledger::Ledger;
use crate::time::{Clock, SystemClock, Timestamp};

/// How often values are read.
const EVERY: Duration = Duration::from_secs(5);

/// So many events wait at most. They come as fast as requests do where limits are passed that do
/// not deny.
const EVENTS_MAX: usize = 8_192;

#[cfg(feature = "metrics")]
const LIMITS_LABELLED: usize = 100;

/// Tells what limits and a ledger do: to the recorder of the `metrics` facade (feature `metrics`),
/// and to the subscriber of `tracing` (feature `tracing`).
///
/// It reads. Decisions know nothing of it and cost the same with it. It does not keep the ledger
/// open either: it ends with the ledger's last handle.
///
/// ```
/// use tollkeeper::{Engine, Ledger, MemoryLedger, Telemetry};
///
/// let engine = Engine::new();
/// let ledger = Ledger::builder(&engine).start(MemoryLedger::default())?;
/// Telemetry::new(&ledger).start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `examples/prometheus.rs` is a whole service with it.
///
/// # Metrics
///
/// Those of requests are counted by the layer (feature `http`), the others by this.
///
/// | counter | labels | counts |
/// |---|---|---|
/// | `tollkeeper_requests_total` | operation, decision | requests |
/// | `tollkeeper_denials_total` | operation, dimension | requests that a limit denied |
/// | `tollkeeper_ended_total` | operation, end | admitted requests |
/// | `tollkeeper_used_tokens_total` | operation, kind | tokens |
/// | `tollkeeper_used_cost_nanos_total` | operation | nano-units of the currency |
/// | `tollkeeper_keyed_total` | operation, met | requests with an idempotency key |
/// | `tollkeeper_events_total` | event, dimension | [events](crate::EventKind) of limits |
/// | `tollkeeper_events_missed_total` | | events that came too fast |
/// | `tollkeeper_ledger_written_total` | | entries, as in [`Health`](crate::Health) |
/// | `tollkeeper_ledger_duplicates_total` | | entries |
/// | `tollkeeper_ledger_nulled_total` | | entries |
/// | `tollkeeper_ledger_groups_total` | | transactions |
/// | `tollkeeper_ledger_attempts_total` | | transactions |
/// | `tollkeeper_barrier_timeouts_total` | | calls, as in [`crate::BarrierCounts`] |
/// | `tollkeeper_barrier_refused_total` | | calls |
/// | `tollkeeper_barrier_lost_total` | | calls |
///
/// | histogram | labels | |
/// |---|---|---|
/// | `tollkeeper_phase_seconds` | operation, phase | time that a part of a request takes |
///
/// | gauge | labels | |
/// |---|---|---|
/// | `tollkeeper_ledger_open_charges` | | as in [`Health`](crate::Health) |
/// | `tollkeeper_ledger_queued` | | entries |
/// | `tollkeeper_ledger_slots_taken` | | |
/// | `tollkeeper_ledger_slots` | | its capacity |
/// | `tollkeeper_ledger_unpersisted` | | entries |
/// | `tollkeeper_ledger_unpersisted_cost` | | units of the currency |
/// | `tollkeeper_ledger_rejected` | | entries |
/// | `tollkeeper_ledger_failures` | | attempts since the last success |
/// | `tollkeeper_barrier_users` | | as in [`crate::BarrierCounts`] |
/// | `tollkeeper_barrier_waiting` | | calls |
/// | `tollkeeper_barrier_holding` | | calls |
/// | `tollkeeper_limits` | dimension | counters that have a limit |
/// | `tollkeeper_limits_full` | dimension | those of which nothing is left |
/// | `tollkeeper_limit_used_ratio` | limit and others | settled and held, by allowed |
/// | `tollkeeper_limit_settled` | limit and others | money in units of the currency |
/// | `tollkeeper_limit_held` | limit and others | the same |
/// | `tollkeeper_limit_allowed` | limit and others | the same |
///
/// - `operation`: what the protocol calls it, such as `chat.completions`; `unknown` where a request
///   was refused before that was known.
/// - `decision`: `admitted`, `denied`, `barred` (its time at the barrier was up), `full` (the
///   outbox is), `closed`, `refused` (whatever limits say), `gone` (its client went before).
/// - `end`: `settled`, `partial`, `failed`, `unbilled`, `uncertain`, `void`.
/// - `kind`: `input`, `output`, `cached`, `cache_write`.
/// - `met`: `executed`, `replayed`, `not_kept`, `in_flight`, `mismatch`, `malformed`,
///   `unavailable`.
/// - `phase`: `admission`, `barrier`, `upstream`, `record`.
/// - `event`: `threshold`, `exhausted`, `passed`, `window_closed`, `withdrawn`, `reset`,
///   `uncertain`.
/// - `dimension`: `money`, `tokens`, `requests`, `in_flight`; `none` for a request that was denied
///   because its owner is unknown.
/// - `limit`: with it come `owner`, `enforcement` (`hard`, `soft`, `shadow`) and `dimension`.
///
/// # Cardinality
///
/// The values of all labels are fixed sets, but those of `limit` and `owner`: at any time, gauges
/// are set for the fullest limits only, [so many](Self::limits_labelled). The facade cannot take a
/// gauge back. One whose limit is not among the fullest any more is set to NaN once, and not again:
/// have your recorder drop gauges that are not set any more (`idle_timeout` of the Prometheus
/// exporter). All gauges here are set every five seconds.
///
/// # Events
///
/// Their target is `tollkeeper`. At `error`: records that the store refuses. At `warn`: a store
/// that does not write, amounts charged as uncertain, missed events. At `info`: thresholds,
/// exhausted limits, requests that passed a limit which does not deny, resets. At `debug`: windows
/// that closed, and each request of the layer.
pub struct Telemetry {
    /// The ledger, as long as somebody else has it.
    ledger: Box<dyn Fn() -> Option<Ledger> + Send>,
    events: Subscription,
    missed: u64,
    looked_at: Option<Timestamp>,
    #[cfg(feature = "metrics")]
    barrier: Option<Box<dyn Fn() -> BarrierCounts + Send>>,
    #[cfg(feature = "metrics")]
    limits: gauges::Labelled,
    #[cfg(feature = "tracing")]
    told: told::Ledger,
}

impl Telemetry {
    /// Of a ledger and its engine, from now on. There should be one for each recorder: two ledgers
    /// would set the same gauges.
    #[must_use]
    pub fn new(ledger: &Ledger) -> Self {
        Self {
            ledger: Box::new(ledger.watched()),
            events: ledger.engine().subscribe(EVENTS_MAX),
            missed: 0,
            looked_at: None,
            #[cfg(feature = "metrics")]
            barrier: None,
            #[cfg(feature = "metrics")]
            limits: gauges::Labelled::new(LIMITS_LABELLED),
            #[cfg(feature = "tracing")]
            told: told::Ledger::default(),
        }
    }

    /// For how many limits there are gauges; the 100 fullest, if not set. Each limit has four, or
    /// eight if it counts tokens and requests. Full is what is settled and held as a share of what
    /// is allowed.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    #[must_use]
    pub fn limits_labelled(mut self, at_most: usize) -> Self {
        self.limits.at_most = at_most;
        self
    }

    /// Shows what goes on at this barrier as well.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    #[must_use]
    pub fn barrier(mut self, barrier: &Barrier) -> Self {
        self.barrier = Some(Box::new(barrier.counting()));
        self
    }

    /// Tells the events that wait, and reads all values if five seconds have passed since they were
    /// read last. Returns when that is due again, or `None` if the ledger is gone.
    ///
    /// # Cost
    ///
    /// Of reading the values: a visit to every limit, as [`Engine::usage_all`](crate::Engine) does
    /// it. It stops nobody.
    pub fn turn(&mut self, now: Timestamp) -> Option<Timestamp> {
        // Not more than there can be, should they come as fast as they are told.
        for _ in 0..EVENTS_MAX {
            let Some(event) = self.events.try_next() else { break };
            tell(&event);
        }
        let missed = self.events.missed();
        if missed > self.missed {
            #[cfg(feature = "tracing")]
            told::missed(missed - self.missed);
            self.missed = missed;
        }
        let ledger = (self.ledger)()?;
        let due = |at: Timestamp| now < at || at.saturating_add(EVERY) <= now;
        if self.looked_at.is_none_or(due) {
            let first = self.looked_at.replace(now).is_none();
            self.look(&ledger, first);
        }
        self.looked_at.map(|at| at.saturating_add(EVERY))
    }

    fn look(&mut self, ledger: &Ledger, first: bool) {
        let health = ledger.health();
        #[cfg(feature = "metrics")]
        {
            if first {
                names::describe();
            }
            counts::missed(self.missed);
            gauges::ledger(&health);
            if let Some(barrier) = &self.barrier {
                gauges::barrier(&barrier());
            }
            self.limits.look(ledger.engine().usage_all());
        }
        #[cfg(feature = "tracing")]
        self.told.look(&health);
        #[cfg(not(feature = "metrics"))]
        let _ = first;
    }

    /// Turns it in a thread of its own, until the ledger is gone. Events are told as they come.
    ///
    /// # Errors
    ///
    /// The thread does not start.
    pub fn start(self) -> io::Result<()> {
        let name = "tollkeeper-telemetry".to_owned();
        thread::Builder::new().name(name).spawn(move || self.turn_on_and_on())?;
        Ok(())
    }

    fn turn_on_and_on(mut self) {
        loop {
            let now = SystemClock.now();
            // Recorders and subscribers are somebody else's code. What panics is not told again.
            let turned = catch_unwind(AssertUnwindSafe(|| self.turn(now)));
            let Some(next) = turned.unwrap_or(Some(now.saturating_add(EVERY))) else { return };
            let wait = next.saturating_since(SystemClock.now()).min(EVERY);
            if let Some(event) = self.events.next_timeout(wait) {
                let _ = catch_unwind(AssertUnwindSafe(|| tell(&event)));
            }
        }
    }
}

fn tell(event: &Event) {
    #[cfg(feature = "metrics")]
    counts::event(event);
    #[cfg(feature = "tracing")]
    told::event(event);
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("missed", &self.missed).finish_non_exhaustive()
    }
}
