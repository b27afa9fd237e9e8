//! Events: what a gateway may want to know, delivered off the hot path.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::admission::Stop;
use crate::entry::{Entry, Notice, Notices};
use crate::id::{LimitId, OwnerId};
use crate::sync::{Arc, ArcCell, AtomicBool, AtomicU64, Ordering};
use crate::time::{Span, Timestamp};
use crate::units::Dimension;

/// Something that happened to one counter of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When, by the engine's clock.
    pub at: Timestamp,
    /// The limit.
    pub limit: LimitId,
    /// Its owner.
    pub owner: OwnerId,
    /// The counter of it.
    pub dimension: Dimension,
    /// The generation of the window it happened in: it counts the windows of a counter.
    pub generation: u64,
    /// What happened.
    pub what: EventKind,
}

/// What happened. Amounts are in the dimension's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// What is settled reached a threshold. Once for each threshold in a window, and in the life of
    /// a prepaid budget.
    Threshold {
        /// The threshold, in percent of the limit.
        percent: u8,
        /// What is settled.
        settled: u64,
        /// The limit in this window.
        limit: u64,
    },
    /// What is settled reached the limit, or a request that an empty window would admit did not
    /// fit. Once in a window: prepaid budgets and concurrency limits have one window for life,
    /// so once, whatever is topped up or given back.
    Exhausted {
        /// What is settled.
        settled: u64,
        /// What is held by requests under way.
        held: u64,
        /// The limit in this window.
        limit: u64,
    },
    /// A window closed: at its boundary, when first noticed, or by a reset. Once for each window,
    /// and exact: everything that was ever booked or held in it is in the total.
    WindowClosed {
        /// The window. Its end is the instant of the reset, if it was reset.
        window: Span,
        /// Everything booked in it, and everything that was held when it closed.
        total: u64,
        /// The part of the total that was held: it stays booked there.
        held: u64,
    },
    /// A part of a closed total that was held for a request which another limit of its route then
    /// refused, just as the window closed. It is to be taken off that total.
    Withdrawn {
        /// The amount.
        amount: u64,
    },
    /// A request, or an extension of one, was admitted that a hard limit would have denied: the
    /// limit's [`Enforcement`](crate::Enforcement) is soft or shadow. For each such request and
    /// counter, so a limit that stays full fills a queue that nobody reads. Nothing is said of a
    /// request that another limit of its route denied.
    Passed {
        /// What was asked for.
        requested: u64,
        /// What was settled before it.
        settled: u64,
        /// What was held before it by requests under way.
        held: u64,
        /// The limit in this window.
        limit: u64,
    },
    /// An operator ended the window before this one.
    Reset {
        /// The window that began.
        window: Span,
    },
    /// A reservation was dropped after its upstream was called: its hold was booked, whatever was
    /// really used. What it held in windows that are over is booked there, and part of the amount.
    Uncertain {
        /// The amount booked.
        amount: u64,
    },
}

/// Where events go: to every subscriber that has room for them.
pub(crate) struct Events {
    subscribers: ArcCell<Vec<Subscriber>>,
}

#[derive(Clone)]
struct Subscriber {
    sender: Sender<Event>,
    shared: Arc<Shared>,
}

/// What the two ends of a subscription share beside the queue.
#[derive(Debug, Default)]
struct Shared {
    missed: AtomicU64,
    gone: AtomicBool,
}

/// A stream of events. It ends when the engine is gone, with its routes and reservations.
///
/// Events wait in a queue of the capacity that was asked for. An event that finds it full is
/// dropped and counted, so a slow subscriber never slows a decision. Dropping the subscription ends
/// it.
#[derive(Debug)]
pub struct Subscription {
    receiver: Receiver<Event>,
    shared: Arc<Shared>,
}

impl Subscription {
    /// The next event, if one is waiting.
    pub fn try_next(&self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }

    /// The next event, waiting for it up to `timeout`. `None` if none came, or if the engine is
    /// gone and no event is left.
    pub fn next_timeout(&self, timeout: Duration) -> Option<Event> {
        self.receiver.recv_timeout(timeout).ok()
    }

    /// The events that are waiting now.
    pub fn drain(&self) -> impl Iterator<Item = Event> {
        self.receiver.try_iter()
    }

    /// How many events found the queue full and were dropped, so far.
    pub fn missed(&self) -> u64 {
        // Relaxed: a statistic that publishes nothing.
        self.shared.missed.load(Ordering::Relaxed)
    }
}

/// The events as they come, waiting for each. Ends when the engine is gone.
impl Iterator for Subscription {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.receiver.recv().ok()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Relaxed: a hint; an event that is sent meanwhile goes to a queue that nobody reads.
        self.shared.gone.store(true, Ordering::Relaxed);
    }
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { subscribers: ArcCell::new(Vec::new()) }
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> Subscription {
        let (sender, receiver) = crossbeam_channel::bounded(capacity.max(1));
        let shared = Arc::new(Shared::default());
        let subscriber = Subscriber { sender, shared: Arc::clone(&shared) };
        loop {
            let seen = self.subscribers.load();
            let mut next = Vec::clone(&seen);
            next.push(subscriber.clone());
            if self.subscribers.compare_and_swap(&seen, Arc::new(next)) {
                return Subscription { receiver, shared };
            }
        }
    }

    /// Gives notice of an amount that is booked without anybody knowing what was used.
    pub(crate) fn uncertain(&self, stop: &Stop, generation: u64, amount: u64, now: Timestamp) {
        let dimension = stop.dimension;
        if amount > 0 && dimension != Dimension::InFlight {
            self.send(&stop.entry, dimension, generation, EventKind::Uncertain { amount }, now);
        }
    }

    fn send(
        &self,
        entry: &Entry,
        dimension: Dimension,
        generation: u64,
        what: EventKind,
        at: Timestamp,
    ) {
        let subscribers = self.subscribers.load();
        let mut gone = false;
        for subscriber in subscribers.iter() {
            let (limit, owner) = (entry.id.clone(), entry.owner.clone());
            let event = Event { at, limit, owner, dimension, generation, what };
            match subscriber.sender.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    // Relaxed: a statistic that publishes nothing.
                    subscriber.shared.missed.fetch_add(1, Ordering::Relaxed);
                }
                Err(TrySendError::Disconnected(_)) => gone = true,
            }
        }
        if gone {
            // Who loses this race leaves it to the next event.
            // Relaxed: see `Drop`.
            let stays = |one: &&Subscriber| !one.shared.gone.load(Ordering::Relaxed);
            let kept = Arc::new(subscribers.iter().filter(stays).cloned().collect());
            self.subscribers.compare_and_swap(&subscribers, kept);
        }
    }
}

impl Notices for Events {
    fn notice(&self, entry: &Entry, dimension: Dimension, notice: Notice, at: Timestamp) {
        let (generation, what) = match notice {
            Notice::Closed { generation, span, total, held } => {
                (generation, EventKind::WindowClosed { window: span, total, held })
            }
            Notice::Withdrawn { generation, amount } => {
                (generation, EventKind::Withdrawn { amount })
            }
            Notice::Threshold { generation, limit, percent, settled } => {
                (generation, EventKind::Threshold { percent, settled, limit })
            }
            Notice::Exhausted { generation, limit, counts } => {
                let (settled, held) = (counts.settled, counts.held);
                (generation, EventKind::Exhausted { settled, held, limit })
            }
            Notice::Passed { generation, limit, requested, counts } => {
                let (settled, held) = (counts.settled, counts.held);
                (generation, EventKind::Passed { requested, settled, held, limit })
            }
            Notice::Reset { window } => {
                (window.generation, EventKind::Reset { window: window.span })
            }
        };
        self.send(entry, dimension, generation, what, at);
    }
}
