//! Where threads wait for each other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{hint, thread};

/// A barrier that spins: the threads that pass it do so within a fraction of a microsecond, where
/// one that sleeps would let them begin some fifty apart.
#[derive(Default)]
pub struct Gate {
    arrived: AtomicUsize,
    passed: AtomicUsize,
}

impl Gate {
    /// Waits until so many threads are here.
    pub fn pass(&self, threads: usize) {
        // Acquire and Release throughout: what a thread did before the gate is seen behind it.
        let passed = self.passed.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.passed.store(passed + 1, Ordering::Release);
            return;
        }
        let mut turns = 0_u32;
        while self.passed.load(Ordering::Acquire) == passed {
            turns += 1;
            if turns > 1 << 12 {
                // Whoever is awaited may have no core to run on.
                thread::yield_now();
            }
            hint::spin_loop();
        }
    }
}
