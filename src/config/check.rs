//! What can only be checked of all owners of a document together: ids that are there twice, parents
//! that are not, cycles.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{ConfigError, LimitConfig, OwnerConfig, path_of_limit};

/// What is wrong with the owners of a document together.
pub(super) fn check(owners: &[OwnerConfig], limits: &[LimitConfig]) -> Result<(), ConfigError> {
    let places = check_owners(owners)?;
    check_limits(owners, limits)?;
    check_parents(owners, &places)?;
    check_cycles(owners, &places)
}

/// Places in the document by the ids there: a few bytes for each, where a map of ids would take
/// tens of them, and so longer than all else here.
struct Places<'a, T> {
    all: &'a [T],
    name: fn(&T) -> &str,
    table: HashTable<u32>,
    hasher: RandomState,
}

impl<'a, T> Places<'a, T> {
    fn of(all: &'a [T], name: fn(&T) -> &str) -> Self {
        let table = HashTable::with_capacity(all.len());
        Self { all, name, table, hasher: RandomState::new() }
    }

    fn find(&self, name: &str) -> Option<usize> {
        let hash = self.hasher.hash_one(name);
        let same = |&other: &u32| (self.name)(&self.all[other as usize]) == name;
        self.table.find(hash, same).map(|&place| place as usize)
    }

    /// Adds a place. Returns the one before it that has the same id.
    fn add(&mut self, place: usize) -> Option<usize> {
        let place = u32::try_from(place).expect("memory holds no four billion of them");
        let Self { all, name: name_of, table, hasher } = self;
        let name = |place: u32| name_of(&all[place as usize]);
        let hash = |place: u32| hasher.hash_one(name(place));
        let same = |&other: &u32| name(other) == name(place);
        match table.entry(hash(place), same, |&other| hash(other)) {
            Entry::Occupied(other) => Some(*other.get() as usize),
            Entry::Vacant(free) => {
                free.insert(place);
                None
            }
        }
    }
}

fn check_owners(owners: &[OwnerConfig]) -> Result<Places<'_, OwnerConfig>, ConfigError> {
    let mut places = Places::of(owners, |owner| owner.id.as_str());
    for (index, owner) in owners.iter().enumerate() {
        if places.add(index).is_some() {
            let problem = format!("the owner {} is there twice; each once", owner.id);
            return Err(ConfigError::at(format_args!("owners[{index}].id"), problem));
        }
    }
    Ok(places)
}

fn check_limits(owners: &[OwnerConfig], limits: &[LimitConfig]) -> Result<(), ConfigError> {
    let mut places = Places::of(limits, |limit| limit.id.as_str());
    let owner_of = |limit| owners.partition_point(|owner| owner.limits_end <= limit);
    for (index, limit) in limits.iter().enumerate() {
        if let Some(other) = places.add(index) {
            let (owner, other) = (owner_of(index), &owners[owner_of(other)].id);
            let problem = format!(
                "the limit {} is there twice (the other is {other}'s); ids are unique over all \
                 owners",
                limit.id
            );
            let begin = owner.checked_sub(1).map_or(0, |before| owners[before].limits_end);
            let path = path_of_limit(owner, &limits[begin..], index - begin);
            return Err(ConfigError::at(path, problem));
        }
    }
    Ok(())
}

fn check_parents(
    owners: &[OwnerConfig],
    places: &Places<'_, OwnerConfig>,
) -> Result<(), ConfigError> {
    // For each owner the last one that named it for a parent, and one more.
    let mut named_by = vec![0; owners.len()];
    for (index, owner) in owners.iter().enumerate() {
        for (place, parent) in owner.parents.iter().enumerate() {
            let wrong = |problem: String| {
                Err(ConfigError::at(format_args!("owners[{index}].parents[{place}]"), problem))
            };
            let Some(found) = places.find(parent.as_str()) else {
                return wrong(format!(
                    "there is no owner {parent} in the document; parents are owners of it"
                ));
            };
            if std::mem::replace(&mut named_by[found], index + 1) == index + 1 {
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
fn check_cycles(
    owners: &[OwnerConfig],
    places: &Places<'_, OwnerConfig>,
) -> Result<(), ConfigError> {
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
            let parent = places.find(parent.as_str()).expect("it was found before");
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
