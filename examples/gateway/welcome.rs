//! What is printed at the start: commands to paste.

use std::fmt::Write;
use std::net::SocketAddr;

use super::config::File;
use super::keys::Hash;

/// The keys of the sample. They are published with it.
pub const ALICE: &str = "tk-sample-alice-61b09fd2c7e84a35";
const BOB: &str = "tk-sample-bob-0d93b7c2f1a64e58";
pub const TRIAL: &str = "tk-sample-trial-8a4e26f97bd0c153";
pub const ADMIN: &str = "admin-sample-5f0c9a7be1d24836";

/// Whether a secret of the sample is in a configuration.
pub fn is_published(file: &File) -> bool {
    let known = |key: &&str| file.rules.keys.owner(key.as_bytes()).is_some();
    [ALICE, BOB, TRIAL].iter().any(known)
        || file.fixed.admin.token_sha256 == Hash::of(ADMIN.as_bytes())
}

/// A request that succeeds, one that streams, and some that run into a limit.
pub fn commands(gateway: SocketAddr) -> [String; 3] {
    let ask = |key: &str, more: &str| {
        format!(
            "http://{gateway}/v1/chat/completions -H 'Authorization: Bearer {key}' \
             -H 'Content-Type: application/json' \
             -d '{{\"model\":\"m-small\",\"max_tokens\":64,{more}\"messages\":\
             [{{\"role\":\"user\",\"content\":\"What is a toll?\"}}]}}'"
        )
    };
    [
        format!("curl -si {}", ask(ALICE, "")),
        format!(
            "curl -sN {}",
            ask(ALICE, "\"stream\":true,\"stream_options\":{\"include_usage\":true},")
        ),
        format!("for i in 1 2 3 4 5; do curl -si {}; echo; done", ask(TRIAL, "")),
    ]
}

/// All of it. Only the sample's keys are known, so commands are for the sample only.
pub fn text(gateway: SocketAddr, admin: SocketAddr, sample: bool) -> String {
    let mut text = format!("The gateway listens on http://{gateway}\n");
    if sample {
        let [one, stream, limit] = commands(gateway);
        let _ = write!(
            text,
            "\nA request that succeeds:\n\n{one}\n\nOne that streams:\n\n{stream}\n\n\
             Requests that run into a limit (two a minute):\n\n{limit}\n"
        );
    }
    let _ = write!(text, "\nThe status page: http://{admin}/status");
    if sample {
        let _ = write!(text, "  (its token: {ADMIN})");
    }
    text.push('\n');
    text
}
