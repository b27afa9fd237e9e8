//! Models of the word alone.

use crate::counter::{Counter, Counts, Elsewhere, Missed};
use crate::sync::Arc;
use crate::sync::testing::{model, thread};

fn bump(counter: &Counter, generation: u64) -> bool {
    counter.update(generation, |counts| Ok::<_, ()>(counts.book(1))).is_ok()
}

/// L1: of two bumps none is lost.
#[test]
fn loom_two_bumps_are_both_counted() {
    model(|| {
        let counter = Arc::new(Counter::new(0, 0));
        let other = Arc::clone(&counter);
        let one = thread::spawn(move || assert!(bump(&other, 0)));
        assert!(bump(&counter, 0));
        one.join().unwrap();
        assert_eq!(counter.read(0), Ok(Counts { held: 0, settled: 2 }), "an increment was lost");
    });
}

/// L1: a bump that races with the closing of its window is in the closed total, or is told so.
#[test]
fn loom_a_bump_is_in_the_closed_total_or_refused() {
    model(|| {
        let counter = Arc::new(Counter::new(0, 0));
        let other = Arc::clone(&counter);
        let bumper = thread::spawn(move || bump(&other, 0));
        let closed = counter.close(0).expect("nobody else closes");
        assert!(counter.open(0, closed, 0));
        let counted = bumper.join().unwrap();
        assert_eq!(closed.settled, u64::from(counted), "fell into a crack");
        assert_eq!(counter.read(1), Ok(Counts::default()), "leaked into the new window");
    });
}

/// L2: of two who close one window, both read the same total and one opens the next.
#[test]
fn loom_two_closers_read_one_total_and_one_opens() {
    model(|| {
        let counter = Arc::new(Counter::new(7, 0));
        let close = |counter: &Counter| {
            counter.close(7).map(|closed| (closed.settled, counter.open(7, closed, 0)))
        };
        let (first, second) = (Arc::clone(&counter), Arc::clone(&counter));
        let bumper = thread::spawn(move || bump(&first, 7));
        let helper = thread::spawn(move || close(&second));
        let mine = close(&counter);
        let counted = bumper.join().unwrap();
        let theirs = helper.join().unwrap();
        let both: Vec<_> = [mine, theirs].into_iter().flatten().collect();
        assert_eq!(both.iter().filter(|(_, opened)| *opened).count(), 1, "not one winner");
        assert!(
            both.iter().all(|(total, _)| *total == u64::from(counted)),
            "a helper read another total than the winner"
        );
    });
}

/// L5: the last unit goes to one of two.
#[test]
fn loom_the_last_unit_is_held_once() {
    model(|| {
        let counter = Arc::new(Counter::new(0, 9));
        let hold = |counter: &Counter| {
            let admitted = counter.update(0, |counts| {
                if counts.committed() + 1 > 10 { Err(()) } else { counts.hold(1).ok_or(()) }
            });
            admitted.is_ok()
        };
        let other = Arc::clone(&counter);
        let theirs = thread::spawn(move || hold(&other));
        let mine = hold(&counter);
        assert_ne!(mine, theirs.join().unwrap(), "the last unit was held twice, or not at all");
        assert_eq!(counter.read(0), Ok(Counts { held: 1, settled: 9 }));
    });
}

/// The tag wraps: generations far apart are told from neighbours, and a window with the tag of the
/// one before the first is open like any other.
#[test]
fn loom_windows_roll_past_the_wrap_of_the_tag() {
    model(|| {
        let counter = Arc::new(Counter::new(0, 0));
        let other = Arc::clone(&counter);
        // Three bits of tag under loom: ten windows wrap it.
        let roll = |counter: &Counter, generation| {
            let closed = counter.close(generation).expect("one thread rolls");
            assert!(counter.open(generation, closed, 0));
        };
        (0..9).for_each(|generation| roll(&counter, generation));
        let bumper = thread::spawn(move || {
            other.update(9, |counts| Ok::<_, ()>(counts.book(1))).map(|done| done.after)
        });
        roll(&counter, 9);
        match bumper.join().unwrap() {
            Ok(after) => assert_eq!(after, Counts { held: 0, settled: 1 }),
            Err(Missed::Elsewhere(Elsewhere::Moved)) => {}
            other => panic!("a bump in an open or past window got {other:?}"),
        }
        assert_eq!(counter.read(10), Ok(Counts::default()));
    });
}
