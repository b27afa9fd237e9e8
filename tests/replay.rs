//! The program `examples/replay`, run as a whole on small traces, and the tests in its modules.

#![cfg(not(tollkeeper_loom))]

#[path = "../examples/replay/main.rs"]
#[allow(dead_code)] // Its `main` is for the command line.
mod replay;

#[cfg(feature = "postgres")]
#[path = "support/postgres.rs"]
#[allow(dead_code)] // Other tests do more with it.
mod server;

use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What a run answered.
struct Ran {
    code: u8,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("stdout is one JSON object and nothing else")
    }
}

fn run(args: &[&str]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once("replay").chain(args.iter().copied()).map(OsString::from);
    let code = replay::replay(args, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("what is printed is text");
    Ran { code, out: text(out), err: text(err) }
}

/// A directory with files in it, gone at the end of the test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().expect("a temporary directory can be made"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).expect("the file can be written");
        text_of(&self.path(name))
    }
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("temporary paths are UTF-8").to_owned()
}

/// Requests of 100 and 10 tokens, so many in each of some minutes, four milliseconds apart: most
/// of a minute are under way at once.
fn trace(each_minute: usize, minutes: usize) -> String {
    let mut text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n".to_owned();
    for minute in 0..minutes {
        for place in 0..each_minute {
            let (second, millis) = (place / 250, place % 250 * 4);
            text += &format!("2023-11-16 18:{minute:02}:{second:02}.{millis:03}0000,100,10\r\n");
        }
    }
    text
}

/// One key with a limit of each kind.
const LIMITS: &str = r#"
[[owners]]
id = "team:t"

[[owners.budgets]]
id = "t-hour"
limit = "$0.10"
period = "1h"

[[owners]]
id = "key:k"
parents = ["team:t"]

[[owners.rate_limits]]
id = "k-minute"
tokens = { limit = 2200, period = "1m" }
requests = "30/m"

[[owners.concurrency]]
id = "k-at-once"
limit = 25

[[prices]]
model = "m"
input = "$10"
output = "$10"
"#;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is a whole number"))
}

fn overshoot(object: &Value) -> [u64; 4] {
    ["money", "tokens", "requests", "in_flight"].map(|it| number(&object["overshoot"][it]))
}

#[test]
fn the_object_has_what_it_promises() {
    let files = Files::new();
    let trace = files.write("trace.csv", &trace(50, 3));
    let limits = files.write("limits.toml", LIMITS);
    let ran = run(&["--trace", &trace, "--limits", &limits, "--json"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let object = ran.json();
    assert_eq!(object["laws_hold"], true);
    assert_eq!(number(&object["requests"]), 150);
    // 2,200 tokens a minute are 20 requests of 110; nothing else is as tight.
    assert_eq!((number(&object["admitted"]), number(&object["denied"])), (60, 90));
    assert_eq!(overshoot(&object), [0; 4]);
    assert!(number(&object["decisions_per_second"]) > 0);
    let limits = object["limits"].as_array().unwrap();
    let text = |limit: &'_ Value, field| limit[field].as_str().unwrap().to_owned();
    let named: Vec<_> = limits.iter().map(|it| (text(it, "id"), text(it, "dimension"))).collect();
    let expected = [
        ("t-hour", "money"),
        ("k-minute", "tokens"),
        ("k-minute", "requests"),
        ("k-at-once", "in_flight"),
    ];
    assert_eq!(named, expected.map(|(id, dimension)| (id.to_owned(), dimension.to_owned())));
    let windows = limits[1]["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 3);
    for (minute, window) in windows.iter().enumerate() {
        assert_eq!(window["start"], format!("2023-11-16T18:{minute:02}:00Z"));
        assert_eq!(number(&window["limit"]), 2_200);
        assert_eq!((number(&window["admitted"]), number(&window["denied"])), (20, 30));
        // The few that failed upstream were given back.
        let settled = number(&window["settled"]);
        assert!(settled <= 2_200 && settled.is_multiple_of(110), "{settled}");
    }
}

#[test]
fn reserving_never_passes_a_limit_and_checking_does() {
    let files = Files::new();
    let trace = files.write("trace.csv", &trace(50, 3));
    let limits = files.write("limits.toml", LIMITS);
    for estimate in ["exact", "x2", "fixed:5", "fixed:50", "none"] {
        let ran = run(&["--trace", &trace, "--limits", &limits, "--estimate", estimate, "--json"]);
        let object = ran.json();
        assert_eq!((ran.code, &object["laws_hold"]), (0, &Value::Bool(true)), "{estimate}");
        assert_eq!(overshoot(&object), [0; 4], "{estimate}");
    }
    for estimate in ["exact", "none"] {
        let checked = ["--admission", "check-then-charge", "--estimate", estimate];
        let ran =
            run(&[&["--trace", &trace, "--limits", &limits, "--json"], &checked[..]].concat());
        let object = ran.json();
        assert_eq!((ran.code, &object["laws_hold"]), (0, &Value::Bool(true)), "{estimate}");
        let [_, tokens, requests, in_flight] = overshoot(&object);
        // All 50 of a minute are looked at before the first of them has been charged.
        assert!(tokens > 2_200, "{tokens} tokens too many");
        assert!(requests > 15, "{requests} requests too many");
        // A few end early, because their upstream failed or their client is gone.
        assert!(in_flight > 15, "{in_flight} too many at once");
    }
}

#[test]
fn what_settles_above_its_hold_is_told_and_no_admission_is_to_blame() {
    let files = Files::new();
    let trace = files.write("trace.csv", &trace(50, 1));
    let limits = files.write("limits.toml", LIMITS);
    let ran = run(&["--trace", &trace, "--limits", &limits, "--estimate", "fixed:0", "--json"]);
    let object = ran.json();
    assert_eq!((ran.code, overshoot(&object)), (0, [0; 4]));
    // 22 requests of 100 tokens fit, and most of them came to 110.
    let window = &object["limits"][1]["windows"][0];
    assert_eq!(number(&window["admitted"]), 22);
    assert!(number(&window["overshoot"]) > 0, "{window}");
}

#[test]
fn threads_hold_the_laws_too() {
    let files = Files::new();
    let trace = files.write("trace.csv", &trace(90, 20));
    let limits = files.write("limits.toml", LIMITS);
    for (estimate, admission) in [
        ("exact", "reserve"),
        ("x2", "reserve"),
        ("fixed:0", "reserve"),
        ("none", "reserve"),
        ("exact", "check-then-charge"),
    ] {
        let ran = run(&[
            "--trace",
            &trace,
            "--limits",
            &limits,
            "--threads",
            "4",
            "--estimate",
            estimate,
            "--admission",
            admission,
            "--json",
        ]);
        let object = ran.json();
        assert_eq!(ran.code, 0, "{estimate} {admission}: {}", object["laws"]);
        assert_eq!(number(&object["requests"]), 1_800);
        if admission == "reserve" {
            assert_eq!(overshoot(&object), [0; 4], "{estimate}");
        }
    }
}

/// Replays a small trace twice into one ledger, the second time behind the first.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn twice(place: &str, more: &[&str]) {
    let files = Files::new();
    let trace = files.write("trace.csv", &trace(20, 2));
    let limits = files.write("limits.toml", LIMITS);
    let args = ["--trace", &trace, "--limits", &limits, "--json", "--ledger", place];
    let mut before = 0;
    let mut end = String::new();
    for turn in 0..2 {
        let ran = run(&[&args[..], more].concat());
        let object = ran.json();
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", object["laws"]);
        let laws = object["laws"].as_array().unwrap();
        for law in ["L10", "L11"] {
            let law = laws.iter().find(|it| it["law"] == law).unwrap();
            assert!(number(&law["checks"]) > 0, "{law}");
        }
        let ledger = &object["ledger"];
        // Every request that was let through has a record, whatever became of it.
        let records = number(&ledger["records"]);
        assert!(records > 0 && number(&ledger["groups"]) <= records);
        assert!(number(&ledger["settles_per_second"]) > 0);
        assert_eq!(records, number(&object["admitted"]));
        assert_eq!(number(&ledger["records_before"]), before);
        before += records;
        // The team's hour is open still, and goes on: the second run has what the first left of it.
        assert_eq!(number(&ledger["totals_restored"]) > 0, turn == 1, "{ledger}");
        assert_eq!(number(&ledger["moved_seconds"]) > 0, turn == 1, "{ledger}");
        let start = object["start"].as_str().unwrap().to_owned();
        assert!(start > end, "{start} is behind {end}");
        end = object["end"].as_str().unwrap().to_owned();
        let hour = &object["limits"][0]["windows"][0];
        assert_eq!(hour["start"], "2023-11-16T18:00:00Z");
        assert!(number(&hour["settled"]) >= before / 2 * 1_100_000, "{hour}");
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn a_ledger_in_sqlite_is_proved_and_goes_on() {
    let files = Files::new();
    for (name, more) in
        [("one", &[][..]), ("threads", &["--threads", "8"]), ("twice", &["--estimate", "x2"])]
    {
        twice(&format!("sqlite:{}", text_of(&files.path(name))), more);
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_ledger_in_postgres_is_proved_and_goes_on() {
    let Some(server) = server::shared() else { return };
    twice(&server.database(), &[]);
    twice(&server.database(), &["--threads", "8"]);
}

/// The proof is of the ledger that there is: what somebody else did to it shows.
#[cfg(feature = "sqlite")]
#[test]
fn a_ledger_that_somebody_changed_is_not_proved() {
    let files = Files::new();
    let trace = files.write("trace.csv", &trace(20, 2));
    let limits = files.write("limits.toml", LIMITS);
    let path = files.path("ledger.sqlite");
    let place = format!("sqlite:{}", text_of(&path));
    let args = ["--trace", &trace, "--limits", &limits, "--json", "--ledger", &place];
    assert_eq!(run(&args).code, 0);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let changed = "UPDATE windows SET settled = settled + 1 WHERE limit_id = 't-hour'";
    assert_eq!(connection.execute(changed, []).unwrap(), 1);
    let ran = run(&args);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("t-hour money: the total of"), "{}", ran.out);
}

#[test]
fn a_place_that_is_none_says_why() {
    let files = Files::new();
    let nowhere = format!("sqlite:{}", text_of(&files.path("no/such/ledger.sqlite")));
    let deaf = format!("postgres:///d?host={}&connect_timeout=2", text_of(&files.path("none")));
    let [sqlite, postgres] = [cfg!(feature = "sqlite"), cfg!(feature = "postgres")];
    for (place, why) in [
        ("mysql://h/d", "accepted is sqlite:FILE or postgres://"),
        (&nowhere, if sqlite { "no/such/ledger.sqlite" } else { "--features sqlite" }),
        (&deaf, if postgres { "unavailable" } else { "--features postgres" }),
    ] {
        let ran = run(&["--ledger", place]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{place}");
        assert!(ran.err.contains(why), "{place}: {} lacks {why}", ran.err);
    }
}

#[test]
fn malformed_rows_are_told_and_left_out_and_strict_stops_at_the_first() {
    let files = Files::new();
    let rows = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
                2023-11-16 18:00:00.0000000,100,10\n\
                2023-11-16 18:00:01.0000000,100\n\
                2023-11-16 17:00:00.0000000,100,10\n\
                2023-11-16 18:00:02.0000000,100,10\n";
    let trace = files.write("trace.csv", rows);
    let ran = run(&["--trace", &trace, "--json"]);
    assert_eq!(ran.code, 0);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("trace.csv:3: the row has 2 columns and no GeneratedTokens"));
    assert!(lines[1].contains("trace.csv:4: TIMESTAMP 2023-11-16T17:00:00Z is before the row"));
    let object = ran.json();
    assert_eq!(number(&object["requests"]), 2);
    assert_eq!(object["malformed"].as_array().unwrap().len(), 2);
    assert_eq!(number(&object["malformed"][0]["line"]), 3);

    let ran = run(&["--trace", &trace, "--json", "--strict"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("trace.csv:3: the row has 2 columns"), "{}", ran.err);

    let clients = files.write("clients.csv", "client,share\na,0.5\nb,NaN\n");
    let ran = run(&["--clients", &clients, "--json"]);
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("clients.csv:3: share \"NaN\""), "{}", ran.err);
    assert_eq!(run(&["--clients", &clients, "--strict"]).code, 2);
}

#[test]
fn what_cannot_be_used_says_why() {
    let files = Files::new();
    let empty = files.write("empty.csv", "");
    let header = files.write("header.csv", "a,b\n1,2\n");
    let unknown = files.write("unknown.toml", "[[owners]]\nid = \"key:k\"\ncolour = \"red\"\n");
    let keyless = files.write("keyless.toml", &LIMITS.replace("key:k", "robot:k"));
    let free = files.write("free.toml", LIMITS.split("[[prices]]").next().unwrap());
    let absent = text_of(&files.path("absent.csv"));
    for (args, why) in [
        (["--trace", &empty], "empty.csv: the file is empty"),
        (["--trace", &header], "header.csv:1: the header \"a,b\" has no column TIMESTAMP"),
        (["--trace", &absent], "absent.csv: "),
        (["--limits", &unknown], "unknown.toml: line 3: owners[0].colour"),
        (["--limits", &keyless], "keyless.toml: a replay needs at least one owner of kind key"),
        (["--limits", &free], "free.toml: a replay needs the price of at least one model"),
        (["--estimate", "fixed:-1"], "accepted is exact, x2, none, or fixed:N"),
        (["--threads", "0"], "0 is not in 1..=1024"),
    ] {
        let ran = run(&args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
        assert!(ran.err.contains(why), "{args:?}: {} lacks {why}", ran.err);
    }
}

#[test]
fn a_seed_is_a_run() {
    let wall = |mut object: Value| {
        object.as_object_mut().unwrap().remove("decisions_per_second");
        object
    };
    let object = |seed| wall(run(&["--seed", seed, "--json"]).json());
    let first = object("7");
    assert_eq!(first, object("7"));
    assert_ne!(first, object("8"));
}

#[test]
fn the_built_in_hour_shows_what_the_limits_do() {
    let reserved = run(&["--json"]);
    let object = reserved.json();
    assert_eq!((reserved.code, overshoot(&object)), (0, [0; 4]));
    assert_eq!(number(&object["requests"]), 8_800);
    let denied = |dimension: &str| -> u64 {
        let limits = object["limits"].as_array().unwrap().iter();
        limits.filter(|it| it["dimension"] == dimension).map(|it| number(&it["denied"])).sum()
    };
    for dimension in ["money", "tokens", "requests", "in_flight"] {
        assert!(denied(dimension) > 0, "some are denied for {dimension}");
    }
    let each: u64 = ["money", "tokens", "requests", "in_flight"].map(denied).iter().sum();
    assert_eq!(each, number(&object["denied"]), "every denial is some counter's");

    let checked = run(&["--json", "--admission", "check-then-charge"]);
    let [money, tokens, requests, in_flight] = overshoot(&checked.json());
    assert!(money > 0 && tokens > 0 && requests > 0 && in_flight > 0);
}

#[test]
fn the_report_and_the_plot_are_drawn() {
    let files = Files::new();
    let plot = text_of(&files.path("plot.svg"));
    let ran = run(&["--plot", &plot]);
    assert_eq!(ran.code, 0);
    for part in ["customer:acme", "acme-hour", "L5  holds", "No admission took a limit over."] {
        assert!(ran.out.contains(part), "the report has {part}");
    }
    let svg = std::fs::read_to_string(&plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert!(svg.contains("acme-hour of customer:acme"));
    assert_eq!(run(&["--plot", &plot, "--threads", "2"]).code, 2);
}

#[test]
fn help_tells_what_is_drawn_and_has_examples() {
    let ran = run(&["--help"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for part in ["8,800 requests", "ChaCha8", "--admission check-then-charge", "Exit status"] {
        assert!(ran.out.contains(part), "the help has {part}");
    }
}
