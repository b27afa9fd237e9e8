//! Secrets: kept as hashes, told to nobody.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::blabbing::Blabbing;
use crate::gateway::keys::{Hash, Keys};
use crate::kit::{ADMIN, ALICE, Answer, Caller, Gateway, Place, TRIAL, chat, read};
use crate::process::Process;
use http::{Method, StatusCode};

const CREDENTIAL: &str = "up-secret-3f9d2b7a6c5e4810";

#[tokio::test(flavor = "multi_thread")]
async fn the_upstreams_key_is_in_no_answer_and_no_log_nor_are_the_clients() {
    let upstream = Blabbing::start().await;
    let place = Place::new(&[("# key_env", "key_env")]);
    let url = format!("http://{}", upstream.address);
    let environment = [("UPSTREAM_API_KEY", CREDENTIAL)];
    let mut process = Process::start(&place, &["--upstream", &url], &environment);
    let mut answers = Vec::new();
    for code in [200, 302, 400, 401, 403, 404, 407, 429, 500, 503] {
        let answer = ask(&process.caller, code).await;
        let refused = [401, 403, 407].contains(&code);
        assert_eq!(answer.status.as_u16(), if refused { 502 } else { code }, "{answer:?}");
        assert!(answer.header("set-cookie").is_none() && answer.header("x-hop").is_none());
        answers.push((code, answer));
    }
    process.caller.chat("tk-nobody-has-this-key-000000").await;
    process.signal("TERM");
    assert!(process.end().success());
    let log = process.said.join("\n");
    for secret in [CREDENTIAL, ALICE, TRIAL, "tk-nobody-has"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    for (code, answer) in &answers {
        // What an upstream puts into an answer that succeeds is its answer.
        let told =
            if *code == 200 { format!("{:?}", answer.headers) } else { format!("{answer:?}") };
        assert!(!told.contains(CREDENTIAL), "{code}: {told}");
    }
    // The upstream knows the gateway, and nothing of its clients.
    for headers in upstream.heard.lock().expect("nobody panics").iter() {
        assert_eq!(headers["authorization"], format!("Bearer {CREDENTIAL}"));
        assert!(!format!("{headers:?}").contains(ALICE), "{headers:?}");
        for name in ["cookie", "x-api-key", "openai-organization", "te", "x-secret"] {
            assert!(!headers.contains_key(name), "{name} in {headers:?}");
        }
        assert_eq!(headers["x-kept"], "1");
    }
}

async fn ask(caller: &Caller, code: u16) -> Answer {
    let bearer = format!("Bearer {ALICE}");
    let fields = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("cookie", "session=1"),
        ("x-api-key", ALICE),
        ("openai-organization", "theirs"),
        ("connection", "x-secret, te"),
        ("te", "trailers"),
        ("x-secret", "1"),
        ("x-kept", "1"),
    ];
    let url = format!("http://{}/v1/chat/completions?{code}", caller.gateway);
    read(caller.send(Method::POST, &url, &fields, chat(4, false).to_string()).await).await
}

#[test]
fn what_is_shown_for_debugging_has_no_hash_and_no_key() {
    let hash = Hash::of_key(ALICE).expect("it is a key");
    let hex = hash.to_hex();
    let mut keys = Keys::default();
    assert!(keys.add(hash.clone(), "key:alice".parse().expect("it is an owner")));
    assert!(!keys.add(hash.clone(), "key:bob".parse().expect("it is an owner")));
    assert_eq!(format!("{hash:?} {keys:?}"), "Hash(..) Keys(1)");
    assert_eq!(keys.owner(ALICE.as_bytes()).map(|owner| owner.as_str()), Some("key:alice"));
    assert!(keys.owner(&ALICE.as_bytes()[1..]).is_none());

    // One whose hash begins alike is another one.
    let (begin, _) = hex.split_at(16);
    let alike = serde_json::from_value(format!("{begin}{}", "0".repeat(48)).into());
    let mut keys = Keys::default();
    assert!(keys.add(alike.expect("it is a hash"), "key:bob".parse().expect("it is an owner")));
    assert_eq!(keys.owner(ALICE.as_bytes()), None);

    let rules = crate::gateway::config::read(crate::gateway::config::SAMPLE).expect("it is right");
    let shown = format!("{:?} {:?}", rules.rules, rules.fixed);
    assert!(!shown.contains(&hex) && !shown.contains(&Hash::of(ADMIN.as_bytes()).to_hex()));
}

/// With keys that everybody knows it is for this machine only.
#[tokio::test]
async fn the_samples_keys_are_not_for_the_public() {
    for (from, to) in [("127.0.0.1:8080", "0.0.0.0:0"), ("127.0.0.1:8081", "0.0.0.0:0")] {
        let place = Place::new(&[]);
        let text = crate::gateway::config::SAMPLE.replace(from, to);
        place.write_text(&text.replace(":8080", ":0").replace(":8081", ":0"));
        let started = crate::gateway::run::Running::start(&place.options()).await;
        let Err(error) = started else { panic!("it starts on {to}") };
        assert!(error.to_string().contains("everybody knows"), "{error}");
    }
}

#[test]
fn a_key_is_hashed_from_the_standard_input() {
    let run = |key: &str| {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", "process::the_child", "--nocapture", "--quiet"]);
        command.env("TOLLKEEPER_GATEWAY_ARGS", "hash-key");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a child starts");
        let mut input = child.stdin.take().expect("it is piped");
        input.write_all(key.as_bytes()).expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        (output.status.success(), String::from_utf8(output.stderr).expect("it is text"))
    };
    let hash = Hash::of_key(ALICE).expect("it is a key").to_hex();
    assert_eq!(run(&format!("{ALICE}\n")), (true, format!("{hash}\n")));
    let (succeeded, why) = run("short\n");
    assert!(!succeeded && why.contains("5 bytes; accepted: 24 to 512"), "{why}");
    assert!(!why.contains("short"));
    assert!(crate::gateway::config::SAMPLE.contains(&hash));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_or_with_another_nobody_comes_in() {
    let gateway = Gateway::start(&[]).await;
    let hash = Hash::of_key(ALICE).expect("it is a key").to_hex();
    for field in [
        None,
        Some(String::new()),
        Some("Bearer ".to_owned()),
        Some(ALICE.to_owned()),
        Some(format!("Basic {ALICE}")),
        Some(format!("Bearer {hash}")),
        Some(format!("Bearer {ALICE}x")),
        Some(format!("Bearer {ADMIN}")),
    ] {
        let fields: Vec<_> = field.iter().map(|f| ("authorization", f.as_str())).collect();
        let url = format!("http://{}/v1/chat/completions", gateway.client.gateway);
        let body = chat(4, false).to_string();
        let answer = read(gateway.client.send(Method::POST, &url, &fields, body).await).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{field:?}");
        assert_eq!(answer.json()["error"]["code"], "invalid_api_key");
    }
    // Whoever says two keys says none.
    let two = format!("Bearer {ALICE}");
    let fields = [("authorization", two.as_str()), ("authorization", two.as_str())];
    let url = format!("http://{}/v1/models", gateway.client.gateway);
    let answer = read(gateway.client.send(Method::GET, &url, &fields, "").await).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(gateway.end().await);
}
