//! A lock that replicas share, simulated: it counts connections, and fails when told to.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollkeeper::{LockError, LockKey, LockRequest, Loss, RemoteGuard, RemoteLock};

/// What keeps the lock: one for all replicas.
#[derive(Clone, Default)]
pub struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last: u64,
    /// For each key, in order: who has it, and who waits.
    keys: BTreeMap<LockKey, Vec<Client>>,
    /// Of each process and key: connections now, and at most so far.
    connections: BTreeMap<(usize, LockKey), (usize, usize)>,
    asked: usize,
    down: bool,
    late: bool,
    withins: Vec<Duration>,
}

struct Client {
    id: u64,
    loss: Loss,
    waker: Option<Waker>,
}

/// The lock as one process sees it.
#[derive(Clone)]
pub struct SimLock {
    server: Server,
    process: usize,
}

impl Server {
    pub fn process(&self, process: usize) -> SimLock {
        SimLock { server: self.clone(), process }
    }

    /// The session that has the key breaks: the next one gets it.
    pub fn lose(&self, key: LockKey) {
        let (lost, next) = {
            let mut state = self.0.lock().unwrap();
            let line = state.keys.get_mut(&key).unwrap();
            let lost = line.remove(0);
            (lost, line.first().and_then(|next| next.waker.clone()))
        };
        lost.loss.tell();
        if let Some(waker) = next {
            waker.wake();
        }
    }

    pub fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    /// From now on nobody gets a key before its time is up.
    pub fn set_late(&self, late: bool) {
        self.0.lock().unwrap().late = late;
    }

    /// How many connections are in use.
    pub fn connections(&self) -> usize {
        self.0.lock().unwrap().connections.values().map(|(now, _)| now).sum()
    }

    /// The most that one process had for one key at the same time.
    pub fn most_for_a_key(&self) -> usize {
        self.0.lock().unwrap().connections.values().map(|(_, most)| *most).max().unwrap_or(0)
    }

    /// How often a key was asked for.
    pub fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }

    /// How long the requests were willing to wait.
    pub fn withins(&self) -> Vec<Duration> {
        self.0.lock().unwrap().withins.clone()
    }
}

/// A connection: of a request, and then of the guard.
struct Session {
    lock: SimLock,
    key: LockKey,
    id: u64,
    loss: Loss,
}

impl Session {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.lock.server.0.lock().unwrap()
    }
}

impl RemoteLock for SimLock {
    fn request(&self, key: LockKey, within: Duration) -> LockRequest {
        let mut state = self.server.0.lock().unwrap();
        state.last += 1;
        state.asked += 1;
        state.withins.push(within);
        let (id, loss) = (state.last, Loss::new());
        let connections = state.connections.entry((self.process, key)).or_default();
        connections.0 += 1;
        connections.1 = connections.1.max(connections.0);
        let client = Client { id, loss: loss.clone(), waker: None };
        state.keys.entry(key).or_default().push(client);
        Box::pin(Request(Some(Session { lock: self.clone(), key, id, loss })))
    }
}

struct Request(Option<Session>);

impl Future for Request {
    type Output = Result<Box<dyn RemoteGuard>, LockError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let session = self.0.as_ref().expect("polled after it was ready");
        let mut state = session.state();
        if state.down {
            return Poll::Ready(Err(LockError::Unavailable("connection refused".into())));
        }
        if state.late {
            return Poll::Ready(Err(LockError::Timeout));
        }
        let line = state.keys.get_mut(&session.key).expect("the session is in it");
        if line[0].id == session.id {
            drop(state);
            let session = self.0.take().expect("it is there");
            return Poll::Ready(Ok(Box::new(session)));
        }
        let own = line.iter_mut().find(|client| client.id == session.id).expect("it waits");
        own.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl RemoteGuard for Session {
    fn loss(&self) -> &Loss {
        &self.loss
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let next = {
            let mut state = self.state();
            let process = (self.lock.process, self.key);
            state.connections.get_mut(&process).expect("it has a connection").0 -= 1;
            let line = state.keys.get_mut(&self.key).expect("the key is known");
            line.retain(|client| client.id != self.id);
            line.first().and_then(|next| next.waker.clone())
        };
        if let Some(waker) = next {
            waker.wake();
        }
    }
}
