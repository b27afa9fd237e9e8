//! `route15`: reserve and settle on a kept route of fifteen counters, from one thread to all cores,
//! all of them on the same route.

use super::{Group, crews};
use crate::ours;
use crate::peers::{floor, governor};
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::rounds::measure;
use crate::scale::Scale;
use crate::side::Side;
use tollkeeper::{Engine, Route};

pub const GROUP: Group =
    Group { rows: &["route15", "route15_handles", "route15_scaling"], measure: route15 };

const OWNERS: usize = 5;

fn route15(scale: &Scale, progress: &Progress, report: &mut Report) {
    let mut alone: Option<Vec<f64>> = None;
    for threads in crews() {
        // All threads on the one handle, then each on its own to the same limits.
        let sides = [
            Side::twins(|| passes("route15", 1)),
            Side::twins(|| passes("route15_handles", threads)),
            Side::twins(governor::checks::<15>),
            Side::twins(|| floor::twice::<15>(1)),
            Side::twins(floor::swap_twice::<15>),
        ];
        let series = measure(&sides, threads, scale.hot, progress);
        let peers = || sides[2..].iter().zip(&series[2..]);
        for (side, ours) in sides[..2].iter().zip(&series) {
            if threads == 1 && side.name != "route15" {
                // Alone it is the same.
                continue;
            }
            for (peer, theirs) in peers() {
                let row = Row::time(side.name, threads, OWNERS, ours, peer.name, theirs);
                let governor = peer.name.starts_with("governor");
                let added = peer.name.starts_with("fetch_add");
                report.add(match (side.name, threads) {
                    ("route15", 1) if governor => row.target(0.55),
                    ("route15", 1) if added => row.target(2.7),
                    ("route15", _) if governor => row.target(0.3),
                    _ => row,
                });
            }
        }
        let medians: Vec<_> = series.iter().map(|series| series.median()).collect();
        let Some(alone) = &alone else {
            alone = Some(medians);
            continue;
        };
        // How much longer one operation takes than when its thread is alone.
        let factors: Vec<_> = medians.iter().zip(alone).map(|(all, one)| all / one).collect();
        for (peer, factor) in sides[2..].iter().zip(&factors[2..]) {
            let name = "route15_scaling";
            report.add(Row::factor(name, threads, OWNERS, factors[0], peer.name, *factor));
        }
    }
}

/// On one route, by so many handles.
fn passes(name: &'static str, handles: usize) -> Side<'static> {
    let engine = Engine::new();
    let limits = [ours::budget(), ours::rate_limit()];
    let route = ours::chain(&engine, "one", OWNERS, &limits);
    let handles: Vec<Route> = (0..handles).map(|_| engine.route(route.owners())).collect();
    let (estimate, used) = (ours::estimate(), ours::used());
    let counted = engine.clone();
    Side::new(name, move |thread| {
        ours::pass(&engine, &handles[thread % handles.len()], &estimate, &used)
    })
    .counting(move || ours::booked(&counted.route_usage(&route)))
}
