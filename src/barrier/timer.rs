//! Ends the waits whose time is up.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, Thread};

use parking_lot::Mutex;

use super::room::Room;
use crate::sync::Arc;
use crate::time::Timestamp;

/// Ends the waits whose time is up, when it is [turned](Self::turn). A barrier that was
/// [started](super::BarrierBuilder::start) has a thread that does that; whoever made a barrier
/// [by hand](super::BarrierBuilder::by_hand) does it themselves.
pub struct BarrierTimer {
    room: Arc<Room>,
}

impl BarrierTimer {
    pub(super) fn new(room: Arc<Room>) -> BarrierTimer {
        BarrierTimer { room }
    }

    /// Ends every wait whose deadline is at `now` or before it, also of calls that nobody polls,
    /// and lets the next calls have their turn. Returns the earliest deadline that remains.
    ///
    /// It costs a lock for each of the shards, and what ends.
    pub fn turn(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.room.queues.expire(now)
    }

    /// Turns the timer in a thread of its own, until the barrier is dropped.
    pub(super) fn start(self) -> io::Result<()> {
        let room = Arc::clone(&self.room);
        let thread = thread::Builder::new()
            .name("tollkeeper-barrier".to_owned())
            .spawn(move || self.turn_on_and_on())?;
        room.bell.attach(thread.thread().clone());
        Ok(())
    }

    fn turn_on_and_on(mut self) {
        while let Some(listening) = self.room.bell.listen() {
            let now = self.room.now();
            // Who is woken is somebody else's code. If that panics, the timer looks again at once,
            // and does not meet that one again.
            let turned = catch_unwind(AssertUnwindSafe(|| self.turn(now)));
            let next = turned.unwrap_or(Some(now)).unwrap_or(Timestamp::MAX);
            let until = self.room.bell.sleep_until(listening, next);
            thread::park_timeout(until.saturating_since(self.room.now()));
        }
    }
}

/// Wakes the timer's thread before its time.
pub(super) struct Bell(Mutex<Sleep>);

struct Sleep {
    /// The thread turns the timer at this instant at the latest.
    until: Timestamp,
    /// None if the timer is turned by hand.
    thread: Option<Thread>,
    over: bool,
}

/// The thread has asked to be told of every deadline that is new from now on.
pub(super) struct Listening;

impl Bell {
    pub(super) fn new() -> Bell {
        Bell(Mutex::new(Sleep { until: Timestamp::MAX, thread: None, over: false }))
    }

    fn attach(&self, thread: Thread) {
        // Nothing has rung yet: the barrier is not given out before.
        self.0.lock().thread = Some(thread);
    }

    /// There is a deadline, kept where the timer looks for it.
    pub(super) fn ring(&self, deadline: Timestamp) {
        let mut sleep = self.0.lock();
        if deadline < sleep.until {
            sleep.until = deadline;
            if let Some(thread) = &sleep.thread {
                thread.unpark();
            }
        }
    }

    /// The barrier is dropped.
    pub(super) fn end(&self) {
        let mut sleep = self.0.lock();
        sleep.over = true;
        if let Some(thread) = &sleep.thread {
            thread.unpark();
        }
    }

    /// Before the timer looks: what is new from here on rings. `None` if it is over.
    fn listen(&self) -> Option<Listening> {
        let mut sleep = self.0.lock();
        sleep.until = Timestamp::MAX;
        (!sleep.over).then_some(Listening)
    }

    /// After it has looked: until when to sleep, given the next deadline that it saw.
    fn sleep_until(&self, _: Listening, next: Timestamp) -> Timestamp {
        let mut sleep = self.0.lock();
        sleep.until = sleep.until.min(next);
        sleep.until
    }
}
