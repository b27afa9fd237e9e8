//! The naive reading: an immutable entry behind an ArcSwap, cloned, changed and swapped for every
//! bump. It reads no clock and looks at no window, which ours does.

use crate::side::Side;
use arc_swap::ArcSwap;
use std::sync::Arc;

#[derive(Clone)]
struct Entry {
    id: Arc<str>,
    limit: u64,
    window: (u64, u64),
    generation: u64,
    settled: u64,
    held: u64,
}

const COST: u64 = 3_250;

pub fn clone_and_swap() -> Side<'static> {
    let cell = Arc::new(ArcSwap::from_pointee(Entry {
        id: "key:one/0".into(),
        limit: 1 << 61,
        window: (0, 1 << 61),
        generation: 0,
        settled: 0,
        held: 0,
    }));
    let count = Arc::clone(&cell);
    Side::new("arc-swap, clone and swap", move |_| {
        let before =
            cell.rcu(|entry| Entry { settled: entry.settled + COST, ..Entry::clone(entry) });
        before.settled + before.held < before.limit
    })
    .counting(move || {
        let entry = count.load();
        assert_eq!((&*entry.id, entry.window.0, entry.generation), ("key:one/0", 0, 0));
        entry.settled / COST
    })
}
