//! Applying a document and being told how far it is.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tollkeeper::{Config, Engine};

use super::{config, limit, owner, request};

/// Enough to be told of more than once on the way.
const OWNERS: usize = 10_000;

/// Owners, each with `limits` in its table.
fn owners(limits: impl Fn(usize) -> String) -> Config {
    let block = |i: usize| format!("[[owners]]\nid = \"key:{i}\"\n{}\n", limits(i));
    config(&(0..OWNERS).map(block).collect::<String>())
}

fn told(engine: &Engine, config: &Config) -> Vec<(usize, usize)> {
    let mut told = Vec::new();
    engine.apply_with_progress(config, |done, of| told.push((done, of))).expect("fits");
    told
}

#[test]
fn progress_rises_and_reaches_the_end_once() {
    let engine = Engine::new();
    let many = owners(|_| String::new());
    // The first creates, the second has nothing to do; both go through all owners.
    for told in [told(&engine, &many), told(&engine, &many)] {
        assert!(told.len() > 2, "{told:?}");
        assert!(told.iter().all(|(_, of)| *of == OWNERS), "{told:?}");
        assert!(told.is_sorted_by(|(before, _), (after, _)| before < after), "{told:?}");
        assert_eq!(told.last(), Some(&(OWNERS, OWNERS)));
    }
    assert_eq!(told(&engine, &config("")), [(0, 0)]);
    assert_eq!(told(&engine, &config("owners = [{ id = \"key:a\" }]")), [(1, 1)]);
}

/// The last call comes when everything is done, and finds nothing locked.
#[test]
fn at_the_end_the_document_is_in_force_and_the_engine_free() {
    let engine = Engine::new();
    engine.apply(&owners(|i| format!("concurrency = [{{ id = \"c{i}\", limit = 1 }}]"))).expect("");
    engine
        .apply_with_progress(&config("owners = [{ id = \"key:a\" }]"), |_, _| {
            assert!(engine.usage(&limit("c7")).is_none());
            engine.upsert_owner(&owner("key:b"), &[]).expect("has no parents");
        })
        .expect("fits");
}

#[test]
fn a_refused_document_makes_no_progress() {
    let engine = Engine::new();
    engine
        .apply(&config("owners = [{ id = \"key:a\", concurrency = [{ id = \"x\", limit = 1 }] }]"))
        .expect("fits");
    let other = config("owners = [{ id = \"key:b\", concurrency = [{ id = \"x\", limit = 1 }] }]");
    let refused = engine.apply_with_progress(&other, |_, _| panic!("nothing is in force"));
    assert!(refused.is_err());
}

#[test]
fn decisions_are_made_meanwhile() {
    let engine = Engine::new();
    let document = owners(|i| format!("concurrency = [{{ id = \"c{i}\", limit = 1 }}]"));
    let mut decided = 0;
    engine
        .apply_with_progress(&document, |done, _| {
            let last = format!("{}", done - 1);
            assert!(engine.usage(&limit(&format!("c{last}"))).is_some());
            let route = engine.route(&[owner(&format!("key:{last}"))]);
            let held = engine.reserve(&route, &request(1, "0")).into_result().expect("one fits");
            assert!(!engine.reserve(&route, &request(1, "0")).is_admitted());
            held.void();
            decided += 1;
        })
        .expect("fits");
    assert!(decided > 2);
}

/// What a panic came in the middle of is in force for routes that were kept, too.
#[test]
fn a_panic_hides_no_change() {
    let engine = Engine::new();
    engine.apply(&owners(|_| String::new())).expect("fits");
    let kept = engine.route(&[owner("key:0")]);
    assert!(engine.reserve(&kept, &request(1, "0")).is_admitted());
    let closed = owners(|i| format!("concurrency = [{{ id = \"c{i}\", limit = 0 }}]"));
    let apply = || engine.apply_with_progress(&closed, |_, _| panic!("enough"));
    assert!(catch_unwind(AssertUnwindSafe(apply)).is_err());
    assert!(!engine.reserve(&kept, &request(1, "0")).is_admitted());
    let applied = engine.apply(&closed).expect("another turn can be taken");
    assert_eq!(applied, tollkeeper::Applied::default(), "nothing was left to do");
}

/// A document whose caller throws on the way is in force whole: the parents that it has before and
/// after their children, what it takes away, and its prices.
#[test]
fn a_panic_leaves_no_half_of_a_document() {
    let engine = Engine::new();
    engine
        .apply(&config("owners = [{ id = \"key:0\", concurrency = [{ id = \"x\", limit = 0 }] }]"))
        .expect("fits");
    let parents = "\n[[owners]]\nid = \"team:first\"\n";
    let children = "[[owners]]\nid = \"key:c\"\nparents = [\"team:first\", \"team:last\"]\n";
    let blocks: String = (0..OWNERS).map(|i| format!("[[owners]]\nid = \"key:{i}\"\n")).collect();
    let last = "[[owners]]\nid = \"team:last\"\n";
    let document = config(&format!("{parents}{children}{blocks}{last}"));

    let mut calls = 0;
    let thrown = catch_unwind(AssertUnwindSafe(|| {
        engine.apply_with_progress(&document, |_, _| {
            calls += 1;
            panic!("the caller's own");
        })
    }));
    let what = *thrown.expect_err("it comes out").downcast::<&str>().expect("what was thrown");
    assert_eq!((what, calls), ("the caller's own", 1), "who threw is not asked again");
    assert_eq!(engine.apply(&document), Ok(tollkeeper::Applied::default()), "nothing was left");
    assert!(engine.usage(&limit("x")).is_none(), "what it does not have is gone");
    assert!(engine.reserve(&engine.route(&[owner("key:0")]), &request(1, "0")).is_admitted());
    for team in ["team:first", "team:last"] {
        assert!(engine.remove_owner(&owner(team)).is_err(), "{team} has a child");
    }
    engine.remove_owner(&owner("key:c")).expect("it is no parent");
    for team in ["team:first", "team:last"] {
        engine.remove_owner(&owner(team)).expect("it has no child any more");
    }
}
