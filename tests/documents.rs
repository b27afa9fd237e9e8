//! Serde: every value is its text, and a document's errors are the parsers'.
#![cfg(feature = "serde")]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tollkeeper::{
    Config, Dimension, LimitId, Money, OwnerId, Period, Price, PriceTable, Timestamp, Usage,
};

/// Checks that a value is `text` in a document, and back.
fn assert_text<T>(text: &str)
where
    T: std::str::FromStr<Err: Debug> + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let value: T = text.parse().expect("well-formed");
    let json = serde_json::to_string(&value).expect("text");
    assert_eq!(json, format!("{text:?}"));
    assert_eq!(serde_json::from_str::<T>(&json).expect("reads back"), value);
    let from_value = serde_json::from_value::<T>(serde_json::Value::String(text.to_owned()));
    assert_eq!(from_value.expect("owned text reads as well"), value);
}

#[test]
fn values_are_their_texts() {
    assert_text::<Timestamp>("2026-02-28T23:59:59.999999999Z");
    assert_text::<Period>("1h30m");
    assert_text::<Period>("1w@UTC,week=sunday");
    assert_text::<Money>("12.50");
    assert_text::<Dimension>("in_flight");
    assert_text::<OwnerId>("key:k1&model:m1");
    assert_text::<LimitId>("team-a monthly");
}

#[test]
fn numbers_are_not_accepted() {
    let error = |refused: Result<(), serde_json::Error>| refused.expect_err("a number").to_string();
    assert_eq!(
        error(serde_json::from_str::<Money>("12").map(|_| ())),
        "invalid type: integer `12`, expected an amount of money as text, such as \"12.50\" at \
         line 1 column 2"
    );
    error(serde_json::from_str::<Money>("12.5").map(|_| ()));
    error(serde_json::from_str::<Timestamp>("1772323199").map(|_| ()));
    error(serde_json::from_str::<Period>("60").map(|_| ()));
    error(serde_json::from_str::<LimitId>("1").map(|_| ()));
}

#[test]
fn errors_are_those_of_the_parsers() {
    let refused = serde_json::from_str::<Money>("\"-1\"").expect_err("negative");
    let parsed = "-1".parse::<Money>().expect_err("negative");
    assert_eq!(refused.to_string(), format!("{parsed} at line 1 column 4"));
}

#[test]
fn usage_is_strict_about_names() {
    let usage: Usage =
        serde_json::from_str(r#"{"input_tokens": 5, "cost": "0.01"}"#).expect("well-formed");
    let cost = "0.01".parse().expect("well-formed");
    assert_eq!(usage, Usage { input_tokens: 5, cost, ..Usage::default() });
    let json = serde_json::to_string(&usage).expect("serializes");
    assert_eq!(serde_json::from_str::<Usage>(&json).expect("reads back"), usage);
    serde_json::from_str::<Usage>(r#"{"prompt_tokens": 5}"#).expect_err("no such field");
    serde_json::from_str::<Usage>(r#"{"input_tokens": -5}"#).expect_err("negative");
    serde_json::from_str::<Usage>(r#"{"input_tokens": 5.0}"#).expect_err("a float");
}

#[test]
fn prices_are_a_part_of_the_configuration() {
    let config = Config::from_toml(
        r#"
        prices = [
            { model = "large", input = "2", output = "8", cached = "0.20",
              output_multiplier = "0.8" },
            { model = "small-2026", input = "0.10", output = "0.40" },
        ]
        "#,
    )
    .expect("well-formed");
    let money = |text: &str| text.parse::<Money>().expect("well-formed");
    let large = Price::per_million(money("2"), money("8"))
        .cached(money("0.20"))
        .output_multiplier_ppm(800_000);
    let small = Price::per_million(money("0.10"), money("0.40"));
    let table = PriceTable::from_iter([("large", large), ("small-2026", small)]);
    assert_eq!(*config.prices(), table);
}
