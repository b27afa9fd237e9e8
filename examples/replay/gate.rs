//! The gate: what a gateway does with the engine, and all that the replay asks of it.

use super::Limits;
use super::cli::Admission;
use super::failure::Failure;
use super::log::Ending;
use super::traffic::{Fate, Request};
use tollkeeper::{
    Binding, Clock, Decision, Engine, Event, LimitUsage, Peek, Reservation, Route, Subscription,
    Usage,
};

/// Room for the events of a minute or so; the replay empties it more often than that.
const QUEUE: usize = 1 << 16;

/// An engine with the document's limits, and a route for each key and model.
pub struct Gate {
    engine: Engine,
    routes: Vec<Vec<Route>>,
    events: Subscription,
    admission: Admission,
}

/// What a request that was let through has in its hands. It moves twice, so a box would cost more
/// than its size does.
#[allow(clippy::large_enum_variant)]
pub enum Pass {
    /// Its estimate is held.
    Held(Reservation),
    /// It was looked at, and found to fit.
    Looked,
}

impl Gate {
    /// Opens a gate. The windows of rolling periods begin at the clock's time.
    pub fn open(limits: &Limits, admission: Admission, clock: impl Clock) -> Result<Gate, Failure> {
        let Limits { name, config, document } = limits;
        let engine = Engine::builder().clock(clock).build();
        let events = engine.subscribe(QUEUE);
        engine.apply(config).map_err(|why| Failure::Input(format!("{name}: {why}")))?;
        let route = |key, model| engine.route(&document.named(key, model));
        let routes = (0..document.keys.len())
            .map(|key| (0..document.models.len()).map(|model| route(key, model)).collect())
            .collect();
        Ok(Gate { engine, routes, events, admission })
    }

    /// Asks for a request to be let through.
    pub fn ask(&self, request: &Request, estimate: &Usage) -> Result<Pass, Vec<Binding>> {
        let route = &self.routes[request.key][request.model];
        match self.admission {
            Admission::Reserve => match self.engine.reserve(route, estimate) {
                Decision::Admitted(mut reservation) => {
                    // The upstream is called right away.
                    reservation.mark_dispatched();
                    Ok(Pass::Held(reservation))
                }
                Decision::Denied(denied) => Err(denied.bindings().cloned().collect()),
            },
            Admission::CheckThenCharge => match self.engine.peek(route, estimate) {
                Peek::WouldAdmit => Ok(Pass::Looked),
                Peek::WouldDeny(denied) => Err(denied.bindings().cloned().collect()),
            },
        }
    }

    /// Ends a request that was let through, the way its fate has it.
    pub fn end(&self, pass: Pass, request: &Request) -> Ending {
        let used = request.usage;
        match (pass, request.fate) {
            (Pass::Held(reservation), Fate::Completes) => {
                let settlement = reservation.settle(&used);
                let overshoots = settlement.overshoots().to_vec();
                Ending::Settled { used, late: settlement.is_late(), overshoots }
            }
            (Pass::Held(reservation), Fate::Fails) => {
                reservation.void();
                Ending::Voided
            }
            (Pass::Held(reservation), Fate::Vanishes) => {
                // What happens to the task of a client that is gone: it is dropped.
                drop(reservation);
                Ending::Uncertain
            }
            (Pass::Looked, Fate::Completes) => {
                let route = &self.routes[request.key][request.model];
                let overshoots = self.engine.bump(route, &used).overshoots().to_vec();
                Ending::Charged { used, overshoots }
            }
            (Pass::Looked, Fate::Fails | Fate::Vanishes) => Ending::Uncharged,
        }
    }

    /// What every limit has used.
    pub fn read(&self) -> Vec<LimitUsage> {
        self.engine.usage_all().collect()
    }

    /// Ends every window that is over, so that its total is told.
    pub fn sweep(&self) {
        self.engine.reset_expired();
    }

    /// Takes the events that have come in.
    pub fn take_events(&self, into: &mut Vec<Event>) {
        into.extend(self.events.drain());
    }

    /// Events that found the queue full.
    pub fn missed(&self) -> u64 {
        self.events.missed()
    }
}
