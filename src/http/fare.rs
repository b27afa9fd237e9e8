//! What a request under way owes.

use http::StatusCode;

use super::booking::{Booking, Rest};
use crate::ledger::Charge;
use crate::task::Spawn;
use crate::telemetry::{Ended, Phase, Stopwatch, ended};
use crate::units::{Money, Price, Usage};

/// What an admitted request owes: its charge, the price it was estimated by and is settled by, and
/// what waits for its record. One that is dropped after its dispatch is charged what it held.
pub(super) struct Fare {
    /// `None` once it has ended.
    charge: Option<Charge>,
    price: Option<Price>,
    rest: Rest,
    spawn: Spawn,
    operation: &'static str,
    watch: Stopwatch,
}

/// How a request ended, with the tokens it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Completed(Usage),
    Partial(Usage),
    Failed(Usage),
    /// Not billed: the upstream answered with this status.
    Unbilled(StatusCode),
    /// The upstream was never reached.
    Unreached,
    Uncertain,
}

impl Fare {
    pub(super) fn new(
        charge: Charge,
        price: Option<Price>,
        rest: Rest,
        spawn: Spawn,
        operation: &'static str,
    ) -> Self {
        let watch = Stopwatch::start();
        Self { charge: Some(charge), price, rest, spawn, operation, watch }
    }

    /// The upstream is about to be called.
    pub(super) fn dispatch(&mut self) {
        if let Some(charge) = &mut self.charge {
            charge.mark_dispatched();
        }
    }

    /// Ends it. What is returned is waited for, or let go.
    pub(super) fn end(mut self: Box<Self>, verdict: Verdict) -> Booking {
        let charge = self.charge.take().expect("only what consumes a fare takes its charge");
        self.close(charge, verdict)
    }

    fn close(&mut self, charge: Charge, verdict: Verdict) -> Booking {
        // What costs more than can be counted is not known.
        let price = self.price;
        let used_for = |tokens, requests| priced(price.as_ref(), tokens, requests);
        let used = match verdict {
            Verdict::Completed(tokens) | Verdict::Partial(tokens) => used_for(tokens, 1),
            Verdict::Failed(tokens) => used_for(tokens, 0),
            _ => None,
        };
        let (end, settling) = match (verdict, &used) {
            (Verdict::Completed(_), Some(used)) => (Ended::Settled, Some(charge.settle(used))),
            (Verdict::Partial(_), Some(used)) => {
                (Ended::Partial, Some(charge.settle_partial(used)))
            }
            (Verdict::Failed(_), Some(used)) => (Ended::Failed, Some(charge.settle_failed(used))),
            (Verdict::Unbilled(status), _) => {
                let reason = format!("the upstream answered {}", status.as_u16());
                (Ended::Unbilled, Some(charge.unbilled(reason)))
            }
            (Verdict::Unreached, _) => {
                charge.void();
                (Ended::Void, None)
            }
            _ => (Ended::Uncertain, Some(charge.uncertain())),
        };
        self.watch.took(self.operation, Phase::Upstream);
        ended(self.operation, end, used.as_ref());
        let mut rest = std::mem::take(&mut self.rest);
        rest.operation = Some((self.operation, self.watch));
        Booking::new(settling, rest, self.spawn.clone())
    }
}

impl Drop for Fare {
    fn drop(&mut self) {
        if let Some(charge) = self.charge.take() {
            let reached = charge.is_dispatched();
            let verdict = if reached { Verdict::Uncertain } else { Verdict::Unreached };
            drop(self.close(charge, verdict));
        }
    }
}

/// What one request with so many tokens may come to. What of its input is written to a cache, or
/// read from one, is not known before, and may cost more than other input.
pub(super) fn estimated(price: Option<&Price>, tokens: Usage) -> Option<Usage> {
    let mut estimate = priced(price, tokens, 1)?;
    let input_tokens = 0;
    let written = tokens.cache_write_tokens.checked_add(tokens.input_tokens)?;
    let read = tokens.cached_tokens.checked_add(tokens.input_tokens)?;
    for otherwise in [
        Usage { input_tokens, cache_write_tokens: written, ..tokens },
        Usage { input_tokens, cached_tokens: read, ..tokens },
    ] {
        estimate.cost = estimate.cost.max(priced(price, otherwise, 1)?.cost);
    }
    Some(estimate)
}

/// What tokens and requests come to, money included. `None` if it is more than can be counted.
pub(super) fn priced(price: Option<&Price>, tokens: Usage, requests: u64) -> Option<Usage> {
    let mut usage = Usage { requests, cost: Money::ZERO, ..tokens };
    if let Some(price) = price {
        usage.cost = price.cost(&usage).ok()?;
    }
    Some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client decides what of its input is written to a cache.
    #[test]
    fn an_estimate_is_not_below_what_a_cache_costs() {
        let [two, three] = [2, 3].map(Money::from_units);
        let tokens = Usage { input_tokens: 1_000_000, ..Usage::default() };
        let cost = |price: Price| estimated(Some(&price), tokens).unwrap().cost;
        assert_eq!(cost(Price::per_million(two, two)), two);
        assert_eq!(cost(Price::per_million(two, two).cache_write(three)), three);
        assert_eq!(cost(Price::per_million(two, two).cached(three)), three);
        assert_eq!(cost(Price::per_million(three, two).cached(two).cache_write(two)), three);
    }
}
