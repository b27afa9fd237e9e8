//! `depth_hot` and `depth_own`: reserve and settle on one to eight owners of three counters each,
//! all threads on one route or each on its own, beside the floor.

use super::{Group, cores};
use crate::ours;
use crate::peers::floor;
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::rounds::measure;
use crate::scale::Scale;
use crate::side::Side;
use tollkeeper::{Engine, Route};

pub const GROUP: Group = Group { rows: &["depth_hot", "depth_own"], measure: depths };

fn depths(scale: &Scale, progress: &Progress, report: &mut Report) {
    // Alone there is nothing that a thread could share.
    let mut kinds = vec![("depth_own", 1)];
    if cores() > 1 {
        kinds.extend([("depth_own", cores()), ("depth_hot", cores())]);
    }
    for depth in 1..=8 {
        for (name, threads) in &kinds {
            let sets = if *name == "depth_own" { *threads } else { 1 };
            let sides =
                [Side::twins(|| passes(name, depth, sets)), Side::twins(|| floor(depth, sets))];
            let series = measure(&sides, *threads, scale.curve, progress);
            let floor = sides[1].name;
            report.add(Row::time(name, *threads, depth, &series[0], floor, &series[1]));
        }
    }
}

/// On so many routes of so many owners each. The threads have them in turn.
fn passes(name: &'static str, depth: usize, routes: usize) -> Side<'static> {
    let engine = Engine::new();
    let limits = [ours::budget(), ours::rate_limit()];
    let routes: Vec<Route> = (0..routes)
        .map(|route| ours::chain(&engine, &format!("r{route}"), depth, &limits))
        .collect();
    let (estimate, used) = (ours::estimate(), ours::used());
    let counted = (engine.clone(), routes.clone());
    Side::new(name, move |thread| {
        ours::pass(&engine, &routes[thread % routes.len()], &estimate, &used)
    })
    .counting(move || {
        let (engine, routes) = &counted;
        routes.iter().map(|route| ours::booked(&engine.route_usage(route))).sum()
    })
}

fn floor(depth: usize, sets: usize) -> Side<'static> {
    match depth {
        1 => floor::twice::<3>(sets),
        2 => floor::twice::<6>(sets),
        3 => floor::twice::<9>(sets),
        4 => floor::twice::<12>(sets),
        5 => floor::twice::<15>(sets),
        6 => floor::twice::<18>(sets),
        7 => floor::twice::<21>(sets),
        8 => floor::twice::<24>(sets),
        _ => panic!("no floor was made for a depth of {depth}"),
    }
}
