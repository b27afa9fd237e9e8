//! The gate: what a gateway does with the engine, and all that the replay asks of it.

use super::Limits;
use super::clerk::Clerk;
use super::cli::Admission;
use super::document::Document;
use super::failure::Failure;
use super::log::Ending;
use super::traffic::{Fate, Request};
use std::sync::Arc;
use tollkeeper::{
    Binding, Charge, Clock, Decision, Draft, Engine, Event, LedgerStore, LimitUsage, Peek,
    RecordId, Reservation, Route, Subscription, Usage,
};

/// Room for the events of a minute or so; the replay empties it more often than that.
const QUEUE: usize = 1 << 16;

/// An engine with the document's limits, and a route for each key and model.
pub struct Gate {
    engine: Engine,
    routes: Vec<Vec<Route>>,
    events: Subscription,
    admission: Admission,
    keeping: Option<Keeping>,
}

/// What a gate with a ledger has.
struct Keeping {
    clerk: Clerk,
    /// For each key and model.
    drafts: Vec<Vec<Draft>>,
}

/// Who writes what ends to the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Whoever ends it.
    ByHand,
    /// A thread of the ledger's own.
    Thread,
}

/// What a request that was let through has in its hands. It moves twice, so a box would cost more
/// than its size does.
#[allow(clippy::large_enum_variant)]
pub enum Pass {
    /// Its estimate is held.
    Held(Reservation),
    /// The same, with a ledger: its record will be this one.
    Charged(Charge, RecordId),
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
        Ok(Gate { engine, routes, events, admission, keeping: None })
    }

    /// Settles through a ledger from now on. What the ledger has is in the limits then.
    pub fn keep(
        &mut self,
        document: &Document,
        store: Arc<dyn LedgerStore>,
        writing: Writing,
    ) -> Result<(), Failure> {
        let draft = |key: usize, model: usize| {
            let owner = &document.owners[document.keys[key]].id;
            let draft = Draft::new().api_key(owner).model(&document.models[model].name);
            document.upstream(key, model).iter().fold(draft, Draft::upstream)
        };
        let drafts = (0..document.keys.len())
            .map(|key| (0..document.models.len()).map(|model| draft(key, model)).collect())
            .collect();
        let clerk = Clerk::open(&self.engine, store, writing == Writing::ByHand)?;
        // What restoring did to windows is not part of the replay.
        self.events.drain().for_each(drop);
        self.keeping = Some(Keeping { clerk, drafts });
        Ok(())
    }

    /// The one who settles through a ledger.
    pub fn clerk(&self) -> Option<&Clerk> {
        self.keeping.as_ref().map(|keeping| &keeping.clerk)
    }

    /// The same, when all is over.
    pub fn into_clerk(self) -> Option<Clerk> {
        self.keeping.map(|keeping| keeping.clerk)
    }

    /// Asks for a request to be let through.
    pub fn ask(&self, request: &Request, estimate: &Usage) -> Result<Pass, Vec<Binding>> {
        let route = &self.routes[request.key][request.model];
        match (self.admission, &self.keeping) {
            (Admission::Reserve, Some(Keeping { clerk, drafts })) => clerk
                .reserve(route, estimate, &drafts[request.key][request.model])
                .map(|(charge, record)| Pass::Charged(charge, record)),
            (Admission::Reserve, None) => match self.engine.reserve(route, estimate) {
                Decision::Admitted(mut reservation) => {
                    // The upstream is called right away.
                    reservation.mark_dispatched();
                    Ok(Pass::Held(reservation))
                }
                Decision::Denied(denied) => Err(denied.bindings().cloned().collect()),
            },
            (Admission::CheckThenCharge, _) => match self.engine.peek(route, estimate) {
                Peek::WouldAdmit => Ok(Pass::Looked),
                Peek::WouldDeny(denied) => Err(denied.bindings().cloned().collect()),
            },
        }
    }

    /// Ends a request that was let through, the way its fate has it. With a ledger it is durable
    /// then.
    pub fn end(&self, pass: Pass, index: usize, request: &Request) -> Ending {
        let used = request.usage;
        match (pass, request.fate) {
            (Pass::Charged(charge, record), _) => self.settle(charge, record, index, request),
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
                let settlement = match &self.keeping {
                    None => self.engine.bump(route, &used),
                    Some(Keeping { clerk, drafts }) => {
                        let draft = &drafts[request.key][request.model];
                        clerk.written(index, clerk.charge(route, &used, draft))
                    }
                };
                let overshoots = settlement.overshoots().to_vec();
                Ending::Charged { used, overshoots }
            }
            (Pass::Looked, Fate::Fails | Fate::Vanishes) => Ending::Uncharged,
        }
    }

    /// The same with a ledger.
    fn settle(&self, charge: Charge, record: RecordId, index: usize, request: &Request) -> Ending {
        let Some(Keeping { clerk, .. }) = &self.keeping else {
            unreachable!("only a gate with a ledger makes charges")
        };
        let used = request.usage;
        match request.fate {
            Fate::Completes => {
                let settlement = clerk.written(index, charge.settle(&used));
                let overshoots = settlement.overshoots().to_vec();
                Ending::Settled { used, late: settlement.is_late(), overshoots }
            }
            Fate::Fails => {
                let _ = clerk.written(index, charge.unbilled("the upstream failed"));
                Ending::Voided
            }
            Fate::Vanishes => {
                drop(charge);
                clerk.dropped(index, record);
                Ending::Uncertain
            }
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
