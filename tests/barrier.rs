//! The cost barrier: one call of a user at a time, in the order in which they came, in one process
//! and among several, whatever becomes of the callers, of the lock, and of the time.
//!
//! Most of it is played by hand: one thread, a clock that moves when told to, futures polled one by
//! one. What real threads and a runtime add is in `barrier/runtime.rs`.

#[path = "barrier/deadlines.rs"]
mod deadlines;
#[path = "barrier/hand.rs"]
mod hand;
#[path = "barrier/histories.rs"]
mod histories;
#[path = "barrier/order.rs"]
mod order;
#[path = "barrier/replicas.rs"]
mod replicas;
#[path = "barrier/runtime.rs"]
mod runtime;
#[path = "barrier/sections.rs"]
mod sections;
#[path = "barrier/simulated.rs"]
mod simulated;
