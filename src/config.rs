//! Configuration: owners, limits and prices as one document.
//!
//! A document is read in two steps. The first takes its form (`config/document.rs`): what is not
//! known, or of the wrong type, is an error at its path. The second takes its meaning, here: ids
//! that are there twice, parents that are not, cycles, periods and limits that cannot be. Both are
//! done before an engine sees anything of it, so a [`Config`] is a whole and right one.

mod calendar;
mod document;
mod form;
mod rate;

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserializer;

use crate::id::{LimitId, OwnerId};
use crate::limit::Limit;
use crate::plan::{LimitKind, Plan};
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::units::PriceTable;

use document::Document;
use form::Table;

/// A configuration document that has been read and found right: owners with their parents and
/// limits, and a price table. [`Engine::apply`](crate::Engine::apply) puts it in force.
///
/// ```
/// use tollkeeper::Config;
///
/// let config = Config::from_toml(r#"
///     [[owners]]
///     id = "customer:acme"
///     budgets = [{ id = "acme-monthly", limit = "$500", period = "1M",
///                  calendar = { zone = "Europe/Berlin" }, thresholds = [80] }]
///
///     [[owners]]
///     id = "key:k1"
///     parents = ["customer:acme"]
///     rate_limits = [
///         { id = "k1-rate", requests = "60/m",
///           tokens = { limit = 100_000, period = "1m", weights = { cached = "0.1" } } },
///     ]
///     concurrency = [{ id = "k1-in-flight", limit = 8 }]
///
///     [[prices]]
///     model = "m-large"
///     input = "$2.50"    # per million tokens
///     output = "$10"
///     cached = "$1.25"
/// "#)?;
/// assert_eq!(config.limits().count(), 3);
///
/// let wrong = Config::from_toml(r#"
///     [[owners]]
///     id = "key:k1"
///     budgets = [{ id = "b", limit = "-5", period = "1M" }]
/// "#);
/// assert!(wrong.unwrap_err().to_string().starts_with("line 4: owners[0].budgets[0].limit: "));
/// # Ok::<(), tollkeeper::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) owners: Vec<OwnerConfig>,
    pub(crate) prices: PriceTable,
}

#[derive(Clone, Debug)]
pub(crate) struct OwnerConfig {
    pub(crate) id: OwnerId,
    pub(crate) parents: Vec<OwnerId>,
    pub(crate) limits: Vec<LimitConfig>,
}

#[derive(Clone, Debug)]
pub(crate) struct LimitConfig {
    pub(crate) id: LimitId,
    pub(crate) definition: Limit,
    pub(crate) plan: Arc<Plan>,
    pub(crate) anchor: Option<Timestamp>,
}

impl OwnerConfig {
    /// Where in the document the id of the limit at `place` is, for the owner at `index`.
    pub(crate) fn path_of_limit(&self, index: usize, place: usize) -> String {
        let kind = self.limits[place].plan.kind;
        let field = match kind {
            LimitKind::Budget => "budgets",
            LimitKind::RateLimit => "rate_limits",
            LimitKind::Concurrency => "concurrency",
        };
        let before = self.limits[..place].iter().filter(|other| other.plan.kind == kind).count();
        format!("owners[{index}].{field}[{before}].id")
    }
}

/// What is wrong with a configuration document. Nothing of it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The line, where the form of a text is wrong.
    pub line: Option<usize>,
    /// Where in the document, such as `owners[3].budgets[0].limit`; empty for the document itself.
    pub path: String,
    /// What is wrong, and what is accepted.
    pub problem: String,
}

impl ConfigError {
    pub(crate) fn at(path: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self { line: None, path: path.to_string(), problem: problem.to_string() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a TOML document.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the line where its form is, and the path.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        let line = |error: &toml::de::Error| {
            error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count())
        };
        let form = |error: toml::de::Error, path: String| {
            let problem = error.message().trim_end().to_owned();
            ConfigError { line: line(&error), path, problem }
        };
        let reader = toml::Deserializer::parse(text).map_err(|error| form(error, String::new()))?;
        let Table(document): Table<Document> =
            serde_path_to_error::deserialize(reader).map_err(|error| {
                let path = path_of(&error);
                form(error.into_inner(), path)
            })?;
        Config::new(document)
    }

    /// Reads a document of any format that serde reads.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and the path.
    pub fn deserialize<'de, D: Deserializer<'de>>(reader: D) -> Result<Config, ConfigError> {
        let Table(document): Table<Document> =
            serde_path_to_error::deserialize(reader).map_err(|error| {
                let path = path_of(&error);
                ConfigError::at(path, error.into_inner())
            })?;
        Config::new(document)
    }

    /// Every owner with its parents, in the order of the document.
    pub fn owners(&self) -> impl Iterator<Item = (&OwnerId, &[OwnerId])> {
        self.owners.iter().map(|owner| (&owner.id, owner.parents.as_slice()))
    }

    /// Every limit with its owner, in the order of the document.
    pub fn limits(&self) -> impl Iterator<Item = (&OwnerId, &LimitId, &Limit)> {
        self.owners.iter().flat_map(|owner| {
            owner.limits.iter().map(|limit| (&owner.id, &limit.id, &limit.definition))
        })
    }

    /// The price table.
    pub fn prices(&self) -> &PriceTable {
        &self.prices
    }

    fn new(document: Document) -> Result<Config, ConfigError> {
        let prices = document.prices()?;
        let owners = document.owners()?;
        check_ids(&owners)?;
        check_parents(&owners)?;
        Ok(Config { owners, prices })
    }
}

fn path_of<E>(error: &serde_path_to_error::Error<E>) -> String {
    let path = error.path().to_string();
    if path == "." { String::new() } else { path }
}

fn check_ids(owners: &[OwnerConfig]) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    let mut limits = HashMap::new();
    for (index, owner) in owners.iter().enumerate() {
        if !seen.insert(&owner.id) {
            let problem = format!("the owner {} is there twice; each once", owner.id);
            return Err(ConfigError::at(format_args!("owners[{index}].id"), problem));
        }
        for (place, limit) in owner.limits.iter().enumerate() {
            if let Some(other) = limits.insert(&limit.id, &owner.id) {
                let problem = format!(
                    "the limit {} is there twice (the other is {other}'s); ids are unique over \
                     all owners",
                    limit.id
                );
                return Err(ConfigError::at(owner.path_of_limit(index, place), problem));
            }
        }
    }
    Ok(())
}

fn check_parents(owners: &[OwnerConfig]) -> Result<(), ConfigError> {
    let places: HashMap<&OwnerId, usize> =
        owners.iter().enumerate().map(|(index, owner)| (&owner.id, index)).collect();
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
    check_cycles(owners, &places)
}

/// Goes through the owners depth first, without recursion: a document may be deep.
fn check_cycles(
    owners: &[OwnerConfig],
    places: &HashMap<&OwnerId, usize>,
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
