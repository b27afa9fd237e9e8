//! A real browser for the tests: headless Chromium with a fresh profile, driven by a chromedriver
//! that the test starts on a free port. Both are gone afterwards, however the test ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

const SKIPPED: &str = "skipped: no chromium and chromedriver on PATH";
/// If it is 1, tests without a browser fail.
const REQUIRED: &str = "TOLLKEEPER_REQUIRE_BROWSER";

/// One browser with one window.
pub struct Browser {
    pub client: Client,
    driver: Driver,
    _profile: tempfile::TempDir,
}

/// A running chromedriver. It ends the browsers that it started when it is told to end.
struct Driver {
    process: Child,
    port: u16,
}

impl Browser {
    /// A new one. `None`, after saying so, if there is no browser here.
    pub async fn start() -> Option<Browser> {
        let (Some(chromium), Some(chromedriver)) = (on_path("chromium"), on_path("chromedriver"))
        else {
            let required = std::env::var(REQUIRED).is_ok_and(|value| value == "1");
            assert!(!required, "{SKIPPED}, and {REQUIRED}=1");
            // Past the capture of the tests, which do not fail.
            let _ = writeln!(std::io::stderr(), "{SKIPPED}");
            return None;
        };
        let profile = tempfile::tempdir().expect("a temporary directory");
        let driver = Driver::start(chromedriver);
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--lang=en",
        ];
        let mut flags = flags.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let capabilities = json!({
            "goog:chromeOptions": { "binary": chromium, "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("it is an object") };
        let url = format!("http://127.0.0.1:{}", driver.port);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder.capabilities(capabilities).connect(&url).await;
        let client = client.unwrap_or_else(|e| panic!("chromium does not start: {e}"));
        Some(Browser { client, driver, _profile: profile })
    }

    /// Ends it in order.
    pub async fn close(self) {
        let _ = self.client.clone().close().await;
        drop(self.driver);
    }

    /// A command of the browser's own protocol.
    pub async fn devtools(&self, cmd: &str, params: Value) -> Value {
        let command =
            Extension { path: "goog/cdp/execute", body: json!({ "cmd": cmd, "params": params }) };
        self.issue(command).await.unwrap_or_else(|e| panic!("{cmd}: {e}"))
    }

    /// What the page said on its console since the last call, as `level: message`.
    pub async fn console(&self) -> Vec<String> {
        let command = Extension { path: "se/log", body: json!({ "type": "browser" }) };
        let entries = self.issue(command).await.expect("the console can be read");
        let entries = entries.as_array().expect("a list of entries");
        let text = |entry: &Value| {
            format!("{}: {}", entry["level"].as_str().unwrap_or("?"), entry["message"])
        };
        entries.iter().map(text).collect()
    }

    async fn issue(&self, command: Extension) -> Result<Value, CmdError> {
        self.client.issue_cmd(command).await
    }
}

/// A command that the standard does not have.
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

impl Driver {
    fn start(program: PathBuf) -> Driver {
        let mut command = Command::new(program);
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("chromedriver starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let port = lines.find_map(|line| {
            let line = line.expect("chromedriver says where it listens");
            line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        // What else it says is read, so that its pipe is never full.
        std::thread::spawn(move || lines.for_each(drop));
        Driver { process, port: port.expect("chromedriver names its port") }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = stream.write_all(b"GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            let _ = stream.read(&mut [0; 64]);
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if let Ok(Some(_)) = self.process.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
