//! An executor in virtual time: tasks are polled by hand, timers are a queue.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::dice::Dice;

pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
pub type TaskId = u64;

/// The tasks that were woken, of all nodes.
#[derive(Default)]
struct Woken(Mutex<BTreeSet<TaskId>>);

struct Bell {
    task: TaskId,
    woken: Arc<Woken>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.woken.0.lock().expect("no panic under it").insert(self.task);
    }
}

struct Task {
    home: Home,
    name: String,
    work: Work,
}

/// Which life of which node a task belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Home {
    pub node: usize,
    pub life: u64,
}

#[derive(Default)]
pub struct Tasks {
    last: TaskId,
    tasks: BTreeMap<TaskId, Task>,
    woken: Arc<Woken>,
}

impl Tasks {
    pub fn spawn(&mut self, home: Home, name: String, work: Work) -> TaskId {
        self.last += 1;
        self.tasks.insert(self.last, Task { home, name, work });
        self.woken.0.lock().expect("no panic under it").insert(self.last);
        self.last
    }

    /// Polls one task that was woken, any of those whose home may run. False if there is none.
    pub fn poll_one(&mut self, dice: &Mutex<Dice>, may_run: impl Fn(Home) -> bool) -> bool {
        let ready: Vec<TaskId> = {
            let mut woken = self.woken.0.lock().expect("no panic under it");
            woken.retain(|task| self.tasks.contains_key(task));
            woken.iter().copied().filter(|task| may_run(self.tasks[task].home)).collect()
        };
        if ready.is_empty() {
            return false;
        }
        let id = *dice.lock().expect("no panic under it").pick(&ready);
        self.woken.0.lock().expect("no panic under it").remove(&id);
        let waker = Waker::from(Arc::new(Bell { task: id, woken: Arc::clone(&self.woken) }));
        // Taken out while it runs, so that what it drops does not meet it.
        let Some(mut task) = self.tasks.remove(&id) else { return true };
        match task.work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => {}
            Poll::Pending => {
                self.tasks.insert(id, task);
            }
        }
        true
    }

    /// Drops a task where it waits. Returns its name, if it was not over.
    pub fn cancel(&mut self, id: TaskId) -> Option<String> {
        self.tasks.remove(&id).map(|task| task.name)
    }

    /// Drops all tasks of one life of a node.
    pub fn drop_all(&mut self, home: Home) {
        let gone: Vec<TaskId> = self.of(home).collect();
        for id in gone {
            self.tasks.remove(&id);
        }
    }

    fn of(&self, home: Home) -> impl Iterator<Item = TaskId> + '_ {
        self.tasks.iter().filter(move |(_, task)| task.home == home).map(|(id, _)| *id)
    }

    /// What is not over.
    pub fn names(&self) -> Vec<&str> {
        self.tasks.values().map(|task| task.name.as_str()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

/// What happens when a time comes: a task is woken, or the world does something.
pub enum Due<E> {
    Wake(Waker),
    Event(E),
}

/// What is due, in the order of time, and of asking where times are equal.
pub struct Timers<E> {
    asked: u64,
    due: BTreeMap<(u64, u64), Due<E>>,
}

impl<E> Timers<E> {
    pub fn new() -> Timers<E> {
        Timers { asked: 0, due: BTreeMap::new() }
    }

    pub fn at(&mut self, time: u64, due: Due<E>) {
        self.asked += 1;
        self.due.insert((time, self.asked), due);
    }

    pub fn pop(&mut self) -> Option<(u64, Due<E>)> {
        self.due.pop_first().map(|((time, _), due)| (time, due))
    }
}
