//! Where the ledger is kept, and what is kept with it.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tollkeeper::{
    Barrier, BarrierSetupError, Engine, Idempotency, IdempotencyError, Ledger, LockPool,
    MemoryKeys, MemoryLedger, Postgres, PostgresLocks, Sqlite, StartError, StoreError,
};

use super::tasks::Tasks;

/// So many idempotency keys are remembered in memory.
const KEYS_MAX: usize = 100_000;

/// Where a ledger is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    Memory,
    Sqlite(PathBuf),
    /// The URL, which may have a password.
    Postgres(String),
}

#[derive(Debug, thiserror::Error)]
#[error("accepted: memory, sqlite:FILE, postgres://USER@HOST/DATABASE")]
pub struct PlaceError;

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Place, PlaceError> {
        if text == "memory" {
            return Ok(Place::Memory);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Place::Postgres(text.to_owned()));
        }
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Place::Sqlite(path.into())),
            _ => Err(PlaceError),
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Place::Memory => "memory",
            Place::Sqlite(_) => "sqlite",
            Place::Postgres(_) => "postgres",
        })
    }
}

/// The ledger, idempotency keys and the barrier, in one place.
pub struct Books {
    pub ledger: Ledger,
    pub keys: Idempotency,
    pub barrier: Barrier,
    /// How often it is compared with what other instances have written.
    pub compare_every: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("idempotency keys: {0}")]
    Keys(#[from] IdempotencyError),
    #[error("the barrier: {0}")]
    Barrier(#[from] BarrierSetupError),
}

impl Books {
    /// Opens them. Blocks.
    pub fn open(place: &Place, engine: &Engine, tasks: &Tasks) -> Result<Books, OpenError> {
        let spawn = || {
            let (tasks, runtime) = (tasks.clone(), tokio::runtime::Handle::current());
            move |task| {
                // Also from threads of the library.
                let _inside = runtime.enter();
                tasks.spawn(task);
            }
        };
        let (ledger, keys) = (Ledger::builder(engine), Idempotency::builder(spawn()));
        let (barrier, alone) = (Barrier::builder(spawn()), Duration::from_secs(60));
        Ok(match place {
            Place::Memory => Books {
                ledger: ledger.start(MemoryLedger::default())?,
                keys: keys.start(MemoryKeys::new(KEYS_MAX))?,
                barrier: barrier.start()?,
                compare_every: alone,
            },
            Place::Sqlite(path) => {
                let store = Arc::new(Sqlite::open(path)?);
                Books {
                    ledger: ledger.start(Arc::clone(&store))?,
                    keys: keys.start(store)?,
                    barrier: barrier.start()?,
                    compare_every: alone,
                }
            }
            Place::Postgres(url) => {
                let store = Arc::new(Postgres::connect(url)?);
                let locks = PostgresLocks::connect(url, LockPool::default())?;
                Books {
                    ledger: ledger.start(Arc::clone(&store))?,
                    keys: keys.start(store)?,
                    barrier: barrier.remote_lock(locks).start()?,
                    compare_every: Duration::from_secs(2),
                }
            }
        })
    }
}
