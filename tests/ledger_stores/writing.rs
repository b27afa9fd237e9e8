//! Groups are written whole, once, and exactly.

use tollkeeper::{
    Dimension, Entry, Fate, Money, Outcome, Posting, Span, Stored, Timestamp, Usage, UsageRecord,
};

use crate::kit::*;

pub fn every_field_comes_back(place: &mut impl Place) {
    let store = place.store();
    register(store, &["key:k", "provider:p"]);
    let full = UsageRecord {
        id: id(u128::MAX),
        api_key: Some(owner("key:k")),
        upstream: Some(owner("provider:p")),
        model: Some("modèle & 模型 'x\"".to_owned()),
        outcome: Outcome::Partial,
        reason: Some("the client went away".to_owned()),
        usage: Usage {
            input_tokens: 1,
            output_tokens: 2,
            cached_tokens: 3,
            cache_write_tokens: 4,
            requests: 5,
            cost: Money::from_nanos(6).expect("it is in range"),
        },
        admitted_at: Timestamp::from_nanos(7),
        settled_at: Timestamp::from_nanos(1_772_323_199_999_999_999),
        corrects: None,
    };
    let posting = |dimension, start, amount| Posting {
        dimension,
        ..posting("key:k", "ключ 'k\" monthly", start, amount)
    };
    // In the order in which they come back: by limit, dimension and start.
    let postings = vec![
        Posting { owner: owner("key:k&model:m"), ..posting(Dimension::Money, 0, 0) },
        posting(Dimension::Tokens, 60, 11),
        posting(Dimension::Tokens, 120, i64::MAX),
        posting(Dimension::Requests, 60, 12),
    ];
    let shuffled = [3, 1, 0, 2].map(|at: usize| postings[at].clone()).to_vec();
    let bare = UsageRecord { outcome: Outcome::Unbilled, ..record(0) };
    put(store, &[entry(full.clone(), shuffled), entry(bare.clone(), vec![])]);
    let stored = store.record(full.id).expect("it can be read");
    assert_eq!(stored, Some(Stored { record: full, nulled: NONE, postings }));
    let stored = store.record(bare.id).expect("it can be read");
    assert_eq!(stored, Some(Stored { record: bare, nulled: NONE, postings: vec![] }));
    assert_eq!(store.record(id(3)).expect("it can be read"), None);
    for (number, outcome) in (10..).zip(Outcome::ALL) {
        put(store, &[entry(UsageRecord { outcome, ..record(number) }, vec![])]);
        let stored = store.record(id(number)).expect("it can be read").expect("it is there");
        assert_eq!(stored.record.outcome, outcome);
    }
}

pub fn the_largest_values_come_back(place: &mut impl Place) {
    let store = place.store();
    let (most, last) = (i64::MAX as u64, Timestamp::from_nanos(i64::MAX as u64 - 1));
    let usage = Usage {
        input_tokens: most,
        output_tokens: most,
        cached_tokens: most,
        cache_write_tokens: most,
        requests: most,
        cost: Money::MAX,
    };
    let record = UsageRecord { usage, admitted_at: last, settled_at: last, ..record(1) };
    let charge = |limit: &str, end, amount| Posting {
        window: Span { start: last, end },
        anchor: last,
        amount,
        ..posting("team:t", limit, 0, 0)
    };
    let postings = vec![
        charge("a", Timestamp::MAX, i64::MAX),
        charge("b", Timestamp::from_nanos(most), i64::MIN),
        charge("c", Timestamp::from_nanos(most + 1), -1),
        charge("d", last, 0),
    ];
    let entry = Entry { record: Some(record.clone()), postings, attempt: u64::MAX };
    put(store, std::slice::from_ref(&entry));
    let stored = store.record(id(1)).expect("it can be read").expect("it is there");
    assert_eq!(stored.record, record);
    let read: Vec<_> = stored.postings.iter().map(|p| (p.window.end, p.anchor, p.amount)).collect();
    // What ends after 2262 never ends.
    let never = Timestamp::MAX;
    assert_eq!(
        read,
        [(never, last, i64::MAX), (never, last, i64::MIN), (never, last, -1), (last, last, 0)]
    );
    assert_eq!(write(store, &[entry])[0], written(Fate::Before, NONE));
}

pub fn what_columns_cannot_hold_is_rejected(place: &mut impl Place) {
    let store = place.store();
    let good = || entry(record(1), vec![posting("team:t", "t", 0, 1)]);
    let spoilt = |spoil: &dyn Fn(&mut Entry)| {
        let mut bad = entry(record(2), vec![posting("team:t", "bad", 0, 1)]);
        spoil(&mut bad);
        rejection(store.write(&[good(), bad]))
    };
    let too_many = i64::MAX as u64 + 1;
    let usage = |change: &dyn Fn(&mut Usage)| {
        spoilt(&|entry| change(&mut entry.record.as_mut().expect("it is there").usage))
    };
    let late = Timestamp::from_nanos(i64::MAX as u64);
    let in_record = |change: &dyn Fn(&mut UsageRecord)| {
        spoilt(&|entry| change(entry.record.as_mut().expect("it is there")))
    };
    let cases = [
        (usage(&|usage| usage.input_tokens = too_many), "9223372036854775808"),
        (usage(&|usage| usage.output_tokens = u64::MAX), "output tokens"),
        (usage(&|usage| usage.cached_tokens = too_many), "cached tokens"),
        (usage(&|usage| usage.cache_write_tokens = too_many), "cache write tokens"),
        (usage(&|usage| usage.requests = too_many), "at most 9223372036854775807"),
        (in_record(&|record| record.admitted_at = late), "the admission"),
        (in_record(&|record| record.settled_at = Timestamp::MAX), "2554-07-21"),
        (in_record(&|record| record.model = Some("a\0b".to_owned())), "the model"),
        (in_record(&|record| record.reason = Some("\0".to_owned())), "the reason"),
        (spoilt(&|entry| entry.postings[0].window.start = late), "start of bad"),
        (spoilt(&|entry| entry.postings[0].anchor = Timestamp::MAX), "anchor of bad"),
        (spoilt(&|entry| entry.postings[0].dimension = Dimension::InFlight), "in_flight"),
        (spoilt(&|entry| entry.postings.push(entry.postings[0].clone())), "twice"),
        (spoilt(&|entry| entry.record = None), "an amount of 0"),
    ];
    for ((text, constraint), said) in cases {
        assert!(text.contains(said), "{text:?} does not say {said:?}");
        assert_eq!(constraint, None);
    }
    assert_eq!(ids(store), []);
    assert_eq!(sums(store, "t"), []);
    put(store, &[good()]);
}

pub fn a_total_beyond_64_bits_rejects_the_group(place: &mut impl Place) {
    let store = place.store();
    put(store, &[entry(record(1), vec![posting("team:t", "t", 0, i64::MAX - 1)])]);
    put(store, &[entry(record(2), vec![posting("team:t", "low", 0, i64::MIN)])]);
    let other = |number| entry(record(number), vec![posting("team:t", "other", 0, 5)]);
    let over = entry(record(4), vec![posting("team:t", "t", 0, 2)]);
    rejection(store.write(&[other(3), over]));
    let under = entry(record(4), vec![posting("team:t", "low", 0, -1)]);
    rejection(store.write(&[other(3), under]));
    // Also when only the sum of one group is too large.
    let half = |number| entry(record(number), vec![posting("team:t", "new", 0, i64::MAX / 2 + 1)]);
    rejection(store.write(&[other(3), half(5), half(6)]));
    assert_eq!(ids(store), [1, 2]);
    assert_eq!(sums(store, "other"), []);
    assert_eq!(sums(store, "new"), []);
    assert_eq!(sums(store, "t"), [(0, i64::MAX - 1)]);
    put(store, &[other(3), entry(record(4), vec![posting("team:t", "t", 0, 1)])]);
    assert_eq!(sums(store, "t"), [(0, i64::MAX)]);
}

pub fn fates_are_in_the_order_of_the_group(place: &mut impl Place) {
    let store = place.store();
    register(store, &["key:k", "provider:p"]);
    put(store, &[usual(5, "k", "p", 1)]);
    let other = Entry { attempt: 2, ..usual(5, "k", "p", 1) };
    let group = [
        usual(9, "k", "p", 10),
        usual(1, "gone", "p", 100),
        other,
        usual(3, "k", "gone", 1_000),
        usual(5, "k", "p", 1),
        usual(2, "k", "p", 10_000),
    ];
    assert_eq!(
        write(store, &group),
        [
            written(NOW, NONE),
            written(NOW, KEY),
            written(Fate::Duplicate, NONE),
            written(NOW, UPSTREAM),
            written(Fate::Before, NONE),
            written(NOW, NONE),
        ]
    );
    assert_eq!(ids(store), [1, 2, 3, 5, 9]);
    assert_eq!(sums(store, "k-tokens"), [(60, 11_011)]);
    assert_eq!(sums(store, "p-tokens"), [(60, 10_111)]);
    assert_eq!(sums(store, "t-tokens"), [(60, 11_111)]);
    assert_eq!(sums(store, "gone-tokens"), []);
}

pub fn a_group_of_nothing_is_written(place: &mut impl Place) {
    assert_eq!(write(place.store(), &[]), []);
}

pub fn a_second_entry_of_the_same_record_changes_nothing(place: &mut impl Place) {
    let store = place.store();
    register(store, &["key:k", "provider:p"]);
    let first = usual(1, "k", "p", 7);
    let twice = Entry { attempt: 2, ..usual(1, "k", "p", 9) };
    // In one group,
    let fates = write(store, &[first.clone(), twice.clone()]);
    assert_eq!(fates, [written(NOW, NONE), written(Fate::Duplicate, NONE)]);
    // and in another.
    assert_eq!(write(store, &[twice]), [written(Fate::Duplicate, NONE)]);
    assert_eq!(sums(store, "k-tokens"), [(60, 7)]);
    let stored = store.record(id(1)).expect("it can be read").expect("it is there");
    assert_eq!(Some(stored.record), first.record);
    assert_eq!(stored.postings.iter().map(|posting| posting.amount).sum::<i64>(), 21);
}

pub fn a_lost_acknowledgement_is_recognised(place: &mut impl Place) {
    let store = place.store();
    register(store, &["key:k", "provider:p"]);
    let group = [usual(1, "k", "p", 7), usual(2, "k", "p", 7)];
    put(store, &group);
    assert_eq!(write(store, &group), [written(Fate::Before, NONE); 2]);
    // Half of it new, and the same entry twice in one group.
    let third = usual(3, "k", "p", 7);
    let again = [group[1].clone(), third.clone(), third];
    assert_eq!(
        write(store, &again),
        [written(Fate::Before, NONE), written(NOW, NONE), written(Fate::Before, NONE)]
    );
    assert_eq!(sums(store, "k-tokens"), [(60, 21)]);
    assert_eq!(ids(store), [1, 2, 3]);
}

pub fn totals_are_the_sums_of_postings(place: &mut impl Place) {
    let store = place.store();
    let charge =
        |number, start, amount| entry(record(number), vec![posting("team:t", "t", start, amount)]);
    put(store, &[charge(1, 0, 5), charge(2, 60, 6), charge(3, 0, 7)]);
    put(store, &[charge(4, 60, -10), charge(5, 120, 0)]);
    assert_eq!(sums(store, "t"), [(0, 12), (60, -4), (120, 0)]);
}

pub fn the_last_posting_says_where_a_window_ends(place: &mut impl Place) {
    let store = place.store();
    let charge = |number, owner_text: &str, end, anchor| {
        let mut charge = posting(owner_text, "t", 0, 10);
        charge.window.end = at(end);
        charge.anchor = at(anchor);
        entry(record(number), vec![charge])
    };
    let last = || {
        let totals = store.totals(&limit("t")).expect("totals can be read");
        assert_eq!(totals.len(), 1);
        let total = &totals[0];
        (total.owner.to_string(), total.window.end, total.anchor, total.settled)
    };
    put(store, &[charge(1, "team:t", 60, 0)]);
    put(store, &[charge(2, "team:t", 90, 1), charge(3, "team:t", 60, 0)]);
    assert_eq!(last(), ("team:t".to_owned(), at(60), at(0), 30));
    put(store, &[charge(4, "team:t", 60, 0), charge(5, "team:t", 90, 1)]);
    assert_eq!(last(), ("team:t".to_owned(), at(90), at(1), 50));
    put(store, &[charge(6, "team:u", 90, 1)]);
    assert_eq!(last(), ("team:u".to_owned(), at(90), at(1), 60));
    assert_eq!(open(store, at(80)).len(), 1);
    // Each posting stays as it was written.
    let stored = store.record(id(1)).expect("it can be read").expect("it is there");
    assert_eq!(stored.postings[0].window.end, at(60));
    assert_eq!(stored.postings[0].owner, owner("team:t"));
}

pub fn a_record_is_corrected_once(place: &mut impl Place) {
    let store = place.store();
    let uncertain = UsageRecord { outcome: Outcome::Uncertain, ..record(1) };
    put(store, &[entry(uncertain, vec![posting("team:t", "t", 0, 10)])]);
    let correction = |number, by| {
        let corrects = Some(id(1));
        let record = UsageRecord { outcome: Outcome::Correction, corrects, ..record(number) };
        entry(record, vec![posting("team:t", "t", 0, by)])
    };
    let group = [correction(2, -3), correction(3, -4)];
    let duplicate = written(Fate::Duplicate, NONE);
    assert_eq!(write(store, &group), [written(NOW, NONE), duplicate]);
    assert_eq!(write(store, &[correction(4, -5)]), [duplicate]);
    assert_eq!(write(store, &[correction(2, -3)]), [written(Fate::Before, NONE)]);
    assert_eq!(sums(store, "t"), [(0, 7)]);
    assert_eq!(ids(store), [1, 2]);
    let stored = store.record(id(2)).expect("it can be read").expect("it is there");
    assert_eq!(stored.record.corrects, Some(id(1)));
}

pub fn an_opening_needs_no_record(place: &mut impl Place) {
    let store = place.store();
    let postings = vec![posting("team:t", "t", 60, 0), posting("team:u", "u", 60, 0)];
    let opening = Entry { record: None, postings, attempt: 9 };
    put(store, std::slice::from_ref(&opening));
    put(store, &[opening.clone(), entry(record(1), vec![posting("team:t", "t", 60, 4)])]);
    put(store, &[opening]);
    assert_eq!(sums(store, "t"), [(60, 4)]);
    assert_eq!(sums(store, "u"), [(60, 0)]);
    assert_eq!(ids(store), [1]);
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub fn an_unknown_constraint_rejects_the_group_once(place: &mut impl Place) {
    place.forbid_a_model();
    let store = place.store();
    register(store, &["key:k", "provider:p"]);
    let forbidden = |key| {
        let mut entry = usual(2, key, "lost", 5);
        entry.record.as_mut().expect("it is there").model = Some("forbidden".to_owned());
        entry
    };
    for key in ["k", "gone"] {
        let (text, constraint) = rejection(store.write(&[usual(1, "k", "p", 5), forbidden(key)]));
        assert!(text.contains("no_forbidden_model"), "{text}");
        if let Some(constraint) = constraint {
            assert_eq!(constraint, "no_forbidden_model");
        }
        assert_eq!(ids(store), []);
        assert_eq!(sums(store, "k-tokens"), []);
    }
    put(store, &[usual(1, "k", "p", 5)]);
    assert_eq!(sums(store, "k-tokens"), [(60, 5)]);
}
