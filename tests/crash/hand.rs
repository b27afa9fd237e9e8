//! One thread of a child: takes step after step, and waits for some of what it has settled.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tollkeeper::{
    Draft, Fate, Outcome, OwnerId, Receipt, RecordId, ResolveError, Settling, Unreserved,
    UsageRecord,
};

use crate::child::{Crew, begin, say};
use crate::draw::Draw;
use crate::work::{End, Mark, REASON, Step};
use crate::world::{create, resettable};

pub struct Hand<'a> {
    crew: &'a Crew,
    thread: u64,
    number: u64,
    /// It waits for the oldest of these when there are more of them than that.
    pending: VecDeque<Pending>,
    depth: usize,
    /// Of whom nobody is told that they are written: looked for in the store once something later
    /// is acknowledged.
    uncertain: VecDeque<(Step, RecordId)>,
    /// The last that was acknowledged under its own id.
    acknowledged: Option<RecordId>,
}

struct Pending {
    number: u64,
    settling: Settling,
    expects: Expects,
}

enum Expects {
    Written,
    Duplicate,
    /// Windows that begin, as they are told to the parent.
    Windows(Vec<String>),
}

impl<'a> Hand<'a> {
    pub fn new(crew: &'a Crew, thread: u64) -> Hand<'a> {
        let mut draw = Draw::of(&[crew.job.work.seed, crew.job.round, thread]);
        let depth = [0, 1, 4, 16, 64][usize::try_from(draw.within(0..5)).expect("small")];
        Hand {
            crew,
            thread,
            number: 0,
            pending: VecDeque::new(),
            depth,
            uncertain: VecDeque::new(),
            acknowledged: None,
        }
    }

    /// Goes on until it is told to stop. Says which thread it was and how many steps it took.
    pub fn run(mut self) -> (u64, u64) {
        // Relaxed: one step more or less.
        while !self.crew.stopped.load(Ordering::Relaxed) {
            self.step();
            self.number += 1;
            while self.pending.len() > self.depth {
                self.wait_for_oldest();
            }
        }
        while !self.pending.is_empty() {
            self.wait_for_oldest();
        }
        (self.thread, self.number)
    }

    fn step(&mut self) {
        let Crew { job, ledger, world, .. } = self.crew;
        let step = job.work.step(job.round, self.thread, self.number);
        world.clock.advance(step.advance);
        match step.end {
            End::Reset => return self.reset(&step),
            End::ComeOrGo => return self.come_or_go(),
            _ => {}
        }
        let passing = self.crew.passing.lock().expect("no panic").clone();
        let passing = passing.filter(|_| step.wants_passing);
        let mark = Mark {
            round: job.round,
            thread: self.thread,
            number: self.number,
            passing: passing.clone(),
        };
        let mut draft = Draft::new().api_key(&step.api_key(passing.as_ref()));
        if let Some(upstream) = step.upstream() {
            draft = draft.upstream(&upstream);
        }
        let again = self.acknowledged.filter(|_| step.end == End::Again);
        if step.end == End::Again && again.is_none() {
            return;
        }
        let id = job.work.id(&mark);
        let draft = draft.model(mark.to_string()).id(again.unwrap_or(id));
        let route = world.engine.route(&step.owners(passing.as_ref()));
        if step.end == End::Record {
            let settling = ledger.record(&route, &step.used, draft);
            return self.sent(&step, settling, Expects::Written);
        }
        let mut charge = match ledger.reserve(&route, &step.estimate, draft) {
            Ok(charge) => charge,
            Err(Unreserved::Denied(_)) if step.may_be_denied() => return,
            Err(error) => return say(&format!("failed {mark}: {error}")),
        };
        if let Some(Err(denied)) = step.more.as_ref().map(|more| charge.extend(more)) {
            // An owner that has gone meanwhile.
            if passing.is_none() {
                say(&format!("failed {mark}: {denied}"));
            }
            return charge.void();
        }
        let settling = match step.end {
            End::Settle => charge.settle(&step.used),
            End::Partial => charge.settle_partial(&step.used),
            End::Failed => charge.settle_failed(&step.used),
            End::Unbilled => charge.unbilled(REASON),
            End::Again => {
                return self.sent(&step, charge.settle(&step.used), Expects::Duplicate);
            }
            End::Uncertain => {
                charge.mark_dispatched();
                drop(charge);
                return self.uncertain.push_back((step, id));
            }
            End::Void => return charge.void(),
            End::Abandon | End::Record | End::Reset | End::ComeOrGo => return,
        };
        self.sent(&step, settling, Expects::Written);
    }

    fn sent(&mut self, step: &Step, settling: Settling, expects: Expects) {
        if step.forgotten {
            return settling.forget();
        }
        self.pending.push_back(Pending { number: step.number, settling, expects });
    }

    fn reset(&mut self, step: &Step) {
        let (begun, settling) = begin(self.crew, &resettable(step.number));
        let expects = Expects::Windows(begun);
        self.pending.push_back(Pending { number: step.number, settling, expects });
    }

    fn come_or_go(&self) {
        let Crew { job, ledger, world, passing, .. } = self.crew;
        let there = passing.lock().expect("no panic").clone();
        let Some(there) = there else {
            let new = format!("key:p{}-{}", job.round, self.number);
            let new = crate::world::owner(&new);
            create(&world.engine, &new);
            *passing.lock().expect("no panic") = Some(new);
            return;
        };
        // The others may go on trying to use it.
        if self.number.is_multiple_of(2) {
            *passing.lock().expect("no panic") = None;
        }
        // A store that fails has changed nothing, or its answer is lost: asked again until it
        // answers, now and then so late that the others have settled meanwhile.
        let pause = if self.number.is_multiple_of(3) { 400 } else { 5 };
        while ledger.remove_owner(&there).is_err() {
            thread::sleep(Duration::from_millis(pause));
        }
        *passing.lock().expect("no panic") = None;
        say(&format!("gone {there}"));
    }

    fn wait_for_oldest(&mut self) {
        let Some(Pending { number, settling, expects }) = self.pending.pop_front() else { return };
        let receipt = match settling.wait() {
            Ok(receipt) => receipt,
            Err(error) => return say(&format!("failed to settle {number}: {error}")),
        };
        match (&expects, receipt.fate) {
            (Expects::Windows(begun), _) => begun.iter().for_each(|begun| say(begun)),
            (Expects::Written, Fate::Now | Fate::Before) => self.written(&receipt),
            (Expects::Duplicate, Fate::Duplicate) => {}
            (Expects::Written, Fate::Duplicate) => say(&format!("failed: unwritten {receipt:?}")),
            (Expects::Duplicate, _) => say(&format!("failed: written again {receipt:?}")),
        }
        while self.uncertain.front().is_some_and(|(step, _)| step.number < number) {
            let Some((step, id)) = self.uncertain.pop_front() else { return };
            if !self.look_for(&step, id) {
                return self.uncertain.push_front((step, id));
            }
        }
    }

    fn written(&mut self, receipt: &Receipt) {
        if receipt.fate == Fate::Before {
            say("recognised");
        }
        let Some(record) = &receipt.record else { return };
        acknowledge(record);
        // One that was not billed leaves its id free.
        if !matches!(record.outcome, Outcome::Unbilled | Outcome::Correction) {
            self.acknowledged = Some(record.id);
        }
    }

    /// What was dropped is queued like all else: before what is settled later. False if the store
    /// does not answer.
    fn look_for(&mut self, step: &Step, id: RecordId) -> bool {
        match self.crew.ledger.get(id) {
            Ok(Some(stored)) => acknowledge(&stored.record),
            Ok(None) => say(&format!("failed: the uncertain record {id} is not there")),
            Err(_) => return false,
        }
        let Some(later) = &step.later else { return true };
        match self.crew.ledger.resolve(id, later) {
            Ok(settling) => self.sent(step, settling, Expects::Written),
            Err(ResolveError::Store { .. }) => {}
            Err(error) => say(&format!("failed: {error}")),
        }
        true
    }
}

/// Says that a record is acknowledged.
fn acknowledge(record: &UsageRecord) {
    let (key, upstream) = (&record.api_key, &record.upstream);
    let (id, key, upstream) = (record.id, name(key.as_ref()), name(upstream.as_ref()));
    say(&format!("written {id} {key} {upstream} {}", rest(record)));
}

fn name(owner: Option<&OwnerId>) -> &str {
    owner.map_or("-", OwnerId::as_str)
}

/// All of a record but its references.
pub fn rest(record: &UsageRecord) -> String {
    format!("{:?}", UsageRecord { api_key: None, upstream: None, ..record.clone() })
}
