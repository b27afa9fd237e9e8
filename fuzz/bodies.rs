//! The bodies of the fuzz targets: each takes any bytes and panics when something does not hold.
//!
//! The fuzz targets call them, and so does `tests/corpus.rs`, which runs them over the committed
//! corpus. An input of `period` and `money` is a text up to the first line feed and, behind it,
//! numbers of eight bytes each (little-endian; missing ones are zero). One of `config` and `state`
//! is a document, one of `history` is bytes that spell operations, and those of `answers` and
//! `requests` are bodies behind a digit or two. So most seeds may be written by hand.

mod answers;
mod documents;
mod history;
mod requests;

pub use answers::answers;
pub use documents::{config, state};
pub use history::history;
pub use requests::requests;

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use tollkeeper::{Alignment, Money, Period, Price, Span, Timestamp, Usage, Weekday, Zone};

/// What runs one input.
pub type Body = fn(&[u8]);

/// Every target by its name, which is also that of its file and of its corpus.
pub const TARGETS: &[(&str, Body)] = &[
    ("period", period),
    ("money", money),
    ("config", config),
    ("state", state),
    ("history", history),
    ("answers", answers),
    ("requests", requests),
];

/// How many numbers an input may have.
const NUMBERS: usize = 12;

/// Any text is a period or an error that says what is accepted; a period prints as a text that
/// means the same, and its windows cut time without a gap. The numbers: instants, in nanoseconds.
/// The text is also tried as the length of calendar periods.
pub fn period(data: &[u8]) {
    let (text, numbers) = split(data);
    let seed = numbers[0];
    let instants: Vec<Timestamp> =
        numbers[1..].iter().copied().map(Timestamp::from_nanos).collect();
    if let Some(period) = round_trip::<Period>(&text) {
        check_windows(&period, seed, &instants);
    }
    match Period::calendar(&text, &alignment(seed)) {
        Ok(period) => {
            assert!(period.is_calendar());
            assert_eq!(period.to_string().parse().as_ref(), Ok(&period), "{text:?} as calendar");
            check_windows(&period, seed, &instants);
        }
        Err(error) => check_message(&text, &error),
    }
}

/// Any alignment that can be asked for, and some that are refused.
fn alignment(seed: u64) -> Alignment {
    const ZONES: &[&str] = &[
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Kathmandu",
        "Africa/Cairo",
        "America/St_Johns",
    ];
    const DAYS: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let [zone, day, month, ..] = seed.to_le_bytes();
    // Without the feature `tz` all zones but the first are refused, and UTC serves.
    let zone = Zone::named(ZONES[usize::from(zone) % ZONES.len()]).unwrap_or(Zone::UTC);
    Alignment::new()
        .zone(zone)
        .week_start(DAYS[usize::from(day) % DAYS.len()])
        .fiscal_start(1 + u32::from(month) % 13)
}

/// Windows around instants at both ends of time, around `seed`, and around the given ones.
fn check_windows(period: &Period, seed: u64, instants: &[Timestamp]) {
    let anchor = Timestamp::from_nanos(seed);
    let fixed = [
        Timestamp::UNIX_EPOCH,
        anchor,
        anchor.saturating_add(Duration::from_nanos(1)),
        Timestamp::from_nanos(u64::MAX - 1),
        Timestamp::MAX,
    ];
    for &now in fixed.iter().chain(instants) {
        check_window(period, anchor, now);
        check_window(period, Timestamp::UNIX_EPOCH, now);
    }
}

fn check_window(period: &Period, anchor: Timestamp, now: Timestamp) {
    let window = period.window_at(anchor, now);
    let case = || format!("{period} from {anchor} at {now}: {} to {}", window.start, window.end);
    assert!(window.start < window.end, "{}", case());
    if anchor <= now && now < Timestamp::MAX {
        assert!(window.contains(now), "{}", case());
    }
    if now < anchor {
        assert_eq!(window, period.window_at(anchor, anchor), "a clock before it: {}", case());
    }
    // The first and the last instant of a window have the same window, and the next one begins
    // where it ends: no instant is in two windows, and none is in none.
    let last = Timestamp::from_nanos(window.end.as_nanos() - 1);
    assert_eq!(window, period.window_at(anchor, window.start), "its start: {}", case());
    assert_eq!(window, period.window_at(anchor, last), "its last instant: {}", case());
    if window.end < Timestamp::MAX {
        let next = period.window_at(anchor, window.end);
        assert_eq!(next.start, window.end, "the next one: {}", case());
    }
    check_kind(period, anchor, now, window);
}

/// What holds for one kind of period alone.
fn check_kind(period: &Period, anchor: Timestamp, now: Timestamp, window: Span) {
    let case = || format!("{period} from {anchor} at {now}");
    if period.is_calendar() {
        let other = period.window_at(Timestamp::UNIX_EPOCH, now.max(anchor));
        assert_eq!(window, other, "the anchor moves no calendar: {}", case());
    } else if anchor < Timestamp::MAX {
        assert!(window.start >= anchor, "nothing is before the anchor: {}", case());
    }
    if period.is_never() {
        assert_eq!(window.end, Timestamp::MAX, "{}", case());
    }
    if let Some(length) = period.fixed_length() {
        let cut = window.end == Timestamp::MAX && window.length() < length;
        assert!(cut || window.length() == length, "{}", case());
        // From the last instant that has a window, because that is where such an anchor counts.
        let anchor = anchor.as_nanos().min(u64::MAX - 1);
        let apart = u128::from(window.start.as_nanos() - anchor);
        assert_eq!(apart % length.as_nanos(), 0, "off the lattice: {}", case());
    }
}

/// Any text is an amount, to the last digit, or an error that says what is accepted; a cost is the
/// exact one, rounded up once, or an error. The numbers: the prices of input, output, cached and
/// cache-write tokens (of the last two, zero is none), the two multipliers, the price of a
/// request, then how many there are of each kind of token and of requests.
pub fn money(data: &[u8]) {
    let (text, numbers) = split(data);
    if let Some(amount) = round_trip::<Money>(&text) {
        assert!(amount <= Money::MAX, "{text:?}");
        assert_eq!(u128::from(amount.as_nanos()), nanos_written(&text), "{text:?}");
        check_sums(amount, masked(numbers[0]));
    }
    check_cost(numbers);
}

/// The nano-units of a text that is known to be an amount, read another way.
fn nanos_written(text: &str) -> u128 {
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    format!("{whole}{fraction:0<9}").parse().expect("an amount is digits around one point")
}

fn check_sums(a: Money, b: Money) {
    let wide = u128::from(a.as_nanos()) + u128::from(b.as_nanos());
    match a.checked_add(b) {
        Some(sum) => {
            assert_eq!(u128::from(sum.as_nanos()), wide, "{a} + {b}");
            assert_eq!(sum.checked_sub(b), Some(a), "{a} + {b} - {b}");
        }
        None => assert!(wide > u128::from(Money::MAX.as_nanos()), "{a} + {b} is an amount"),
    }
    assert_eq!(a.checked_sub(b).is_none(), a < b, "{a} - {b}");
    assert_eq!(a.saturating_sub(b), a.checked_sub(b).unwrap_or(Money::ZERO), "{a} - {b}");
}

/// Any number as an amount.
fn masked(nanos: u64) -> Money {
    Money::from_nanos(nanos & Money::MAX.as_nanos()).expect("the mask is the largest amount")
}

fn check_cost(numbers: [u64; NUMBERS]) {
    let [input, output, cached, cache_write, sent, received, each, usage @ ..] = numbers;
    let [input_tokens, output_tokens, cached_tokens, cache_write_tokens, requests] = usage;
    let (sent, received) = (sent as u32, received as u32);
    let mut price = Price::per_million(masked(input), masked(output))
        .per_request(masked(each))
        .input_multiplier_ppm(sent)
        .output_multiplier_ppm(received);
    if cached > 0 {
        price = price.cached(masked(cached));
    }
    if cache_write > 0 {
        price = price.cache_write(masked(cache_write));
    }
    let usage = Usage {
        input_tokens,
        output_tokens,
        cached_tokens,
        cache_write_tokens,
        requests,
        ..Usage::default()
    };
    let or_input = |price: u64| masked(if price > 0 { price } else { input });
    let tokens = exact_cost([
        (input_tokens, masked(input), sent),
        (output_tokens, masked(output), received),
        (cached_tokens, or_input(cached), sent),
        (cache_write_tokens, or_input(cache_write), sent),
    ]);
    let exact = tokens + u128::from(requests) * u128::from(masked(each).as_nanos());
    match price.cost(&usage) {
        Ok(cost) => assert_eq!(u128::from(cost.as_nanos()), exact, "{price:?} for {usage:?}"),
        Err(error) => {
            assert!(exact > u128::from(Money::MAX.as_nanos()), "{price:?} for {usage:?}");
            check_message("a cost", &error);
        }
    }
}

/// Counts times prices per million times parts per million, rounded up once. Whole parts and rests
/// are added apart, so nothing here can overflow whatever the numbers are.
fn exact_cost(components: [(u64, Money, u32); 4]) -> u128 {
    const PARTS: u128 = 1_000_000_000_000;
    let (mut whole, mut rest) = (0, 0);
    for (count, price, multiplier) in components {
        let product = u128::from(count) * u128::from(price.as_nanos());
        whole += product / PARTS * u128::from(multiplier);
        rest += product % PARTS * u128::from(multiplier);
    }
    whole + rest.div_ceil(PARTS)
}

/// The text and the numbers of an input: always this many, so that a short input is one too.
fn split(data: &[u8]) -> (String, [u64; NUMBERS]) {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let text = String::from_utf8_lossy(&data[..end]).into_owned();
    let mut numbers = [0; NUMBERS];
    let behind = data.get(end + 1..).unwrap_or_default();
    for (number, chunk) in numbers.iter_mut().zip(behind.chunks(8)) {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        *number = u64::from_le_bytes(bytes);
    }
    (text, numbers)
}

/// Reads the text; what can be read prints as a text that reads the same and prints the same.
fn round_trip<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Display + Debug + PartialEq> + Display + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            let again = printed.parse::<T>();
            assert_eq!(again.as_ref(), Ok(&value), "{text:?} prints as {printed:?}");
            assert_eq!(again.map(|value| value.to_string()), Ok(printed), "{text:?}");
            Some(value)
        }
        Err(error) => {
            check_message(text, &error);
            None
        }
    }
}

/// A message says what is accepted, on one line and not at any length, whatever the text.
fn check_message(text: &str, error: &impl Display) {
    let message = error.to_string();
    assert!(message.contains("accepted"), "{text:?} gives {message:?}");
    assert!(!message.contains('\n'), "{text:?} gives {message:?}");
    assert!(message.len() < 2_000, "{text:?} gives {} bytes", message.len());
}
