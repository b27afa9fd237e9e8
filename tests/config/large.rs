//! Documents that are large or deep.

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use tollkeeper::{Config, Engine};

use super::{config, limit, owner, request};

/// Far more than is needed even unoptimized and on a busy machine; what takes time by the square
/// of the owners takes longer.
const REASONABLE: Duration = Duration::from_secs(60);

#[test]
fn ten_thousand_owners() {
    const OWNERS: usize = 10_000;
    let mut text = String::new();
    for i in 0..OWNERS {
        writeln!(
            text,
            "[[owners]]\nid = \"key:k{i}\"\nparents = [\"team:t{team}\"]\n\
             budgets = [{{ id = \"b{i}\", limit = \"$5\", period = \"1M\", calendar = {{}} }}]\n\
             rate_limits = [{{ id = \"r{i}\", requests = \"60/m\", \
             tokens = {{ limit = 100_000, period = \"1m\" }} }}]",
            team = i % 100,
        )
        .expect("a string takes everything");
    }
    for team in 0..100 {
        writeln!(text, "[[owners]]\nid = \"team:t{team}\"").expect("a string takes everything");
    }
    let start = Instant::now();
    let config = config(&text);
    assert_eq!((config.owners().count(), config.limits().count()), (OWNERS + 100, 2 * OWNERS));
    let engine = Engine::new();
    let applied = engine.apply(&config).expect("fits");
    assert_eq!(applied.created.len(), 2 * OWNERS);
    assert_eq!(engine.apply(&config), Ok(tollkeeper::Applied::default()));
    let route = engine.route(&[owner("key:k9999")]);
    let _ = engine.bump(&route, &request(7, "1"));
    assert_eq!(engine.usage(&limit("r9999")).expect("is there").counters[0].settled, 7);
    let applied = engine.apply(&super::config("")).expect("nothing fits");
    assert_eq!(applied.removed.len(), 2 * OWNERS);
    assert_eq!(applied.owners_removed.len(), OWNERS + 100);
    assert_eq!(engine.usage_all().count(), 0);
    assert!(start.elapsed() < REASONABLE, "{:?}", start.elapsed());
}

/// Each owner's parent is the one before it, except that the first's is `of_first`.
fn chain(length: usize, of_first: Option<usize>) -> String {
    let mut text = String::new();
    for i in 0..length {
        writeln!(text, "[[owners]]\nid = \"team:t{i}\"").expect("a string takes everything");
        if i == 0 {
            let limit = "concurrency = [{ id = \"first\", limit = 1 }]";
            writeln!(text, "{limit}").expect("a string takes everything");
        }
        if let Some(parent) = i.checked_sub(1).or(of_first) {
            writeln!(text, "parents = [\"team:t{parent}\"]").expect("a string takes everything");
        }
    }
    text
}

/// Runs on a stack on which a recursion of 50,000 calls overflows.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(512 * 1024).spawn(run);
    thread.expect("a thread can be started").join().expect("it does not panic");
}

#[test]
fn a_chain_of_fifty_thousand_parents() {
    on_a_small_stack(|| {
        let start = Instant::now();
        let config = config(&chain(50_000, None));
        let engine = Engine::new();
        engine.apply(&config).expect("fits");
        // Not the deepest: resolving takes time by the square of the owners on the way.
        let deep = engine.route(&[owner("team:t1999")]);
        assert_eq!(engine.unknown_owners(&deep), []);
        assert_eq!(engine.route_usage(&deep).len(), 1, "the first has a limit");
        let applied = engine.apply(&super::config("")).expect("nothing fits");
        assert_eq!(applied.owners_removed.len(), 50_000);
        assert!(start.elapsed() < REASONABLE, "{:?}", start.elapsed());
    });
}

#[test]
fn a_cycle_of_fifty_thousand_parents() {
    on_a_small_stack(|| {
        let error = Config::from_toml(&chain(50_000, Some(49_999))).map(|_| ());
        assert_eq!(
            error.expect_err("a cycle").to_string(),
            "owners[1].parents[0]: team:t1 cannot have team:t0 for a parent: it is among team:t0's \
             ancestors"
        );
    });
}
