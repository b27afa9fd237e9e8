//! Amounts for people: digits in groups, money in hundredths.

use tollkeeper::Dimension;

/// A whole number with its digits in groups of three.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Nano-units of the currency as `$1,234.57`, rounded to hundredths; less than that is never shown
/// as nothing.
pub fn money(nanos: u64) -> String {
    let cents = nanos / 10_000_000 + u64::from(nanos % 10_000_000 >= 5_000_000);
    if cents == 0 && nanos > 0 {
        return "<$0.01".to_owned();
    }
    format!("${}.{:02}", count(cents / 100), cents % 100)
}

/// An amount of a dimension.
pub fn amount(dimension: Dimension, number: u64) -> String {
    match dimension {
        Dimension::Money => money(number),
        _ => count(number),
    }
}

/// A dimension as a column says it.
pub fn name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Money => "money",
        Dimension::Tokens => "tokens",
        Dimension::Requests => "requests",
        Dimension::InFlight => "in flight",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn money_is_rounded_to_hundredths_and_never_to_nothing() {
        let cases = [
            (0, "$0.00"),
            (1, "<$0.01"),
            (5_000_000, "$0.01"),
            (12_344_999_999, "$12.34"),
            (12_345_000_000, "$12.35"),
            (1_999_995_000_000, "$2,000.00"),
        ];
        for (nanos, text) in cases {
            assert_eq!(money(nanos), text);
        }
    }
}
