//! The configuration file: the gateway's own sections, and the owners, limits and prices, which are
//! a document of the library.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tollkeeper::{Config, OwnerId};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::keys::{Hash, Keys};
use super::place::line_of;
use super::switches;

/// The sample, which is the default.
pub const SAMPLE: &str = include_str!("gateway.toml");

/// A whole file that has been found right.
pub struct File {
    pub fixed: Fixed,
    pub rules: Rules,
    /// The owners, limits and prices as they are written.
    pub document: toml::Table,
    /// The same, read.
    pub config: Config,
}

/// What a running gateway does not change.
#[derive(Clone, Debug, PartialEq)]
pub struct Fixed {
    pub gateway: GatewayPart,
    pub admin: AdminPart,
    pub upstream: UpstreamPart,
}

/// Who may have what. It is replaced whole when the file is read again.
#[derive(Debug)]
pub struct Rules {
    pub keys: Keys,
    /// With the owner that a model's requests count for.
    pub models: BTreeMap<String, Option<OwnerId>>,
    /// For each owner of a key, itself and its ancestors.
    above: HashMap<OwnerId, Vec<OwnerId>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayPart {
    pub listen: SocketAddr,
    pub max_connections: usize,
    pub max_body_bytes: usize,
    pub max_bodies_bytes: usize,
    pub header_seconds: u64,
    pub body_seconds: u64,
    pub write_seconds: u64,
    pub drain_seconds: u64,
    pub default_output_tokens: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminPart {
    pub listen: SocketAddr,
    pub token_sha256: Hash,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamPart {
    pub url: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub key_env: Option<String>,
    pub owner: Option<OwnerId>,
    pub connect_seconds: u64,
    pub answer_seconds: u64,
    pub idle_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyPart {
    sha256: Hash,
    owner: OwnerId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelPart {
    name: String,
    owner: Option<OwnerId>,
}

/// What is wrong with a file. Nothing of it was applied.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub line: Option<usize>,
    /// Where in the file, such as `keys[2].sha256`; empty for the file itself.
    pub path: String,
    pub problem: String,
}

impl fmt::Display for Wrong {
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

impl std::error::Error for Wrong {}

/// Reads a file.
pub fn read(text: &str) -> Result<File, Wrong> {
    let whole = DeTable::parse(text).map_err(|error| form(text, "", &error))?;
    let whole = Whole { text, table: whole.get_ref() };
    whole.only(&["gateway", "admin", "upstream", "keys", "models", "owners", "prices"])?;
    let fixed = Fixed {
        gateway: whole.section("gateway")?,
        admin: whole.section("admin")?,
        upstream: whole.section("upstream")?,
    };
    check_numbers(&whole, &fixed)?;

    let mut document: toml::Table = toml::from_str(text).map_err(|error| form(text, "", &error))?;
    document.retain(|name, _| matches!(name, "owners" | "prices"));
    let config = understand(&document).map_err(|error| whole.at(&error.path, error.problem))?;
    let keys = keys(&whole, &config)?;
    let above = keys.owners().map(|owner| (owner.clone(), above(&config, owner))).collect();
    let rules = Rules { keys, models: models(&whole, &config)?, above };
    check_owner(&whole, &config, "upstream.owner", fixed.upstream.owner.as_ref())?;
    Ok(File { fixed, rules, document, config })
}

/// Reads owners, limits and prices, with the switches that suspend.
pub fn understand(document: &toml::Table) -> Result<Config, tollkeeper::ConfigError> {
    Config::deserialize(switches::with(document.clone())).map_err(|mut error| {
        // The reader says where it is once more, without the places in lists.
        if let Some(end) = error.problem.find("\nin `") {
            error.problem.truncate(end);
        }
        error
    })
}

/// A file, to say where in it something is.
struct Whole<'a> {
    text: &'a str,
    table: &'a DeTable<'a>,
}

impl Whole<'_> {
    fn at(&self, path: &str, problem: impl fmt::Display) -> Wrong {
        let line = line_of(self.text, self.table, path);
        Wrong { line, path: path.to_owned(), problem: problem.to_string() }
    }

    fn only(&self, names: &[&str]) -> Result<(), Wrong> {
        match self.table.keys().find(|key| !names.contains(&&**key.get_ref())) {
            Some(key) => {
                let accepted = names.join(", ");
                let problem = format!("there is no such section; accepted: {accepted}");
                Err(self.at(key.get_ref(), problem))
            }
            None => Ok(()),
        }
    }

    fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, Wrong> {
        match self.table.get(name) {
            Some(value) => self.part(name, value),
            None => Err(self.at("", format_args!("the section [{name}] is missing"))),
        }
    }

    /// The tables of a list of tables.
    fn list<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, Wrong> {
        let Some(value) = self.table.get(name) else { return Ok(Vec::new()) };
        let Some(list) = value.get_ref().as_array() else {
            return Err(self.at(name, format_args!("write each under its own [[{name}]]")));
        };
        let parts = list.iter().enumerate();
        parts.map(|(at, value)| self.part(&format!("{name}[{at}]"), value)).collect()
    }

    fn part<T: DeserializeOwned>(
        &self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<T, Wrong> {
        let reader = ValueDeserializer::from(value.clone());
        T::deserialize(reader).map_err(|error| form(self.text, path, &error))
    }
}

fn form(text: &str, path: &str, error: &toml::de::Error) -> Wrong {
    let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
    let line = error.span().map(|span| line(span.start));
    Wrong { line, path: path.to_owned(), problem: error.message().trim_end().to_owned() }
}

fn check_numbers(whole: &Whole<'_>, fixed: &Fixed) -> Result<(), Wrong> {
    let Fixed { gateway, upstream, .. } = fixed;
    let seconds = [
        ("gateway.header_seconds", gateway.header_seconds),
        ("gateway.body_seconds", gateway.body_seconds),
        ("gateway.write_seconds", gateway.write_seconds),
        ("upstream.connect_seconds", upstream.connect_seconds),
        ("upstream.answer_seconds", upstream.answer_seconds),
        ("upstream.idle_seconds", upstream.idle_seconds),
    ];
    for (path, seconds) in seconds {
        if !(1..=86_400).contains(&seconds) {
            return Err(whole.at(path, format_args!("{seconds} seconds; accepted: 1 to 86400")));
        }
    }
    let sizes = [
        ("gateway.max_connections", gateway.max_connections, 1_000_000),
        ("gateway.max_body_bytes", gateway.max_body_bytes, 1 << 30),
        ("gateway.max_bodies_bytes", gateway.max_bodies_bytes, 1 << 40),
    ];
    for (path, size, most) in sizes {
        if !(1..=most).contains(&size) {
            return Err(whole.at(path, format_args!("{size}; accepted: 1 to {most}")));
        }
    }
    if gateway.drain_seconds > 3_600 {
        let seconds = gateway.drain_seconds;
        let problem = format_args!("{seconds} seconds; accepted: 0 to 3600");
        return Err(whole.at("gateway.drain_seconds", problem));
    }
    Ok(())
}

fn keys(whole: &Whole<'_>, config: &Config) -> Result<Keys, Wrong> {
    let mut keys = Keys::default();
    for (at, KeyPart { sha256, owner }) in whole.list("keys")?.into_iter().enumerate() {
        check_owner(whole, config, &format!("keys[{at}].owner"), Some(&owner))?;
        if !keys.add(sha256, owner) {
            let path = format!("keys[{at}].sha256");
            return Err(whole.at(&path, "this hash is there twice; each key once"));
        }
    }
    Ok(keys)
}

fn models(whole: &Whole<'_>, config: &Config) -> Result<BTreeMap<String, Option<OwnerId>>, Wrong> {
    let mut models = BTreeMap::new();
    for (at, ModelPart { name, owner }) in whole.list("models")?.into_iter().enumerate() {
        check_owner(whole, config, &format!("models[{at}].owner"), owner.as_ref())?;
        let path = format!("models[{at}].name");
        if !config.prices().is_empty() && config.prices().get(&name).is_err() {
            return Err(whole.at(&path, format_args!("the model {name} has no price; give it one")));
        }
        if models.insert(name.clone(), owner).is_some() {
            return Err(whole.at(&path, format_args!("the model {name} is there twice; each once")));
        }
    }
    Ok(models)
}

fn check_owner(
    whole: &Whole<'_>,
    config: &Config,
    path: &str,
    owner: Option<&OwnerId>,
) -> Result<(), Wrong> {
    let Some(owner) = owner else { return Ok(()) };
    if config.owners().any(|(known, _)| known == owner) {
        return Ok(());
    }
    Err(whole.at(path, format_args!("there is no owner {owner} under [[owners]]")))
}

/// An owner and its ancestors, each once.
fn above(config: &Config, owner: &OwnerId) -> Vec<OwnerId> {
    let parents: HashMap<&OwnerId, &[OwnerId]> = config.owners().collect();
    let mut above = vec![owner.clone()];
    let mut next = 0;
    while let Some(owner) = above.get(next).cloned() {
        let fresh = parents.get(&owner).into_iter().copied().flatten();
        for parent in fresh {
            if !above.contains(parent) {
                above.push(parent.clone());
            }
        }
        next += 1;
    }
    above
}

/// Says where in a text something is wrong that a library's error says.
pub fn locate(text: &str, error: &tollkeeper::ConfigError) -> Wrong {
    let line =
        DeTable::parse(text).ok().and_then(|whole| line_of(text, whole.get_ref(), &error.path));
    Wrong { line: error.line.or(line), path: error.path.clone(), problem: error.problem.clone() }
}

impl Rules {
    /// The owner of a key and its ancestors.
    pub fn above(&self, owner: &OwnerId) -> &[OwnerId] {
        self.above.get(owner).map_or(&[], Vec::as_slice)
    }
}

impl Fixed {
    /// The sections that are others in another file.
    pub fn changed(&self, other: &Fixed) -> Vec<&'static str> {
        let sections = [
            ("gateway", self.gateway == other.gateway),
            ("admin", self.admin == other.admin),
            ("upstream", self.upstream == other.upstream),
        ];
        sections.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}
