//! Owners in the order in which they are found, each once.

use std::collections::HashSet;

use crate::id::OwnerId;

/// So many are compared one by one; more are looked up.
const FEW: usize = 16;

/// Owners in the order in which they are found, each once.
#[derive(Default)]
pub(crate) struct Lineage {
    order: Vec<OwnerId>,
    /// All of them once they are more than [`FEW`]; empty until then.
    index: HashSet<OwnerId>,
}

impl Lineage {
    pub(crate) fn add(&mut self, owner: &OwnerId) {
        if self.contains(owner) {
            return;
        }
        self.order.push(owner.clone());
        if self.order.len() == FEW + 1 {
            self.index.extend(self.order.iter().cloned());
        } else if self.order.len() > FEW {
            self.index.insert(owner.clone());
        }
    }

    pub(crate) fn contains(&self, owner: &OwnerId) -> bool {
        if self.order.len() > FEW { self.index.contains(owner) } else { self.order.contains(owner) }
    }

    pub(crate) fn as_slice(&self) -> &[OwnerId] {
        &self.order
    }

    /// The one at `place`, while others may be added behind it.
    pub(crate) fn get(&self, place: usize) -> Option<OwnerId> {
        self.order.get(place).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_in_order_few_or_many() {
        let owner = |n: usize| OwnerId::new("key", &n.to_string()).expect("a name");
        let mut lineage = Lineage::default();
        for n in (0..40).chain(0..40) {
            lineage.add(&owner(n));
        }
        let all: Vec<OwnerId> = (0..40).map(owner).collect();
        assert_eq!(lineage.as_slice(), all);
        assert!(lineage.contains(&owner(39)) && !lineage.contains(&owner(40)));
    }
}
