//! Histories as proptest draws and shrinks them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use tollkeeper::{Dimension, Enforcement};

use super::operations::{
    ABSURD, Amounts, BEGINNING, Definition, LIMITS, OWNERS, Op, PERIODS, Part, SETTLED_MAX, Step,
    THRESHOLDS, WEIGHTS,
};

/// A history of at most `longest` steps.
pub fn history(longest: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..=longest)
}

fn number(table: usize) -> impl Strategy<Value = u8> + Clone {
    0..u8::try_from(table).expect("tables are short")
}

fn owner() -> impl Strategy<Value = u8> + Clone {
    number(OWNERS.len())
}

/// Mostly the key, which has everything above it.
fn some_owners() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => Just(vec![0, 5]), 2 => Just(vec![0]), 3 => vec(owner(), 0..=3)]
}

/// Mostly one that the small world begins with.
fn limit() -> impl Strategy<Value = u8> + Clone {
    number(LIMITS.len())
}

fn dimension() -> impl Strategy<Value = Dimension> {
    select(Dimension::ALL.to_vec())
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..=30u64, 1 => 30..=200u64, 1 => select(ABSURD.to_vec())]
}

fn money() -> impl Strategy<Value = u64> {
    amount().prop_map(|amount| amount.min(SETTLED_MAX))
}

fn amounts() -> impl Strategy<Value = Amounts> {
    let usual = (0..=20u64, 0..=20u64, 0..=30u64).prop_map(|(input, output, cost)| Amounts {
        tokens: [input, output, 0, 0],
        requests: 1,
        cost,
    });
    let any = ([amount(), amount(), amount(), amount()], amount(), money())
        .prop_map(|(tokens, requests, cost)| Amounts { tokens, requests, cost });
    prop_oneof![6 => usual, 1 => any, 1 => Just(Amounts::default())]
}

fn part() -> impl Strategy<Value = Part> {
    option::weighted(0.8, (option::weighted(0.9, amount()), number(PERIODS.len())))
}

fn definition() -> impl Strategy<Value = Definition> {
    let (period, thresholds) = (number(PERIODS.len()), number(THRESHOLDS.len()));
    let budget = (option::weighted(0.9, money()), period, thresholds.clone())
        .prop_map(|(limit, period, thresholds)| Definition::Budget { limit, period, thresholds });
    let rate_limit = (part(), part(), number(WEIGHTS.len()), thresholds).prop_map(
        |(tokens, requests, weights, thresholds)| Definition::RateLimit {
            tokens,
            requests,
            weights,
            thresholds,
        },
    );
    let concurrency = amount().prop_map(|limit| Definition::Concurrency { limit });
    prop_oneof![3 => budget, 4 => rate_limit, 1 => concurrency]
}

/// Mostly hard.
fn enforcement() -> impl Strategy<Value = Enforcement> + Clone {
    select(vec![Enforcement::Hard, Enforcement::Hard, Enforcement::Soft, Enforcement::Shadow])
}

/// From nanoseconds to years.
fn length() -> impl Strategy<Value = u64> {
    (0..=55u32, 1..=255u64).prop_map(|(shift, n)| n << shift)
}

fn step() -> impl Strategy<Value = Step> {
    let to = prop_oneof![Just(0), Just(u64::MAX), length().prop_map(|by| u64::MAX - by)];
    prop_oneof![
        6 => length().prop_map(Step::Forward),
        3 => (0..120_000_000_000u64).prop_map(Step::Forward),
        3 => length().prop_map(Step::Back),
        10 => (limit(), 0..2u8, any::<bool>())
            .prop_map(|(limit, counter, before)| Step::Boundary { limit, counter, before }),
        1 => to.prop_map(Step::To),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => request(),
        30 => reservation(),
        12 => step().prop_map(Op::Clock),
        12 => topology(),
        18 => operator(),
        3 => Just(Op::Export),
        4 => any::<u8>().prop_map(|document| Op::Import { document }),
        1 => Just(Op::Restart),
    ]
}

fn request() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (some_owners(), amounts())
            .prop_map(|(owners, estimate)| Op::Reserve { owners, estimate }),
        1 => (some_owners(), amounts())
            .prop_map(|(owners, estimate)| Op::Peek { owners, estimate }),
        2 => (some_owners(), amounts()).prop_map(|(owners, used)| Op::Bump { owners, used }),
    ]
}

fn reservation() -> impl Strategy<Value = Op> {
    let ticket = any::<u8>;
    prop_oneof![
        3 => (ticket(), amounts()).prop_map(|(ticket, more)| Op::Extend { ticket, more }),
        3 => ticket().prop_map(|ticket| Op::Dispatch { ticket }),
        4 => (ticket(), amounts()).prop_map(|(ticket, used)| Op::Settle { ticket, used }),
        1 => ticket().prop_map(|ticket| Op::Void { ticket }),
        2 => ticket().prop_map(|ticket| Op::Drop { ticket }),
    ]
}

fn topology() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (owner(), vec(owner(), 0..=2))
            .prop_map(|(owner, parents)| Op::UpsertOwner { owner, parents }),
        1 => owner().prop_map(|owner| Op::RemoveOwner { owner }),
        8 => (owner(), limit(), definition(), enforcement()).prop_map(
            |(owner, limit, definition, enforcement)| Op::UpsertLimit {
                owner,
                limit,
                definition,
                enforcement,
            }
        ),
        // With its owner and its kind, so that it is accepted.
        4 => (select(vec![(0, 0), (5, 4)]), money(), number(PERIODS.len()), 0..5u8, enforcement())
            .prop_map(|((owner, limit), most, period, thresholds, enforcement)| Op::UpsertLimit {
                owner,
                limit,
                definition: Definition::Budget { limit: Some(most), period, thresholds },
                enforcement,
            }),
        6 => (select(vec![(3, 1), (6, 3)]), part(), part(), 0..3u8, 0..5u8, enforcement()).prop_map(
            |((owner, limit), tokens, requests, weights, thresholds, enforcement)| {
                let definition = Definition::RateLimit { tokens, requests, weights, thresholds };
                Op::UpsertLimit { owner, limit, definition, enforcement }
            }
        ),
        // One that the small world begins with, as it is there.
        3 => (select(BEGINNING.to_vec()), enforcement()).prop_map(
            |((owner, limit, definition), enforcement)| Op::UpsertLimit {
                owner,
                limit,
                definition,
                enforcement,
            }
        ),
        1 => limit().prop_map(|limit| Op::RemoveLimit { limit }),
    ]
}

fn operator() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (limit(), option::of(dimension()))
            .prop_map(|(limit, dimension)| Op::Reset { limit, dimension }),
        3 => (limit(), dimension(), 0..3u8).prop_map(|(limit, dimension, stale_by)| {
            Op::ResetWindow { limit, dimension, stale_by }
        }),
        2 => Just(Op::ResetExpired),
        1 => (limit(), amount()).prop_map(|(limit, credit)| Op::TopUp { limit, credit }),
        1 => amount().prop_map(|credit| Op::TopUp { limit: 4, credit }),
        4 => (limit(), dimension(), amount(), 0..5u16).prop_map(
            |(limit, dimension, instead, windows)| Op::Override {
                limit,
                dimension,
                instead,
                windows,
            }
        ),
        1 => (limit(), dimension())
            .prop_map(|(limit, dimension)| Op::ClearOverride { limit, dimension }),
    ]
}
