//! `load` and `bytes_per_owner`: so many owners from a document, each with a budget and a rate
//! limit of tokens and requests; and what they take, counted by the allocator.

use super::Group;
use crate::drawn::id;
use crate::ours;
use crate::progress::Progress;
use crate::report::{Report, Row};
use crate::scale::Scale;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tollkeeper::{Config, Engine};

pub const GROUP: Group =
    Group { rows: &["load", "load_parse", "load_apply", "bytes_per_owner"], measure: load };

/// Of one core, for a million owners.
const TIME: Duration = Duration::from_secs(3);
const BYTES: f64 = 512.0;

fn load(scale: &Scale, progress: &Progress, report: &mut Report) {
    let owners = scale.entries;
    progress.say(format!("writing a document of {owners} owners"));
    let text = document(owners);
    let (mut engine, mut parse, mut apply) = (None, Duration::ZERO, Duration::ZERO);
    // What is live behind it and was not before: the engine, with all that is in it. Documents and
    // what was made of them on the way are gone by then.
    let counted = allocation_counter::measure(|| {
        progress.say(format!("reading {owners} owners"));
        let began = Instant::now();
        let config = Config::deserialize(&mut serde_json::Deserializer::from_str(&text));
        let config = config.expect("a right document");
        parse = began.elapsed();
        progress.say(format!("putting {owners} owners in force"));
        let began = Instant::now();
        let fresh = Engine::new();
        let applied = fresh.apply(&config).expect("it fits an empty engine");
        apply = began.elapsed();
        assert_eq!(applied.created.len(), 2 * owners);
        engine = Some(fresh);
    });
    check(&engine.expect("it was made"), owners);
    let target = TIME.as_nanos() as f64 * owners as f64 / 1e6;
    for (name, time) in [("load", parse + apply), ("load_parse", parse), ("load_apply", apply)] {
        let time = time.as_nanos() as f64;
        let row = Row::of(name, owners, time, "3 s for a million", target);
        report.add(if name == "load" { row.target(1.0) } else { row });
    }
    let each = counted.bytes_current as f64 / owners as f64;
    let row = Row::bytes("bytes_per_owner", owners, each, "512 bytes", BYTES);
    report.add(row.target(1.0));
    progress.say("dropping them");
}

/// That they are all there and decide.
fn check(engine: &Engine, owners: usize) {
    let (estimate, used) = (ours::estimate(), ours::used());
    for number in (0..owners).step_by(owners / 1_000) {
        let route = ours::keyed(engine, &id(number));
        assert!(ours::pass(engine, &route, &estimate, &used), "it was not admitted");
        let limits = engine.route_usage(&route);
        assert_eq!((limits.len(), ours::booked(&limits)), (2, 1));
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
