//! `limitador3`: one decision over three limits.

use super::Group;
use crate::ours;
use crate::peers::limitador;
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::rounds::measure;
use crate::scale::Scale;
use crate::side::Side;
use tollkeeper::Engine;

pub const GROUP: Group = Group { rows: &["limitador3"], measure: three };

const OWNERS: usize = 3;

fn three(scale: &Scale, progress: &Progress, report: &mut Report) {
    let sides =
        [Side::twins(passes), Side::twins(limitador::by_variable), Side::twins(limitador::plain)];
    let series = measure(&sides, 1, scale.hot, progress);
    let row = |peer: usize| {
        Row::time("limitador3", 1, OWNERS, &series[0], sides[peer].name, &series[peer])
    };
    report.add(row(1).target(0.1));
    report.add(row(2));
}

fn passes() -> Side<'static> {
    let engine = Engine::new();
    let route = ours::chain(&engine, "one", OWNERS, &[ours::requests()]);
    let (estimate, used) = (ours::estimate(), ours::used());
    let counted = (engine.clone(), route.clone());
    Side::new("limitador3", move |_| ours::pass(&engine, &route, &estimate, &used))
        .counting(move || ours::booked(&counted.0.route_usage(&counted.1)))
}
