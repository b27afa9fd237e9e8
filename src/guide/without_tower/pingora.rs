//! How to link the engine in Pingora.
//!
//! Pingora calls the phases of a request one after another and hands each the same `ctx`. That is
//! where the charge lives: `ctx` is dropped when the request is over, however it ends. (Pingora is
//! no dependency of this crate: this is text, and what follows is the same with plain types.)
//!
//! ```text
//! #[async_trait]
//! impl ProxyHttp for Gateway {
//!     type CTX = Ctx;                                  // { charge: Option<Charge>, meter: Meter }
//!
//!     // Who asks, for what? Reserve, or answer and return true.
//!     async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool>
//!
//!     // May be called again, for another peer, after `fail_to_connect`: the hold stays.
//!     async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>>
//!
//!     // It is connected, and nothing is sent yet: mark_dispatched.
//!     async fn upstream_request_filter(&self, session: &mut Session, request: &mut RequestHeader,
//!         ctx: &mut Ctx) -> Result<()>
//!
//!     // Its status, and the quota fields of the answer.
//!     async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader,
//!         ctx: &mut Ctx) -> Result<()>
//!
//!     // Read what passes; extend; an error here stops the answer.
//!     fn response_body_filter(&self, session: &mut Session, body: &mut Option<Bytes>, end: bool,
//!         ctx: &mut Ctx) -> Result<Option<Duration>>
//!
//!     // Always called last, for clients that have gone too: end the charge, await the receipt.
//!     async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx)
//! }
//! ```
//!
//! Three things to know:
//!
//! - `error_while_proxy` retries by default on a reused connection that broke. A request that the
//!   upstream may have seen is not to be sent twice under one charge: `set_retry(false)` there.
//! - `request_filter` may `.await` a claim, a turn at the barrier and the body; do it there. Keep
//!   the lease and the permit in `ctx` too, declared after the charge: fields are dropped in their
//!   order, so the charge ends before the next call's turn begins.
//! - `response_body_filter` is not async, so the end of the answer does not wait for the record to
//!   be durable: a crash between the two loses the record of an answer that was given. Who must not
//!   lose it uses the layer, which holds the end of the answer back.
//!
//! ```
//! use tollkeeper::{
//!     Budget, Charge, Draft, Engine, Ledger, LimitId, MemoryLedger, Outcome, OwnerId, RateLimit,
//!     Settling, Usage,
//! };
//!
//! /// What Pingora's session is to this gateway.
//! struct Session {
//!     key: OwnerId,
//!     output_max: u64,
//!     status: Option<u16>,
//! }
//!
//! #[derive(Default)]
//! struct Ctx {
//!     charge: Option<Charge>,
//!     /// The tokens of output that are held, and those that have passed.
//!     held: u64,
//!     passed: u64,
//!     used: Option<Usage>,
//!     failed: bool,
//!     whole: bool,
//! }
//!
//! /// A piece of the upstream's body: so many tokens, and the usage if it tells.
//! struct Piece(u64, Option<Usage>);
//!
//! struct Gateway {
//!     ledger: Ledger,
//! }
//!
//! impl Gateway {
//!     fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> bool {
//!         let route = self.ledger.engine().route(&[session.key.clone()]);
//!         let estimate = tokens(session.output_max);
//!         match self.ledger.reserve(&route, &estimate, Draft::new().api_key(&session.key)) {
//!             Ok(charge) => (ctx.charge, ctx.held) = (Some(charge), session.output_max),
//!             Err(_denied) => session.status = Some(429),
//!         }
//!         ctx.charge.is_none()
//!     }
//!
//!     fn upstream_request_filter(&self, ctx: &mut Ctx) {
//!         ctx.charge.iter_mut().for_each(Charge::mark_dispatched);
//!     }
//!
//!     fn response_filter(&self, session: &mut Session, status: u16, ctx: &mut Ctx) {
//!         session.status = Some(status);
//!         ctx.failed = status >= 400;
//!     }
//!
//!     fn response_body_filter(
//!         &self,
//!         piece: &Piece,
//!         end: bool,
//!         ctx: &mut Ctx,
//!     ) -> Result<(), String> {
//!         let Piece(tokens, used) = piece;
//!         ctx.passed += tokens;
//!         ctx.used = used.or(ctx.used);
//!         ctx.whole = end;
//!         let more = ctx.passed.saturating_sub(ctx.held);
//!         let Some(charge) = ctx.charge.as_mut().filter(|_| more > 0) else { return Ok(()) };
//!         let more_usage = Usage { output_tokens: more, ..Usage::default() };
//!         charge.extend(&more_usage).map_err(|denied| denied.to_string())?;
//!         ctx.held += more;
//!         Ok(())
//!     }
//!
//!     /// Gives what Pingora's `logging` awaits. `None`: the charge is dropped with `ctx`, and
//!     /// what that means depends on whether it was dispatched.
//!     fn logging(&self, mut ctx: Ctx) -> Option<Settling> {
//!         let charge = ctx.charge.take_if(|charge| charge.is_dispatched())?;
//!         Some(match (ctx.whole, ctx.failed, ctx.used) {
//!             (true, false, Some(used)) => charge.settle(&used),
//!             (false, false, Some(used)) => charge.settle_partial(&used),
//!             (_, true, Some(used)) => charge.settle_failed(&used),
//!             (true, true, None) => charge.unbilled("the upstream failed"),
//!             (false, _, None) | (true, false, None) => return None,
//!         })
//!     }
//!
//!     /// The order in which Pingora calls the phases.
//!     fn proxy(
//!         &self,
//!         key: &OwnerId,
//!         connects: bool,
//!         (status, pieces): (u16, &[Piece]),
//!         goes_after: usize,
//!     ) -> Option<u16> {
//!         let mut ctx = Ctx::default();
//!         let mut session = Session { key: key.clone(), output_max: 100, status: None };
//!         if !self.request_filter(&mut session, &mut ctx) && connects {
//!             self.upstream_request_filter(&mut ctx);
//!             self.response_filter(&mut session, status, &mut ctx);
//!             for (n, piece) in pieces.iter().enumerate().take(goes_after) {
//!                 let end = n + 1 == pieces.len();
//!                 if self.response_body_filter(piece, end, &mut ctx).is_err() {
//!                     break;
//!                 }
//!             }
//!         }
//!         if let Some(settling) = self.logging(ctx) {
//!             settling.wait().expect("memory takes it");
//!         }
//!         session.status
//!     }
//! }
//!
//! fn tokens(output_tokens: u64) -> Usage {
//!     Usage { output_tokens, requests: 1, ..Usage::default() }
//! }
//!
//! let engine = Engine::new();
//! let key: OwnerId = "key:k1".parse()?;
//! engine.upsert_owner(&key, &[])?;
//! let day = RateLimit::new().tokens(1_000, "1d".parse()?);
//! engine.upsert_limit(&key, &LimitId::new("k1")?, day)?;
//! let gateway = Gateway { ledger: Ledger::builder(&engine).start(MemoryLedger::default())? };
//! let ask = |connects, status, pieces: &[Piece], goes_after| {
//!     let before = engine.usage(&LimitId::new("k1").expect("an id")).expect("it is there");
//!     let status = gateway.proxy(&key, connects, (status, pieces), goes_after);
//!     while gateway.ledger.health().queued > 0 {
//!         std::thread::yield_now();
//!     }
//!     let after = engine.usage(&before.limit).expect("it is there").counters[0];
//!     assert_eq!(after.held, 0, "whatever happens");
//!     (status, after.settled - before.counters[0].settled)
//! };
//! let answer = || [Piece(30, None), Piece(20, Some(tokens(50)))];
//!
//! assert_eq!(ask(true, 200, &answer(), 9), (Some(200), 50)); // whole
//! assert_eq!(ask(false, 0, &[], 9), (None, 0)); // never reached
//! assert_eq!(ask(true, 200, &answer(), 1), (Some(200), 100)); // gone, usage unknown: the hold
//! assert_eq!(ask(true, 500, &[Piece(0, None)], 9), (Some(500), 0)); // failed, not billed
//! assert_eq!(ask(true, 500, &[Piece(0, Some(tokens(7)))], 9), (Some(500), 7)); // and billed
//! let long = [Piece(90, None), Piece(90, None), Piece(20, Some(tokens(200)))];
//! assert_eq!(ask(true, 200, &long, 9), (Some(200), 200)); // twice extended
//! let told = [Piece(30, Some(tokens(30))), Piece(0, None)];
//! assert_eq!(ask(true, 200, &told, 1), (Some(200), 30)); // gone, usage known
//! // 613 are left. A stream that outgrows them is stopped, and charged what was held for it.
//! let endless: Vec<Piece> = (0..99).map(|_| Piece(100, None)).collect();
//! assert_eq!(ask(true, 200, &endless, 99), (Some(200), 600));
//! assert_eq!(ask(true, 200, &answer(), 9), (Some(429), 0)); // denied
//!
//! let records = gateway.ledger.records(&Default::default(), None, 99)?;
//! let of = |outcome| records.iter().filter(|stored| stored.record.outcome == outcome).count();
//! use Outcome::{Completed, Failed, Partial, Uncertain, Unbilled};
//! assert_eq!([Completed, Partial, Failed, Uncertain, Unbilled].map(of), [2, 1, 1, 2, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
