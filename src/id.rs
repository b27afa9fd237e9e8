//! Names: who has limits, and which limit it is.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use crate::sync::Text;

/// The longest kind, name or limit id, in bytes.
const BYTES_MAX: usize = 256;

/// Whom limits hang on: a key, a team, a customer, a provider, a model, or whatever kind of thing
/// a gateway has.
///
/// Cheap to clone: up to 15 bytes of text are in the id itself, which is 16 bytes large; longer
/// texts are shared by its clones.
///
/// The text form is `kind:name`, as in `key:k1`. The kind is `[a-z][a-z0-9_-]*`; the name is any
/// text without control characters and `&`, so it may contain colons. Both have 1 to 256 bytes.
///
/// A **pair** stands for two owners together, such as a key on a model. Its text is both texts
/// with `&` between, in order: `key:k1&model:m1`.
///
/// ```
/// use tollkeeper::OwnerId;
///
/// let key = OwnerId::new("key", "k1")?;
/// let model: OwnerId = "model:m1".parse()?;
/// let both = OwnerId::pair(&model, &key)?;
/// assert_eq!(both.to_string(), "key:k1&model:m1");
/// assert_eq!(both.members(), Some((key, model)));
/// # Ok::<(), tollkeeper::IdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(Text);

/// Which limit it is: 1 to 256 bytes of any text without control characters. Cheap to clone, like
/// an [`OwnerId`].
///
/// ```
/// use tollkeeper::LimitId;
///
/// let id = LimitId::new("team-a monthly")?;
/// assert_eq!(id.as_str(), "team-a monthly");
/// # Ok::<(), tollkeeper::IdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(Text);

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// A name or limit id is empty.
    #[error("the {what} is empty; accepted: 1 to {} bytes of text", BYTES_MAX)]
    Empty {
        /// `owner's kind`, `owner's name` or `limit id`.
        what: &'static str,
    },
    /// A kind, name or limit id is too long.
    #[error("the {what} is {bytes} bytes long; accepted: 1 to {} bytes of text", BYTES_MAX)]
    TooLong {
        /// `owner's kind`, `owner's name` or `limit id`.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A name or limit id contains a character that it may not.
    #[error(
        "the {what} {text:?} contains {found:?}; accepted: any text without control characters, \
         in owners' names also without `&`"
    )]
    Character {
        /// `owner's name` or `limit id`.
        what: &'static str,
        /// The text.
        text: String,
        /// The character.
        found: char,
    },
    /// An owner's kind is not an identifier.
    #[error(
        "the owner's kind {kind:?} is malformed; accepted: a letter a to z, then letters a to z, \
         digits, `_` and `-`"
    )]
    Kind {
        /// The kind as given.
        kind: String,
    },
    /// An owner's text has no colon.
    #[error("the owner {text:?} has no kind; accepted: `kind:name`, such as `key:k1`")]
    NoKind {
        /// The text, cut when it is very long.
        text: String,
    },
    /// A pair of an owner with itself.
    #[error("{owner} cannot be paired with itself; accepted: two different owners")]
    PairOfOne {
        /// The owner.
        owner: OwnerId,
    },
    /// A pair of which a member is a pair.
    #[error("{owner} is a pair already; accepted: two owners that are not pairs")]
    PairOfPairs {
        /// The member.
        owner: OwnerId,
    },
}

impl OwnerId {
    /// The owner of a kind and a name.
    ///
    /// # Errors
    ///
    /// [`IdError`] saying what is wrong with the kind or the name.
    pub fn new(kind: &str, name: &str) -> Result<OwnerId, IdError> {
        check_single(kind, name)?;
        Ok(OwnerId(join(kind, ":", name)))
    }

    /// The owner that stands for two owners together. The order does not matter.
    ///
    /// # Errors
    ///
    /// [`IdError::PairOfOne`] when both are the same, [`IdError::PairOfPairs`] when one of them
    /// is a pair.
    pub fn pair(one: &OwnerId, other: &OwnerId) -> Result<OwnerId, IdError> {
        if let Some(owner) = [one, other].into_iter().find(|owner| owner.split().is_some()) {
            return Err(IdError::PairOfPairs { owner: owner.clone() });
        }
        if one == other {
            return Err(IdError::PairOfOne { owner: one.clone() });
        }
        let (first, second) = (one.min(other), one.max(other));
        Ok(OwnerId(join(&first.0, "&", &second.0)))
    }

    /// The two owners of a pair, in order; none for a single owner.
    pub fn members(&self) -> Option<(OwnerId, OwnerId)> {
        self.split().map(|(first, second)| (OwnerId(first.into()), OwnerId(second.into())))
    }

    /// Whether it stands for two owners together.
    pub fn is_pair(&self) -> bool {
        self.split().is_some()
    }

    /// What kind of owner it is, such as `key`. A pair's kind is `&`, which no single owner has.
    pub fn kind(&self) -> &str {
        match (self.split(), self.0.split_once(':')) {
            (None, Some((kind, _))) => kind,
            _ => "&",
        }
    }

    /// The name within the kind. A pair's name is its whole text.
    pub fn name(&self) -> &str {
        match (self.split(), self.0.split_once(':')) {
            (None, Some((_, name))) => name,
            _ => &self.0,
        }
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The members' texts of a pair. No name contains `&`, so there is one exactly in pairs.
    fn split(&self) -> Option<(&str, &str)> {
        self.0.split_once('&')
    }
}

/// Reads `kind:name`; the first colon splits. Reads a pair in either order of its members.
impl FromStr for OwnerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<OwnerId, IdError> {
        let single = |text: &str| match text.split_once(':') {
            Some((kind, name)) => check_single(kind, name).map(|()| OwnerId(text.into())),
            None => Err(IdError::NoKind { text: text.chars().take(64).collect() }),
        };
        match text.split_once('&') {
            Some((one, other)) => OwnerId::pair(&single(one)?, &single(other)?),
            None => single(text),
        }
    }
}

impl LimitId {
    /// The limit id of a text.
    ///
    /// # Errors
    ///
    /// [`IdError`] when the text is empty, longer than 256 bytes or has control characters.
    pub fn new(text: &str) -> Result<LimitId, IdError> {
        check("limit id", text)?;
        check_characters("limit id", text, char::is_control)?;
        Ok(LimitId(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LimitId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<LimitId, IdError> {
        LimitId::new(text)
    }
}

/// Checks the kind and the name of an owner that is no pair.
fn check_single(kind: &str, name: &str) -> Result<(), IdError> {
    check("owner's kind", kind)?;
    let letter = |b: u8| b.is_ascii_lowercase();
    let follows = |b: u8| letter(b) || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !kind.bytes().next().is_some_and(letter) || !kind.bytes().all(follows) {
        return Err(IdError::Kind { kind: kind.to_owned() });
    }
    check("owner's name", name)?;
    check_characters("owner's name", name, |c| c.is_control() || c == '&')
}

/// One text, in no more bytes than it needs.
fn join(first: &str, between: &str, second: &str) -> Text {
    let mut text = Text::with_capacity(first.len() + between.len() + second.len());
    [first, between, second].into_iter().for_each(|part| text.push_str(part));
    text
}

/// Checks a length.
fn check(what: &'static str, text: &str) -> Result<(), IdError> {
    match text.len() {
        0 => Err(IdError::Empty { what }),
        bytes if bytes > BYTES_MAX => Err(IdError::TooLong { what, bytes }),
        _ => Ok(()),
    }
}

/// Checks that there is no character that `refused` names. The text's length is checked before.
fn check_characters(
    what: &'static str,
    text: &str,
    refused: impl Fn(char) -> bool,
) -> Result<(), IdError> {
    match text.chars().find(|c| refused(*c)) {
        Some(found) => Err(IdError::Character { what, text: text.to_owned(), found }),
        None => Ok(()),
    }
}

/// What both kinds of id share: they are, compare, hash and print as their text. A map keyed by
/// them may be asked by `&str`, because `Eq`, `Ord` and `Hash` are those of the text.
macro_rules! text_id {
    ($id:ident) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Borrow<str> for $id {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $id {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(OwnerId);
text_id!(LimitId);

#[cfg(test)]
mod tests;
