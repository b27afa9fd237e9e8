//! The state machine as text: one line for each operation, with its answer. Times in seconds.

use std::collections::BTreeMap;

use tollkeeper::{Holder, KeyAct, KeyAnswer, KeyOp, KeyRecord, RecordId, Timestamp, transition};

use crate::kit::{body, scope, secs};

/// Plays a table on one key. Charges are numbered as they appear: `#1`, `#2`.
fn play(table: &str) {
    let mut stored: Option<KeyRecord> = None;
    let mut charges: BTreeMap<RecordId, usize> = BTreeMap::new();
    let mut now = 0;
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(time) = line.strip_prefix("tick ") {
            now += time.parse::<u64>().expect("seconds");
            continue;
        }
        let (op, expected) = line.split_once("->").expect("an operation and its answer");
        let words: Vec<&str> = op.split_whitespace().collect();
        let op = KeyOp { scope: scope("k"), act: act(&words) };
        let (changed, answer) = transition(stored.as_ref(), &op, Timestamp::from_secs(now));
        assert!(changed.as_ref() != stored.as_ref() || stored.is_none(), "{line}: no change");
        stored = changed.or(stored);
        let mut number = |charge| {
            let next = charges.len() + 1;
            *charges.entry(charge).or_insert(next)
        };
        let answer = match answer {
            KeyAnswer::Owned { fence, charge } => format!("owned {fence} #{}", number(charge)),
            KeyAnswer::InFlight { fence, lease_left } => {
                format!("in flight {fence} {}", lease_left.as_secs())
            }
            KeyAnswer::Replay { result: None, charge } => {
                format!("replay nothing #{}", number(charge))
            }
            KeyAnswer::Replay { result: Some(result), charge } => {
                format!("replay {:?} #{}", String::from_utf8_lossy(&result), number(charge))
            }
            other => format!("{other:?}").to_lowercase(),
        };
        assert_eq!(answer, expected.trim(), "at {now}: {line}");
    }
}

/// `claim BODY ATTEMPT LEASE`, `peek BODY`, `beat FENCE ATTEMPT LEASE`,
/// `complete FENCE ATTEMPT RESULT|- TTL`, `fail FENCE ATTEMPT TTL`.
fn act(words: &[&str]) -> KeyAct {
    let number = |at: usize| words[at].parse::<u64>().expect("a number");
    let holder = || Holder { fence: number(1), attempt: number(2) };
    match words[0] {
        "claim" => {
            let (fingerprint, attempt, lease) = (body(words[1]), number(2), secs(number(3)));
            KeyAct::Claim { fingerprint, attempt, lease }
        }
        "peek" => KeyAct::Peek { fingerprint: body(words[1]) },
        "beat" => KeyAct::Heartbeat { holder: holder(), lease: secs(number(3)) },
        "complete" => {
            let result = (words[3] != "-").then(|| words[3].trim_matches('"').as_bytes().into());
            KeyAct::Complete { holder: holder(), result, ttl: secs(number(4)) }
        }
        "fail" => KeyAct::Fail { holder: holder(), ttl: secs(number(3)) },
        other => panic!("{other} is no operation"),
    }
}

#[test]
fn a_completed_key_is_replayed_until_its_time_to_live_is_over() {
    play(
        r#"
        peek a                    -> free
        claim a 7 30              -> owned 1 #1
        peek a                    -> in flight 1 30
        tick 20
        complete 1 7 "42" 100     -> done
        claim a 8 30              -> replay "42" #1
        peek a                    -> replay "42" #1
        tick 99
        claim a 8 30              -> replay "42" #1
        tick 1
        peek a                    -> free
        claim a 8 30              -> owned 1 #2
        "#,
    );
}

#[test]
fn an_empty_result_is_a_result_and_one_that_is_too_large_is_none() {
    play(
        r#"
        claim a 1 30              -> owned 1 #1
        complete 1 1 "" 100       -> done
        claim a 2 30              -> replay "" #1
        "#,
    );
    play(
        r#"
        claim a 1 30              -> owned 1 #1
        complete 1 1 - 100        -> done
        claim a 2 30              -> replay nothing #1
        "#,
    );
}

#[test]
fn a_failed_key_is_tried_again_under_the_same_charge() {
    play(
        r#"
        claim a 1 30              -> owned 1 #1
        fail 1 1 100              -> done
        peek a                    -> free
        claim a 2 30              -> owned 2 #1
        claim a 3 30              -> in flight 2 30
        fail 2 2 100              -> done
        tick 100
        claim a 3 30              -> owned 1 #2
        "#,
    );
}

#[test]
fn a_lease_that_is_over_is_taken_over_once() {
    play(
        r#"
        claim a 1 30              -> owned 1 #1
        tick 29
        claim a 2 30              -> in flight 1 1
        tick 1
        claim a 2 30              -> owned 2 #1
        claim a 3 30              -> in flight 2 30
        beat 1 1 30               -> lost
        complete 1 1 "late" 100   -> lost
        fail 1 1 100              -> lost
        complete 2 2 "42" 100     -> done
        complete 1 1 "late" 100   -> lost
        claim a 3 30              -> replay "42" #1
        "#,
    );
    play(
        r#"
        claim a 1 0               -> owned 1 #1
        claim a 2 30              -> owned 2 #1
        claim a 3 30              -> in flight 2 30
        "#,
    );
}

#[test]
fn a_heartbeat_counts_from_now_and_what_is_in_progress_never_expires() {
    play(
        r#"
        claim a 1 30              -> owned 1 #1
        tick 10
        beat 1 1 30               -> done
        claim a 2 30              -> in flight 1 30
        tick 40
        beat 1 1 30               -> done
        tick 29
        claim a 2 30              -> in flight 1 1
        tick 1000000
        complete 1 1 "42" 100     -> done
        tick 99
        claim a 2 30              -> replay "42" #1
        "#,
    );
    play(
        r#"
        claim a 1 30              -> owned 1 #1
        tick 1000000000
        claim a 2 30              -> owned 2 #1
        "#,
    );
}

#[test]
fn another_fingerprint_is_a_mismatch_on_all_four_paths() {
    play(
        r#"
        claim a 1 30              -> owned 1 #1
        claim b 2 30              -> mismatch
        peek b                    -> mismatch
        claim b 1 30              -> mismatch
        tick 30
        claim b 2 30              -> mismatch
        peek b                    -> mismatch
        fail 1 1 100              -> done
        claim b 2 30              -> mismatch
        peek b                    -> mismatch
        claim a 2 30              -> owned 2 #1
        complete 2 2 "42" 100     -> done
        claim b 3 30              -> mismatch
        peek b                    -> mismatch
        tick 100
        claim b 3 30              -> owned 1 #2
        "#,
    );
}

#[test]
fn what_has_ended_stays_as_it_ended() {
    play(
        r#"
        claim a 1 30              -> owned 1 #1
        complete 1 1 "42" 100     -> done
        fail 1 1 100              -> lost
        beat 1 1 30               -> lost
        complete 1 1 "43" 100     -> lost
        claim a 2 30              -> replay "42" #1
        "#,
    );
    play(
        r#"
        claim a 1 30              -> owned 1 #1
        fail 1 1 100              -> done
        complete 1 1 "42" 100     -> lost
        beat 1 1 30               -> lost
        claim a 2 30              -> owned 2 #1
        "#,
    );
}

#[test]
fn what_was_done_and_not_acknowledged_is_done() {
    play(
        r#"
        claim a 1 30              -> owned 1 #1
        tick 10
        claim a 1 30              -> owned 1 #1
        claim a 2 30              -> in flight 1 30
        tick 31
        claim a 1 30              -> owned 1 #1
        complete 1 1 "42" 100     -> done
        tick 10
        complete 1 1 "42" 100     -> done
        tick 89
        claim a 2 30              -> replay "42" #1
        tick 1
        claim a 2 30              -> owned 1 #2
        fail 1 2 100              -> done
        fail 1 2 100              -> done
        "#,
    );
}

#[test]
fn a_holder_of_an_earlier_life_is_not_taken_for_one_of_this() {
    play(
        r#"
        claim a 1 30              -> owned 1 #1
        tick 30
        claim a 2 30              -> owned 2 #1
        fail 2 2 100              -> done
        tick 100
        claim a 3 30              -> owned 1 #2
        complete 1 1 "old" 100    -> lost
        beat 1 1 30               -> lost
        complete 2 3 "old" 100    -> lost
        complete 1 3 "new" 100    -> done
        "#,
    );
    play(
        r#"
        beat 1 1 30               -> lost
        complete 1 1 "42" 100     -> lost
        fail 1 1 100              -> lost
        "#,
    );
}
