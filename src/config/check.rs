//! What can only be checked of all owners of a document together: ids that are there twice, parents
//! that are not, cycles.

use std::collections::{HashMap, HashSet};

use super::{ConfigError, OwnerConfig};
use crate::id::OwnerId;

/// Where in the document each owner is.
type Places<'a> = HashMap<&'a OwnerId, usize>;

/// What is wrong with the owners of a document together.
pub(super) fn check(owners: &[OwnerConfig]) -> Result<(), ConfigError> {
    let places = check_ids(owners)?;
    check_parents(owners, &places)?;
    check_cycles(owners, &places)
}

fn check_ids(owners: &[OwnerConfig]) -> Result<Places<'_>, ConfigError> {
    let mut places = Places::with_capacity(owners.len());
    let mut limits = HashSet::with_capacity(owners.iter().map(|owner| owner.limits.len()).sum());
    for (index, owner) in owners.iter().enumerate() {
        if places.insert(&owner.id, index).is_some() {
            let problem = format!("the owner {} is there twice; each once", owner.id);
            return Err(ConfigError::at(format_args!("owners[{index}].id"), problem));
        }
        for (place, limit) in owner.limits.iter().enumerate() {
            if !limits.insert(&limit.id) {
                let has = |owner: &&OwnerConfig| owner.limits.iter().any(|l| l.id == limit.id);
                let other = &owners.iter().find(has).expect("it has been seen").id;
                let problem = format!(
                    "the limit {} is there twice (the other is {other}'s); ids are unique over \
                     all owners",
                    limit.id
                );
                return Err(ConfigError::at(owner.path_of_limit(index, place), problem));
            }
        }
    }
    Ok(places)
}

fn check_parents(owners: &[OwnerConfig], places: &Places<'_>) -> Result<(), ConfigError> {
    for (index, owner) in owners.iter().enumerate() {
        for (place, parent) in owner.parents.iter().enumerate() {
            let wrong = |problem: String| {
                Err(ConfigError::at(format_args!("owners[{index}].parents[{place}]"), problem))
            };
            if !places.contains_key(parent) {
                return wrong(format!(
                    "there is no owner {parent} in the document; parents are owners of it"
                ));
            }
            if owner.parents[..place].contains(parent) {
                return wrong(format!("the parent {parent} is there twice; each once"));
            }
            if let Some(pair) = [&owner.id, parent].into_iter().find(|id| id.is_pair()) {
                return wrong(format!(
                    "the pair {pair} has no parents and is no parent: its members have theirs"
                ));
            }
        }
    }
    Ok(())
}

/// Goes through the owners depth first, without recursion: a document may be deep.
fn check_cycles(owners: &[OwnerConfig], places: &Places<'_>) -> Result<(), ConfigError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; owners.len()];
    for start in 0..owners.len() {
        let mut path = vec![(start, 0)];
        while let Some((index, next)) = path.pop() {
            marks[index] = Mark::Open;
            let Some(parent) = owners[index].parents.get(next) else {
                marks[index] = Mark::Done;
                continue;
            };
            path.push((index, next + 1));
            let parent = places[parent];
            match marks[parent] {
                Mark::New => path.push((parent, 0)),
                Mark::Done => {}
                Mark::Open => {
                    let (child, ancestor) = (&owners[index].id, &owners[parent].id);
                    return Err(ConfigError::at(
                        format_args!("owners[{index}].parents[{next}]"),
                        format_args!(
                            "{child} cannot have {ancestor} for a parent: it is among \
                             {ancestor}'s ancestors"
                        ),
                    ));
                }
            }
        }
    }
    Ok(())
}
