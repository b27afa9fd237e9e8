//! The cases on memory.

use tollkeeper::{LedgerStore, MemoryLedger};

use crate::kit::Place;

/// In memory.
#[derive(Default)]
pub struct Memory(MemoryLedger);

impl Place for Memory {
    const DURABLE: bool = false;

    fn fresh() -> Memory {
        Memory::default()
    }

    fn store(&self) -> &dyn LedgerStore {
        &self.0
    }

    fn reopen(&mut self) {
        panic!("memory is gone when it is closed")
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fn forbid_a_model(&self) {
        panic!("memory has no constraints of others")
    }
}

every_store!(Memory);
