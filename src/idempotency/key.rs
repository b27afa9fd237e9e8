//! Which request it is: whose key it is, and what the request asks.

use std::fmt;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::sync::Arc;

/// The longest tenant or operation, in bytes.
pub(crate) const PART_BYTES_MAX: usize = 256;
/// The longest key of a client, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// Whose key it is: the tenant, the operation, and the key that the client sent.
///
/// All three are mandatory, so a key never reaches the answer of another tenant or of another
/// operation. Cheap to clone.
///
/// ```
/// use tollkeeper::Scope;
///
/// let scope = Scope::new("acme", "POST /v1/chat/completions", "8e03978e-40d5-43dd")?;
/// assert_eq!(scope.client_key(), "8e03978e-40d5-43dd");
///
/// let error = Scope::new("acme", "POST /v1/chat/completions", "").unwrap_err();
/// assert!(error.to_string().starts_with("the client's key is empty"));
/// # Ok::<(), tollkeeper::ScopeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<Parts>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Parts {
    tenant: Box<str>,
    operation: Box<str>,
    client_key: Box<str>,
}

/// A text that cannot be part of a [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// It is empty.
    #[error("the {what} is empty; accepted: {accepted}")]
    Empty {
        /// `tenant`, `operation` or `client's key`.
        what: &'static str,
        /// What is accepted.
        accepted: &'static str,
    },
    /// It is too long.
    #[error("the {what} is {bytes} bytes long; accepted: {accepted}")]
    TooLong {
        /// `tenant`, `operation` or `client's key`.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// What is accepted.
        accepted: &'static str,
    },
    /// It contains a character that it may not.
    #[error("the {what} contains {found:?} at byte {at}; accepted: {accepted}")]
    Character {
        /// `tenant`, `operation` or `client's key`.
        what: &'static str,
        /// The character.
        found: char,
        /// Where it is.
        at: usize,
        /// What is accepted.
        accepted: &'static str,
    },
}

impl Scope {
    /// The scope of a client's key. The tenant is whoever the gateway authenticated; the operation
    /// is what keeps two endpoints apart that get the same key.
    ///
    /// # Errors
    ///
    /// [`ScopeError`]. Accepted are a tenant and an operation of 1 to 256 bytes without control
    /// characters, and a key of 1 to 255 printable ASCII characters, as a header field carries.
    pub fn new(tenant: &str, operation: &str, client_key: &str) -> Result<Scope, ScopeError> {
        let part = |what, text| {
            check(what, text, PART_BYTES_MAX, PART_ACCEPTED, |c| !c.is_control())?;
            Ok(Box::from(text))
        };
        let tenant = part("tenant", tenant)?;
        let operation = part("operation", operation)?;
        let printable = |c: char| c == ' ' || c.is_ascii_graphic();
        check("client's key", client_key, KEY_BYTES_MAX, KEY_ACCEPTED, printable)?;
        Ok(Scope(Arc::new(Parts { tenant, operation, client_key: client_key.into() })))
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.0.tenant
    }

    /// The operation.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// The key that the client sent.
    pub fn client_key(&self) -> &str {
        &self.0.client_key
    }

    /// SHA-256 of what it is for and of the scope.
    pub(crate) fn digest(&self, purpose: &[u8]) -> [u8; 32] {
        digest(&[
            purpose,
            self.tenant().as_bytes(),
            self.operation().as_bytes(),
            self.client_key().as_bytes(),
        ])
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} for {}", self.client_key(), self.tenant(), self.operation())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({self})")
    }
}

const PART_ACCEPTED: &str = "1 to 256 bytes of any text without control characters";
const KEY_ACCEPTED: &str = "1 to 255 printable ASCII characters";

fn check(
    what: &'static str,
    text: &str,
    bytes_max: usize,
    accepted: &'static str,
    accepts: impl Fn(char) -> bool,
) -> Result<(), ScopeError> {
    if text.is_empty() {
        return Err(ScopeError::Empty { what, accepted });
    }
    if text.len() > bytes_max {
        return Err(ScopeError::TooLong { what, bytes: text.len(), accepted });
    }
    match text.char_indices().find(|&(_, c)| !accepts(c)) {
        Some((at, found)) => Err(ScopeError::Character { what, found, at, accepted }),
        None => Ok(()),
    }
}

/// What a request asks: SHA-256 of the parts that make it the same request.
///
/// It is compared whenever a key is met again: the same key with another fingerprint is a mistake
/// of the client, and neither executed nor answered with what the key was used for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of these parts, in their order; each goes in with its length, so that no two lists of
    /// parts run together. Give it the method, the route and the body as it was sent, or a
    /// canonical form of it where clients may send the same body differently.
    ///
    /// ```
    /// use tollkeeper::Fingerprint;
    ///
    /// let sent = Fingerprint::of(&[b"POST", b"/v1/chat", b"{\"model\":\"m\"}"]);
    /// assert_eq!(sent, Fingerprint::of(&[b"POST", b"/v1/chat", b"{\"model\":\"m\"}"]));
    /// assert_ne!(sent, Fingerprint::of(&[b"POST", b"/v1/chat{\"model\":\"m\"}"]));
    /// ```
    pub fn of(parts: &[&[u8]]) -> Fingerprint {
        Fingerprint(digest(parts))
    }

    /// The one of these bytes, as a store kept them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Fingerprint {
        Fingerprint(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(")?;
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        let bytes = u64::try_from(part.len()).unwrap_or(u64::MAX);
        hash.update(bytes.to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
