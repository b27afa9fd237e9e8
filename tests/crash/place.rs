//! Where a store is, and what lies in it, read past the library.

use std::collections::{BTreeMap, BTreeSet};

/// A counter in a window: the limit, the dimension's number in the store, the window's start.
pub type Window = (String, i64, i64);

/// What the tables say.
#[derive(Debug, Default)]
pub struct Raw {
    pub owners: BTreeSet<String>,
    pub records: i64,
    pub sums: BTreeMap<Window, i64>,
    pub totals: BTreeMap<Window, RawTotal>,
    /// Postings of no record.
    pub orphans: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTotal {
    pub owner: String,
    pub end: i64,
    pub settled: i64,
}

/// The process that looks.
pub const PARENT: &str = "crash-parent";
/// The one that is killed.
pub const CHILD: &str = "crash-child";

/// Where a store is.
pub trait Place {
    /// As a process of this name finds it: `sqlite:` and a path, or a URL.
    fn of(&self, process: &str) -> String;

    /// Waits until it has done with a process of this name, which was killed: a server may still be
    /// committing what that one has sent.
    fn outlast(&self, _process: &str) {}

    fn raw(&self) -> Raw;
}
