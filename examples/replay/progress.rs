//! A progress bar on the terminal, for what takes longer than a moment.

use super::gate::Gate;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// What is over before this needs no bar.
const MOMENT: Duration = Duration::from_millis(400);
/// Reading the clock costs more than a decision, so it is read once in so many.
const EVERY: u64 = 256;

/// Draws how far a replay is, on stderr, if that is a terminal and the replay takes a while.
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    hidden: bool,
    done: u64,
}

impl Progress {
    pub fn new(requests: usize) -> Progress {
        let bar =
            ProgressBar::with_draw_target(Some(requests as u64), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} requests{msg}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress { bar, began: Instant::now(), hidden: true, done: 0 }
    }

    /// One more request was decided.
    pub fn tick(&mut self, gate: &Gate) {
        self.done += 1;
        if self.done.is_multiple_of(EVERY) {
            self.draw(gate);
        }
    }

    /// So many requests are decided by now.
    pub fn reach(&mut self, done: usize, gate: &Gate) {
        self.done = done as u64;
        self.draw(gate);
    }

    fn draw(&mut self, gate: &Gate) {
        if self.hidden && self.began.elapsed() > MOMENT {
            self.hidden = false;
            // Draws nothing where stderr is not a terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if let (Some(clerk), false) = (gate.clerk(), self.hidden) {
            self.bar.set_message(clerk.progress());
        }
        self.bar.set_position(self.done);
    }

    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
