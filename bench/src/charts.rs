//! Figures as drawings: SVG that stands in the report by itself.

use plotters::{
    chart::SeriesLabelPosition,
    coord::ranged1d::{AsRangedCoord, ValueFormatter},
    prelude::*,
};

use crate::{
    figures::{Curve, Latency, Line},
    print::number,
};

const SIZE: (u32, u32) = (760, 360);
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
    RGBColor(110, 110, 110),
];

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A drawing, or a sentence that says why there is none.
fn svg(draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Drawn) -> String {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    let drawn = draw(&area).and_then(|()| area.present());
    drop(area);
    match drawn {
        Ok(()) => text,
        Err(error) => format!("(cannot be drawn: {error})"),
    }
}

/// The latency at each percentile, on the axis that is usual for it: every step to the right is a tenth
/// of what is left.
pub(crate) fn percentiles(latencies: &[Latency]) -> String {
    let lines = latencies.iter().map(|latency| {
        let histogram = latency.histogram();
        let points = histogram
            .iter_quantiles(10)
            .filter(|step| step.quantile_iterated_to() < 1.0)
            .map(|step| (1.0 / (1.0 - step.quantile_iterated_to()), step.value_iterated_to() as f64 / 1_000.0));
        Line { name: latency.name.clone(), points: points.collect() }
    });
    let lines: Vec<Line> = lines.collect();
    let right = greatest(&lines, |(x, _)| x).max(1_000.0);
    let top = greatest(&lines, |(_, y)| y).max(1.0) * 1.5;
    svg(|area| {
        let label = |left: &f64| format!("{}%", (100.0 * (1.0 - 1.0 / left) * 1e6).round() / 1e6);
        draw(area, &lines, (1.0..right).log_scale(), (0.01..top).log_scale(), ["percentile", "ms"], label)
    })
}

/// The latency through the run.
pub(crate) fn over_time(latency: &Latency) -> String {
    let line = |name: &str, of: fn(&crate::figures::Interval) -> f64| Line {
        name: name.to_owned(),
        points: latency.over_time.iter().map(|interval| (interval.at_s, of(interval))).collect(),
    };
    let lines = [line("max", |at| at.max_ms), line("p99", |at| at.p99_ms), line("p50", |at| at.p50_ms)];
    let (left, right) = (least(&lines, |(x, _)| x), greatest(&lines, |(x, _)| x));
    let top = greatest(&lines, |(_, y)| y).max(1.0) * 1.5;
    svg(|area| draw(area, &lines, left..right, (0.01..top).log_scale(), ["seconds", "ms"], |x: &f64| number(*x)))
}

/// Lines over an axis.
pub(crate) fn curve(curve: &Curve) -> String {
    if curve.lines.iter().all(|line| line.points.len() < 2) {
        return "(there is no line through less than two points)".to_owned();
    }
    let (left, right) = (least(&curve.lines, |(x, _)| x), greatest(&curve.lines, |(x, _)| x));
    let y = 0.0..greatest(&curve.lines, |(_, y)| y) * 1.1;
    let names = [curve.x.as_str(), curve.y.as_str()];
    let label = |x: &f64| number(*x);
    svg(|area| match curve.is_log_x {
        true => draw(area, &curve.lines, (left..right).log_scale(), y, names, label),
        false => draw(area, &curve.lines, left..right, y, names, label),
    })
}

fn draw<X, Y>(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    lines: &[Line],
    x: X,
    y: Y,
    names: [&str; 2],
    x_label: impl Fn(&f64) -> String,
) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    area.fill(&WHITE)?;
    let mut chart =
        ChartBuilder::on(area).margin(12).x_label_area_size(36).y_label_area_size(64).build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_desc(names[0])
        .y_desc(names[1])
        .x_label_formatter(&x_label)
        .y_label_formatter(&|y| number(*y))
        .light_line_style(WHITE)
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points = line.points.iter().copied();
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(line.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
}

fn greatest(lines: &[Line], of: fn((f64, f64)) -> f64) -> f64 {
    lines.iter().flat_map(|line| &line.points).map(|point| of(*point)).fold(f64::MIN_POSITIVE, f64::max)
}

fn least(lines: &[Line], of: fn((f64, f64)) -> f64) -> f64 {
    let all = lines.iter().flat_map(|line| &line.points).map(|point| of(*point));
    let least = all.fold(f64::INFINITY, f64::min);
    if least.is_finite() { least } else { 0.0 }
}
