//! Which notices have gone out in a window: each goes out once.
//!
//! # State
//!
//! One word: `generation (low 32 bits) | one bit for each notice`. A bit is set by the thread that
//! sends the notice and is forgotten with its window.
//!
//! # Proof
//!
//! A notice is sent by the thread whose compare-and-swap sets its bit in its generation. The bit is
//! never cleared in that generation and a word never returns to an older one, so no second swap can
//! set it. The counts are in another word (`counter`); the two need not agree, because a notice
//! that comes late for a window that is over is dropped here by its generation.
//!
//! # Limits
//!
//! Generations are compared by their distance on a 32-bit circle: they would be confused by a
//! thread that stood still for 2^31 windows.

use crate::sync::{AtomicU64, Ordering};

/// The bit of the notice that a limit is exhausted. The others are thresholds, in their order.
pub(crate) const EXHAUSTED: u32 = 31;

/// The notices of one counter's window.
pub(crate) struct Alarm(AtomicU64);

impl Alarm {
    pub(crate) fn new(generation: u64) -> Self {
        Self(AtomicU64::new(low_32(generation) << 32))
    }

    /// True for exactly one caller for each `bit` in each `generation`.
    pub(crate) fn ring(&self, generation: u64, bit: u32) -> bool {
        let generation = low_32(generation);
        // Relaxed, here and below: the word publishes nothing; the swap alone decides who sends.
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let bits = match generation.wrapping_sub(seen >> 32) & 0xffff_ffff {
                0 => seen & 0xffff_ffff,
                ahead if ahead < 1 << 31 => 0,
                _ => return false,
            };
            if bits & (1 << bit) != 0 {
                return false;
            }
            let rung = generation << 32 | bits | 1 << bit;
            // Relaxed: as above.
            match self.0.compare_exchange_weak(seen, rung, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(current) => seen = current,
            }
        }
    }
}

fn low_32(generation: u64) -> u64 {
    generation & 0xffff_ffff
}

#[cfg(all(test, not(tollkeeper_loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_notice_once_a_window_and_none_for_a_window_that_is_over() {
        let alarm = Alarm::new(5);
        assert!(alarm.ring(5, 0));
        assert!(!alarm.ring(5, 0));
        assert!(alarm.ring(5, EXHAUSTED));
        assert!(alarm.ring(6, 0));
        assert!(!alarm.ring(5, 1), "window 5 is over");
        assert!(alarm.ring(6, 1));
    }

    #[test]
    fn generations_wrap() {
        let alarm = Alarm::new(u64::from(u32::MAX));
        assert!(alarm.ring(u64::from(u32::MAX), 3));
        assert!(alarm.ring(u64::from(u32::MAX) + 1, 3));
        assert!(!alarm.ring(u64::from(u32::MAX), 4));
    }
}
