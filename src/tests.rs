//! Tests that need the private rooms.
//!
//! The modules named `loom_` hold models: each is explored by loom under `--cfg tollkeeper_loom`
//! and runs with real threads otherwise.

mod loom_admission;
mod loom_counter;
mod loom_entry;
mod loom_settle;
mod scene;
