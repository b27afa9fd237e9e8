//! Plays a history to the engine and to the reference, and compares all there is to see after
//! each step: the answer, every limit's reading, and the events.

use std::collections::BTreeMap;
use std::time::Duration;

use tollkeeper::{
    Budget, Concurrency, Decision, Denied, Enforcement, Engine, Event, EventKind, Lasts, Limit,
    LimitError, LimitId, LimitUsage, ManualClock, Money, OperatorError, OwnerId, Peek, Period,
    RateLimit, Reservation, ResetOutcome, Retry, Route, Settlement, State, StateError,
    Subscription, Timestamp, TokenWeights, TopologyError, UnknownOwner, Usage,
};

use super::operations::{
    Amounts, BEGINNING, Definition, LIMITS, OWNERS, Op, PERIODS, Part, Step, THRESHOLDS, WEIGHTS,
    decode,
};
use super::reference::{Answer, Bound, Ending, Later, Outcome, Owner, Reference, View, What};
use super::steering::{Document, Done, Kept, KeptCounter, Refusal};

/// More events than any step gives.
const ROOM: usize = 1_000;

/// The body of the fuzz target `history`: any bytes are a history, and the engine is exact in it.
pub fn history(data: &[u8]) {
    let deny = data.first().is_none_or(|byte| byte % 2 == 0);
    play(deny, &decode(data.get(1..).unwrap_or_default()));
}

/// Plays a history, and panics where engine and reference differ.
pub fn play(deny_unknown: bool, ops: &[Op]) {
    let mut stage = Stage::new(deny_unknown);
    stage.set_up();
    for (at, op) in ops.iter().enumerate() {
        let said = stage.step(op);
        let case = || format!("after step {at}, {op:?}");
        assert_eq!(said.0, said.1, "engine, reference: {}", case());
        stage.compare(&case);
    }
}

/// Engine and reference side by side.
struct Stage {
    engine: Engine,
    clock: ManualClock,
    events: Subscription,
    reservations: Vec<Option<Reservation>>,
    /// Routes are kept, as a gateway keeps them, however the topology changes.
    routes: BTreeMap<Vec<u8>, Route>,
    documents: Vec<(State, Document)>,
    reference: Reference,
}

/// What the engine and what the reference says to a step, as text.
type Said = (String, String);

fn said(engine: impl std::fmt::Debug, reference: impl std::fmt::Debug) -> Said {
    (format!("{engine:?}"), format!("{reference:?}"))
}

fn owner(number: u8) -> OwnerId {
    OWNERS[usize::from(number)].parse().expect("the table is of owners")
}

fn limit(number: u8) -> LimitId {
    LimitId::new(LIMITS[usize::from(number)]).expect("the table is of limits")
}

fn owner_number(id: &OwnerId) -> u8 {
    let place = OWNERS.iter().position(|text| *text == id.as_str());
    place.and_then(|place| u8::try_from(place).ok()).expect("owners are of the table")
}

fn limit_number(id: &LimitId) -> u8 {
    let place = LIMITS.iter().position(|text| *text == id.as_str());
    place.and_then(|place| u8::try_from(place).ok()).expect("limits are of the table")
}

fn period(number: u8) -> Period {
    PERIODS[usize::from(number)].parse().expect("the table is of periods")
}

fn money(nanos: u64) -> Money {
    Money::from_nanos(nanos).expect("amounts of money are drawn so")
}

fn usage(amounts: &Amounts) -> Usage {
    let [input_tokens, output_tokens, cached_tokens, cache_write_tokens] = amounts.tokens;
    Usage {
        input_tokens,
        output_tokens,
        cached_tokens,
        cache_write_tokens,
        requests: amounts.requests,
        cost: money(amounts.cost),
    }
}

fn define(definition: &Definition, enforcement: Enforcement) -> Limit {
    match *definition {
        Definition::Budget { limit, period: number, thresholds } => {
            let budget = match limit {
                Some(nanos) if number == 5 => Budget::prepaid(money(nanos)),
                Some(nanos) => Budget::new(money(nanos), period(number)),
                None => Budget::uncapped(period(number)),
            };
            let budget = budget.thresholds(THRESHOLDS[usize::from(thresholds)]);
            budget.enforcement(enforcement).into()
        }
        Definition::RateLimit { tokens, requests, weights, thresholds } => {
            rate_limit(tokens, requests, weights)
                .thresholds(THRESHOLDS[usize::from(thresholds)])
                .enforcement(enforcement)
                .into()
        }
        Definition::Concurrency { limit } => {
            Concurrency::new(limit).enforcement(enforcement).into()
        }
    }
}

fn rate_limit(tokens: Part, requests: Part, weights: u8) -> RateLimit {
    let [input, output, cached, cache_write] = WEIGHTS[usize::from(weights)];
    let mut limit = RateLimit::new().weights(TokenWeights { input, output, cached, cache_write });
    if let Some((amount, number)) = tokens {
        limit = limit.tokens(amount, period(number));
    }
    if let Some((amount, number)) = requests {
        limit = limit.requests(amount, period(number));
    }
    limit
}

impl Stage {
    fn new(deny_unknown: bool) -> Self {
        let start: Timestamp = "2026-01-31T22:59:30Z".parse().expect("an instant");
        let clock = ManualClock::new(start);
        let policy = if deny_unknown { UnknownOwner::Deny } else { UnknownOwner::Admit };
        let engine = Engine::builder().clock(clock.clone()).unknown_owner(policy).build();
        let events = engine.subscribe(ROOM);
        let reference = Reference { now: start.as_nanos(), deny_unknown, ..Reference::default() };
        let (reservations, routes, documents) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { engine, clock, events, reservations, routes, documents, reference }
    }

    /// A small world to begin with: a key in a team in an organisation, a model, their pair.
    fn set_up(&mut self) {
        let mut ops: Vec<Op> = [(4, vec![]), (3, vec![4]), (0, vec![3]), (1, vec![3])]
            .into_iter()
            .chain([(5, vec![]), (6, vec![])])
            .map(|(owner, parents)| Op::UpsertOwner { owner, parents })
            .collect();
        ops.extend(BEGINNING.map(|(owner, limit, definition)| Op::UpsertLimit {
            owner,
            limit,
            definition,
            enforcement: Enforcement::Hard,
        }));
        for op in &ops {
            let said = self.step(op);
            assert_eq!(said.0, said.1, "setting up: {op:?}");
        }
    }

    fn route(&mut self, named: &[u8]) -> Route {
        let Self { engine, routes, .. } = self;
        let ids: Vec<OwnerId> = named.iter().copied().map(owner).collect();
        routes.entry(named.to_vec()).or_insert_with(|| engine.route(&ids)).clone()
    }

    fn step(&mut self, op: &Op) -> Said {
        match op {
            Op::UpsertOwner { .. }
            | Op::RemoveOwner { .. }
            | Op::UpsertLimit { .. }
            | Op::RemoveLimit { .. } => self.topology(op),
            Op::Peek { .. } | Op::Reserve { .. } | Op::Bump { .. } => self.request(op),
            Op::Extend { ticket, .. }
            | Op::Dispatch { ticket }
            | Op::Settle { ticket, .. }
            | Op::Void { ticket }
            | Op::Drop { ticket } => match self.open(*ticket) {
                Some(ticket) => self.ticket(op, ticket),
                None => said((), ()),
            },
            Op::Clock(step) => self.turn(step),
            Op::Export | Op::Import { .. } | Op::Restart => self.carry(op),
            _ => self.operator(op),
        }
    }

    /// The open reservation that a number means.
    fn open(&self, number: u8) -> Option<usize> {
        let open: Vec<usize> =
            (0..self.reservations.len()).filter(|&n| self.reservations[n].is_some()).collect();
        Some(*open.get(usize::from(number).checked_rem(open.len())?)?)
    }

    fn topology(&mut self, op: &Op) -> Said {
        let (engine, reference) = (&self.engine, &mut self.reference);
        match *op {
            Op::UpsertOwner { owner: id, ref parents } => {
                let ids: Vec<OwnerId> = parents.iter().copied().map(owner).collect();
                let done = engine.upsert_owner(&owner(id), &ids).map_err(topology_refusal);
                said(done, reference.upsert_owner(id, parents))
            }
            Op::RemoveOwner { owner: id } => {
                let last = engine.remove_owner(&owner(id)).map_err(topology_refusal);
                let last = last.map(|all| all.iter().map(seen).collect::<Vec<_>>());
                let entries = reference.remove_owner(id);
                let views =
                    |entry: &usize| (reference.entries[*entry].limit, reference.views(*entry));
                said(last, entries.map(|entries| entries.iter().map(views).collect::<Vec<_>>()))
            }
            Op::UpsertLimit { owner: of, limit: id, ref definition, enforcement } => {
                let limit_of = define(definition, enforcement);
                let done = engine.upsert_limit(&owner(of), &limit(id), limit_of);
                let done = done.map_err(topology_refusal);
                said(done, reference.upsert_limit(of, id, *definition, enforcement))
            }
            Op::RemoveLimit { limit: id } => {
                let last = engine.remove_limit(&limit(id)).map_err(topology_refusal);
                said(last.map(|last| seen(&last).1), reference.remove_limit(id))
            }
            _ => unreachable!("a change of the topology"),
        }
    }

    fn request(&mut self, op: &Op) -> Said {
        match op {
            Op::Peek { owners, estimate } => self.peek(owners, estimate),
            Op::Reserve { owners, estimate } => {
                // What is foretold happens, and foretelling it changes nothing.
                let (engine, reference) = self.peek(owners, estimate);
                assert_eq!(engine, reference, "engine, reference: a peek");
                self.compare(&|| format!("after a peek before {op:?}"));
                let route = self.route(owners);
                let answer = match self.engine.reserve(&route, &usage(estimate)) {
                    Decision::Admitted(reservation) => {
                        self.reservations.push(Some(reservation));
                        Answer::Admitted
                    }
                    Decision::Denied(denied) => answer(&denied, self.reference.now),
                };
                assert_eq!(format!("{answer:?}"), engine, "reserve, peek: {op:?}");
                said(answer, self.reference.reserve(owners, estimate))
            }
            Op::Bump { owners, used } => {
                let route = self.route(owners);
                let settlement = self.engine.bump(&route, &usage(used));
                said(outcome(&settlement), self.reference.bump(owners, used))
            }
            _ => unreachable!("a request"),
        }
    }

    fn peek(&mut self, owners: &[u8], estimate: &Amounts) -> Said {
        let route = self.route(owners);
        let answer = match self.engine.peek(&route, &usage(estimate)) {
            Peek::WouldAdmit => Answer::Admitted,
            Peek::WouldDeny(denied) => answer(&denied, self.reference.now),
        };
        said(answer, self.reference.peek(owners, estimate))
    }

    fn ticket(&mut self, op: &Op, ticket: usize) -> Said {
        let place = &mut self.reservations[ticket];
        let reference = &mut self.reference;
        match op {
            Op::Extend { more, .. } => {
                let reservation = place.as_mut().expect("it is open");
                let now = reference.now;
                let answer = match reservation.extend(&usage(more)) {
                    Ok(()) => Answer::Admitted,
                    Err(denied) => answer(&denied, now),
                };
                return said(answer, reference.extend(ticket, more));
            }
            Op::Dispatch { .. } => {
                place.as_mut().expect("it is open").mark_dispatched();
                let ticket = reference.tickets[ticket].as_mut().expect("it is open");
                ticket.dispatched = true;
                return said((), ());
            }
            _ => {}
        }
        let reservation = place.take().expect("it is open");
        match op {
            Op::Settle { used, .. } => {
                let settlement = reservation.settle(&usage(used));
                said(outcome(&settlement), reference.end(ticket, Ending::Used(*used)))
            }
            Op::Void { .. } => {
                reservation.void();
                let _ = reference.end(ticket, Ending::Nothing);
                said((), ())
            }
            Op::Drop { .. } => {
                let dispatched = reservation.is_dispatched();
                drop(reservation);
                let ending = if dispatched { Ending::AsHeld } else { Ending::Nothing };
                let _ = reference.end(ticket, ending);
                said((), ())
            }
            _ => unreachable!("a step of a reservation"),
        }
    }

    fn operator(&mut self, op: &Op) -> Said {
        let (engine, reference) = (&self.engine, &mut self.reference);
        match *op {
            Op::Reset { limit: id, dimension } => {
                let done = engine.reset(&limit(id), dimension).map_err(operator_refusal);
                let done = done.map(|all| all.into_iter().map(reset).collect::<Vec<_>>());
                said(done, reference.reset(id, dimension))
            }
            Op::ResetWindow { limit: id, dimension, stale_by } => {
                let reading = engine.usage(&limit(id));
                let counter = reading.as_ref().and_then(|reading| reading.counter(dimension));
                let generation = counter.map_or(0, |counter| counter.generation);
                let generation = generation.wrapping_sub(stale_by.into());
                let done = engine.reset_window(&limit(id), dimension, generation);
                let done = done.map_err(operator_refusal).map(reset);
                said(done, reference.reset_window(id, dimension, generation))
            }
            Op::ResetExpired => {
                let sweep = engine.reset_expired();
                said((sweep.visited, sweep.rolled), reference.reset_expired())
            }
            Op::TopUp { limit: id, credit } => {
                let credit = credit.min(Money::MAX.as_nanos());
                let done = engine.top_up(&limit(id), money(credit)).map_err(operator_refusal);
                said(done.map(Money::as_nanos), reference.top_up(id, credit))
            }
            Op::Override { limit: id, dimension, instead, windows } => {
                let lasts = match windows.try_into() {
                    Ok(windows) => Lasts::Windows(windows),
                    Err(_) => Lasts::UntilCleared,
                };
                let done = engine.override_limit(&limit(id), dimension, instead, lasts);
                let done = done.map_err(operator_refusal);
                said(done, reference.override_limit(id, dimension, instead, windows))
            }
            Op::ClearOverride { limit: id, dimension } => {
                let done = engine.clear_override(&limit(id), dimension);
                said(done.map_err(operator_refusal), reference.clear_override(id, dimension))
            }
            _ => unreachable!("an operator's step"),
        }
    }

    fn turn(&mut self, step: &Step) -> Said {
        let now = self.reference.now;
        let to = match *step {
            Step::Forward(by) => now.saturating_add(by),
            Step::Back(by) => now.saturating_sub(by),
            Step::To(to) => to,
            Step::Boundary { limit, counter, before } => {
                let entry = self.reference.limits.get(&limit);
                let view = entry.and_then(|&entry| self.reference.view((entry, counter.into())));
                view.map_or(now, |view| view.end - u64::from(before))
            }
        };
        if let (Step::Forward(by), true) = (step, to < u64::MAX) {
            self.clock.advance(Duration::from_nanos(*by));
        } else {
            self.clock.set(Timestamp::from_nanos(to));
        }
        self.reference.now = to;
        said(self.engine.now().as_nanos(), to)
    }

    fn carry(&mut self, op: &Op) -> Said {
        match *op {
            Op::Export => {
                let state = self.engine.export();
                let document = self.reference.export();
                let said = said(self::document(&state), &document);
                self.documents.push((state, document));
                said
            }
            Op::Import { document } => {
                let Some(place) = usize::from(document).checked_rem(self.documents.len()) else {
                    return said((), ());
                };
                let (state, document) = &self.documents[place];
                let done = self.engine.import(state).map_err(|error| match error {
                    StateError::Owner { index, .. } => Refusal::WrongOwner(index),
                    StateError::Kind { index, .. } => Refusal::WrongKind(index),
                    other => panic!("{other}"),
                });
                let done = done.map(|done| {
                    let unknown: Vec<u8> = done.unknown.iter().map(limit_number).collect();
                    (done.restored, done.ended, unknown)
                });
                said(done, self.reference.import(document))
            }
            Op::Restart => self.restart(),
            _ => unreachable!("a document is carried"),
        }
    }

    /// A new process: the owners and limits as they are defined, and the usage from a document.
    fn restart(&mut self) -> Said {
        let (state, document) = (self.engine.export(), self.reference.export());
        let mut fresh = Stage::new(self.reference.deny_unknown);
        fresh.clock.set(Timestamp::from_nanos(self.reference.now));
        fresh.reference.now = self.reference.now;
        let mut left: Vec<(u8, Owner)> =
            self.reference.owners.iter().map(|(id, owner)| (*id, owner.clone())).collect();
        while !left.is_empty() {
            let known = |parent: &u8| fresh.reference.owners.contains_key(parent);
            let next = left.iter().position(|(_, owner)| owner.parents.iter().all(known));
            let (owner, Owner { parents, entries }) =
                left.remove(next.expect("no owner is its own ancestor"));
            fresh.step(&Op::UpsertOwner { owner, parents });
            for entry in entries {
                let entry = &self.reference.entries[entry];
                let (limit, definition, enforcement) =
                    (entry.limit, entry.definition, entry.enforcement);
                fresh.step(&Op::UpsertLimit { owner, limit, definition, enforcement });
            }
        }
        let documents = std::mem::take(&mut self.documents);
        // Leaving it on the way out ends what is in flight, where nobody looks any more.
        *self = fresh;
        self.documents = documents;
        self.documents.push((state, document));
        let last = u8::try_from(self.documents.len() - 1).expect("histories are short");
        self.carry(&Op::Import { document: last })
    }

    /// Compares every reading and the events since the last time.
    fn compare(&mut self, case: &dyn Fn() -> String) {
        let mut readings: Vec<_> = self.engine.usage_all().map(|usage| seen(&usage)).collect();
        readings.sort_by_key(|(limit, _)| *limit);
        let limits = self.reference.limits.iter();
        let views: Vec<_> =
            limits.map(|(limit, entry)| (*limit, self.reference.views(*entry))).collect();
        assert_eq!(readings, views, "engine, reference: {}", case());
        let mut events: Vec<_> = self.events.drain().map(|event| happened(&event)).collect();
        let mut expected = std::mem::take(&mut self.reference.events);
        // Counters are visited in any order; for each of them the order is fixed.
        events.sort_by_key(|event| (event.limit, event.dimension));
        expected.sort_by_key(|event| (event.limit, event.dimension));
        assert_eq!(events, expected, "engine, reference: {}", case());
        assert_eq!(self.events.missed(), 0, "the queue is long enough");
    }
}

/// A reading in the reference's words.
fn seen(usage: &LimitUsage) -> (u8, Vec<View>) {
    let views = usage.counters.iter().map(|counter| View {
        enforcement: usage.enforcement,
        dimension: counter.dimension,
        settled: counter.settled,
        held: counter.held,
        limit: counter.limit,
        start: counter.window.start.as_nanos(),
        end: counter.window.end.as_nanos(),
        generation: counter.generation,
    });
    (limit_number(&usage.limit), views.collect())
}

fn happened(event: &Event) -> super::reference::Event {
    let what = match event.what {
        EventKind::Threshold { percent, settled, limit } => {
            What::Threshold { percent, settled, limit }
        }
        EventKind::Exhausted { settled, held, limit } => What::Exhausted { settled, held, limit },
        EventKind::Passed { requested, settled, held, limit } => {
            What::Passed { requested, settled, held, limit }
        }
        EventKind::WindowClosed { window, total, held } => {
            What::Closed { start: window.start.as_nanos(), end: window.end.as_nanos(), total, held }
        }
        EventKind::Reset { window } => {
            What::Reset { start: window.start.as_nanos(), end: window.end.as_nanos() }
        }
        EventKind::Uncertain { amount } => What::Uncertain { amount },
        ref other => panic!("{other:?} takes two threads"),
    };
    super::reference::Event {
        at: event.at.as_nanos(),
        limit: limit_number(&event.limit),
        owner: owner_number(&event.owner),
        dimension: event.dimension,
        generation: event.generation,
        what,
    }
}

fn answer(denied: &Denied, now: u64) -> Answer {
    assert_eq!(denied.at().as_nanos(), now, "the one reading of the clock");
    if let Some(owner) = denied.unknown_owner() {
        assert_eq!(denied.bindings().count(), 0, "no limit is to blame");
        return Answer::Unknown(owner_number(owner));
    }
    let bounds = denied.bindings().map(|binding| Bound {
        limit: limit_number(&binding.limit),
        owner: owner_number(&binding.owner),
        kind: binding.kind,
        view: (
            binding.dimension,
            binding.limit_amount,
            binding.settled,
            binding.held,
            binding.window.start.as_nanos(),
            binding.window.end.as_nanos(),
        ),
        requested: binding.requested,
        retry: later(binding.retry),
    });
    let bounds: Vec<Bound> = bounds.collect();
    assert_eq!(later(denied.retry()), latest(&bounds), "of {bounds:?}");
    Answer::Denied(bounds)
}

fn later(retry: Retry) -> Later {
    match retry {
        Retry::At(instant) => Later::At(instant.as_nanos()),
        Retry::OnRelease => Later::OnRelease,
        Retry::OnTopUp => Later::OnTopUp,
        Retry::Never => Later::Never,
        other => panic!("{other:?} is new"),
    }
}

/// The latest of several; what no clock tells is later than what one does.
fn latest(bounds: &[Bound]) -> Later {
    let rank = |later: &Later| match *later {
        Later::At(instant) => (0, instant),
        Later::OnRelease => (1, 0),
        Later::OnTopUp => (2, 0),
        Later::Never => (3, 0),
    };
    bounds.iter().map(|bound| bound.retry).max_by_key(rank).expect("a denial has a reason")
}

fn outcome(settlement: &Settlement) -> Outcome {
    let overshoots = settlement.overshoots().iter();
    let overshoots = overshoots
        .map(|over| (limit_number(&over.limit), over.dimension, over.amount, over.uncounted));
    Outcome { overshoots: overshoots.collect(), late: settlement.is_late() }
}

fn reset(outcome: ResetOutcome) -> Done {
    match outcome {
        ResetOutcome::Reset { dimension, total, window, generation } => {
            let (start, end) = (window.start.as_nanos(), window.end.as_nanos());
            Done::Reset { dimension, total, start, end, generation }
        }
        ResetOutcome::Lost { dimension, window, generation } => {
            let (start, end) = (window.start.as_nanos(), window.end.as_nanos());
            Done::Lost { dimension, start, end, generation }
        }
        other => panic!("{other:?} is new"),
    }
}

fn document(state: &State) -> Document {
    let limits = state.limits.iter().map(|kept| Kept {
        limit: limit_number(&kept.limit),
        owner: owner_number(&kept.owner),
        kind: kept.kind,
        anchor: kept.anchor.as_nanos(),
        counters: kept
            .counters
            .iter()
            .map(|counter| KeptCounter {
                dimension: counter.dimension,
                start: counter.start.as_nanos(),
                end: counter.end.as_nanos(),
                settled: counter.settled,
                credit: counter.credit,
                instead: counter.instead.map(|instead| (instead.limit, instead.until.as_nanos())),
            })
            .collect(),
    });
    Document { at: state.exported_at.as_nanos(), limits: limits.collect() }
}

fn topology_refusal(error: TopologyError) -> Refusal {
    match error {
        TopologyError::UnknownOwner { .. } => Refusal::UnknownOwner,
        TopologyError::UnknownLimit { .. } => Refusal::UnknownLimit,
        TopologyError::UnknownParent { parent, .. } => {
            Refusal::UnknownParent(owner_number(&parent))
        }
        TopologyError::DuplicateParent { parent, .. } => {
            Refusal::DuplicateParent(owner_number(&parent))
        }
        TopologyError::Cycle { parent, .. } => Refusal::Cycle(owner_number(&parent)),
        TopologyError::PairInHierarchy { .. } => Refusal::PairInHierarchy,
        TopologyError::HasChildren { .. } => Refusal::HasChildren,
        TopologyError::LimitOfOther { owner, .. } => Refusal::LimitOfOther(owner_number(&owner)),
        TopologyError::KindChanged { kind, .. } => Refusal::KindChanged(kind),
        TopologyError::Limit { error: LimitError::TooLarge { .. }, .. } => Refusal::TooLarge,
        TopologyError::Limit { error: LimitError::NothingCounted, .. } => Refusal::NothingCounted,
        other => panic!("{other}"),
    }
}

fn operator_refusal(error: OperatorError) -> Refusal {
    match error {
        OperatorError::UnknownLimit { .. } => Refusal::UnknownLimit,
        OperatorError::NotCounted { .. } => Refusal::NotCounted,
        OperatorError::NoWindow { .. } => Refusal::NoWindow,
        OperatorError::NotPrepaid { .. } => Refusal::NotPrepaid,
        OperatorError::TooLarge { .. } => Refusal::TooLarge,
        other => panic!("{other}"),
    }
}
