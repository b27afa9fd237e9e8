//! The admin API: who may use it, and what it does.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tollkeeper::Dimension;

use crate::kit::{ADMIN, ALICE, Gateway, TRIAL, chat, read};

const ROUTES: [(&str, &str); 13] = [
    ("GET", "/admin/usage"),
    ("GET", "/admin/denials"),
    ("GET", "/admin/events"),
    ("GET", "/admin/records"),
    ("PUT", "/admin/limits/alice-rate"),
    ("POST", "/admin/limits/alice-rate/reset"),
    ("POST", "/admin/limits/trial-credit/top-up"),
    ("POST", "/admin/limits/alice-rate/override"),
    ("POST", "/admin/limits/alice-rate/clear-override"),
    ("POST", "/admin/owners/key:alice/suspend"),
    ("POST", "/admin/owners/key:alice/resume"),
    ("POST", "/admin/reload"),
    ("GET", "/admin/"),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_admin_api_is_there_without_the_token() {
    let gateway = Gateway::start(&[]).await;
    let before = gateway.client.admin(Method::GET, "/admin/usage", None).await.ok().json();
    let wrong = [
        None,
        Some(format!("Bearer {ALICE}")),
        Some(format!("Bearer {}", &ADMIN[1..])),
        Some(format!("Basic {ADMIN}")),
        Some(ADMIN.to_owned()),
    ];
    for (method, path) in &ROUTES[..12] {
        for token in &wrong {
            let method: Method = method.parse().expect("it is a method");
            let url = format!("http://{}{path}", gateway.client.admin);
            let fields: Vec<_> =
                token.iter().map(|token| ("authorization", token.as_str())).collect();
            let answer = read(gateway.client.send(method, &url, &fields, "{}").await).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {token:?}");
        }
    }
    let after = gateway.client.admin(Method::GET, "/admin/usage", None).await.ok().json();
    assert_eq!(before["limits"], after["limits"], "nothing was changed");
    // Nor is it there for those who only reach the gateway.
    let fields = [("authorization", format!("Bearer {ADMIN}"))];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    for (method, path) in ROUTES {
        let method: Method = method.parse().expect("it is a method");
        let url = format!("http://{}{path}", gateway.client.gateway);
        let answer = read(gateway.client.send(method, &url, &fields, "{}").await).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_everybody_says_nothing_of_anybody() {
    let gateway = Gateway::start(&[]).await;
    gateway.client.chat(ALICE).await.ok();
    for path in ["/health", "/status"] {
        let url = format!("http://{}{path}", gateway.client.admin);
        let answer = read(gateway.client.send(Method::GET, &url, &[], "").await).await.ok();
        for secret in ["key:alice", "team:search", "trial-credit", ADMIN, ALICE] {
            assert!(!answer.text.contains(secret), "{path} tells {secret}");
        }
    }
    let url = format!("http://{}/metrics", gateway.client.admin);
    let answer = read(gateway.client.send(Method::GET, &url, &[], "").await).await.ok();
    assert!(answer.text.contains("tollkeeper_requests_total"), "{}", answer.text);
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_records_and_denials_are_told() {
    let gateway = Gateway::start(&[]).await;
    let answer = gateway.client.chat(ALICE).await.ok().json();
    let tokens = answer["usage"]["total_tokens"].as_u64().expect("it is a number");
    while gateway.client.chat(TRIAL).await.status == StatusCode::OK {}
    gateway.nothing_is_held().await;

    let usage = gateway.client.admin(Method::GET, "/admin/usage", None).await.ok().json();
    let limits = usage["limits"].as_array().expect("it is a list");
    let of = |name: &str| limits.iter().find(|limit| limit["limit"] == name).expect("it is there");
    let rate = of("alice-rate");
    assert_eq!((&rate["owner"], &rate["kind"]), (&json!("key:alice"), &json!("rate_limit")));
    let counter = &rate["counters"][0];
    assert_eq!(counter["dimension"], "tokens");
    assert_eq!(counter["settled"], tokens);
    assert_eq!(counter["remaining"], 200_000 - tokens);
    let money = &of("search-daily")["counters"][0];
    assert_eq!((&money["dimension"], &money["text"]["limit"]), (&json!("cost"), &json!("$20.00")));
    assert!(limits.iter().all(|limit| limit["owner"] != "gateway:switches"));

    let path = "/admin/records?owner=key:alice&max=5";
    let records = gateway.client.admin(Method::GET, path, None).await.ok().json();
    let [record] = &records["records"].as_array().expect("it is a list")[..] else {
        panic!("there is one: {records}");
    };
    assert_eq!((&record["outcome"], &record["model"]), (&json!("completed"), &json!("m-small")));
    assert_eq!(record["usage"]["cost"], money["settled"]);
    let later = "/admin/records?since=2200-01-01T00:00:00Z";
    let records = gateway.client.admin(Method::GET, later, None).await.ok().json();
    assert_eq!(records["records"], json!([]));

    let denials = gateway.client.admin(Method::GET, "/admin/denials", None).await.ok().json();
    let denial = &denials["denials"][0];
    assert_eq!((&denial["key"], &denial["model"]), (&json!("key:trial"), &json!("m-small")));
    assert_eq!((&denial["status"], &denial["limit"]), (&json!(429), &json!("trial-rate")));
    assert_eq!(denial["dimension"], "requests");
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_told_what_changes_as_it_changes() {
    let gateway = Gateway::start(&[]).await;
    let url = format!("http://{}/admin/events", gateway.client.admin);
    let bearer = format!("Bearer {ADMIN}");
    let fields = [("authorization", bearer.as_str())];
    let mut events = gateway.client.send(Method::GET, &url, &fields, "").await.into_body();
    let mut heard = String::new();
    while gateway.client.chat(TRIAL).await.status == StatusCode::OK {}
    let has_all = |heard: &str| {
        let data = heard.lines().filter_map(|line| line.strip_prefix("data: "));
        let items: Vec<Value> = data.map_while(|data| serde_json::from_str(data).ok()).collect();
        let settled = |item: &Value| {
            let limits = item["limits"].as_array().into_iter().flatten();
            let trial = limits.filter(|limit| limit["limit"] == "trial-rate");
            trial.map(|limit| limit["counters"][0]["settled"].clone()).next()
        };
        let denied = items.iter().any(|item| item["limit"] == "trial-rate");
        denied && items.iter().any(|item| settled(item) == Some(json!(2)))
    };
    while !has_all(&heard) {
        let frame = tokio::time::timeout(crate::kit::PATIENCE, events.frame()).await;
        let frame = frame.expect("it comes in time").expect("it goes on").expect("it goes on");
        let data = frame.into_data().expect("it is data");
        heard.push_str(std::str::from_utf8(&data).expect("it is text"));
    }
    assert!(heard.starts_with("event: usage\n"), "what is now comes first");
    // Whoever still looks does not keep the gateway from ending.
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_changed_reset_topped_up_and_overridden() {
    let gateway = Gateway::start(&[]).await;
    let admin = async |method: Method, path: &str, body: Value| {
        gateway.client.admin(method, &format!("/admin/limits/{path}"), Some(body)).await
    };
    let trial = || gateway.usage("trial-rate").counters[0];
    gateway.client.chat(TRIAL).await.ok();
    gateway.client.chat(TRIAL).await.ok();
    gateway.nothing_is_held().await;

    admin(Method::PUT, "trial-rate", json!({ "requests": "10/m" })).await.ok();
    assert_eq!((trial().limit, trial().settled), (Some(10), 2), "its usage stays");
    for (body, part) in [
        (json!({ "requests": "many" }), "rate_limits[0].requests: "),
        (json!({ "id": "other", "requests": "1/m" }), "does not change"),
        (json!({ "limit": "$5", "period": "1d" }), "unknown field"),
        (json!([1]), "accepted: a table"),
        (json!({ "requests": null }), "accepted: a table"),
    ] {
        let answer = admin(Method::PUT, "trial-rate", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.text.contains(part), "{}", answer.text);
        assert_eq!(trial().limit, Some(10), "nothing was changed");
    }
    assert_eq!(
        admin(Method::PUT, "nobody", json!({ "requests": "1/m" })).await.status,
        StatusCode::NOT_FOUND
    );

    let answer = admin(Method::POST, "trial-rate/reset", json!({})).await.ok().json();
    assert_eq!((&answer["counters"][0]["total"], &answer["durable"]), (&json!(2), &json!(true)));
    assert_eq!(trial().settled, 0);
    assert_eq!(
        admin(Method::POST, "alice-in-flight/reset", json!({})).await.status,
        StatusCode::BAD_REQUEST
    );

    let credit = || gateway.usage("trial-credit").counters[0].limit;
    for (id, added, limit) in [("1", true, 6), ("1", false, 6), ("2", true, 11)] {
        let body = json!({ "amount": "$5", "id": id });
        let answer = admin(Method::POST, "trial-credit/top-up", body).await.ok().json();
        assert_eq!(answer["added"], added);
        assert_eq!(credit(), Some(limit * 1_000_000_000));
    }
    let body = json!({ "amount": "$6", "id": "1" });
    let answer = admin(Method::POST, "trial-credit/top-up", body).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "it is another payment's");

    let body = json!({ "dimension": "requests", "limit": 0, "windows": 1 });
    admin(Method::POST, "trial-rate/override", body).await.ok();
    assert_eq!(gateway.client.chat(TRIAL).await.status, StatusCode::TOO_MANY_REQUESTS);
    let body = json!({ "dimension": "requests" });
    admin(Method::POST, "trial-rate/clear-override", body).await.ok();
    gateway.client.chat(TRIAL).await.ok();
    assert!(gateway.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_suspended_gets_nothing_until_resumed_also_after_a_restart() {
    let mut gateway = Gateway::start(&[]).await;
    for owner in ["key:alice", "team:search", "customer:acme", "model:m-large", "upstream:main"] {
        let model = if owner == "model:m-large" { "m-large" } else { "m-small" };
        let mut request = chat(4, false);
        request["model"] = model.into();
        let path = "/v1/chat/completions";
        let turn = |what: &str| format!("/admin/owners/{owner}/{what}");
        gateway.client.admin(Method::POST, &turn("suspend"), None).await.ok();
        let answer = gateway.client.ask(ALICE, path, &request).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (StatusCode::FORBIDDEN, &json!("suspended")),
            "{owner}"
        );

        let (place, client) = (gateway.place, gateway.client);
        drop(client);
        assert!(gateway.running.end().await);
        gateway = Gateway::start_with(place, |_| ()).await;
        let answer = gateway.client.ask(ALICE, path, &request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{owner} after a restart");
        gateway.client.admin(Method::POST, "/admin/reload", None).await.ok();
        let answer = gateway.client.ask(ALICE, path, &request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{owner} after a reload");

        gateway.client.admin(Method::POST, &turn("resume"), None).await.ok();
        gateway.client.ask(ALICE, path, &request).await.ok();
    }
    let money = gateway.usage("acme-monthly");
    assert!(money.counter(Dimension::Money).is_some_and(|counter| counter.settled > 0));
    let answer = gateway.client.admin(Method::POST, "/admin/owners/key:nobody/suspend", None).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(gateway.end().await);
}
