//! For each rule texts that break it and texts that do not, so that no rule can rot.

use crate::source::Source;
use crate::*;

const FRONT_DOOR: &str = "mod id;\nmod named;\npub use time::{Span, Timestamp};\n\
    pub use store::inner::Store;";

struct Example {
    rule: &'static str,
    path: &'static str,
    text: String,
    /// The findings, as `line: part of the message`; none for a text in order.
    found: &'static [&'static str],
}

fn example(
    rule: &'static str,
    path: &'static str,
    text: impl Into<String>,
    found: &'static [&'static str],
) -> Example {
    Example { rule, path, text: text.into(), found }
}

fn floor_examples() -> Vec<Example> {
    let rule = "floors";
    vec![
        example(rule, "src/alarm.rs", "use crate::engine::Engine;", &["1: never up"]),
        example(
            rule,
            "src/store.rs",
            "\nuse crate::{time::Timestamp, engine::{self, Route}};",
            &["2: `crate::engine`", "2: `crate::engine::Route`"],
        ),
        example(rule, "src/id.rs", "fn f() { crate::store::g() }", &["1: `crate::store::g`"]),
        example(rule, "src/id.rs", "use super::store::Store;", &["1: never up"]),
        example(rule, "src/time/clock.rs", "use super::super::alarm::X;", &["1: never up"]),
        example(rule, "src/time/clock.rs", "use super::alarm::X; use crate::time::Y;", &[]),
        example(
            rule,
            "src/alarm.rs",
            "use crate::counter::Word;",
            &["1: do not import each other"],
        ),
        example(rule, "src/alarm.rs", "use crate::Unknown;", &["1: that is no room"]),
        example(rule, "src/id.rs", "use crate::Store;", &["1: `id` names `crate::Store`"]),
        example(rule, "src/alarm.rs", "use crate::Timestamp;", &[]),
        example(rule, "src/attic.rs", "", &["1: room `attic` is on no floor"]),
        example(rule, "src/entry.rs", "use crate::plan::W; use crate::counter::C;", &[]),
        example(rule, "src/engine/route.rs", "use crate::engine::owners::O;", &[]),
        example(rule, "src/lib.rs", "use crate::engine::Engine;", &[]),
        example(rule, "src/tests/loom_cell.rs", "use crate::engine::Engine;", &[]),
        example(rule, "src/id.rs", "// crate::engine::E\nmod a { use super::X; }", &[]),
        example(rule, "src/id.rs", "#[cfg(test)]\nmod tests { use crate::engine::E; }", &[]),
    ]
}

fn door_examples() -> Vec<Example> {
    let rule = "doors";
    vec![
        example(rule, "src/id.rs", "use std::sync::{Mutex, Arc as A};", &["1: only sync may"]),
        example(
            rule,
            "src/id.rs",
            "use std::{sync::{atomic::AtomicU64}};",
            &["1: std::sync::atomic"],
        ),
        example(rule, "src/id.rs", "use std::sync::*;", &["1: atomic", "1: Arc"]),
        example(rule, "src/id.rs", "fn f(a: std::sync::Arc<str>) {}", &["1: std::sync::Arc"]),
        example(rule, "src/id.rs", "use loom::thread;", &["1: only sync, tests may"]),
        example(
            rule,
            "src/entry.rs",
            "use parking_lot::Mutex;",
            &["1: only store, ledger, idempotency, barrier, sqlite, postgres may"],
        ),
        example(rule, "src/window.rs", "type D = chrono::NaiveDate;", &["1: only time may"]),
        example(
            rule,
            "src/engine.rs",
            "let t = Instant::now();",
            &["1: only time/clock, postgres/locks, telemetry/stopwatch may"],
        ),
        example(rule, "src/time.rs", "let t = std::time::SystemTime::now();", &["1: SystemTime"]),
        example(rule, "src/units/money.rs", "use rust_decimal::Decimal;", &["1: units/decimal"]),
        example(rule, "src/engine.rs", "use crossbeam_channel as c;", &["1: engine/events"]),
        example(rule, "src/id.rs", "use std::sync::Mutex; use crate::sync::Arc;", &[]),
        example(rule, "src/id.rs", "//! See [`parking_lot::Mutex`].\nlet a = \"loom::x\";", &[]),
        example(rule, "src/sync/real.rs", "use std::sync::Arc;", &[]),
        example(rule, "tests/stress.rs", "use std::sync::Arc;", &[]),
    ]
}

fn ordering_examples() -> Vec<Example> {
    let rule = "orderings";
    vec![
        example(rule, "src/id.rs", "// Why.\nx.load(Ordering::Relaxed)", &["2: choose memory"]),
        example(rule, "src/alarm.rs", "/// Why.\nx.load(Ordering::Acquire)", &["2: says why"]),
        example(rule, "src/alarm.rs", "// Why.\n\n\n\n\n\n\nx(Ordering::SeqCst)", &["8: says why"]),
        example(rule, "src/alarm.rs", "// Why.\n\n\n\n\n\nx(Ordering::SeqCst)", &[]),
        example(
            rule,
            "src/alarm.rs",
            "use crate::sync::Ordering::{self, AcqRel};",
            &["1: spell it"],
        ),
        example(rule, "src/alarm.rs", "use crate::sync::Ordering::*;", &["1: spell it"]),
        example(rule, "src/id.rs", "a.cmp(&b) == cmp::Ordering::Less", &[]),
        example(rule, "src/alarm.rs", "x.load(Ordering::Relaxed) // Why.", &[]),
        example(rule, "src/tests/loom_cell.rs", "x.load(Ordering::Relaxed)", &[]),
    ]
}

fn size_examples() -> Vec<Example> {
    let long = |lines: usize| format!("fn f() {{\n{}}}", "x();\n".repeat(lines - 2));
    let file = |lines: usize| "\n".repeat(lines);
    vec![
        example("file length", "src/id.rs", file(401), &["401: 401 lines, at most 400"]),
        example("file length", "src/id.rs", file(400), &[]),
        example("file length", "tests/a.rs", file(800), &[]),
        example("file length", "src/id/tests.rs", file(801), &["801: at most 800"]),
        example("file length", "README.md", file(900), &[]),
        example("function length", "src/id.rs", long(71), &["1: `f` has 71 lines, at most 70"]),
        example("function length", "src/id.rs", long(70), &[]),
        example("function length", "tests/a.rs", long(121), &["1: at most 120"]),
        example("function length", "src/id.rs", format!("#[cfg(test)]\n{}", long(120)), &[]),
        example("function length", "src/id.rs", format!("type F = fn(u8);\n{}", file(90)), &[]),
        example("columns", "src/id.rs", "é".repeat(100), &[]),
        example("columns", "src/id.rs", format!("\n{}", "é".repeat(101)), &["2: 101 columns"]),
    ]
}

fn finish_examples() -> Vec<Example> {
    vec![
        example("unwrap", "src/id.rs", "x\n.unwrap();", &["2: `unwrap()`"]),
        example("unwrap", "examples/e.rs", "x.unwrap();", &["1: `unwrap()`"]),
        example("unwrap", "src/id.rs", "x.unwrap_or(1); // .unwrap()\n\".unwrap()\"", &[]),
        example("unwrap", "src/id.rs", "#[cfg(all(test, a))]\nmod tests { x.unwrap() }", &[]),
        example("unwrap", "src/id.rs", "#[cfg(not(test))]\nfn f() { x.unwrap() }", &["2: expect"]),
        example("unwrap", "src/id.rs", "#[cfg(test)]\nmod t;\nfn f() { x.unwrap() }", &["3: "]),
        example("unfinished", "src/id.rs", "todo!();\ndbg!(x)", &["1: `todo!`", "2: `dbg!`"]),
        example("unfinished", "tests/a.rs", "unimplemented!()", &["1: `unimplemented!`"]),
        example("unfinished", "README.md", "a\nTODO: b", &["2: `TODO`"]),
        example("unfinished", "src/id.rs", "// FIXME", &["1: `FIXME`"]),
        example("unfinished", "src/id.rs", "// todo!() in a TODOLIST", &[]),
        example("ignored tests", "tests/a.rs", "#[ignore = \"slow\"]", &["1: shows nothing"]),
        example("ignored tests", "src/id.rs", "#[cfg_attr(x, ignore)]", &["1: shows nothing"]),
        example("ignored tests", "src/id.rs", "/// ```ignore\n/// ```", &["1: not compiled"]),
        example("ignored tests", "src/id.rs", "/// ```no_run\n// #[ignore]", &[]),
    ]
}

fn form_examples() -> Vec<Example> {
    let open = "#[derive(Debug)]\n#[non_exhaustive]\npub enum AError { A }";
    vec![
        example("open errors", "src/id.rs", "/// A.\npub enum AError { A }", &["2: `AError`"]),
        example(
            "open errors",
            "src/id.rs",
            format!("{open}\npub enum BError {{}}"),
            &["4: BError"],
        ),
        example("open errors", "src/id.rs", "enum AError {}\npub(crate) enum B {}", &[]),
        example("open errors", "src/id.rs", open, &[]),
        example("module form", "src/id/mod.rs", "", &["1: not `room/mod.rs`"]),
        example("module form", "src/attic.rs", "", &["1: no `mod attic;` in src/lib.rs"]),
        example("module form", "src/id/x.rs", "", &["1: no `mod x;` in src/id.rs"]),
        example("module form", "src/named.rs", "", &[]),
        example("machine", "README.md", "run\n`/tmp/x`", &["2: `/tmp/`"]),
        example("machine", "tests/a.rs", "read(\"/root/.x\")", &["1: `/root/`"]),
        example("machine", "deny.toml", "u = \"https://index.crates.io/\"", &["1: registry"]),
        example("machine", ".ci/run", "$HOME/work/x ../tmp/y \"${D}/tmp/z\"", &[]),
    ]
}

fn all() -> Vec<Example> {
    let groups = [
        floor_examples(),
        door_examples(),
        ordering_examples(),
        size_examples(),
        finish_examples(),
        form_examples(),
    ];
    groups.into_iter().flatten().collect()
}

#[test]
fn every_rule_finds_what_breaks_it_and_nothing_else() {
    for Example { rule: name, path, text, found: expected } in all() {
        let rule = RULES.iter().find(|rule| rule.name == name).expect("the example names a rule");
        let front_door = Source::new("src/lib.rs", FRONT_DOOR.to_string());
        let source = Source::new(path, text.clone());
        let found = (rule.check)(&source, &House { sources: vec![front_door] });
        assert_eq!(found.len(), expected.len(), "{name} in {path}:\n{text}\nfound {found:?}");
        for ((line, message), expected) in found.iter().zip(expected) {
            let (wanted_line, part) = expected.split_once(": ").expect("written as `line: part`");
            let same = line.to_string() == wanted_line && message.contains(part);
            assert!(same, "{name} in {path}: {line}: {message}\ninstead of {expected}\n{text}");
        }
    }
}

#[test]
fn every_rule_has_examples_of_both_kinds() {
    for rule in RULES {
        let examples: Vec<Example> = all().into_iter().filter(|e| e.rule == rule.name).collect();
        assert!(examples.iter().any(|e| !e.found.is_empty()), "{} is never broken", rule.name);
        assert!(examples.iter().any(|e| e.found.is_empty()), "{} is never kept", rule.name);
    }
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = r####"
a /* x /* x */ x */ b // x
c "x \" x" d r#"x " x"# e br"x" f 'x' g '\'' h 'life i b'"' j
"####;
    let source = Source::new("src/id.rs", text.to_string());
    let words: Vec<&str> = source.code.split_whitespace().collect();
    assert_eq!(words, ["a", "b", "c", "d", "e", "b", "f", "g", "h", "'life", "i", "b", "j"]);
    assert_eq!(source.code.len(), text.len());
}
