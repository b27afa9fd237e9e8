//! The field `Idempotency-Key` of a request.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use sfv::{BareItem, Item, Parser};

use super::Refusal;

/// The field's name, as a [`HeaderMap`] looks it up.
pub(super) const NAME: &str = "idempotency-key";
/// The longest key, in characters.
const LENGTH_MAX: usize = 255;

const ACCEPTED: &str = "accepted: 1 to 255 printable ASCII characters, in quotes as in \"8e03978e-40d5-43dd\" or without";

/// The key that a request carries, if it carries one.
///
/// The draft of the field has it as a string in quotes, which may be followed by parameters; they
/// mean nothing. Clients send it without quotes: that is the same key, and may then have neither
/// space nor quote nor comma, since two fields that something on the way has joined are not one key.
///
/// # Errors
///
/// 400, for a field that is there more than once, empty, too long, or malformed.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(NAME).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed("is there more than once"));
    }
    let value = value.as_bytes().trim_ascii();
    let key = if value.starts_with(b"\"") { quoted(value)? } else { bare(value)? };
    match key.len() {
        0 => Err(malformed("is empty")),
        length if length > LENGTH_MAX => Err(malformed(format!("is {length} characters long"))),
        _ => Ok(Some(key)),
    }
}

fn quoted(value: &[u8]) -> Result<String, Refusal> {
    let item = Parser::new(value).parse::<Item>();
    match item.map(|item| item.bare_item) {
        Ok(BareItem::String(key)) => Ok(key.into()),
        Ok(_) => Err(malformed("is no string")),
        Err(error) => Err(malformed(format!("is no string in quotes: {error}"))),
    }
}

fn bare(value: &[u8]) -> Result<String, Refusal> {
    let is_bare = |byte: &u8| byte.is_ascii_graphic() && !b"\",".contains(byte);
    match value.iter().position(|byte| !is_bare(byte)) {
        Some(at) => {
            let found = char::from(value[at]);
            Err(malformed(format!("has {found:?} as its character {}, without quotes", at + 1)))
        }
        None => Ok(String::from_utf8_lossy(value).into_owned()),
    }
}

fn malformed(is: impl Into<Cow<'static, str>>) -> Refusal {
    let message = format!("the field Idempotency-Key {}; {ACCEPTED}", is.into());
    Refusal::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", message).param(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn fields(values: &[&[u8]]) -> HeaderMap {
        let value = |bytes: &&[u8]| HeaderValue::from_bytes(bytes).unwrap();
        values.iter().map(|bytes| (NAME.parse().unwrap(), value(bytes))).collect()
    }

    fn key(value: &str) -> Option<String> {
        key_of(&fields(&[value.as_bytes()])).unwrap()
    }

    fn message(values: &[&[u8]]) -> String {
        let refusal = key_of(&fields(values)).unwrap_err();
        assert_eq!(
            (refusal.status, &*refusal.code),
            (StatusCode::BAD_REQUEST, "invalid_idempotency_key")
        );
        refusal.message
    }

    #[test]
    fn keys_come_in_quotes_and_without() {
        assert_eq!(key_of(&HeaderMap::new()).unwrap(), None);
        let uuid = "8e03978e-40d5-43dd-bc93-6894a57f9324";
        assert_eq!(key(uuid).as_deref(), Some(uuid));
        assert_eq!(key(&format!("\"{uuid}\"")).as_deref(), Some(uuid), "the same key");
        assert_eq!(key(&format!("  \"{uuid}\";v=1 ")).as_deref(), Some(uuid));
        assert_eq!(
            key("stainless-node-retry-1b9d;x/+=:").as_deref(),
            Some("stainless-node-retry-1b9d;x/+=:")
        );
        assert_eq!(key(r#""a \"b\" \\ c""#).as_deref(), Some(r#"a "b" \ c"#));
        assert_eq!(key(&"k".repeat(255)).unwrap().len(), 255);
        assert_eq!(key(&format!("\"{}\"", "k".repeat(255))).unwrap().len(), 255);
    }

    #[test]
    fn what_is_no_key_says_why_and_what_is_accepted() {
        assert!(message(&[b"a", b"a"]).starts_with("the field Idempotency-Key is there more than"));
        for empty in [&b""[..], b"  ", b"\"\""] {
            assert!(message(&[empty]).contains("is empty; accepted: 1 to 255"), "{empty:?}");
        }
        assert!(message(&["k".repeat(256).as_bytes()]).contains("is 256 characters long"));
        let long = format!("\"{}\"", "k".repeat(256));
        assert!(message(&[long.as_bytes()]).contains("is 256 characters long"));
        for open in [&b"\"abc"[..], b"\"a\" b", b"\"a\", \"b\"", b"\"a\tb\"", b"\"a\\b\""] {
            assert!(message(&[open]).contains("is no string in quotes: "), "{open:?}");
        }
        assert!(message(&[b"a, b"]).contains("has ',' as its character 2, without quotes"));
        assert!(message(&[b"a b"]).contains("has ' ' as its character 2"));
        assert!(message(&[b"a\"b"]).contains("has '\"' as its character 2"));
        assert!(message(&["é".as_bytes()]).contains("as its character 1"));
        assert!(message(&["\"é\"".as_bytes()]).contains("is no string in quotes"));
    }

    proptest! {
        #[test]
        fn a_key_is_what_a_scope_accepts(value in proptest::collection::vec(0x20_u8..=0xff, 0..300)) {
            prop_assume!(!value.contains(&0x7f));
            if let Ok(Some(key)) = key_of(&fields(&[&value])) {
                prop_assert!(crate::Scope::new("tenant", "operation", &key).is_ok(), "{key:?}");
            }
        }
    }
}
