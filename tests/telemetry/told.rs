//! What `tracing` is told, to the letter.

use tollkeeper::{Budget, Concurrency, Enforcement, Telemetry};
use tracing::Level;

use crate::kit::{cost, id, kit, minute, nanos, per, second};
use crate::listener::{Listener, Told};
use crate::scene::{FORBIDDEN, Fault, draft, open, scene, usage};

fn texts(told: &[Told]) -> Vec<(Level, &str)> {
    assert!(told.iter().all(|one| one.target == "tollkeeper"));
    told.iter().map(|one| (one.level, &*one.text)).collect()
}

#[test]
fn events_of_limits_are_told_with_their_own_instants() {
    let kit = kit();
    let budget = Budget::new("1".parse().unwrap(), per("1m")).thresholds(&[50]);
    kit.limit("key:k", "budget", budget);
    kit.limit("key:k", "new", Concurrency::new(0).enforcement(Enforcement::Shadow));
    let scene = open(kit, Default::default());
    let mut telemetry = Telemetry::new(&scene.ledger);
    let kit = &scene.kit;
    kit.bump(&["key:k"], &cost(500_000_000));
    kit.advance(second());
    kit.admit(&["key:k"], &cost(250_000_000)).mark_dispatched();
    kit.deny(&["key:k"], &cost(900_000_000));
    kit.engine.reset(&id("budget"), None).unwrap();
    kit.advance(minute());
    kit.engine.reset_expired();
    let told = Listener::new().hear(|| {
        telemetry.turn(kit.engine.now());
    });

    let money = "limit=budget owner=key:k dimension=money";
    let at = |second| format!("at=2026-03-01T00:00:0{second}Z");
    let expected = [
        (
            Level::INFO,
            format!(
                "a limit reached a threshold {} {money} generation=0 percent=50 settled=0.50 \
                 allowed=1.00",
                at(0)
            ),
        ),
        (
            Level::INFO,
            format!(
                "a request passed a limit that does not deny {} limit=new owner=key:k \
                 dimension=in_flight generation=0 requested=1 settled=0 held=0 allowed=0",
                at(1)
            ),
        ),
    ];
    let texts = texts(&told);
    for (level, text) in expected {
        assert!(texts.contains(&(level, &*text)), "{text}\n{texts:#?}");
    }
    let begins = [
        (Level::INFO, "a limit is exhausted"),
        (Level::WARN, "what was held is charged, nobody knows the usage"),
        (Level::DEBUG, "a window closed"),
        (Level::INFO, "a limit was reset"),
    ];
    for (level, begin) in begins {
        assert!(texts.iter().any(|(l, t)| *l == level && t.starts_with(begin)), "{begin}");
    }
    assert_eq!(texts.len(), kit.events.drain().count(), "as many as the engine gave");
}

#[test]
fn a_store_in_trouble_is_told_once_and_again_when_it_is_over() {
    let (mut scene, listener) = (scene(), Listener::new());
    let mut telemetry = Telemetry::new(&scene.ledger);
    let look = |telemetry: &mut Telemetry, scene: &crate::scene::Scene| {
        listener.hear(|| {
            telemetry.turn(scene.kit.clock.advance(5 * second()));
        })
    };
    assert_eq!(look(&mut telemetry, &scene), []);
    scene.store.fail(&[Fault::Before]);
    scene.charge(&usage(1, 1)).settle(&usage(1, 1)).forget();
    scene.turn();
    let told = look(&mut telemetry, &scene);
    let [(Level::WARN, text)] = texts(&told)[..] else { panic!("{told:?}") };
    assert!(text.starts_with("the ledger's store does not write error="), "{text}");
    assert!(text.contains("the disk is on fire") && text.ends_with("queued=1"), "{text}");
    assert_eq!(look(&mut telemetry, &scene), [], "nothing is new");

    scene.kit.advance(minute());
    scene.drain();
    let told = look(&mut telemetry, &scene);
    let again = "the ledger's store writes again queued=0 unpersisted=0";
    assert_eq!(texts(&told), [(Level::INFO, again)]);

    scene.charge_as(&usage(1, 1), draft().model(FORBIDDEN)).settle(&usage(1, 1)).forget();
    scene.drain();
    let told = look(&mut telemetry, &scene);
    let refused = texts(&told);
    let errors: Vec<_> = refused.iter().filter(|(level, _)| *level == Level::ERROR).collect();
    let [(_, text)] = errors[..] else { panic!("{told:?}") };
    assert!(text.starts_with("the ledger's store refuses records rejected=1"), "{text}");
    assert_eq!(look(&mut telemetry, &scene), []);
}

#[test]
fn missed_events_are_told() {
    let kit = kit();
    kit.limit("key:k", "one", Budget::new(nanos(1 << 40), per("1h")));
    let scene = open(kit, Default::default());
    let mut telemetry = Telemetry::new(&scene.ledger);
    for _ in 0..8_192 + 7 {
        scene.kit.admit(&["key:k"], &cost(1)).mark_dispatched();
    }
    let told = Listener::new().hear(|| {
        telemetry.turn(scene.kit.engine.now());
    });
    let last = told.last().expect("something was told");
    let text = "events of limits were missed: more came than could be told more=7";
    assert_eq!((last.level, &*last.text), (Level::WARN, text));
    let told = Listener::new().hear(|| {
        telemetry.turn(scene.kit.engine.now());
    });
    assert_eq!(told, []);
}
