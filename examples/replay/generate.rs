//! One hour of traffic from a seed, for whoever has no trace at hand.
//!
//! The shape is that of the Azure LLM inference traces of 2023 (Azure Public Dataset, CC-BY; Patel
//! et al., "Splitwise", ISCA 2024): the quantiles below were counted there. See [`LAW`].

use super::draw::{Dice, MILLION, Purpose, Quantile, running_sums};
use super::trace::Row;
use std::time::Duration;
use tollkeeper::Timestamp;

/// What the generator draws, in words, for the help text and the output.
pub const LAW: &str = "\
8,800 requests in 60 minutes. Arrivals: a Poisson process given its total, whose rate is constant \
within a minute; the 60 rates are drawn from p0/p50/p100 = 1/155/585 requests a minute. \
90\u{a0}% are code completion: context tokens p50/p99 = 1469/7436, generated p50/p99 = 13/252. \
10\u{a0}% are chat: context 1020/4142, generated 129/601. All are drawn from quantile tables with \
straight lines between them, in integers, with ChaCha8: a seed gives the same hour on every \
machine.";

/// When the generated hour begins: a Monday morning.
pub const START: Timestamp = Timestamp::from_secs(1_767_603_600);
const REQUESTS: usize = 8_800;
const MINUTES: usize = 60;
/// So many of a million requests are chat.
const CHAT: u64 = 100_000;

/// Requests in a minute.
const RATE: [Quantile; 7] = [
    (0, 1),
    (100_000, 20),
    (250_000, 80),
    (500_000, 155),
    (750_000, 320),
    (900_000, 460),
    (MILLION, 585),
];
const CODE_INPUT: [Quantile; 9] = [
    (0, 3),
    (100_000, 147),
    (250_000, 578),
    (500_000, 1_469),
    (750_000, 2_745),
    (900_000, 5_194),
    (950_000, 7_315),
    (990_000, 7_436),
    (MILLION, 7_437),
];
const CODE_OUTPUT: [Quantile; 8] = [
    (0, 6),
    (250_000, 9),
    (500_000, 13),
    (750_000, 24),
    (900_000, 55),
    (950_000, 90),
    (990_000, 252),
    (MILLION, 1_899),
];
const CHAT_INPUT: [Quantile; 5] =
    [(0, 8), (250_000, 420), (500_000, 1_020), (990_000, 4_142), (MILLION, 6_000)];
const CHAT_OUTPUT: [Quantile; 5] =
    [(0, 4), (250_000, 60), (500_000, 129), (990_000, 601), (MILLION, 1_000)];

/// Generates the hour of a seed, in the order of time.
pub fn hour(seed: u64) -> Vec<Row> {
    let mut sizes = Dice::new(seed, Purpose::Sizes);
    arrivals(seed).into_iter().map(|at| row(at, &mut sizes)).collect()
}

/// Given how many there are, the arrivals of a Poisson process are independent of each other and
/// spread as its rate is. So no exponential is drawn, see `draw`.
fn arrivals(seed: u64) -> Vec<Timestamp> {
    let mut dice = Dice::new(seed, Purpose::Arrivals);
    let rates: Vec<u64> = (0..MINUTES).map(|_| dice.quantile(&RATE)).collect();
    let running = running_sums(rates);
    let mut arrivals: Vec<Timestamp> = (0..REQUESTS)
        .map(|_| {
            let minute = dice.pick(&running) as u64;
            let within = Duration::from_nanos(dice.below(60_000_000_000));
            START.saturating_add(Duration::from_secs(60 * minute) + within)
        })
        .collect();
    arrivals.sort_unstable();
    arrivals
}

fn row(at: Timestamp, sizes: &mut Dice) -> Row {
    let (input, output) = match sizes.chance(CHAT) {
        true => (&CHAT_INPUT[..], &CHAT_OUTPUT[..]),
        false => (&CODE_INPUT[..], &CODE_OUTPUT[..]),
    };
    Row { at, input_tokens: sizes.quantile(input), output_tokens: sizes.quantile(output) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_is_the_one_it_says() {
        let rows = hour(1);
        assert_eq!(rows.len(), 8_800);
        assert!(rows.windows(2).all(|pair| pair[0].at <= pair[1].at), "in the order of time");
        assert!(rows[0].at >= START);
        assert!(rows[8_799].at < START.saturating_add(Duration::from_secs(3_600)));
        assert_eq!(START.to_string(), "2026-01-05T09:00:00Z");
    }

    #[test]
    fn the_median_request_is_the_traces() {
        let mut input: Vec<u64> = hour(3).iter().map(|row| row.input_tokens).collect();
        input.sort_unstable();
        assert!((1_300..1_500).contains(&input[4_400]), "{}", input[4_400]);
    }

    #[test]
    fn a_seed_is_an_hour() {
        assert_eq!(hour(5), hour(5));
        assert_ne!(hour(5), hour(6));
    }
}
