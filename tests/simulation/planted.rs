//! Faults that are planted on purpose, to see that the simulation finds them.
//!
//! These are those that are the same in a part of the simulation as in the library: a store that
//! does not say what it wrote is a ledger that does not listen. The others are patches of the
//! sources in `tests/planted`. `scripts/planted.sh` plants each and shows what catches it.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The remote lock grants everybody.
    NoLock,
    /// What is tried again is written under a new id.
    NewId,
    /// The references are said to be written as they were asked for.
    AsAsked,
}

const NAMES: &[(&str, Planted)] = &[
    ("no-remote-lock", Planted::NoLock),
    ("new-id", Planted::NewId),
    ("as-asked", Planted::AsAsked),
];

/// Whether the environment asks for this fault (`TOLLKEEPER_SIM_PLANTED`).
pub fn is_planted(fault: Planted) -> bool {
    planted() == Some(fault)
}

fn planted() -> Option<Planted> {
    use std::sync::OnceLock;
    static PLANTED: OnceLock<Option<Planted>> = OnceLock::new();
    *PLANTED.get_or_init(|| {
        let name = std::env::var("TOLLKEEPER_SIM_PLANTED").ok().filter(|name| !name.is_empty())?;
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let (_, fault) = known.unwrap_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            panic!("TOLLKEEPER_SIM_PLANTED is {name:?}; accepted: {}", names.join(", "))
        });
        Some(*fault)
    })
}
