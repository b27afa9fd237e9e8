//! Things that carry their own id, found by it.
//!
//! A map of ids to things would hold every id twice. This is a set of pointers, hashed by the id
//! inside what they point to: eight bytes and the table's one for each place.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::RwLock;

use crate::sync::Arc;

/// In so many parts, each with its own lock, so that those who look up different things seldom
/// meet, and nobody waits long for a table that grows.
const SHARDS: usize = 64;

/// What is found by the text of the id that it carries.
pub(crate) trait Named {
    fn name(&self) -> &str;
}

/// Things by their ids.
///
/// Hashed by the standard library's keyed SipHash. Ids come from those whom a gateway serves, and
/// one who can name things so that they collide makes every lookup slow. The faster hashes (ahash,
/// foldhash) gain some 8 ns of the 40 ns of a lookup, and promise less or nothing against such
/// names.
pub(super) struct Shelf<T> {
    hasher: RandomState,
    shards: Box<[Shard<T>]>,
}

/// On cache lines of its own: even reading takes a lock.
#[repr(align(64))]
struct Shard<T>(RwLock<HashTable<Arc<T>>>);

impl<T: Named> Shelf<T> {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Shard(RwLock::new(HashTable::new()))).collect();
        Self { hasher: RandomState::new(), shards }
    }

    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    /// By bits of the hash that the tables, which go by the lowest and the highest, leave.
    fn shard(&self, hash: u64) -> &RwLock<HashTable<Arc<T>>> {
        &self.shards[(hash >> 48) as usize % SHARDS].0
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.read().len()).sum()
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<T>> {
        let hash = self.hash(name);
        self.shard(hash).read().find(hash, |thing| thing.name() == name).cloned()
    }

    /// Puts a thing in the place of the one of the same id, in one step: whoever looks finds one of
    /// the two. Returns the one that was there.
    pub(super) fn put(&self, thing: Arc<T>) -> Option<Arc<T>> {
        let hash = self.hash(thing.name());
        let same = |other: &Arc<T>| other.name() == thing.name();
        match self.shard(hash).write().entry(hash, same, |other| self.hash(other.name())) {
            Entry::Occupied(mut place) => Some(std::mem::replace(place.get_mut(), thing)),
            Entry::Vacant(place) => {
                place.insert(thing);
                None
            }
        }
    }

    /// Takes a thing out and returns it, if it was there.
    pub(super) fn remove(&self, name: &str) -> Option<Arc<T>> {
        let hash = self.hash(name);
        let mut shard = self.shard(hash).write();
        shard.find_entry(hash, |thing| thing.name() == name).ok().map(|place| place.remove().0)
    }

    /// All things there were at some moment of the call. Each that was there throughout is in it.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            all.extend(shard.0.read().iter().cloned());
        }
        all
    }

    /// Makes room for so many in all, so that the tables need not grow step by step.
    #[cfg(feature = "serde")]
    pub(super) fn reserve(&self, in_all: usize) {
        for shard in &self.shards {
            let mut table = shard.0.write();
            let more = (in_all / SHARDS).saturating_sub(table.len());
            table.reserve(more, |thing| self.hash(thing.name()));
        }
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
        assert!(shelf.put(Arc::new(Thing("a", 1))).is_none());
        assert!(shelf.put(Arc::new(Thing("b", 2))).is_none());
        let first = shelf.put(Arc::new(Thing("a", 3)));
        assert_eq!(first.map(|thing| thing.1), Some(1));
        assert_eq!(shelf.len(), 2);
        assert_eq!(shelf.get("a").map(|thing| thing.1), Some(3));
        assert_eq!(shelf.all().iter().map(|thing| thing.1).sum::<usize>(), 5);
        assert!(shelf.remove("a").is_some() && shelf.remove("a").is_none());
        assert!(shelf.get("a").is_none() && shelf.get("b").is_some());
    }

    /// A request that looks for its owner while the owner changes is not told that there is none.
    #[test]
    fn what_is_replaced_is_always_there() {
        let shelf = Shelf::new();
        shelf.put(Arc::new(Thing("a", 0)));
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                (1..=20_000).for_each(|n| assert!(shelf.put(Arc::new(Thing("a", n))).is_some()));
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
