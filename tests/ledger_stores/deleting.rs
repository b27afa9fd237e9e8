//! References that are not there, and owners that are deleted.

use tollkeeper::{Entry, Fate, Filter, LedgerStore};

use crate::kit::*;

fn references(store: &dyn LedgerStore, number: u128) -> [Option<String>; 2] {
    let stored = store.record(id(number)).expect("it can be read").expect("it is there");
    [stored.record.api_key, stored.record.upstream]
        .map(|reference| reference.map(|owner| owner.to_string()))
}

pub fn a_reference_that_is_not_registered_is_null(place: &mut impl Place) {
    let store = place.store();
    register(store, &["key:k"]);
    let with_pair = |number, key: &str, upstream: &str| {
        let mut entry = usual(number, key, upstream, 5);
        let pair = format!("key:{key}&model:m");
        entry.postings.push(posting(&pair, &format!("{key}-pair"), 60, 5));
        entry
    };
    assert_eq!(write(store, &[with_pair(1, "k", "p")]), [written(NOW, UPSTREAM)]);
    assert_eq!(references(store, 1), [Some("key:k".to_owned()), None]);
    assert_eq!(sums(store, "p-tokens"), []);
    assert_eq!(sums(store, "k-tokens"), [(60, 5)]);
    assert_eq!(sums(store, "k-pair"), [(60, 5)]);
    register(store, &["provider:p"]);
    assert_eq!(write(store, &[with_pair(2, "j", "p")]), [written(NOW, KEY)]);
    assert_eq!(references(store, 2), [None, Some("provider:p".to_owned())]);
    assert_eq!(sums(store, "p-tokens"), [(60, 5)]);
    assert_eq!(sums(store, "j-tokens"), []);
    assert_eq!(sums(store, "j-pair"), []);
    assert_eq!(sums(store, "t-tokens"), [(60, 10)]);
    let stored = store.record(id(2)).expect("it can be read").expect("it is there");
    assert_eq!(stored.nulled, KEY);
    let kept: Vec<_> = stored.postings.iter().map(|posting| posting.limit.as_str()).collect();
    assert_eq!(kept, ["p-tokens", "t-tokens"]);
}

pub fn both_references_may_be_missing(place: &mut impl Place) {
    let store = place.store();
    assert_eq!(write(store, &[usual(1, "k", "p", 5)]), [written(NOW, BOTH)]);
    assert_eq!(references(store, 1), [None, None]);
    assert_eq!(sums(store, "k-tokens"), []);
    assert_eq!(sums(store, "p-tokens"), []);
    assert_eq!(sums(store, "t-tokens"), [(60, 5)]);
    // Also when they are there no longer.
    register(store, &["key:k", "provider:p"]);
    put(store, &[usual(2, "k", "p", 5)]);
    for gone in ["key:k", "provider:p"] {
        assert!(store.delete(&owner(gone)).expect("it can be deleted"));
    }
    assert_eq!(write(store, &[usual(3, "k", "p", 5)]), [written(NOW, BOTH)]);
    assert_eq!(sums(store, "k-tokens"), []);
    assert_eq!(sums(store, "t-tokens"), [(60, 15)]);
}

pub fn missing_references_do_not_hold_up_the_group(place: &mut impl Place) {
    let store = place.store();
    register(store, &["key:k", "provider:p"]);
    let group: Vec<Entry> = (0..64)
        .map(|number| {
            let key = if number % 4 < 2 { "k" } else { "gone" };
            let upstream = if number % 2 == 0 { "p" } else { "lost" };
            usual(number, key, upstream, 1)
        })
        .collect();
    let fates = write(store, &group);
    for (number, fate) in fates.into_iter().enumerate() {
        assert_eq!(fate, written(NOW, [NONE, UPSTREAM, KEY, BOTH][number % 4]), "{number}");
    }
    assert_eq!(sums(store, "k-tokens"), [(60, 32)]);
    assert_eq!(sums(store, "p-tokens"), [(60, 32)]);
    assert_eq!(sums(store, "t-tokens"), [(60, 64)]);
    assert_eq!(sums(store, "gone-tokens"), []);
    assert_eq!(sums(store, "lost-tokens"), []);
}

pub fn before_tells_what_was_null_then(place: &mut impl Place) {
    let store = place.store();
    register(store, &["key:k"]);
    let first = usual(1, "k", "p", 5);
    assert_eq!(write(store, std::slice::from_ref(&first)), [written(NOW, UPSTREAM)]);
    // Since then the upstream has come, and the key has gone.
    register(store, &["provider:p"]);
    store.delete(&owner("key:k")).expect("it can be deleted");
    assert_eq!(write(store, std::slice::from_ref(&first)), [written(Fate::Before, UPSTREAM)]);
    assert_eq!(references(store, 1), [None, None]);
    let other = Entry { attempt: 2, ..first };
    assert_eq!(write(store, &[other]), [written(Fate::Duplicate, NONE)]);
}

pub fn deleting_an_owner_takes_its_totals(place: &mut impl Place) {
    let store = place.store();
    register(store, &["key:k", "provider:p"]);
    put(store, &[usual(1, "k", "p", 5), usual(2, "k", "p", 6)]);
    let older = vec![posting("key:k", "k-tokens", 0, 3), posting("key:k", "k-more", 0, 3)];
    put(store, &[entry(record(3), older)]);
    assert!(store.delete(&owner("key:k")).expect("it can be deleted"));
    for number in [1, 2] {
        assert_eq!(references(store, number), [None, Some("provider:p".to_owned())]);
        let stored = store.record(id(number)).expect("it can be read").expect("it is there");
        // It was there when the record was written, and what was charged stays on record.
        assert_eq!(stored.nulled, NONE);
        assert_eq!(stored.postings.len(), 3);
    }
    assert_eq!(sums(store, "k-tokens"), []);
    assert_eq!(sums(store, "k-more"), []);
    assert_eq!(sums(store, "p-tokens"), [(60, 11)]);
    assert_eq!(sums(store, "t-tokens"), [(60, 11)]);
    let filter = Filter { owner: Some(owner("key:k")), ..Filter::default() };
    assert_eq!(found(store, &filter), [1, 2, 3]);
    assert!(open(store, at(70)).iter().all(|total| total.owner != owner("key:k")));
}

pub fn deleting_a_member_takes_the_totals_of_its_pairs(place: &mut impl Place) {
    let store = place.store();
    let pairs = ["key:k&model:m", "key:j&model:m", "key:k&provider:p", "key:kk&model:m"];
    register(store, &["key:k", "key:j", "model:m", "key:kk", pairs[2]]);
    let singles = ["key:k", "key:j", "model:m", "provider:p", "key:kk"];
    let owners = || pairs.iter().chain(&singles);
    let postings: Vec<_> = owners().map(|owner| posting(owner, owner, 60, 1)).collect();
    put(store, &[entry(record(1), postings)]);
    let left = || {
        let left = owners().filter(|owner| !sums(store, owner).is_empty());
        left.copied().collect::<Vec<&str>>()
    };
    // A pair goes by itself, also where it is no reference of anything.
    assert!(store.delete(&owner(pairs[2])).expect("it can be deleted"));
    assert_eq!(
        left(),
        [pairs[0], pairs[1], pairs[3], "key:k", "key:j", "model:m", "provider:p", "key:kk"]
    );
    assert!(store.delete(&owner("key:k")).expect("it can be deleted"));
    assert_eq!(left(), [pairs[1], pairs[3], "key:j", "model:m", "provider:p", "key:kk"]);
    assert!(store.delete(&owner("model:m")).expect("it can be deleted"));
    assert_eq!(left(), ["key:j", "provider:p", "key:kk"]);
    let stored = store.record(id(1)).expect("it can be read").expect("it is there");
    assert_eq!(stored.postings.len(), owners().count());
}

pub fn unlinking_is_bounded_and_takes_nothing_else(place: &mut impl Place) {
    let store = place.store();
    register(store, &["key:k", "key:j", "provider:p", "provider:q"]);
    let mut group: Vec<Entry> = (0..7).map(|number| usual(number, "k", "p", 1)).collect();
    group.extend((7..10).map(|number| usual(number, "j", "q", 1)));
    // An owner that is both.
    for number in 10..12 {
        let mut both = usual(number, "k", "q", 1);
        both.record.as_mut().expect("a record").upstream = Some(owner("key:k"));
        group.push(both);
    }
    put(store, &group);
    let before: Vec<_> = (0..12).map(|number| store.record(id(number)).expect("read")).collect();
    let unlink = |of: &str, at_most| store.unlink(&owner(of), at_most).expect("it is unlinked");
    let left = |of: &str| {
        let references = (0..12).flat_map(|number| references(store, number));
        references.flatten().filter(|found| found == of).count()
    };
    assert_eq!(unlink("key:k", 0), 0);
    assert_eq!(unlink("key:none", 100), 0);
    assert_eq!(left("key:k"), 11);
    for (unlinked, still) in [(4, 7), (4, 3), (3, 0), (0, 0)] {
        assert_eq!((unlink("key:k", 4), left("key:k")), (unlinked, still));
    }
    assert_eq!((unlink("provider:p", usize::MAX), left("provider:p")), (7, 0));
    // What is not a reference to these is as it was, and so is the owner.
    assert_eq!((left("key:j"), left("provider:q")), (3, 3));
    for (number, stored) in before.into_iter().enumerate() {
        let mut stored = stored.expect("it is there");
        for reference in [&mut stored.record.api_key, &mut stored.record.upstream] {
            reference.take_if(|of| [owner("key:k"), owner("provider:p")].contains(of));
        }
        assert_eq!(store.record(id(number as u128)).expect("read"), Some(stored), "{number}");
    }
    assert_eq!(sums(store, "k-tokens"), [(60, 9)]);
    put(store, &[usual(12, "k", "p", 1)]);
    assert_eq!(references(store, 12), [Some("key:k".to_owned()), Some("provider:p".to_owned())]);
    assert!(store.delete(&owner("key:k")).expect("it can be deleted"));
}

pub fn deleting_nobody_says_so(place: &mut impl Place) {
    let store = place.store();
    assert!(!store.delete(&owner("key:k")).expect("it can be asked for"));
    register(store, &["key:k", "key:k"]);
    register(store, &["key:k"]);
    register(store, &[]);
    assert!(store.delete(&owner("key:k")).expect("it can be deleted"));
    assert!(!store.delete(&owner("key:k")).expect("it can be asked for"));
}

pub fn what_comes_again_begins_at_zero(place: &mut impl Place) {
    let store = place.store();
    register(store, &["key:k", "provider:p"]);
    put(store, &[usual(1, "k", "p", 5)]);
    store.delete(&owner("key:k")).expect("it can be deleted");
    register(store, &["key:k"]);
    assert_eq!(sums(store, "k-tokens"), []);
    // In the same window.
    put(store, &[usual(2, "k", "p", 6)]);
    assert_eq!(sums(store, "k-tokens"), [(60, 6)]);
    assert_eq!(references(store, 1), [None, Some("provider:p".to_owned())]);
    assert_eq!(references(store, 2), [Some("key:k".to_owned()), Some("provider:p".to_owned())]);
    assert_eq!(open(store, at(70)).iter().filter(|total| total.owner == owner("key:k")).count(), 1);
}

pub fn the_last_window_that_is_left_is_the_open_one(place: &mut impl Place) {
    let store = place.store();
    // A limit that went from one owner to another and lost the other.
    put(store, &[entry(record(1), vec![posting("team:t", "moved", 60, 5)])]);
    put(store, &[entry(record(2), vec![posting("team:u", "moved", 90, 7)])]);
    let sums_open = || open(store, at(100)).iter().map(|total| total.settled).collect::<Vec<_>>();
    assert_eq!(sums_open(), [7]);
    store.delete(&owner("team:u")).expect("it can be asked for");
    assert_eq!(sums_open(), [5]);
    put(store, &[entry(record(3), vec![posting("team:t", "moved", 90, 1)])]);
    assert_eq!(sums_open(), [1]);
    assert_eq!(sums(store, "moved"), [(60, 5), (90, 1)]);
}
