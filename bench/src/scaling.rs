//! How rates and latencies change with the size of the job: each point is a run of another part, in a
//! process of its own.

use anyhow::Context;

use crate::{
    figures::{Better, Curve, Figure, Line, Measuring, Part},
    suite,
    workload::EVENTS_PER_S,
};

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Clicks of each run of `sb`
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Events of each run of `full`
    #[arg(long, default_value_t = 100_000)]
    full_events: u64,
    /// Runs of each point of `sb`; the median counts
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Items
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    items: Vec<u64>,
    /// Windows
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3, 4, 5])]
    windows: Vec<u64>,
    /// Scopes of an event
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 6, 8])]
    scopes: Vec<u64>,
    /// Workers
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    workers: Vec<u64>,
    /// Customers of `full`, of whom at most a million are active. Those who are not were seen two months before
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000])]
    customers: Vec<u64>,
    /// Clicks a second at which latency is measured
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
    /// Seconds of each measuring of latency
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// How many of a shop's customers act within the windows, at the most.
const MOST_ACTIVE: u64 = 1_000_000;
/// What the rate with most items should be of that with fewest, at least; and the time of an event of `full`
/// with most customers of that with fewest, at most.
const BAR_ITEMS: f64 = 0.8;
const BAR_CUSTOMERS: f64 = 2.0;
const BAR_CUSTOMERS_FROM: u64 = 100_000;
const BAR_CUSTOMERS_TO: u64 = 10_000_000;
/// What two workers should do of what one does, where ticks are coalesced.
const BAR_WORKERS: f64 = 1.2;

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let mut part = Part::begin(
        "scaling",
        "sb, with other numbers of items, windows, scopes and workers; full, with other numbers of customers: all \
         in-process, without store and sockets; each point a process of its own",
    );
    let sb = |changed: &str| {
        let line = format!("throughput --runs {} --events {} {changed}", options.runs, options.events);
        rate_of(&line, "messages")
    };
    let items = points(&options.items, |items| sb(&format!("--items {items}")))?;
    let p99 = p99_by_items(&mut part, options)?;
    let windows = points(&options.windows, |windows| sb(&format!("--windows {windows}")))?;
    let scopes = points(&options.scopes, |scopes| sb(&format!("--scopes {scopes}")))?;
    let at_once = points(&options.workers, |workers| sb(&format!("--workers {workers}")))?;
    let coalesced = points(&options.workers, |workers| sb(&format!("--workers {workers} --tick-events 20000")))?;
    let full_of = |customers: u64| {
        let active = customers.min(MOST_ACTIVE);
        rate_of(&format!("full --events {} --active {active} --customers {customers}", options.full_events), "events")
    };
    let customers = points(&options.customers, full_of)?;

    ratios(&mut part, options, [&items, &customers, &at_once, &coalesced]);
    part.part.remarks.push(format!(
        "event time goes as fast as 500 events a second make it: in these runs windows of more than {} minutes (sb) and {} \
         minutes (full) lose nothing",
        options.events / EVENTS_PER_S / 60,
        options.full_events / EVENTS_PER_S / 60
    ));
    let one = |name: &str, points| vec![Line { name: name.to_owned(), points }];
    let workers = vec![
        Line { name: "ticks of 1,000 clicks".into(), points: at_once },
        Line { name: "ticks of 20,000 clicks".into(), points: coalesced },
    ];
    for (name, x, y, is_log_x, lines) in [
        ("rate by items", "items", "messages a second", true, one("sb", items)),
        ("p99 by items", "items", "ms", true, one(&format!("sb at {}/s", options.rate), p99)),
        ("rate by windows", "windows", "messages a second", false, one("sb", windows)),
        ("rate by scopes of an event", "scopes", "messages a second", false, one("sb", scopes)),
        ("rate by workers", "workers", "messages a second", false, workers),
        ("rate by customers", "customers", "events a second", true, one("full", customers)),
    ] {
        part.part.curves.push(Curve { name: name.into(), x: x.into(), y: y.into(), is_log_x, lines });
    }
    Ok(part.done())
}

/// The p99 of `sb` at a rate, in milliseconds; a run that could not keep up has none, and a remark says so.
fn p99_by_items(part: &mut Measuring, options: &Options) -> anyhow::Result<Vec<(f64, f64)>> {
    let p99_of = |items| {
        let (rate, seconds, events) = (options.rate, options.seconds, options.rate * (options.seconds + 3));
        let line = format!("latency --rate {rate} --seconds {seconds} --events {events} --items {items}");
        let latency = suite::measure_part(&line)?.latencies.pop().context("a latency")?;
        let p99_ms = latency.histogram().value_at_quantile(0.99) as f64 / 1_000.0;
        anyhow::Ok(if latency.kept_up() { p99_ms } else { f64::NAN })
    };
    let (p99, late): (Vec<_>, Vec<_>) =
        points(&options.items, p99_of)?.into_iter().partition(|(_, p99_ms)| p99_ms.is_finite());
    for (items, _) in late {
        part.part.remarks.push(format!("{items} items: could not keep up with {}/s, so there is no p99", options.rate));
    }
    Ok(p99)
}

/// What the last point of each growth is of the first, and what it should be.
fn ratios(part: &mut Measuring, options: &Options, [items, customers, at_once, coalesced]: [&[(f64, f64)]; 4]) {
    let ratio =
        |points: &[(f64, f64)]| points.last().map_or(1.0, |last| last.1) / points.first().map_or(1.0, |first| first.1);
    let mut told = |name: &str, better, ratio: f64, bar: Option<f64>| {
        part.figure(name, "times", better, vec![ratio]).bar = bar;
    };
    let reaches =
        options.customers.first() <= Some(&BAR_CUSTOMERS_FROM) && options.customers.last() >= Some(&BAR_CUSTOMERS_TO);
    let by_customers = 1.0 / ratio(customers);
    told("rate with most items of that with fewest", Better::Higher, ratio(items), Some(BAR_ITEMS));
    told(
        "time of an event with most customers of that with fewest",
        Better::Lower,
        by_customers,
        reaches.then_some(BAR_CUSTOMERS),
    );
    told("rate with the last number of workers of that with the first", Better::Neither, ratio(at_once), None);
    told("the same, ticks of 20,000 clicks", Better::Higher, ratio(coalesced), Some(BAR_WORKERS));
}

/// What `of` says at each size.
fn points(sizes: &[u64], of: impl Fn(u64) -> anyhow::Result<f64>) -> anyhow::Result<Vec<(f64, f64)>> {
    sizes.iter().map(|size| Ok((*size as f64, of(*size)?))).collect()
}

/// The median of a figure of another part.
fn rate_of(line: &str, figure: &str) -> anyhow::Result<f64> {
    let part = suite::measure_part(line)?;
    let found = part.figures.iter().find(|found| found.name == figure).map(Figure::median);
    found.with_context(|| format!("`{line}` measures no {figure}"))
}
