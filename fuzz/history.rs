//! Histories spelled by bytes, played to the engine and to the reference of `tests/model.rs`.

#[path = "../tests/model/operations.rs"]
mod operations;
#[path = "../tests/model/player.rs"]
mod player;
#[path = "../tests/model/reference.rs"]
mod reference;
#[path = "../tests/model/steering.rs"]
mod steering;

/// Any bytes are a history of operations, clock steps and changes; after every step the engine
/// answers and reads like the reference.
pub fn history(data: &[u8]) {
    player::history(data);
}
