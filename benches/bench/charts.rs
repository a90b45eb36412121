//! Charts of the measurements, as SVG on a white background, so that they are readable on pages of any
//! colour.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::results::{Curve, Results};

const SIZE: (u32, u32) = (720, 420);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);

/// A chart of the page.
pub struct Chart {
    /// Name of its curves; its file has this name with `.svg`.
    pub name: &'static str,
    pub title: &'static str,
    /// Its caption on the page.
    pub about: &'static str,
    x: Axis,
    y: Axis,
    draw: Draw,
}

struct Axis {
    label: &'static str,
    is_log: bool,
}

/// How the points of a curve are drawn.
enum Draw {
    /// The fraction of values that are at most this large.
    Shares,
    /// The median of all values at each x, with their range.
    Medians,
    /// A bar for each curve, as high as the median, with the range.
    Bars,
}

const fn linear(label: &'static str) -> Axis {
    Axis {
        label,
        is_log: false,
    }
}

const fn log(label: &'static str) -> Axis {
    Axis {
        label,
        is_log: true,
    }
}

/// All charts, in the order of the page.
pub const CHARTS: &[Chart] = &[
    Chart {
        name: "latency",
        title: "A user event reaches all of ten nodes",
        about: "From the RPC request until the last of ten agents has passed the event on: the share of the \
                events that took no longer.",
        x: log("milliseconds"),
        y: linear("events, %"),
        draw: Draw::Shares,
    },
    Chart {
        name: "loss",
        title: "Events lost by rate",
        about: "Events that are fired at one of ten agents, each rate for four seconds: the share of the \
                deliveries, ten for an event, that never came.",
        x: log("events a second"),
        y: linear("deliveries lost, %"),
        draw: Draw::Medians,
    },
    Chart {
        name: "memory",
        title: "Memory by members",
        about: "Resident memory of an agent that knows so many members, 40 seconds after it joined them.",
        x: log("members"),
        y: log("MiB"),
        draw: Draw::Medians,
    },
    Chart {
        name: "handlers",
        title: "Handlers run a second",
        about: "A burst of 500 events for a handler that does nothing. The bare loop spawns the same shell \
                and does nothing else.",
        x: linear(""),
        y: linear("runs a second"),
        draw: Draw::Bars,
    },
    Chart {
        name: "convergence",
        title: "All nodes know all others",
        about: "Agents that run alone are told at the same moment to join the first of them: the time until \
                each knows all.",
        x: linear("nodes"),
        y: log("seconds"),
        draw: Draw::Medians,
    },
];

/// A curve as it is drawn.
struct Series<'a> {
    name: &'a str,
    line: Vec<(f64, f64)>,
    /// X, minimum and maximum.
    ranges: Vec<(f64, f64, f64)>,
}

impl Chart {
    /// Returns the name of the file that the page shows.
    pub fn file(&self) -> String {
        format!("{}.svg", self.name)
    }

    /// Returns the drawing; `None` if there are no measurements for it.
    pub fn svg(&self, results: &Results) -> Option<String> {
        let curves: Vec<&Curve> = results.curves(self.name).collect();
        let series: Vec<Series<'_>> = match self.draw {
            Draw::Shares => curves.iter().map(|curve| shares(curve)).collect(),
            Draw::Medians => curves.iter().map(|curve| medians(curve)).collect(),
            Draw::Bars => return bars(self, &curves),
        };
        let points = || series.iter().flat_map(|series| &series.line);
        let ranges = || series.iter().flat_map(|series| &series.ranges);
        let x = bounds(&self.x, points().map(|(x, _)| *x))?;
        let ys = points().map(|(_, y)| *y);
        let y = bounds(
            &self.y,
            ys.chain(ranges().flat_map(|range| [range.1, range.2])),
        )?;
        let (x, y) = (x.0..x.1, y.0..y.1);
        Some(match (self.x.is_log, self.y.is_log) {
            (false, false) => lines(self, &series, x, y),
            (true, false) => lines(self, &series, x.log_scale(), y),
            (false, true) => lines(self, &series, x, y.log_scale()),
            (true, true) => lines(self, &series, x.log_scale(), y.log_scale()),
        })
    }
}

fn shares(curve: &Curve) -> Series<'_> {
    let mut values: Vec<f64> = curve.points.iter().map(|point| point[1]).collect();
    values.sort_by(f64::total_cmp);
    let all = values.len() as f64;
    let steps = values.iter().enumerate().flat_map(|(below, &value)| {
        [below, below + 1].map(|count| (value, 100.0 * count as f64 / all))
    });
    Series {
        name: &curve.series,
        line: steps.collect(),
        ranges: Vec::new(),
    }
}

fn medians(curve: &Curve) -> Series<'_> {
    let mut points = curve.points.clone();
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let groups: Vec<&[[f64; 2]]> = points.chunk_by(|a, b| a[0] == b[0]).collect();
    let ranges = groups.iter().filter(|group| group.len() > 1);
    Series {
        name: &curve.series,
        line: groups
            .iter()
            .map(|group| (group[0][0], group[group.len() / 2][1]))
            .collect(),
        ranges: ranges
            .map(|group| (group[0][0], group[0][1], group[group.len() - 1][1]))
            .collect(),
    }
}

/// Returns the ends of an axis: from zero, or at powers of ten.
fn bounds(axis: &Axis, values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return None;
    }
    if axis.is_log {
        let power = |value: f64| value.max(1e-3).log10();
        let (low, high) = (power(low).floor(), power(high).ceil());
        return Some((10f64.powf(low), 10f64.powf(high.max(low + 1.0))));
    }
    Some((0.0, (high * 1.05).max(1.0)))
}

fn colour(series: &str) -> RGBColor {
    match series {
        "cottar" => RGBColor(0, 90, 181),
        "serf" => RGBColor(220, 80, 20),
        "bare loop" => RGBColor(120, 120, 120),
        _ => RGBColor(60, 150, 90),
    }
}

/// Formats a number without insignificant digits.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if value >= 10_000.0 {
        return format!("{},{:03}", value as u64 / 1000, value as u64 % 1000);
    }
    text.to_owned()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws an SVG on a white background.
fn draw(on: impl FnOnce(&Area<'_>)) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).unwrap();
        on(&area);
        area.present().unwrap();
    }
    svg
}

/// Draws a chart's title and the space around its axes.
fn frame<'a, 'b>(chart: &Chart, area: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut frame = ChartBuilder::on(area);
    frame
        .caption(chart.title, (FONT, 20, &INK))
        .margin(14)
        .margin_right(28)
        .x_label_area_size(46)
        .y_label_area_size(66);
    frame
}

fn lines<X, Y>(chart: &Chart, series: &[Series<'_>], x: X, y: Y) -> String
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    draw(|area| {
        let mut drawing = frame(chart, area).build_cartesian_2d(x, y).unwrap();
        drawing
            .configure_mesh()
            .max_light_lines(1)
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .axis_style(INK)
            .label_style((FONT, 13, &INK))
            .axis_desc_style((FONT, 15, &INK))
            .x_desc(chart.x.label)
            .y_desc(chart.y.label)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .draw()
            .unwrap();
        for series in series {
            let colour = colour(series.name);
            let style = colour.stroke_width(2);
            drawing
                .draw_series(LineSeries::new(series.line.iter().copied(), style))
                .unwrap()
                .label(series.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            if !matches!(chart.draw, Draw::Shares) {
                let dots = series.line.iter();
                let dots = dots.map(|point| Circle::new(*point, 3, colour.filled()));
                drawing.draw_series(dots).unwrap();
            }
            let ranges = series.ranges.iter();
            let ranges =
                ranges.map(|&(x, low, high)| PathElement::new([(x, low), (x, high)], colour));
            drawing.draw_series(ranges).unwrap();
        }
        drawing
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperMiddle)
            .background_style(WHITE)
            .border_style(RGBColor(200, 200, 200))
            .label_font((FONT, 14, &INK))
            .draw()
            .unwrap();
    })
}

fn bars(chart: &Chart, curves: &[&Curve]) -> Option<String> {
    let series: Vec<Series<'_>> = curves.iter().map(|curve| medians(curve)).collect();
    let highest = curves.iter().flat_map(|curve| &curve.points);
    let (_, highest) = bounds(&chart.y, highest.map(|point| point[1]))?;
    Some(draw(|area| {
        let mut drawing = frame(chart, area)
            .build_cartesian_2d(0.0..series.len() as f64, 0.0..highest)
            .unwrap();
        let name = |place: &f64| {
            let at = place.floor() as usize;
            let is_middle = (place.fract() - 0.5).abs() < 0.01;
            let series = series.get(at).filter(|_| is_middle);
            series.map_or("", |series| series.name).to_owned()
        };
        drawing
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(1)
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .axis_style(INK)
            .x_labels(2 * series.len() + 1)
            .label_style((FONT, 14, &INK))
            .axis_desc_style((FONT, 15, &INK))
            .y_desc(chart.y.label)
            .x_label_formatter(&name)
            .y_label_formatter(&|value| number(*value))
            .draw()
            .unwrap();
        for (at, series) in series.iter().enumerate() {
            let (left, right) = (at as f64 + 0.25, at as f64 + 0.75);
            let median = series.line.first().map_or(0.0, |(_, y)| *y);
            let bar = [(left, 0.0), (right, median)];
            let bar = Rectangle::new(bar, colour(series.name).filled());
            drawing.draw_series([bar]).unwrap();
            let ranges = series.ranges.iter();
            let middle = at as f64 + 0.5;
            let ranges = ranges
                .map(|&(_, low, high)| PathElement::new([(middle, low), (middle, high)], INK));
            drawing.draw_series(ranges).unwrap();
        }
    }))
}
