//! The names of all metrics, and what is said of them where they are shown.
//!
//! They follow Prometheus: a common prefix, base units, `_total` for what only grows. Money is
//! counted in nano-units of the currency, because counters are integers, and shown in units of it
//! by gauges.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(super) const REQUESTS: &str = "tollkeeper_requests_total";
pub(super) const DENIALS: &str = "tollkeeper_denials_total";
pub(super) const ENDED: &str = "tollkeeper_ended_total";
pub(super) const USED_TOKENS: &str = "tollkeeper_used_tokens_total";
pub(super) const USED_COST: &str = "tollkeeper_used_cost_nanos_total";
pub(super) const KEYED: &str = "tollkeeper_keyed_total";
pub(super) const PHASE: &str = "tollkeeper_phase_seconds";
pub(super) const EVENTS: &str = "tollkeeper_events_total";
pub(super) const EVENTS_MISSED: &str = "tollkeeper_events_missed_total";
pub(super) const LEDGER_OPEN: &str = "tollkeeper_ledger_open_charges";
pub(super) const LEDGER_QUEUED: &str = "tollkeeper_ledger_queued";
pub(super) const LEDGER_TAKEN: &str = "tollkeeper_ledger_slots_taken";
pub(super) const LEDGER_SLOTS: &str = "tollkeeper_ledger_slots";
pub(super) const LEDGER_UNPERSISTED: &str = "tollkeeper_ledger_unpersisted";
pub(super) const LEDGER_UNPERSISTED_COST: &str = "tollkeeper_ledger_unpersisted_cost";
pub(super) const LEDGER_REJECTED: &str = "tollkeeper_ledger_rejected";
pub(super) const LEDGER_FAILURES: &str = "tollkeeper_ledger_failures";
pub(super) const LEDGER_WRITTEN: &str = "tollkeeper_ledger_written_total";
pub(super) const LEDGER_DUPLICATES: &str = "tollkeeper_ledger_duplicates_total";
pub(super) const LEDGER_NULLED: &str = "tollkeeper_ledger_nulled_total";
pub(super) const LEDGER_GROUPS: &str = "tollkeeper_ledger_groups_total";
pub(super) const LEDGER_ATTEMPTS: &str = "tollkeeper_ledger_attempts_total";
pub(super) const BARRIER_USERS: &str = "tollkeeper_barrier_users";
pub(super) const BARRIER_WAITING: &str = "tollkeeper_barrier_waiting";
pub(super) const BARRIER_HOLDING: &str = "tollkeeper_barrier_holding";
pub(super) const BARRIER_TIMEOUTS: &str = "tollkeeper_barrier_timeouts_total";
pub(super) const BARRIER_REFUSED: &str = "tollkeeper_barrier_refused_total";
pub(super) const BARRIER_LOST: &str = "tollkeeper_barrier_lost_total";
pub(super) const LIMITS: &str = "tollkeeper_limits";
pub(super) const LIMITS_FULL: &str = "tollkeeper_limits_full";
pub(super) const LIMIT_USED: &str = "tollkeeper_limit_used_ratio";
pub(super) const LIMIT_SETTLED: &str = "tollkeeper_limit_settled";
pub(super) const LIMIT_HELD: &str = "tollkeeper_limit_held";
pub(super) const LIMIT_ALLOWED: &str = "tollkeeper_limit_allowed";

const COUNTERS: &[(&str, &str)] = &[
    (REQUESTS, "Requests, by what was decided of them."),
    (DENIALS, "Requests that a limit denied, by what it counts."),
    (ENDED, "Admitted requests that have ended, by how."),
    (USED_TOKENS, "Tokens that requests used, as upstreams reported them."),
    (USED_COST, "Cost of what requests used, in nano-units of the currency."),
    (KEYED, "Requests with an idempotency key, by what the key met."),
    (EVENTS, "Events of limits."),
    (EVENTS_MISSED, "Events of limits that found the queue full and were dropped."),
    (LEDGER_WRITTEN, "Entries written."),
    (LEDGER_DUPLICATES, "Entries not written because another one has their record id."),
    (LEDGER_NULLED, "Entries written with a reference that was NULL."),
    (LEDGER_GROUPS, "Transactions of the ledger that were committed."),
    (LEDGER_ATTEMPTS, "Transactions of the ledger that were tried."),
    (BARRIER_TIMEOUTS, "Calls whose time was up before it was their turn."),
    (BARRIER_REFUSED, "Calls refused because too many waited."),
    (BARRIER_LOST, "Calls whose remote lock was lost while they had it."),
];

const GAUGES: &[(&str, &str)] = &[
    (LEDGER_OPEN, "Charges that are not settled yet."),
    (LEDGER_QUEUED, "Entries that are settled and not written yet."),
    (LEDGER_TAKEN, "Slots of the outbox that are taken."),
    (LEDGER_SLOTS, "Slots of the outbox."),
    (LEDGER_UNPERSISTED, "Entries booked in memory and written nowhere: what a crash would lose."),
    (LEDGER_UNPERSISTED_COST, "What these charge, in units of the currency."),
    (LEDGER_REJECTED, "Entries that the store would not take."),
    (LEDGER_FAILURES, "Attempts to write that failed since the last one that did not."),
    (BARRIER_USERS, "Users who have a call at the barrier."),
    (BARRIER_WAITING, "Calls that wait at the barrier."),
    (BARRIER_HOLDING, "Calls that have the barrier's permit."),
    (LIMITS, "Counters of limits that have a limit, by what they count."),
    (LIMITS_FULL, "Those of them of which nothing is left."),
    (LIMIT_USED, "Settled and held, as a share of what is allowed. The fullest limits only."),
    (LIMIT_SETTLED, "What is settled in the window; money in units of the currency."),
    (LIMIT_HELD, "What requests under way hold; money in units of the currency."),
    (LIMIT_ALLOWED, "What is allowed in the window; money in units of the currency."),
];

/// Describes them all to the recorder.
pub(super) fn describe() {
    for (name, text) in COUNTERS {
        describe_counter!(*name, Unit::Count, *text);
    }
    for (name, text) in GAUGES {
        describe_gauge!(*name, Unit::Count, *text);
    }
    describe_histogram!(PHASE, Unit::Seconds, "Time that a part of a request takes.");
}
