//! A child as its parent has it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::child::{ENTRY, JOB, PREFIX};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);
const SIGKILL: i32 = 9;

/// A child, and what it has said so far.
pub struct Child {
    process: Process,
    input: ChildStdin,
    lines: Receiver<String>,
    pub said: Vec<String>,
    /// What it wrote that was not for us: why it panicked.
    noise: Vec<String>,
}

impl Child {
    /// Starts this binary with what it is to do.
    pub fn start(job: &str) -> Child {
        let mut command = Command::new(env::current_exe().expect("this binary"));
        command.args(["--exact", ENTRY, "--nocapture", "--quiet"]);
        command.env(JOB, job);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("a child starts");
        let input = process.stdin.take().expect("it is piped");
        let mut output = BufReader::new(process.stderr.take().expect("it is piped"));
        let (tell, lines) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                // A line without an end was being written when it was killed.
                if let Some(whole) = line.strip_suffix('\n') {
                    let _ = tell.send(whole.to_owned());
                }
                line.clear();
            }
        });
        Child { process, input, lines, said: Vec::new(), noise: Vec::new() }
    }

    /// Waits until it says a line that begins so, and returns the rest of it.
    pub fn until(&mut self, begin: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                let noise = self.noise.join("\n");
                panic!("the child does not say {begin:?}:\n{noise}");
            };
            let said = self.take(line);
            if let Some(rest) = said.and_then(|said| said.strip_prefix(begin)) {
                return rest.trim_start().to_owned();
            }
        }
    }

    /// Lets it begin, once it can.
    pub fn go(&mut self) {
        self.until("ready");
        self.tell("go");
    }

    /// Tells it something.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the child listens");
    }

    /// Tells it something and waits for the answer that begins so.
    pub fn ask(&mut self, line: &str, answer: &str) -> String {
        self.tell(line);
        self.until(answer)
    }

    /// Kills it, and takes in all that it had said.
    pub fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        let status = self.end();
        let noise = self.noise.join("\n");
        assert_eq!(status.signal(), Some(SIGKILL), "it was killed, not {status}:\n{noise}");
    }

    /// Closes the ledger: everything is written.
    pub fn close(&mut self) {
        assert_eq!(self.ask("close", "closed"), "true", "it closes with everything written");
        self.finish();
    }

    /// Waits until it has ended by itself.
    pub fn finish(&mut self) {
        let status = self.end();
        assert!(status.success(), "{status}:\n{}", self.noise.join("\n"));
    }

    fn end(&mut self) -> ExitStatus {
        let status = self.process.wait().expect("it ends");
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.take(line);
        }
        status
    }

    fn take(&mut self, line: String) -> Option<&str> {
        match line.strip_prefix(PREFIX) {
            Some(said) => {
                self.said.push(said.to_owned());
                self.said.last().map(String::as_str)
            }
            None => {
                self.noise.push(line);
                None
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // After a failed check; otherwise it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
