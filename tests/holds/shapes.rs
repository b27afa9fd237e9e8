//! Routes of many shapes, each played through against amounts that are worked out here.

use tollkeeper::{
    Budget, Concurrency, Denied, Dimension, RateLimit, Reservation, Route, Settlement,
    TokenWeights, Usage,
};

use crate::kit::*;

/// Enough for whatever is played.
const ENOUGH: u64 = 1_000_000;

/// One counter of a route.
#[derive(Clone, Debug)]
struct Line {
    limit: String,
    dimension: Dimension,
    /// Thousandths that a token weighs here.
    weight: u32,
}

impl Line {
    /// What a request is to it; nothing in flight is booked.
    fn amount(&self, usage: &Usage, in_flight: u64) -> u64 {
        match self.dimension {
            Dimension::Money => usage.cost.as_nanos(),
            Dimension::Tokens => {
                (usage.input_tokens * u64::from(self.weight)).div_ceil(1_000) + usage.output_tokens
            }
            Dimension::Requests => usage.requests,
            Dimension::InFlight => in_flight,
        }
    }
}

/// A route of so many counters, whose token limits weigh in so many different ways.
struct Scene {
    kit: Kit,
    route: Route,
    lines: Vec<Line>,
}

fn weight(n: usize, weights: usize) -> u32 {
    1_000 + 500 * u32::try_from(n % weights).unwrap()
}

/// Each limit admits what `admits` says of its counter.
fn scene(counters: usize, weights: usize, admits: impl Fn(&Line) -> u64) -> Scene {
    let kit = kit().with_room(1);
    let mut lines: Vec<Line> = Vec::new();
    let mut limits = 0;
    while lines.len() < counters {
        let left = counters - lines.len();
        let (limit, weight) = (format!("l{limits:02}"), weight(limits / 3, weights));
        let line = |dimension| Line { limit: limit.clone(), dimension, weight };
        let definition: tollkeeper::Limit = match limits % 3 {
            0 => {
                lines.push(line(Dimension::Money));
                Budget::new(nanos(admits(&lines[lines.len() - 1])), per("1h")).into()
            }
            1 if left >= 2 => {
                lines.extend([line(Dimension::Tokens), line(Dimension::Requests)]);
                let [.., tokens, requests] = lines.as_slice() else { unreachable!() };
                let rate = RateLimit::new().tokens(admits(tokens), per("1h"));
                let weights = TokenWeights { input: weight, ..TokenWeights::default() };
                rate.requests(admits(requests), per("1h")).weights(weights).into()
            }
            _ => {
                lines.push(line(Dimension::InFlight));
                Concurrency::new(admits(&lines[lines.len() - 1])).into()
            }
        };
        kit.limit("key:k", &limit, definition);
        limits += 1;
    }
    let route = kit.route(&["key:k"]);
    Scene { kit, route, lines }
}

/// Lengths on both sides of what is kept in place, by numbers of weights on both sides of what is
/// worked out beforehand.
fn shapes() -> impl Iterator<Item = (usize, usize)> {
    [1, 3, 16, 23, 24, 25, 40].into_iter().flat_map(|n| [1, 2, 3, 5].map(|weights| (n, weights)))
}

fn usage(input_tokens: u64, output_tokens: u64, cost: u64) -> Usage {
    Usage { input_tokens, output_tokens, requests: 1, cost: nanos(cost), ..Usage::default() }
}

impl Scene {
    fn try_reserve(&self, usage: &Usage) -> Result<Reservation, Denied> {
        self.kit.engine.reserve(&self.route, usage).into_result()
    }

    fn reserve(&self, usage: &Usage) -> Reservation {
        self.try_reserve(usage).expect("there is room")
    }

    /// Each counter reads what `expected` says of it: settled and held.
    fn reads(&self, expected: impl Fn(&Line) -> (u64, u64)) {
        for line in &self.lines {
            let counter = self.kit.counter(&line.limit, line.dimension);
            assert_eq!((counter.settled, counter.held), expected(line), "{line:?}");
        }
    }

    /// Nothing is held, and `settled` is the sum of what was booked on each counter.
    fn settled(&self, settled: &[&Usage]) {
        self.reads(|line| (settled.iter().map(|usage| line.amount(usage, 0)).sum(), 0));
    }
}

/// The routes are what they are said to be.
#[test]
fn the_shapes_have_that_many_counters_and_weights() {
    for (counters, weights) in shapes() {
        let scene = scene(counters, weights, |_| ENOUGH);
        let all = scene.kit.engine.route_usage(&scene.route);
        let count: usize = all.iter().map(|usage| usage.counters.len()).sum();
        assert_eq!((count, scene.lines.len()), (counters, counters));
    }
    let mut seen: Vec<u32> = scene(40, 5, |_| ENOUGH).lines.iter().map(|l| l.weight).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1_000, 1_500, 2_000, 2_500, 3_000]);
}

#[test]
fn each_counter_holds_its_amount_until_the_reservation_ends() {
    for (counters, weights) in shapes() {
        let scene = scene(counters, weights, |_| ENOUGH);
        let (estimate, more, used) = (usage(7, 2, 11), usage(5, 1, 3), usage(9, 9, 30));
        let mut reservation = scene.reserve(&estimate);
        scene.reads(|line| (0, line.amount(&estimate, 1)));
        reservation.extend(&more).expect("there is room");
        scene.reads(|line| (0, line.amount(&estimate, 1) + line.amount(&more, 0)));
        assert_eq!(reservation.settle(&used), Settlement::default());
        scene.settled(&[&used]);

        scene.reserve(&estimate).void();
        scene.settled(&[&used]);
        drop(scene.reserve(&estimate));
        scene.settled(&[&used]);

        let mut dispatched = scene.reserve(&estimate);
        dispatched.extend(&more).expect("there is room");
        dispatched.mark_dispatched();
        drop(dispatched);
        scene.settled(&[&used, &estimate, &more]);
        assert_eq!(scene.kit.engine.bump(&scene.route, &used), Settlement::default());
        scene.settled(&[&used, &estimate, &more, &used]);
    }
}

/// Several at once, that end in another order than they began.
#[test]
fn reservations_on_one_route_do_not_end_each_others_holds() {
    for (counters, weights) in shapes() {
        let scene = scene(counters, weights, |_| ENOUGH);
        let usages: Vec<Usage> = (1..=4).map(|n| usage(n, 10 * n, 100 * n)).collect();
        let mut open: Vec<_> = usages.iter().map(|usage| Some(scene.reserve(usage))).collect();
        let held = |open: &[Option<Reservation>], line: &Line| -> u64 {
            let all = open.iter().zip(&usages).filter(|(reservation, _)| reservation.is_some());
            all.map(|(_, usage)| line.amount(usage, 1)).sum()
        };
        for (round, n) in [2, 0, 3, 1].into_iter().enumerate() {
            let _ = open[n].take().expect("it ends once").settle(&usage(1, 0, 1));
            let settled = (round + 1) as u64;
            scene.reads(|line| (settled * line.amount(&usage(1, 0, 1), 0), held(&open, line)));
        }
    }
}

/// L6: refused by the last counter of all, a request holds nothing on those before it, and an
/// extension leaves what was held.
#[test]
fn refused_by_the_last_counter_nothing_more_is_held() {
    for (counters, weights) in shapes() {
        let scene = scene(counters, weights, |_| ENOUGH);
        scene.kit.limit("key:k", "last", Budget::new(nanos(20), per("1h")));
        for n in 0..3 {
            let denied = scene.try_reserve(&usage(7, 2, 21)).unwrap_err();
            assert_eq!(named(&denied), [("last".into(), Dimension::Money)], "{n}");
            scene.settled(&[]);
        }
        let estimate = usage(7, 2, 11);
        let mut reservation = scene.reserve(&estimate);
        for more in [usage(5, 1, 10), usage(0, 0, 10), usage(5, 0, 10)] {
            let denied = reservation.extend(&more).unwrap_err();
            assert_eq!(named(&denied), [("last".into(), Dimension::Money)]);
            scene.reads(|line| (0, line.amount(&estimate, 1)));
            assert_eq!(scene.kit.counts("last"), (0, 11));
        }
        reservation.extend(&usage(5, 1, 9)).expect("that is what is left");
        assert_eq!(scene.kit.counts("last"), (0, 20));
        let _ = reservation.settle(&estimate);
        scene.settled(&[&estimate]);
        assert_eq!(scene.kit.counts("last"), (11, 0));
    }
}

/// Holds end last first; what there is to say of them is told in the order of the route.
#[test]
fn overshoots_are_in_the_order_of_the_route() {
    let (estimate, used) = (usage(7, 2, 11), usage(20, 7, 19));
    let of = |settlement: &Settlement| -> Vec<_> {
        let overshoots = settlement.overshoots().iter();
        overshoots.map(|o| (o.limit.to_string(), o.dimension, o.amount, o.uncounted)).collect()
    };
    for (counters, weights) in shapes() {
        // Every other counter has room for the estimate alone, so that some are settled the usual
        // way, on both sides of some that are not.
        for odd in [0, 1] {
            let tight = |line: &Line| {
                let number: usize = line.limit[1..].parse().unwrap();
                number % 2 == odd
            };
            let admits = |line: &Line| if tight(line) { line.amount(&estimate, 1) } else { ENOUGH };
            let scene = scene(counters, weights, admits);
            let expected: Vec<_> = scene
                .lines
                .iter()
                .filter(|line| tight(line))
                .map(|line| (line, line.amount(&used, 0).saturating_sub(line.amount(&estimate, 1))))
                .filter(|(_, above)| *above > 0)
                .map(|(line, above)| (line.limit.clone(), line.dimension, above, 0))
                .collect();
            let settlement = scene.reserve(&estimate).settle(&used);
            assert_eq!(of(&settlement), expected, "{counters} counters, {weights} weights");
            assert!(!settlement.is_late());
            scene.settled(&[&used]);
            // A bump of the same on top overshoots by all of it, in the same order.
            let settlement = scene.kit.engine.bump(&scene.route, &used);
            let all: Vec<_> = scene
                .lines
                .iter()
                .filter(|line| tight(line) && line.dimension != Dimension::InFlight)
                .map(|line| (line.limit.clone(), line.dimension, line.amount(&used, 0), 0))
                .collect();
            assert_eq!(of(&settlement), all);
            scene.settled(&[&used, &used]);
        }
    }
}
