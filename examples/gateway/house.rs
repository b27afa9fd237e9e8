//! What the gateway runs by, and what operators change of it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tollkeeper::{Applied, ConfigError, Engine, Ledger, LimitId, OwnerId};
use toml::{Table, Value};

use super::config::{self, File, Fixed, Rules, SAMPLE};
use super::news::News;
use super::switches;

/// What all parts of the gateway share.
pub struct House {
    pub engine: Engine,
    pub ledger: Ledger,
    pub news: News,
    source: Source,
    fixed: Fixed,
    /// The owners, limits and prices in force. Held while they change.
    document: Mutex<Table>,
    rules: RwLock<Arc<Rules>>,
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    Sample,
    File(PathBuf),
}

/// What reading the configuration again has changed.
#[derive(Debug)]
pub struct Reloaded {
    pub applied: Applied,
    /// Sections that are others now and need a restart.
    pub restart: Vec<&'static str>,
}

/// Why a limit was not changed. Nothing was.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("there is no limit {0} in the configuration")]
    Unknown(LimitId),
    #[error("{0}")]
    Form(String),
    #[error(transparent)]
    Wrong(#[from] ConfigError),
}

impl Source {
    pub fn text(&self) -> Result<String, String> {
        match self {
            Source::Sample => Ok(SAMPLE.to_owned()),
            Source::File(path) => {
                let cannot = |why| format!("cannot read {}: {why}", path.display());
                std::fs::read_to_string(path).map_err(cannot)
            }
        }
    }

    /// Reads it. An error says where it is.
    pub fn read(&self) -> Result<(String, File), String> {
        let text = self.text()?;
        let file = config::read(&text).map_err(|wrong| format!("{}{wrong}", self.name()))?;
        Ok((text, file))
    }

    fn name(&self) -> String {
        match self {
            Source::Sample => "the sample: ".to_owned(),
            Source::File(path) => format!("{}: ", path.display()),
        }
    }
}

impl House {
    /// With what is in force in the engine by now.
    pub fn new(ledger: Ledger, source: Source, file: File) -> House {
        House {
            engine: ledger.engine().clone(),
            ledger,
            news: News::default(),
            source,
            fixed: file.fixed,
            document: Mutex::new(file.document),
            rules: RwLock::new(Arc::new(file.rules)),
        }
    }

    pub fn fixed(&self) -> &Fixed {
        &self.fixed
    }

    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn document(&self) -> MutexGuard<'_, Table> {
        self.document.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the configuration again and puts it in force: all of it, or nothing if it is wrong.
    pub fn reload(&self) -> Result<Reloaded, String> {
        let mut document = self.document();
        let (text, file) = self.source.read()?;
        let applied = self.engine.apply(&file.config).map_err(|error| {
            let wrong = config::locate(&text, &error);
            format!("{}{wrong}", self.source.name())
        })?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(file.rules);
        *document = file.document;
        let restart = self.fixed.changed(&file.fixed);
        tracing::info!(
            created = applied.created.len(),
            changed = applied.changed.len(),
            removed = applied.removed.len(),
            "the configuration was read again"
        );
        if !restart.is_empty() {
            tracing::warn!(sections = restart.join(", "), "a restart is needed for some of it");
        }
        Ok(Reloaded { applied, restart })
    }

    /// Defines a limit anew, until the configuration is read again.
    pub fn change(&self, limit: &LimitId, definition: Table) -> Result<Applied, ChangeError> {
        let mut document = self.document();
        let mut changed = document.clone();
        let Some(place) = find(&mut changed, limit) else {
            return Err(ChangeError::Unknown(limit.clone()));
        };
        let mut definition = definition;
        if definition.insert("id".to_owned(), limit.as_str().into()).is_some() {
            let form = "a limit's id is in the path and does not change";
            return Err(ChangeError::Form(form.to_owned()));
        }
        *place = Value::Table(definition);
        let applied = self.engine.apply(&config::understand(&changed)?)?;
        *document = changed;
        Ok(applied)
    }

    /// Whether one of these owners is suspended, and who.
    pub fn suspended<'a>(
        &self,
        owners: impl IntoIterator<Item = &'a OwnerId>,
    ) -> Option<&'a OwnerId> {
        owners.into_iter().find(|owner| switches::is_off(&self.engine, owner))
    }
}

/// Where a limit is defined in a document.
fn find<'a>(document: &'a mut Table, limit: &LimitId) -> Option<&'a mut Value> {
    let Some(Value::Array(owners)) = document.get_mut("owners") else { return None };
    let kinds = ["budgets", "rate_limits", "concurrency"];
    let owners = owners.iter_mut().filter_map(Value::as_table_mut);
    let lists = owners.flat_map(|owner| owner.iter_mut());
    let lists = lists.filter(|(kind, _)| kinds.contains(&kind.as_str()));
    let mut limits = lists.filter_map(|(_, list)| list.as_array_mut()).flatten();
    limits.find(|defined| defined.get("id").and_then(Value::as_str) == Some(limit.as_str()))
}
