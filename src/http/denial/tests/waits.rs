//! How long a client is told to wait, and that it is right.

use proptest::prelude::*;
use sfv::{List, ListEntry, Parser};

use super::*;

/// Rounded up, at least one, and the same as the `t` of the limit that binds.
#[test]
fn the_wait_is_rounded_up_at_every_boundary() {
    for (nanos_left, retry_after) in [
        (1, "1"),
        (1_000_000, "1"),
        (999_999_999, "1"),
        (1_000_000_000, "1"),
        (1_000_000_001, "2"),
        (1_001_000_000, "2"),
        (59_000_000_001, "60"),
    ] {
        let scene = scene(&[requests(1, "1m")]);
        scene.book(&ask(1, "0"));
        scene.clock.advance(Duration::from_nanos(60_000_000_000 - nanos_left));
        let answer = scene.answer(&ask(1, "0"));
        assert_eq!(answer.field("retry-after"), Some(retry_after), "{nanos_left}");
        let ratelimit = format!("\"0/requests\";r=0;t={retry_after}");
        assert_eq!(answer.field("ratelimit"), Some(&*ratelimit), "{nanos_left}");
        // At the boundary itself there is room, and whoever waited so long is past it.
        let wait: u64 = retry_after.parse().expect("a number");
        scene.clock.advance(Duration::from_secs(wait));
        assert_eq!(scene.engine.peek(&scene.route, &ask(1, "0")), Peek::WouldAdmit);
    }
}

/// A clock that has stepped back: the wait is longer, and still the window's end.
#[test]
fn a_clock_that_steps_back_makes_nothing_negative() {
    let scene = scene(&[requests(1, "1m")]);
    scene.wait(60_000);
    scene.book(&ask(1, "0"));
    scene.clock.set("2026-02-28T23:00:00Z".parse().expect("an instant"));
    let answer = scene.answer(&ask(1, "0"));
    assert_eq!(answer.field("retry-after"), Some("3720"));
    assert_eq!(answer.field("ratelimit"), Some("\"0/requests\";r=0;t=3720"));
    assert_eq!(answer.field("ratelimit-policy"), Some("\"0/requests\";q=1;qu=\"requests\";w=60"));
    assert_eq!(answer.field("x-ratelimit-reset-requests"), Some("1h2m0s"));
}

/// The window that denied may be over when its limit is read: the answer shows the one that denied.
#[test]
fn a_window_that_rolls_after_the_denial_does_not_show() {
    let scene = scene(&[requests(1, "1m"), tokens(100, "1m")]);
    scene.book(&ask(1, "0"));
    scene.wait(59_500);
    let denied = scene.denied(&ask(1, "0"));
    scene.wait(500);
    // The new window is full as well by now.
    scene.book(&ask(1, "0"));
    let answer = answer(&denied, &scene.engine.route_usage(&scene.route));
    assert_eq!(answer.field("retry-after"), Some("1"));
    let ratelimit = "\"0/requests\";r=0;t=1, \"1/tokens\";r=99;t=61";
    assert_eq!(answer.field("ratelimit"), Some(ratelimit));
    assert_eq!(answer.field("x-ratelimit-reset-requests"), Some("500ms"));
}

fn any_limit() -> impl Strategy<Value = Limit> {
    let period = || proptest::sample::select(&["700ms", "1s", "90s", "1h", "1M", "never"][..]);
    prop_oneof![
        (0..30_u64, period()).prop_map(|(limit, period)| tokens(limit, period)),
        (0..30_u64, period()).prop_map(|(limit, period)| requests(limit, period)),
        (0..5_u64).prop_map(in_flight),
        (0..30_u64, period()).prop_map(|(limit, period)| budget(&limit.to_string(), period)),
    ]
}

/// The largest `t` of the limits of these names.
fn latest(ratelimit: &str, names: &[String]) -> Option<i64> {
    let list: List = Parser::new(ratelimit).parse().expect("a list");
    let t = |entry: &ListEntry| {
        let ListEntry::Item(item) = entry else { panic!("there are no inner lists") };
        let name = item.bare_item.as_string().expect("a string").as_str();
        let t = item.params.get("t").map(|t| i64::from(t.as_integer().expect("an integer")));
        t.filter(|_| names.iter().any(|known| known == name))
    };
    list.iter().filter_map(t).max()
}

proptest! {
    /// Whatever binds: a wait is never shorter than the `t` of a limit that binds, whoever waits it
    /// out finds room, and without a wait there is none to come.
    #[test]
    fn whoever_waits_as_long_as_told_finds_room(
        limits in prop::collection::vec(any_limit(), 1..5),
        used in prop::collection::vec((0..20_u64, 0..20_u64), 0..4),
        held in prop::collection::vec((0..20_u64, 0..20_u64), 0..3),
        asked in (0..25_u64, 0..25_u64),
        millis in 0..200_000_u64,
        back in any::<bool>(),
    ) {
        let scene = scene(&limits);
        let usage = |(tokens, cost): (u64, u64)| ask(tokens, &cost.to_string());
        scene.wait(millis);
        for used in used {
            scene.book(&usage(used));
        }
        let held: Vec<_> =
            held.into_iter().map(|held| scene.engine.reserve(&scene.route, &usage(held))).collect();
        if back {
            scene.clock.set("2026-02-28T00:00:00Z".parse().expect("an instant"));
        }
        let asked = usage(asked);
        let Peek::WouldDeny(denied) = scene.engine.peek(&scene.route, &asked) else {
            return Ok(());
        };
        let answer = answer(&denied, &scene.engine.route_usage(&scene.route));
        let names: Vec<String> =
            denied.bindings().map(|b| format!("{}/{}", b.limit, b.dimension)).collect();
        let t = answer.field("ratelimit").and_then(|field| latest(field, &names));
        drop(held);
        match answer.field("retry-after") {
            Some(wait) => {
                let wait: u64 = wait.parse().expect("a number");
                prop_assert!(wait >= 1);
                prop_assert!(t.is_none_or(|t| u64::try_from(t).expect("not negative") <= wait));
                scene.clock.advance(Duration::from_secs(wait));
                prop_assert_eq!(scene.engine.peek(&scene.route, &asked), Peek::WouldAdmit);
            }
            None => {
                scene.clock.advance(Duration::from_secs(400 * 86_400));
                let still = scene.engine.peek(&scene.route, &asked);
                prop_assert!(matches!(still, Peek::WouldDeny(_)));
            }
        }
    }
}
