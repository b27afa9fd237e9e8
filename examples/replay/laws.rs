//! The laws that a replay can show, and what the audit found of each.

/// What a law says, in a few words.
const LAWS: [(&str, &str); 9] = [
    ("L1", "no increment is lost: every total is the sum of what was booked"),
    ("L2", "every window closes once, with its exact total"),
    ("L5", "no admission passes a limit, and none is denied without cause"),
    ("L6", "a request is held on all its limits or on none"),
    ("L7", "every admitted request ends once, and leaves nothing held"),
    ("L8", "what was held stays in the window it was admitted to"),
    ("L10", "memory has booked what the ledger has written"),
    ("L11", "what was acknowledged is in the ledger, once, and a restart begins with it"),
    ("L13", "time and windows only move forward"),
];
/// So many breaches of a law are told in full.
const TOLD: usize = 5;

/// One law and what was found of it.
#[derive(Clone, Debug)]
pub struct Law {
    pub name: &'static str,
    pub says: &'static str,
    /// How often it was looked at.
    pub checks: u64,
    /// How often it did not hold.
    pub breaches: u64,
    /// The first of those.
    pub told: Vec<String>,
}

impl Law {
    pub fn holds(&self) -> bool {
        self.breaches == 0
    }
}

/// All laws.
#[derive(Clone, Debug)]
pub struct Laws(Vec<Law>);

impl Laws {
    pub fn new() -> Laws {
        let law = |(name, says)| Law { name, says, checks: 0, breaches: 0, told: Vec::new() };
        Laws(LAWS.map(law).into())
    }

    /// Looks whether a law holds, and says what was found if it does not.
    pub fn check(&mut self, name: &str, holds: bool, found: impl FnOnce() -> String) {
        let law = self.0.iter_mut().find(|law| law.name == name).expect("the law is in the list");
        law.checks += 1;
        if holds {
            return;
        }
        law.breaches += 1;
        if law.told.len() < TOLD {
            law.told.push(found());
        }
    }

    pub fn hold(&self) -> bool {
        self.0.iter().all(Law::holds)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Law> {
        self.0.iter()
    }
}
