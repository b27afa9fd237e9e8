//! The scoreboard: what a decision costs beside a bare `fetch_add` and beside other limiters.
//!
//! ```text
//! cargo bench --bench scoreboard -- --help
//! ```
//!
//! Everything is measured in one process and in turns ([`rounds`]), so that what the machine does
//! meanwhile befalls all sides alike, and it is ratios that are compared with targets. What each
//! row does is in `benches/README.md`, together with its latest result.

mod cli;
mod drawn;
mod gate;
mod machine;
mod ours;
mod peers;
mod progress;
#[cfg(all(feature = "http", feature = "sqlite"))]
mod proxy;
mod report;
mod rounds;
mod rows;
mod scale;
#[cfg(feature = "postgres")]
#[path = "../../tests/support/postgres.rs"]
mod server;
mod settlers;
mod side;

use clap::Parser;
use cli::Cli;
use progress::Progress;
use report::Report;
use rows::GROUPS;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if !cli.bench {
        eprintln!("nothing is measured without --bench, which cargo bench passes");
        return ExitCode::SUCCESS;
    }
    let scale = cli.scale();
    let wanted = |name: &str| cli.filter.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let groups: Vec<_> =
        GROUPS.iter().filter(|group| group.rows.iter().any(|name| wanted(name))).collect();
    if groups.is_empty() {
        let names: Vec<_> = GROUPS.iter().flat_map(|group| group.rows).copied().collect();
        let filter = cli.filter.unwrap_or_default();
        eprintln!("no row has {filter:?} in its name; the rows are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let began = Instant::now();
    let (mut report, mut disturbed) = (Report::default(), 0.0_f64);
    for (place, group) in groups.iter().enumerate() {
        let progress = Progress::new(group.rows.join(", "), place + 1, groups.len());
        (group.measure)(&scale, &progress, &mut report);
        disturbed = disturbed.max(progress.disturbed());
    }
    report.retain(wanted);
    match report.publish(&scale, began.elapsed(), disturbed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
