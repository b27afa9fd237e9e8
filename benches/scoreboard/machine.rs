//! What it was measured on and with.

use std::process::Command;
use std::time::{Duration, SystemTime};

const PEERS: [&str; 12] = [
    "arc-swap",
    "dashmap",
    "governor",
    "leaky-bucket",
    "limitador",
    "parking_lot",
    "pingora-limits",
    "postgres",
    "rate-net",
    "ratelimit",
    "rusqlite",
    "throttlecrab",
];

/// The head of a result: the machine, the day, and every version that matters.
pub fn described(scale: &str, took: Duration, disturbed: f64) -> String {
    let day = chrono::DateTime::<chrono::Utc>::from(SystemTime::now()).format("%Y-%m-%d");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let peers: Vec<String> =
        PEERS.iter().map(|name| format!("{name} {}", version_of(name))).collect();
    format!(
        "- {day}, {scale} run of {} s, up to {:.0} % of a row's batches disturbed by other \
         programs; tollkeeper {}\n\
         - {}, {cores} cores, {} {}\n- {}\n- {}\n",
        took.as_secs(),
        100.0 * disturbed,
        env!("CARGO_PKG_VERSION"),
        processor(),
        std::env::consts::OS,
        std::env::consts::ARCH,
        rustc(),
        peers.join(", "),
    )
}

fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    told.lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("processor unknown", |name| name.trim_start_matches([' ', '\t', ':']))
        .to_owned()
}

fn rustc() -> String {
    let told = Command::new("rustc").arg("--version").output();
    let told = told.ok().and_then(|told| String::from_utf8(told.stdout).ok());
    told.filter(|told| !told.is_empty()).map_or("rustc unknown".into(), |told| told.trim().into())
}

/// The newest version of a crate in the lock file, as the crate itself or through another.
fn version_of(name: &str) -> String {
    let lock: toml::Table = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"))
        .parse()
        .unwrap_or_default();
    let packages = lock.get("package").and_then(|packages| packages.as_array());
    let mut versions = packages.into_iter().flatten().filter_map(|package| {
        (package.get("name")?.as_str()? == name).then(|| package.get("version")?.as_str())?
    });
    versions.next_back().unwrap_or("unknown").to_owned()
}
