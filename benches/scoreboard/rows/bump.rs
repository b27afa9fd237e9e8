//! `bump_hot`: one bump of one budget, by one thread and by all at once, on the machine's clock;
//! `bump_hot_manual` is the same on a clock that stands, as the floor and the naive reading read
//! none.

use super::{Group, cores};
use crate::ours;
use crate::peers::{direct, floor, naive};
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::rounds::measure;
use crate::scale::Scale;
use crate::side::Side;
use std::hint::black_box;
use std::sync::Arc;
use tollkeeper::{Clock, Engine, ManualClock, SystemClock, Timestamp};

pub const GROUP: Group = Group { rows: &["bump_hot", "bump_hot_manual"], measure: bump };

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn bump(scale: &Scale, progress: &Progress, report: &mut Report) {
    let mut crews = vec![1];
    crews.extend((cores() > 1).then(cores));
    for threads in crews {
        let sides = [
            Side::twins(|| bumps("bump_hot", SystemClock)),
            Side::twins(|| bumps("bump_hot_manual", ManualClock::new(START))),
            Side::twins(floor::fetch_add),
            Side::twins(floor::fetch_add_and_clock),
            Side::twins(naive::clone_and_swap),
            Side::twins(direct::mutex),
            Side::twins(direct::governor),
            Side::twins(direct::ratelimit),
            Side::twins(direct::rate_net),
            Side::twins(direct::leaky_bucket),
        ];
        let series = measure(&sides, threads, scale.hot, progress);
        let (ours, peers) = series.split_at(2);
        for (ours, side) in ours.iter().zip(&sides) {
            for (series, peer) in peers.iter().zip(&sides[2..]) {
                let row = Row::time(side.name, threads, 1, ours, peer.name, series);
                report.add(match peer.name {
                    "fetch_add" if threads == 1 && side.name == "bump_hot" => row.target(4.5),
                    "arc-swap, clone and swap" => row.target(0.2),
                    _ => row,
                });
            }
        }
    }
}

fn bumps(name: &'static str, clock: impl Clock) -> Side<'static> {
    let engine = Engine::builder().clock(clock).build();
    let route = Arc::new(ours::one(&engine, &[ours::budget()]));
    let used = ours::used();
    let count = (engine.clone(), Arc::clone(&route));
    Side::new(name, move |_| {
        let _ = black_box(engine.bump(&route, black_box(&used)));
        true
    })
    .counting(move || ours::booked(&count.0.route_usage(&count.1)))
}
