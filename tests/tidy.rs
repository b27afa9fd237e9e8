//! The house rules, kept by a test: the tables below are the rules, `tidy/rules.rs` reads them.
//!
//! Every violation in the tree is listed as `path:line: message`. A rule is a line of text checked
//! against the source with comments and literals blanked out, so it is quick and sometimes blunt;
//! `tidy/examples.rs` shows for each rule a text that breaks it and one that does not.

#[path = "tidy/examples.rs"]
mod examples;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use source::Source;
use std::fs;
use std::path::Path;

/// The floors of the house, lowest first. A room imports only from the floors below its own, and
/// from rooms of its own floor only where that is said. A room `x` is `src/x.rs` with `src/x/`.
const FLOORS: &[Floor] = &[
    Floor { rooms: &["sync"], sideways: false },
    Floor { rooms: &["time", "units", "id"], sideways: false },
    Floor { rooms: &["serde_text"], sideways: false },
    Floor { rooms: &["counter", "gate", "alarm"], sideways: false },
    Floor {
        rooms: &[
            "plan",
            "limit",
            "snapshot",
            "entry",
            "budget",
            "rate_limit",
            "concurrency",
            "measure",
            "holds",
            "admission",
        ],
        sideways: true,
    },
    Floor { rooms: &["store", "config"], sideways: false },
    Floor { rooms: &["engine"], sideways: false },
    Floor { rooms: &["task", "draws"], sideways: false },
    Floor { rooms: &["promise"], sideways: false },
    Floor { rooms: &["ledger"], sideways: false },
    Floor { rooms: &["idempotency", "barrier"], sideways: false },
    Floor { rooms: &["sqlite", "postgres"], sideways: false },
    Floor { rooms: &["sse"], sideways: false },
    Floor { rooms: &["telemetry"], sideways: false },
    Floor { rooms: &["http"], sideways: false },
    Floor { rooms: &["openai"], sideways: false },
];

/// Rooms that stand on no floor and see the whole house: the front door, its guide, the models.
const OUTSIDE: &[&str] = &["lib", "guide", "tests"];

/// Who may name what. A room is written `room` or `room/inner`, and includes what is inside it.
const DOORS: &[Door] = &[
    Door {
        names: &[
            "std::sync::atomic",
            "core::sync::atomic",
            "std::sync::Arc",
            "arc_swap",
            "portable_atomic",
            "ecow",
        ],
        rooms: &["sync"],
        because: "loom sees only what comes from crate::sync",
    },
    Door { names: &["loom"], rooms: &["sync", "tests"], because: "the models take it from there" },
    Door {
        names: &["parking_lot"],
        rooms: &["store", "ledger", "idempotency", "barrier", "sqlite", "postgres"],
        because: "loom cannot see it, and no guard leaves its room",
    },
    Door {
        names: &["chrono", "chrono_tz"],
        rooms: &["time"],
        because: "everything else uses Timestamp and Period",
    },
    Door {
        names: &["SystemTime::now", "Instant::now"],
        rooms: &["time/clock", "postgres/locks", "telemetry/stopwatch"],
        because: "a clock is read once per decision and handed down; a wait for a server is real, \
                  and so is what a request takes",
    },
    Door {
        names: &["oneshot"],
        rooms: &["promise"],
        because: "whoever waits does so for a promise, in a thread or a task",
    },
    Door { names: &["rusqlite"], rooms: &["sqlite"], because: "it is one store of several" },
    Door {
        names: &["postgres"],
        // The front door shows the room of that name.
        rooms: &["postgres", "lib"],
        because: "it is one store of several",
    },
    Door {
        names: &["rust_decimal"],
        rooms: &["units/decimal"],
        because: "amounts are integers; decimals exist only while text is read",
    },
    Door {
        names: &["metrics", "tracing"],
        rooms: &["telemetry"],
        because: "what happens is told outside of decisions, in one place",
    },
    Door {
        names: &["crossbeam_channel"],
        rooms: &["engine/events", "ledger"],
        because: "events leave the engine in one place, and entries go to the ledger's writer",
    },
];

/// Rooms that may choose a memory ordering, each use with its reason in a comment above it.
const ORDERING_ROOMS: &[&str] = &[
    "sync",
    "time/clock",
    "counter",
    "gate",
    "alarm",
    "snapshot",
    "store",
    "engine",
    "ledger",
    "idempotency",
];
const ORDERINGS: &[&str] = &["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
const REASON_WITHIN_LINES: usize = 6;

const FILE_LINES_MAX: usize = 400;
const TEST_FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const TEST_FUNCTION_LINES_MAX: usize = 120;
const COLUMNS_MAX: usize = 100;

/// Macros that mark something unfinished.
const UNFINISHED_MACROS: &[&str] = &["todo", "unimplemented", "dbg"];
const UNFINISHED_WORDS: &[&str] = &["TODO", "FIXME"];

/// Places of one machine, and hosts of package registries: neither belongs in a committed text.
const MACHINE_PATHS: &[&str] = &["/work/", "/tmp/", "/root/", "/home/"];
const REGISTRY_HOSTS: &[&str] = &["index.crates.io", "static.crates.io", "static.rust-lang.org"];

/// All the rules. Those of the first group read Rust, those of the second any text.
const RULES: &[Rule] = &[
    Rule { name: "floors", check: rules::floors },
    Rule { name: "doors", check: rules::doors },
    Rule { name: "orderings", check: rules::orderings },
    Rule { name: "file length", check: rules::file_length },
    Rule { name: "function length", check: rules::function_length },
    Rule { name: "columns", check: rules::columns },
    Rule { name: "unwrap", check: rules::unwrap },
    Rule { name: "unfinished", check: rules::unfinished },
    Rule { name: "ignored tests", check: rules::ignored_tests },
    Rule { name: "open errors", check: rules::open_errors },
    Rule { name: "module form", check: rules::module_form },
    Rule { name: "machine", check: rules::machine },
];

struct Floor {
    rooms: &'static [&'static str],
    sideways: bool,
}

struct Door {
    names: &'static [&'static str],
    rooms: &'static [&'static str],
    because: &'static str,
}

struct Rule {
    name: &'static str,
    check: fn(&Source, &House) -> Vec<Finding>,
}

/// A line, counted from 1, and what is wrong there.
type Finding = (usize, String);

/// Every text of the tree.
struct House {
    sources: Vec<Source>,
}

impl House {
    /// All violations in the house, as `path:line: message`, in order.
    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for source in &self.sources {
            for rule in RULES {
                for (line, message) in (rule.check)(source, self) {
                    let violation = format!("{}:{line}: {message}", source.path);
                    // Two of a kind on one line are told once.
                    if found.last() != Some(&violation) {
                        found.push(violation);
                    }
                }
            }
        }
        found
    }

    fn get(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }
}

/// Reads the texts under `folder`. Left out: what is built, what the fuzzer made, hidden folders
/// except the checks themselves, and this test, which names what it forbids.
fn read_tree(root: &Path, folder: &str, into: &mut Vec<Source>) {
    let entries = fs::read_dir(root.join(folder)).expect("a folder of the tree can be listed");
    for entry in entries {
        let entry = entry.expect("an entry of the tree can be read");
        let name = entry.file_name().into_string().expect("names in the tree are UTF-8");
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type().expect("an entry of the tree has a type");
        if kind.is_dir() {
            let built = name.starts_with("target");
            let made = folder == "fuzz" && name != "fuzz_targets";
            let hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
            if !(built || made || hidden || path == "tests/tidy") {
                read_tree(root, &path, into);
            }
        } else if kind.is_file() && path != ".git" && path != "tests/tidy.rs" {
            // What is not UTF-8 is not a text.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                into.push(Source::new(&path, text));
            }
        }
    }
}

#[test]
fn the_house_is_in_order() {
    let mut sources = Vec::new();
    read_tree(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    let house = House { sources };
    for needed in ["src/lib.rs", "src/sync.rs", "Cargo.toml", ".ci/run"] {
        assert!(house.get(needed).is_some(), "{needed} was not read: the rules saw too little");
    }
    let violations = house.violations();
    assert!(
        violations.is_empty(),
        "{} violations of the house rules:\n{}\n",
        violations.len(),
        violations.join("\n")
    );
}

/// The table of laws names tests; each of them must be there.
#[test]
fn the_readme_names_tests_that_exist() {
    let mut sources = Vec::new();
    read_tree(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut sources);
    let readme = sources.iter().find(|source| source.path == "README.md").expect("it is there");
    let laws = readme.text.lines().filter(|line| line.starts_with("| L"));
    let names = |line: &str| -> Vec<String> {
        let quoted = line.split('`').skip(1).step_by(2);
        quoted.filter(|name| name.matches('_').count() > 1).map(str::to_owned).collect()
    };
    let named: Vec<String> = laws.flat_map(names).collect();
    assert!(named.len() >= 20, "the table of laws was not found: {named:?}");
    for name in named {
        let test = format!("fn {name}()");
        let found = sources.iter().any(|source| source.text.contains(&test));
        assert!(found, "README.md names the test {name}, which there is not");
    }
}
