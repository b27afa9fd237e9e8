//! The grammar of numbers.

/// Where in a number: behind its first minus, zero, other digit, and so on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    /// Behind one more byte, or whether the number is whole without it.
    pub(super) fn then(self, byte: u8) -> Result<Number, bool> {
        use Number::*;
        match (self, byte) {
            (Minus, b'0') => Ok(Zero),
            (Minus, b'1'..=b'9') | (Whole, b'0'..=b'9') => Ok(Whole),
            (Zero | Whole, b'.') => Ok(Point),
            (Point | Fraction, b'0'..=b'9') => Ok(Fraction),
            (Zero | Whole | Fraction, b'e' | b'E') => Ok(Exponent),
            (Exponent, b'+' | b'-') => Ok(ExponentSign),
            (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => Ok(ExponentDigits),
            (Zero | Whole | Fraction | ExponentDigits, _) => Err(true),
            (Minus | Point | Exponent | ExponentSign, _) => Err(false),
        }
    }
}
