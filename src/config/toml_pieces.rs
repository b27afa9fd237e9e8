//! TOML documents, read in pieces.
//!
//! The reader of TOML builds the whole document before anything is taken from it: of a million
//! owners that is gigabytes, and takes several times as long as a thousand times a thousand of
//! them. So a long document is cut before lines that begin with `[[owners]]`, and each piece is
//! read by itself.
//!
//! # Why that is the same
//!
//! A piece that ends inside a text, a list or a table does not read. So if all pieces read, every
//! cut is between two expressions; and what follows a line `[[owners]]` refers to nothing before
//! it, except to a list that it continues. That is the owners', whose beginning is in the first
//! piece with at least one such line, and the prices', of which a second piece is refused.
//!
//! When a piece is refused the document is read in one, for the line and the path of the error.

use super::ConfigError;
use super::document::Document;

/// So many owners are in a piece: enough to make little of its own cost, and few enough for the
/// processor's caches.
const OWNERS: usize = 16;

/// Reads a document whole.
pub(super) fn read(text: &str) -> Result<Document, ConfigError> {
    let mut document = Document::default();
    if pieces(text).all(|piece| read_piece(piece, &mut document).is_ok()) {
        return Ok(document);
    }
    let mut document = Document::default();
    read_piece(text, &mut document)?;
    Ok(document)
}

/// Cuts before every so many lines that begin with `[[owners]]`.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let heads = text.match_indices("\n[[owners]]").map(|(end, _)| end + 1);
    let cuts = heads.skip(OWNERS).step_by(OWNERS).chain([text.len()]);
    cuts.scan(0, |from, to| Some(&text[std::mem::replace(from, to)..to]))
}

fn read_piece(text: &str, document: &mut Document) -> Result<(), ConfigError> {
    let wrong = |error: toml::de::Error, path: String| {
        let line_of = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let line = error.span().map(|span| line_of(span.start));
        ConfigError { line, path, problem: error.message().trim_end().to_owned() }
    };
    let reader = toml::Deserializer::parse(text).map_err(|error| wrong(error, String::new()))?;
    document.read(reader).map_err(|(path, error)| wrong(error, path))
}
