//! `boundary_storm`: what a reserve takes, one time in a thousand, while the windows of all owners
//! end at one instant, and what it takes otherwise.

use super::Group;
use crate::drawn::{id, rng, shuffled};
use crate::ours;
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::rounds::waited;
use crate::scale::Scale;
use crate::side::median;
use std::hint::black_box;
use std::time::{Duration, Instant};
use tollkeeper::{Decision, Engine, ManualClock, Route, Timestamp};

pub const GROUP: Group = Group { rows: &["boundary_storm"], measure: storm };

const DAY: Duration = Duration::from_secs(86_400);

fn storm(scale: &Scale, progress: &Progress, report: &mut Report) {
    let owners = scale.entries;
    progress.say(format!("making {owners} owners"));
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let engine = Engine::builder().clock(clock.clone()).build();
    // All put in force at one instant, so all their windows end at one.
    engine.apply(&ours::document_of_requests((0..owners).map(id))).expect("it fits");
    let routes: Vec<Route> = (0..owners).map(|number| ours::keyed(&engine, &id(number))).collect();
    let mut rng = rng();
    let mut latencies = Vec::with_capacity(owners);
    let (mut calm, mut storm) = (Vec::new(), Vec::new());
    progress.begin(2 * scale.storms);
    pass(&engine, &routes, &shuffled(owners, &mut rng), &mut latencies);
    for _ in 0..scale.storms {
        // The same owners in the same order, with and without a window that ends.
        let order = shuffled(owners, &mut rng);
        calm.push(pass(&engine, &routes, &order, &mut latencies));
        progress.step();
        clock.advance(DAY);
        storm.push(pass(&engine, &routes, &order, &mut latencies));
        progress.step();
        // Each owner was asked for once since the boundary, and nothing of before it is counted.
        assert_eq!(ours::booked_by_all(&engine), owners as u64);
    }
    let ours = median(storm);
    let row = Row::of("boundary_storm", owners, ours, "the same, no window ends", median(calm));
    report.add(row.target(3.0));
    progress.say("dropping them");
}

/// So many reserves, a few milliseconds of them, are left out if the thread waited for a core
/// meanwhile: what others do on this machine is longer than anything that is looked for.
const CHUNK: usize = 1_000;

/// Reserves and settles on every route once, and returns the 99.9th percentile of the reserves in
/// nanoseconds, the reading of the time included.
fn pass(engine: &Engine, routes: &[Route], order: &[u32], latencies: &mut Vec<u32>) -> f64 {
    let (estimate, used) = (ours::estimate(), ours::used());
    latencies.clear();
    for chunk in order.chunks(CHUNK) {
        let (before, kept) = (waited(), latencies.len());
        for number in chunk {
            let began = Instant::now();
            let decision = engine.reserve(&routes[*number as usize], black_box(&estimate));
            let took = began.elapsed();
            latencies.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
            match decision {
                Decision::Admitted(reservation) => {
                    let _ = black_box(reservation.settle(&used));
                }
                Decision::Denied(denied) => panic!("{denied}"),
            }
        }
        if waited() > before {
            latencies.truncate(kept);
        }
    }
    assert!(latencies.len() >= order.len() / 10, "this machine has no time to measure anything");
    let place = latencies.len() / 1_000 * 999;
    f64::from(*latencies.select_nth_unstable(place).1)
}
