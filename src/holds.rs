//! What a reservation holds: an amount in a window, for each counter on its route.
//!
//! A request is the same amount to all counters that measure it alike, so it is kept once for each
//! measure, and for each counter only the window. A reservation is less than three cache lines by
//! that, and is moved at every turn of a request's way. What does not fit this form (a long route,
//! tokens that are weighed in more than two ways, a reservation that was extended over the end of a
//! window) is listed counter by counter.
//!
//! # Limits
//!
//! A window is remembered by the lower half of its generation. To be mistaken for another one, a
//! reservation would have to live for a multiple of 2^32 windows to the window: 49 days of windows
//! of a millisecond, 136 years of those of a second.

use smallvec::SmallVec;

use crate::entry::{Hold, Posted};
use crate::measure::{Amounts, KNOWN, Measure};

/// As many counters as a route of eight owners with a budget and a rate limit each has.
const FEW: usize = 24;

/// What a reservation holds, in the order of its route.
///
/// Holds are taken in the order of the route and settled in the opposite one. Either form knows how
/// many there are at the moment, because a user's clock may be asked on the way and may panic.
pub(crate) enum Holds {
    Alike(Alike),
    Each(Vec<Held>),
}

/// The usual form.
pub(crate) struct Alike {
    windows: [u32; FEW],
    amounts: [u64; KNOWN],
    /// A bit for each counter that nothing is held on, because its limit did not have it any more.
    without: u32,
    /// So many counters are held on: the first ones of the route.
    held: u8,
}

/// What is held on one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) hold: Hold,
    /// Held before in windows that ended, and booked there.
    pub(crate) earlier: u64,
}

/// Holds taken one after the other on a route.
pub(crate) type Taken = SmallVec<[Hold; FEW]>;

/// By what the counters of a route measure, in its order.
pub(crate) type Measures = SmallVec<[Measure; FEW]>;

impl Default for Holds {
    /// Nothing held on no counter.
    #[inline]
    fn default() -> Self {
        let (windows, amounts) = ([0; FEW], [0; KNOWN]);
        Holds::Alike(Alike { windows, amounts, without: 0, held: 0 })
    }
}

impl Alike {
    /// Holds on further counters by `hold`, as far as it does: of an amount of a measure, in a
    /// window that it returns.
    #[inline(always)]
    pub(crate) fn begin<T>(
        &mut self,
        counters: &[T],
        measure: impl Fn(&T) -> Measure,
        hold: impl Fn(&T, u64) -> Option<Hold>,
    ) {
        let Self { windows, amounts, held, .. } = self;
        let mut place = *held;
        let first = usize::from(place);
        for (counter, window) in counters[first..].iter().zip(&mut windows[first..]) {
            let Some(&amount) = amounts.get(measure(counter).place()) else { break };
            let Some(hold) = hold(counter, amount) else { break };
            *window = hold.window;
            place += 1;
        }
        *held = place;
    }

    /// Ends holds by `end`, the last one first, as far as it does: of what is held, by the amount
    /// of the same measure in `used`.
    #[inline(always)]
    pub(crate) fn end<T>(
        &mut self,
        counters: &[T],
        used: &[u64; KNOWN],
        measure: impl Fn(&T) -> Measure,
        end: impl Fn(&T, Hold, u64) -> bool,
    ) {
        let Self { windows, amounts, held, .. } = self;
        let mut left = *held;
        let all = usize::from(left);
        for (counter, &window) in counters[..all].iter().zip(&windows[..all]).rev() {
            let measure = measure(counter).place();
            let (Some(&amount), Some(&used)) = (amounts.get(measure), used.get(measure)) else {
                break;
            };
            if !end(counter, Hold { window, amount }, used) {
                break;
            }
            left -= 1;
        }
        *held = left;
    }

    fn hold(&self, place: usize, measure: Measure) -> Hold {
        let without = self.without & 1 << place != 0;
        let amount = if without { 0 } else { self.amounts[measure.place()] };
        Hold { window: self.windows[place], amount }
    }

    /// Whether it is in this window that something may be held on the counter at `place`.
    fn has(&self, place: usize, window: u32) -> bool {
        self.without & 1 << place == 0 && self.windows[place] == window
    }
}

impl Holds {
    /// Prepares for what is held of these amounts on a route of so many counters.
    #[inline]
    pub(crate) fn prepare(&mut self, counters: usize, amounts: &Amounts) {
        match (self, amounts.known()) {
            (Holds::Alike(alike), Some(known)) if counters <= FEW => alike.amounts = known,
            (holds, _) => {
                *holds = Holds::Each(Vec::with_capacity(counters));
            }
        }
    }

    /// How many counters are held on.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Holds::Alike(alike) => alike.held.into(),
            Holds::Each(each) => each.len(),
        }
    }

    /// Adds the hold on the next counter, of all that it was asked for.
    pub(crate) fn add(&mut self, hold: Hold) {
        match self {
            Holds::Alike(alike) => {
                alike.windows[usize::from(alike.held)] = hold.window;
                alike.held += 1;
            }
            Holds::Each(each) => each.push(Held { hold, earlier: 0 }),
        }
    }

    /// Adds that nothing is held on the next counter: its limit does not have it any more.
    pub(crate) fn add_nothing(&mut self) {
        if let Holds::Alike(alike) = self {
            alike.without |= 1 << alike.held;
        }
        self.add(Hold::NONE);
    }

    /// Takes note that the hold on the last counter is ended.
    pub(crate) fn end_last(&mut self) {
        match self {
            Holds::Alike(alike) => alike.held -= 1,
            Holds::Each(each) => each.truncate(each.len() - 1),
        }
    }

    /// Takes note that no holds are left.
    pub(crate) fn end_all(&mut self) {
        match self {
            Holds::Alike(alike) => alike.held = 0,
            Holds::Each(each) => each.clear(),
        }
    }

    /// Takes note that nothing is held on the counter at `place` any more.
    #[cfg(feature = "ledger")]
    pub(crate) fn release(&mut self, place: usize) {
        match self {
            Holds::Alike(alike) => alike.without |= 1 << place,
            Holds::Each(each) => each[place] = Held { hold: Hold::NONE, earlier: 0 },
        }
    }

    /// Whether all counters hold the same amount of their measure in one window.
    #[inline]
    pub(crate) fn alike(&mut self) -> Option<&mut Alike> {
        match self {
            Holds::Alike(alike) if alike.without == 0 => Some(alike),
            _ => None,
        }
    }

    /// What is held on the counter at `place`.
    pub(crate) fn held(&self, place: usize, measure: Measure) -> Held {
        match self {
            Holds::Alike(alike) => Held { hold: alike.hold(place, measure), earlier: 0 },
            Holds::Each(each) => each[place],
        }
    }

    /// The windows of the first `counters`.
    #[cfg(test)]
    pub(crate) fn windows(&self, counters: usize) -> Vec<u32> {
        match self {
            Holds::Alike(alike) => alike.windows[..counters].into(),
            Holds::Each(each) => each.iter().map(|held| held.hold.window).collect(),
        }
    }

    /// Adds what was taken on top, on each counter of the route in their order, of `more` by their
    /// measure.
    pub(crate) fn extend(&mut self, measures: &[Measure], more: &Amounts, taken: &Taken) {
        if let (Holds::Alike(alike), Some(known)) = (&mut *self, more.known()) {
            let on_top = |(place, &measure): (usize, &Measure)| {
                let asked = more.of(measure);
                asked == 0
                    || (taken[place].amount == asked && alike.has(place, taken[place].window))
            };
            if measures.iter().enumerate().all(on_top) {
                let amounts = alike.amounts.iter_mut().zip(known);
                amounts.for_each(|(amount, more)| *amount = amount.saturating_add(more));
                return;
            }
        }
        let held = |(place, &measure)| self.held(place, measure).extended(taken[place]);
        *self = Holds::Each(measures.iter().enumerate().map(held).collect());
    }
}

impl Held {
    fn extended(self, more: Hold) -> Held {
        let Held { hold, earlier } = self;
        if more.amount == 0 {
            self
        } else if hold.window == more.window {
            let amount = hold.amount + more.amount;
            Held { hold: Hold { amount, ..hold }, earlier }
        } else {
            Held { hold: more, earlier: earlier.saturating_add(hold.amount) }
        }
    }

    /// Held in all windows.
    pub(crate) fn total(&self) -> u64 {
        self.hold.amount.saturating_add(self.earlier)
    }

    /// What is booked of it in all windows once `last` is: where a window is over, what was held in
    /// it stays booked.
    pub(crate) fn booked(&self, last: &Posted) -> u64 {
        let stays = if last.late { self.total() } else { self.earlier };
        last.amount.saturating_add(stays)
    }
}
