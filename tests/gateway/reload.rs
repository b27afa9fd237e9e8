//! The configuration is read again: all of it, or nothing.

use http::{Method, StatusCode};

use crate::gateway::keys::Hash;
use crate::kit::{ALICE, Gateway, Place, TRIAL};
use crate::process::Process;

const CAROL: &str = "tk-test-carol-77aa0f1e5b3c9d24";
const RATE: &str = "requests = \"2/10000d\"";

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_in_force_at_once_and_usage_stays() {
    let gateway = Gateway::start(&[]).await;
    let new = CAROL;
    assert_eq!(gateway.client.chat(new).await.status, StatusCode::UNAUTHORIZED);
    while gateway.client.chat(TRIAL).await.status == StatusCode::OK {}
    gateway.nothing_is_held().await;
    let alice = Hash::of_key(ALICE).expect("it is a key").to_hex();
    let carol = Hash::of_key(new).expect("it is a key").to_hex();
    gateway.place.write(&[(RATE, "requests = \"3/10000d\""), (&alice, &carol)]);

    let answer = gateway.client.admin(Method::POST, "/admin/reload", None).await.ok().json();
    assert_eq!(answer["applied"]["changed"], serde_json::json!(["trial-rate"]));
    assert_eq!(answer["needs_restart"], serde_json::json!([]));
    gateway.client.chat(new).await.ok();
    assert_eq!(gateway.client.chat(ALICE).await.status, StatusCode::UNAUTHORIZED);
    let counter = gateway.usage("trial-rate").counters[0];
    assert_eq!(counter.limit, Some(3));
    assert_eq!(counter.settled, 2, "its usage stays");

    gateway.place.write(&[(RATE, RATE), ("drain_seconds = 10", "drain_seconds = 11")]);
    let answer = gateway.client.admin(Method::POST, "/admin/reload", None).await.ok().json();
    assert_eq!(answer["needs_restart"], serde_json::json!(["gateway"]));
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing_and_says_why_and_where() {
    let gateway = Gateway::start(&[]).await;
    let carol = CAROL;
    let carol = Hash::of_key(carol).expect("it is a key").to_hex();
    let alice = Hash::of_key(ALICE).expect("it is a key").to_hex();
    let sample = std::fs::read_to_string(gateway.place.config()).expect("it is there");
    // Each is wrong in one line, and has another key, which must not come in.
    for (from, to, path) in [
        (RATE, "requests = \"2/x\"", "owners[5].rate_limits[0].requests: "),
        (
            "parents = [\"customer:trial\"]",
            "parents = [\"customer:gone\"]",
            "owners[5].parents[0]: ",
        ),
        ("id = \"bob-rate\"", "id = \"alice-rate\"", "owners[3].rate_limits[0].id: "),
        // It was another owner's: the engine refuses it, not the reader.
        (
            "id = \"search-daily\", limit = \"$20\", period = \"10000d\", thresholds = [80]",
            "id = \"trial-credit2\", limit = \"-1\", period = \"1d\"",
            "owners[1].budgets[0].limit: ",
        ),
        ("output = \"$0.60\"", "output = 0.60", "prices[0].output: "),
        (&*alice, "abc", "keys[0]: "),
        ("owner = \"key:bob\"", "owner = \"key:gone\"", "keys[1].owner: "),
        ("owner = \"model:m-large\"", "owner = \"model:gone\"", "models[1].owner: "),
        ("name = \"m-small\"", "name = \"m-free\"", "models[0].name: "),
        ("header_seconds = 10", "header_seconds = 0", "gateway.header_seconds: "),
        ("header_seconds = 10", "header_secs = 10", "gateway: "),
        ("owner = \"upstream:main\"", "owner = \"upstream:gone\"", "upstream.owner: "),
        ("[upstream]\n", "[upstraem]\n", "upstraem: "),
        ("max_connections = 4096", "max_connections = = 4096", "TOML"),
    ] {
        assert!(sample.contains(from), "{from}");
        let line = sample[..sample.find(from).expect("it is there")].matches('\n').count() + 1;
        let text = sample.replacen(from, to, 1).replace(&alice, &carol);
        gateway.place.write_text(&text);
        let answer = gateway.client.admin(Method::POST, "/admin/reload", None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{to}");
        let message = answer.json()["error"]["message"].as_str().expect("it is text").to_owned();
        assert!(message.contains(&format!("line {line}: ")), "line {line}: {message}");
        assert!(path == "TOML" || message.contains(path), "{path}: {message}");
        assert!(!message.contains(&carol), "no hash is told: {message}");
        gateway.client.chat(ALICE).await.ok();
    }
    std::fs::remove_file(gateway.place.config()).expect("it is there");
    let answer = gateway.client.admin(Method::POST, "/admin/reload", None).await;
    assert!(answer.text.contains("cannot read"), "{}", answer.text);
    gateway.client.chat(ALICE).await.ok();
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_another_kind_is_refused_by_the_engine_with_its_line() {
    let gateway = Gateway::start(&[]).await;
    let (from, to) = (
        "concurrency = [{ id = \"alice-in-flight\", limit = 64 }]",
        "budgets = [{ id = \"alice-in-flight\", limit = \"$1\", period = \"1d\" }]",
    );
    // It has another key, too, which must not come in.
    let alice = Hash::of_key(ALICE).expect("it is a key").to_hex();
    let other = Hash::of_key(CAROL).expect("it is a key").to_hex();
    gateway.place.write(&[(from, to), (&alice, &other)]);
    let text = std::fs::read_to_string(gateway.place.config()).expect("it is there");
    let line = text[..text.find(to).expect("it is there")].matches('\n').count() + 1;
    let answer = gateway.client.admin(Method::POST, "/admin/reload", None).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        answer.text.contains(&format!("line {line}: owners[2].budgets[0].id: ")),
        "{}",
        answer.text
    );
    gateway.client.chat(ALICE).await.ok();
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reads_it_again() {
    let place = Place::new(&[]);
    let mut process = Process::start(&place, &[], &[]);
    process.caller.chat(ALICE).await.ok();
    let alice = Hash::of_key(ALICE).expect("it is a key").to_hex();
    let other = Hash::of_key(CAROL).expect("it is a key").to_hex();

    place.write(&[(RATE, "requests = \"2/x\""), (&alice, &other)]);
    process.signal("HUP");
    let why = process.until("nothing was changed: ");
    assert!(why.contains("line ") && why.contains("owners[5].rate_limits[0].requests: "), "{why}");
    process.caller.chat(ALICE).await.ok();

    place.write(&[(&alice, &other)]);
    process.signal("HUP");
    process.until("the configuration was read again");
    assert_eq!(process.caller.chat(ALICE).await.status, StatusCode::UNAUTHORIZED);
    process.signal("TERM");
    assert!(process.end().success());
}
