//! Applying documents to an engine that is running.

use std::thread;

use tollkeeper::{
    Applied, ConfigError, Decision, Dimension, Engine, EventKind, LimitUsage, ManualClock, Money,
    PriceTable, Reservation, State, Timestamp, Usage,
};

use super::{config, counts, limit, money, owner, request, used};

const BEFORE: &str = r#"
    owners = [
        { id = "customer:acme", budgets = [
            { id = "acme", limit = "$100", period = "1M", calendar = {} },
            { id = "acme-old", limit = "$9", period = "1d" },
        ] },
        { id = "team:a", concurrency = [{ id = "a-in-flight", limit = 4 }] },
        { id = "team:b", concurrency = [{ id = "b-in-flight", limit = 4 }] },
        { id = "key:k", parents = ["team:a", "customer:acme"], rate_limits = [
            { id = "k", requests = "60/m", tokens = { limit = 1000, period = "1m" } },
        ] },
        { id = "key:gone", parents = ["team:gone"] },
        { id = "team:gone" },
    ]
    [[prices]]
    model = "m"
    input = "1"
    output = "2"
"#;

/// In another order, with another parent, period and amount; some gone, some new.
const AFTER: &str = r#"
    owners = [
        { id = "key:k", parents = ["customer:acme", "team:b"], rate_limits = [
            { id = "k", requests = "60/m", tokens = { limit = 10, period = "1h" } },
            { id = "k-new", requests = "5/s" },
        ] },
        { id = "team:b", concurrency = [{ id = "b-in-flight", limit = 4 }] },
        { id = "customer:acme", budgets = [
            { id = "acme-new", limit = "$1", period = "never" },
            { id = "acme", limit = "$100", period = "1M" },
        ] },
        { id = "team:a" },
    ]
"#;

const NOON: &str = "2026-03-04T12:00:00Z";

fn engine() -> (Engine, ManualClock) {
    let clock = ManualClock::new(NOON.parse().expect("an instant"));
    (Engine::builder().clock(clock.clone()).build(), clock)
}

fn running(document: &str) -> Engine {
    let (engine, _) = engine();
    engine.apply(&config(document)).expect("an empty engine takes any document");
    engine
}

fn reserve(engine: &Engine, id: &str, estimate: &Usage) -> Reservation {
    match engine.reserve(&engine.route(&[owner(id)]), estimate) {
        Decision::Admitted(reservation) => reservation,
        Decision::Denied(denied) => panic!("{denied}"),
    }
}

fn ids(texts: &[&str]) -> Vec<tollkeeper::LimitId> {
    texts.iter().map(|text| limit(text)).collect()
}

/// The limits that a route finds, in its order.
fn on_the_way(engine: &Engine, id: &str) -> Vec<String> {
    let route = engine.route(&[owner(id)]);
    engine.route_usage(&route).iter().map(|limit| limit.limit.to_string()).collect()
}

/// L9: from one document to the next, and back.
#[test]
fn another_enforcement_keeps_usage_and_is_in_force_at_the_next_admission() {
    let document = |enforcement: &str| {
        config(&format!(
            "[[owners]]\nid = \"key:k\"\nrate_limits = [{{ id = \"l\", enforcement = \
             \"{enforcement}\", tokens = {{ limit = 10, period = \"1m\" }} }}]"
        ))
    };
    let (engine, _) = engine();
    engine.apply(&document("hard")).expect("an empty engine takes any document");
    let route = engine.route(&[owner("key:k")]);
    let _open = reserve(&engine, "key:k", &request(10, "0"));
    assert!(!engine.reserve(&route, &request(1, "0")).is_admitted());
    let applied = engine.apply(&document("shadow")).expect("it may be changed");
    assert_eq!(applied.changed, ids(&["l"]));
    assert_eq!(counts(&engine, "l"), (0, 10));
    let over = engine.reserve(&route, &request(1, "0"));
    assert!(over.is_admitted());
    assert_eq!(counts(&engine, "l"), (0, 11));
    engine.apply(&document("hard")).expect("it may be changed back");
    assert_eq!(counts(&engine, "l"), (0, 11));
    assert!(!engine.reserve(&route, &request(0, "0")).is_admitted());
}

#[test]
fn usage_stays_and_so_do_reservations_in_flight() {
    let engine = running(BEFORE);
    let route = engine.route(&[owner("key:k")]);
    let _ = engine.bump(&route, &request(300, "3"));
    let mut reservation = reserve(&engine, "key:k", &request(200, "2"));
    engine.apply(&config(AFTER)).expect("fits");

    assert_eq!(counts(&engine, "k"), (300, 200));
    assert_eq!(counts(&engine, "acme"), (3_000_000_000, 2_000_000_000));
    // Lowered below its usage, it denies; the route was resolved before and follows the document.
    let denied = engine.reserve(&route, &request(1, "0")).into_result().expect_err("lowered");
    let first = denied.first().expect("a limit");
    assert_eq!((first.limit.as_str(), first.limit_amount), ("k", Some(10)));
    assert!(reservation.extend(&request(1, "0")).is_err(), "an extension is an admission");
    // What is in flight is booked where it was admitted, on what is gone as well.
    let _ = reservation.settle(&request(150, "1.50"));
    assert_eq!(counts(&engine, "k"), (450, 0));
    assert_eq!(counts(&engine, "acme"), (4_500_000_000, 0));
    assert_eq!(counts(&engine, "acme-new"), (0, 0), "it was not there at admission");
    assert_eq!(counts(&engine, "b-in-flight"), (0, 0), "team:b was no ancestor at admission");
    assert_eq!(engine.usage(&limit("acme-old")), None);
    // The window of a changed period is the one around now, with the usage so far.
    let tokens = used(&engine, "k").counters[0];
    assert_eq!(tokens.window.length().as_secs(), 3_600);
    assert_eq!(used(&engine, "k").counters[1].window.length().as_secs(), 60);
}

#[test]
fn a_limit_that_was_removed_begins_anew() {
    let engine = running(BEFORE);
    let reservation = reserve(&engine, "key:k", &request(200, "2"));
    let _ = engine.bump(&engine.route(&[owner("key:k")]), &request(1, "1"));
    engine.apply(&config("")).expect("nothing fits");
    assert_eq!(engine.usage_all().count(), 0);
    engine.apply(&config(BEFORE)).expect("fits");
    let _ = reservation.settle(&request(150, "1.50"));
    for id in ["acme", "acme-old", "a-in-flight", "b-in-flight", "k"] {
        assert_eq!(counts(&engine, id), (0, 0), "{id}");
    }
}

#[test]
fn what_changed_is_reported() {
    let (engine, _) = engine();
    let applied = engine.apply(&config(BEFORE)).expect("fits");
    let all = ["acme", "acme-old", "a-in-flight", "b-in-flight", "k"];
    assert_eq!(applied.created, ids(&all));
    assert_eq!((applied.changed, applied.removed), (vec![], vec![]));
    assert_eq!(engine.apply(&config(BEFORE)), Ok(Applied::default()));

    let applied = engine.apply(&config(AFTER)).expect("fits");
    assert_eq!(applied.created, ids(&["k-new", "acme-new"]));
    assert_eq!(applied.changed, ids(&["k", "acme"]));
    assert_eq!(applied.removed, ids(&["a-in-flight", "acme-old"]));
    assert_eq!(applied.owners_removed, [owner("key:gone"), owner("team:gone")]);
    assert_eq!(engine.apply(&config(AFTER)), Ok(Applied::default()));
}

#[test]
fn what_was_set_up_by_hand_is_the_documents_too() {
    let engine = running(BEFORE);
    engine.upsert_owner(&owner("key:extra"), &[owner("team:a")]).expect("its parent is there");
    let by_hand = tollkeeper::Concurrency::new(1);
    engine.upsert_limit(&owner("key:extra"), &limit("extra"), by_hand.clone()).expect("fits");
    engine.upsert_limit(&owner("team:a"), &limit("a-extra"), by_hand).expect("fits");
    let applied = engine.apply(&config(BEFORE)).expect("fits");
    assert_eq!(applied.removed, ids(&["a-extra", "extra"]));
    assert_eq!(applied.owners_removed, [owner("key:extra")]);
    assert_eq!((applied.created, applied.changed), (vec![], vec![]));
    // The parent counts its children right, or it could not be removed.
    engine.upsert_owner(&owner("key:k"), &[]).expect("no parents");
    engine.remove_owner(&owner("team:a")).expect("it is no parent any more");
}

#[test]
fn owners_may_come_in_any_order() {
    let mut owners: Vec<&str> = BEFORE.split("\n        { id = ").skip(1).collect();
    let last = owners.last_mut().expect("six owners");
    *last = last.split("    ]\n").next().expect("what comes before");
    assert_eq!(owners.len(), 6);
    // Each owner comes first once, and once last.
    for turn in 0..owners.len() {
        owners.rotate_left(1);
        let document: String = owners.iter().map(|owner| format!("{{ id = {owner}")).collect();
        let engine = running(&format!("owners = [{document}]"));
        assert_eq!(
            on_the_way(&engine, "key:k"),
            ["k", "a-in-flight", "acme", "acme-old"],
            "{turn}"
        );
        assert_eq!(engine.unknown_owners(&engine.route(&[owner("team:gone")])), []);
    }
}

#[test]
fn parents_change_with_the_document() {
    let engine = running(BEFORE);
    let kept = engine.route(&[owner("key:k")]);
    let names = |usage: Vec<LimitUsage>| -> Vec<String> {
        usage.iter().map(|limit| limit.limit.to_string()).collect()
    };
    assert_eq!(names(engine.route_usage(&kept)), ["k", "a-in-flight", "acme", "acme-old"]);
    engine.apply(&config(AFTER)).expect("fits");
    let after = ["k", "k-new", "acme-new", "acme", "b-in-flight"];
    assert_eq!(names(engine.route_usage(&kept)), after);
    assert_eq!(on_the_way(&engine, "key:k"), after, "a new route finds the same");
    assert_eq!(engine.unknown_owners(&engine.route(&[owner("key:gone")])), [owner("key:gone")]);
    // Parent and child may change places.
    let turned = r#"owners = [
        { id = "team:b", parents = ["key:k"], concurrency = [{ id = "b-in-flight", limit = 4 }] },
        { id = "key:k" },
    ]"#;
    engine.apply(&config(turned)).expect("fits");
    assert_eq!(on_the_way(&engine, "key:k"), [""; 0]);
    assert_eq!(on_the_way(&engine, "team:b"), ["b-in-flight"]);
    engine.remove_owner(&owner("key:k")).expect_err("a parent now");
}

/// All that can be seen of an engine from outside.
#[derive(Debug, PartialEq)]
struct Seen {
    state: State,
    limits: Vec<LimitUsage>,
    ways: Vec<Vec<LimitUsage>>,
    unknown: Vec<tollkeeper::OwnerId>,
    prices: PriceTable,
}

fn seen(engine: &Engine) -> Seen {
    let mut limits: Vec<LimitUsage> = engine.usage_all().collect();
    limits.sort_by(|a, b| a.limit.cmp(&b.limit));
    let named = ["customer:acme", "team:a", "team:b", "key:k", "key:gone", "team:gone", "key:new"];
    let named = named.map(owner);
    let ways = named
        .iter()
        .map(|id| engine.route_usage(&engine.route(std::slice::from_ref(id))))
        .collect();
    Seen {
        state: engine.export(),
        limits,
        ways,
        unknown: engine.unknown_owners(&engine.route(&named)),
        prices: engine.prices(),
    }
}

#[test]
fn a_document_that_does_not_fit_changes_nothing() {
    let engine = running(BEFORE);
    let _ = engine.bump(&engine.route(&[owner("key:k")]), &request(300, "3"));
    let reservation = reserve(&engine, "key:k", &request(200, "2"));
    let events = engine.subscribe(100);
    let before = seen(&engine);
    // Everything else in it would change something, and comes before what does not fit.
    let with = |limits: &str| {
        let new = "{ id = \"key:new\", parents = [\"key:k\"] }, ";
        let (head, tail) = AFTER.split_once("{ id = \"team:a\" }").expect("the last owner");
        format!("{head}{new}{{ id = \"team:a\", {limits} }}{tail}")
    };
    for (limits, line) in [
        (
            "concurrency = [{ id = \"a-new\", limit = 1 }, { id = \"acme-old\", limit = 1 }]",
            "owners[4].concurrency[1].id: the limit acme-old belongs to customer:acme; a limit \
             stays with its owner, take another id",
        ),
        (
            "budgets = [{ id = \"a-in-flight\", limit = \"1\", period = \"1d\" }]",
            "owners[4].budgets[0].id: the limit a-in-flight is a concurrency limit; a limit keeps \
             its kind, take another id",
        ),
    ] {
        let refused = engine.apply(&config(&with(limits)));
        let expected: Result<Applied, String> = Err(line.to_owned());
        assert_eq!(refused.map_err(|error: ConfigError| error.to_string()), expected);
        assert_eq!(seen(&engine), before);
    }
    assert_eq!(events.drain().next(), None);
    let _ = reservation.settle(&request(200, "2"));
    assert_eq!(counts(&engine, "k"), (500, 0));
}

#[test]
fn a_limit_moves_to_another_owner_in_two_documents() {
    let engine =
        running("owners = [{ id = \"key:a\", concurrency = [{ id = \"c\", limit = 1 }] }]");
    let moved = config("owners = [{ id = \"key:b\", concurrency = [{ id = \"c\", limit = 1 }] }]");
    engine.apply(&moved).expect_err("it is key:a's");
    engine.apply(&config("")).expect("nothing fits");
    engine.apply(&moved).expect("it is nobody's");
}

/// L9 and L1: however often documents are applied, what was booked is in the windows that closed
/// or in the one that is open, once.
#[test]
fn no_usage_is_lost_while_documents_are_applied() {
    const BUMPS: u64 = 20_000;
    let document = |turn: u64| {
        let (tokens, period) = [("1000", "1s"), ("10", "2s"), ("1000", "1M")][turn as usize % 3];
        let parents = ["[\"team:a\"]", "[\"team:b\", \"team:a\"]"][turn as usize % 2];
        let extra = ["", ", concurrency = [{ id = \"e\", limit = 9 }]"][turn as usize % 2];
        config(&format!(
            "owners = [{{ id = \"team:a\", budgets = [{{ id = \"b\", limit = \"{}\", \
             period = \"{period}\" }}] }}, {{ id = \"team:b\"{extra} }}, \
             {{ id = \"key:k\", parents = {parents}, rate_limits = [{{ id = \"r\", \
             requests = \"5/s\", tokens = {{ limit = {tokens}, period = \"{period}\" }} }}] }}]",
            turn % 5,
        ))
    };
    let (engine, clock) = engine();
    engine.apply(&document(0)).expect("fits");
    let events = engine.subscribe(1_000_000);
    let bump = |seed: u64| {
        let route = engine.route(&[owner("key:k")]);
        let mut booked = 0;
        for i in 0..BUMPS {
            let tokens = 1 + (i + seed) % 7;
            let _ = engine.bump(&route, &request(tokens, "0.000000003"));
            booked += tokens;
        }
        booked
    };
    let (tokens, turns) = thread::scope(|scope| {
        let threads = [1, 2].map(|seed| scope.spawn(move || bump(seed)));
        let mut turns = 0;
        while threads.iter().any(|thread| !thread.is_finished()) {
            turns += 1;
            engine.apply(&document(turns)).expect("fits");
            clock.advance(std::time::Duration::from_millis(300));
        }
        let booked = threads.map(|thread| thread.join().expect("it does not panic"));
        (booked.iter().sum::<u64>(), turns)
    });
    assert!(turns > 3, "every document was applied");
    // What has ended unnoticed closes here, or it would be in no event and read as empty.
    engine.reset_expired();
    let mut closed = [0; 4];
    for event in events.drain() {
        if let EventKind::WindowClosed { total, .. } = event.what {
            let slot = Dimension::ALL.iter().position(|dimension| *dimension == event.dimension);
            closed[slot.expect("one of them")] += total;
        }
    }
    assert_eq!(events.missed(), 0);
    assert_eq!(events.missed(), 0);
    let open = |id: &str, dimension| {
        let usage = used(&engine, id);
        usage.counter(dimension).expect("it has it").settled
    };
    assert_eq!(closed[0] + open("b", Dimension::Money), 3 * 2 * BUMPS);
    assert_eq!(closed[1] + open("r", Dimension::Tokens), tokens);
    assert_eq!(closed[2] + open("r", Dimension::Requests), 2 * BUMPS);
    assert!(closed.iter().take(3).all(|total| *total > 0), "windows closed meanwhile");
}

#[test]
fn grants_of_operators_outlive_documents() {
    let engine = running(
        "owners = [{ id = \"key:a\", budgets = [\
        { id = \"p\", limit = \"5\", period = \"never\" }, \
        { id = \"d\", limit = \"5\", period = \"1d\" }] }]",
    );
    engine.top_up(&limit("p"), money("2")).expect("prepaid");
    let nanos = money("50").as_nanos();
    let lasts = tollkeeper::Lasts::UntilCleared;
    engine.override_limit(&limit("d"), Dimension::Money, nanos, lasts).expect("counts money");
    engine
        .apply(&config(
            "owners = [{ id = \"key:a\", budgets = [\
            { id = \"p\", limit = \"6\", period = \"never\" }, \
            { id = \"d\", limit = \"6\", period = \"1d\" }] }]",
        ))
        .expect("fits");
    let in_force = |id: &str| used(&engine, id).counters[0].limit.map(Money::from_nanos);
    assert_eq!(in_force("p"), Some(Ok(money("8"))));
    assert_eq!(in_force("d"), Some(Ok(money("50"))));
    engine.clear_override(&limit("d"), Dimension::Money).expect("counts money");
    assert_eq!(in_force("d"), Some(Ok(money("6"))));
}

#[test]
fn a_document_is_of_no_time() {
    let at = |nanos: u64| {
        let clock = ManualClock::new(Timestamp::from_nanos(nanos));
        let engine = Engine::builder().clock(clock.clone()).build();
        engine.apply(&config(BEFORE)).expect("fits");
        clock.set(Timestamp::UNIX_EPOCH);
        engine.apply(&config(AFTER)).expect("fits");
        clock.set(Timestamp::MAX);
        engine.apply(&config(BEFORE)).map(|applied| applied.changed)
    };
    for nanos in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        assert_eq!(at(nanos), Ok(ids(&["acme", "k"])), "{nanos}");
    }
}

/// Two documents that are applied at once: what is in force afterwards is one of them, limits and
/// prices alike.
#[test]
fn of_two_documents_one_is_in_force_and_not_a_mixture() {
    let document = |n: u64| {
        let limit = format!("{{ id = \"b\", limit = \"{n}\", period = \"1d\" }}");
        let owner = format!("owners = [{{ id = \"key:a\", budgets = [{limit}] }}]");
        config(&format!("{owner}\n[[prices]]\nmodel = \"m\"\ninput = \"{n}\"\noutput = \"1\""))
    };
    let documents = [document(1), document(2)];
    let engine = Engine::new();
    let million = Usage { input_tokens: 1_000_000, ..Usage::default() };
    for round in 0..2_000 {
        std::thread::scope(|scope| {
            for document in &documents {
                scope.spawn(|| engine.apply(document).expect("fits"));
            }
        });
        let limit = used(&engine, "b").counters[0].limit;
        let price = engine.cost("m", &million).expect("it has a price").as_nanos();
        assert_eq!(limit, Some(price), "round {round}");
    }
}
