//! The lock that the nodes share: first come, first served, of sessions that can die.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollkeeper::{LockError, LockKey, LockRequest, Loss, RemoteGuard, RemoteLock};

use crate::hub::{Hub, breach};
use crate::planted::{Planted, is_planted};
use crate::tasks::{Due, Home};
use crate::world::Event;

pub type SessionId = u64;

/// What keeps the locks.
#[derive(Default)]
pub struct LockServer(Mutex<Server>);

#[derive(Default)]
struct Server {
    last: SessionId,
    sessions: BTreeMap<SessionId, Session>,
    lines: BTreeMap<LockKey, VecDeque<SessionId>>,
}

/// One connection: of somebody who waits for a key, or has it.
struct Session {
    home: Home,
    key: LockKey,
    granted: bool,
    dead: bool,
    waker: Option<Waker>,
    loss: Loss,
}

impl LockServer {
    fn locked<T>(&self, change: impl FnOnce(&mut Server) -> T) -> T {
        change(&mut self.0.lock().expect("nothing panics under it"))
    }

    /// The sessions that have a key.
    pub fn holding(&self) -> Vec<SessionId> {
        self.locked(|server| {
            let holding = server.sessions.iter().filter(|(_, s)| s.granted && !s.dead);
            holding.map(|(id, _)| *id).collect()
        })
    }

    /// How many sessions each node has.
    pub fn sessions(&self) -> BTreeMap<usize, usize> {
        self.locked(|server| {
            let mut count = BTreeMap::new();
            for session in server.sessions.values().filter(|session| !session.dead) {
                *count.entry(session.home.node).or_default() += 1;
            }
            count
        })
    }

    /// The session with which a node has a key, if that lives.
    pub fn live(&self, home: Home, key: LockKey) -> Option<SessionId> {
        self.locked(|server| {
            let mut mine = server.sessions.iter().filter(|(_, session)| {
                session.home == home && session.key == key && session.granted && !session.dead
            });
            mine.next_back().map(|(id, _)| *id)
        })
    }

    pub fn is_live(&self, id: SessionId) -> bool {
        self.locked(|server| server.sessions.get(&id).is_some_and(|session| !session.dead))
    }

    /// A connection breaks. Its holder learns of it later.
    pub fn kill(&self, id: SessionId) {
        let woken = self.locked(|server| {
            server.sessions.get_mut(&id)?.dead = true;
            server.leave(id)
        });
        woken.into_iter().for_each(Waker::wake);
    }

    pub fn tell(&self, id: SessionId) {
        let loss = self.locked(|server| server.sessions.get(&id).map(|s| s.loss.clone()));
        loss.into_iter().for_each(|loss| loss.tell());
    }

    fn end(&self, id: SessionId) {
        let woken = self.locked(|server| {
            let woken = server.leave(id);
            server.sessions.remove(&id);
            woken
        });
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Server {
    /// Takes a session out of its line, and says whom to wake: the one that is first now.
    fn leave(&mut self, id: SessionId) -> Option<Waker> {
        let key = self.sessions.get(&id)?.key;
        let line = self.lines.get_mut(&key)?;
        line.retain(|waiting| *waiting != id);
        let Some(first) = line.front().copied() else {
            self.lines.remove(&key);
            return None;
        };
        let first = self.sessions.get_mut(&first)?;
        first.granted = true;
        first.waker.take()
    }
}

/// The lock as one node has it.
#[derive(Clone)]
pub struct NodeLock {
    pub hub: Arc<Hub>,
    pub home: Home,
    pub server: Arc<LockServer>,
}

impl RemoteLock for NodeLock {
    fn request(&self, key: LockKey, within: Duration) -> LockRequest {
        let refused = self.hub.fault(self.hub.swarm.lock_refuses);
        let asked = self.server.locked(|server| {
            let mine = server.sessions.values();
            if mine.clone().any(|s| s.home == self.home && s.key == key && !s.dead) {
                return Err(());
            }
            server.last += 1;
            let id = server.last;
            let line = server.lines.entry(key).or_default();
            line.push_back(id);
            let granted = line.len() == 1 || is_planted(Planted::NoLock);
            let (home, loss) = (self.home, Loss::new());
            let session = Session { home, key, granted, dead: false, waker: None, loss };
            server.sessions.insert(id, session);
            Ok(id)
        });
        let Ok(id) = asked else {
            let what = format!("node {} asks for a key that it has or waits for", self.home.node);
            self.hub.object(breach::<()>("I12", what).expect_err("it is one"));
            return Box::pin(async { Err(LockError::Timeout) });
        };
        let within = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
        let until = self.hub.now().saturating_add(within);
        let connection = Connection { server: Arc::clone(&self.server), id };
        Box::pin(Wait { lock: self.clone(), connection: Some(connection), until, refused })
    }
}

/// Ends its session when it is dropped.
struct Connection {
    server: Arc<LockServer>,
    id: SessionId,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.end(self.id);
    }
}

struct Wait {
    lock: NodeLock,
    connection: Option<Connection>,
    until: u64,
    refused: bool,
}

impl Future for Wait {
    type Output = Result<Box<dyn RemoteGuard>, LockError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(connection) = &self.connection else { return Poll::Pending };
        let id = connection.id;
        let state = self.lock.server.locked(|server| {
            let session = server.sessions.get_mut(&id)?;
            if session.dead {
                return None;
            }
            session.waker = Some(context.waker().clone());
            Some((session.granted, session.loss.clone()))
        });
        let hub = Arc::clone(&self.lock.hub);
        let Some((granted, loss)) = state.filter(|_| !self.refused) else {
            self.connection = None;
            return Poll::Ready(Err(LockError::Unavailable("the connection broke".into())));
        };
        if granted {
            if hub.fault(hub.swarm.lock_dies) {
                hub.after(hub.range(1, 3_000_000_000), Event::LockDies(id));
            }
            let connection = self.connection.take().expect("it is there until it is granted");
            return Poll::Ready(Ok(Box::new(Guard { loss, _connection: connection })));
        }
        if hub.now() >= self.until {
            self.connection = None;
            return Poll::Ready(Err(LockError::Timeout));
        }
        hub.due(self.until, Due::Wake(context.waker().clone()));
        Poll::Pending
    }
}

struct Guard {
    loss: Loss,
    _connection: Connection,
}

impl RemoteGuard for Guard {
    fn loss(&self) -> &Loss {
        &self.loss
    }
}
