//! How much is measured.

use crate::rounds::Pace;
use std::time::Duration;

/// How large the populations are and how long it all takes.
pub struct Scale {
    pub name: &'static str,
    /// Entries of the rows that have many.
    pub entries: usize,
    /// Entries that the growth is counted from.
    pub few: usize,
    /// Keys that are drawn before any of them is asked for.
    pub draws: usize,
    /// For what stays in the processor's own caches.
    pub hot: Pace,
    /// For the many points of the curves.
    pub curve: Pace,
    /// For what does not stay there: longer, as a side finds its cache full of the other's.
    pub cold: Pace,
    /// How often a document is loaded.
    pub loads: usize,
    /// For what waits for a disk.
    pub durable: Pace,
    /// For requests over sockets as fast as they are answered: short, because how fast the machine
    /// is changes from second to second, by more than what is looked for.
    pub saturated: Pace,
    /// For requests over sockets at a rate.
    pub at_rate: Pace,
    /// Totals that are restored.
    pub totals: usize,
    /// How often a store stalls.
    pub stalls: usize,
    /// How often all windows end at one instant.
    pub storms: usize,
}

impl Scale {
    pub const FULL: Scale = Scale {
        name: "full",
        entries: 1_000_000,
        few: 1_000,
        draws: 1 << 22,
        hot: Pace { batch: Duration::from_millis(3), rounds: 200 },
        curve: Pace { batch: Duration::from_millis(2), rounds: 100 },
        cold: Pace { batch: Duration::from_millis(10), rounds: 120 },
        loads: 3,
        durable: Pace { batch: Duration::from_millis(250), rounds: 15 },
        saturated: Pace { batch: Duration::from_secs(1), rounds: 45 },
        at_rate: Pace { batch: Duration::from_secs(2), rounds: 15 },
        totals: 1_000_000,
        stalls: 20,
        storms: 7,
    };
    pub const QUICK: Scale = Scale {
        name: "quick",
        entries: 100_000,
        few: 1_000,
        draws: 1 << 19,
        hot: Pace { batch: Duration::from_millis(3), rounds: 100 },
        curve: Pace { batch: Duration::from_millis(2), rounds: 30 },
        cold: Pace { batch: Duration::from_millis(10), rounds: 30 },
        loads: 3,
        durable: Pace { batch: Duration::from_millis(60), rounds: 5 },
        saturated: Pace { batch: Duration::from_millis(250), rounds: 15 },
        at_rate: Pace { batch: Duration::from_millis(500), rounds: 5 },
        totals: 20_000,
        stalls: 5,
        storms: 5,
    };
}
