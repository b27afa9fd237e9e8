//! The guide: how to put the engine into a gateway.
//!
//! # Owners, limits, routes
//!
//! Limits hang on owners; owners have parents. An owner is a kind and a name: `key:k1`,
//! `team:search`, `model:m-large`. Kinds are yours.
//!
//! ```
//! use tollkeeper::{Budget, Concurrency, Engine, LimitId, OwnerId};
//!
//! let engine = Engine::new();
//! let customer: OwnerId = "customer:acme".parse()?;
//! let key: OwnerId = "key:k1".parse()?;
//! let model: OwnerId = "model:m-large".parse()?;
//! engine.upsert_owner(&customer, &[])?;
//! engine.upsert_owner(&key, &[customer.clone()])?;
//! engine.upsert_owner(&model, &[])?;
//!
//! let monthly = Budget::new("$500".parse()?, "1M".parse()?).thresholds(&[80]);
//! engine.upsert_limit(&customer, &LimitId::new("acme-monthly")?, monthly)?;
//! engine.upsert_limit(&model, &LimitId::new("m-large-in-flight")?, Concurrency::new(64))?;
//!
//! // A limit for this key on this model: hang it on the pair of them.
//! let pair = OwnerId::pair(&key, &model)?;
//! engine.upsert_owner(&pair, &[])?;
//! engine.upsert_limit(&pair, &LimitId::new("k1-m-large-in-flight")?, Concurrency::new(2))?;
//!
//! // Key, customer, model, and the pair, in that order.
//! let route = engine.route(&[key, model]);
//! assert_eq!(engine.route_usage(&route).len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Route`](crate::Route) is cheap to clone and meant to be kept. It resolves itself again when
//! anything it depends on has changed. An owner that does not exist is denied, unless the engine
//! was built to admit it; it is never passed over in silence.
//!
//! # Estimates
//!
//! A reservation holds what the request may cost. Hold too little and the excess overshoots when it
//! is settled; hold too much and others are denied that would have fitted. For a language model the
//! input is known, and the output is at most what the request asks for. The price table turns
//! tokens into money with integers alone:
//!
//! ```
//! use tollkeeper::{Money, Price, PriceTable, Usage};
//!
//! let mut prices = PriceTable::new();
//! prices.insert("m-large", Price::per_million("2.50".parse()?, "10".parse()?));
//! let mut estimate =
//!     Usage { input_tokens: 900, output_tokens: 256, requests: 1, ..Usage::default() };
//! estimate.cost = prices.cost("m-large", &estimate)?;
//! assert_eq!(estimate.cost, "0.00481".parse()?);
//! assert!(prices.cost("m-unknown", &estimate).is_err(), "no price is not a price of nothing");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Without any estimate, reserve [`Usage`](crate::Usage) with `requests: 1` and no more: limits
//! that are exhausted deny it, and the others are charged when it is settled.
//!
//! # The life of a reservation
//!
//! ```
//! use tollkeeper::{Decision, Engine, Usage};
//! # use tollkeeper::{Budget, LimitId, OwnerId};
//! # let engine = Engine::new();
//! # let key: OwnerId = "key:k1".parse()?;
//! # engine.upsert_owner(&key, &[])?;
//! # let budget = LimitId::new("k1-daily")?;
//! # engine.upsert_limit(&key, &budget, Budget::new("1".parse()?, "1d".parse()?))?;
//! # let route = engine.route(&[key]);
//! # let estimate = Usage { requests: 1, cost: "0.02".parse()?, ..Usage::default() };
//! # fn call_upstream() -> Option<Usage> { None }
//! let Decision::Admitted(mut reservation) = engine.reserve(&route, &estimate) else {
//!     return Ok(()); // 429 or 402, see below
//! };
//! // An error here drops the reservation: nothing is booked.
//! reservation.mark_dispatched();
//! match call_upstream() {
//!     // What the upstream reports, be it more than was held.
//!     Some(used) => {
//!         let settlement = reservation.settle(&used);
//!         for over in settlement.overshoots() {
//!             eprintln!("{} is {} over its limit", over.limit, over.amount);
//!         }
//!     }
//!     // Nobody knows: the upstream may bill us, so what was held is booked.
//!     None => drop(reservation),
//! }
//! assert_eq!(engine.usage(&budget).unwrap().counters[0].settled, 20_000_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Settle with everything that was used, the request itself and its cost included: a
//! [`Usage`](crate::Usage) field that is left at zero gives back what was held for it.
//!
//! If you know for certain that the upstream did no work (it could not be reached, it refused),
//! [`void`](crate::Reservation::void) the reservation. If a stream runs past its estimate,
//! [`extend`](crate::Reservation::extend) it: a denial tells you to stop the stream in time.
//!
//! A reservation is `Send` and `'static`: put it beside the body of the response it pays for, and
//! its `Drop` covers the client that goes away.
//!
//! # Denials
//!
//! A [`Denied`](crate::Denied) lists every counter that denies the request, and when to ask
//! again:
//!
//! | [`Retry`](crate::Retry) | answer |
//! |---|---|
//! | `At(instant)` | 429 (or 402 for money), `Retry-After`: `retry_after()`, rounded up |
//! | `OnRelease` | 429: too many in flight |
//! | `OnTopUp` | 402: prepaid credit is used up |
//! | `Never` | 4xx: larger than the limit, or an unknown owner |
//!
//! # Soft and shadow limits
//!
//! Each limit says what it does with a request that does not fit: a hard one denies it, a
//! [soft or a shadow](crate::Enforcement) one admits it and reports it. They count alike in every
//! other respect. A soft limit is shown to clients, a shadow one to operators alone: put a new
//! limit in force as a shadow, look at whom it would have denied, and make it hard.
//!
//! ```
//! use tollkeeper::{Engine, Enforcement, EventKind, LimitId, OwnerId, RateLimit, Usage};
//!
//! let engine = Engine::new();
//! let (key, id): (OwnerId, _) = ("key:k1".parse()?, LimitId::new("k1-rate")?);
//! engine.upsert_owner(&key, &[])?;
//! let limit = RateLimit::new().requests(2, "1h".parse()?);
//! engine.upsert_limit(&key, &id, limit.clone().enforcement(Enforcement::Shadow))?;
//!
//! let events = engine.subscribe(1_024);
//! let route = engine.route(&[key.clone()]);
//! let request = Usage { requests: 1, ..Usage::default() };
//! for _ in 0..3 {
//!     let reservation = engine.reserve(&route, &request).into_result()?;
//!     let _ = reservation.settle(&request);
//! }
//! let passed = |kind: &EventKind| matches!(kind, EventKind::Passed { settled: 2, limit: 2, .. });
//! assert_eq!(events.drain().filter(|event| passed(&event.what)).count(), 1);
//!
//! // Usage stays, so it denies at once.
//! engine.upsert_limit(&key, &id, limit)?;
//! assert!(!engine.reserve(&route, &request).is_admitted());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In a document it is `enforcement = "shadow"` beside the limit's id.
//!
//! # Windows
//!
//! Rolling periods begin at a limit's creation and follow each other without a gap, however late
//! anybody looks; calendar periods follow the calendar of a zone. In texts `m` is minutes and `M`
//! is months.
//!
//! ```
//! use tollkeeper::{Alignment, Period, Zone};
//!
//! let twelve_hours: Period = "12h".parse()?;
//! # #[cfg(feature = "tz")]
//! let month_in_berlin: Period =
//!     Period::calendar("1M", &Alignment::new().zone(Zone::named("Europe/Berlin")?))?;
//! let fiscal_quarter = Period::calendar("1Q", &Alignment::new().fiscal_start(4))?;
//! # Ok::<(), tollkeeper::PeriodError>(())
//! ```
//!
//! There is no job that resets windows: whoever comes to one that has ended rolls it.
//! [`Engine::reset_expired`](crate::Engine::reset_expired) only makes the events of closing come
//! sooner.
//!
//! # Changes while traffic runs
//!
//! Everything may change at any time: limits, periods, time zones, parents, owners. Usage stays
//! where it is. A raised limit admits at once; one that is lowered below its usage denies until its
//! window ends; a reservation in flight is booked on the limits it was admitted by.
//!
//! # Events
//!
//! ```
//! use tollkeeper::{Engine, EventKind};
//!
//! let engine = Engine::new();
//! let events = engine.subscribe(1_024);
//! std::thread::spawn(move || {
//!     for event in events {
//!         if let EventKind::Threshold { percent, .. } = event.what {
//!             println!("{} of {} is at {percent} %", event.limit, event.owner);
//!         }
//!     }
//! });
//! ```
//!
//! A queue that is full misses events and counts them
//! ([`missed`](crate::Subscription::missed)); it never slows a decision.
//!
//! # Restarts
//!
//! [`Engine::export`](crate::Engine::export) writes all usage,
//! [`Engine::import`](crate::Engine::import) sets it: as often as you like, without ever adding.
//! What was booked after the export is not in it.
//!
//! With a ledger nothing that was acknowledged is lost, and a retried request is charged once: see
//! the chapter on settlement (feature `ledger`). The one after it shows whole request loops, with
//! and without an async runtime.
//!
//! # Testing your gateway
//!
//! Give the engine a [`ManualClock`](crate::ManualClock) and compare for equality:
//!
//! ```
//! use std::time::Duration;
//! use tollkeeper::{Engine, LimitId, ManualClock, OwnerId, RateLimit, Timestamp, Usage};
//!
//! let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
//! let engine = Engine::builder().clock(clock.clone()).build();
//! let key: OwnerId = "key:k1".parse()?;
//! engine.upsert_owner(&key, &[])?;
//! let one_a_minute = RateLimit::new().requests(1, "1m".parse()?);
//! engine.upsert_limit(&key, &LimitId::new("rate")?, one_a_minute)?;
//! let route = engine.route(&[key]);
//! let request = Usage { requests: 1, ..Usage::default() };
//!
//! let _ = engine.bump(&route, &request);
//! clock.advance(Duration::from_secs(59));
//! let denied = engine.reserve(&route, &request).into_result().unwrap_err();
//! assert_eq!(denied.retry_after(), Some(Duration::from_secs(1)));
//! clock.advance(Duration::from_secs(1));
//! assert!(engine.reserve(&route, &request).is_admitted());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "ledger")]
pub mod settlement;
#[cfg(feature = "ledger")]
pub mod without_tower;
