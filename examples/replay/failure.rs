//! Why a replay could not be made at all. A law that does not hold is a result, not a failure.

use super::malformed::Malformed;
use thiserror::Error;

/// Why a replay could not be made.
#[derive(Debug, Error)]
pub enum Failure {
    /// Something that was given cannot be used.
    #[error("{0}")]
    Input(String),
    /// A malformed row under `--strict`.
    #[error("{0}\n--strict stops at the first malformed row; without it the row is left out")]
    Strict(Malformed),
    /// A result cannot be written.
    #[error("cannot write the result: {0}")]
    Output(std::io::Error),
    /// Nobody reads the result any more.
    #[error("nobody reads the result")]
    Unread,
}

impl From<Malformed> for Failure {
    fn from(row: Malformed) -> Failure {
        Failure::Strict(row)
    }
}

impl From<std::io::Error> for Failure {
    fn from(why: std::io::Error) -> Failure {
        match why.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::Output(why),
        }
    }
}

/// The text of a file that was named on the command line.
pub fn read(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|why| Failure::Input(format!("cannot read {}: {why}", path.display())))
}
