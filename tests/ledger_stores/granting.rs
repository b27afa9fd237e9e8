//! Top-ups and overrides.

use std::thread;

use tollkeeper::{
    Credited, Dimension, Fate, Granted, LedgerStore, OverrideState, StoreError, Timestamp, TopUp,
};

use crate::kit::*;

const MONEY: Dimension = Dimension::Money;

fn payment(number: u128, owner_text: &str, limit_text: &str, nanos: u64) -> TopUp {
    let amount = tollkeeper::Money::from_nanos(nanos).expect("an amount");
    let (limit, owner) = (limit(limit_text), owner(owner_text));
    TopUp { id: id(number), limit, owner, amount, at: at(1_000) }
}

fn pay(store: &dyn LedgerStore, number: u128, owner: &str, limit: &str, nanos: u64) -> Credited {
    store.top_up(&payment(number, owner, limit, nanos)).expect("it can be topped up")
}

fn credited(fate: Fate, credit: u64) -> Credited {
    Credited { fate, credit }
}

fn until(limit: u64, secs: u64) -> Option<OverrideState> {
    Some(OverrideState { limit, until: at(secs) })
}

fn set(
    store: &dyn LedgerStore,
    limit_text: &str,
    owner_text: &str,
    dimension: Dimension,
    instead: Option<OverrideState>,
) {
    let set = store.set_override(&limit(limit_text), &owner(owner_text), dimension, instead);
    set.expect("it can be overridden");
}

fn grants(store: &dyn LedgerStore) -> Vec<Granted> {
    let mut grants = Vec::new();
    store.grants(&mut |granted| grants.push(granted)).expect("grants can be read");
    grants
}

fn granted(
    limit_text: &str,
    owner_text: &str,
    dimension: Dimension,
    credit: u64,
    instead: Option<OverrideState>,
) -> Granted {
    Granted { limit: limit(limit_text), owner: owner(owner_text), dimension, credit, instead }
}

pub fn top_ups_add_up_each_once(place: &mut impl Place) {
    let store = place.store();
    assert_eq!(grants(store), []);
    assert_eq!(pay(store, 1, "key:k", "p", 5), credited(Fate::Now, 5));
    assert_eq!(pay(store, u128::MAX, "key:k", "p", 7), credited(Fate::Now, 12));
    assert_eq!(pay(store, 2, "key:k", "q", 1), credited(Fate::Now, 1));
    assert_eq!(pay(store, 1, "key:k", "p", 5), credited(Fate::Before, 12));
    // Whenever it comes again.
    let later = TopUp { at: at(2_000), ..payment(1, "key:k", "p", 5) };
    assert_eq!(store.top_up(&later).expect("it can be asked"), credited(Fate::Before, 12));
    assert_eq!(
        grants(store),
        [granted("p", "key:k", MONEY, 12, None), granted("q", "key:k", MONEY, 1, None)]
    );
}

pub fn an_id_of_another_top_up_adds_nothing(place: &mut impl Place) {
    let store = place.store();
    pay(store, 1, "key:k", "p", 5);
    assert_eq!(pay(store, 1, "key:k", "p", 6), credited(Fate::Duplicate, 5));
    assert_eq!(pay(store, 1, "key:k", "q", 5), credited(Fate::Duplicate, 0));
    assert_eq!(grants(store), [granted("p", "key:k", MONEY, 5, None)]);
}

pub fn overrides_are_set_and_taken_away(place: &mut impl Place) {
    let store = place.store();
    // Where there is nothing, nothing is left of taking it away.
    set(store, "l", "key:k", MONEY, None);
    assert_eq!(grants(store), []);
    let dimensions = [Dimension::InFlight, Dimension::Requests, Dimension::Tokens, MONEY];
    for (limit, dimension) in (1..).zip(dimensions) {
        set(store, "l", "key:k", dimension, until(limit, 60));
    }
    let all = grants(store);
    let of = |(dimension, limit)| granted("l", "key:k", dimension, 0, until(limit, 60));
    let mut expected: Vec<Granted> = dimensions.into_iter().zip(1..).map(of).collect();
    expected.reverse();
    assert_eq!(all, expected);

    set(store, "l", "key:k", MONEY, until(9, 120));
    for dimension in [Dimension::InFlight, Dimension::Requests, Dimension::Tokens] {
        set(store, "l", "key:k", dimension, None);
    }
    let all = grants(store);
    assert_eq!(all[0], granted("l", "key:k", MONEY, 0, until(9, 120)));
    // Whoever knew of them learns that they are gone.
    assert_eq!(all.len(), 4);
    assert!(all[1..].iter().all(|granted| granted.instead.is_none()), "{all:?}");
}

pub fn credit_and_override_stand_side_by_side(place: &mut impl Place) {
    let store = place.store();
    set(store, "l", "key:k", MONEY, until(9, 120));
    pay(store, 1, "key:k", "l", 5);
    assert_eq!(grants(store), [granted("l", "key:k", MONEY, 5, until(9, 120))]);
    set(store, "l", "key:k", MONEY, until(8, 60));
    pay(store, 2, "key:k", "l", 5);
    assert_eq!(grants(store), [granted("l", "key:k", MONEY, 10, until(8, 60))]);
    set(store, "l", "key:k", MONEY, None);
    assert_eq!(grants(store), [granted("l", "key:k", MONEY, 10, None)]);
}

pub fn the_largest_grants_come_back(place: &mut impl Place) {
    let store = place.store();
    let largest = i64::MAX as u64;
    let forever = OverrideState { limit: largest, until: Timestamp::MAX };
    set(store, "l", "key:k", MONEY, Some(forever));
    // Too late for columns is never.
    let late = Timestamp::from_nanos(largest + 1);
    set(store, "m", "key:k", MONEY, Some(OverrideState { limit: 0, until: late }));
    let most = tollkeeper::Money::MAX.as_nanos();
    assert_eq!(pay(store, 1, "key:k", "n", most), credited(Fate::Now, most));
    assert_eq!(pay(store, 2, "key:k", "n", most), credited(Fate::Now, 2 * most));
    let never = OverrideState { limit: 0, until: Timestamp::MAX };
    let expected = [
        granted("l", "key:k", MONEY, 0, Some(forever)),
        granted("m", "key:k", MONEY, 0, Some(never)),
        granted("n", "key:k", MONEY, 2 * most, None),
    ];
    assert_eq!(grants(store), expected);

    // What does not fit changes nothing, and its id is not taken.
    rejection(store.top_up(&payment(3, "key:k", "n", 2)));
    let (text, _) = rejection(store.set_override(
        &limit("l"),
        &owner("key:k"),
        MONEY,
        Some(OverrideState { limit: largest + 1, until: at(1) }),
    ));
    assert!(text.contains("the override of l is 9223372036854775808"), "{text}");
    let late = TopUp { at: Timestamp::MAX, ..payment(3, "key:k", "n", 1) };
    rejection(store.top_up(&late));
    assert_eq!(grants(store), expected);
    assert_eq!(pay(store, 3, "key:k", "n", 1), credited(Fate::Now, largest));
}

pub fn grants_go_with_their_owner(place: &mut impl Place) {
    let store = place.store();
    let owners = ["key:k", "key:k&model:m", "key:kk", "model:m", "model:m&key:k", "team:t"];
    for (number, owner) in (1..).zip(owners) {
        pay(store, number, owner, owner, 5);
        set(store, owner, owner, MONEY, until(9, 60));
    }
    register(store, &["key:k"]);
    assert!(store.delete(&owner("key:k")).expect("it can be deleted"));
    let left: Vec<String> = grants(store).iter().map(|left| left.limit.to_string()).collect();
    assert_eq!(left, ["key:kk", "model:m", "team:t"]);
    // A payment that was made is not made once more for whatever has its name now.
    assert_eq!(pay(store, 1, "key:k", "key:k", 5), credited(Fate::Before, 0));
    assert_eq!(pay(store, 7, "key:k", "key:k", 2), credited(Fate::Now, 2));
    assert_eq!(grants(store)[0], granted("key:k", "key:k", MONEY, 2, None));
}

pub fn what_was_granted_to_another_owner_is_forgotten(place: &mut impl Place) {
    let store = place.store();
    let begin = || {
        set(store, "l", "key:k", MONEY, until(9, 60));
        set(store, "m", "key:k", MONEY, until(9, 60));
    };
    begin();
    pay(store, 1, "key:k", "l", 5);
    pay(store, 2, "key:k", "m", 5);
    // Of another limit there is nothing to be taken away.
    set(store, "l", "key:j", MONEY, None);
    assert_eq!(grants(store)[0], granted("l", "key:k", MONEY, 5, until(9, 60)));
    assert_eq!(pay(store, 3, "key:j", "l", 7), credited(Fate::Now, 7));
    set(store, "m", "key:j", MONEY, until(8, 60));
    let expected =
        [granted("l", "key:j", MONEY, 7, None), granted("m", "key:j", MONEY, 0, until(8, 60))];
    assert_eq!(grants(store), expected);
    assert_eq!(pay(store, 1, "key:k", "l", 5), credited(Fate::Before, 0));
}

pub fn many_who_top_up_at_once_lose_nothing(place: &mut impl Place) {
    const EACH: u128 = 20;
    fn until_done(place: &impl Place, top_up: &TopUp) -> Credited {
        loop {
            match place.store().top_up(top_up) {
                Ok(done) => return done,
                Err(error @ StoreError::Unavailable { .. }) => assert!(error.is_transient()),
                Err(error) => panic!("{error}"),
            }
        }
    }
    let place = &*place;
    let added: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|thread: u128| {
                scope.spawn(move || {
                    let mut added = 0;
                    for number in 0..EACH {
                        // One of its own, and one that all have.
                        let own = payment(1_000 * (thread + 1) + number, "key:k", "p", 1);
                        assert_eq!(until_done(place, &own).fate, Fate::Now);
                        let shared = payment(number, "key:k", "p", 100);
                        let done = until_done(place, &shared);
                        assert_ne!(done.fate, Fate::Duplicate);
                        added += usize::from(done.fate == Fate::Now);
                    }
                    added
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    });
    assert_eq!(added, 20);
    assert_eq!(grants(place.store()), [granted("p", "key:k", MONEY, 6 * 20 + 20 * 100, None)]);
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub fn grants_are_there_after_opening_again(place: &mut impl Place) {
    let store = place.store();
    pay(store, 1, "key:k", "l", 5);
    set(store, "l", "key:k", MONEY, until(9, 60));
    set(store, "m", "key:k", Dimension::Tokens, until(9, 60));
    set(store, "m", "key:k", Dimension::Tokens, None);
    let before = grants(store);
    place.reopen();
    assert_eq!(grants(place.store()), before);
    assert_eq!(pay(place.store(), 1, "key:k", "l", 5), credited(Fate::Before, 5));
}
