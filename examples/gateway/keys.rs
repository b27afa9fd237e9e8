//! Api keys, known by their hashes only.
//!
//! A key is drawn at random and long, so one round of SHA-256 is enough: nobody goes through 128
//! bits. A file or a log that shows a hash shows no key.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Deserializer, de};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tollkeeper::OwnerId;

/// A shorter key could be guessed.
const KEY_BYTES_MIN: usize = 24;
const KEY_BYTES_MAX: usize = 512;

/// The hash of a secret. Two are compared in constant time.
#[derive(Clone)]
pub struct Hash([u8; 32]);

/// The keys, by their hashes, with their owners.
///
/// The first bytes of the hash find the few candidates. What that takes tells nothing of a key:
/// who does not know it cannot choose its hash.
#[derive(Default)]
pub struct Keys(HashMap<[u8; 8], Vec<(Hash, OwnerId)>>);

/// Why a text was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "the key has {0} bytes; accepted: {KEY_BYTES_MIN} to {KEY_BYTES_MAX}, \
         as `openssl rand -hex 32` makes"
    )]
    Length(usize),
    #[error("the key has a space or a character that no header field carries")]
    Character,
}

impl Hash {
    pub fn of(secret: &[u8]) -> Hash {
        Hash(Sha256::digest(secret).into())
    }

    /// The hash of a key that is to be handed out.
    pub fn of_key(key: &str) -> Result<Hash, KeyError> {
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(KeyError::Length(key.len()));
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::Character);
        }
        Ok(Hash::of(key.as_bytes()))
    }

    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn first(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Hash) -> bool {
        bool::from(self.0.ct_eq(&other.0))
    }
}

/// Nothing of it: a log is no place for it.
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(..)")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.values().map(Vec::len).sum::<usize>())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The text is not repeated: it may be the key itself, by mistake.
        let wrong = || {
            let accepted = "accepted: 64 hexadecimal digits, as `gateway hash-key` prints them";
            de::Error::custom(format_args!("this is no SHA-256; {accepted}"))
        };
        let digits = text.as_bytes();
        let (pairs, []) = digits.as_chunks::<2>() else { return Err(wrong()) };
        let mut hash = [0; 32];
        if pairs.len() != hash.len() {
            return Err(wrong());
        }
        for (byte, pair) in hash.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or_else(wrong);
            *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).map_err(|_| wrong())?;
        }
        Ok(Hash(hash))
    }
}

impl Keys {
    /// Adds a key. False if it is there already.
    pub fn add(&mut self, hash: Hash, owner: OwnerId) -> bool {
        let candidates = self.0.entry(hash.first()).or_default();
        if candidates.iter().any(|(other, _)| *other == hash) {
            return false;
        }
        candidates.push((hash, owner));
        true
    }

    /// Whose key this is.
    pub fn owner(&self, key: &[u8]) -> Option<&OwnerId> {
        let hash = Hash::of(key);
        let candidates = self.0.get(&hash.first())?;
        let mut found = None;
        // All of them are looked at, whichever it is.
        for (other, owner) in candidates {
            let same: Choice = other.0.ct_eq(&hash.0);
            if bool::from(same) {
                found = Some(owner);
            }
        }
        found
    }

    pub fn owners(&self) -> impl Iterator<Item = &OwnerId> {
        self.0.values().flatten().map(|(_, owner)| owner)
    }
}

/// The secret of an `Authorization: Bearer …` field.
pub fn bearer(headers: &http::HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(http::header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, secret) = field.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| secret.trim_ascii())
}
