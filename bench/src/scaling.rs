//! How rates and latencies change with the size of the job: each point is a run of another part, in a
//! process of its own.

use anyhow::Context;

use crate::{
    figures::{Better, Curve, Figure, Line, Measuring, Part},
    machine, suite,
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
    /// Customers of `full`. Those who are not active were seen two months before
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000])]
    customers: Vec<u64>,
    /// How many of the customers of `full` are active, where there are so many
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    active: u64,
    /// Events a second at which the latency of `full` is measured
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u64).range(1..))]
    full_rate: u64,
    /// Clicks a second at which latency is measured
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
    /// Seconds of each measuring of latency
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// Seconds of the latency of `full` that are not counted, as `full` has it.
const FULL_WARM_UP_S: u64 = 2;
/// What a customer takes in `full` who was seen once, about: more of them than memory is there for would take the
/// machine down and tell nothing.
const CUSTOMER_BYTES: f64 = 2_400.0;
/// Of the memory that is free this share may be taken.
const FREE_SHARE: f64 = 0.85;
/// What the rate with most items should be of that with fewest, at least; and the time of an event of `full`
/// with most customers of that with fewest, at most.
const BAR_ITEMS: f64 = 0.8;
const BAR_CUSTOMERS: f64 = 2.0;
const BAR_CUSTOMERS_FROM: f64 = 100_000.0;
const BAR_CUSTOMERS_TO: f64 = 10_000_000.0;
/// What two workers should do of what one does, where ticks are coalesced.
const BAR_WORKERS: f64 = 1.2;

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let mut part = Part::begin(
        "scaling",
        format!(
            "sb, with other numbers of items, windows, scopes and workers; full, with other numbers of customers, of whom \
             at most {} are active: all in-process, without store and sockets; each point a process of its own",
            options.active
        ),
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
    let full = by_customers(&mut part, options)?;

    ratios(&mut part, [&items, &full.rates, &at_once, &coalesced]);
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
        ("rate by customers", "customers", "events a second", true, one("full", full.rates)),
        ("p99 by customers", "customers", "ms", true, one(&format!("full at {}/s", options.full_rate), full.p99_ms)),
        ("peak RSS by customers", "customers", "MiB", true, one("full", full.peak_rss_mib)),
    ] {
        part.part.curves.push(Curve { name: name.into(), x: x.into(), y: y.into(), is_log_x, lines });
    }
    Ok(part.done())
}

/// What `full` comes to with other numbers of customers.
struct ByCustomers {
    rates: Vec<(f64, f64)>,
    p99_ms: Vec<(f64, f64)>,
    peak_rss_mib: Vec<(f64, f64)>,
}

fn by_customers(part: &mut Measuring, options: &Options) -> anyhow::Result<ByCustomers> {
    let who = |customers: u64| format!("--active {} --customers {customers}", customers.min(options.active));
    let sizes = those_that_fit(part, options);
    let mut peak_rss_mib = Vec::new();
    let rates = points(&sizes, |customers| {
        let line = format!("full --events {} {}", options.full_events, who(customers));
        let ran = suite::measure_part(&line)?;
        peak_rss_mib.push((customers as f64, figure_of(&ran, &line, "peak RSS")?));
        figure_of(&ran, &line, "events")
    })?;
    let (rate, events) = (options.full_rate, options.full_rate * (options.seconds + FULL_WARM_UP_S));
    let p99_ms = p99(part, &sizes, "customers", rate, |customers| {
        format!("full --rate {rate} --events {events} --warm-up-s {FULL_WARM_UP_S} {}", who(customers))
    })?;
    Ok(ByCustomers { rates, p99_ms, peak_rss_mib })
}

/// The numbers of customers for which there is memory; a remark tells of the others.
fn those_that_fit(part: &mut Measuring, options: &Options) -> Vec<u64> {
    let free_mib = machine::available_mib() * FREE_SHARE;
    let needs_mib = |customers: &u64| *customers as f64 * CUSTOMER_BYTES / 1_048_576.0;
    let (those, too_many): (Vec<u64>, Vec<u64>) =
        options.customers.iter().partition(|customers| needs_mib(customers) <= free_mib);
    for customers in too_many {
        part.part.remarks.push(format!(
            "{customers} customers: NOT MEASURED; they need about {:.0} MiB of memory, and {free_mib:.0} can be spared",
            needs_mib(&customers)
        ));
    }
    those
}

fn p99_by_items(part: &mut Measuring, options: &Options) -> anyhow::Result<Vec<(f64, f64)>> {
    let (rate, seconds, events) = (options.rate, options.seconds, options.rate * (options.seconds + 3));
    p99(part, &options.items, "items", rate, |items| {
        format!("latency --rate {rate} --seconds {seconds} --events {events} --items {items}")
    })
}

/// The p99 at a rate, in milliseconds; a run that could not keep up has none, and a remark says so.
fn p99(
    part: &mut Measuring,
    sizes: &[u64],
    of_what: &str,
    rate: u64,
    line: impl Fn(u64) -> String,
) -> anyhow::Result<Vec<(f64, f64)>> {
    let p99_of = |size| {
        let latency = suite::measure_part(&line(size))?.latencies.pop().context("a latency")?;
        let p99_ms = latency.histogram().value_at_quantile(0.99) as f64 / 1_000.0;
        anyhow::Ok(if latency.kept_up() { p99_ms } else { f64::NAN })
    };
    let (p99, late): (Vec<_>, Vec<_>) = points(sizes, p99_of)?.into_iter().partition(|(_, p99_ms)| p99_ms.is_finite());
    for (size, _) in late {
        part.part.remarks.push(format!("{size} {of_what}: could not keep up with {rate}/s, so there is no p99"));
    }
    Ok(p99)
}

/// What the last point of each growth is of the first, and what it should be; nothing where there is but one.
fn ratios(part: &mut Measuring, [items, customers, at_once, coalesced]: [&[(f64, f64)]; 4]) {
    let mut told = |name: &str, better, points: &[(f64, f64)], bar: Option<f64>, of: fn(f64, f64) -> f64| {
        if let [first, .., last] = points {
            part.figure(name, "times", better, vec![of(last.1, first.1)]).bar = bar;
        }
    };
    let reaches = matches!(customers, [first, .., last] if first.0 <= BAR_CUSTOMERS_FROM && last.0 >= BAR_CUSTOMERS_TO);
    let by_customers = reaches.then_some(BAR_CUSTOMERS);
    let (as_rate, as_time): (fn(f64, f64) -> f64, fn(f64, f64) -> f64) =
        (|last, first| last / first, |last, first| first / last);
    told("rate with most items of that with fewest", Better::Higher, items, Some(BAR_ITEMS), as_rate);
    told("time of an event with most customers of that with fewest", Better::Lower, customers, by_customers, as_time);
    told("rate with the last number of workers of that with the first", Better::Neither, at_once, None, as_rate);
    told("the same, ticks of 20,000 clicks", Better::Higher, coalesced, Some(BAR_WORKERS), as_rate);
}

/// What `of` says at each size.
fn points(sizes: &[u64], mut of: impl FnMut(u64) -> anyhow::Result<f64>) -> anyhow::Result<Vec<(f64, f64)>> {
    sizes.iter().map(|size| Ok((*size as f64, of(*size)?))).collect()
}

/// The median of a figure of another part.
fn rate_of(line: &str, figure: &str) -> anyhow::Result<f64> {
    figure_of(&suite::measure_part(line)?, line, figure)
}

fn figure_of(part: &Part, line: &str, figure: &str) -> anyhow::Result<f64> {
    let found = part.figures.iter().find(|found| found.name == figure).map(Figure::median);
    found.with_context(|| format!("`{line}` measures no {figure}"))
}
