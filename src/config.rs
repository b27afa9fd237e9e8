//! Configuration: owners, limits and prices as one document.
//!
//! A document is read in two steps. The first takes its form (`config/document.rs`): what is not
//! known, or of the wrong type, is an error at its path. The second takes its meaning, here: ids
//! that are there twice, parents that are not, cycles, periods and limits that cannot be. Both are
//! done before an engine sees anything of it, so a [`Config`] is a whole and right one.

mod calendar;
mod check;
mod definitions;
mod document;
mod form;
mod rate;
mod tokens;
mod toml_pieces;
mod trail;

use std::fmt;

use serde::Deserializer;

use crate::id::{LimitId, OwnerId};
use crate::limit::Limit;
use crate::plan::{LimitKind, Plan};
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::units::PriceTable;

use document::Document;

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
    owners: Vec<OwnerConfig>,
    /// Those of the first owner, then those of the second, and so on.
    limits: Vec<LimitConfig>,
    prices: PriceTable,
}

/// An owner; its limits are behind those of the owner before.
#[derive(Clone, Debug)]
pub(crate) struct OwnerConfig {
    pub(crate) id: OwnerId,
    pub(crate) parents: Box<[OwnerId]>,
    limits_end: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct LimitConfig {
    pub(crate) id: LimitId,
    pub(crate) definition: Arc<Definition>,
    /// Rare, so behind a pointer.
    pub(crate) anchor: Option<Box<Timestamp>>,
}

/// What limits are that are defined alike.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) limit: Limit,
    pub(crate) plan: Arc<Plan>,
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

    /// The same error of something that is at `place`.
    fn within(mut self, place: impl fmt::Display) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path = format!("{place}{dot}{}", self.path);
        self
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
    ///
    /// # Cost
    ///
    /// Reading TOML takes some three times as long as reading the same in JSON with
    /// [`deserialize`](Self::deserialize). Where there are many owners, write each under its own
    /// `[[owners]]`: in one list, `owners = [...]`, they are all in memory at once as they are
    /// written, which takes gigabytes for a million.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        Config::new(toml_pieces::read(text)?)
    }

    /// Reads a document of any format that serde reads.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and the path.
    pub fn deserialize<'de, D: Deserializer<'de>>(reader: D) -> Result<Config, ConfigError> {
        let mut document = Document::default();
        document.read(reader).map_err(|(path, error)| ConfigError::at(path, error))?;
        Config::new(document)
    }

    /// Every owner with its parents, in the order of the document.
    pub fn owners(&self) -> impl Iterator<Item = (&OwnerId, &[OwnerId])> {
        self.entries().map(|(owner, _)| (&owner.id, &*owner.parents))
    }

    /// Every limit with its owner, in the order of the document.
    pub fn limits(&self) -> impl Iterator<Item = (&OwnerId, &LimitId, &Limit)> {
        self.entries().flat_map(|(owner, limits)| {
            limits.iter().map(|limit| (&owner.id, &limit.id, &limit.definition.limit))
        })
    }

    /// The price table.
    pub fn prices(&self) -> &PriceTable {
        &self.prices
    }

    /// Every owner with its limits, in the order of the document.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&OwnerConfig, &[LimitConfig])> {
        entries(&self.owners, &self.limits)
    }

    pub(crate) fn owners_len(&self) -> usize {
        self.owners.len()
    }

    pub(crate) fn limits_len(&self) -> usize {
        self.limits.len()
    }

    fn new(document: Document) -> Result<Config, ConfigError> {
        let (owners, limits, prices) = document.finish()?;
        check::check(&owners, &limits)?;
        Ok(Config { owners, limits, prices })
    }
}

/// Every owner with its limits.
fn entries<'a>(
    owners: &'a [OwnerConfig],
    limits: &'a [LimitConfig],
) -> impl Iterator<Item = (&'a OwnerConfig, &'a [LimitConfig])> {
    owners.iter().scan(0, |begin, owner| {
        let from = std::mem::replace(begin, owner.limits_end);
        Some((owner, &limits[from..owner.limits_end]))
    })
}

/// Where in the document the id of an owner's limit is.
pub(crate) fn path_of_limit(owner: usize, limits: &[LimitConfig], place: usize) -> String {
    let kind_of = |limit: &LimitConfig| limit.definition.plan.kind;
    let kind = kind_of(&limits[place]);
    let field = match kind {
        LimitKind::Budget => "budgets",
        LimitKind::RateLimit => "rate_limits",
        LimitKind::Concurrency => "concurrency",
    };
    let before = limits[..place].iter().filter(|other| kind_of(other) == kind).count();
    format!("owners[{owner}].{field}[{before}].id")
}
