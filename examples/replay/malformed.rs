//! Rows of an input file that cannot be used: where, and why.

use std::fmt;

/// A row that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The file, as it was named on the command line.
    pub file: String,
    /// Counted from one; the header is a line.
    pub line: u64,
    pub reason: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// Takes the malformed rows of the input files, or stops at the first.
#[derive(Debug, Default)]
pub struct Rejects {
    strict: bool,
    rows: Vec<Malformed>,
}

impl Rejects {
    pub fn new(strict: bool) -> Rejects {
        Rejects { strict, rows: Vec::new() }
    }

    /// Leaves a row out. An error under `--strict`.
    pub fn push(&mut self, row: Malformed) -> Result<(), Malformed> {
        if self.strict {
            return Err(row);
        }
        self.rows.push(row);
        Ok(())
    }

    pub fn rows(&self) -> &[Malformed] {
        &self.rows
    }
}
