//! The plots of a report, as SVG.
//!
//! Their colours are of [`COLOURS`], each by its own number, so that a style sheet can give each another one in the dark.

use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, ValueFormatter},
    },
    prelude::*,
};

use super::Side;
use crate::{
    breaking::{BreakingPoint, P99_MAX_MS, Step, better, seed_cost},
    measurement::{Measurement, ratio},
};

/// A plot: its file's name, what it shows, and the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plot {
    pub(super) name: &'static str,
    pub(super) alt: String,
    pub(super) svg: String,
}

/// Wide enough for a page, and letters large enough for a phone, on which it is half as wide.
const SIZE: (u32, u32) = (560, 400);

/// The height of letters.
const LETTERS: i32 = 17;

/// The height of a row of the legend.
const LEGEND: i32 = 24;

const MARGIN: i32 = 8;

const TEXT: RGBColor = RGBColor(0x11, 0x22, 0x33);
const GRID: RGBColor = RGBColor(0xdd, 0xe1, 0xe5);
const LIMIT: RGBColor = RGBColor(0xc6, 0x28, 0x28);
const FIRST: RGBColor = RGBColor(0x1f, 0x6f, 0xeb);
const SECOND: RGBColor = RGBColor(0xb3, 0x59, 0x00);
const MODEL: RGBColor = RGBColor(0x7a, 0x4f, 0xbf);
const OTHER_MODEL: RGBColor = RGBColor(0x2e, 0x8b, 0x57);

/// Each colour of a plot, and what it is in the dark.
pub(super) const COLOURS: [(&str, &str); 7] = [
    ("#112233", "#d5dbe1"),
    ("#DDE1E5", "#3a4048"),
    ("#C62828", "#ff7b72"),
    ("#1F6FEB", "#6cb0ff"),
    ("#B35900", "#f0a050"),
    ("#7A4FBF", "#c9a6ff"),
    ("#2E8B57", "#6fd49a"),
];

/// A line of a plot.
struct Line {
    name: String,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What was measured: a dot each, joined.
    Measured,
    /// What a model says.
    Model,
    /// What must not be passed.
    Limit,
}

/// What all lines are of.
struct Frame {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    scale: Scale,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// From 0 on.
    Even,
    /// Each step is a factor.
    Log,
}

/// The picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the plot {name} cannot be drawn: {why}")]
pub struct PlotError {
    name: &'static str,
    why: String,
}

/// All plots for which there are figures.
pub(super) fn plots(points: &[Side]) -> Result<Vec<Plot>, PlotError> {
    let frames = [
        (Frame { name: "cpu", title: "the server's CPU", unit: "ms/s", scale: Scale::Even }, cpu(points)),
        (
            Frame { name: "latency", title: "send to delivery", unit: "ms", scale: Scale::Log },
            latency(points),
        ),
        (
            Frame { name: "memory", title: "the server's memory", unit: "MiB", scale: Scale::Log },
            memory(points),
        ),
        (
            Frame { name: "network", title: "what users read and write", unit: "MB/s", scale: Scale::Log },
            network(points),
        ),
        (
            Frame { name: "commits", title: "messages in a commit", unit: "messages", scale: Scale::Log },
            commits(points),
        ),
    ];
    let shown = frames.into_iter().filter(|(_, lines)| lines.iter().any(|line| line.points.len() > 1));
    shown.map(|(frame, lines)| drawn(&frame, &lines)).collect()
}

/// The users of each step and a figure of it, where it has one.
fn figures(point: &BreakingPoint, figure: impl Fn(&Measurement) -> Option<f64>) -> Vec<(f64, f64)> {
    let measured = point.steps_by_users().into_iter().filter_map(|step: &Step| step.measurement.as_ref());
    measured.filter_map(|found| Some((ratio(found.users as u64, 1), figure(found)?))).collect()
}

/// Numbers of users from the least to the most, each greater than the one before by the same factor.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of users, and those between them"
)]
fn between(point: &BreakingPoint) -> Vec<usize> {
    const COUNT: usize = 40;
    let users = || point.steps.iter().map(|step| step.users);
    let (Some(least), Some(most)) = (users().min(), users().max()) else { return Vec::new() };
    let factor = most as f64 / least as f64;
    let mut between: Vec<usize> = (0..=COUNT)
        .map(|at| (least as f64 * factor.powf(at as f64 / COUNT as f64)).round() as usize)
        .collect();
    between.dedup();
    between
}

const fn colour(at: usize) -> RGBColor {
    if at == 0 { FIRST } else { SECOND }
}

fn measured(name: String, colour: RGBColor, points: Vec<(f64, f64)>) -> Line {
    Line { name, colour, points, kind: Kind::Measured }
}

/// A line across the whole plot.
fn limit(name: &str, points: &[Side], at: f64) -> Line {
    let users =
        points.iter().flat_map(|side| side.point.steps.iter().map(|step| ratio(step.users as u64, 1)));
    let (least, most) =
        users.fold((f64::MAX, 0.0_f64), |(least, most), users| (least.min(users), most.max(users)));
    Line { name: name.to_owned(), colour: LIMIT, points: vec![(least, at), (most, at)], kind: Kind::Limit }
}

fn cpu(points: &[Side]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (at, Side { point, settings }) in points.iter().enumerate() {
        let cpu = |found: &Measurement| Some(found.server.as_ref()?.cpu_ms_per_s);
        lines.push(measured(point.subject.clone(), colour(at), figures(point, cpu)));
        // The models of one server only: more lines than that nobody tells apart.
        if at > 0 {
            continue;
        }
        let model =
            |name: &str, colour, points| Line { name: name.to_owned(), colour, points, kind: Kind::Model };
        if let Some(fit) = &point.models.seed.fit {
            let seed = |users| (ratio(users as u64, 1), seed_cost(fit, settings, users));
            lines.push(model("the seed model", MODEL, between(point).into_iter().map(seed).collect()));
        }
        if let Some(fit) = &point.models.better.fit {
            let counted_by = point.models.counted_by;
            let better = |found: &Measurement| Some(fit.cost(&better(found, counted_by)));
            lines.push(model("the better model", OTHER_MODEL, figures(point, better)));
        }
    }
    if let Some(Side { point, .. }) = points.first() {
        lines.push(limit("80 % of the processors", points, point.cpu_wall_ms_per_s()));
    }
    lines
}

fn latency(points: &[Side]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (at, Side { point, .. }) in points.iter().enumerate() {
        let figure = |quantile: fn(&Measurement) -> f64| {
            figures(point, |found| (found.delivery.samples > 0).then(|| quantile(found).max(0.1)))
        };
        let p99 =
            measured(format!("{}: p99", point.subject), colour(at), figure(|found| found.delivery.p99_ms));
        lines.push(p99);
        if at == 0 {
            lines.push(measured("p50".to_owned(), OTHER_MODEL, figure(|found| found.delivery.p50_ms)));
            lines.push(measured("p99.9".to_owned(), MODEL, figure(|found| found.delivery.p999_ms)));
        }
    }
    lines.push(limit("500 ms", points, P99_MAX_MS));
    lines
}

fn memory(points: &[Side]) -> Vec<Line> {
    let memory = |found: &Measurement| Some(ratio(found.server.as_ref()?.memory_max_bytes, 1 << 20));
    let lines = points.iter().enumerate();
    lines
        .map(|(at, Side { point, .. })| measured(point.subject.clone(), colour(at), figures(point, memory)))
        .collect()
}

fn network(points: &[Side]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (at, Side { point, .. }) in points.iter().enumerate() {
        let a_second = |bytes: fn(&Measurement) -> u64| {
            figures(point, |found| {
                Some(ratio(bytes(found), 1) / found.seconds / 1e6).filter(|rate| *rate > 0.0)
            })
        };
        let read = a_second(|found| found.traffic.read_bytes);
        lines.push(measured(format!("{}: read", point.subject), colour(at), read));
        let written = a_second(|found| found.traffic.written_bytes);
        let other = if at == 0 { MODEL } else { OTHER_MODEL };
        lines.push(measured(format!("{}: written", point.subject), other, written));
    }
    lines
}

fn commits(points: &[Side]) -> Vec<Line> {
    let batch = |found: &Measurement| found.figures.as_ref()?.mean_batch;
    let lines = points.iter().enumerate();
    lines
        .map(|(at, Side { point, .. })| measured(point.subject.clone(), colour(at), figures(point, batch)))
        .collect()
}

fn drawn(frame: &Frame, lines: &[Line]) -> Result<Plot, PlotError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let failed = |error: String| PlotError { name: frame.name, why: error };
        draw(&area, frame, lines).map_err(failed)?;
        area.present().map_err(|error| failed(error.to_string()))?;
    }
    let alt = format!("{} in {} by the number of users", frame.title, frame.unit);
    Ok(Plot { name: frame.name, alt, svg })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(area: &Area<'_>, frame: &Frame, lines: &[Line]) -> Result<(), String> {
    let lines: Vec<&Line> = lines.iter().filter(|line| !line.points.is_empty()).collect();
    let rows = i32::try_from(lines.len().div_ceil(2)).map_err(|error| error.to_string())?;
    let (top, area) = area.split_vertically(LEGEND * rows + MARGIN);
    legend(&top, &lines)?;
    let all = || lines.iter().flat_map(|line| line.points.iter());
    let fold = |of: fn(&(f64, f64)) -> f64| {
        all().map(of).fold((f64::MAX, f64::MIN), |(least, most), at| (least.min(at), most.max(at)))
    };
    let (users, values) = (fold(|point| point.0), fold(|point| point.1));
    let log = |(least, most): (f64, f64), by: f64| {
        let range = least / by..most * by;
        range.clone().log_scale().with_key_points(round_numbers(range.start, range.end))
    };
    match frame.scale {
        Scale::Even => chart(&area, frame, &lines, log(users, 1.1), 0.0..values.1 * 1.05),
        Scale::Log => chart(&area, frame, &lines, log(users, 1.1), log(values, 1.3)),
    }
}

/// 1, 2, 5, 10 and so on, or where that is too many of them only the powers of ten.
fn round_numbers(least: f64, most: f64) -> Vec<f64> {
    let first = 10_f64.powf(least.log10().floor());
    let powers =
        std::iter::successors(Some(first), |power| Some(power * 10.0)).take_while(|power| *power <= most);
    let steps: &[f64] = if most / least < 2e3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let numbers = powers.flat_map(|power| steps.iter().map(move |step| power * step));
    numbers.filter(|number| (least..=most).contains(number)).collect()
}

/// The names of the lines, two beside each other.
fn legend(area: &Area<'_>, lines: &[&Line]) -> Result<(), String> {
    let letters = ("sans-serif", LETTERS).into_font().color(&TEXT);
    for (at, line) in (0_i32..).zip(lines) {
        let (x, y) = (MARGIN + at % 2 * (SIZE.0.cast_signed() / 2), MARGIN + LEGEND / 2 + at / 2 * LEGEND);
        let (from, to) = (x, x + 26);
        let stroke = match line.kind {
            Kind::Measured | Kind::Limit => line.colour.stroke_width(4),
            Kind::Model => line.colour.stroke_width(2),
        };
        let drawn = area.draw(&PathElement::new([(from, y), (to, y)], stroke));
        drawn.map_err(|error| error.to_string())?;
        let name = Text::new(line.name.clone(), (to + 8, y - LETTERS / 2), letters.clone());
        area.draw(&name).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn chart<X, Y>(area: &Area<'_>, frame: &Frame, lines: &[&Line], x: X, y: Y) -> Result<(), String>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let letters = ("sans-serif", LETTERS).into_font().color(&TEXT);
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .x_label_area_size(48)
        .y_label_area_size(68)
        .build_cartesian_2d(x, y)
        .map_err(|error| error.to_string())?;
    let number = |value: &f64| shown(*value);
    chart
        .configure_mesh()
        .axis_style(TEXT)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(letters.clone())
        .x_desc("users")
        .y_desc(format!("{}, {}", frame.title, frame.unit))
        .axis_desc_style(letters.clone())
        .x_labels(8)
        .y_labels(8)
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .draw()
        .map_err(|error| error.to_string())?;
    for line in lines {
        let colour = line.colour;
        let points = line.points.clone();
        let drawn = match line.kind {
            Kind::Measured => {
                let style = colour.filled().stroke_width(2);
                chart.draw_series(LineSeries::new(points, style).point_size(4)).err()
            }
            Kind::Model => {
                chart.draw_series(DashedLineSeries::new(points, 5, 4, colour.stroke_width(2))).err()
            }
            Kind::Limit => chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).err(),
        };
        if let Some(error) = drawn {
            return Err(error.to_string());
        }
    }
    Ok(())
}

/// A figure at an axis.
fn shown(value: f64) -> String {
    if value >= 1e6 {
        format!("{}M", value / 1e6)
    } else if value >= 1e4 {
        format!("{}k", value / 1e3)
    } else {
        // Three digits are enough, and no zeros behind them.
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}
