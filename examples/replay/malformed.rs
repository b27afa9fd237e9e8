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

/// Tells the line of a record by where reading it began. The reader's own count is one behind where
/// lines end with two characters, and where lines are blank.
pub struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a [u8]) -> Lines<'a> {
        Lines { text, at: 0, line: 1 }
    }

    /// The line of the record that is read from this byte on. Records are asked for in order.
    pub fn of(&mut self, start: &csv::Position) -> u64 {
        let start = usize::try_from(start.byte()).unwrap_or(usize::MAX);
        while let Some(&byte) = self.text.get(self.at) {
            if self.at >= start && byte != b'\r' && byte != b'\n' {
                break;
            }
            self.line += u64::from(byte == b'\n');
            self.at += 1;
        }
        self.line
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
