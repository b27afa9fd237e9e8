//! How to link the engine where there is no tower: a loop of your own, or Pingora.
//!
//! The layer of the feature `http` does nothing that you cannot do with the same calls. What it
//! guarantees follows from where they stand:
//!
//! - [`Ledger::reserve`](crate::Ledger::reserve) after all that can refuse for nothing: no limit is
//!   passed.
//! - [`mark_dispatched`](crate::Charge::mark_dispatched) before the first byte goes up: nobody gets
//!   it for free.
//! - [`extend`](crate::Charge::extend) when the answer outgrows its estimate: a denial says when to
//!   stop it.
//! - [`settle`](crate::Charge::settle) at the answer's end: it is charged once, by what was used.
//! - [`settle_partial`](crate::Charge::settle_partial) where it broke off and the usage is known.
//! - Everywhere else it is dropped: before dispatch nothing is charged, after it what was held.
//!
//! So put the [`Charge`](crate::Charge) into whatever lives as long as the answer does, and end it
//! where that ends. There is no path to forget: what is not ended by a call is ended by the drop.
//!
//! # Answers to who is denied
//!
//! [`Denied`](crate::Denied) knows what to say. This is used in the loops below; with the feature
//! `http`, `tollkeeper::http` has it with all fields.
//!
//! ```
//! use tollkeeper::{Denied, Dimension, Enforcement, Engine, Retry, Route};
//!
//! /// The status, and the field `Retry-After`.
//! fn refusal(denied: &Denied) -> (u16, Option<u64>) {
//!     let status = match denied.first() {
//!         None => 403, // its owner is unknown
//!         Some(binding) if binding.dimension == Dimension::Money => 402,
//!         Some(_) => 429,
//!     };
//!     let after = match denied.retry() {
//!         Retry::OnRelease => Some(1), // no clock tells when
//!         // Rounded up: who comes at that second is not too early.
//!         _ => denied.retry_after().map(|t| t.as_secs() + u64::from(t.subsec_nanos() > 0)),
//!     };
//!     (status, after)
//! }
//!
//! /// The fields `x-ratelimit-remaining-requests` and `-tokens`, of the tightest limits.
//! fn remaining(engine: &Engine, route: &Route, dimension: Dimension) -> Option<u64> {
//!     let limits = engine.route_usage(route);
//!     // Shadow limits are shown to nobody.
//!     let shown = limits.iter().filter(|limit| limit.enforcement != Enforcement::Shadow);
//!     shown.filter_map(|limit| limit.counter(dimension)?.remaining()).min()
//! }
//! # use tollkeeper::{LimitId, ManualClock, OwnerId, RateLimit, Timestamp, Usage};
//! # use std::time::Duration;
//! # let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
//! # let engine = Engine::builder().clock(clock.clone()).build();
//! # let key: OwnerId = "key:k1".parse()?;
//! # engine.upsert_owner(&key, &[])?;
//! # let two = RateLimit::new().requests(2, "1m".parse()?);
//! # engine.upsert_limit(&key, &LimitId::new("k1")?, two)?;
//! # let route = engine.route(&[key]);
//! # let request = Usage { requests: 1, ..Usage::default() };
//! # let _ = engine.bump(&route, &request);
//! # assert_eq!(remaining(&engine, &route, Dimension::Requests), Some(1));
//! # assert_eq!(remaining(&engine, &route, Dimension::Tokens), None);
//! # let _ = engine.bump(&route, &request);
//! # clock.advance(Duration::from_millis(200));
//! # let denied = engine.reserve(&route, &request).into_result().unwrap_err();
//! # assert_eq!(refusal(&denied), (429, Some(60)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A loop of your own, on threads
//!
//! Whatever blocks (a receipt, a key, a turn at the barrier) is waited for with `wait()` on a
//! thread, and with `.await` in a task. The order of a request: its key, its turn, its reservation,
//! the upstream. Each of the first three can refuse it, and nothing has been spent then.
//!
//! ```
//! use std::io::{self, Write};
//! use std::thread;
//! use std::time::Duration;
//! use tollkeeper::{
//!     Barrier, Budget, Claim, Dimension, Draft, Engine, Fate, Fingerprint, Idempotency, Ledger,
//!     LimitId, MemoryKeys, MemoryLedger, OwnerId, Scope, Unreserved, Usage,
//! };
//!
//! /// What an upstream sends: pieces of an answer, and at the end what it used.
//! enum Piece {
//!     Text(&'static str),
//!     Used(Usage),
//! }
//!
//! struct Gateway {
//!     ledger: Ledger,
//!     keys: Idempotency,
//!     barrier: Barrier,
//! }
//!
//! struct Request<'a> {
//!     key: OwnerId,
//!     estimate: Option<Usage>,
//!     idempotency_key: Option<&'a str>,
//!     body: &'a [u8],
//! }
//!
//! impl Gateway {
//!     /// Answers a request; gives the status. A client that has gone is an error of `client`.
//!     fn answer(
//!         &self,
//!         request: &Request<'_>,
//!         upstream: impl Fn() -> Option<Vec<io::Result<Piece>>>,
//!         client: &mut dyn Write,
//!     ) -> Result<u16, Box<dyn std::error::Error>> {
//!         // 1. The key: an answer that was given before is given again.
//!         let Some(text) = request.idempotency_key else {
//!             return Ok(self.execute(request, Draft::new(), &upstream, client)?.status());
//!         };
//!         let scope = Scope::new(&request.key.to_string(), "POST /v1/answers", text)?;
//!         let asked = Fingerprint::of(&[b"POST", b"/v1/answers", request.body]);
//!         match self.keys.claim(&scope, asked, Duration::from_secs(30)).wait()? {
//!             Claim::Owned(lease) => {
//!                 // One record for the key, however often it is tried.
//!                 let draft = Draft::new().id(lease.charge());
//!                 let mut copy = Copied { client, bytes: Vec::new() };
//!                 let ended = self.execute(request, draft, &upstream, &mut copy)?;
//!                 match ended {
//!                     End::Whole => lease.complete(copy.bytes).wait()?,
//!                     // It was charged, so it is not tried again for free under this key.
//!                     End::Broken => lease.complete(Vec::new()).wait()?,
//!                     // Whether it was still held makes no difference.
//!                     End::Free(_) => drop(lease.give_back().wait()),
//!                 }
//!                 Ok(ended.status())
//!             }
//!             Claim::Replay { result: Some(bytes), .. } if bytes.is_empty() => Ok(502),
//!             Claim::Replay { result: Some(bytes), .. } => {
//!                 client.write_all(&bytes)?; // with the field `idempotency-replayed: true`
//!                 Ok(200)
//!             }
//!             Claim::Replay { result: None, .. } | Claim::InFlight { .. } => Ok(409),
//!             Claim::Mismatch => Ok(422),
//!         }
//!     }
//!
//!     fn execute(
//!         &self,
//!         request: &Request<'_>,
//!         draft: Draft,
//!         upstream: &dyn Fn() -> Option<Vec<io::Result<Piece>>>,
//!         client: &mut dyn Write,
//!     ) -> Result<End, Box<dyn std::error::Error>> {
//!         // 2. Its turn, where nothing can be estimated. It has it until this returns.
//!         let _permit = self.barrier.acquire(&request.key, request.estimate.as_ref()).wait()?;
//!
//!         // 3. The reservation. A request whose cost is not known asks all the same.
//!         let estimate = request.estimate.unwrap_or(Usage { requests: 1, ..Usage::default() });
//!         let route = self.ledger.engine().route(&[request.key.clone()]);
//!         let draft = draft.api_key(&request.key);
//!         let mut charge = match self.ledger.reserve(&route, &estimate, draft) {
//!             Ok(charge) => charge,
//!             Err(Unreserved::Denied(denied)) => {
//!                 let money = |b: &tollkeeper::Binding| b.dimension == Dimension::Money;
//!                 let status = if denied.first().is_some_and(money) { 402 } else { 429 };
//!                 return Ok(End::Free(status));
//!             }
//!             Err(_) => return Ok(End::Free(503)),
//!         };
//!
//!         // 4. The upstream. Where it is not reached, the charge is dropped: nothing is charged.
//!         let Some(pieces) = upstream() else { return Ok(End::Free(502)) };
//!         // From here on, before anything is sent, whatever happens is charged.
//!         charge.mark_dispatched();
//!         let mut used = None;
//!         let mut whole = true;
//!         for piece in pieces {
//!             match piece {
//!                 Ok(Piece::Used(usage)) => used = Some(usage),
//!                 Ok(Piece::Text(text)) if client.write_all(text.as_bytes()).is_ok() => {}
//!                 // The client has gone, or the upstream broke off.
//!                 Ok(Piece::Text(_)) | Err(_) => whole = false,
//!             }
//!             if !whole {
//!                 break;
//!             }
//!         }
//!         let settling = match (whole, used) {
//!             (true, Some(used)) => charge.settle(&used),
//!             (false, Some(used)) => charge.settle_partial(&used),
//!             // Nobody knows: what was held is charged, when `charge` is dropped.
//!             (_, None) => return Ok(End::Broken),
//!         };
//!         let id = settling.id();
//!         let receipt = settling.wait()?; // durable
//!         // An attempt before this one crashed: its record says that nobody knows. Now one does.
//!         if let (Fate::Duplicate, Some(id), Some(used)) = (receipt.fate, id, used) {
//!             // Refused where it was charged by what it used.
//!             let resolved = self.ledger.resolve(id, &used).map(|settling| settling.wait());
//!             resolved.unwrap_or(Ok(receipt))?;
//!         }
//!         Ok(if whole { End::Whole } else { End::Broken })
//!     }
//! }
//!
//! /// How a request ended.
//! #[derive(Clone, Copy)]
//! enum End {
//!     Whole,
//!     /// It broke off, and was charged.
//!     Broken,
//!     /// It was not charged.
//!     Free(u16),
//! }
//!
//! impl End {
//!     fn status(self) -> u16 {
//!         match self {
//!             End::Whole => 200,
//!             End::Broken => 502,
//!             End::Free(status) => status,
//!         }
//!     }
//! }
//!
//! /// Keeps what is sent, for who asks again.
//! struct Copied<'a> {
//!     client: &'a mut dyn Write,
//!     bytes: Vec<u8>,
//! }
//!
//! impl Write for Copied<'_> {
//!     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
//!         let count = self.client.write(bytes)?;
//!         self.bytes.extend_from_slice(&bytes[..count]);
//!         Ok(count)
//!     }
//!
//!     fn flush(&mut self) -> io::Result<()> {
//!         self.client.flush()
//!     }
//! }
//!
//! let engine = Engine::new();
//! let key: OwnerId = "key:k1".parse()?;
//! let budget = LimitId::new("k1")?;
//! engine.upsert_owner(&key, &[])?;
//! engine.upsert_limit(&key, &budget, Budget::new("$1".parse()?, "1M".parse()?))?;
//! // Keys and turns are waited for by threads here, so nothing is run as a task.
//! let gateway = Gateway {
//!     ledger: Ledger::builder(&engine).start(MemoryLedger::default())?,
//!     keys: Idempotency::builder(|_| unreachable!()).start(MemoryKeys::new(1_000))?,
//!     barrier: Barrier::builder(|_| unreachable!()).start()?,
//! };
//! let dollars = |text: &str| Usage {
//!     cost: text.parse().expect("money"),
//!     requests: 1,
//!     ..Usage::default()
//! };
//! let request = |estimate| {
//!     Request { key: key.clone(), estimate, idempotency_key: None, body: b"" }
//! };
//! let whole = || Some(vec![Ok(Piece::Text("yes")), Ok(Piece::Used(dollars("$0.25")))]);
//! let spent = || {
//!     let counter = engine.usage(&budget).expect("it is there").counters[0];
//!     (counter.settled / 10_000_000, counter.held) // in cents
//! };
//!
//! // Eight at once, each up to 30 cents, and three fit: the others are denied, or come later.
//! let one = || {
//!     let estimate = Some(dollars("$0.30"));
//!     gateway.answer(&request(estimate), whole, &mut io::sink()).expect("an answer")
//! };
//! let statuses: Vec<u16> = thread::scope(|scope| {
//!     let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
//!     threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
//! });
//! let admitted = statuses.iter().filter(|status| **status == 200).count();
//! assert!(admitted == 3 && statuses.iter().all(|status| [200, 402].contains(status)));
//! assert_eq!(spent(), (75, 0));
//!
//! // Sent twice under one key, charged once.
//! engine.reset(&budget, None)?;
//! let estimate = Some(dollars("$0.30"));
//! let again = Request { idempotency_key: Some("42"), body: b"{}", ..request(estimate) };
//! for _ in 0..2 {
//!     let mut client = Vec::new();
//!     assert_eq!(gateway.answer(&again, whole, &mut client)?, 200);
//!     assert_eq!(client, b"yes");
//! }
//! assert_eq!(spent(), (25, 0));
//! let other = Request { body: b"[]", ..again };
//! assert_eq!(gateway.answer(&other, whole, &mut io::sink())?, 422);
//!
//! // Never reached: nothing. Broken off before the usage was known: what was held.
//! let unreached = || None;
//! let request = || request(Some(dollars("$0.30")));
//! assert_eq!(gateway.answer(&request(), unreached, &mut io::sink())?, 502);
//! assert_eq!(spent(), (25, 0));
//! let broken = || Some(vec![Ok(Piece::Text("y")), Err(io::Error::other("reset"))]);
//! let keyed = Request { idempotency_key: Some("43"), ..request() };
//! assert_eq!(gateway.answer(&keyed, broken, &mut io::sink())?, 502);
//! # while gateway.ledger.health().queued > 0 { thread::yield_now() }
//! assert_eq!(spent(), (55, 0));
//! // Its key does not make another attempt free.
//! assert_eq!(gateway.answer(&keyed, whole, &mut io::sink())?, 502);
//! assert_eq!(spent(), (55, 0));
//!
//! // A client that goes before the usage was known is charged as well.
//! struct Gone;
//! # impl Write for Gone {
//! #     fn write(&mut self, _: &[u8]) -> io::Result<usize> {
//! #         Err(io::ErrorKind::BrokenPipe.into())
//! #     }
//! #     fn flush(&mut self) -> io::Result<()> { Ok(()) }
//! # }
//! assert_eq!(gateway.answer(&request(), whole, &mut Gone)?, 502);
//! # while gateway.ledger.health().queued > 0 { thread::yield_now() }
//! assert_eq!(spent(), (85, 0));
//! // It may pay to read the upstream to its end for such a client: usage comes last.
//!
//! // Without an estimate: one after another, each finds what the one before it has used.
//! engine.reset(&budget, None)?;
//! let one = || {
//!     let asks = Request { estimate: None, ..request() };
//!     gateway.answer(&asks, whole, &mut io::sink()).expect("an answer")
//! };
//! thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(one))));
//! // Four fill the budget; the others are denied. Nothing is overdrawn.
//! assert_eq!(spent(), (100, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [Pingora](pingora) has phases in place of a loop.

pub mod pingora;
