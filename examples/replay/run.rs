//! The replay on one thread: exact virtual time, everything in one order.

use super::gate::{Gate, Pass};
use super::log::{Entry, Log, Reading, What};
use super::progress::Progress;
use super::schedule::{Happening, Schedule};
use super::traffic::Request;
use std::time::Duration;
use tollkeeper::{ManualClock, Timestamp, Usage};

const MINUTE: Duration = Duration::from_secs(60);

/// Replays the requests, each with its estimate, from the time the clock shows.
pub fn replay(
    gate: &Gate,
    clock: &ManualClock,
    start: Timestamp,
    requests: &[Request],
    estimates: &[Usage],
) -> Log {
    let mut schedule = Schedule::default();
    for (index, request) in requests.iter().enumerate() {
        schedule.add(request.arrival, Happening::Arrival(index));
    }
    let mut run = Run {
        gate,
        requests,
        estimates,
        passes: requests.iter().map(|_| None).collect(),
        log: Log::default(),
        progress: Progress::new(requests.len()),
    };
    let (mut last, mut minute) = (start, start);
    while !schedule.is_empty() {
        minute = minute.saturating_add(MINUTE);
        while let Some((at, what)) = schedule.next_by(minute) {
            clock.set(at);
            last = at;
            run.happen(at, what, &mut schedule);
        }
        if !schedule.is_empty() {
            clock.set(minute);
            run.read(minute);
        }
    }
    clock.set(last);
    gate.sweep();
    run.read(last);
    run.log.missed = gate.missed();
    run.progress.finish();
    run.log
}

struct Run<'a> {
    gate: &'a Gate,
    requests: &'a [Request],
    estimates: &'a [Usage],
    passes: Vec<Option<Pass>>,
    log: Log,
    progress: Progress,
}

impl Run<'_> {
    fn happen(&mut self, at: Timestamp, what: Happening, schedule: &mut Schedule) {
        let (request, what) = match what {
            Happening::Arrival(index) => {
                self.progress.tick(self.gate);
                let (request, estimate) = (&self.requests[index], self.estimates[index]);
                let what = match self.gate.ask(request, &estimate) {
                    Ok(pass) => {
                        let what = What::passed(&pass, estimate);
                        self.passes[index] = Some(pass);
                        schedule.add(at.saturating_add(request.takes), Happening::End(index));
                        what
                    }
                    Err(by) => What::Denied { estimate, by },
                };
                (index, what)
            }
            Happening::End(index) => {
                let pass = self.passes[index].take().expect("only what was let through ends");
                (index, What::Ended(self.gate.end(pass, index, &self.requests[index])))
            }
        };
        self.log.entries.push(Entry { from: at, until: at, request, what });
    }

    fn read(&mut self, at: Timestamp) {
        let usage = self.gate.read();
        self.log.readings.push(Reading { at, after: self.log.entries.len(), usage });
        self.gate.take_events(&mut self.log.events);
    }
}
