//! Tests that need the private rooms.
//!
//! The modules named `loom_` hold models: each is explored by loom under `--cfg tollkeeper_loom`
//! and runs with real threads otherwise.

#[cfg(all(feature = "ledger", not(tollkeeper_loom)))]
mod bills;
#[cfg(not(tollkeeper_loom))]
mod gone;
mod loom_admission;
mod loom_both;
mod loom_counter;
mod loom_entry;
mod loom_gate;
#[cfg(feature = "ledger")]
mod loom_post;
mod loom_settle;
mod scene;

/// A reservation travels with the body of its response, an engine is shared by all threads.
#[cfg(not(tollkeeper_loom))]
#[test]
fn handles_go_to_any_thread() {
    fn goes<T: Send + 'static>() {}
    fn shared<T: Send + Sync + Clone + 'static>() {}
    goes::<crate::Reservation>();
    goes::<crate::Subscription>();
    shared::<crate::Engine>();
    shared::<crate::Route>();
}
