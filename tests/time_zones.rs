//! Calendar windows where clocks change. Equality, never a tolerance.
#![cfg(feature = "tz")]

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use proptest::prelude::*;
use tollkeeper::{Alignment, Period, Span, Timestamp, Weekday, Zone};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn period(text: &str) -> Period {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Checks adjoining windows at the first, the last, and the first nanosecond after.
fn assert_boundaries(text: &str, boundaries: &[&str]) {
    let period = period(text);
    let epoch = Timestamp::UNIX_EPOCH;
    for pair in boundaries.windows(2) {
        let expected = Span { start: at(pair[0]), end: at(pair[1]) };
        let last = expected.end.saturating_sub(Duration::from_nanos(1));
        assert_eq!(period.window_at(epoch, expected.start), expected, "{text} at its start");
        assert_eq!(period.window_at(epoch, last), expected, "{text} at its last nanosecond");
        assert_eq!(period.window_at(epoch, expected.end).start, expected.end, "{text}");
    }
}

fn hours(text: &str, now: &str) -> u64 {
    let seconds = period(text).window_at(Timestamp::UNIX_EPOCH, at(now)).length().as_secs();
    assert!(seconds.is_multiple_of(3_600), "{seconds} seconds are no whole hours");
    seconds / 3_600
}

#[test]
fn berlin_has_days_of_23_and_25_hours() {
    let days = ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"];
    assert_boundaries("1d@Europe/Berlin", &days);
    assert_eq!(hours("1d@Europe/Berlin", "2026-03-29T12:00:00Z"), 23);
    assert_eq!(hours("1d@Europe/Berlin", "2026-10-25T12:00:00Z"), 25);
    assert_eq!(hours("1d@Europe/Berlin", "2026-10-26T12:00:00Z"), 24);
    assert_eq!(hours("1M@Europe/Berlin", "2026-03-15T00:00:00Z"), 31 * 24 - 1);
    assert_eq!(hours("1M@Europe/Berlin", "2026-10-15T00:00:00Z"), 31 * 24 + 1);
    assert_eq!(hours("1w@Europe/Berlin", "2026-03-29T21:59:59Z"), 7 * 24 - 1);
    assert_eq!(hours("1Q@Europe/Berlin", "2026-02-01T00:00:00Z"), 90 * 24 - 1);
    assert_eq!(hours("1Y@Europe/Berlin", "2026-07-01T00:00:00Z"), 365 * 24);
}

#[test]
fn new_york_has_days_of_23_and_25_hours() {
    let days = ["2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", "2026-03-10T04:00:00Z"];
    assert_boundaries("1d@America/New_York", &days);
    assert_eq!(hours("1d@America/New_York", "2026-03-08T12:00:00Z"), 23);
    assert_eq!(hours("1d@America/New_York", "2026-11-01T12:00:00Z"), 25);
    assert_eq!(hours("1M@America/New_York", "2026-03-15T00:00:00Z"), 31 * 24 - 1);
    assert_eq!(hours("1M@America/New_York", "2026-11-15T00:00:00Z"), 30 * 24 + 1);
    // The evening before is still last month there.
    let months = ["2026-02-01T05:00:00Z", "2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z"];
    assert_boundaries("1M@America/New_York", &months);
}

#[test]
fn a_day_whose_midnight_is_jumped_over_begins_after_the_gap() {
    let days = ["2024-04-24T22:00:00Z", "2024-04-25T22:00:00Z", "2024-04-26T21:00:00Z"];
    assert_boundaries("1d@Africa/Cairo", &days);
    let days = ["2024-03-29T22:00:00Z", "2024-03-30T22:00:00Z", "2024-03-31T21:00:00Z"];
    assert_boundaries("1d@Asia/Beirut", &days);
    let days = ["2024-03-09T05:00:00Z", "2024-03-10T05:00:00Z", "2024-03-11T04:00:00Z"];
    assert_boundaries("1d@America/Havana", &days);
}

#[test]
fn a_midnight_that_happens_twice_counts_the_first_time() {
    // Havana goes from 01:00 back to 00:00 of the same day.
    let days = ["2024-11-02T04:00:00Z", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"];
    assert_boundaries("1d@America/Havana", &days);
}

#[test]
fn a_local_date_that_comes_back_does_not_reopen_its_window() {
    // St Johns went from 2010-11-07 00:01 back to 2010-11-06 23:01: after a minute of the 7th, the
    // 6th came back for 59 minutes. They belong to the window of the 7th.
    let days = ["2010-11-06T02:30:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"];
    assert_boundaries("1d@America/St_Johns", &days);
    for now in ["2010-11-07T02:30:59Z", "2010-11-07T02:31:00Z", "2010-11-07T03:29:59Z"] {
        let span = period("1d@America/St_Johns").window_at(Timestamp::UNIX_EPOCH, at(now));
        assert_eq!(span.start, at("2010-11-07T02:30:00Z"), "{now}");
    }
}

#[test]
fn a_date_that_was_skipped_has_no_window() {
    let days = [
        "2011-12-28T10:00:00Z",
        "2011-12-29T10:00:00Z",
        "2011-12-30T10:00:00Z", // the 31st begins where the 29th ends
        "2011-12-31T10:00:00Z",
    ];
    assert_boundaries("1d@Pacific/Apia", &days);
    assert_eq!(hours("1M@Pacific/Apia", "2011-12-15T00:00:00Z"), 30 * 24);
}

#[test]
fn the_alignment_and_the_text_say_the_same() {
    let zone = Zone::named("Europe/Berlin").expect("a real zone");
    let alignment = Alignment::new().zone(zone).week_start(Weekday::Sunday).fiscal_start(5);
    for (length, text) in [
        ("1d", "1d@Europe/Berlin"),
        ("1w", "1w@Europe/Berlin,week=sunday"),
        ("1M", "1M@Europe/Berlin"),
        ("1Q", "3M@Europe/Berlin,fiscal=2"),
        ("1Y", "1Y@Europe/Berlin,fiscal=5"),
    ] {
        let built = Period::calendar(length, &alignment).expect("accepted");
        assert_eq!(built, period(text));
        assert_eq!(built.to_string(), text);
    }
    assert_ne!(period("1d@Europe/Berlin"), period("1d@UTC"));
}

/// The first minute at which clocks in `zone` show `date` or later, by looking at every minute.
fn scanned_start(zone: Tz, date: NaiveDate) -> DateTime<Utc> {
    let midnight = date.and_hms_opt(0, 0, 0).expect("midnight exists").and_utc();
    (-26 * 60..=26 * 60)
        .map(|minutes| midnight + TimeDelta::minutes(minutes))
        .find(|utc| utc.with_timezone(&zone).date_naive() >= date)
        .expect("every zone reaches the date within 26 hours")
}

fn to_timestamp(utc: DateTime<Utc>) -> Timestamp {
    Timestamp::from_secs(u64::try_from(utc.timestamp()).expect("after 1970"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Every zone's day is what a scan of its clock says. Since 1973 all offsets are whole
    /// minutes, so a scan of minutes sees every change.
    #[test]
    fn days_agree_with_a_scan_of_the_clock(
        zone in prop::sample::select(&TZ_VARIANTS[..]),
        day in 1_100_u64..47_000,
        second in 0_u64..86_400,
    ) {
        let now = Timestamp::from_secs(day * 86_400 + second);
        let daily = Period::calendar("1d", &in_zone(zone)).expect("accepted");
        let span = daily.window_at(Timestamp::UNIX_EPOCH, now);
        let secs = i64::try_from(now.as_nanos() / 1_000_000_000).expect("in range");
        let local = DateTime::from_timestamp(secs, 0).expect("in range").with_timezone(&zone);
        // The window's date is the local date, or the one after where that came back.
        let dates: Vec<NaiveDate> = local.date_naive().iter_days().take(4).collect();
        let expected = dates
            .windows(2)
            .map(|pair| (scanned_start(zone, pair[0]), scanned_start(zone, pair[1])))
            .map(|(start, end)| Span { start: to_timestamp(start), end: to_timestamp(end) })
            .find(|span| span.contains(now));
        prop_assert_eq!(Some(span), expected, "{} at {}", zone, now);
    }

    #[test]
    fn zoned_windows_tile_time(
        zone in prop::sample::select(&TZ_VARIANTS[..]),
        length in prop::sample::select(vec!["1d", "1w", "1M", "2M", "1Q", "1Y"]),
        (a, b) in (0_u64..6_000_000_000_000_000_000, 0_u64..6_000_000_000_000_000_000),
    ) {
        let period = Period::calendar(length, &in_zone(zone)).expect("accepted");
        let (now, later) = (Timestamp::from_nanos(a.min(b)), Timestamp::from_nanos(a.max(b)));
        let window = |now| period.window_at(Timestamp::UNIX_EPOCH, now);
        let span = window(now);
        prop_assert!(span.contains(now));
        prop_assert_eq!(window(span.start), span);
        prop_assert_eq!(window(span.end).start, span.end);
        prop_assert!(window(later) == span || window(later).start >= span.end);
        prop_assert_eq!(period.to_string().parse(), Ok(period));
    }
}

fn in_zone(zone: Tz) -> Alignment {
    Alignment::new().zone(Zone::named(zone.name()).expect("a real zone"))
}

#[test]
fn the_strangest_clocks_agree_with_a_scan_day_by_day() {
    // All days of two years in the zones with the strangest clocks, without sampling.
    for name in ["America/Havana", "Africa/Cairo", "Asia/Beirut", "Pacific/Apia", "Asia/Gaza"] {
        let zone: Tz = name.parse().expect("a real zone");
        let daily = Period::calendar("1d", &in_zone(zone)).expect("accepted");
        let first = NaiveDate::from_ymd_opt(2010, 12, 25).expect("a real date");
        for date in first.iter_days().take(800) {
            let start = to_timestamp(scanned_start(zone, date));
            let span = daily.window_at(Timestamp::UNIX_EPOCH, start);
            assert_eq!(span.start, start, "{name} {date}");
        }
    }
}
