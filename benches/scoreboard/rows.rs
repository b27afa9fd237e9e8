//! The rows, in groups that are measured together.

mod bump;
mod depth;
mod keyed;
mod limitador;
mod load;
mod proxy;
mod restore;
mod route;
mod settle;
mod stall;
mod storm;

use crate::progress::Progress;
use crate::report::Report;
use crate::scale::Scale;
use std::thread;

/// Rows that are measured together.
pub struct Group {
    /// Their names.
    pub rows: &'static [&'static str],
    pub measure: fn(&Scale, &Progress, &mut Report),
}

/// In the order in which they are measured and told.
pub const GROUPS: &[Group] = &[
    bump::GROUP,
    route::GROUP,
    limitador::GROUP,
    keyed::TWO_COUNTERS,
    keyed::ONE_COUNTER,
    load::GROUP,
    storm::GROUP,
    stall::GROUP,
    proxy::GROUP,
    settle::SQLITE,
    settle::POSTGRES,
    restore::SQLITE,
    restore::POSTGRES,
    depth::GROUP,
];

/// A folder on a disk, gone when it is dropped.
#[cfg(feature = "sqlite")]
fn disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made")
}

/// As many threads as there are cores.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// One thread, twice as many, and so on to all cores.
fn crews() -> Vec<usize> {
    let all = cores();
    let mut crews: Vec<_> = (0..).map(|n| 1 << n).take_while(|threads| *threads < all).collect();
    crews.push(all);
    crews
}
