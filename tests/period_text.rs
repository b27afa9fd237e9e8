//! The text of a period: what is accepted, and what is said about everything else.

use std::time::Duration;

use proptest::prelude::*;
use tollkeeper::{Alignment, Period, PeriodError};

const MS: u64 = 1;
const S: u64 = 1_000 * MS;
const M: u64 = 60 * S;
const H: u64 = 60 * M;
const D: u64 = 24 * H;
const W: u64 = 7 * D;

fn error(text: &str) -> PeriodError {
    match text.parse::<Period>() {
        Ok(period) => panic!("{text:?} is accepted as {period}"),
        Err(error) => error,
    }
}

#[test]
fn fixed_lengths_are_exact() {
    for (text, millis, canonical) in [
        ("1ms", MS, "1ms"),
        ("0.5s", 500 * MS, "500ms"),
        ("1.500s", 1_500 * MS, "1s500ms"),
        ("0.001s", MS, "1ms"),
        ("1.0ms", MS, "1ms"),
        ("90s", 90 * S, "1m30s"),
        ("1h30m", H + 30 * M, "1h30m"),
        ("1h0m", H, "1h"),
        ("01h", H, "1h"),
        ("1d12h", D + 12 * H, "1d12h"),
        ("1.5d", D + 12 * H, "1d12h"),
        ("0.5d1h", 13 * H, "13h"),
        ("24h", D, "1d"),
        ("7d", W, "1w"),
        ("30d", 30 * D, "30d"),
        ("1w1d1h1m1s1ms", W + D + H + M + S + MS, "8d1h1m1s1ms"),
        ("0.001953125w", 1_181_250, "19m41s250ms"),
        ("0.0001d", 8_640 * MS, "8s640ms"),
        ("876600h", 36_525 * D, "36525d"),
        ("5217w6d", 36_525 * D, "36525d"),
    ] {
        let period: Period = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(period.fixed_length(), Some(Duration::from_millis(millis)), "{text}");
        assert_eq!(period.to_string(), canonical, "{text}");
        assert_eq!(Period::rolling(Duration::from_millis(millis)), Ok(period), "{text}");
    }
}

#[test]
fn months_have_one_canonical_text() {
    for (text, canonical) in [
        ("1M", "1M"),
        ("1Q", "3M"),
        ("4Q", "1Y"),
        ("1Y6M", "1Y6M"),
        ("18M", "1Y6M"),
        ("1Y1Q1M", "1Y4M"),
        ("100Y", "100Y"),
        ("1200M", "100Y"),
        ("never", "never"),
        ("1d@UTC", "1d@UTC"),
        ("1w@UTC,week=monday", "1w@UTC"),
        ("1w@UTC,week=sunday", "1w@UTC,week=sunday"),
        ("1Q@UTC,fiscal=11", "3M@UTC,fiscal=2"),
        ("12M@UTC,fiscal=4", "1Y@UTC,fiscal=4"),
    ] {
        let period: Period = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(period.to_string(), canonical, "{text}");
        assert_eq!(canonical.parse(), Ok(period));
    }
}

#[test]
fn every_wrong_length_has_its_reason() {
    let text = |s: &str| s.to_owned();
    assert_eq!(error(""), PeriodError::Empty);
    for blank in [" ", " 1h", "1h ", "1 h", "1h 30m", "1h\t", "1h\n", "1\u{a0}h"] {
        assert_eq!(error(blank), PeriodError::Blank { text: text(blank) });
    }
    for signed in ["-1h", "+1h", "1h-30m", "\u{2212}1h", "-", "1e-3s"] {
        assert_eq!(error(signed), PeriodError::Signed { text: text(signed) });
    }
    for zero in ["0ms", "0h", "0h0m", "0.0s", "0M", "0Y0M"] {
        assert_eq!(error(zero), PeriodError::Zero { text: text(zero) });
    }
    for fine in ["0.5ms", "0.0001s", "1.0000001s", "0.3333333333333333333333h", "0.000244140625w"] {
        assert_eq!(error(fine), PeriodError::TooFine { text: text(fine) });
    }
    for long in [
        "36525.001d",
        "36526d",
        "101Y",
        "1201M",
        "18446744073709551615ms",
        "18446744073709551616ms",
        "18446744073709551615Y",
        "99999999999999999999999999999999999999999999999999s",
        "36525d1ms",
    ] {
        assert_eq!(error(long), PeriodError::TooLong { text: text(long) });
    }
}

#[test]
fn every_malformed_part_is_named() {
    let text = |s: &str| s.to_owned();
    for (bare, unit) in [("h", "h"), ("monthly", "monthly"), ("Never", "Never"), ("d1h", "d")] {
        assert_eq!(error(bare), PeriodError::MissingNumber { text: text(bare), unit: text(unit) });
    }
    for (bare, number) in [("5", "5"), ("1h30", "30"), ("1.5", "1.5")] {
        assert_eq!(
            error(bare),
            PeriodError::MissingUnit { text: text(bare), number: text(number) }
        );
    }
    for (odd, number) in [(".5h", ".5"), ("5.h", "5."), ("1..5h", "1..5"), ("1.2.3h", "1.2.3")] {
        assert_eq!(
            error(odd),
            PeriodError::MalformedNumber { text: text(odd), number: text(number) }
        );
    }
    for (order, unit) in [("30m1h", "h"), ("1h1h", "h"), ("1M1Y", "Y"), ("1ms1s", "s")] {
        assert_eq!(error(order), PeriodError::UnitOrder { text: text(order), unit });
    }
    for mixed in ["1h30M", "1M1d", "1Y1w", "1d1Q", "1.5d1M"] {
        assert_eq!(error(mixed), PeriodError::MixedUnits { text: text(mixed) });
    }
    for (part, unit) in [("1.5M", "M"), ("0.5Q", "Q"), ("1.0Y", "Y"), ("1Y0.5M", "M")] {
        assert_eq!(error(part), PeriodError::FractionOfMonths { text: text(part), unit });
    }
    for (odd, unit) in [("1,5d", ","), ("1x", "x"), ("٣h", ""), ("1µs", "µs"), ("1hm", "hm")] {
        match error(odd) {
            PeriodError::UnknownUnit { unit: found, .. } => assert_eq!(found, unit),
            PeriodError::MissingNumber { .. } if unit.is_empty() => {}
            other => panic!("{other}"),
        }
    }
}

#[test]
fn endless_texts_are_not_looked_at() {
    let endless = "9".repeat(1_000_000);
    assert_eq!(error(&endless), PeriodError::TextTooLong { bytes: 1_000_000, max: 128 });
    let endless = format!("1d@{endless}");
    assert_eq!(error(&endless), PeriodError::TextTooLong { bytes: 1_000_003, max: 128 });
}

#[test]
fn months_and_minutes_are_never_confused() {
    let accepted = "accepted: numbers with units, larger units first, such as `1h30m`, `1.5d` or \
                    `3M` (ms, s, m for minutes, h, d, w, M for months, Q for quarters, Y for \
                    years), or `never`";
    for (text, said) in [
        ("1mo", "the period \"1mo\" has the unknown unit \"mo\": M is months, m is minutes; "),
        ("1min", "the period \"1min\" has the unknown unit \"min\": m is minutes, M is months; "),
        ("1Mi", "the period \"1Mi\" has the unknown unit \"Mi\": m is minutes, M is months; "),
        ("1H", "the period \"1H\" has the unknown unit \"H\": h is hours; "),
        ("1D", "the period \"1D\" has the unknown unit \"D\": d is days; "),
        ("1y", "the period \"1y\" has the unknown unit \"y\": Y is years; "),
        ("1MS", "the period \"1MS\" has the unknown unit \"MS\": ms is milliseconds; "),
        ("5us", "the period \"5us\" has the unknown unit \"us\": ms is the finest; "),
        ("1x", "the period \"1x\" has the unknown unit \"x\"; "),
        (
            "1h30M",
            "the period \"1h30M\" mixes M, Q or Y with other units: M is months and m is minutes, \
             and a month has no fixed length to add them to; ",
        ),
    ] {
        assert_eq!(error(text).to_string(), format!("{said}{accepted}"));
    }
    assert_ne!("1M".parse::<Period>(), "1m".parse::<Period>());
}

#[test]
fn only_what_divides_the_unit_above_follows_the_calendar() {
    let plain = Alignment::new();
    for length in ["1d", "1w", "1M", "2M", "3M", "4M", "6M", "12M", "1Q", "2Q", "4Q", "1Y"] {
        let period = Period::calendar(length, &plain).unwrap_or_else(|error| panic!("{error}"));
        assert!(period.is_calendar());
        assert_eq!(format!("{length}@UTC").parse(), Ok(period));
    }
    for (length, reason) in [
        ("7d", "seven days are not a week, a week is `1w`"),
        ("2d", "that many days divide no week"),
        ("0.5d", "it is a compound or a decimal"),
        ("2w", "that many weeks divide no month"),
        ("5M", "that many months divide no year"),
        ("8M", "that many months divide no year"),
        ("24M", "that many months divide no year"),
        ("3Q", "that many quarters divide no year"),
        ("2Y", "only single years follow the calendar"),
        ("24h", "the shortest calendar window is a day"),
        ("1m", "the shortest calendar window is a day"),
        ("1d12h", "it is a compound or a decimal"),
        ("1.0d", "it is a compound or a decimal"),
        ("1Y6M", "it is a compound or a decimal"),
        ("never", "it never ends"),
    ] {
        let refused = PeriodError::NotAlignable { text: length.to_owned(), reason };
        assert_eq!(Period::calendar(length, &plain), Err(refused.clone()));
        assert_eq!(error(&format!("{length}@UTC")), refused);
    }
    let refused = Period::calendar("7d", &plain).expect_err("not a week");
    assert_eq!(
        refused.to_string(),
        "the period \"7d\" cannot follow the calendar: seven days are not a week, a week is `1w`; \
         accepted with the calendar: 1d, 1w, 1M, 2M, 3M, 4M, 6M, 12M, 1Q, 2Q, 4Q, 1Y"
    );
    for month in [0, 13, u32::MAX] {
        let refused = Period::calendar("1Y", &Alignment::new().fiscal_start(month));
        assert_eq!(refused, Err(PeriodError::FiscalStart { month }));
    }
}

#[test]
fn options_behind_the_zone_are_strict() {
    for (text, option) in [
        ("1w@UTC,week=Sunday", "week=Sunday"),
        ("1w@UTC,sunday", "sunday"),
        ("1w@UTC,", ""),
        ("1w@UTC,week=sunday,week=sunday", "week=sunday"),
        ("1d@UTC,week=sunday", "week=sunday"),
        ("1w@UTC,fiscal=4", "fiscal=4"),
        ("1M@UTC,fiscal=+4", "fiscal=+4"),
        ("1M@UTC,fiscal=", "fiscal="),
        ("1M@UTC,fiscal=99999999999", "fiscal=99999999999"),
        ("1M@UTC,fiscal=4,", ""),
        ("1M@UTC, fiscal=4", " fiscal=4"),
    ] {
        let refused =
            PeriodError::CalendarOption { text: text.to_owned(), option: option.to_owned() };
        assert_eq!(error(text), refused);
    }
    assert_eq!(error("1M@UTC,fiscal=13"), PeriodError::FiscalStart { month: 13 });
    assert_eq!(error("@UTC"), PeriodError::Empty);
    for text in ["1M@", "1M@utc", "1M@UTC@UTC", "1M@Mars/Olympus"] {
        let name = text.split_once('@').expect("all have one").1.to_owned();
        let refused = error(text);
        if cfg!(feature = "tz") {
            assert_eq!(refused, PeriodError::UnknownZone { name });
        } else {
            assert_eq!(refused, PeriodError::ZonesNotBuilt { name });
        }
    }
}

#[test]
fn a_duration_is_held_to_the_same_bounds() {
    let refused = |text: &str| text.to_owned();
    assert_eq!(Period::rolling(Duration::ZERO), Err(PeriodError::Zero { text: refused("0ns") }));
    let fine = Period::rolling(Duration::from_micros(1_500));
    assert_eq!(fine, Err(PeriodError::TooFine { text: refused("1.5ms") }));
    for long in [Duration::from_millis(36_525 * D + 1), Duration::MAX] {
        let text = format!("{long:?}");
        assert_eq!(Period::rolling(long), Err(PeriodError::TooLong { text }));
    }
}

proptest! {
    /// No text panics, and what is accepted is accepted again in its canonical form.
    #[test]
    fn any_text_is_read_or_refused(text in r"(\PC{0,12}|([0-9.]{0,4}(ms|[smhdwMQYx]))*(@UTC)?)") {
        if let Ok(period) = text.parse::<Period>() {
            prop_assert_eq!(period.to_string().parse(), Ok(period));
        }
    }

    /// A compound is the sum of its parts.
    #[test]
    fn compounds_add_up(
        (d, h, m) in (0_u64..999, 0_u64..99, 0_u64..99),
        (s, ms) in (0_u64..99, 1_u64..999),
    ) {
        let text = format!("{d}d{h}h{m}m{s}s{ms}ms");
        let sum = d * D + h * H + m * M + s * S + ms * MS;
        let period = text.parse::<Period>().expect("well-formed");
        prop_assert_eq!(period.fixed_length(), Some(Duration::from_millis(sum)));
    }

    /// A decimal of seconds is read exactly.
    #[test]
    fn decimals_are_exact(whole in 0_u64..1_000_000, thousandths in 1_u64..1_000) {
        let period = format!("{whole}.{thousandths:03}s").parse::<Period>().expect("well-formed");
        let length = Duration::from_millis(whole * S + thousandths);
        prop_assert_eq!(period.fixed_length(), Some(length));
    }
}
