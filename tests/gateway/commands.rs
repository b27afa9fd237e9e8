//! The commands that are printed at the start do what is said of them.

use std::process::Command;

use http::{Method, StatusCode};

use crate::gateway::welcome;
use crate::kit::{Answer, Gateway, Place, read};

/// A command's request, as a shell and curl would read it.
fn parse(command: &str) -> (String, Vec<(String, String)>, String) {
    let mut words = Vec::new();
    for (at, part) in command.split('\'').enumerate() {
        match at % 2 {
            // Within quotes.
            1 => words.push(part.to_owned()),
            _ => words.extend(part.split_whitespace().map(str::to_owned)),
        }
    }
    let url = words.iter().find(|word| word.starts_with("http://")).expect("it has an address");
    let after = |option: &str| {
        let pairs = words.windows(2).filter(move |pair| pair[0] == option);
        pairs.map(|pair| pair[1].clone()).collect::<Vec<_>>()
    };
    let fields = after("-H").into_iter().map(|field| {
        let (name, value) = field.split_once(": ").expect("it is a field");
        (name.to_owned(), value.to_owned())
    });
    (url.clone(), fields.collect(), after("-d").remove(0))
}

async fn run(gateway: &Gateway, command: &str) -> Answer {
    let (url, fields, body) = parse(command);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    read(gateway.client.send(Method::POST, &url, &fields, body).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_do_what_is_said_of_them() {
    let gateway = Gateway::start_with(Place::new(&[]), |options| options.piece_ms = 1).await;
    let text = welcome::text(gateway.running.address, gateway.running.admin_address, true);
    let [one, stream, limit] = welcome::commands(gateway.running.address);
    for command in [&one, &stream, &limit] {
        assert!(text.lines().any(|line| line == command), "{text}");
    }

    let answer = run(&gateway, &one).await.ok();
    assert_eq!(answer.json()["usage"]["completion_tokens"], 64);
    let said = &answer.json()["choices"][0]["message"]["content"];
    assert!(said.as_str().is_some_and(|said| said.starts_with("You said: \"What is a toll?\"")));

    let answer = run(&gateway, &stream).await.ok();
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let events: Vec<&str> = answer.text.lines().filter_map(|l| l.strip_prefix("data: ")).collect();
    assert!(events.len() > 64, "each token is an event");
    assert_eq!(events.last(), Some(&"[DONE]"));
    assert!(events[events.len() - 2].contains("\"completion_tokens\":64"));

    // As the loop does: in one window two pass, and the loop is over before the one after the next.
    assert!(limit.starts_with("for i in 1 2 3 4 5; do "));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(run(&gateway, &limit).await.status);
    }
    assert_eq!(statuses[0], StatusCode::OK);
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    gateway.nothing_is_held().await;
    assert!(gateway.end().await, "all is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_reads_the_printed_commands() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no curl");
        return;
    }
    let gateway = Gateway::start_with(Place::new(&[]), |options| options.piece_ms = 1).await;
    let mut printed = Vec::new();
    for command in welcome::commands(gateway.running.address) {
        let run = move || Command::new("sh").args(["-c", &command]).output();
        let ran = tokio::task::spawn_blocking(run).await.expect("it runs").expect("it runs");
        assert!(ran.status.success(), "{ran:?}");
        printed.push(String::from_utf8(ran.stdout).expect("it is text"));
    }
    assert!(printed[0].starts_with("HTTP/1.1 200 OK"), "{}", printed[0]);
    assert!(printed[1].ends_with("data: [DONE]\n\n"), "{}", printed[1]);
    assert!(printed[2].contains("HTTP/1.1 200 OK"), "{}", printed[2]);
    assert!(printed[2].contains("HTTP/1.1 429 Too Many Requests"), "{}", printed[2]);
    assert!(printed[2].to_lowercase().contains("retry-after: "), "{}", printed[2]);
    assert!(gateway.end().await);
}
