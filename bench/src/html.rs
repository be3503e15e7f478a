//! A report as one page: no script, nothing to load, every drawing in place.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    charts,
    figures::{Figure, Latency, Part, Report},
    print::{PERCENTILES, number},
};

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; max-width: 860px; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { margin-top: 2.2em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2em .8em; text-align: right; border-bottom: 1px solid #eee; }
th:first-child, td:first-child { text-align: left; }
code { background: #f4f4f4; padding: .1em .3em; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; }
.met { color: #1a7f37; } .missed { color: #b35900; font-weight: 600; }
.remark { background: #fff4e0; padding: .5em .8em; }
nav { display: flex; flex-wrap: wrap; gap: 0 1em; }
";

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let environment = &report.environment;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "etalage-bench " (environment.commit) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "etalage-bench at " (environment.commit) }
                table {
                    @for (name, value) in [
                        ("measured", environment.at.as_str()),
                        ("command", environment.command.as_str()),
                        ("machine", &format!("{} cores, {}, {}", environment.cores, environment.cpu, environment.memory)),
                        ("system", environment.kernel.as_str()),
                        ("compiler", environment.rustc.as_str()),
                    ] {
                        tr { th { (name) } td style="text-align: left" { (value) } }
                    }
                }
                nav { @for (at, part) in report.parts.iter().enumerate() { a href={ "#part-" (at) } { (part.name) } } }
                @for (at, part) in report.parts.iter().enumerate() { (of_part(at, part)) }
            }
        }
    };
    page.into_string()
}

fn of_part(at: usize, part: &Part) -> Markup {
    html! {
        section {
            h2 id={ "part-" (at) } { (part.name) }
            p { (part.job) }
            p { code { (part.command) } }
            @for remark in &part.remarks { p.remark { (remark) } }
            @if !part.figures.is_empty() { (of_figures(&part.figures)) }
            @if !part.latencies.is_empty() { (of_latencies(&part.latencies)) }
            @for curve in &part.curves {
                h3 { (curve.name) }
                (PreEscaped(charts::curve(curve)))
            }
            p { (number(part.stolen_ms)) " ms of the machine's CPU time were stolen meanwhile; took " (number(part.elapsed_s)) " s." }
        }
    }
}

fn of_figures(figures: &[Figure]) -> Markup {
    html! {
        table {
            tr { th { "figure" } th { "median" } th { "least" } th { "greatest" } th { "runs" } th { "bar" } }
            @for figure in figures {
                @let (least, greatest) = figure.range();
                tr {
                    td { (figure.name) ", " (figure.unit) }
                    td { (number(figure.median())) }
                    td { (number(least)) }
                    td { (number(greatest)) }
                    td { (figure.samples.len()) }
                    td { @if let Some(bar) = figure.bar { (verdict(&number(bar), figure.meets_bar() == Some(true))) } }
                }
            }
        }
    }
}

fn of_latencies(latencies: &[Latency]) -> Markup {
    let shown: Vec<Latency> = latencies.iter().filter(|latency| latency.kept_up()).cloned().collect();
    html! {
        table {
            tr {
                th { "latency, ms" } th { "offered/s" } th { "achieved/s" }
                @for (_, name) in PERCENTILES { th { (name) } }
                th { "max" } th { "bars" }
            }
            @for latency in latencies {
                @let histogram = latency.histogram();
                tr {
                    td { (latency.name) }
                    td { (latency.offered_per_s.map_or(String::new(), number)) }
                    td { (latency.achieved_per_s.map_or(String::new(), number)) }
                    @if latency.kept_up() {
                        @for (percentile, _) in PERCENTILES {
                            td { (format!("{:.3}", histogram.value_at_percentile(percentile) as f64 / 1_000.0)) }
                        }
                        td { (format!("{:.3}", histogram.max() as f64 / 1_000.0)) }
                        td {
                            @for (percentile, bar_ms) in &latency.bars_ms {
                                @let is_met = histogram.value_at_percentile(*percentile) as f64 <= bar_ms * 1_000.0;
                                (verdict(&format!("p{percentile} {bar_ms}"), is_met)) " "
                            }
                        }
                    } @else {
                        td.missed colspan=(PERCENTILES.len() + 2) { "could not keep up" }
                    }
                }
            }
        }
        @if !shown.is_empty() { (PreEscaped(charts::percentiles(&shown))) }
        @for latency in shown.iter().filter(|latency| latency.over_time.len() > 1) {
            h3 { (latency.name) " over time" }
            (PreEscaped(charts::over_time(latency)))
        }
    }
}

fn verdict(bar: &str, is_met: bool) -> Markup {
    html! { span.(if is_met { "met" } else { "missed" }) { (bar) " " (if is_met { "met" } else { "not met" }) } }
}
