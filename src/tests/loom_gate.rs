//! Models of the gate: a copy that is whole, and never outlives the call that replaces what it
//! copies.

use crate::gate::{Gate, Terms};
use crate::sync::testing::{model, thread};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::Timestamp;

/// A gate beside a stand-in for the cell: the number of the snapshot in it.
struct Scene {
    cell: AtomicU64,
    gate: Gate<1>,
}

fn share(n: u64) -> u8 {
    u8::try_from(n).expect("a few snapshots")
}

impl Scene {
    fn new() -> Arc<Scene> {
        let scene = Scene { cell: AtomicU64::new(1), gate: Gate::new() };
        scene.open();
        Arc::new(scene)
    }

    fn open(&self) {
        self.gate.open(|| {
            // Acquire: stands for the load of the cell.
            let n = self.cell.load(Ordering::Acquire);
            let end = Timestamp::from_nanos(n);
            [Some(Terms { generation: n, end, limit: n, share: share(n) })]
        });
    }

    fn replace(&self, n: u64) {
        // Release: stands for the swap of the cell.
        self.cell.store(n, Ordering::Release);
        self.gate.close();
    }

    /// The number of the terms that are read, all four of which must be of one snapshot.
    fn read(&self) -> Option<u64> {
        let terms = self.gate.read(0, Timestamp::UNIX_EPOCH)?;
        let n = terms.generation;
        let end = Timestamp::from_nanos(n);
        let whole = Terms { generation: n, end, limit: n, share: share(n) };
        assert_eq!(terms, whole, "the numbers of two snapshots were mixed");
        Some(n)
    }
}

/// A reader meets one that replaces and opens: it reads whole terms or none.
#[test]
fn loom_terms_are_read_whole() {
    model(|| {
        let scene = Scene::new();
        let other = Arc::clone(&scene);
        let replacer = thread::spawn(move || {
            other.replace(2);
            other.open();
        });
        let seen = scene.read();
        replacer.join().unwrap();
        assert!(matches!(seen, None | Some(1 | 2)));
        assert_eq!(scene.read(), Some(2));
    });
}

/// Two open at once, one of them about to stand still: the numbers are one writer's.
#[test]
fn loom_two_open_at_once() {
    model(|| {
        let scene = Scene::new();
        scene.replace(2);
        let other = Arc::clone(&scene);
        let opener = thread::spawn(move || other.open());
        scene.open();
        let seen = scene.read();
        opener.join().unwrap();
        assert!(matches!(seen, None | Some(2)));
        assert_eq!(scene.read(), Some(2));
    });
}

/// One opens while another replaces: when the replacing call has returned, nobody reads what it
/// replaced.
#[test]
fn loom_nothing_old_is_read_after_it_was_replaced() {
    model(|| {
        let scene = Scene::new();
        scene.replace(2);
        let other = Arc::clone(&scene);
        let opener = thread::spawn(move || {
            other.open();
            other.read()
        });
        scene.replace(3);
        // The other may hold the claim with the old numbers half written.
        scene.open();
        let seen = scene.read();
        assert!(matches!(seen, None | Some(3)), "read {seen:?} after 3 was in force");
        assert!(matches!(opener.join().unwrap(), None | Some(2 | 3)));
        scene.open();
        assert_eq!(scene.read(), Some(3), "a claim that was given up keeps the gate closed");
    });
}
