//! The tightest limits, minute by minute, as an SVG.
//!
//! One panel for each: bars for the most that was used in the minute, a line for the limit, what is
//! above it in another colour, and a mark under each minute in which requests were denied.

use super::amount::{amount, count, name};
use super::books::Minute;
use super::failure::Failure;
use super::findings::Found;
use super::outcome::Outcome;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;
use std::time::Duration;
use tollkeeper::{Dimension, Timestamp};

/// At most so many limits are drawn.
const PANELS: usize = 6;
const PANEL: (u32, u32) = (620, 270);
const HEAD: u32 = 74;
const FOOT: u32 = 34;

const INK: RGBColor = RGBColor(31, 41, 55);
const PALE: RGBColor = RGBColor(107, 114, 128);
const GRID: RGBColor = RGBColor(229, 231, 235);
const USED: RGBColor = RGBColor(96, 149, 217);
const OVER: RGBColor = RGBColor(234, 134, 45);
const DENIED: RGBColor = RGBColor(200, 40, 60);
const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws the outcome into a file.
pub fn draw(outcome: &Outcome, path: &Path) -> Result<(), Failure> {
    let mut text = String::new();
    svg(outcome, &mut text).map_err(|why| Failure::Input(format!("cannot draw: {why}")))?;
    std::fs::write(path, text)
        .map_err(|why| Failure::Input(format!("cannot write {}: {why}", path.display())))
}

fn svg(outcome: &Outcome, text: &mut String) -> Drawn {
    let tightest = tightest(&outcome.findings.accounts);
    let rows = tightest.len().div_ceil(2).max(1) as u32;
    let size = (2 * PANEL.0, HEAD + rows * PANEL.1 + FOOT);
    let root = SVGBackend::with_string(text, size).into_drawing_area();
    root.fill(&WHITE)?;
    head(&root, outcome)?;
    let (_, rest) = root.split_vertically(HEAD);
    let (grid, foot) = rest.split_vertically(rows * PANEL.1);
    for (area, found) in grid.split_evenly((rows as usize, 2)).iter().zip(tightest) {
        panel(area, found, outcome.start, outcome.end)?;
    }
    legend(&foot)?;
    root.present()?;
    Ok(())
}

/// The limits that denied most, or came nearest to it; one that never was used is not among them.
fn tightest(accounts: &[Found]) -> Vec<&Found> {
    let mut limits: Vec<&Found> =
        accounts.iter().filter(|found| found.rule.most.is_some_and(|most| most > 0)).collect();
    let used = |found: &Found| {
        let peak = found.worst().map_or(0, |page| page.peak);
        u128::from(peak) * 1_000_000 / u128::from(found.rule.most.unwrap_or(1).max(1))
    };
    limits.sort_by_key(|found| std::cmp::Reverse((found.denied(), used(found))));
    limits.truncate(PANELS);
    limits
}

fn head(root: &Area, outcome: &Outcome) -> Drawn {
    let all = &outcome.tallies.all;
    let cli = outcome.cli;
    let title = (FONT, 22).into_font().style(FontStyle::Bold).color(&INK);
    root.draw(&Text::new("What the limits did, minute by minute", (24, 18), title))?;
    let line = format!(
        "{} requests from {} on · {} admitted, {} denied · admission {}, estimate {}, seed {}",
        count(all.requests),
        outcome.start,
        count(all.admitted),
        count(all.denied),
        cli.admission,
        cli.estimate,
        cli.seed
    );
    root.draw(&Text::new(line, (24, 48), (FONT, 14).into_font().color(&PALE)))?;
    Ok(())
}

fn legend(foot: &Area) -> Drawn {
    let style = (FONT, 13).into_font().color(&INK);
    let mut x = 24;
    let entries = [
        (USED, "most used in the minute"),
        (OVER, "above the limit"),
        (DENIED, "requests denied in the minute (the darker the more)"),
    ];
    for (colour, text) in entries {
        foot.draw(&Rectangle::new([(x, 9), (x + 12, 21)], colour.filled()))?;
        foot.draw(&Text::new(text, (x + 18, 8), style.clone()))?;
        x += 60 + 7 * text.len() as i32;
    }
    foot.draw(&PathElement::new([(x, 15), (x + 24, 15)], INK.stroke_width(2)))?;
    foot.draw(&Text::new("limit", (x + 30, 8), style))?;
    Ok(())
}

fn panel(area: &Area, found: &Found, start: Timestamp, end: Timestamp) -> Drawn {
    let minutes = minutes(found, start, end);
    let most = found.rule.most.unwrap_or(0) as f64;
    let peak = minutes.iter().map(|minute| minute.peak).max().unwrap_or(0) as f64;
    let top = most.max(peak) * 1.12;
    // Marks of denials have a strip of their own under the axis.
    let strip = top * 0.075;
    let (caption, chart) = area.split_vertically(44);
    words(&caption, found)?;
    let mut chart = ChartBuilder::on(&chart)
        .margin_left(14)
        .margin_right(24)
        .margin_bottom(6)
        .x_label_area_size(24)
        .y_label_area_size(64)
        .build_cartesian_2d(0f64..minutes.len() as f64, -strip..top)?;
    let dimension = found.rule.dimension;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style((FONT, 12).into_font().color(&PALE))
        .x_labels(7)
        .y_labels(5)
        .x_label_formatter(&|minute| time_of_day(start, *minute))
        .y_label_formatter(&|value| axis(dimension, *value))
        .draw()?;
    let bar = |at: usize, from: f64, to: f64, style: ShapeStyle| {
        Rectangle::new([(at as f64 + 0.08, from), (at as f64 + 0.92, to)], style)
    };
    let usage = minutes.iter().enumerate().map(|(at, minute)| (at, minute.peak as f64));
    let used = usage.clone().filter(|(_, peak)| *peak > 0.0);
    chart.draw_series(used.map(|(at, peak)| bar(at, 0.0, peak.min(most), USED.filled())))?;
    let over = usage.filter(|(_, peak)| *peak > most);
    chart.draw_series(over.map(|(at, peak)| bar(at, most, peak, OVER.filled())))?;
    let worst = minutes.iter().map(|minute| minute.denied).max().unwrap_or(0).max(1) as f64;
    let denied = minutes.iter().enumerate().filter(|(_, minute)| minute.denied > 0);
    chart.draw_series(denied.map(|(at, minute)| {
        let shade = 0.35 + 0.65 * (minute.denied as f64 / worst).sqrt();
        bar(at, -strip * 0.88, -strip * 0.2, DENIED.mix(shade).filled())
    }))?;
    let line = [(0.0, most), (minutes.len() as f64, most)];
    chart.draw_series(std::iter::once(PathElement::new(line, INK.stroke_width(2))))?;
    Ok(())
}

fn words(caption: &Area, found: &Found) -> Drawn {
    let rule = &found.rule;
    let most = rule.most.map_or("none".to_owned(), |most| amount(rule.dimension, most));
    let title = format!("{} of {}", rule.limit, rule.owner);
    let bold = (FONT, 15).into_font().style(FontStyle::Bold).color(&INK);
    caption.draw(&Text::new(title, (24, 6), bold))?;
    let what = match (rule.dimension, rule.period.is_never()) {
        (Dimension::InFlight, _) => format!("at most {most} requests in flight"),
        (Dimension::Money, true) => format!("{most} prepaid"),
        (Dimension::Money, false) => format!("{most} in {}", rule.period),
        (dimension, _) => format!("{most} {} in {}", name(dimension), rule.period),
    };
    let line = format!("{what} · {} denied", count(found.denied()));
    caption.draw(&Text::new(line, (24, 25), (FONT, 13).into_font().color(&PALE)))?;
    Ok(())
}

/// One for each minute of the replay. Where nothing happened the window goes on as it was, or has
/// ended and is empty.
fn minutes(found: &Found, start: Timestamp, end: Timestamp) -> Vec<Minute> {
    let last = end.saturating_since(start).as_secs() / 60;
    let mut standing = Minute::default();
    let mut window = None;
    (0..=last)
        .map(|minute| {
            let at = start.saturating_add(Duration::from_secs(60 * minute));
            let now = Some(found.rule.window(start, at).start);
            if window != now {
                (window, standing) = (now, Minute::default());
            }
            match found.minutes.get(&minute) {
                Some(active) => {
                    standing = Minute { peak: active.last, last: active.last, denied: 0 };
                    Minute { peak: active.peak.max(standing.peak), ..*active }
                }
                None => standing,
            }
        })
        .collect()
}

fn time_of_day(start: Timestamp, minute: f64) -> String {
    let at = start.saturating_add(Duration::from_secs_f64(60.0 * minute.max(0.0)));
    at.to_string().get(11..16).unwrap_or_default().to_owned()
}

/// A number on an axis, short. Below zero there are only the marks of denials.
fn axis(dimension: Dimension, value: f64) -> String {
    if value < 0.0 {
        return String::new();
    }
    match dimension {
        Dimension::Money => format!("${:.2}", value / 1e9),
        _ if value >= 1e6 => format!("{:.1} M", value / 1e6),
        _ if value >= 1e4 => format!("{:.0} k", value / 1e3),
        _ => format!("{value:.0}"),
    }
}
