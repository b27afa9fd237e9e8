//! What happened, in order: a hash of all of it, and its last lines.

use std::collections::VecDeque;

const LAST: usize = 40;

/// The log of one world.
pub struct Log {
    hash: u64,
    lines: u64,
    last: VecDeque<String>,
    aloud: bool,
}

impl Log {
    pub fn new(aloud: bool) -> Log {
        Log { hash: 0xcbf2_9ce4_8422_2325, lines: 0, last: VecDeque::new(), aloud }
    }

    pub fn line(&mut self, at: u64, what: &str) {
        // Seven digits are enough to tell worlds apart by eye; the hash takes all.
        let line = format!("{:>6}.{:06} {what}", at / 1_000_000_000, at / 1_000 % 1_000_000);
        for byte in line.bytes().chain(at.to_be_bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if self.aloud {
            println!("{line}");
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The hash of all lines (FNV-1a), and how many there were.
    pub fn hash(&self) -> (u64, u64) {
        (self.hash, self.lines)
    }

    pub fn last(&self) -> String {
        self.last.iter().map(|line| format!("  {line}\n")).collect()
    }
}
