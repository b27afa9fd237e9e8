//! An answer as its key keeps it: what is replayed, as bytes.
//!
//! ```text
//!  version  status  fields  { name length  name  value length  value } …  body
//!  u8: 1    u16     u16       u16                u32                       what is left
//! ```
//!
//! Numbers are big-endian. What is read may come from another version of this crate, or from
//! another program that shares the store: nothing in it is taken for granted.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode};
use thiserror::Error;

const VERSION: u8 = 1;

/// Fields that belong to one transfer or to one moment, and so are not replayed; and the quota's,
/// which begin with one of [`QUOTA`].
const MOMENTARY: &[&str] = &[
    "age",
    "alt-svc",
    "connection",
    "content-length",
    "date",
    "idempotency-replayed",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "retry-after",
    "server-timing",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const QUOTA: &[&str] = &["ratelimit", "x-ratelimit-"];

/// What a key has is no answer that can be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Unreadable {
    /// It is of another version, or of another program.
    #[error("it is of version {found}; accepted: {VERSION}")]
    Version {
        /// The version.
        found: u8,
    },
    /// It ends too early.
    #[error("it ends within its {what}")]
    Short {
        /// `version`, `status`, `fields`.
        what: &'static str,
    },
    /// It has a status that no final answer has.
    #[error("its status is {found}; accepted: 200 to 999")]
    Status {
        /// The status.
        found: u16,
    },
    /// It has more fields than an answer can have.
    #[error("it has more than {fields} fields")]
    Fields {
        /// So many were read.
        fields: u16,
    },
    /// A field has a name or a value that none can have.
    #[error("the {what} of its field {index} is malformed")]
    Field {
        /// `name` or `value`.
        what: &'static str,
        /// Which field, counted from 1.
        index: u16,
    },
}

/// An answer that is written down while it passes, up to a size.
pub(super) struct Recording {
    bytes: Vec<u8>,
    /// One byte more than is kept, by which the keys see that it is not all of it.
    enough: usize,
}

impl Recording {
    /// Begins with the head. What is kept has so many bytes at most, all in all.
    pub(super) fn new(head: &Parts, most: usize) -> Self {
        let mut recording = Self { bytes: Vec::new(), enough: most.saturating_add(1) };
        recording.add(&[VERSION]);
        recording.add(&head.status.as_u16().to_be_bytes());
        let kept = kept(&head.headers);
        recording.add(&u16::try_from(kept.len()).unwrap_or(u16::MAX).to_be_bytes());
        for (name, value) in kept {
            let name = name.as_str().as_bytes();
            // The type of names bounds them, and nobody keeps a value of 4 GiB.
            recording.add(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
            recording.add(name);
            recording.add(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
            recording.add(value.as_bytes());
        }
        recording
    }

    /// The next bytes, of the body.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let room = self.enough - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What the key keeps. One byte too long if the answer is too large.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The answer that was written down.
///
/// # Errors
///
/// [`Unreadable`].
pub(super) fn read(bytes: &[u8]) -> Result<Response<Bytes>, Unreadable> {
    let mut rest = bytes;
    let [version] = number(&mut rest, "version")?;
    if version != VERSION {
        return Err(Unreadable::Version { found: version });
    }
    let found = u16::from_be_bytes(number(&mut rest, "status")?);
    let status = StatusCode::from_u16(found).ok().filter(|status| !status.is_informational());
    let mut headers = HeaderMap::new();
    let fields = u16::from_be_bytes(number(&mut rest, "fields")?);
    for index in 1..=fields {
        let length = u16::from_be_bytes(number(&mut rest, "fields")?);
        let name = HeaderName::from_bytes(take(&mut rest, usize::from(length))?)
            .map_err(|_| Unreadable::Field { what: "name", index })?;
        let length = u32::from_be_bytes(number(&mut rest, "fields")?);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let value = HeaderValue::from_bytes(take(&mut rest, length)?)
            .map_err(|_| Unreadable::Field { what: "value", index })?;
        headers.try_append(name, value).map_err(|_| Unreadable::Fields { fields: index - 1 })?;
    }
    let mut response = Response::new(Bytes::copy_from_slice(rest));
    *response.status_mut() = status.ok_or(Unreadable::Status { found })?;
    *response.headers_mut() = headers;
    Ok(response)
}

/// The fields that are replayed, and those that the answer's `Connection` names are not.
fn kept(headers: &HeaderMap) -> Vec<(&HeaderName, &HeaderValue)> {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = named.flat_map(|names| names.split(',')).map(str::trim).collect();
    let is_kept = |name: &str| {
        !MOMENTARY.contains(&name)
            && !QUOTA.iter().any(|prefix| name.starts_with(prefix))
            && !named.iter().any(|hop| hop.eq_ignore_ascii_case(name))
    };
    headers.iter().filter(|(name, _)| is_kept(name.as_str())).collect()
}

fn number<const N: usize>(rest: &mut &[u8], what: &'static str) -> Result<[u8; N], Unreadable> {
    let (number, after) = rest.split_first_chunk().ok_or(Unreadable::Short { what })?;
    *rest = after;
    Ok(*number)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Unreadable> {
    let (taken, after) =
        rest.split_at_checked(length).ok_or(Unreadable::Short { what: "fields" })?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests;
