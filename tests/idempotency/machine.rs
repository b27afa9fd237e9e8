//! `transition` against a model that keeps the history of a key and works everything out of it.

use std::time::Duration;

use proptest::prelude::*;
use tollkeeper::{Holder, KeyAct, KeyAnswer, KeyOp, KeyRecord, RecordId, Timestamp, transition};

use crate::kit::{body, scope, secs};

/// What happened to a key, and when.
#[derive(Clone, Debug)]
enum Past {
    Claimed { text: &'static str, attempt: u64, fence: u64, life: u64 },
    Until { lease_until: u64 },
    Ended { result: Option<Option<u8>>, gone: u64 },
}

#[derive(Default)]
struct Model {
    past: Vec<Past>,
    lives: u64,
}

#[derive(Debug, PartialEq)]
enum Said {
    Owned { fence: u64, life: u64 },
    InFlight { fence: u64, left: u64 },
    Replay { result: Option<u8>, life: u64 },
    Plain(&'static str),
}

impl Model {
    fn forget_what_is_gone(&mut self, now: u64) {
        if matches!(self.past.last(), Some(Past::Ended { gone, .. }) if *gone <= now) {
            self.past.clear();
        }
    }

    /// The last claim: body, attempt, fence, life.
    fn claim(&self) -> Option<(&'static str, u64, u64, u64)> {
        self.past.iter().rev().find_map(|past| match *past {
            Past::Claimed { text, attempt, fence, life } => Some((text, attempt, fence, life)),
            _ => None,
        })
    }

    fn apply(&mut self, act: &Act, now: u64) -> Said {
        self.forget_what_is_gone(now);
        match *act {
            Act::Claim { text, attempt, lease, peek } => {
                self.claimed(text, attempt, lease, peek, now)
            }
            Act::Beat { fence, attempt, lease } => self.by(fence, attempt, |past| match past {
                Past::Ended { .. } => None,
                _ => Some(Some(Past::Until { lease_until: now + lease })),
            }),
            Act::End { fence, attempt, result, ttl } => {
                self.by(fence, attempt, |past| match past {
                    Past::Ended { result: before, .. } => (*before == result).then_some(None),
                    _ => Some(Some(Past::Ended { result, gone: now + ttl })),
                })
            }
        }
    }

    fn claimed(
        &mut self,
        text: &'static str,
        attempt: u64,
        lease: u64,
        peek: bool,
        now: u64,
    ) -> Said {
        let before = self.claim();
        let fence = match (before, self.past.last()) {
            (Some((other, ..)), _) if other != text => return Said::Plain("mismatch"),
            (Some((.., life)), Some(Past::Ended { result: Some(result), .. })) => {
                return Said::Replay { result: *result, life };
            }
            (Some((_, own, fence, _)), Some(Past::Until { .. })) if own == attempt && !peek => {
                fence
            }
            (Some((.., fence, _)), Some(Past::Until { lease_until })) if now < *lease_until => {
                return Said::InFlight { fence, left: lease_until - now };
            }
            (Some((.., fence, _)), _) => fence + 1,
            (None, _) => 1,
        };
        if peek {
            return Said::Plain("free");
        }
        self.lives += u64::from(before.is_none());
        let life = before.map_or(self.lives, |(.., life)| life);
        self.past.push(Past::Claimed { text, attempt, fence, life });
        self.past.push(Past::Until { lease_until: now + lease });
        Said::Owned { fence, life }
    }

    fn by(
        &mut self,
        fence: u64,
        attempt: u64,
        then: impl FnOnce(&Past) -> Option<Option<Past>>,
    ) -> Said {
        let holds = self.claim().is_some_and(|(_, a, f, _)| (a, f) == (attempt, fence));
        match self.past.last().filter(|_| holds).and_then(then) {
            None => Said::Plain("lost"),
            Some(past) => {
                self.past.extend(past);
                Said::Plain("done")
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Claim {
        text: &'static str,
        attempt: u64,
        lease: u64,
        peek: bool,
    },
    Beat {
        fence: u64,
        attempt: u64,
        lease: u64,
    },
    /// `result`: `None` fails, `Some(None)` was too large.
    End {
        fence: u64,
        attempt: u64,
        result: Option<Option<u8>>,
        ttl: u64,
    },
}

impl Act {
    fn real(&self) -> KeyAct {
        let holder = |fence, attempt| Holder { fence, attempt };
        match *self {
            Act::Claim { text, peek: true, .. } => KeyAct::Peek { fingerprint: body(text) },
            Act::Claim { text, attempt, lease, peek: false } => {
                KeyAct::Claim { fingerprint: body(text), attempt, lease: secs(lease) }
            }
            Act::Beat { fence, attempt, lease } => {
                KeyAct::Heartbeat { holder: holder(fence, attempt), lease: secs(lease) }
            }
            Act::End { fence, attempt, result: None, ttl } => {
                KeyAct::Fail { holder: holder(fence, attempt), ttl: secs(ttl) }
            }
            Act::End { fence, attempt, result: Some(result), ttl } => KeyAct::Complete {
                holder: holder(fence, attempt),
                result: result.map(|byte| vec![byte].into()),
                ttl: secs(ttl),
            },
        }
    }
}

fn acts() -> impl Strategy<Value = (u64, Act)> {
    let claim =
        (prop_oneof![9 => Just("a"), 1 => Just("b")], 1..4u64, 0..6u64, prop::bool::weighted(0.2))
            .prop_map(|(text, attempt, lease, peek)| Act::Claim { text, attempt, lease, peek });
    let beat = (1..4u64, 1..4u64, 0..6u64).prop_map(|(fence, attempt, lease)| Act::Beat {
        fence,
        attempt,
        lease,
    });
    let result = prop_oneof![Just(None), Just(Some(None)), (0..2u8).prop_map(|b| Some(Some(b)))];
    let end = (1..4u64, 1..4u64, result, 1..8u64)
        .prop_map(|(fence, attempt, result, ttl)| Act::End { fence, attempt, result, ttl });
    let act = prop_oneof![4 => claim, 2 => beat, 3 => end];
    (prop_oneof![3 => Just(0u64), 2 => 1..4u64, 1 => 4..12u64], act)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn histories_are_those_of_the_model(history in prop::collection::vec(acts(), 1..40)) {
        let (mut model, mut stored, mut now) = (Model::default(), None::<KeyRecord>, 1_000);
        let mut charges: Vec<RecordId> = Vec::new();
        for (pause, act) in history {
            now += pause;
            let op = KeyOp { scope: scope("k"), act: act.real() };
            let (changed, answer) = transition(stored.as_ref(), &op, Timestamp::from_secs(now));
            if let (Some(before), Some(after)) = (&stored, &changed) {
                prop_assert_eq!(&before.scope, &after.scope);
            }
            stored = changed.or(stored);
            let mut life = |charge: RecordId| {
                // A charge that came before is of the life it came with.
                let at = charges.iter().position(|known| *known == charge).unwrap_or_else(|| {
                    charges.push(charge);
                    charges.len() - 1
                });
                u64::try_from(at).expect("few lives") + 1
            };
            let said = match answer {
                KeyAnswer::Owned { fence, charge } => Said::Owned { fence, life: life(charge) },
                KeyAnswer::InFlight { fence, lease_left } => {
                    prop_assert_eq!(lease_left, Duration::from_secs(lease_left.as_secs()));
                    Said::InFlight { fence, left: lease_left.as_secs() }
                }
                KeyAnswer::Replay { result, charge } => {
                    Said::Replay { result: result.map(|bytes| bytes[0]), life: life(charge) }
                }
                KeyAnswer::Mismatch => Said::Plain("mismatch"),
                KeyAnswer::Lost => Said::Plain("lost"),
                KeyAnswer::Done => Said::Plain("done"),
                KeyAnswer::Free => Said::Plain("free"),
                other => panic!("{other:?} is no answer to {act:?}"),
            };
            prop_assert_eq!(said, model.apply(&act, now), "at {}: {:?}", now, act);
        }
    }
}
