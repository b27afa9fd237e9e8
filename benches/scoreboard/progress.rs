//! How far the run is, on stderr.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar on a terminal; elsewhere a line for each group of rows.
pub struct Progress(ProgressBar);

impl Progress {
    /// For the group at `place` of so many.
    pub fn new(what: String, place: usize, of: usize) -> Progress {
        let bar = ProgressBar::new(1);
        let template = "[{elapsed}] {prefix} {bar:30} {msg}";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(format!("{place}/{of} {what}"));
        if bar.is_hidden() {
            eprintln!("{place}/{of} {what}");
        }
        bar.tick();
        Progress(bar)
    }

    /// Something that cannot say how far it is. It is drawn four times a second by a thread that
    /// sleeps meanwhile, until the next thing begins.
    pub fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
        self.0.enable_steady_tick(Duration::from_millis(250));
    }

    /// Rounds begin, so many.
    pub fn begin(&self, rounds: usize) {
        self.0.disable_steady_tick();
        self.0.set_message("");
        self.0.set_length(rounds as u64);
        self.0.set_position(0);
    }

    /// Something to know about the result.
    pub fn warn(&self, what: String) {
        self.0.suspend(|| eprintln!("    {what}"));
    }

    pub fn step(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
