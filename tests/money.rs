//! Money and prices: exact texts, exact sums, one rounding.

use proptest::prelude::*;
use tollkeeper::{Money, MoneyError, Price, PriceError, PriceTable, Usage};

fn nanos(nanos: u64) -> Money {
    Money::from_nanos(nanos).unwrap_or_else(|error| panic!("{error}"))
}

fn money(text: &str) -> Money {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

// === Texts ===

#[test]
fn accepted_texts_are_exact() {
    for (text, value, canonical) in [
        ("0", 0, "0.00"),
        ("0.0", 0, "0.00"),
        ("12.50", 12_500_000_000, "12.50"),
        ("12.5", 12_500_000_000, "12.50"),
        ("$12.50", 12_500_000_000, "12.50"),
        ("€12.50", 12_500_000_000, "12.50"),
        ("£12.50", 12_500_000_000, "12.50"),
        ("0.0000375", 37_500, "0.0000375"),
        ("0.0004", 400_000, "0.0004"),
        ("0.0123", 12_300_000, "0.0123"),
        ("0.000000001", 1, "0.000000001"),
        ("0.100000000", 100_000_000, "0.10"),
        ("1_000.5", 1_000_500_000_000, "1000.50"),
        ("1_000_000", 1_000_000_000_000_000, "1000000.00"),
        ("007", 7_000_000_000, "7.00"),
        ("4611686018.427387903", (1 << 62) - 1, "4611686018.427387903"),
    ] {
        assert_eq!(text.parse(), Ok(nanos(value)), "{text}");
        assert_eq!(nanos(value).to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(nanos(value)));
    }
}

#[test]
fn everything_else_is_refused() {
    for text in [
        "",
        "$",
        " 1",
        "1 ",
        "$ 1",
        "1$",
        "$$1",
        "-$1",
        "$-1",
        "-1",
        "-0",
        "+1",
        "\u{2212}1",
        ".5",
        "5.",
        ".",
        "1.2.3",
        "1,50",
        "1,000.50",
        "1e3",
        "1E-3",
        "NaN",
        "inf",
        "0x10",
        "_1",
        "1_",
        "1__000",
        "1_.5",
        "1._5",
        "1.5_0",
        "١٢",
        "1.0000000001",
        "1.0000000000",
        "4611686018.427387904",
        "18446744073709551616",
        "99999999999999999999999999999999999999999999",
        "¥5",
    ] {
        let refused = text.parse::<Money>();
        assert!(matches!(refused, Err(MoneyError::Text(_))), "{text:?} gives {refused:?}");
    }
    let endless = "9".repeat(1_000_000).parse::<Money>().expect_err("far too long");
    assert!(endless.to_string().len() < 400, "{endless}");
}

#[test]
fn refusals_say_what_is_accepted() {
    let accepted = "accepted: digits with at most 9 after one point, such as `12.5` or `1_000`, at \
                    most 4611686018.427387903, with or without one of `$`, `€`, `£` in front";
    for (text, said) in [
        ("", "the number is empty"),
        ("-1", "the number \"-1\" has a sign, amounts are never negative"),
        ("1e3", "the number \"1e3\" has 'e' at byte 1"),
        ("$1,5", "the number \"1,5\" has ',' at byte 1"),
        ("1.0000000000", "the number \"1.0000000000\" has 10 fraction digits"),
        ("4611686018.427387904", "the number \"4611686018.427387904\" is too large"),
    ] {
        let refused = text.parse::<Money>().expect_err("not an amount").to_string();
        assert_eq!(refused, format!("not an amount of money: {said}; {accepted}"));
    }
    assert_eq!(
        Money::from_nanos(1 << 62).expect_err("one too many").to_string(),
        "4611686018427387904 nano-units are more than an amount of money holds; accepted: at most \
         4611686018427387903"
    );
}

#[test]
fn arithmetic_is_checked() {
    let one = nanos(1);
    assert_eq!(Money::MAX.checked_add(one), None);
    assert_eq!(Money::MAX.checked_add(Money::MAX), None);
    assert_eq!(Money::MAX.checked_sub(one).and_then(|m| m.checked_add(one)), Some(Money::MAX));
    assert_eq!(Money::ZERO.checked_sub(one), None);
    assert_eq!(Money::ZERO.saturating_sub(one), Money::ZERO);
    assert_eq!(money("1.00").saturating_sub(money("0.25")), money("0.75"));
    assert_eq!(Money::from_units(u32::MAX).as_nanos(), 4_294_967_295_000_000_000);
    assert_eq!(format!("{:>8}", money("1.50")), "    1.50");
}

// === Prices ===

fn usage(input: u64, cached: u64, write: u64, output: u64) -> Usage {
    Usage {
        input_tokens: input,
        cached_tokens: cached,
        cache_write_tokens: write,
        output_tokens: output,
        requests: 1,
        ..Usage::default()
    }
}

#[test]
fn known_bills_come_out() {
    let plain = Price::per_million(money("2"), money("8"));
    let multiplied = plain.input_multiplier_ppm(1_200_000).output_multiplier_ppm(800_000);
    assert_eq!(multiplied.cost(&usage(1_000, 0, 0, 500)), Ok(nanos(5_600_000)));

    let cache = plain.cached(money("1")).cache_write(money("3"));
    assert_eq!(cache.cost(&usage(0, 200, 0, 0)), Ok(nanos(200_000)));
    assert_eq!(cache.cost(&usage(0, 0, 300, 0)), Ok(nanos(900_000)));
    assert_eq!(cache.cost(&usage(500, 200, 300, 100)), Ok(nanos(2_900_000)));

    assert_eq!(plain.cost(&usage(0, 0, 0, 1_000)), Ok(nanos(8_000_000)));
    assert_eq!(plain.cost(&usage(2_000, 0, 0, 500)), Ok(nanos(8_000_000)));
    let dear = Price::per_million(money("5"), money("25"));
    assert_eq!(dear.cost(&usage(0, 0, 0, 1_000)), Ok(nanos(25_000_000)));
    assert_eq!(money("0.0004"), nanos(400_000));
}

#[test]
fn caches_cost_as_much_as_input_until_told() {
    let price = Price::per_million(money("2"), money("8")).input_multiplier_ppm(500_000);
    let all_input = price.cost(&usage(600, 0, 0, 0));
    assert_eq!(price.cost(&usage(100, 200, 300, 0)), all_input);
    assert_eq!(all_input, Ok(nanos(600_000)));
    let free_cache = price.cached(Money::ZERO);
    assert_eq!(free_cache.cost(&usage(0, 1_000_000, 0, 0)), Ok(Money::ZERO));
}

#[test]
fn requests_have_a_flat_price() {
    let price = Price::per_million(Money::ZERO, Money::ZERO)
        .per_request(money("0.01"))
        .input_multiplier_ppm(0)
        .output_multiplier_ppm(0);
    assert_eq!(price.cost(&usage(9, 9, 9, 9)), Ok(money("0.01")));
    let three = Usage { requests: 3, ..Usage::default() };
    assert_eq!(price.cost(&three), Ok(money("0.03")));
    assert_eq!(price.cost(&Usage::default()), Ok(Money::ZERO));
}

#[test]
fn the_sum_is_rounded_up_once() {
    // A third of a nano-unit four times over is one and a third: two, not four.
    let price = Price::per_million(nanos(333_333), nanos(333_333));
    assert_eq!(price.cost(&usage(1, 0, 0, 0)), Ok(nanos(1)));
    assert_eq!(price.cost(&usage(1, 1, 1, 0)), Ok(nanos(1)));
    assert_eq!(price.cost(&usage(1, 1, 1, 1)), Ok(nanos(2)));
    // Exact amounts are not rounded, the smallest excess is.
    let exact = Price::per_million(nanos(1_000_000), Money::ZERO);
    assert_eq!(exact.cost(&usage(7, 0, 0, 0)), Ok(nanos(7)));
    let hair = exact.input_multiplier_ppm(1_000_001);
    assert_eq!(hair.cost(&usage(7, 0, 0, 0)), Ok(nanos(8)));
}

#[test]
fn a_cost_too_large_names_its_component() {
    let price = Price::per_million(money("2"), money("8")).per_request(money("1"));
    let most = u64::MAX;
    for (usage, component) in [
        (Usage { input_tokens: most, ..Usage::default() }, "input tokens"),
        (Usage { output_tokens: most, ..Usage::default() }, "output tokens"),
        (Usage { cached_tokens: most, ..Usage::default() }, "cached tokens"),
        (Usage { cache_write_tokens: most, ..Usage::default() }, "cache write tokens"),
        (Usage { requests: most, ..Usage::default() }, "requests"),
    ] {
        assert_eq!(price.cost(&usage), Err(PriceError::Overflow { component }));
    }
    // The widest numbers of all do not wrap either.
    let widest = Price::per_million(Money::MAX, Money::MAX).input_multiplier_ppm(u32::MAX);
    let refused = widest.cost(&Usage { input_tokens: most, ..Usage::default() });
    assert_eq!(refused, Err(PriceError::Overflow { component: "input tokens" }));

    let whole = Price::per_million(Money::MAX, Money::MAX);
    assert_eq!(whole.cost(&usage(1_000_000, 0, 0, 0)), Ok(Money::MAX));
    let refused = whole.cost(&usage(1_000_000, 0, 0, 1)).expect_err("more than the largest");
    assert_eq!(refused, PriceError::Overflow { component: "request as a whole" });
    assert_eq!(
        refused.to_string(),
        "the cost of the request as a whole is too large; accepted: at most 4611686018.427387903"
    );
}

#[test]
fn an_unknown_model_is_not_free() {
    let price = Price::per_million(money("2"), money("8"));
    let mut table = PriceTable::from_iter([("large", price)]);
    assert_eq!(table.cost("large", &usage(500, 0, 0, 0)), Ok(money("0.001")));
    for model in ["", "Large", "large ", "larg", "large-2"] {
        let refused = Err(PriceError::UnknownModel { model: model.to_owned() });
        assert_eq!(table.cost(model, &Usage::default()), refused);
    }
    assert_eq!(table.insert("large", price.per_request(money("1"))), Some(price));
    assert_eq!(table.remove("large"), Some(price.per_request(money("1"))));
    assert!(table.is_empty());
}

// === Properties ===

proptest! {
    #[test]
    fn texts_round_trip(value in prop_oneof![0_u64..=(1 << 62) - 1, 0_u64..2_000_000_000]) {
        let amount = nanos(value);
        let text = amount.to_string();
        prop_assert_eq!(text.parse(), Ok(amount));
        prop_assert_eq!(format!("€{text}").parse(), Ok(amount));
    }

    #[test]
    fn any_text_is_read_or_refused(text in r"\PC{0,16}|[$€£]?[0-9_.]{0,24}") {
        if let Ok(amount) = text.parse::<Money>() {
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }
    }

    /// The bill agrees with one kept in 64 bits: whole nano-units here and 10^-12 of one there,
    /// carried over at the end.
    #[test]
    fn bills_agree_with_long_addition(
        tokens in prop::array::uniform4(0_u64..50_000_000),
        prices in prop::array::uniform4(0_u64..200_000_000_000),
        multipliers in prop::array::uniform2(0_u32..5_000_000),
        (requests, flat) in (0_u64..5, 0_u64..1_000_000_000),
    ) {
        let price = Price::per_million(nanos(prices[0]), nanos(prices[1]))
            .cached(nanos(prices[2]))
            .cache_write(nanos(prices[3]))
            .input_multiplier_ppm(multipliers[0])
            .output_multiplier_ppm(multipliers[1])
            .per_request(nanos(flat));
        let usage = Usage {
            input_tokens: tokens[0],
            output_tokens: tokens[1],
            cached_tokens: tokens[2],
            cache_write_tokens: tokens[3],
            requests,
            cost: nanos(12_345),
        };
        let (mut whole, mut rest) = (requests * flat, 0_u64);
        for kind in 0..4 {
            let multiplier = u64::from(multipliers[usize::from(kind == 1)]);
            // tokens * price * multiplier / 10^12 in two steps, keeping both remainders.
            let (per_token, token_rest) = divide(tokens[kind], prices[kind], 1_000_000);
            let (units, unit_rest) = divide(per_token, multiplier, 1_000_000);
            whole += units;
            rest += unit_rest * 1_000_000 + token_rest * multiplier;
        }
        whole += rest / 1_000_000_000_000 + u64::from(rest % 1_000_000_000_000 > 0);
        prop_assert_eq!(price.cost(&usage), Ok(nanos(whole)));
    }
}

/// `a * b / divisor` and the remainder, without a product wider than 64 bits.
fn divide(a: u64, b: u64, divisor: u64) -> (u64, u64) {
    let (a_whole, a_rest) = (a / divisor, a % divisor);
    let (b_whole, b_rest) = (b / divisor, b % divisor);
    let crossed = a_rest * b_rest;
    let whole = a_whole * b_whole * divisor + a_whole * b_rest + a_rest * b_whole;
    (whole + crossed / divisor, crossed % divisor)
}
