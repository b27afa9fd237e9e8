//! Windows: which stretch of time a period lays around an instant. Equality, never a tolerance.
//!
//! The properties, for any period, anchor and now:
//! - the window contains now, if now is not before the anchor;
//! - the window at a window's end begins there, and the window at its start is itself;
//! - a later now never finds an earlier window;
//! - zones agree with a dumb scan of the clock, months with a dumb count of days.

use std::time::Duration;

use proptest::prelude::*;
use tollkeeper::{Alignment, Period, Span, Timestamp, Weekday};

const NANO: Duration = Duration::from_nanos(1);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn period(text: &str) -> Period {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// The window around `now` as texts, where the anchor does not matter.
fn window(text: &str, now: &str) -> (String, String) {
    texts(period(text).window_at(Timestamp::UNIX_EPOCH, at(now)))
}

fn texts(span: Span) -> (String, String) {
    (span.start.to_string(), span.end.to_string())
}

/// Checks a row of adjoining windows: each is found at its start, and one nanosecond before its
/// end, and not at its end.
fn assert_boundaries(period: &Period, anchor: Timestamp, boundaries: &[&str]) {
    for pair in boundaries.windows(2) {
        let expected = Span { start: at(pair[0]), end: at(pair[1]) };
        assert_eq!(period.window_at(anchor, expected.start), expected, "{period} at its start");
        let last = expected.end.saturating_sub(NANO);
        assert_eq!(period.window_at(anchor, last), expected, "{period} at its last nanosecond");
        assert_eq!(period.window_at(anchor, expected.end).start, expected.end, "{period}");
    }
}

fn midnights(dates: &[&str]) -> Vec<String> {
    dates.iter().map(|date| format!("{date}T00:00:00Z")).collect()
}

/// As [`assert_boundaries`], on a UTC calendar with dates for boundaries.
fn assert_dates(text: &str, dates: &[&str]) {
    let boundaries = midnights(dates);
    let boundaries: Vec<&str> = boundaries.iter().map(String::as_str).collect();
    assert_boundaries(&period(text), Timestamp::UNIX_EPOCH, &boundaries);
}

// === Rolling, fixed length ===

#[test]
fn a_boundary_belongs_to_the_new_window() {
    let anchor = at("2026-01-01T10:20:30.123456789Z");
    let minute = period("1m");
    let next = anchor + Duration::from_secs(60);
    assert_eq!(minute.window_at(anchor, next.saturating_sub(NANO)).start, anchor);
    assert_eq!(minute.window_at(anchor, next).start, next);
    assert_eq!(minute.window_at(anchor, next).length(), Duration::from_secs(60));
}

#[test]
fn idle_windows_are_one_jump_to_the_lattice() {
    let anchor = at("2026-01-01T00:00:07Z");
    let now = anchor + Duration::from_secs(14_400 * 60 + 59);
    let span = period("1m").window_at(anchor, now);
    assert_eq!(texts(span), ("2026-01-11T00:00:07Z".into(), "2026-01-11T00:01:07Z".into()));
}

#[test]
fn a_day_is_24_hours_and_a_week_seven_days_when_rolling() {
    let anchor = at("2026-03-28T12:00:00Z");
    for (text, days) in [("1d", 1), ("24h", 1), ("1w", 7), ("1.5w", 0), ("2w", 14)] {
        let length = Duration::from_secs(if days == 0 { 252 * 3_600 } else { days * 86_400 });
        assert_eq!(period(text).fixed_length(), Some(length), "{text}");
        assert_eq!(period(text).window_at(anchor, anchor).end, anchor + length, "{text}");
    }
}

#[test]
fn a_clock_before_the_anchor_finds_the_first_window() {
    let anchor = at("2026-01-31T10:00:00Z");
    let early = at("2025-06-01T00:00:00Z");
    for text in ["1h", "1M", "1d@UTC", "1Y@UTC", "never"] {
        let period = period(text);
        assert_eq!(period.window_at(anchor, early), period.window_at(anchor, anchor), "{text}");
    }
    assert_eq!(period("1h").window_at(anchor, early).start, anchor);
}

#[test]
fn never_is_one_window_from_the_anchor() {
    let anchor = at("2026-01-31T10:00:00Z");
    let all = Span { start: anchor, end: Timestamp::MAX };
    assert_eq!(Period::NEVER.window_at(anchor, anchor), all);
    assert_eq!(Period::NEVER.window_at(anchor, Timestamp::MAX), all);
    assert!(period("never").is_never());
    assert_eq!(period("never"), Period::NEVER);
    assert_eq!(Period::NEVER.fixed_length(), None);
}

#[test]
fn the_far_end_saturates() {
    let last = Timestamp::from_nanos(u64::MAX - 1);
    for text in ["1ms", "36525d", "1M", "100Y", "1d@UTC", "1w@UTC", "1Y@UTC,fiscal=12", "never"] {
        let period = period(text);
        for anchor in [Timestamp::UNIX_EPOCH, last, Timestamp::MAX] {
            let span = period.window_at(anchor, Timestamp::MAX);
            assert_eq!(span.end, Timestamp::MAX, "{text}");
            assert!(span.contains(last), "{text}");
        }
    }
    // 2554-07-21T23:34:33 is the end of time; the last whole day begins that midnight.
    let span = period("1d@UTC").window_at(Timestamp::UNIX_EPOCH, Timestamp::MAX);
    assert_eq!(span.start, at("2554-07-21T00:00:00Z"));
}

#[test]
fn the_near_end_is_clamped() {
    // 1970-01-01 was a Thursday: its week began in 1969, which cannot be said.
    let expected = ("1970-01-01T00:00:00Z".into(), "1970-01-05T00:00:00Z".into());
    assert_eq!(window("1w@UTC", "1970-01-01T00:00:00Z"), expected);
    let expected = ("1970-01-01T00:00:00Z".into(), "1970-04-01T00:00:00Z".into());
    assert_eq!(window("1Y@UTC,fiscal=4", "1970-01-01T00:00:00Z"), expected);
}

// === Rolling months ===

#[test]
fn months_from_the_31st_are_clamped_and_never_drift() {
    let anchor = at("2027-12-31T08:30:00Z");
    assert_boundaries(
        &period("1M"),
        anchor,
        &[
            "2027-12-31T08:30:00Z",
            "2028-01-31T08:30:00Z",
            "2028-02-29T08:30:00Z",
            "2028-03-31T08:30:00Z",
            "2028-04-30T08:30:00Z",
            "2028-05-31T08:30:00Z",
        ],
    );
    // 2100 is divisible by four and no leap year.
    assert_boundaries(
        &period("1M"),
        at("2100-01-31T00:00:00Z"),
        &["2100-01-31T00:00:00Z", "2100-02-28T00:00:00Z", "2100-03-31T00:00:00Z"],
    );
}

#[test]
fn quarters_and_years_are_months() {
    let leap_day = at("2028-02-29T00:00:00.000000001Z");
    assert_boundaries(
        &period("1Y"),
        leap_day,
        &[
            "2028-02-29T00:00:00.000000001Z",
            "2029-02-28T00:00:00.000000001Z",
            "2030-02-28T00:00:00.000000001Z",
            "2031-02-28T00:00:00.000000001Z",
            "2032-02-29T00:00:00.000000001Z",
        ],
    );
    assert_boundaries(
        &period("1Q"),
        at("2026-11-30T00:00:00Z"),
        &["2026-11-30T00:00:00Z", "2027-02-28T00:00:00Z", "2027-05-30T00:00:00Z"],
    );
    for (one, other) in [("1Q", "3M"), ("4Q", "1Y"), ("1Y6M", "18M"), ("1Y1Q1M", "16M")] {
        assert_eq!(period(one), period(other));
    }
    assert_eq!(period("1M").fixed_length(), None);
}

// === Calendar in UTC ===

#[test]
fn days_and_months_end_where_the_calendar_says() {
    assert_dates("1d@UTC", &["2028-02-28", "2028-02-29", "2028-03-01", "2028-03-02"]);
    assert_dates("1d@UTC", &["2100-02-27", "2100-02-28", "2100-03-01"]);
    assert_dates("1M@UTC", &["2027-12-01", "2028-01-01", "2028-02-01", "2028-03-01"]);
    assert_dates("1M@UTC", &["2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01"]);
    // 31 December of a leap year is the 366th day and still of that year.
    assert_dates("1Y@UTC", &["2027-01-01", "2028-01-01", "2029-01-01", "2030-01-01"]);
    let leap = period("1Y@UTC").window_at(Timestamp::UNIX_EPOCH, at("2028-12-31T23:59:59Z"));
    assert_eq!(leap.length(), Duration::from_secs(366 * 86_400));
}

#[test]
fn weeks_begin_on_the_day_they_are_told() {
    assert_dates("1w@UTC", &["2026-02-23", "2026-03-02", "2026-03-09"]);
    assert_dates("1w@UTC,week=sunday", &["2026-02-22", "2026-03-01", "2026-03-08"]);
    assert_dates("1w@UTC,week=wednesday", &["2026-12-30", "2027-01-06", "2027-01-13"]);
    let days = [
        Weekday::Sunday,
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
    ];
    // 2026-03-01 was a Sunday, and the seven first days of that month are a week of them.
    for (day_of_month, day) in (1..).zip(days) {
        let weekly = Period::calendar("1w", &Alignment::new().week_start(day)).expect("accepted");
        let noon = at(&format!("2026-03-{day_of_month:02}T12:00:00Z"));
        let start = at(&format!("2026-03-{day_of_month:02}T00:00:00Z"));
        assert_eq!(weekly.window_at(Timestamp::UNIX_EPOCH, noon).start, start, "{day}");
    }
}

#[test]
fn groups_of_months_lie_on_the_fiscal_grid() {
    assert_dates("2M@UTC", &["2025-11-01", "2026-01-01", "2026-03-01", "2026-05-01"]);
    assert_dates("2M@UTC,fiscal=2", &["2025-12-01", "2026-02-01", "2026-04-01"]);
    assert_dates("3M@UTC", &["2025-10-01", "2026-01-01", "2026-04-01"]);
    assert_dates("1Q@UTC,fiscal=2", &["2025-11-01", "2026-02-01", "2026-05-01", "2026-08-01"]);
    assert_dates("4M@UTC", &["2025-09-01", "2026-01-01", "2026-05-01", "2026-09-01"]);
    assert_dates("4M@UTC,fiscal=11", &["2025-11-01", "2026-03-01", "2026-07-01", "2026-11-01"]);
    assert_dates("6M@UTC", &["2025-07-01", "2026-01-01", "2026-07-01", "2027-01-01"]);
    assert_dates("2Q@UTC,fiscal=4", &["2025-10-01", "2026-04-01", "2026-10-01"]);
    assert_dates("1Y@UTC,fiscal=4", &["2025-04-01", "2026-04-01", "2027-04-01"]);
    assert_dates("12M@UTC,fiscal=12", &["2024-12-01", "2025-12-01", "2026-12-01"]);
    // April begins a quarter of the plain year too: the grids are the same, and so equal.
    assert_eq!(period("1Q@UTC,fiscal=4"), period("3M@UTC"));
    assert_ne!(period("1Q@UTC,fiscal=5"), period("3M@UTC"));
    assert_eq!(period("1M@UTC,fiscal=7"), period("1M@UTC"));
}

#[test]
fn two_nodes_agree() {
    // Created at different instants, asked at different instants of one window.
    let (early, late) = (at("2026-03-02T00:00:01Z"), at("2026-03-08T23:59:59.999999999Z"));
    for text in ["1w@UTC", "1M@UTC", "1Q@UTC,fiscal=3", "1Y@UTC"] {
        let period = period(text);
        let one = period.window_at(at("2025-05-05T05:05:05Z"), early);
        assert_eq!(one, period.window_at(at("2026-01-01T01:01:01Z"), late), "{text}");
    }
    let anchor = at("2026-03-01T00:00:00Z");
    let one = period("10d").window_at(anchor, early);
    assert_eq!(one, period("240h").window_at(anchor, late));
}

// === Properties ===

/// Rolling periods of every kind, and calendar periods in UTC.
fn periods() -> impl Strategy<Value = Period> {
    let millis = prop_oneof![1_u64..10_000, 1..=36_525 * 86_400_000_u64];
    let day = prop::sample::select(vec!["monday", "thursday", "sunday"]);
    let unit = prop::sample::select(vec!["1M", "2M", "3M", "4M", "6M", "12M", "1Q", "2Q", "1Y"]);
    prop_oneof![
        millis.prop_map(|n| format!("{n}ms")),
        (1_u32..=1_200).prop_map(|n| format!("{n}M")),
        Just("1d@UTC".to_owned()),
        day.prop_map(|day| format!("1w@UTC,week={day}")),
        (unit, 1..=12).prop_map(|(unit, month)| format!("{unit}@UTC,fiscal={month}")),
        Just("never".to_owned()),
    ]
    .prop_map(|text| period(&text))
}

/// Any instant, with both ends of time and everyday years likely.
fn instants() -> impl Strategy<Value = Timestamp> {
    let everyday = 1_700_000_000_000_000_000_u64..2_000_000_000_000_000_000;
    prop_oneof![
        4 => everyday,
        2 => any::<u64>(),
        1 => 0_u64..1_000_000,
        1 => u64::MAX - 1_000_000..=u64::MAX,
    ]
    .prop_map(Timestamp::from_nanos)
}

proptest! {
    #[test]
    fn windows_tile_time(
        (period, anchor) in (periods(), instants()),
        (a, b) in (instants(), instants()),
    ) {
        let (now, later) = (a.min(b), a.max(b));
        let span = period.window_at(anchor, now);
        prop_assert!(span.start < span.end);
        if anchor <= now && now < Timestamp::MAX {
            prop_assert!(span.contains(now), "{period}: {span:?}");
        }
        // The start of a calendar window may lie before the anchor, where the window is the same.
        prop_assert_eq!(period.window_at(anchor, span.start), span);
        prop_assert_eq!(period.window_at(anchor, span.end.saturating_sub(NANO)), span);
        if span.end < Timestamp::MAX {
            prop_assert_eq!(period.window_at(anchor, span.end).start, span.end);
        }
        let next = period.window_at(anchor, later);
        prop_assert!(next == span || next.start >= span.end, "{period}: {span:?} then {next:?}");
    }

    #[test]
    fn texts_round_trip(period in periods()) {
        prop_assert_eq!(period.to_string().parse(), Ok(period));
    }

    #[test]
    fn rolling_months_are_counted_from_the_anchor(
        (year, month, day) in (1970_u32..2100, 1_u32..=12, 1_u32..=31),
        (months, windows) in (1_u32..40, 0_u32..60),
    ) {
        let day = day.min(days_in(year, month));
        let boundary = |k: u32| {
            let number = year * 12 + month - 1 + k * months;
            let (year, month) = (number / 12, number % 12 + 1);
            let day = day.min(days_in(year, month));
            at(&format!("{year:04}-{month:02}-{day:02}T17:00:00Z"))
        };
        let expected = Span { start: boundary(windows), end: boundary(windows + 1) };
        let period = period(&format!("{months}M"));
        prop_assert_eq!(period.window_at(boundary(0), expected.start), expected);
        let last = expected.end.saturating_sub(NANO);
        prop_assert_eq!(period.window_at(boundary(0), last), expected);
    }
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(400) => 29,
        2 if year.is_multiple_of(100) => 28,
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
