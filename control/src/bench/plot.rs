//! Plots of cost against flows, routes or rules: SVG, both axes logarithmic.

use std::collections::HashSet;
use std::fmt::Write;

use super::report::{CaseResult, Report};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
/// Room left of, above, right of and below the plotted area.
const MARGIN: (f64, f64, f64, f64) = (70.0, 56.0, 250.0, 56.0);
/// Colours that people who see colours differently tell apart (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d",
];

/// Where a case stands on an axis.
type Place = fn(&CaseResult) -> Option<u64>;

/// What may be the x axis.
const AXES: [(&str, Place); 3] = [
    ("flows", |result| result.flows),
    ("routes", |result| result.routes),
    ("rules", |result| result.rules),
];

/// A picture and the name of its file, without directory.
pub struct Plot {
    /// `privatelink-flows.svg`.
    pub file: String,
    /// The picture.
    pub svg: String,
}

/// One line.
struct Series<'a> {
    name: String,
    unit: &'a str,
    /// x, and smallest, middle and largest y.
    points: Vec<(f64, [f64; 3])>,
}

/// A plot for each suite, axis and unit that has at least two points on one line. The
/// first unit of a suite and axis is not in the name of the file, others are.
pub fn plots(report: &Report) -> Vec<Plot> {
    let mut out = Vec::new();
    for suite in report.suite.split(',') {
        for (axis, of) in AXES {
            let series = series(report, suite, of);
            let mut units: Vec<&str> = series.iter().map(|series| series.unit).collect();
            let mut seen = HashSet::new();
            units.retain(|unit| seen.insert(*unit));
            for (nth, unit) in units.into_iter().enumerate() {
                // Nanoseconds of a packet and of a connection have no axis in common.
                let of_unit = series.iter().filter(|series| series.unit == unit);
                let lines: Vec<&Series> = of_unit.collect();
                let file = match nth {
                    0 => format!("{suite}-{axis}.svg"),
                    _ => format!("{suite}-{axis}-per-{unit}.svg"),
                };
                let svg = draw(suite, axis, unit, &lines, report);
                out.push(Plot { file, svg });
            }
        }
    }
    out
}

fn series<'a>(report: &'a Report, suite: &str, of: Place) -> Vec<Series<'a>> {
    let mut all: Vec<Series<'a>> = Vec::new();
    let prefix = format!("{suite}/");
    for result in &report.results {
        let (Some(x), Some(name)) = (
            of(result),
            result.series().strip_prefix(&prefix).map(str::to_owned),
        ) else {
            continue;
        };
        let unit = result.unit.as_str();
        let point = (x as f64, [result.ns.min, result.ns.median, result.ns.max]);
        match all
            .iter_mut()
            .find(|series| series.name == name && series.unit == unit)
        {
            Some(series) => series.points.push(point),
            None => all.push(Series {
                name,
                unit,
                points: vec![point],
            }),
        }
    }
    // A single point is no line; the table has it.
    all.retain(|series| series.points.len() > 1);
    for series in &mut all {
        series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    all
}

/// A logarithmic axis from `low` to `high` on the picture from `from` to `to`.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let share = (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        self.from + share * (self.to - self.from)
    }

    /// 1, 2 and 5 times the powers of ten in the range; only the powers where
    /// the range is wide.
    fn ticks(&self) -> Vec<f64> {
        let wide = self.high / self.low > 300.0;
        let steps: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        let all =
            (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
        all.filter(|&tick| tick >= self.low * 0.999 && tick <= self.high * 1.001)
            .collect()
    }
}

fn draw(suite: &str, axis: &str, unit: &str, series: &[&Series<'_>], report: &Report) -> String {
    let (left, top, right, bottom) = MARGIN;
    let points = || series.iter().flat_map(|series| &series.points);
    let (x_low, x_high) = range(points().map(|point| point.0));
    let (y_low, y_high) = range(points().flat_map(|point| point.1));
    let x = Axis {
        low: x_low,
        high: x_high.max(x_low * 10.0),
        from: left,
        to: WIDTH - right,
    };
    let y = Axis {
        low: y_low / 1.3,
        high: y_high * 1.3,
        from: HEIGHT - bottom,
        to: top,
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#222\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{left}\" y=\"24\" font-size=\"17\" font-weight=\"bold\">{suite}: ns per {unit} by {axis}</text>\n"
    );
    let machine = &report.machine;
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<text x=\"{left}\" y=\"42\" font-size=\"11\" fill=\"#666\">{}, Linux {}, one core, harness included; bars: min to max</text>",
        escape(&machine.cpu),
        escape(&machine.kernel)
    );
    for tick in x.ticks() {
        let at = x.at(tick);
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {:.1}V{top}\" stroke=\"#e4e4e4\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - bottom,
            HEIGHT - bottom + 20.0,
            short(tick)
        );
    }
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = writeln!(
            out,
            "<path d=\"M{left} {at:.1}H{:.1}\" stroke=\"#e4e4e4\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - right,
            left - 8.0,
            at + 4.5,
            short(tick)
        );
    }
    let _ = writeln!(
        out,
        "<path d=\"M{left} {top}V{:.1}H{:.1}\" fill=\"none\" stroke=\"#666\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{axis}</text>\n\
         <text transform=\"translate(20 {:.1}) rotate(-90)\" text-anchor=\"middle\">ns per {unit}</text>",
        HEIGHT - bottom,
        WIDTH - right,
        f64::midpoint(left, WIDTH - right),
        HEIGHT - 14.0,
        f64::midpoint(top, HEIGHT - bottom)
    );
    for (series, colour) in series.iter().zip(COLOURS.iter().cycle()) {
        line(&mut out, series, colour, &x, &y);
    }
    legend(&mut out, series, &y);
    out.push_str("</svg>\n");
    out
}

/// The line of one series, with a bar from its fastest to its slowest round at
/// each point.
fn line(out: &mut String, series: &Series<'_>, colour: &str, x: &Axis, y: &Axis) {
    let mut path = String::new();
    for (n, (at, [min, median, max])) in series.points.iter().enumerate() {
        let (at, middle) = (x.at(*at), y.at(*median));
        let _ = write!(
            path,
            "{}{at:.1} {middle:.1}",
            if n == 0 { 'M' } else { 'L' }
        );
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {:.1}V{:.1}\" stroke=\"{colour}\" stroke-opacity=\"0.5\"/>\
             <circle cx=\"{at:.1}\" cy=\"{middle:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
            y.at(*min),
            y.at(*max)
        );
    }
    let _ = writeln!(
        out,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
}

/// Names beside the ends of the lines, highest first, moved apart where they
/// would lie on each other.
fn legend(out: &mut String, series: &[&Series<'_>], y: &Axis) {
    const GAP: f64 = 18.0;
    let mut names: Vec<(f64, &Series<'_>, &str)> = series
        .iter()
        .zip(COLOURS.iter().cycle())
        .map(|(series, colour)| {
            let last = series.points.last().map_or(1.0, |point| point.1[1]);
            (y.at(last), *series, *colour)
        })
        .collect();
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    let left = WIDTH - MARGIN.2 + 14.0;
    let mut free = MARGIN.1;
    for (wanted, series, colour) in names {
        let at = wanted.max(free);
        free = at + GAP;
        let last = series.points.last().map_or(0.0, |point| point.1[1]);
        let _ = writeln!(
            out,
            "<text x=\"{left:.1}\" y=\"{:.1}\" fill=\"{colour}\">{} ({} ns)</text>",
            at + 4.5,
            escape(&series.name),
            rounded(last)
        );
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| {
        (low.min(value.max(f64::MIN_POSITIVE)), high.max(value))
    })
}

fn rounded(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// 1000 as 1k, a million as 1M.
fn short(value: f64) -> String {
    match value {
        _ if value >= 999_999.0 => format!("{}M", value / 1e6),
        _ if value >= 999.0 => format!("{}k", value / 1e3),
        _ if value >= 0.99 => format!("{value:.0}"),
        _ => format!("{value}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Machine, Spread};

    fn result(name: &str, flows: u64, ns: f64) -> CaseResult {
        let spread = Spread {
            min: ns * 0.9,
            median: ns,
            max: ns * 1.2,
        };
        CaseResult {
            name: format!("{name}/flows={flows}"),
            ns_per_packet: ns,
            mpps: 1_000.0 / ns,
            allocs_per_packet: Some(0.0),
            hits: 1,
            misses: 0,
            unit: "packet".to_owned(),
            ns: spread,
            floor_ns: None,
            net_ns: None,
            rounds: 1,
            operations: 1,
            others_percent: 0.0,
            flows: Some(flows),
            routes: None,
            rules: None,
            metrics: Default::default(),
            by_round: Default::default(),
        }
    }

    #[test]
    fn lines_go_up_where_cost_does_and_stay_in_the_picture() {
        let report = Report {
            suite: "eastwest,parse".to_owned(),
            results: vec![
                result("eastwest/tcp4-64B", 1_000_000, 200.0),
                result("eastwest/tcp4-64B", 1, 20.0),
                result("eastwest/tcp4-512B", 1_000, 40.0),
            ],
            machine: Machine::default(),
            skipped: Vec::new(),
        };
        let plots = plots(&report);
        assert_eq!(plots.len(), 1, "a line needs two points");
        let plot = &plots[0];
        assert_eq!(plot.file, "eastwest-flows.svg");
        assert!(plot.svg.contains("tcp4-64B (200 ns)") && !plot.svg.contains("512B"));
        let circles: Vec<(f64, f64)> = plot
            .svg
            .split("<circle cx=\"")
            .skip(1)
            .map(|rest| {
                let mut numbers = rest.split('"');
                let x = numbers.next().unwrap().parse().unwrap();
                (x, numbers.nth(1).unwrap().parse().unwrap())
            })
            .collect();
        assert_eq!(circles.len(), 2);
        assert!(circles[0].0 < circles[1].0 && circles[0].1 > circles[1].1);
        for (x, y) in circles {
            assert!((0.0..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y));
        }
    }

    /// And a suite whose name begins as another's has no part in that one's.
    #[test]
    fn each_unit_has_a_picture_of_its_own() {
        let mut results = Vec::new();
        for (name, unit) in [
            ("first-packet/eastwest", "packet"),
            ("first-packet/connections", "connection"),
            ("first/other", "lookup"),
        ] {
            for flows in [10, 100] {
                let unit = unit.to_owned();
                results.push(CaseResult {
                    unit,
                    ..result(name, flows, 50.0)
                });
            }
        }
        let report = Report {
            suite: "first,first-packet".to_owned(),
            results,
            machine: Machine::default(),
            skipped: Vec::new(),
        };
        let plots = plots(&report);
        let about = |file: &str| {
            let plot = plots.iter().find(|plot| plot.file == file).unwrap();
            let lines = ["eastwest", "connections", "other"];
            let has = |line: &&str| plot.svg.contains(&format!("{line} (50 ns)"));
            let lines: Vec<&str> = lines.into_iter().filter(has).collect();
            let unit = plot.svg.split("ns per ").nth(1).unwrap();
            (lines, unit.split(' ').next().unwrap())
        };
        assert_eq!(plots.len(), 3);
        assert_eq!(about("first-flows.svg"), (vec!["other"], "lookup"));
        assert_eq!(
            about("first-packet-flows.svg"),
            (vec!["eastwest"], "packet")
        );
        assert_eq!(
            about("first-packet-flows-per-connection.svg"),
            (vec!["connections"], "connection")
        );
    }

    #[test]
    fn numbers_on_axes_are_short() {
        let said: Vec<String> = [0.5, 1.0, 20.0, 1_000.0, 1e6].map(short).into();
        assert_eq!(said, ["0.5", "1", "20", "1k", "1M"]);
    }
}
