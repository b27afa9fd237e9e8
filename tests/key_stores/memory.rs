//! The cases in memory.

use std::sync::Arc;
use std::time::Duration;

use tollkeeper::{KeyAnswer, KeyStore, MemoryKeys, Timestamp};

use crate::kit::*;

struct Memory {
    store: Arc<MemoryKeys>,
    clock: Told,
}

impl Place for Memory {
    const DURABLE: bool = false;

    fn fresh() -> Memory {
        Memory { store: Arc::new(MemoryKeys::new(10_000)), clock: Told::default() }
    }

    fn open(&self) -> Box<dyn KeyStore> {
        Box::new(self.store.clone())
    }

    fn now(&self) -> Timestamp {
        self.clock.0
    }

    fn pass(&mut self, time: Duration) {
        self.clock.0 = self.clock.0.saturating_add(time);
    }
}

every_store!(Memory);

#[test]
fn it_is_bounded_and_forgets_only_what_has_expired() {
    let place = Memory { store: Arc::new(MemoryKeys::new(2)), clock: Told::default() };
    let store = place.open();
    owned(ask_of(&place, &*store, "a", claim("a", 1, Duration::ZERO)));
    owned(ask_of(&place, &*store, "b", claim("a", 1, HOUR)));
    for _ in 0..3 {
        assert_eq!(ask_of(&place, &*store, "c", claim("a", 1, HOUR)), KeyAnswer::Full);
    }
    assert_eq!(ask_of(&place, &*store, "c", peek("a")), KeyAnswer::Free);
    assert_eq!(ask_of(&place, &*store, "b", fail(1, 1, Duration::ZERO)), KeyAnswer::Done);
    owned(ask_of(&place, &*store, "c", claim("a", 1, HOUR)));
    assert_eq!(ask_of(&place, &*store, "b", claim("a", 2, HOUR)), KeyAnswer::Full);
    assert_eq!(owned(ask_of(&place, &*store, "a", claim("a", 2, HOUR))).0, 2);
    assert_eq!((place.store.len(), place.store.is_empty()), (2, false));
}
