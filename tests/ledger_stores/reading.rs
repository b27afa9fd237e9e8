//! Totals, records and their filters, purging.

use tollkeeper::{Dimension, Entry, Filter, Outcome, Posting, Timestamp, UsageRecord};

use crate::kit::*;

pub fn open_totals_are_of_the_last_windows(place: &mut impl Place) {
    let store = place.store();
    let postings = |start| {
        let tokens = |limit| posting("team:t", limit, start, 1);
        vec![
            tokens("b"),
            Posting { dimension: Dimension::Requests, ..tokens("a") },
            Posting { dimension: Dimension::Money, ..tokens("a") },
            tokens("a"),
        ]
    };
    put(store, &[entry(record(1), postings(120)), entry(record(2), postings(60))]);
    put(store, &[entry(record(3), vec![posting("team:t", "c", 60, 3)])]);
    let open_at = |now| {
        let totals = open(store, now);
        let name = |total: &tollkeeper::Total| format!("{} {}", total.limit, total.dimension);
        totals.iter().map(name).collect::<Vec<_>>()
    };
    // At 119 the window [60, 120) has not ended, but those of `a` and `b` are not the last.
    assert_eq!(open_at(at(119)), ["a money", "a tokens", "a requests", "b tokens", "c tokens"]);
    assert_eq!(open_at(at(120)), ["a money", "a tokens", "a requests", "b tokens"]);
    assert_eq!(open_at(Timestamp::from_nanos(at(180).as_nanos() - 1)).len(), 4);
    assert_eq!(open_at(at(180)), Vec::<String>::new());
    let first = &open(store, at(0))[0];
    assert_eq!((first.window.start, first.window.end), (at(120), at(180)));
    assert_eq!((first.anchor, first.settled, first.owner.as_str()), (at(7), 1, "team:t"));
}

pub fn an_opening_makes_its_window_the_open_one(place: &mut impl Place) {
    let store = place.store();
    put(store, &[entry(record(1), vec![posting("team:t", "t", 60, 5)])]);
    let mut begun = posting("team:t", "t", 80, 0);
    begun.anchor = at(80);
    put(store, &[Entry { record: None, postings: vec![begun], attempt: 1 }]);
    let totals = open(store, at(90));
    assert_eq!(totals.len(), 1);
    assert_eq!((totals[0].window.start, totals[0].anchor, totals[0].settled), (at(80), at(80), 0));
    assert_eq!(sums(store, "t"), [(60, 5), (80, 0)]);
}

pub fn a_window_that_never_ends_is_always_open(place: &mut impl Place) {
    let store = place.store();
    let mut forever = posting("team:t", "t", 0, 5);
    forever.window.end = Timestamp::MAX;
    put(store, &[entry(record(1), vec![forever])]);
    for now in [at(0), at(1_000_000_000), Timestamp::from_nanos(i64::MAX as u64), Timestamp::MAX] {
        let totals = open(store, now);
        assert_eq!(totals.len(), 1, "at {now}");
        assert_eq!(totals[0].window.end, Timestamp::MAX);
    }
}

pub fn a_late_posting_leaves_the_last_window_open(place: &mut impl Place) {
    let store = place.store();
    let charge =
        |number, start, amount| entry(record(number), vec![posting("team:t", "t", start, amount)]);
    put(store, &[charge(1, 60, 1)]);
    put(store, &[charge(2, 120, 2)]);
    put(store, &[charge(3, 60, 4), charge(4, 0, 8)]);
    let totals = open(store, at(130));
    assert_eq!(totals.iter().map(|total| total.settled).collect::<Vec<_>>(), [2]);
    assert_eq!(sums(store, "t"), [(0, 8), (60, 5), (120, 2)]);
}

pub fn totals_of_a_limit_are_all_its_windows(place: &mut impl Place) {
    let store = place.store();
    let charge =
        |dimension, start, amount| Posting { dimension, ..posting("team:t", "t", start, amount) };
    let postings = vec![
        charge(Dimension::Requests, 60, 1),
        charge(Dimension::Tokens, 120, 2),
        charge(Dimension::Tokens, 60, 3),
        charge(Dimension::Money, 180, 4),
        posting("team:t", "tt", 60, 5),
    ];
    put(store, &[entry(record(1), postings)]);
    let totals = store.totals(&limit("t")).expect("totals can be read");
    let read: Vec<_> =
        totals.iter().map(|total| (total.dimension, total.window.start, total.settled)).collect();
    assert_eq!(
        read,
        [
            (Dimension::Money, at(180), 4),
            (Dimension::Tokens, at(60), 3),
            (Dimension::Tokens, at(120), 2),
            (Dimension::Requests, at(60), 1),
        ]
    );
    assert_eq!(store.totals(&limit("none")).expect("totals can be read"), []);
}

pub fn the_total_before_an_instant_is_the_last_that_began_before_it(place: &mut impl Place) {
    let store = place.store();
    let tokens = |start, amount| posting("team:t", "t", start, amount);
    let money = Posting { dimension: Dimension::Money, ..tokens(90, 4) };
    let other = posting("team:t", "tt", 100, 5);
    put(store, &[entry(record(1), vec![tokens(60, 1), tokens(180, 3), money, other])]);
    put(store, &[entry(record(2), vec![tokens(120, 2)])]);
    let before = |before| {
        let total = store.total_before(&limit("t"), Dimension::Tokens, before);
        total.expect("it can be read").map(|total| (total.window.start, total.settled))
    };
    assert_eq!(before(at(60)), None);
    assert_eq!(before(Timestamp::from_nanos(at(60).as_nanos() + 1)), Some((at(60), 1)));
    assert_eq!(before(at(120)), Some((at(60), 1)));
    assert_eq!(before(at(180)), Some((at(120), 2)));
    assert_eq!(before(Timestamp::MAX), Some((at(180), 3)));
    let whole = store.total_before(&limit("t"), Dimension::Tokens, at(180));
    let all = store.totals(&limit("t")).expect("totals can be read");
    assert_eq!(whole.expect("it can be read").as_ref(), all.get(2));
    let none = store.total_before(&limit("none"), Dimension::Tokens, Timestamp::MAX);
    assert_eq!(none.expect("it can be read"), None);
    store.delete(&owner("team:t")).expect("it can be deleted");
    assert_eq!(before(Timestamp::MAX), None, "as totals");
}

pub fn filters_choose(place: &mut impl Place) {
    let store = place.store();
    let outcome = |number, outcome| UsageRecord { outcome, ..record(number) };
    let group = [
        entry(
            outcome(1, Outcome::Completed),
            vec![posting("team:a", "x", 60, 1), posting("team:b", "y", 120, 1)],
        ),
        entry(outcome(2, Outcome::Failed), vec![posting("team:a", "x", 120, 1)]),
        entry(outcome(3, Outcome::Completed), vec![posting("team:b", "y", 60, 1)]),
        entry(outcome(4, Outcome::Failed), vec![]),
        entry(
            outcome(5, Outcome::Completed),
            vec![posting("team:a", "x", 60, 1), posting("team:a", "z", 60, 1)],
        ),
    ];
    put(store, &group);
    let all = Filter::default;
    let (team_a, team_b) = (Some(owner("team:a")), Some(owner("team:b")));
    assert_eq!(found(store, &all()), [1, 2, 3, 4, 5]);
    assert_eq!(found(store, &Filter { owner: team_a.clone(), ..all() }), [1, 2, 5]);
    assert_eq!(found(store, &Filter { owner: team_b, ..all() }), [1, 3]);
    assert_eq!(found(store, &Filter { owner: Some(owner("team:c")), ..all() }), []);
    assert_eq!(found(store, &Filter { limit: Some(limit("y")), ..all() }), [1, 3]);
    assert_eq!(found(store, &Filter { window_start: Some(at(60)), ..all() }), [1, 3, 5]);
    assert_eq!(found(store, &Filter { outcome: Some(Outcome::Failed), ..all() }), [2, 4]);
    // All of it of one posting: record 1 charges `team:b` in 120 only.
    let window_start = Some(at(120));
    let joint = Filter { owner: team_a.clone(), window_start, ..all() };
    assert_eq!(found(store, &joint), [2]);
    let joint = Filter { limit: Some(limit("y")), window_start, ..all() };
    assert_eq!(found(store, &joint), [1]);
    let joint = Filter { owner: team_a.clone(), limit: Some(limit("y")), ..all() };
    assert_eq!(found(store, &joint), []);
    let joint = Filter { owner: team_a, outcome: Some(Outcome::Completed), ..all() };
    assert_eq!(found(store, &joint), [1, 5]);
    // An instant that no column holds is that of no window.
    let never = Filter { window_start: Some(Timestamp::MAX), ..all() };
    assert_eq!(found(store, &never), []);
}

pub fn pages_are_in_the_order_of_ids(place: &mut impl Place) {
    let store = place.store();
    // On both sides of where 128 bits have a sign, and of where bytes have one.
    let numbers = [0, 1, 127, 128, 255, 256, 1 << 64, (1 << 127) - 1, 1 << 127, u128::MAX];
    let mut shuffled = numbers.to_vec();
    shuffled.reverse();
    shuffled.swap(2, 7);
    let charge = |number: &u128| entry(record(*number), vec![posting("team:t", "t", 60, 1)]);
    put(store, &shuffled.iter().map(charge).collect::<Vec<_>>());
    let by_team = Filter { owner: Some(owner("team:t")), ..Filter::default() };
    for filter in [Filter::default(), by_team] {
        for page in [1, 3, 10, 11] {
            let (mut read, mut after) = (Vec::new(), None);
            loop {
                let stored = store.records(&filter, after, page).expect("records can be read");
                assert!(stored.len() <= page);
                let Some(last) = stored.last() else { break };
                after = Some(last.record.id);
                read.extend(stored.iter().map(|stored| stored.record.id.as_u128()));
                assert!(stored.iter().all(|stored| stored.postings.len() == 1));
            }
            assert_eq!(read, numbers, "in pages of {page}");
        }
        assert_eq!(store.records(&filter, None, 0).expect("records can be read"), []);
    }
}

pub fn uncertain_records_without_a_correction_are_found(place: &mut impl Place) {
    let store = place.store();
    let of = |number, outcome, corrects| {
        entry(UsageRecord { outcome, corrects, ..record(number) }, vec![])
    };
    put(
        store,
        &[
            of(1, Outcome::Uncertain, None),
            of(2, Outcome::Completed, None),
            of(3, Outcome::Uncertain, None),
            of(4, Outcome::Correction, Some(id(1))),
        ],
    );
    let uncorrected = Filter { uncorrected: true, ..Filter::default() };
    assert_eq!(found(store, &uncorrected), [3]);
    let contradiction = Filter { outcome: Some(Outcome::Completed), ..uncorrected.clone() };
    assert_eq!(found(store, &contradiction), []);
    let uncertain = Filter { outcome: Some(Outcome::Uncertain), ..Filter::default() };
    assert_eq!(found(store, &uncertain), [1, 3]);
    put(store, &[of(5, Outcome::Correction, Some(id(3)))]);
    assert_eq!(found(store, &uncorrected), []);
}

pub fn purging_is_bounded_and_keeps_totals(place: &mut impl Place) {
    let store = place.store();
    let settled = |number, secs| {
        let record = UsageRecord { settled_at: at(secs), ..record(number) };
        entry(record, vec![posting("team:t", "t", 60, 1)])
    };
    put(store, &[settled(1, 50), settled(2, 30), settled(3, 40), settled(4, 20), settled(5, 60)]);
    let purge = |before, at_most| store.purge(before, at_most).expect("records can be purged");
    assert_eq!(purge(at(20), 10), 0);
    assert_eq!(purge(at(60), 0), 0);
    assert_eq!(purge(at(60), 3), 3);
    assert_eq!(ids(store), [1, 5]);
    assert_eq!(purge(at(60), 3), 1);
    assert_eq!(ids(store), [5]);
    assert_eq!(purge(at(60), 3), 0);
    assert_eq!(sums(store, "t"), [(60, 5)]);
    assert_eq!(found(store, &Filter { limit: Some(limit("t")), ..Filter::default() }), [5]);
    assert_eq!(store.record(id(1)).expect("it can be read"), None);
    // Whatever is later than all instants that columns hold.
    assert_eq!(purge(Timestamp::MAX, 3), 1);
    assert_eq!(ids(store), []);
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub fn everything_is_there_after_opening_again(place: &mut impl Place) {
    let store = place.store();
    register(store, &["key:k", "provider:p"]);
    let group = [usual(1, "k", "p", 5), usual(2, "gone", "p", 6)];
    assert_eq!(write(store, &group), [written(NOW, NONE), written(NOW, KEY)]);
    let read = |store: &dyn tollkeeper::LedgerStore| {
        let records = store.records(&Filter::default(), None, 10).expect("records can be read");
        (records, open(store, at(70)))
    };
    let before = read(store);
    assert_eq!((before.0.len(), before.1.len()), (2, 3));
    place.reopen();
    let store = place.store();
    assert_eq!(read(store), before);
    let before = tollkeeper::Fate::Before;
    assert_eq!(write(store, &group), [written(before, NONE), written(before, KEY)]);
    put(store, &[usual(3, "k", "p", 5)]);
    assert_eq!(sums(store, "t-tokens"), [(60, 16)]);
}
