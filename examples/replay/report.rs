//! The outcome in tables, for people.

use super::amount::{amount, count, money, name};
use super::books::Page;
use super::cli::Admission;
use super::findings::Found;
use super::laws::Law;
use super::outcome::{Outcome, Written};
use super::rule::Rule;
use super::tally::Tally;
use super::{generate, traffic};
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle,
};
use tollkeeper::Dimension;

/// A line under the header, and no others.
const RULED: TableStyle = TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─'));

/// From this many columns on, one table says all of an owner.
const WIDE: u16 = 112;
/// From this many on, nothing is left out of the table of limits.
const FULL: u16 = 100;
/// So many of the limits that denied an owner's requests are named, and the rest counted.
const NAMED: usize = 4;

/// The whole report, for so many columns.
pub fn text(outcome: &Outcome, width: u16) -> String {
    let mut parts = vec![head(outcome)];
    if width >= WIDE {
        parts.push(owners(outcome, width, true).to_string());
    } else {
        parts.push(owners(outcome, width, false).to_string());
        parts.push(String::new());
        parts.push(denials(outcome, width).to_string());
    }
    parts.push(String::new());
    parts.push(limits(outcome, width).to_string());
    parts.push(String::new());
    parts.extend(outcome.findings.laws.iter().map(|law| told(law, width)));
    parts.push(String::new());
    parts.push(foot(outcome, width));
    // The table library fills lines up with blanks.
    parts.join("\n").lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn head(outcome: &Outcome) -> String {
    let cli = outcome.cli;
    let span = outcome.end.saturating_since(outcome.start).as_secs();
    let keys = outcome.document.keys.len();
    let threads = cli.threads.map_or(String::new(), |threads| format!(", {threads} threads"));
    let mut lines = vec![
        ("trace", outcome.source.trace.clone()),
        ("clients", format!("{}, on {keys} keys, round robin", outcome.source.clients)),
        ("limits", outcome.source.limits.clone()),
        (
            "admission",
            format!("{}, estimate {}, seed {}{threads}", cli.admission, cli.estimate, cli.seed),
        ),
        ("drawn", traffic::LAW.to_owned()),
    ];
    if let (Some(place), Some(written)) = (&cli.ledger, &outcome.ledger) {
        lines.push(("ledger", format!("{place}, {}", begun(written))));
    }
    if cli.trace.is_none() {
        lines.insert(1, ("", generate::LAW.to_owned()));
    }
    if !outcome.malformed.is_empty() {
        lines.push((
            "left out",
            format!("{} malformed rows", count(outcome.malformed.len() as u64)),
        ));
    }
    let mut head = format!(
        "{} requests from {} on, in {} min {} s\n",
        count(outcome.tallies.all.requests),
        outcome.start,
        span / 60,
        span % 60
    );
    for (label, text) in lines {
        head.push_str(&wrapped(label, 10, &text, 80));
        head.push('\n');
    }
    head
}

/// What a ledger had before, in words.
fn begun(written: &Written) -> String {
    if written.before == 0 {
        return "new".to_owned();
    }
    let moved = match written.moved.as_secs() / 60 {
        0 => "The trace begins behind them.".to_owned(),
        minutes => format!("The trace is moved by {} min to begin behind them.", count(minutes)),
    };
    let (records, totals) = (count(written.before), count(written.restored));
    format!(
        "with {records} records of before. {moved} Usage goes on: the totals of {totals} open \
         windows are restored."
    )
}

/// Text behind a label, in lines of at most `width` columns.
fn wrapped(label: &str, indent: usize, text: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut line = format!("{label:<indent$}");
    let mut first = true;
    for word in text.split([' ', '\n']) {
        if !first && line.chars().count() + 1 + word.chars().count() > width {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = " ".repeat(indent);
            first = true;
        }
        if !std::mem::take(&mut first) {
            line.push(' ');
        }
        line.push_str(word);
    }
    // What must not be broken has blanks of its own until here.
    (lines + line.trim_end()).replace('\u{a0}', " ")
}

/// A table whose columns never wrap, except the last if it is said to.
fn table(width: u16, header: &[&str], right: &[usize], wraps: bool) -> Table {
    let mut table = Table::new();
    table.load_style(RULED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    table.set_header(header);
    let last = header.len() - 1;
    let between = if width < FULL { 1 } else { 2 };
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { between }));
        if index != last || !wraps {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The document's owners that had requests, and all together.
fn everybody<'a>(outcome: &'a Outcome) -> impl Iterator<Item = (String, &'a Tally)> {
    let owners = outcome.document.owners.iter().zip(&outcome.tallies.owners);
    let each = owners.map(|(owner, tally)| (owner.id.to_string(), tally));
    let some = each.filter(|(_, tally)| tally.requests > 0);
    some.chain(std::iter::once(("all".to_owned(), &outcome.tallies.all)))
}

fn owners(outcome: &Outcome, width: u16, whole: bool) -> Table {
    let header = ["owner", "requests", "admitted", "denied", "tokens", "money", "denied by"];
    let columns = if whole { 7 } else { 6 };
    let mut table = table(width, &header[..columns], &[1, 2, 3, 4, 5], whole);
    for (owner, tally) in everybody(outcome) {
        let mut row = vec![
            owner,
            count(tally.requests),
            count(tally.admitted),
            count(tally.denied),
            count(tally.tokens),
            money(tally.money),
        ];
        row.extend(whole.then(|| denied_by(tally)));
        table.add_row(row);
    }
    table
}

fn denials(outcome: &Outcome, width: u16) -> Table {
    let mut table = table(width, &["owner", "denied by"], &[], true);
    for (owner, tally) in everybody(outcome).filter(|(_, tally)| tally.denied > 0) {
        table.add_row([owner, denied_by(tally)]);
    }
    table
}

/// The limits that denied, the one that denied most first.
fn denied_by(tally: &Tally) -> String {
    let mut by: Vec<_> = tally.denied_by.iter().collect();
    by.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let several = |limit: &str| tally.denied_by.keys().filter(|(id, _)| id == limit).count() > 1;
    let more = by.len().saturating_sub(NAMED);
    let named = by.into_iter().take(NAMED).map(|((limit, dimension), denied)| {
        let denied = count(*denied);
        match several(limit) {
            true => format!("{limit} {} {denied}", name(*dimension)),
            false => format!("{limit} {denied}"),
        }
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(", and {more} more"));
    }
    text
}

fn limits(outcome: &Outcome, width: u16) -> Table {
    let header =
        ["limit", "counts", "worst", "most", "limit", "over", "denied", "admitted", "windows"];
    let columns = if width >= FULL { header.len() } else { header.len() - 2 };
    let mut table = table(width, &header[..columns], &[3, 4, 5, 6, 7, 8], false);
    for found in &outcome.findings.accounts {
        let mut row = limit(found);
        row.truncate(columns);
        table.add_row(row);
    }
    table
}

fn limit(found: &Found) -> Vec<String> {
    let rule = &found.rule;
    let shown = |number| amount(rule.dimension, number);
    let worst = found.worst().filter(|page| !page.is_blank());
    let windows = found.pages.iter().filter(|page| !page.is_blank()).count();
    let over = |page: &Page| match page.over() {
        0 => "–".to_owned(),
        over => shown(over),
    };
    vec![
        rule.limit.clone(),
        counts(rule),
        worst.map_or(String::new(), |page| clock_time(&page.span.start.to_string())),
        worst.map_or(String::new(), |page| shown(page.peak)),
        rule.most.map_or("none".to_owned(), shown),
        worst.map_or(String::new(), over),
        count(found.denied()),
        count(found.admitted()),
        count(windows as u64),
    ]
}

fn counts(rule: &Rule) -> String {
    match (rule.dimension, rule.period.is_never()) {
        (Dimension::InFlight, _) => name(rule.dimension).to_owned(),
        (_, true) => format!("{}, prepaid", name(rule.dimension)),
        (_, false) => format!("{} / {}", name(rule.dimension), rule.period),
    }
}

/// The time of day of `2023-11-16T18:17:03Z`.
fn clock_time(instant: &str) -> String {
    let time = instant.split_once('T').map_or(instant, |(_, time)| time);
    time.chars().take(8).collect()
}

fn told(law: &Law, width: u16) -> String {
    let checks = count(law.checks);
    let width = usize::from(width);
    if law.checks == 0 {
        return wrapped(law.name, 4, &format!("not shown by such a run: {}", law.says), width);
    }
    if law.holds() {
        let text = format!("holds: {} ({checks} checks)", law.says);
        return wrapped(law.name, 4, &text, width);
    }
    let breaches = count(law.breaches);
    let text = format!("BROKEN {breaches} times in {checks}: {}", law.says);
    let told = law.told.iter().map(|breach| wrapped("", 6, breach, width));
    std::iter::once(wrapped(law.name, 4, &text, width)).chain(told).collect::<Vec<_>>().join("\n")
}

fn foot(outcome: &Outcome, width: u16) -> String {
    let all = &outcome.tallies.all;
    let overshoot = &outcome.findings.overshoot;
    let above: Vec<String> = Dimension::ALL
        .into_iter()
        .filter(|&dimension| overshoot.of(dimension) > 0)
        .map(|dimension| match dimension {
            Dimension::Money => money(overshoot.of(dimension)),
            _ => format!("{} {}", count(overshoot.of(dimension)), name(dimension)),
        })
        .collect();
    let above = match above.is_empty() {
        true => "No admission took a limit over.".to_owned(),
        false => format!("Admissions took limits over by up to {}.", above.join(", ")),
    };
    let mut lines =
        vec![format!("{} admitted, {} denied. {above}", count(all.admitted), count(all.denied))];
    if outcome.cli.admission == Admission::CheckThenCharge {
        let lost = money(outcome.tallies.unbilled);
        lines.push(format!("Never charged, because the client was gone: {lost}."));
    }
    let millis = outcome.elapsed.as_millis();
    let speed = count(outcome.decisions_per_second());
    lines.push(format!("Replayed in {millis} ms: {speed} decisions a second, ends included."));
    if let Some(written) = &outcome.ledger {
        let (records, groups) = (count(written.records), count(written.groups));
        let speed = count(outcome.each_second(written.records));
        lines.push(format!(
            "Durable: {records} records in {groups} transactions, {speed} settles a second."
        ));
    }
    let wrap = |line: &String| wrapped("", 0, line, width.into());
    lines.iter().map(wrap).collect::<Vec<_>>().join("\n")
}
