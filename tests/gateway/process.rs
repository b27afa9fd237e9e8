//! A gateway in a process of its own: this same binary.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::{Caller, PATIENCE, Place};

/// What the child is told by; its arguments, one a line.
const ARGS: &str = "TOLLKEEPER_GATEWAY_ARGS";
const ENTRY: &str = "process::the_child";

/// Not a test: where a child begins.
#[test]
fn the_child() {
    let Ok(args) = env::var(ARGS) else { return };
    let args = std::iter::once("gateway").chain(args.lines()).map(OsString::from);
    let status = crate::gateway::gateway(args, &mut io::stderr(), &mut io::stderr());
    std::process::exit(status.into());
}

pub struct Process {
    child: Child,
    lines: Receiver<String>,
    /// All that it has written.
    pub said: Vec<String>,
    pub caller: Caller,
}

impl Process {
    /// Starts a gateway with the place's configuration and ledger.
    pub fn start(place: &Place, more: &[&str], environment: &[(&str, &str)]) -> Process {
        let mut process = Process::spawn(place, more, environment);
        let gateway = process.until("The gateway listens on http://");
        let admin = process.until("The status page: http://");
        let address = |text: &str| text.parse().expect("it is an address");
        let admin = admin.split('/').next().unwrap_or_default();
        process.caller = Caller::new(address(&gateway), address(admin));
        process
    }

    /// What one says that cannot start.
    pub fn refused(place: &Place, more: &[&str], environment: &[(&str, &str)]) -> String {
        let mut process = Process::spawn(place, more, environment);
        let status = process.end();
        assert_eq!(status.code(), Some(2), "{}", process.said.join("\n"));
        process.said.join("\n")
    }

    fn spawn(place: &Place, more: &[&str], environment: &[(&str, &str)]) -> Process {
        let config = place.config();
        let ledger = format!("sqlite:{}", place.ledger().display());
        let mut args = vec!["--config", config.to_str().expect("it is text"), "--ledger", &ledger];
        args.extend(more);
        let mut command = Command::new(env::current_exe().expect("this binary"));
        command.args(["--exact", ENTRY, "--nocapture", "--quiet"]);
        command.env(ARGS, args.join("\n")).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a child starts");
        let output = BufReader::new(child.stderr.take().expect("it is piped"));
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Process { child, lines, said: Vec::new(), caller: Caller::new(nowhere, nowhere) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it writes a line with this in it, and returns what follows.
    pub fn until(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("it does not say {part:?}:\n{}", self.said.join("\n"));
            };
            let found = line.split_once(part).map(|(_, rest)| rest.to_owned());
            self.said.push(line);
            if let Some(rest) = found {
                return rest;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the signal can be sent");
    }

    /// Waits for its end, and for all that it has written.
    pub fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.said.join("\n"));
            thread::sleep(Duration::from_millis(10));
        };
        self.said.extend(self.lines.iter());
        status
    }

    /// Its memory that is in use now, in kilobytes.
    pub fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(path).expect("it can be read");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("it is a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After a failed check; otherwise it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
