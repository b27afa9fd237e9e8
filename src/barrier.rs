//! The cost barrier: while no estimate is possible, a user's calls run one after another.

mod lock;

pub use lock::{LockError, LockKey, LockRequest, Loss, RemoteGuard, RemoteLock};
