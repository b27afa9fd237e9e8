//! The replay on many threads, as fast as they can: for stress, with time compressed.
//!
//! The threads take requests off one queue and push one virtual clock forward. Each ends what it
//! let through when the next request it takes comes after that end, so admissions, ends and the
//! ends of windows race as they do in a gateway. Virtual time is approximate here: an end may come
//! late, never early.

use super::gate::{Gate, Pass};
use super::log::{Entry, Log, Reading, What};
use super::progress::Progress;
use super::traffic::Request;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use tollkeeper::{Clock, Timestamp, Usage};

/// A virtual clock that many threads push forward and none pushes back. Clones show one time.
#[derive(Clone)]
pub struct ForwardClock(Arc<AtomicU64>);

impl ForwardClock {
    pub fn new(start: Timestamp) -> ForwardClock {
        ForwardClock(Arc::new(AtomicU64::new(start.as_nanos())))
    }

    /// Makes it at least this late.
    fn forward(&self, to: Timestamp) {
        // SeqCst, so that all threads agree on one order of readings: the census relies on it.
        self.0.fetch_max(to.as_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ForwardClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// Replays the requests, each with its estimate, on so many threads.
pub fn replay(
    gate: &Gate,
    clock: &ForwardClock,
    threads: usize,
    requests: &[Request],
    estimates: &[Usage],
) -> Log {
    let (next, begin) = (AtomicUsize::new(0), Barrier::new(threads));
    let mut log = Log::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let worker =
                    Worker { gate, clock, requests, estimates, waiting: BinaryHeap::new() };
                let (next, begin) = (&next, &begin);
                scope.spawn(move || {
                    begin.wait();
                    worker.work(next)
                })
            })
            .collect();
        let mut progress = Progress::new(requests.len());
        while workers.iter().any(|worker| !worker.is_finished()) {
            gate.take_events(&mut log.events);
            progress.reach(next.load(Ordering::Relaxed), gate);
            std::thread::sleep(Duration::from_micros(200));
        }
        progress.finish();
        for worker in workers {
            log.entries.extend(worker.join().expect("a worker does not panic"));
        }
    });
    // Stable: what one thread did at one instant stays in its order.
    log.entries.sort_by_key(|entry| entry.from);
    if let Some(clerk) = gate.clerk() {
        // What nobody waited for.
        clerk.flush();
        log.deferred = true;
    }
    gate.sweep();
    let reading = Reading { at: clock.now(), after: log.entries.len(), usage: gate.read() };
    log.readings.push(reading);
    gate.take_events(&mut log.events);
    log.missed = gate.missed();
    log
}

struct Worker<'a> {
    gate: &'a Gate,
    clock: &'a ForwardClock,
    requests: &'a [Request],
    estimates: &'a [Usage],
    waiting: BinaryHeap<Reverse<Waiting>>,
}

impl Worker<'_> {
    fn work(mut self, next: &AtomicUsize) -> Vec<Entry> {
        let mut log = Vec::new();
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(request) = self.requests.get(index)
        {
            self.end_until(request.arrival, &mut log);
            self.clock.forward(request.arrival);
            let (from, estimate) = (self.clock.now(), self.estimates[index]);
            let answer = self.gate.ask(request, &estimate);
            let until = self.clock.now();
            let what = match answer {
                Ok(pass) => {
                    let what = What::passed(&pass, estimate);
                    let at = request.arrival.saturating_add(request.takes);
                    self.waiting.push(Reverse(Waiting { at, index, pass }));
                    what
                }
                Err(by) => What::Denied { estimate, by },
            };
            log.push(Entry { from, until, request: index, what });
        }
        self.end_until(Timestamp::MAX, &mut log);
        log
    }

    /// Ends what is to end by an instant, in its order.
    fn end_until(&mut self, until: Timestamp, log: &mut Vec<Entry>) {
        while self.waiting.peek().is_some_and(|Reverse(waiting)| waiting.at <= until) {
            let Some(Reverse(Waiting { at, index: request, pass })) = self.waiting.pop() else {
                break;
            };
            self.clock.forward(at);
            let from = self.clock.now();
            let what = What::Ended(self.gate.end(pass, request, &self.requests[request]));
            log.push(Entry { from, until: self.clock.now(), request, what });
        }
    }
}

/// A request that was let through and is to end.
struct Waiting {
    at: Timestamp,
    index: usize,
    pass: Pass,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.index) == (other.at, other.index)
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.index).cmp(&(other.at, other.index))
    }
}
