//! Owners, parents and limits that are unknown, twice, in a circle, or gone.

use std::sync::Barrier;
use std::thread;

use tollkeeper::{
    Budget, Concurrency, Dimension, EventKind, LimitKind, OwnerId, Peek, RateLimit, Route,
    TopologyError, UnknownOwner, Upserted,
};

use crate::kit::*;

fn requests(limit: u64) -> RateLimit {
    RateLimit::new().requests(limit, per("1m"))
}

/// An unknown owner is denied by name, never passed over in silence.
#[test]
fn an_unknown_owner_is_denied_and_named() {
    let kit = kit();
    kit.limit("key:k", "rate", requests(5));
    let denied = kit.deny(&["key:k", "model:gone", "team:gone"], &tokens(1));
    assert_eq!(denied.unknown_owner(), Some(&owner("model:gone")));
    assert_eq!(denied.bindings().count(), 0);
    assert_eq!(denied.retry_after(), None);
    assert_eq!(denied.to_string(), "denied: there is no owner model:gone");
    let route = kit.route(&["key:k", "model:gone", "team:gone"]);
    assert_eq!(kit.engine.unknown_owners(&route), [owner("model:gone"), owner("team:gone")]);
    assert_eq!(kit.engine.peek(&route, &tokens(1)), Peek::WouldDeny(denied));
    assert_eq!(kit.counts("rate"), (0, 0), "nothing was held on the way");
}

/// Under the other policy it is passed over, the known ones still count, and it can be asked for.
#[test]
fn an_unknown_owner_is_passed_over_where_that_is_the_policy() {
    let kit = kit_with(instant(START), UnknownOwner::Admit);
    kit.limit("key:k", "rate", requests(1));
    let route = kit.route(&["key:gone", "key:k"]);
    assert_eq!(kit.engine.unknown_owners(&route), [owner("key:gone")]);
    let _held = kit.admit(&["key:gone", "key:k"], &tokens(1));
    assert_eq!(named(&kit.deny(&["key:gone", "key:k"], &tokens(1))).len(), 1);
    let _free = kit.admit(&["key:gone"], &tokens(1));
}

/// A bump is a bill: it is booked on who is known, whatever the policy.
#[test]
fn a_bump_passes_unknown_owners_over() {
    let kit = kit();
    kit.limit("key:k", "rate", requests(5));
    kit.bump(&["key:gone", "key:k"], &tokens(1));
    assert_eq!(kit.counts("rate"), (1, 0));
}

/// A route of nobody has no limits.
#[test]
fn an_empty_route_is_admitted() {
    let kit = kit();
    let mut reservation = kit.admit(&[], &tokens(1));
    assert_eq!(reservation.extend(&tokens(u64::MAX)), Ok(()));
    reservation.mark_dispatched();
    assert!(reservation.is_dispatched());
    let settlement = reservation.settle(&tokens(u64::MAX));
    assert_eq!((settlement.overshoots(), settlement.is_late()), (&[][..], false));
    assert_eq!(kit.happened(), []);
}

/// No owner is its own ancestor: not by itself, not through one, not through two.
#[test]
fn circles_of_parents_are_refused() {
    let kit = kit();
    kit.owner("a:a", &[]);
    kit.owner("a:b", &["a:a"]);
    kit.owner("a:c", &["a:b"]);
    let cycle = |child: &str, parent: &str| {
        let (owner, parent) = (owner(child), owner(parent));
        let refused = kit.engine.upsert_owner(&owner, std::slice::from_ref(&parent));
        assert_eq!(refused, Err(TopologyError::Cycle { owner, parent }));
    };
    cycle("a:a", "a:a");
    cycle("a:new", "a:new");
    cycle("a:a", "a:b");
    cycle("a:a", "a:c");
    kit.limit("a:a", "rate", requests(5));
    let _held = kit.admit(&["a:c"], &tokens(1));
    assert_eq!(kit.counts("rate"), (0, 1), "the refused changes changed nothing");
}

/// Two ways to one ancestor: it counts once.
#[test]
fn a_diamond_counts_its_top_once() {
    let kit = kit();
    kit.limit("org:o", "org", requests(10));
    kit.owner("team:a", &["org:o"]);
    kit.owner("team:b", &["org:o"]);
    kit.owner("key:k", &["team:a", "team:b"]);
    let reservation = kit.admit(&["key:k", "org:o", "key:k", "team:b"], &tokens(1));
    assert_eq!(kit.counts("org"), (0, 1));
    let _ = reservation.settle(&tokens(1));
    assert_eq!(kit.counts("org"), (1, 0));
    assert_eq!(kit.engine.route_usage(&kit.route(&["key:k", "org:o"])).len(), 1);
}

/// Parents that are unknown or named twice, pairs above or below: each is an error, and none of
/// them leaves an owner behind.
#[test]
fn wrong_parents_are_refused_whole() {
    let kit = kit();
    kit.owner("a:a", &[]);
    let upsert = |child: &str, parents: &[&str]| {
        let parents: Vec<OwnerId> = parents.iter().map(|p| owner(p)).collect();
        kit.engine.upsert_owner(&owner(child), &parents)
    };
    let (child, parent) = (owner("a:new"), owner("a:gone"));
    let unknown = TopologyError::UnknownParent { owner: child.clone(), parent };
    assert_eq!(upsert("a:new", &["a:a", "a:gone"]), Err(unknown));
    let twice = TopologyError::DuplicateParent { owner: child.clone(), parent: owner("a:a") };
    assert_eq!(upsert("a:new", &["a:a", "a:a"]), Err(twice));
    let pair = owner("a:a&b:b");
    assert_eq!(upsert("a:a&b:b", &[]), Ok(Upserted::Created), "a pair needs no members");
    let in_hierarchy = TopologyError::PairInHierarchy { pair };
    assert_eq!(upsert("a:new", &["a:a&b:b"]), Err(in_hierarchy.clone()));
    assert_eq!(upsert("a:a&b:b", &["a:a"]), Err(in_hierarchy));
    assert_eq!(kit.engine.unknown_owners(&kit.route(&["a:new"])), [child]);
}

/// An id is one limit's in the whole engine.
#[test]
fn a_limit_stays_with_its_owner_and_keeps_its_kind() {
    let kit = kit();
    kit.limit("key:a", "l", requests(5));
    kit.owner("key:b", &[]);
    let (limit, of) = (id("l"), owner("key:a"));
    let refused = kit.engine.upsert_limit(&owner("key:b"), &limit, requests(9)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the limit l belongs to key:a; a limit stays with its owner, take another id"
    );
    let kind = LimitKind::RateLimit;
    assert_eq!(
        kit.engine.upsert_limit(&of, &limit, Concurrency::new(1)),
        Err(TopologyError::KindChanged { limit: limit.clone(), kind })
    );
    assert_eq!(
        kit.engine.upsert_limit(&owner("key:gone"), &id("new"), requests(1)),
        Err(TopologyError::UnknownOwner { owner: owner("key:gone") })
    );
    assert_eq!(kit.read("l").limit, Some(5));
    assert_eq!(kit.engine.usage(&id("new")), None);
}

/// L9, no ghosts: what was admitted on a limit that is gone ends as usual and counts nowhere else.
#[test]
fn a_removed_owner_leaves_no_ghost_for_its_successor() {
    let kit = kit();
    kit.limit("key:k", "rate", requests(5));
    let held = kit.admit(&["key:k"], &tokens(1));
    let mut dispatched = kit.admit(&["key:k"], &tokens(1));
    dispatched.mark_dispatched();
    let voided = kit.admit(&["key:k"], &tokens(1));
    let last = kit.engine.remove_owner(&owner("key:k")).unwrap();
    assert_eq!((last[0].counters[0].settled, last[0].counters[0].held), (0, 3));
    assert_eq!(kit.deny(&["key:k"], &nothing()).unknown_owner(), Some(&owner("key:k")));
    kit.limit("key:k", "rate", requests(5));
    let settlement = held.settle(&tokens(1));
    assert_eq!(settlement.overshoots(), []);
    drop(dispatched);
    voided.void();
    assert_eq!(kit.counts("rate"), (0, 0));
    assert_eq!(kit.engine.remove_limit(&id("rate")).unwrap().counters[0].settled, 0);
    assert_eq!(kit.engine.usage(&id("rate")), None);
}

/// A reservation that is extended after its limit is gone is held where it was admitted.
#[test]
fn an_extension_goes_where_the_request_was_admitted() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(10, per("1m")));
    let mut reservation = kit.admit(&["key:k"], &tokens(8));
    kit.engine.remove_limit(&id("rate")).unwrap();
    kit.limit("key:k", "other", RateLimit::new().tokens(1, per("1m")));
    assert_eq!(reservation.extend(&tokens(2)), Ok(()));
    let denied = reservation.extend(&tokens(1)).unwrap_err();
    assert_eq!((only(&denied).limit, only(&denied).held), (id("rate"), 10));
    assert_eq!(kit.counts("other"), (0, 0));
}

/// An owner that others stand on stays.
#[test]
fn a_parent_is_not_removed_under_its_children() {
    let kit = kit();
    kit.limit("team:t", "rate", requests(5));
    kit.owner("key:k", &["team:t"]);
    let refused = kit.engine.remove_owner(&owner("team:t")).unwrap_err();
    let child = owner("key:k");
    assert_eq!(refused, TopologyError::HasChildren { owner: owner("team:t"), child });
    assert_eq!(kit.counts("rate"), (0, 0), "its limit is there");
    kit.owner("key:k", &[]);
    kit.engine.remove_owner(&owner("team:t")).unwrap();
    let gone = TopologyError::UnknownOwner { owner: owner("team:t") };
    assert_eq!(kit.engine.remove_owner(&owner("team:t")), Err(gone));
    let gone = TopologyError::UnknownLimit { limit: id("rate") };
    assert_eq!(kit.engine.remove_limit(&id("rate")), Err(gone));
}

/// A route that is kept stays correct, whatever is changed under it.
#[test]
fn a_kept_route_follows_owners_parents_and_limits() {
    let kit = kit();
    let route: Route = kit.route(&["key:k"]);
    let limits = |route: &Route| -> Vec<String> {
        let usage = kit.engine.route_usage(route);
        usage.into_iter().map(|usage| usage.limit.to_string()).collect()
    };
    assert!(!kit.engine.reserve(&route, &tokens(1)).is_admitted(), "it does not exist");
    kit.owner("key:k", &[]);
    assert!(kit.engine.reserve(&route, &tokens(1)).is_admitted());
    kit.limit("team:t", "team", requests(1));
    assert_eq!(limits(&route), [""; 0]);
    kit.owner("key:k", &["team:t"]);
    kit.limit("key:k", "key", requests(1));
    assert_eq!(limits(&route), ["key", "team"], "its own first, then its ancestors'");
    let clone = route.clone();
    kit.engine.remove_limit(&id("key")).unwrap();
    assert_eq!((limits(&route), limits(&clone)), (vec!["team".into()], vec!["team".into()]));
    kit.owner("org:o", &[]);
    kit.limit("org:o", "org", requests(1));
    kit.owner("team:t", &["org:o"]);
    assert_eq!(limits(&clone), ["team", "org"]);
    kit.owner("key:k", &[]);
    assert_eq!(limits(&route), [""; 0]);
    kit.engine.remove_owner(&owner("key:k")).unwrap();
    assert!(!kit.engine.reserve(&clone, &tokens(1)).is_admitted(), "it is gone");
}

/// Limits of a key on one model, beside those of the key and of the model.
#[test]
fn a_pair_counts_where_both_are_on_the_way_and_only_there() {
    let kit = kit();
    kit.limit("key:k", "key", requests(9));
    kit.limit("model:a", "model", requests(9));
    kit.owner("model:b", &[]);
    kit.limit("key:k&model:a", "pair", requests(1));
    let _first = kit.admit(&["key:k", "model:b"], &tokens(1));
    assert_eq!(kit.counts("pair"), (0, 0));
    let _second = kit.admit(&["model:a", "key:k"], &tokens(1));
    assert_eq!(kit.counts("pair"), (0, 1));
    let denied = kit.deny(&["key:k", "model:a"], &tokens(1));
    assert_eq!(named(&denied), [("pair".into(), Dimension::Requests)]);
    assert_eq!((kit.counts("key"), kit.counts("model")), ((0, 2), (0, 1)));
}

/// A pair of ancestors counts too: a team on a model, for all the team's keys.
#[test]
fn a_pair_counts_for_descendants_of_its_members() {
    let kit = kit();
    kit.owner("team:t", &[]);
    kit.owner("key:a", &["team:t"]);
    kit.owner("key:b", &["team:t"]);
    kit.owner("model:m", &[]);
    kit.limit("model:m&team:t", "pair", requests(1));
    let _held = kit.admit(&["key:a", "model:m"], &tokens(1));
    assert_eq!(named(&kit.deny(&["key:b", "model:m"], &tokens(1))).len(), 1);
}

/// L5, the first moment of a limit: many ask at once for what nobody asked for before.
#[test]
fn concurrent_first_requests_share_one_first_window() {
    for _ in 0..20 {
        let kit = kit();
        kit.limit("key:k", "rate", requests(3));
        kit.advance(minute() * 90);
        let barrier = Barrier::new(8);
        let reserve = || {
            barrier.wait();
            kit.engine.reserve(&kit.route(&["key:k"]), &tokens(1)).into_result()
        };
        let all: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(reserve)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(all.iter().filter(|answer| answer.is_ok()).count(), 3);
        assert_eq!(kit.read("rate").generation, 1);
        let closed = |event: &tollkeeper::Event| {
            matches!(event.what, EventKind::WindowClosed { total: 0, .. })
        };
        assert_eq!(kit.happened().iter().filter(|event| closed(event)).count(), 1);
    }
}

/// L6: a request that is refused at the end of its route moved no counter on it.
#[test]
fn a_refused_request_moves_no_counter() {
    let kit = kit();
    kit.limit("key:k", "flight", Concurrency::new(3));
    kit.limit("key:k", "rate", RateLimit::new().tokens(100, per("1m")).requests(100, per("1m")));
    kit.limit("team:t", "budget", Budget::new(nanos(100), per("1m")));
    kit.limit("org:o", "last", requests(0));
    kit.owner("team:t", &["org:o"]);
    kit.owner("key:k", &["team:t"]);
    let mut usage = tokens(7);
    usage.cost = nanos(7);
    let before: Vec<_> = kit.engine.route_usage(&kit.route(&["key:k"]));
    let denied = kit.deny(&["key:k"], &usage);
    assert_eq!(named(&denied), [("last".into(), Dimension::Requests)]);
    assert_eq!(kit.engine.route_usage(&kit.route(&["key:k"])), before);
    assert_eq!(kit.happened(), []);
}

/// L6 for an extension: it is refused as a whole, and the reservation is what it was.
#[test]
fn a_refused_extension_moves_no_counter_and_leaves_the_hold() {
    let kit = kit();
    kit.limit("key:k", "rate", RateLimit::new().tokens(100, per("1m")));
    kit.limit("team:t", "budget", Budget::new(nanos(10), per("1m")));
    kit.owner("key:k", &["team:t"]);
    let mut usage = tokens(7);
    usage.cost = nanos(7);
    let mut reservation = kit.admit(&["key:k"], &usage);
    let denied = reservation.extend(&usage).unwrap_err();
    assert_eq!(named(&denied), [("budget".into(), Dimension::Money)]);
    assert_eq!((kit.counts("rate"), kit.counts("budget")), ((0, 7), (0, 7)));
    assert_eq!(reservation.extend(&cost(3)), Ok(()));
    reservation.void();
    assert_eq!((kit.counts("rate"), kit.counts("budget")), ((0, 0), (0, 0)));
}
