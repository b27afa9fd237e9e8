//! How far the run is, on stderr.

use indicatif::{ProgressBar, ProgressStyle};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A bar on a terminal; elsewhere a line for each group of rows.
pub struct Progress {
    bar: ProgressBar,
    disturbed: Mutex<f64>,
}

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
        Progress { bar, disturbed: Mutex::new(0.0) }
    }

    /// Something that cannot say how far it is. It is drawn four times a second by a thread that
    /// sleeps meanwhile, until the next thing begins.
    pub fn say(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
        self.bar.enable_steady_tick(Duration::from_millis(250));
    }

    /// Rounds begin, so many.
    pub fn begin(&self, rounds: usize) {
        self.bar.disable_steady_tick();
        self.bar.set_message("");
        self.bar.set_length(rounds as u64);
        self.bar.set_position(0);
    }

    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// A measurement is over, of which this part of the batches was disturbed.
    pub fn over(&self, disturbed: f64) {
        let mut largest = self.disturbed.lock().unwrap_or_else(PoisonError::into_inner);
        *largest = largest.max(disturbed);
    }

    /// The largest part of a measurement's batches that was disturbed.
    pub fn disturbed(&self) -> f64 {
        *self.disturbed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        let percent = 100.0 * self.disturbed();
        if percent > 10.0 {
            eprintln!("    up to {percent:.0} % of the batches were disturbed by other programs");
        }
    }
}
