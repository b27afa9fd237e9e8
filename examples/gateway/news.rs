//! What the status page shows as it happens.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast;

/// So many denials are remembered.
const DENIALS: usize = 100;

/// So much may a page be behind before it misses something.
const BEHIND: usize = 64;

/// A request that was denied.
#[derive(Clone, Debug, Serialize)]
pub struct Denial {
    pub at: String,
    pub key: String,
    pub model: Option<String>,
    pub status: u16,
    pub limit: Option<String>,
    pub dimension: Option<&'static str>,
    pub message: String,
}

/// Something that pages are told: a name and JSON.
#[derive(Clone, Debug)]
pub struct Item {
    pub name: &'static str,
    pub data: String,
}

pub struct News {
    denials: Mutex<VecDeque<Denial>>,
    items: broadcast::Sender<Item>,
}

impl Default for News {
    fn default() -> Self {
        Self { denials: Mutex::default(), items: broadcast::channel(BEHIND).0 }
    }
}

impl News {
    /// Remembers a denial, then tells it: who looks when told finds it.
    pub fn denied(&self, denial: Denial) {
        let told = self.is_heard().then(|| serde_json::to_string(&denial));
        {
            let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
            denials.truncate(DENIALS - 1);
            denials.push_front(denial);
        }
        if let Some(Ok(data)) = told {
            self.tell("denial", data);
        }
    }

    /// Those of late, the last one first.
    pub fn denials(&self) -> Vec<Denial> {
        let denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        denials.iter().cloned().collect()
    }

    pub fn tell(&self, name: &'static str, data: String) {
        // Nobody listens, perhaps.
        let _ = self.items.send(Item { name, data });
    }

    pub fn is_heard(&self) -> bool {
        self.items.receiver_count() > 0
    }

    pub fn listen(&self) -> broadcast::Receiver<Item> {
        self.items.subscribe()
    }
}
