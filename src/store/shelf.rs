//! A map of things that carry their own id.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use dashmap::{DashMap, Entry};

use crate::sync::Arc;

/// What is found by the text of the id that it carries.
pub(super) trait Named {
    fn name(&self) -> &str;
}

/// A place on a [`Shelf`]: is, hashes and compares as the id in it. A map of ids to things would
/// hold every id twice; this takes a pointer and the map's byte for each.
struct Place<T>(Arc<T>);

impl<T: Named> Borrow<str> for Place<T> {
    fn borrow(&self) -> &str {
        self.0.name()
    }
}

impl<T: Named> Hash for Place<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

impl<T: Named> PartialEq for Place<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl<T: Named> Eq for Place<T> {}

/// Things by their ids. Readers and writers of different parts do not meet.
///
/// Hashed by the standard library's keyed SipHash. Ids come from those whom a gateway serves, and
/// one who can name things so that they collide makes every lookup slow. The faster hashes (ahash,
/// foldhash) gain some 8 ns in a lookup of 40 ns, and promise less or nothing against such names.
pub(super) struct Shelf<T>(DashMap<Place<T>, ()>);

impl<T: Named> Shelf<T> {
    pub(super) fn new() -> Self {
        Self(DashMap::new())
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<T>> {
        self.0.get(name).map(|place| Arc::clone(&place.key().0))
    }

    /// Puts a thing in the place of the one of the same id, in one step: whoever looks finds one of
    /// the two. Says whether there was none.
    pub(super) fn put(&self, thing: Arc<T>) -> bool {
        match self.0.entry(Place(thing)) {
            // An insertion would leave the key, and here the key is the thing.
            Entry::Occupied(place) => {
                place.replace_entry(());
                false
            }
            Entry::Vacant(place) => {
                place.insert(());
                true
            }
        }
    }

    /// Takes a thing out. Says whether it was there.
    pub(super) fn remove(&self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// All things there were at some moment of the call. Each that was there throughout is in it.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.0.iter().map(|place| Arc::clone(&place.key().0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    struct Thing(&'static str, usize);

    impl Named for Thing {
        fn name(&self) -> &str {
            self.0
        }
    }

    #[test]
    fn one_thing_for_each_name() {
        let shelf = Shelf::new();
        assert!(shelf.put(Arc::new(Thing("a", 1))) && shelf.put(Arc::new(Thing("b", 2))));
        assert!(!shelf.put(Arc::new(Thing("a", 3))), "it replaces the first");
        assert_eq!(shelf.get("a").map(|thing| thing.1), Some(3));
        assert_eq!(shelf.all().iter().map(|thing| thing.1).sum::<usize>(), 5);
        assert!(shelf.remove("a") && !shelf.remove("a"));
        assert!(shelf.get("a").is_none() && shelf.get("b").is_some());
    }

    /// A request that looks for its owner while the owner changes is not told that there is none.
    #[test]
    fn what_is_replaced_is_always_there() {
        let shelf = Shelf::new();
        shelf.put(Arc::new(Thing("a", 0)));
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                (1..=20_000).for_each(|n| assert!(!shelf.put(Arc::new(Thing("a", n)))));
            });
            let mut last = 0;
            while !writer.is_finished() {
                let seen = shelf.get("a").expect("there is always one").1;
                assert!(seen >= last, "an older one came back");
                last = seen;
            }
        });
    }
}
