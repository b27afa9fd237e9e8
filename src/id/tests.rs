//! Names: what is accepted, how pairs are ordered, and lookup by text.

use std::collections::{BTreeMap, HashMap};

use super::*;

fn owner(text: &str) -> OwnerId {
    text.parse().expect("a well-formed owner")
}

#[test]
fn the_first_colon_splits() {
    let url = owner("provider:https://a.example:443/v1");
    assert_eq!(url.kind(), "provider");
    assert_eq!(url.name(), "https://a.example:443/v1");
    assert_eq!(url, OwnerId::new("provider", "https://a.example:443/v1").expect("accepted"));
    assert_eq!(url.to_string().parse(), Ok(url.clone()));
    assert_eq!(format!("{url:?}"), "\"provider:https://a.example:443/v1\"");
    assert_eq!(url.members(), None);
}

#[test]
fn malformed_owners_are_refused() {
    let long = "n".repeat(257);
    let text = |s: &str| s.to_owned();
    for (kind, name, error) in [
        ("", "k", IdError::Empty { what: "owner's kind" }),
        ("key", "", IdError::Empty { what: "owner's name" }),
        ("Key", "k", IdError::Kind { kind: text("Key") }),
        ("1key", "k", IdError::Kind { kind: text("1key") }),
        ("key:x", "k", IdError::Kind { kind: text("key:x") }),
        ("key&", "k", IdError::Kind { kind: text("key&") }),
        ("ключ", "k", IdError::Kind { kind: text("ключ") }),
        ("key", &long, IdError::TooLong { what: "owner's name", bytes: 257 }),
        (&long, "k", IdError::TooLong { what: "owner's kind", bytes: 257 }),
        (
            "key",
            "a\nb",
            IdError::Character { what: "owner's name", text: text("a\nb"), found: '\n' },
        ),
        ("key", "a&b", IdError::Character { what: "owner's name", text: text("a&b"), found: '&' }),
    ] {
        assert_eq!(OwnerId::new(kind, name), Err(error));
    }
    assert_eq!("k1".parse::<OwnerId>(), Err(IdError::NoKind { text: text("k1") }));
    let longest = "n".repeat(256);
    assert_eq!(OwnerId::new("model_v2-x", &longest).expect("accepted").name(), longest);
}

#[test]
fn a_pair_does_not_depend_on_the_order() {
    let (key, model) = (owner("key:k1"), owner("model:m1"));
    let pair = OwnerId::pair(&model, &key).expect("accepted");
    assert_eq!(pair, OwnerId::pair(&key, &model).expect("accepted"));
    assert_eq!(pair.as_str(), "key:k1&model:m1");
    assert_eq!("model:m1&key:k1".parse(), Ok(pair.clone()));
    assert_eq!(pair.to_string().parse(), Ok(pair.clone()));
    assert_eq!(pair.members(), Some((key.clone(), model)));
    assert_eq!((pair.kind(), pair.name()), ("&", "key:k1&model:m1"));

    let again = OwnerId::pair(&pair, &key);
    assert_eq!(again, Err(IdError::PairOfPairs { owner: pair.clone() }));
    assert_eq!(OwnerId::pair(&key, &pair), Err(IdError::PairOfPairs { owner: pair.clone() }));
    assert_eq!(OwnerId::pair(&pair, &pair), Err(IdError::PairOfPairs { owner: pair }));
    assert_eq!(OwnerId::pair(&key, &key), Err(IdError::PairOfOne { owner: key.clone() }));
    assert_eq!("key:k1&key:k1".parse::<OwnerId>(), Err(IdError::PairOfOne { owner: key }));
    assert!("a:1&b:2&c:3".parse::<OwnerId>().is_err());
    assert!("a:1&".parse::<OwnerId>().is_err());
}

#[test]
fn limit_ids_are_any_text() {
    for text in ["a", "key:k1&model:m1 / monthly", "müll", &"x".repeat(256)] {
        assert_eq!(LimitId::new(text).expect("accepted").as_str(), text);
    }
    assert_eq!(LimitId::new(""), Err(IdError::Empty { what: "limit id" }));
    let long = LimitId::new(&"x".repeat(257));
    assert_eq!(long, Err(IdError::TooLong { what: "limit id", bytes: 257 }));
    let refused = LimitId::new("a\0").expect_err("a control character");
    assert_eq!(
        refused.to_string(),
        "the limit id \"a\\0\" contains '\\0'; accepted: any text without control characters, in \
         owners' names also without `&`"
    );
}

#[test]
fn maps_are_asked_by_text() {
    let hashed = HashMap::from([(owner("key:k1"), 1)]);
    assert_eq!(hashed.get("key:k1"), Some(&1));
    let sorted: BTreeMap<LimitId, i32> = [("b", 2), ("a", 1)]
        .map(|(id, n)| (LimitId::new(id).expect("accepted"), n))
        .into_iter()
        .collect();
    assert_eq!(sorted.get("b"), Some(&2));
    assert_eq!(sorted.keys().map(LimitId::as_str).collect::<Vec<_>>(), ["a", "b"]);
}

/// Fifteen bytes are the last that are in the id, and two texts of up to 513 bytes make a pair.
#[test]
fn short_and_long_texts_are_alike() {
    for length in [1, 10, 11, 12, 255, 256] {
        let name = "n".repeat(length);
        let (key, model) = (owner(&format!("key:{name}")), owner(&format!("model:{name}")));
        assert_eq!(key.as_str(), format!("key:{name}"));
        assert_eq!((key.kind(), key.name()), ("key", &*name));
        assert_eq!(key.clone(), OwnerId::new("key", &name).expect("accepted"));
        let pair = OwnerId::pair(&model, &key).expect("two owners");
        assert_eq!(pair.as_str(), format!("key:{name}&model:{name}"));
        assert_eq!(pair.members(), Some((key.clone(), model)));
        assert!(owner("key:m") < key && key < owner("key:o"));
        assert_eq!(HashMap::from([(key, length)]).get(&*format!("key:{name}")), Some(&length));
        assert_eq!(LimitId::new(&name).expect("accepted").as_str(), name);
    }
}
