//! The status page, examples/gateway/status.html, in a real browser: what it shows is what the
//! engine says, live, on a phone and in the dark, and says so when it cannot know.

#![cfg(all(
    feature = "http",
    feature = "metrics",
    feature = "postgres",
    feature = "serde",
    feature = "sqlite",
    feature = "tracing",
    not(tollkeeper_loom)
))]

#[path = "support/browser.rs"]
mod browser;
#[path = "../examples/gateway/main.rs"]
#[allow(dead_code)] // Its `main` is for the command line.
mod gateway;
#[path = "gateway/kit.rs"]
#[allow(dead_code)] // Other tests do more with it.
mod kit;
#[path = "gateway_page/scene.rs"]
mod scene;
#[path = "gateway_page/sight.rs"]
mod sight;
#[path = "gateway_page/stand_in.rs"]
mod stand_in;

use std::time::{Duration, Instant};

use browser::Browser;
use fantoccini::Locator;
use fantoccini::key::Key;
use kit::{ADMIN, ALICE, Gateway, Place, TRIAL, chat};
use scene::{company, hold, morning, put, used};
use serde_json::json;
use sha2::{Digest, Sha256};
use sight::Line;
use stand_in::{PAGE, StandIn, TOKEN, dimension_name, dollars};
use tollkeeper::{Concurrency, Dimension, Engine, RateLimit};

const CONTRAST: &str = include_str!("gateway_page/contrast.js");
/// Remembers how many lines were changed at once. Counted rather than timed: the machine of a test
/// may be busy.
const WATCH: &str = r#"
window.atOnce = 0;
new MutationObserver((records) => {
  const lines = new Set();
  for (const { target, addedNodes } of records) {
    const inside = (target.closest ? target : target.parentElement)?.closest(".line[data-limit]");
    if (inside) lines.add(inside);
    for (const node of addedNodes) if (node.matches?.(".line")) lines.add(node);
  }
  window.atOnce = Math.max(window.atOnce, lines.size);
}).observe(document.getElementById("limits"),
  { subtree: true, childList: true, attributes: true, characterData: true });
window.longest = 0;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) window.longest = Math.max(window.longest, duration);
}).observe({ type: "longtask" });
"#;
/// The page draws 200 lines before it lets go, and a line may show its owner's name to the next.
const AT_ONCE: u64 = 400;
/// Of small text, by WCAG 2 at level AA.
const CONTRAST_MIN: f64 = 4.5;

/// What the page must say of every counter, from what the engine says.
fn told(engine: &Engine) -> Vec<((String, String), [String; 5])> {
    let mut told = Vec::new();
    for usage in engine.usage_all() {
        // By which owners are suspended; nobody's limits.
        if usage.owner.as_str() == "gateway:switches" {
            continue;
        }
        for counter in &usage.counters {
            let text = |amount: u64| match counter.dimension {
                Dimension::Money => dollars(amount),
                _ => grouped(amount),
            };
            let or_none = |amount: Option<u64>| amount.map_or("none".to_owned(), text);
            let percent = counter.percent().map_or(String::new(), |percent| format!("{percent} %"));
            let texts = [
                text(counter.settled),
                text(counter.held),
                or_none(counter.remaining()),
                or_none(counter.limit),
                percent,
            ];
            told.push((
                (usage.limit.to_string(), dimension_name(counter.dimension).to_owned()),
                texts,
            ));
        }
    }
    told.sort();
    told
}

/// A number with a comma at every thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let mut groups: Vec<&str> = Some(head).filter(|head| !head.is_empty()).into_iter().collect();
    groups.extend((0..rest.len()).step_by(3).map(|at| &rest[at..at + 3]));
    groups.join(",")
}

async fn shown(browser: &Browser) -> Vec<((String, String), [String; 5])> {
    let texts = |line: Line| [line.settled, line.held, line.remaining, line.limit, line.percent];
    browser.lines().await.into_iter().map(|(name, line)| (name, texts(line))).collect()
}

/// Waits until the page says what the engine says.
async fn agrees(browser: &Browser, engine: &Engine) {
    for _ in 0..200 {
        if shown(browser).await == told(engine) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(shown(browser).await, told(engine), "the page does not say what the engine says");
}

fn line_of(lines: &sight::Lines, limit: &str, dimension: &str) -> Line {
    lines[&(limit.to_owned(), dimension.to_owned())].clone()
}

#[test]
fn the_page_names_its_own_script_and_style_and_no_other_place() {
    for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        assert_eq!(PAGE.matches(&open).count(), 1, "one {tag}, which the policy names");
        let inside = PAGE.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
        let hash = Sha256::digest(inside.expect("it ends").0);
        let needed = format!("{directive} 'sha256-{}'", base64(&hash));
        assert!(PAGE.contains(&needed), "the policy of the page needs: {needed}");
    }
    let elsewhere = PAGE.replace("http://www.w3.org/2000/svg", "");
    for place in ["http://", "https://", "src=\"", "url(", "@import", "innerHTML"] {
        assert!(!elsewhere.contains(place), "the page has {place}");
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            let in_chunk = digit <= chunk.len();
            text.push(if in_chunk { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn bars_say_what_the_engine_says_and_follow_it_without_a_reload() {
    let Some(browser) = Browser::start().await else { return };
    let server = StandIn::start(company(), scene::NOT_HARD);
    morning(&server.engine);
    browser.screen(1280, 900, 1, "light").await;
    browser.sign_in(&server.url(), TOKEN).await;
    agrees(&browser, &server.engine).await;
    browser.script("window.notReloaded = true").await;
    browser.until_shown("Live").await;

    // A stream in flight: its hold is seen, then what it really used.
    let before = line_of(&browser.lines().await, "search-daily", "cost");
    let reservation = hold(&server.engine, "key:alice", &used(20_000, "$2"));
    agrees(&browser, &server.engine).await;
    let during = line_of(&browser.lines().await, "search-daily", "cost");
    assert_eq!((before.held_width, during.held.as_str()), (0.0, "$2.00"));
    assert!((during.held_width - 10.0).abs() < 0.5, "$2 of $20 are held: {during:?}");
    assert!((during.settled_width - before.settled_width).abs() < 0.5, "{during:?}");
    let flying = line_of(&browser.lines().await, "alice-in-flight", "in_flight");
    assert_eq!((flying.held.as_str(), flying.remaining.as_str()), ("1", "3"));
    let _ = reservation.settle(&used(18_000, "$1.5"));
    agrees(&browser, &server.engine).await;
    let after = line_of(&browser.lines().await, "search-daily", "cost");
    assert_eq!((after.held_width, after.settled.as_str()), (0.0, "$18.4525"));
    assert_eq!(after.section, "close", "92 % are near the limit");

    // Denied: told with its reason, and marked at the limit that denied.
    assert!(server.request("key:alice", "m-large", &used(10, "$5")).is_none());
    browser.until_shown("402").await;
    browser.until_shown("search-daily · cost · m-large").await;
    browser.until_shown("1 denied in 5 min").await;
    let last = hold(&server.engine, "key:alice", &used(10, "$1.5475"));
    let _ = last.settle(&used(10, "$1.5475"));
    agrees(&browser, &server.engine).await;
    let full = line_of(&browser.lines().await, "search-daily", "cost");
    assert_eq!((full.section.as_str(), full.percent.as_str()), ("full", "100 %"));
    assert_eq!(browser.client.title().await.expect("a title"), "1 full · Tollkeeper");

    // What does not deny is not full, and says that it does not.
    let shadow = line_of(&browser.lines().await, "carol-trial", "cost");
    assert_eq!((shadow.section.as_str(), shadow.percent.as_str()), ("close", "117 %"));
    assert!(shadow.text.contains("carol-trialshadow"), "{shadow:?}");
    assert_eq!(shadow.remaining, "$0.00", "never negative");
    assert!(full.reset.ends_with("min"), "it resets within the day: {full:?}");
    assert_eq!(line_of(&browser.lines().await, "globex-credit", "cost").reset, "by top-up");
    let meter = full.meter.expect("a meter");
    assert_eq!(meter, "100 %: $20.00 settled, $0.00 held, $0.00 left of $20.00");
    assert_eq!(full.meter_now.as_deref(), Some("100"));
    assert_eq!(line_of(&browser.lines().await, "initech-spend", "cost").meter, None);

    assert_eq!(browser.script("return window.notReloaded").await, json!(true));
    assert_eq!(browser.console().await, [""; 0], "the page complains");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_is_shown_as_its_engine_has_it_after_real_requests() {
    let Some(browser) = Browser::start().await else { return };
    let slow = |options: &mut gateway::cli::Serve| options.piece_ms = 200;
    let gateway = Gateway::start_with(Place::new(&[]), slow).await;
    let engine = &gateway.running.house.engine;
    browser.screen(1280, 900, 1, "dark").await;
    let url = format!("http://{}/status", gateway.running.admin_address);
    browser.client.goto(&url).await.expect("the page opens");
    browser.type_token("not-the-token").await;
    browser.until_shown("The gateway does not accept this token.").await;
    browser.sign_in(&url, ADMIN).await;
    browser.until_shown("Live").await;
    let _ = browser.console().await;
    agrees(&browser, engine).await;

    let answer = gateway.client.chat(ALICE).await.ok().json();
    let used = answer["usage"]["total_tokens"].as_u64().expect("it was used");
    agrees(&browser, engine).await;
    let line = line_of(&browser.lines().await, "alice-rate", "tokens");
    assert_eq!(line.settled, grouped(used), "what the answer said that it used");

    let stream = gateway.client.begin(ALICE, "/v1/chat/completions", &chat(64, true)).await;
    let held = "return [...document.querySelectorAll('.line[data-limit=search-daily]')].some(\
        (line) => line.querySelector('.held-part').getBoundingClientRect().width >= 3)";
    browser.until("what the stream holds is seen", held).await;
    browser.picture("stream-in-flight").await;
    let flying = line_of(&browser.lines().await, "alice-in-flight", "in_flight");
    assert_eq!(flying.held, "1");
    kit::read(stream).await.ok();
    gateway.nothing_is_held().await;
    agrees(&browser, engine).await;

    for _ in 0..2 {
        gateway.client.chat(TRIAL).await.ok();
    }
    assert_eq!(gateway.client.chat(TRIAL).await.status, 429);
    browser.until_shown("trial-rate · requests · m-small").await;
    browser.until_shown("1 denied in 5 min").await;
    agrees(&browser, engine).await;
    let full = line_of(&browser.lines().await, "trial-rate", "requests");
    assert_eq!((full.section.as_str(), full.settled.as_str()), ("full", "2"));
    assert_eq!(browser.console().await, [""; 0], "the page complains");

    assert!(gateway.end().await, "all usage is recorded");
    browser.until_shown("Connection lost.").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_told_and_a_right_one_stays_in_its_tab() {
    let Some(browser) = Browser::start().await else { return };
    let server = StandIn::start(company(), &[]);
    browser.client.goto(&server.url()).await.expect("the page opens");
    for wrong in ["another-token", "wörter"] {
        browser.type_token(wrong).await;
        browser.until("it is refused", "return !document.getElementById('refused').hidden").await;
        let refused = browser.text("#refused").await;
        assert!(refused.contains("token"), "{refused}");
        assert!(!browser.text("body").await.contains("acme"), "nothing is shown");
        assert_eq!(browser.script("return sessionStorage.length").await, json!(0));
    }
    browser.type_token(TOKEN).await;
    browser.until_shown("acme-monthly").await;
    browser.client.refresh().await.expect("it can be reloaded");
    browser.until_shown("acme-monthly").await;
    let url = browser.client.current_url().await.expect("a URL");
    assert_eq!(url.as_str(), server.url(), "the token is in no URL");
    assert_eq!(
        browser.script("return localStorage.length + document.cookie.length").await,
        json!(0)
    );
    let forget = browser.client.find(Locator::Css("#forget")).await.expect("a button");
    forget.click().await.expect("it can be clicked");
    browser.until("it is forgotten", "return sessionStorage.length === 0").await;
    assert!(!browser.text("body").await.contains("acme"), "nothing is left");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_text_whatever_they_say() {
    const NASTY: &str = "<script>window.taken=1</script><img src=x onerror=window.taken=1>";
    let Some(browser) = Browser::start().await else { return };
    let engine = Engine::new();
    let owner = format!("key:{NASTY}");
    put(&engine, &owner, &[], &format!("{NASTY}\"'>"), Concurrency::new(0));
    let server = StandIn::start(engine, &[]);
    assert!(server.request(&owner, NASTY, &used(1, "$0")).is_none());
    browser.sign_in(&server.url(), TOKEN).await;
    browser
        .until("the denial is shown", "return document.querySelectorAll('#denied li').length === 1")
        .await;
    let texts = browser.text("#limits").await;
    assert!(texts.matches(NASTY).count() >= 4, "owner, limit, and both again: {texts}");
    assert_eq!(browser.script("return window.taken ?? null").await, json!(null));
    let made = "return document.querySelectorAll('main script, main img').length";
    assert_eq!(browser.script(made).await, json!(0));
    // Were one of them markup after all, the browser itself would refuse it.
    let forced =
        "try { document.body.innerHTML = '<p>'; return 'taken' } catch { return 'refused' }";
    assert_eq!(browser.script(forced).await, json!("refused"));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_told_with_the_age_of_the_data_and_mended() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = StandIn::start(company(), &[]);
    browser.screen(1280, 720, 1, "light").await;
    browser.sign_in(&server.url(), TOKEN).await;
    browser.until_shown("Live").await;
    server.go_away();
    browser.until_shown("Connection lost.").await;
    browser.until_shown("What you see is 3 s old").await;
    assert!(browser.text("#age").await.contains("updated"), "the age is told");
    assert!(browser.text("#limits").await.contains("acme-monthly"), "the last data stays");
    assert_eq!(browser.client.title().await.expect("a title"), "Lost · Tollkeeper");
    browser.picture("lost-desktop-light").await;

    morning(&server.engine);
    server.events(false);
    server.come_back();
    browser.until_shown("Polling").await;
    agrees(&browser, &server.engine).await;
    let _ = hold(&server.engine, "key:dave", &used(500, "$1")).settle(&used(500, "$1"));
    agrees(&browser, &server.engine).await;
    assert!(server.request("key:dave", "m-large", &used(90_000, "$0")).is_none());
    browser.until_shown("dave-rate · tokens").await;

    // As often as it says, however long there is no stream.
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(15)).await;
    let silence = server.longest_silence(begun);
    assert!(silence < Duration::from_secs(6), "every 3 seconds, and not after {silence:?}");

    server.events(true);
    browser.until_shown("Live").await;
    let _ = hold(&server.engine, "key:dave", &used(500, "$1")).settle(&used(500, "$1"));
    agrees(&browser, &server.engine).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn none_and_thousands_of_limits_are_shown_and_searched_without_freezing() {
    const LIMITS: usize = 2_000;
    let Some(browser) = Browser::start().await else { return };
    let server = StandIn::start(Engine::new(), &[]);
    browser.sign_in(&server.url(), TOKEN).await;
    browser.until_shown("No limits are configured").await;
    browser.until_shown("No request was denied").await;

    browser.script(WATCH).await;
    for number in 0..LIMITS {
        let limit = RateLimit::new()
            .tokens(100_000, scene::period("1m"))
            .requests(1_000, scene::period("1m"));
        let id = format!("limit-{number:04}");
        put(&server.engine, &format!("key:k{:04}", number / 2), &[], &id, limit);
    }
    let count =
        format!("return document.querySelectorAll('.line[data-limit]').length === {}", 2 * LIMITS);
    browser.until("all are shown", &count).await;
    // Every line changes at once, several times.
    for _ in 0..4 {
        for number in 0..LIMITS / 2 {
            let usage = used(95_000 / 4, "$0");
            let _ = hold(&server.engine, &format!("key:k{number:04}"), &usage).settle(&usage);
        }
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    browser
        .until(
            "they are near",
            "return document.querySelector('#counts .close b').textContent === '2,000'",
        )
        .await;
    let at_once = browser.script("return [window.atOnce, window.longest]").await;
    println!("lines drawn at once, at most, and the longest task in ms: {at_once}");
    assert!(at_once[0].as_u64().is_some_and(|lines| (1..=AT_ONCE).contains(&lines)), "{at_once}");

    // The keyboard alone finds one of them.
    browser
        .client
        .find(Locator::Css("body"))
        .await
        .expect("it is there")
        .send_keys("/")
        .await
        .expect("it can be typed");
    let field = browser.client.active_element().await.expect("something has the focus");
    assert_eq!(field.attr("id").await.expect("an id").as_deref(), Some("filter"));
    field.send_keys("K0777 tokens").await.expect("it can be typed into");
    browser.until_shown("2 of 4,000 counters").await;
    let limits: Vec<String> = browser.lines().await.into_keys().map(|(limit, _)| limit).collect();
    assert_eq!(limits, ["limit-1554", "limit-1555"]);
    let escape = char::from(Key::Escape).to_string();
    field.send_keys(&escape).await.expect("it can be typed into");
    browser.until_shown("4,000 counters").await;
    assert_eq!(browser.console().await, [""; 0], "the page complains");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fits_a_phone_and_can_be_read_in_the_light_and_in_the_dark() {
    let Some(browser) = Browser::start().await else { return };
    let server = StandIn::start(company(), scene::NOT_HARD);
    morning(&server.engine);
    let long = format!("key:{}", "anamethatdoesnotend".repeat(8));
    put(&server.engine, &long, &[], "long-in-flight", Concurrency::new(2));
    let _streams = [5_000, 6_000, 4_000, 5_000]
        .map(|tokens| hold(&server.engine, "key:alice", &used(tokens, "$0.3125")));
    let _other = hold(&server.engine, &long, &used(1, "$0"));
    let denied = |key, model, usage| assert!(server.request(key, model, &usage).is_none());
    for _ in 0..7 {
        denied("key:bob", "m-small", used(9_000, "$0"));
    }
    denied("key:alice", "m-large", used(10, "$5"));

    let mut grounds = Vec::new();
    for (width, height, scale, scheme) in [
        (360, 740, 2, "dark"),
        (360, 740, 2, "light"),
        (1440, 900, 1, "dark"),
        (1440, 900, 1, "light"),
    ] {
        browser.screen(width, height, scale, scheme).await;
        let kind = if width < 600 { "phone" } else { "desktop" };
        browser.client.goto(&server.url()).await.expect("the page opens");
        if grounds.is_empty() {
            browser.picture("sign-in-phone-dark").await;
            let worst = browser.script(CONTRAST).await;
            assert!(worst[0][0].as_f64().expect("a ratio") >= CONTRAST_MIN, "{worst}");
            browser.type_token(TOKEN).await;
        }
        agrees(&browser, &server.engine).await;
        browser.until_shown("× 7").await;
        browser.until_shown("Live").await;
        browser.picture(&format!("{kind}-{scheme}")).await;
        let wide = browser.script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]",
        ).await;
        assert_eq!(wide, json!([width, width]), "{kind} {scheme} scrolls to the side");
        let cut = "return [...document.querySelectorAll('header, .line, .line > *, #denials li')]\
            .filter((part) => part.clientWidth > 0 && part.scrollWidth > part.clientWidth + 1)\
            .map((part) => part.textContent)";
        assert_eq!(browser.script(cut).await, json!([]), "{kind} {scheme} cuts texts off");
        let worst = browser.script(CONTRAST).await;
        println!("{kind} {scheme}: worst contrast {worst}");
        assert!(worst[0][0].as_f64().expect("a ratio") >= CONTRAST_MIN, "{worst}");
        let ground = browser.script("return getComputedStyle(document.body).backgroundColor").await;
        grounds.push(ground);
    }
    assert_eq!(grounds[0], grounds[2]);
    assert_eq!(grounds[1], grounds[3]);
    assert_ne!(grounds[0], grounds[1], "dark and light are the same");
    assert_eq!(browser.console().await, [""; 0], "the page complains");
    browser.close().await;
}
