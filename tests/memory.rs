//! What many owners take: bytes and allocations that are kept, counted by the allocator.
#![cfg(feature = "serde")]

use tollkeeper::{Config, Engine};

/// In tables of a power of two this many fill them as little as a million do.
const OWNERS: usize = 62_500;

/// Owners that each have a budget and a rate limit of two counters, like a million keys of a few
/// tariffs. Ids are of twelve bytes.
fn tariffs(owners: usize) -> String {
    let owner = |i: usize| {
        let (limit, requests) = [("$5", "60/m"), ("$50", "600/m"), ("$500", "1000/10s")][i % 3];
        format!(
            "[[owners]]\nid = \"key:{i:08}\"\n\
             budgets = [{{ id = \"bud-{i:08}\", limit = \"{limit}\", period = \"1M\" }}]\n\
             rate_limits = [{{ id = \"rat-{i:08}\", requests = \"{requests}\", \
             tokens = {{ limit = 100_000, period = \"1m\" }} }}]\n"
        )
    };
    (0..owners).map(owner).collect()
}

/// The bytes and allocations that `make` leaves behind, of an owner of so many.
fn of_each<T>(owners: usize, make: impl FnOnce() -> T) -> (f64, f64) {
    let mut made = None;
    let kept = allocation_counter::measure(|| made = Some(make()));
    let each = |all: i64| all as f64 / owners as f64;
    (each(kept.bytes_current), each(kept.count_current))
}

fn engine(config: &Config) -> Engine {
    let engine = Engine::new();
    drop(engine.apply(config).expect("an empty engine takes any document"));
    engine
}

#[test]
fn an_owner_alone_is_one_small_allocation() {
    let text: String = (0..OWNERS).map(|i| format!("[[owners]]\nid = \"key:{i:08}\"\n")).collect();
    let config = Config::from_toml(&text).expect("it is right");
    let (bytes, allocations) = of_each(OWNERS, || engine(&config));
    assert!(bytes < 96.0, "{bytes} bytes: a node of 72 and two places of 9 in the table");
    assert!(allocations < 1.01, "{allocations} allocations");
}

/// A node of an owner, a list of two limits, and the limits.
#[test]
fn limits_that_are_written_alike_share_their_plan() {
    let text = tariffs(OWNERS);
    let ((bytes, allocations), config) = {
        let mut config = None;
        let read = || config = Some(Config::from_toml(&text).expect("it is right"));
        (of_each(OWNERS, read), config.expect("it was read"))
    };
    assert!(bytes < 160.0, "{bytes} bytes of a document");
    assert!(allocations < 0.01, "{allocations} allocations of a document");
    let (bytes, allocations) = of_each(OWNERS, || engine(&config));
    assert!(bytes < 512.0, "{bytes} bytes");
    assert!(allocations < 4.01, "{allocations} allocations");
}

/// Long texts are written once, whoever has them.
#[test]
fn a_long_id_is_kept_once() {
    let long = "n".repeat(200);
    let document = |name: &str| -> String {
        let owner = |i: usize| {
            format!("[[owners]]\nid = \"key:{i:08}{name}\"\nparents = [\"team:t\"]\n")
                + &format!("concurrency = [{{ id = \"{i:08}{name}\", limit = 1 }}]\n")
        };
        "[[owners]]\nid = \"team:t\"\n".to_owned() + &(0..1_000).map(owner).collect::<String>()
    };
    let load = |text: &str| {
        let config = Config::from_toml(text).expect("it is right");
        let engine = engine(&config);
        (config, engine)
    };
    let (short, _) = of_each(1_000, || load(&document("")));
    let (long, _) = of_each(1_000, || load(&document(&long)));
    // Two ids, each of 208 or 212 bytes and what it is counted by.
    assert!((long - short) < 480.0, "{} bytes more", long - short);
}
