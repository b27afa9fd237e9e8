//! Which notices have gone out in a window: each goes out once.
//!
//! # State
//!
//! One word: `generation (low bits) | one bit for each percentage | exhausted`. A bit is set by the
//! thread that sends the notice and is forgotten with its window. A percentage has the bit of its
//! number, not of its place among a limit's thresholds: those may be others by the next booking.
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
//! Generations are compared by their distance on a circle of 2^27: they would be confused by a
//! thread that stood still for 2^26 windows.

use crate::sync::{AtomicWord, Bits, Ordering};

/// The bit of the notice that a limit is exhausted.
pub(crate) const EXHAUSTED: u32 = 0;

/// The bits for notices. Under loom the word is too narrow for all, and some share a bit.
#[cfg(not(tollkeeper_loom))]
const NOTICES: u32 = 101;
#[cfg(tollkeeper_loom)]
const NOTICES: u32 = 37;

const GENERATION_BITS: u32 = Bits::BITS - NOTICES;
const CIRCLE: Bits = (1 << GENERATION_BITS) - 1;

/// The bit of the notice that a threshold is reached, of 1 to 100 percent.
pub(crate) fn threshold(percent: u8) -> u32 {
    1 + (u32::from(percent) - 1) % (NOTICES - 1)
}

/// The notices of one counter's window.
pub(crate) struct Alarm(AtomicWord);

impl Alarm {
    pub(crate) fn new(generation: u64) -> Self {
        Self(AtomicWord::new(on_circle(generation) << NOTICES))
    }

    /// True for exactly one caller for each `bit` in each `generation`.
    pub(crate) fn ring(&self, generation: u64, bit: u32) -> bool {
        let generation = on_circle(generation);
        // Relaxed, here and below: the word publishes nothing; the swap alone decides who sends.
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let bits = match generation.wrapping_sub(seen >> NOTICES) & CIRCLE {
                0 => seen & ((1 << NOTICES) - 1),
                ahead if ahead <= CIRCLE / 2 => 0,
                _ => return false,
            };
            if bits & (1 << bit) != 0 {
                return false;
            }
            let rung = generation << NOTICES | bits | 1 << bit;
            // Relaxed: as above.
            match self.0.compare_exchange_weak(seen, rung, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(current) => seen = current,
            }
        }
    }
}

fn on_circle(generation: u64) -> Bits {
    Bits::from(generation) & CIRCLE
}

#[cfg(all(test, not(tollkeeper_loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_notice_once_a_window_and_none_for_a_window_that_is_over() {
        let alarm = Alarm::new(5);
        assert!(alarm.ring(5, threshold(1)));
        assert!(!alarm.ring(5, threshold(1)));
        assert!(alarm.ring(5, EXHAUSTED));
        assert!(alarm.ring(6, threshold(1)));
        assert!(!alarm.ring(5, threshold(100)), "window 5 is over");
        assert!(alarm.ring(6, threshold(100)));
    }

    #[test]
    fn every_notice_has_a_bit_of_its_own() {
        let alarm = Alarm::new(0);
        assert!(alarm.ring(0, EXHAUSTED));
        for percent in 1..=100 {
            assert!(alarm.ring(0, threshold(percent)), "{percent}");
        }
        // Relaxed: one thread.
        assert_eq!(on_circle(0), alarm.0.load(Ordering::Relaxed) >> NOTICES);
    }

    #[test]
    fn generations_wrap() {
        let last = u64::try_from(CIRCLE).expect("it is 27 bits");
        let alarm = Alarm::new(last);
        assert!(alarm.ring(last, threshold(3)));
        assert!(alarm.ring(last + 1, threshold(3)));
        assert!(!alarm.ring(last, threshold(4)));
    }
}
