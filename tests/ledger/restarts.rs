//! A restart begins with what the store has for the windows that are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollkeeper::{
    Budget, Clock, Dimension, Entry, LedgerStore, Outcome, Period, Posting, RateLimit,
    ResetOutcome, Span, UsageRecord,
};

use crate::kit::{id, kit, minute, nanos, owner, per};
use crate::scene::{
    draft, open_with, record_id, restarted, restarted_with, scene, scene_on, topology, usage,
};

#[test]
fn a_restart_restores_exactly_what_was_written() {
    let mut scene = scene();
    let settling = scene.charge(&usage(100, 30)).settle(&usage(60, 6));
    scene.written(settling);
    let uncertain = scene.charge(&usage(7, 7));
    drop(uncertain);
    scene.drain();
    // Settled and not written, and in flight: a crash forgets them.
    scene.charge(&usage(100, 1)).settle(&usage(100, 1)).forget();
    let open = scene.charge(&usage(100, 1));
    let mut scene = restarted(scene);
    scene.assert_even([67, 13, 2, 67]);
    let restored = scene.ledger.restored();
    assert_eq!((restored.totals, restored.counters, restored.unknown), (4, 4, 0));
    drop(open);
    // And it goes on in the same windows.
    let settling = scene.charge(&usage(1, 1)).settle(&usage(1, 1));
    scene.written(settling);
    assert_eq!(scene.history("rate", Dimension::Tokens), [14]);
    scene.assert_even([68, 14, 3, 68]);
}

#[test]
fn a_window_that_ended_while_it_was_down_leaves_nothing() {
    let mut scene = scene();
    let settling = scene.charge(&usage(100, 30)).settle(&usage(60, 6));
    scene.written(settling);
    scene.kit.advance(minute());
    let scene = restarted(scene);
    assert_eq!((scene.memory(), scene.stored()), ([60, 0, 1, 60], [60, 0, 1, 60]));
    scene.kit.advance(Duration::from_secs(3_600));
    let mut scene = restarted(scene);
    scene.assert_even([0; 4]);
    let settling = scene.charge(&usage(1, 1)).settle(&usage(1, 1));
    scene.written(settling);
    scene.assert_even([1, 1, 1, 1]);
}

#[test]
fn the_lattice_of_rolling_windows_is_that_of_before() {
    let mut scene = scene();
    let settling = scene.charge(&usage(100, 30)).settle(&usage(60, 6));
    scene.written(settling);
    scene.kit.advance(Duration::from_secs(90));
    let mut scene = restarted(scene);
    let settling = scene.charge(&usage(100, 30)).settle(&usage(5, 5));
    scene.written(settling);
    scene.kit.advance(Duration::from_secs(29));
    assert_eq!(scene.memory()[1], 5);
    scene.kit.advance(Duration::from_secs(1));
    assert_eq!(scene.memory()[1], 0);
}

#[test]
fn a_reset_is_remembered() {
    let mut scene = scene();
    let settling = scene.charge(&usage(100, 30)).settle(&usage(60, 6));
    scene.written(settling);
    scene.kit.advance(Duration::from_secs(10));
    let (outcomes, settling) = scene.ledger.reset(&id("rate"), Some(Dimension::Tokens)).unwrap();
    assert!(matches!(outcomes[0], ResetOutcome::Reset { total: 6, .. }));
    assert_eq!(settling.id(), None);
    let receipt = scene.written(settling);
    assert_eq!(receipt.record, None);
    let scene = restarted(scene);
    scene.assert_even([60, 0, 1, 60]);
    assert_eq!(scene.history("rate", Dimension::Tokens), [6, 0]);
    // Both counters, and a limit that there is not.
    let (outcomes, _settling) = scene.ledger.reset(&id("rate"), None).unwrap();
    assert_eq!(outcomes.len(), 2);
    assert!(scene.ledger.reset(&id("none"), None).is_err());
}

/// Another process on the same store, whose clock is ahead, has begun the next minute. Who restarts
/// goes on in the minute of its own clock, with what was used in that.
#[test]
fn a_restart_goes_on_in_the_window_of_its_own_clock() {
    for before in [[0, 0, 0, 0], [60, 6, 1, 60]] {
        let mut scene = scene();
        let [money, tokens, requests, _] = before;
        if requests > 0 {
            let settling = scene.charge(&usage(100, 30)).settle(&usage(money, tokens));
            scene.written(settling);
        }
        let start = scene.kit.clock.now();
        scene.kit.advance(minute());
        let settling = scene.charge(&usage(100, 30)).settle(&usage(5, 5));
        scene.written(settling);

        scene.kit.clock.set(start.saturating_add(Duration::from_secs(59)));
        let mut scene = restarted(scene);
        assert_eq!(scene.memory(), [money + 5, tokens, requests + 1, money + 5]);
        let settling = scene.charge(&usage(1, 1)).settle(&usage(1, 1));
        scene.written(settling);
        let here = i64::try_from(tokens + 1).unwrap();
        assert_eq!(scene.history("rate", Dimension::Tokens), [here, 5]);

        // Its own minute ends when that one begins, by the same name.
        scene.kit.advance(Duration::from_secs(1));
        assert_eq!(scene.memory()[1], 0);
        let (first, second) = (scene.ledger.reconcile(), scene.ledger.reconcile());
        assert_eq!((first.unwrap().drifts.len(), second.unwrap().drifts.len()), (1, 1));
        scene.assert_even([money + 6, 5, requests + 2, money + 6]);
        let settling = scene.charge(&usage(1, 1)).settle(&usage(0, 1));
        scene.written(settling);
        assert_eq!(scene.history("rate", Dimension::Tokens), [here, 6]);
    }
}

/// What was decided of the first counter is not true any more when the second one is read.
#[test]
fn a_window_that_ends_while_a_restart_reads_is_not_gone_on_with() {
    let rates = |kit: &crate::kit::Kit| {
        topology(kit);
        let rate = RateLimit::new().tokens(100, per("1m")).requests(10, per("1m"));
        kit.limit("key:k", "rate", rate);
    };
    let mut scene = scene();
    rates(&scene.kit);
    let settling = scene.charge(&usage(100, 30)).settle(&usage(60, 6));
    scene.written(settling);
    let start = scene.kit.clock.now();
    scene.kit.advance(minute());
    let settling = scene.charge(&usage(100, 30)).settle(&usage(5, 5));
    scene.written(settling);
    scene.kit.clock.set(start.saturating_add(Duration::from_secs(59)));
    let store = Arc::clone(&scene.store);
    let mut scene = restarted_with(scene, |kit| {
        rates(kit);
        let clock = kit.clock.clone();
        let ends = move || {
            clock.advance(Duration::from_secs(1));
        };
        store
            .meanwhile_before
            .lock()
            .unwrap()
            .extend([Box::new(|| ()) as Box<dyn FnOnce() + Send>, Box::new(ends)]);
    });
    assert!(store.meanwhile_before.lock().unwrap().is_empty());
    scene.assert_even([65, 5, 1, 65]);
    let settling = scene.charge(&usage(1, 1)).settle(&usage(1, 1));
    scene.written(settling);
    scene.assert_even([66, 6, 2, 66]);
    assert_eq!(scene.history("rate", Dimension::Requests), [1, 2]);
}

/// The window before the last was another owner's, under the same id.
#[test]
fn an_earlier_window_of_another_owner_is_not_gone_on_with() {
    let mut scene = scene();
    let start = scene.kit.clock.now();
    let posting = Posting {
        limit: id("rate"),
        owner: owner("team:t"),
        dimension: Dimension::Tokens,
        window: Span { start, end: start + minute() },
        anchor: start,
        amount: 9,
    };
    scene.store.write(&[entry(7, Outcome::Completed, vec![posting])]).unwrap();
    scene.kit.advance(minute());
    let settling = scene.charge(&usage(100, 30)).settle(&usage(5, 5));
    scene.written(settling);
    scene.kit.clock.set(start + Duration::from_secs(59));
    assert_eq!(restarted(scene).memory(), [5, 0, 1, 5]);
}

#[test]
fn a_reset_by_a_clock_that_is_ahead_stands() {
    let mut scene = scene();
    let settling = scene.charge(&usage(100, 30)).settle(&usage(60, 6));
    scene.written(settling);
    let start = scene.kit.clock.now();
    scene.kit.advance(Duration::from_secs(10));
    let (_, settling) = scene.ledger.reset(&id("rate"), Some(Dimension::Tokens)).unwrap();
    scene.written(settling);
    scene.kit.clock.set(start.saturating_add(Duration::from_secs(5)));
    let mut scene = restarted(scene);
    assert_eq!(scene.memory(), [60, 0, 1, 60]);
    let settling = scene.charge(&usage(1, 1)).settle(&usage(1, 1));
    scene.written(settling);
    assert_eq!(scene.history("rate", Dimension::Tokens), [6, 1]);
}

#[test]
fn another_period_keeps_the_usage_before_and_after_restarts() {
    let with = |money: Period, tokens: Period| {
        move |kit: &crate::kit::Kit| {
            topology(kit);
            kit.limit("key:k", "money", Budget::new(nanos(1_000), money));
            let rate = RateLimit::new().tokens(100, tokens).requests(10, per("1h"));
            kit.limit("key:k", "rate", rate);
        }
    };
    let mut scene = scene();
    scene.kit.advance(Duration::from_secs(10));
    let settling = scene.charge(&usage(100, 30)).settle(&usage(60, 6));
    scene.written(settling);
    // Longer and shorter, each window beginning earlier or later than the one before.
    for (spent, money, tokens) in [(1, "1d", "5s"), (2, "30m", "1h"), (3, "1M", "10m")] {
        scene = restarted_with(scene, with(per(money), per(tokens)));
        let before = [60 + spent - 1, 6 + spent - 1, spent, 60 + spent - 1];
        scene.assert_even(before);
        let settling = scene.charge(&usage(9, 9)).settle(&usage(1, 1));
        scene.written(settling);
        scene.assert_even([before[0] + 1, before[1] + 1, before[2] + 1, before[3] + 1]);
    }
    // The same while it runs.
    let apply = |kit: &crate::kit::Kit| with(per("2h"), per("1d"))(kit);
    apply(&scene.kit);
    let settling = scene.charge(&usage(9, 9)).settle(&usage(1, 1));
    scene.written(settling);
    scene.assert_even([64, 10, 5, 64]);
    restarted_with(scene, apply).assert_even([64, 10, 5, 64]);
}

#[test]
fn limits_that_are_gone_are_passed_over_and_new_ones_begin_at_zero() {
    let mut scene = scene();
    let settling = scene.charge(&usage(100, 30)).settle(&usage(60, 6));
    scene.written(settling);
    let scene = restarted_with(scene, |kit| {
        kit.limit("team:t", "team", Budget::new(nanos(10_000), per("1h")));
        // An id that another owner has now, and one that is another kind of limit.
        kit.limit("team:t", "money", Budget::new(nanos(1_000), per("1h")));
        kit.limit("key:k", "rate", Budget::new(nanos(1_000), per("1h")));
    });
    let restored = scene.ledger.restored();
    assert_eq!((restored.totals, restored.counters, restored.unknown), (4, 1, 3));
    assert_eq!(scene.kit.counts("team"), (60, 0));
    assert_eq!((scene.kit.counts("money"), scene.kit.counts("rate")), ((0, 0), (0, 0)));
}

#[test]
fn what_was_topped_up_stays() {
    let kit = kit();
    kit.limit("key:k", "prepaid", Budget::new(nanos(10), Period::NEVER));
    kit.engine.top_up(&id("prepaid"), nanos(90)).unwrap();
    let store = Arc::default();
    let mut scene = crate::scene::open(kit, Arc::clone(&store));
    let route = scene.kit.route(&["key:k"]);
    let settling = scene.ledger.record(&route, &usage(60, 0), draft());
    scene.answer(settling).unwrap();
    let scene = restarted_with(scene, |kit| {
        kit.limit("key:k", "prepaid", Budget::new(nanos(10), Period::NEVER));
        kit.engine.top_up(&id("prepaid"), nanos(90)).unwrap();
    });
    let counter = scene.kit.read("prepaid");
    assert_eq!((counter.settled, counter.limit), (60, Some(100)));
}

/// An entry of nobody.
fn entry(number: u64, outcome: Outcome, postings: Vec<Posting>) -> Entry {
    let at = crate::kit::instant(crate::kit::START);
    let record = UsageRecord {
        id: record_id(number.into()),
        api_key: None,
        upstream: None,
        model: None,
        outcome,
        reason: None,
        usage: usage(1, 1),
        admitted_at: at,
        settled_at: at,
        corrects: (outcome == Outcome::Correction).then(|| record_id(99)),
    };
    Entry { record: Some(record), postings, attempt: number }
}

#[test]
fn totals_that_cannot_be_counted_count_as_the_nearest_that_can() {
    let store: Arc<crate::scene::Faulty> = Arc::default();
    let kit = kit();
    let at = kit.engine.now();
    let posting = |limit: &str, amount| Posting {
        limit: id(limit),
        owner: owner(if limit == "team" { "team:t" } else { "key:k" }),
        dimension: Dimension::Money,
        window: Span { start: at, end: at.saturating_add(Duration::from_secs(3_600)) },
        anchor: at,
        amount,
    };
    let postings = vec![posting("money", -5), posting("team", i64::MAX)];
    store.write(&[entry(1, Outcome::Correction, postings)]).unwrap();
    let scene = scene_on(store);
    assert_eq!(scene.ledger.restored().out_of_range, 2);
    assert_eq!(scene.memory(), [0, 0, 0, crate::kit::SETTLED_MAX]);
}

#[test]
fn progress_is_told_and_many_limits_are_restored_in_pieces() {
    let (kit, store) = (kit(), Arc::<crate::scene::Faulty>::default());
    let limits = 10_000_u64;
    let written = |n: u64| {
        let (limit, team) = (format!("l{n:05}"), format!("team:{}", n % 1_000));
        kit.limit(&team, &limit, Budget::new(nanos(1_000_000), per("1h")));
        let at = kit.engine.now();
        let posting = Posting {
            limit: id(&limit),
            owner: owner(&team),
            dimension: Dimension::Money,
            window: Span { start: at, end: at.saturating_add(Duration::from_secs(3_600)) },
            anchor: at,
            amount: i64::try_from(n).unwrap(),
        };
        entry(n, Outcome::Completed, vec![posting])
    };
    store.write(&(0..limits).map(written).collect::<Vec<_>>()).unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&seen);
    let scene = open_with(kit, store, |builder| {
        builder.progress(move |totals| {
            assert!(totals >= told.swap(totals, Ordering::Relaxed));
        })
    });
    assert_eq!(seen.load(Ordering::Relaxed), limits);
    assert_eq!(scene.ledger.restored().counters, limits);
    for usage in scene.kit.engine.usage_all() {
        assert_eq!(format!("l{:05}", usage.counters[0].settled), usage.limit.as_str());
    }
}
