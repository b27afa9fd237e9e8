//! A real PostgreSQL for the tests: made by `initdb` in a temporary directory, gone afterwards.
//!
//! The server ends with the tests that started it, however they end: a shell waits for the end of
//! a pipe that only the tests hold, then stops the server and removes its directory.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

const SKIPPED: &str =
    "skipped: no PostgreSQL server binaries (initdb) on PATH or in /usr/lib/postgresql/*/bin";
/// If it is 1, tests without server binaries fail.
const REQUIRED: &str = "TOLLKEEPER_REQUIRE_POSTGRES";

/// The longest directory whose socket still has a name that the system accepts.
const DIRECTORY_BYTES_MAX: usize = 60;

/// What follows a pipe's end: no signal to the tests' terminal ends it sooner.
const WATCH: &str = r#"trap '' INT TERM HUP
read -r _
cd /
"$@" >/dev/null 2>&1
rm -rf "$DIRECTORY""#;

/// A server with its data.
pub struct Server {
    bin: PathBuf,
    directory: PathBuf,
    databases: AtomicU32,
    /// Its standard input is the pipe.
    watcher: Child,
}

/// How a server stops.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code)]
pub enum Stop {
    /// As if its machine lost power: without a word, to be recovered when it starts again.
    Immediate,
    /// Connections are broken, transactions rolled back, everything written.
    Fast,
}

/// The server that all tests of one binary share, each in databases of its own. `None`, after
/// saying so, if there are no server binaries here.
pub fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(Server::start_new).as_ref().or_else(skipped)
}

/// A server of one test's own, to be stopped and started.
#[allow(dead_code)]
pub fn own() -> Option<Server> {
    Server::start_new().or_else(skipped)
}

fn skipped<T>() -> Option<T> {
    let required = std::env::var(REQUIRED).is_ok_and(|value| value == "1");
    assert!(!required, "{SKIPPED}, and {REQUIRED}=1");
    // Past the capture of the tests, which do not fail.
    let _ = writeln!(std::io::stderr(), "{SKIPPED}");
    None
}

impl Server {
    fn start_new() -> Option<Server> {
        let bin = binaries()?;
        let directory = new_directory();
        run(as_server(&bin.join("initdb")).current_dir(&directory).args([
            "--pgdata=data",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]));
        // The watcher is there before the server, so no server is left alone.
        let mut command = Command::new("sh");
        command.args(["-c", WATCH, "watch"]).args(as_server_args(&bin.join("pg_ctl")));
        command.arg("--pgdata").arg(directory.join("data")).args(["--mode=immediate", "stop"]);
        command.env("DIRECTORY", &directory).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let watcher = command.spawn().expect("a shell watches");
        let server = Server { bin, directory, databases: AtomicU32::new(0), watcher };
        server.start();
        Some(server)
    }

    /// Starts it, after [`stop`](Self::stop). Returns when it accepts connections.
    pub fn start(&self) {
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c fsync=on \
             -c max_connections=200 -c shared_buffers=32MB -c timezone=UTC",
            self.directory.display()
        );
        let mut command = self.control();
        run(command.args(["--wait", "--silent", "--log=log", "-o", &options, "start"]));
    }

    /// Stops it. Returns when it has.
    #[allow(dead_code)]
    pub fn stop(&self, how: Stop) {
        let mode = match how {
            Stop::Immediate => "--mode=immediate",
            Stop::Fast => "--mode=fast",
        };
        run(self.control().args(["--wait", "--silent", mode, "stop"]));
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        // Only the number's being new matters.
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test{number}");
        let mut client = connect(&self.url("postgres"));
        client.batch_execute(&format!("CREATE DATABASE {name}")).expect("a database");
        self.url(&name)
    }

    /// Ends the connections of this application name by the server, and says how many.
    #[allow(dead_code)]
    pub fn terminate(&self, application: &str) -> usize {
        let mut client = connect(&self.url("postgres"));
        let ended = client.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
            &[&application],
        );
        let ended = ended.expect("they can be ended").len();
        wait_until("they end", || self.connections(application) == 0);
        ended
    }

    /// How many connections of this application name there are.
    #[allow(dead_code)]
    pub fn connections(&self, application: &str) -> usize {
        let mut client = connect(&self.url("postgres"));
        let count = client.query_one(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1",
            &[&application],
        );
        let count: i64 = count.expect("connections can be counted").get(0);
        usize::try_from(count).expect("a count")
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql:///{database}?user=postgres&host={}", self.directory.display())
    }

    fn control(&self) -> Command {
        let mut command = as_server(&self.bin.join("pg_ctl"));
        command.current_dir(&self.directory).arg("--pgdata=data");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// A connection of the test's own.
pub fn connect(url: &str) -> Client {
    Client::connect(url, NoTls).expect("the server accepts a connection")
}

/// The same URL, with this application name.
#[allow(dead_code)]
pub fn named(url: &str, application: &str) -> String {
    format!("{url}&application_name={application}")
}

/// Waits for what another process does.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30), "for 30 seconds it was not so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where the newest server's binaries are.
fn binaries() -> Option<PathBuf> {
    let there = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(there);
    on_path.or_else(|| {
        let version = |folder: &PathBuf| {
            let name = folder.parent()?.file_name()?.to_str()?;
            name.parse::<u32>().ok()
        };
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
        let folders = versions.flatten().map(|entry| entry.path().join("bin"));
        folders.filter(there).max_by_key(version)
    })
}

/// A directory that belongs to the server's user, its path short enough for a socket.
fn new_directory() -> PathBuf {
    let short = |path: &PathBuf| path.as_os_str().len() <= DIRECTORY_BYTES_MAX;
    let parent = Some(std::env::temp_dir()).filter(short).unwrap_or_else(|| "/tmp".into());
    let made = tempfile::Builder::new().prefix("tollkeeper-").tempdir_in(parent);
    let directory = made.expect("a temporary directory").keep();
    if is_root() {
        run(Command::new("chown").arg("postgres").arg(&directory));
    }
    directory
}

/// A command run as the server's user: PostgreSQL refuses to run as root.
fn as_server(program: &Path) -> Command {
    let words = as_server_args(program);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

fn as_server_args(program: &Path) -> Vec<&OsStr> {
    let mut words: Vec<&OsStr> = Vec::new();
    if is_root() {
        words.extend(["runuser", "-u", "postgres", "--"].map(OsStr::new));
    }
    words.push(program.as_os_str());
    words
}

fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| {
        let id = Command::new("id").arg("-u").output().expect("`id` runs");
        id.stdout.trim_ascii() == b"0"
    })
}

fn run(command: &mut Command) {
    // To a file, not a pipe: a server that is started would hold the pipe open.
    let mut errors = tempfile::tempfile().expect("a temporary file");
    let stream = errors.try_clone().expect("a second handle");
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stream).status();
    let ended = ended.unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
    if !ended.success() {
        use std::io::{Read, Seek};
        let mut text = String::new();
        let _ = errors.rewind().and_then(|()| errors.read_to_string(&mut text));
        panic!("{command:?}: {ended}\n{text}");
    }
}
