//! Clocks of every kind under the decisions: early, late, broken, and the machine's.
//!
//! A decision looks at an instant that has not passed yet (`Clock::soon`), and reads the time
//! (`Clock::now`) where a window ends before that. So:
//!
//! - A `soon` that is far ahead changes no answer: every decision is made by the exact time.
//! - A `soon` that is behind `now`, against its contract, is like a thread that stood still between
//!   reading the clock and deciding: a request may be booked in a window that has just ended, as
//!   long as nobody needed the exact time since. Whatever it is, counts are exact and no window
//!   passes its limit. What does not fit is decided by the exact time.

#[path = "clocks/broken.rs"]
mod broken;
#[path = "support/kit.rs"]
mod kit;
#[path = "clocks/machine.rs"]
mod machine;
#[path = "clocks/soon.rs"]
mod soon;
