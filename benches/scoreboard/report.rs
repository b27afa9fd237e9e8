//! What was measured, as a table for people and as JSON.

use crate::machine;
use crate::scale::Scale;
use crate::side::Series;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// One comparison.
#[derive(Serialize)]
pub struct Row {
    name: &'static str,
    threads: usize,
    entries: usize,
    ours_ns: f64,
    peer: &'static str,
    peer_ns: f64,
    /// Ours by the peer's.
    ratio: f64,
    #[serde(skip)]
    target: Option<f64>,
    #[serde(skip)]
    unit: Unit,
}

/// What `ours_ns` and `peer_ns` are.
enum Unit {
    Time,
    Bytes,
    /// How many times as long as something else.
    Times,
}

impl Row {
    /// Medians of an operation's time.
    pub fn time(
        name: &'static str,
        threads: usize,
        entries: usize,
        ours: &Series,
        peer: &'static str,
        theirs: &Series,
    ) -> Row {
        Row { threads, ..Row::of(name, entries, ours.median(), peer, theirs.median()) }
    }

    /// Times in nanoseconds, of one thread.
    pub fn of(
        name: &'static str,
        entries: usize,
        ours: f64,
        peer: &'static str,
        theirs: f64,
    ) -> Row {
        Row {
            name,
            threads: 1,
            entries,
            ours_ns: ours,
            peer,
            peer_ns: theirs,
            ratio: ours / theirs,
            target: None,
            unit: Unit::Time,
        }
    }

    pub fn bytes(
        name: &'static str,
        entries: usize,
        ours: f64,
        peer: &'static str,
        theirs: f64,
    ) -> Row {
        Row { unit: Unit::Bytes, ..Row::of(name, entries, ours, peer, theirs) }
    }

    pub fn factor(
        name: &'static str,
        threads: usize,
        entries: usize,
        ours: f64,
        peer: &'static str,
        theirs: f64,
    ) -> Row {
        Row { unit: Unit::Times, threads, ..Row::of(name, entries, ours, peer, theirs) }
    }

    pub fn threads(self, threads: usize) -> Row {
        Row { threads, ..self }
    }

    /// The ratio should be at most this.
    pub fn target(self, ratio: f64) -> Row {
        Row { target: Some(ratio), ..self }
    }

    fn shown(&self, value: f64) -> String {
        match self.unit {
            Unit::Bytes => format!("{value:.0} bytes"),
            Unit::Times => format!("{value:.2} times"),
            Unit::Time if value < 1e3 => format!("{value:.1} ns"),
            Unit::Time if value < 1e6 => format!("{:.2} µs", value / 1e3),
            Unit::Time if value < 1e9 => format!("{:.2} ms", value / 1e6),
            Unit::Time => format!("{:.2} s", value / 1e9),
        }
    }

    fn is_curve(&self) -> bool {
        self.name.starts_with("depth_")
    }
}

/// All rows.
#[derive(Default)]
pub struct Report(Vec<Row>);

impl Report {
    pub fn add(&mut self, row: Row) {
        self.0.push(row);
    }

    /// Only the rows whose name is wanted.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|row| wanted(row.name));
    }

    /// Prints the table and writes the JSON to cargo's target directory.
    pub fn publish(&self, scale: &Scale, took: Duration, disturbed: f64) -> Result<(), String> {
        let head = machine::described(scale.name, took, disturbed);
        println!("{}", self.markdown(head).trim_end());
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = temporary.parent().unwrap_or(temporary).join("scoreboard.json");
        let json = serde_json::to_string_pretty(&self.0).map_err(|why| why.to_string())?;
        std::fs::write(&path, json + "\n")
            .map_err(|why| format!("cannot write {}: {why}", path.display()))?;
        eprintln!("written to {}", path.display());
        Ok(())
    }

    fn markdown(&self, mut text: String) -> String {
        if self.0.iter().any(|row| !row.is_curve()) {
            text.push_str(
                "\n| row | threads | entries | ours | compared with | theirs | ratio | target | |\n\
                 |---|--:|--:|--:|---|--:|--:|--:|---|\n",
            );
        }
        for row in self.0.iter().filter(|row| !row.is_curve()) {
            let (target, met) = match row.target {
                Some(target) if row.ratio <= target => (format!("≤ {target}"), "ok"),
                Some(target) => (format!("≤ {target}"), "**miss**"),
                None => (String::new(), ""),
            };
            let (name, threads, entries) = (row.name, row.threads, row.entries);
            let (ours, theirs) = (row.shown(row.ours_ns), row.shown(row.peer_ns));
            // Writing to a text cannot fail, here and below.
            let _ = writeln!(
                text,
                "| `{name}` | {threads} | {entries} | {ours} | {} | {theirs} | {:.3} | {target} | \
                 {met} |",
                row.peer, row.ratio
            );
        }
        self.write_curves(&mut text);
        text
    }

    /// A line for each depth, three columns for each kind of threads.
    fn write_curves(&self, text: &mut String) {
        let mut kinds: Vec<(&str, usize)> = Vec::new();
        let curves: Vec<&Row> = self.0.iter().filter(|row| row.is_curve()).collect();
        for row in &curves {
            if !kinds.contains(&(row.name, row.threads)) {
                kinds.push((row.name, row.threads));
            }
        }
        if kinds.is_empty() {
            return;
        }
        text.push_str("\n| owners |");
        for (name, threads) in &kinds {
            let _ = write!(text, " `{name}`, threads: {threads} | its floor | ratio |");
        }
        let _ = write!(text, "\n|--:|{}", "--:|--:|--:|".repeat(kinds.len()));
        for line in curves.chunks(kinds.len()) {
            let _ = write!(text, "\n| {} |", line[0].entries);
            for row in line {
                let (ours, theirs) = (row.shown(row.ours_ns), row.shown(row.peer_ns));
                let _ = write!(text, " {ours} | {theirs} | {:.2} |", row.ratio);
            }
        }
        text.push('\n');
    }
}
