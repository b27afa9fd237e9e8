//! How to make it durable, and charge a retried request once.
//!
//! # The ledger
//!
//! A [`Ledger`](crate::Ledger) writes what a request used before the engine books it, and restores
//! what is open when it starts. Reserve through it instead of the engine; what it returns is a
//! [`Charge`](crate::Charge), which ends as a reservation does and leaves a record of it:
//!
//! - It succeeded: [`settle`](crate::Charge::settle). Recorded as completed.
//! - It broke off, because the client went away or the stream ended early:
//!   [`settle_partial`](crate::Charge::settle_partial). Tokens and money are charged, no request.
//! - It failed and is billed all the same: [`settle_failed`](crate::Charge::settle_failed). So is
//!   that.
//! - It was not billed: [`unbilled`](crate::Charge::unbilled), with a reason. Nothing is charged.
//! - Nobody knows: drop it. It is recorded as uncertain, and what was held is charged.
//!
//! What `settle` returns is waited for by a task (`.await`) or by a thread (`.wait()`), until the
//! record is on the disk. Dropping it is fire and forget: the record is written all the same, and a
//! crash before that loses it. [`Ledger::resolve`](crate::Ledger::resolve) settles an uncertain
//! record when its usage is known after all; [`Ledger::records`](crate::Ledger::records) finds it.
//!
//! While the store is down, requests go on: what they use is booked in memory and waits in the
//! outbox, which [`Ledger::health`](crate::Ledger::health) shows. When the outbox is full,
//! admissions are refused ([`Unreserved::OutboxFull`](crate::Unreserved)), never settlements. Call
//! [`Ledger::close`](crate::Ledger::close) when the gateway shuts down; it says what it could not
//! write.
//!
//! Call [`Ledger::reconcile`](crate::Ledger::reconcile) every few seconds where several processes
//! share a store, and now and then where one does not. Blocking calls (all that return a
//! [`StoreError`](crate::StoreError)) belong on a thread that may block.
//!
//! # Idempotency keys
//!
//! [`Idempotency::run`](crate::Idempotency::run) executes a request once for each key of a client,
//! and hands out the first answer from then on. The attempt has a
//! [`charge`](crate::Attempt::charge) id: give it to the draft, and the ledger writes one record
//! for the key, however often the request is tried, by whichever process. Two things follow:
//!
//! - A request that failed and was billed all the same is not to be tried again for free: let the
//!   execution end with `Ok` and the answer that says how it failed, which is replayed then.
//! - An attempt that broke off after the upstream was called has left an uncertain record under
//!   that id, of what was held: of nothing, where there was no estimate. When the receipt of the
//!   next one says [`Fate::Duplicate`](crate::Fate::Duplicate), give what it used to
//!   [`Ledger::resolve`](crate::Ledger::resolve): an uncertain record is charged by it, and any
//!   other is refused, because it was charged already.
//!
//! # The barrier
//!
//! A request that cannot be estimated cannot be held either. [`Barrier::run`](crate::Barrier::run)
//! lets such calls of one user in one after another, so that each finds what the one before it has
//! used. Both it and the keys run what they are given in a task of their own, spawned by the
//! function that you give them: a client that goes away does not stop a call that has begun.
//!
//! # All of it
//!
//! ```
//! use std::time::Duration;
//! use tollkeeper::{
//!     Attempt, Barrier, Budget, Draft, Engine, Fingerprint, Idempotency, Ledger, LimitId,
//!     MemoryKeys, MemoryLedger, OwnerId, Ran, Scope, Usage,
//! };
//!
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! let engine = Engine::new();
//! let key: OwnerId = "key:k1".parse()?;
//! engine.upsert_owner(&key, &[])?;
//! engine.upsert_limit(&key, &LimitId::new("k1")?, Budget::new("$5".parse()?, "1M".parse()?))?;
//!
//! // `Sqlite::open("usage.sqlite")?` or `Postgres::connect(url)?` in place of the two in memory.
//! let ledger = Ledger::builder(&engine).start(MemoryLedger::default())?;
//! let keys = Idempotency::builder(|task| { tokio::spawn(task); }).start(MemoryKeys::new(10_000))?;
//! let barrier = Barrier::builder(|task| { tokio::spawn(task); }).start()?;
//!
//! // A request with the key "42" comes, and is sent again by its client.
//! let scope = Scope::new("tenant-1", "chat", "42")?;
//! let body = br#"{"model":"m1","messages":[]}"#;
//! let asked = Fingerprint::of(&[b"POST", b"/v1/chat/completions", body]);
//! let (ours, owner) = (ledger.clone(), key.clone());
//! let execute = move |attempt: Attempt| {
//!     let (ledger, barrier, key) = (ours.clone(), barrier.clone(), owner.clone());
//!     async move {
//!         // Nothing is known of what it will cost.
//!         let answer = barrier.run(&key.clone(), None, move |_permit| async move {
//!             let route = ledger.engine().route(&[key.clone()]);
//!             let draft = Draft::new().id(attempt.charge()).api_key(&key).model("m1");
//!             let mut charge = ledger
//!                 .reserve(&route, &Usage::default(), draft)
//!                 .map_err(|e| e.to_string())?;
//!             charge.mark_dispatched();
//!             // … the upstream is called, and answers …
//!             let cost = "$0.013".parse().expect("money");
//!             let used = Usage { requests: 1, cost, ..Usage::default() };
//!             charge.settle(&used).await.map_err(|e| e.to_string())?;
//!             Ok::<_, String>(b"the answer".to_vec())
//!         });
//!         answer.await.map_err(|e| e.to_string())?
//!     }
//! };
//! let wait = Duration::from_secs(30);
//! let first = keys.run(&scope, asked, wait, execute.clone()).await?;
//! let again = keys.run(&scope, asked, wait, execute).await?;
//! assert_eq!(first, Ran::Fresh(b"the answer"[..].into()));
//! assert_eq!(again, Ran::Replayed(b"the answer"[..].into()));
//!
//! let used = engine.usage(&LimitId::new("k1")?).expect("it was created above");
//! assert_eq!(used.counters[0].settled, 13_000_000, "charged once, in nano-units");
//! assert!(ledger.close(Duration::from_secs(5)).is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
