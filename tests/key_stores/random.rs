//! Random groups of operations, against the state machine on a map.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tollkeeper::{Holder, KeyAct, KeyAnswer, KeyOp, KeyRecord, Scope, Timestamp, transition};

use crate::kit::*;

/// An answer without what differs by the clock: how long a lease is left, and the charges' ids. Of
/// these only which are the same is compared.
fn seen(answer: KeyAnswer, charges: &mut Vec<tollkeeper::RecordId>) -> String {
    let mut number = |charge| match charges.iter().position(|known| *known == charge) {
        Some(at) => at,
        None => {
            charges.push(charge);
            charges.len() - 1
        }
    };
    match answer {
        KeyAnswer::Owned { fence, charge } => format!("owned {fence} #{}", number(charge)),
        KeyAnswer::InFlight { fence, .. } => format!("in flight {fence}"),
        KeyAnswer::Replay { result, charge } => format!("replay {result:?} #{}", number(charge)),
        other => format!("{other:?}"),
    }
}

fn random_op(random: &mut ChaCha8Rng, round: u64, model: &BTreeMap<Scope, KeyRecord>) -> KeyOp {
    let mut below = |n: u64| random.next_u64() % n;
    // Either it is over at once, or never within the test.
    let span = |long: u64| if long == 0 { Duration::ZERO } else { HOUR };
    let text = if below(10) == 0 { "b" } else { "a" };
    // Other keys every now and then.
    let key = format!("k{}", round / 15 * 4 + below(4));
    let kind = below(10);
    let (fence, attempt) = (1 + below(3), 1 + below(3));
    let real = model.get(&scope(&key)).map(|record| record.holder).filter(|_| below(3) > 0);
    let holder = real.unwrap_or(Holder { fence, attempt });
    let act = match kind {
        0..=3 => claim(text, attempt, span(below(2))),
        4 => peek(text),
        5 => KeyAct::Heartbeat { holder, lease: span(below(2)) },
        6 | 7 => KeyAct::Fail { holder, ttl: span(below(3)) },
        _ => {
            let result = (below(4) > 0).then(|| vec![u8::try_from(below(2)).unwrap()].into());
            KeyAct::Complete { holder, result, ttl: span(below(2)) }
        }
    };
    op(&key, act)
}

pub fn histories_are_those_of_the_state_machine<P: Place>(place: &mut P) {
    let store = place.open();
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut model: BTreeMap<Scope, KeyRecord> = BTreeMap::new();
    let mut charges = (Vec::new(), Vec::new());
    let mut now = Timestamp::from_secs(1_000_000_000);
    for round in 0..400 {
        // Time passes a little, so that no two lives begin at one instant.
        place.pass(Duration::from_millis(1));
        now = now.saturating_add(Duration::from_millis(1));
        let first = random_op(&mut random, round, &model);
        let more = random.next_u64() % 6;
        let mut group = vec![first];
        for _ in 0..more {
            let next = random_op(&mut random, round, &model);
            if group.iter().all(|op| op.scope != next.scope) {
                group.push(next);
            }
        }
        let answers = store.apply(&group, place.now()).expect("the store answers");
        for (op, answer) in group.iter().zip(answers) {
            let (changed, expected) = transition(model.get(&op.scope), op, now);
            model.extend(changed.map(|record| (op.scope.clone(), record)));
            let (answer, expected) = (seen(answer, &mut charges.0), seen(expected, &mut charges.1));
            assert_eq!(answer, expected, "round {round}: {op:?}");
        }
        if round % 50 == 49 {
            // What is purged is gone as what has expired is.
            store.purge(place.now(), 1_000).expect("it purges");
        }
    }
    assert!(charges.0.len() > 20, "{} lives", charges.0.len());
}
