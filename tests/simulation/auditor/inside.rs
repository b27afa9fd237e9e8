//! Who is inside of a user's critical section.

use tollkeeper::OwnerId;

use crate::hub::{Checked, breach};
use crate::lock::SessionId;
use crate::tasks::Home;

pub struct InsideBook {
    permits: usize,
    remote: bool,
    inside: Vec<(u64, Home, OwnerId, Option<SessionId>)>,
}

impl InsideBook {
    pub fn new(permits: usize, remote: bool) -> InsideBook {
        InsideBook { permits, remote, inside: Vec::new() }
    }

    /// A call enters, with the session that its node has for the user.
    pub fn enters(
        &mut self,
        (number, home): (u64, Home),
        user: &OwnerId,
        session: Option<SessionId>,
        is_live: impl Fn(SessionId) -> bool,
    ) -> Checked {
        self.inside.push((number, home, user.clone(), session));
        let counted = self.inside.iter().filter(|(_, there, whose, session)| {
            let alive = session.is_some_and(&is_live);
            whose == user && if self.remote { alive } else { *there == home }
        });
        let count = counted.count();
        if count <= self.permits {
            return Ok(());
        }
        breach("I8", format!("{count} calls of {user} are inside; permits: {}", self.permits))
    }

    pub fn leaves(&mut self, number: u64) {
        self.inside.retain(|(inside, ..)| *inside != number);
    }

    pub fn dies(&mut self, home: Home) {
        self.inside.retain(|(_, there, ..)| *there != home);
    }

    pub fn is_empty(&self) -> bool {
        self.inside.is_empty()
    }
}
