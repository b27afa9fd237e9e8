//! `keyed_zipf` and `growth`: an owner looked up by its text, then reserve and settle.

use super::{Group, cores};
use crate::drawn::{Draws, Walk, id};
use crate::ours;
use crate::peers::{governor, keyed};
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::rounds::measure;
use crate::scale::Scale;
use crate::side::Side;
use tollkeeper::{Engine, Limit};

pub const TWO_COUNTERS: Group = Group { rows: &["keyed_zipf", "growth"], measure: two_counters };

pub const ONE_COUNTER: Group = Group { rows: &["keyed_zipf_requests"], measure: one_counter };

fn two_counters(scale: &Scale, progress: &Progress, report: &mut Report) {
    let (many, few) = (scale.entries, scale.few);
    progress.say(format!("drawing {} of {many} keys", scale.draws));
    let (draws, few_draws) = (Draws::new(scale.draws, many), Draws::new(scale.draws, few));
    let walks = Walks { draws: &draws, sides: 8, threads: cores() };
    let few_walks = Walks { draws: &few_draws, sides: 2, threads: 1 };
    progress.say(format!("making {many} owners"));
    let ours_many = passes(&population(many, &ours::rate_limit()), walks.of(0));
    let ours_few = passes(&population(few, &ours::rate_limit()), few_walks.of(0));
    progress.say(format!("making {many} keys of each of the others"));
    let sides = [
        ours_many,
        ours_few,
        keyed::words(many, walks.of(1)),
        keyed::words(few, few_walks.of(1)),
        governor::drawn((0..many).map(id), walks.of(2)),
        keyed::rate_net(many, walks.of(3)),
        keyed::throttlecrab(many, walks.of(4)),
        keyed::pingora(walks.of(5)),
    ];
    let series = measure(&sides, 1, scale.cold, progress);
    for place in [4, 2, 5, 6, 7] {
        let row = Row::time("keyed_zipf", 1, many, &series[0], sides[place].name, &series[place]);
        report.add(if place == 4 { row.target(1.3) } else { row });
    }
    let growth = |many: usize| series[many].median() / series[many + 1].median();
    let floor = sides[2].name;
    report.add(Row::factor("growth", 1, many, growth(0), floor, growth(2)).target(1.5));
    if cores() > 1 {
        // The first five without the few, and not the one that is for one thread.
        let [ours, _, words, _, governor, rate_net, ..] = sides;
        let sides = [ours, governor, words, rate_net];
        let series = measure(&sides, cores(), scale.cold, progress);
        for (side, theirs) in sides.iter().zip(&series).skip(1) {
            let row = Row::time("keyed_zipf", cores(), many, &series[0], side.name, theirs);
            report.add(row);
        }
    }
    progress.say("dropping them");
}

fn one_counter(scale: &Scale, progress: &Progress, report: &mut Report) {
    let many = scale.entries;
    progress.say(format!("making {many} owners and keys"));
    let draws = Draws::new(scale.draws, many);
    let walks = Walks { draws: &draws, sides: 2, threads: 1 };
    let sides = [
        passes(&population(many, &ours::requests()), walks.of(0)),
        governor::drawn((0..many).map(id), walks.of(1)),
    ];
    let series = measure(&sides, 1, scale.cold, progress);
    let (ours, theirs) = (&series[0], &series[1]);
    let row = Row::time("keyed_zipf_requests", 1, many, ours, sides[1].name, theirs);
    report.add(row.target(1.3));
    progress.say("dropping them");
}

/// The ways of all threads of all sides through the same draws.
struct Walks<'a> {
    draws: &'a Draws,
    sides: usize,
    threads: usize,
}

impl<'a> Walks<'a> {
    fn of(&self, side: usize) -> Vec<Walk<'a>> {
        let all = self.sides * self.threads;
        let place = |thread| side * self.threads + thread;
        (0..self.threads).map(|thread| self.draws.walk(place(thread), all)).collect()
    }
}

/// So many owners, each with one limit.
fn population(owners: usize, limit: &Limit) -> Engine {
    let engine = Engine::new();
    for number in 0..owners {
        ours::add(&engine, &id(number), &[], std::slice::from_ref(limit));
    }
    engine
}

fn passes<'a>(engine: &Engine, walks: Vec<Walk<'a>>) -> Side<'a> {
    let (engine, counted) = (engine.clone(), engine.clone());
    let (estimate, used) = (ours::estimate(), ours::used());
    Side::in_batches("keyed_zipf", move |thread, times| {
        walks[thread].each(times, |id| {
            let route = ours::keyed(&engine, id);
            ours::pass(&engine, &route, &estimate, &used)
        })
    })
    .counting(move || ours::booked_by_all(&counted))
}
