//! Where a ledger is kept, as the command line says it.

use super::failure::Failure;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use tollkeeper::LedgerStore;

type Opened = Result<Arc<dyn LedgerStore>, String>;

/// Where a ledger is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Sqlite(PathBuf),
    /// The URL.
    Postgres(String),
}

impl Place {
    /// Opens it, or makes it.
    pub fn open(&self) -> Result<Arc<dyn LedgerStore>, Failure> {
        let opened = match self {
            Place::Sqlite(path) => sqlite(path),
            Place::Postgres(url) => postgres(url),
        };
        opened.map_err(|why| Failure::Input(format!("--ledger {self}: {why}")))
    }
}

#[cfg(feature = "sqlite")]
fn sqlite(path: &Path) -> Opened {
    let opened = tollkeeper::Sqlite::open(path).map_err(|why| why.to_string())?;
    Ok(Arc::new(opened))
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(_: &Path) -> Opened {
    Err("this program is built without SQLite; build it with --features sqlite".to_owned())
}

#[cfg(feature = "postgres")]
fn postgres(url: &str) -> Opened {
    let opened = tollkeeper::Postgres::connect(url).map_err(|why| why.to_string())?;
    Ok(Arc::new(opened))
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &str) -> Opened {
    Err("this program is built without PostgreSQL; build it with --features postgres".to_owned())
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", file)) if !file.is_empty() => Ok(Place::Sqlite(file.into())),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Place::Postgres(text.to_owned()))
            }
            _ => Err("accepted is sqlite:FILE or postgres://USER@HOST/DATABASE".to_owned()),
        }
    }
}

/// Without the password: it is printed and kept in reports.
impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = match self {
            Place::Sqlite(path) => return write!(out, "sqlite:{}", path.display()),
            Place::Postgres(url) => url,
        };
        let (scheme, rest) = url.split_once("//").unwrap_or(("", url));
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let place = match place.rsplit_once('@') {
            Some((user, host)) => {
                let user = user.split_once(':').map_or(user, |(name, _)| name);
                format!("{user}@{host}")
            }
            None => place.to_owned(),
        };
        write!(out, "{scheme}//{place}")?;
        let shown = parameters.split('&').filter(|it| !it.is_empty() && !it.starts_with("pass"));
        for (at, parameter) in shown.enumerate() {
            write!(out, "{}{parameter}", if at == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_without_their_passwords() {
        for (text, shown) in [
            ("sqlite:ledger.sqlite", "sqlite:ledger.sqlite"),
            ("sqlite:/var/a:b", "sqlite:/var/a:b"),
            ("postgres://u:secret@h:5432/d", "postgres://u@h:5432/d"),
            (
                "postgresql:///d?host=/run&password=secret&user=u",
                "postgresql:///d?host=/run&user=u",
            ),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), shown);
        }
        for text in ["", "sqlite:", "ledger.sqlite", "mysql://h/d", "postgres:d", "SQLITE:f"] {
            assert!(text.parse::<Place>().unwrap_err().starts_with("accepted is"), "{text}");
        }
    }
}
