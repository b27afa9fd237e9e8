//! Switches: by which an owner is suspended.
//!
//! A suspension must last over restarts and reach every instance that shares the ledger. What is
//! granted on limits does both, so each owner has a limit that nothing is ever charged to, on an
//! owner of the gateway's own; and who is suspended has an override of zero there.

use tollkeeper::{Dimension, Engine, GrantError, Lasts, Ledger, LimitId, LimitUsage, OwnerId};
use toml::{Table, Value};

/// Whose limits the switches are.
const OWNER: &str = "gateway:switches";

/// The switch of an owner.
fn switch(owner: &OwnerId) -> Option<LimitId> {
    LimitId::new(&format!("suspend {owner}")).ok()
}

/// Whether a limit is one.
pub fn is_switch(usage: &LimitUsage) -> bool {
    usage.owner.as_str() == OWNER
}

/// The document with a switch for each of its owners.
pub fn with(mut document: Table) -> Table {
    let Some(Value::Array(owners)) = document.get_mut("owners") else { return document };
    let names = owners.iter().filter_map(|owner| owner.get("id")?.as_str());
    let budget = |name: &str| {
        let mut budget = Table::new();
        budget.insert("id".to_owned(), format!("suspend {name}").into());
        budget.insert("period".to_owned(), "never".into());
        Value::Table(budget)
    };
    let budgets: Vec<Value> = names.map(budget).collect();
    let mut switches = Table::new();
    switches.insert("id".to_owned(), OWNER.into());
    switches.insert("budgets".to_owned(), budgets.into());
    owners.push(switches.into());
    document
}

/// Whether an owner is suspended.
pub fn is_off(engine: &Engine, owner: &OwnerId) -> bool {
    let usage = switch(owner).and_then(|switch| engine.usage(&switch));
    let counter = usage.as_ref().and_then(|usage| usage.counter(Dimension::Money));
    counter.is_some_and(|counter| counter.limit == Some(0))
}

/// Suspends an owner, or resumes it. `None` if there is no such owner. Blocks until it is durable.
pub fn turn(ledger: &Ledger, owner: &OwnerId, on: bool) -> Option<Result<(), GrantError>> {
    let switch = switch(owner)?;
    ledger.engine().usage(&switch)?;
    Some(if on {
        ledger.clear_override(&switch, Dimension::Money)
    } else {
        ledger.override_limit(&switch, Dimension::Money, 0, Lasts::UntilCleared)
    })
}
