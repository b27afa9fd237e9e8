//! What one request is to the counters on its route: worked out once for the request, and not once
//! for each counter.

use smallvec::SmallVec;

use crate::plan::CounterPlan;
use crate::units::{Dimension, TokenWeights, Usage};

/// Which of a request's amounts a counter counts: its place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measure(u32);

const MONEY: usize = 0;
const REQUESTS: usize = 1;
const IN_FLIGHT: usize = 2;
/// Tokens by the first scale, and behind it by the others.
const TOKENS: usize = 3;
/// So many amounts are worked out beforehand: of tokens by two scales.
pub(crate) const KNOWN: usize = TOKENS + 2;

/// The weights that tokens have on a route, each once.
#[derive(Default, PartialEq)]
pub(crate) struct Scales(SmallVec<[TokenWeights; 1]>);

/// A request's amounts on a route of these scales.
pub(crate) struct Amounts<'a> {
    /// Nearly every route weighs tokens in one way or two; what weighs them in others is weighed
    /// when it is asked for.
    known: [u64; KNOWN],
    usage: &'a Usage,
    scales: &'a Scales,
}

impl Scales {
    /// The measure of a counter.
    pub(crate) fn measure(&mut self, plan: &CounterPlan) -> Measure {
        let place = match plan.dimension {
            Dimension::Money => MONEY,
            Dimension::Requests => REQUESTS,
            Dimension::InFlight => IN_FLIGHT,
            Dimension::Tokens => {
                let known = self.0.iter().position(|weights| *weights == plan.weights);
                let scale = known.unwrap_or_else(|| {
                    self.0.push(plan.weights);
                    self.0.len() - 1
                });
                TOKENS + scale
            }
        };
        Measure(u32::try_from(place).expect("a route has fewer counters than that"))
    }

    /// What a request of this estimate holds.
    #[inline]
    pub(crate) fn estimate<'a>(&'a self, usage: &'a Usage) -> Amounts<'a> {
        self.amounts(usage, 1)
    }

    /// What a request of this usage is booked for. Nothing is booked in flight.
    #[inline]
    pub(crate) fn actual<'a>(&'a self, usage: &'a Usage) -> Amounts<'a> {
        self.amounts(usage, 0)
    }

    #[inline]
    fn amounts<'a>(&'a self, usage: &'a Usage, in_flight: u64) -> Amounts<'a> {
        let tokens = |scale: usize| self.0.get(scale).map_or(0, |weights| weigh(weights, usage));
        let known = [usage.cost.as_nanos(), usage.requests, in_flight, tokens(0), tokens(1)];
        Amounts { known, usage, scales: self }
    }
}

impl Measure {
    /// The place of its amount among those that are known.
    #[inline(always)]
    pub(crate) fn place(self) -> usize {
        self.0 as usize
    }
}

impl Amounts<'_> {
    /// The amounts that are known, by their places.
    #[inline]
    pub(crate) fn first(&self) -> &[u64; KNOWN] {
        &self.known
    }

    /// The same, if there are no others on the route.
    #[inline]
    pub(crate) fn known(&self) -> Option<[u64; KNOWN]> {
        (self.scales.0.len() <= KNOWN - TOKENS).then_some(self.known)
    }

    /// The amount of a measure of the same route.
    #[inline(always)]
    pub(crate) fn of(&self, measure: Measure) -> u64 {
        match self.known.get(measure.place()) {
            Some(&amount) => amount,
            None => self.weighed_otherwise(measure),
        }
    }

    #[cold]
    #[inline(never)]
    fn weighed_otherwise(&self, measure: Measure) -> u64 {
        weigh(&self.scales.0[measure.place() - TOKENS], self.usage)
    }
}

/// More tokens than 64 bits hold are more than any counter counts.
fn weigh(weights: &TokenWeights, usage: &Usage) -> u64 {
    weights.weigh(usage).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(tollkeeper_loom)))]
mod tests {
    use super::*;
    use crate::time::Period;
    use crate::units::Money;

    #[test]
    fn each_counter_has_its_amount_however_many_weights_a_route_has() {
        let weights = |input| TokenWeights { input, ..TokenWeights::default() };
        let plan = |dimension, weights| {
            CounterPlan::new(dimension, None, &Period::NEVER, weights, &[]).expect("a definition")
        };
        let mut scales = Scales::default();
        let tokens: Vec<Measure> = [1_000, 2_000, 500, 2_000]
            .map(|input| scales.measure(&plan(Dimension::Tokens, weights(input))))
            .into();
        let other = [Dimension::Money, Dimension::Requests, Dimension::InFlight]
            .map(|dimension| scales.measure(&plan(dimension, TokenWeights::default())));

        let cost = Money::from_nanos(7).expect("a small amount");
        let usage = Usage { input_tokens: 30, requests: 2, cost, ..Usage::default() };
        let estimate = scales.estimate(&usage);
        assert_eq!(tokens.iter().map(|&m| estimate.of(m)).collect::<Vec<_>>(), [30, 60, 15, 60]);
        assert_eq!(other.map(|m| estimate.of(m)), [7, 2, 1]);
        assert_eq!(other.map(|m| scales.actual(&usage).of(m)), [7, 2, 0]);
        let absurd = Usage { input_tokens: u64::MAX, ..usage };
        assert_eq!(scales.actual(&absurd).of(tokens[1]), u64::MAX);
    }
}
