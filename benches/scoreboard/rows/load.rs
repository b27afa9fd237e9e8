//! `load` and `bytes_per_owner`: so many owners from a document, each with a budget and a rate
//! limit of tokens and requests; and what they take, counted by the allocator.

use super::Group;
use crate::drawn::id;
use crate::ours;
use crate::peers::governor;
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::rounds::waited;
use crate::scale::Scale;
use crate::side::median;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tollkeeper::{Config, Engine, ManualClock, OwnerId, Timestamp};

pub const GROUP: Group =
    Group { rows: &["load", "load_parse", "load_apply", "bytes_per_owner"], measure: load };

/// Of one core, for a million owners.
const TIME: Duration = Duration::from_secs(3);
const BYTES: f64 = 512.0;

fn load(scale: &Scale, progress: &Progress, report: &mut Report) {
    let owners = scale.entries;
    progress.say(format!("writing a document of {owners} owners"));
    let text = document(owners);
    let loads: Vec<Load> =
        (1..=scale.loads).map(|turn| Load::of(&text, owners, turn, progress)).collect();
    let median = |time: fn(&Load) -> Duration| {
        median(loads.iter().map(|load| time(load).as_nanos() as f64).collect())
    };
    let target = TIME.as_nanos() as f64 * owners as f64 / 1e6;
    for (name, time) in [
        ("load", median(|load| load.parse + load.apply)),
        ("load_parse", median(|load| load.parse)),
        ("load_apply", median(|load| load.apply)),
    ] {
        let row = Row::of(name, owners, time, "3 s for a million", target);
        report.add(if name == "load" { row.target(1.0) } else { row });
    }
    let each = loads[0].bytes as f64 / owners as f64;
    let row = Row::bytes("bytes_per_owner", owners, each, "512 bytes", BYTES);
    report.add(row.target(1.0));
    for (name, bytes) in
        [("bytes_per_owner_rolled", loads[0].rolled), ("bytes_per_owner_by_name", loads[0].by_name)]
    {
        let each = bytes as f64 / owners as f64;
        report.add(Row::bytes(name, owners, each, "512 bytes", BYTES));
    }
    progress.say("making three keys for each in governor");
    let mut limiter = None;
    let names = ["bud", "tok", "req"];
    let keys = (0..owners).flat_map(|number| names.map(|name| format!("{name}-{number:08}")));
    let counted = allocation_counter::measure(|| limiter = Some(governor::knowing(keys)));
    assert_eq!(limiter.map(|limiter| limiter.len()), Some(3 * owners));
    let theirs = counted.bytes_current as f64 / owners as f64;
    let peer = "governor keyed, three keys each";
    report.add(Row::bytes("bytes_per_owner", owners, each, peer, theirs));
}

/// What it took to make an engine from a document, once.
struct Load {
    parse: Duration,
    apply: Duration,
    /// Of the engine, when each of its owners has had a request.
    bytes: i64,
    /// When each of its windows has been followed by another, too.
    rolled: i64,
    /// When each of its owners has been asked for by name, on top.
    by_name: i64,
}

impl Load {
    fn of(text: &str, owners: usize, turn: usize, progress: &Progress) -> Load {
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let engine = Engine::builder().clock(clock.clone()).build();
        let (mut parse, mut apply) = (Duration::ZERO, Duration::ZERO);
        // What is live behind it and was not before is in the engine: the document and what was
        // made of it on the way is gone by then.
        let counted = allocation_counter::measure(|| {
            progress.say(format!("reading {owners} owners, turn {turn}"));
            let (config, took) = timed(|| {
                let config = Config::deserialize(&mut serde_json::Deserializer::from_str(text));
                config.expect("a right document")
            });
            parse = took;
            progress.say(format!("putting {owners} owners in force, turn {turn}"));
            let (applied, took) = timed(|| engine.apply(&config).expect("it fits"));
            apply = took;
            assert_eq!(applied.created.len(), 2 * owners);
            drop((config, applied));
            progress.say(format!("a request for each of {owners} owners"));
            use_all(&engine, owners);
        });
        let bytes = counted.bytes_current;
        progress.say(format!("ending the windows of {owners} owners"));
        clock.advance(Duration::from_secs(40 * 86_400));
        let counted = allocation_counter::measure(|| {
            assert_eq!(engine.reset_expired().rolled, 2 * owners);
        });
        let rolled = bytes + counted.bytes_current;
        progress.say(format!("asking for {owners} owners by name"));
        let counted = allocation_counter::measure(|| {
            (0..owners).for_each(|number| drop(ours::keyed(&engine, &id(number))));
        });
        let by_name = rolled + counted.bytes_current;
        progress.say("dropping them");
        Load { parse, apply, bytes, rolled, by_name }
    }
}

/// What it returned, and how long one core worked at it: without the time in which it had none.
fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let (began, before) = (Instant::now(), waited());
    let result = work();
    (result, began.elapsed().saturating_sub(waited().saturating_sub(before)))
}

/// One request for each owner, so that whatever is made at first use is there.
fn use_all(engine: &Engine, owners: usize) {
    let (estimate, used) = (ours::estimate(), ours::used());
    for number in 0..owners {
        let owner: OwnerId = id(number).parse().expect("an owner's text");
        let route = engine.route(&[owner]);
        assert!(ours::pass(engine, &route, &estimate, &used), "it was not admitted");
        if number % 1_000 == 0 {
            let limits = engine.route_usage(&route);
            assert_eq!((limits.len(), ours::booked(&limits)), (2, 1));
        }
    }
}

/// Every id in it has twelve bytes.
fn document(owners: usize) -> String {
    let mut text = String::with_capacity(200 * owners);
    text.push_str(r#"{"owners":["#);
    for number in 0..owners {
        let comma = if number == 0 { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            r#"{comma}{{
            "id":"key:{number:08}",
            "budgets":[{{"id":"bud-{number:08}","limit":"$500","period":"1M"}}],
            "rate_limits":[{{
                "id":"rat-{number:08}","requests":"600/m",
                "tokens":{{"limit":1000000,"period":"1m"}}
            }}]}}"#
        );
    }
    text.push_str("]}");
    text
}
