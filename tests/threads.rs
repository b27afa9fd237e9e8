//! Real threads: what holds on one thread holds on many, to the last unit.
//!
//! The models try every interleaving of a few steps; these try some interleavings of very many.

#[path = "threads/competition.rs"]
mod competition;
#[path = "threads/conservation.rs"]
mod conservation;
#[path = "support/kit.rs"]
mod kit;
#[path = "threads/races.rs"]
mod races;

use std::thread;

/// Runs a body on so many threads at once, and returns what each came to.
fn on_threads<R: Send>(count: usize, body: impl Fn(usize) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let body = &body;
        let threads: Vec<_> = (0..count).map(|n| scope.spawn(move || body(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Numbers that look random and are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn new(seed: usize) -> Self {
        Numbers(0x9e37_79b9_7f4a_7c15 ^ ((seed as u64 + 1) << 20))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}
