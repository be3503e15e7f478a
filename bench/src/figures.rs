//! What the bench measures, as data: printed, written as JSON, drawn, and compared from here.

use std::collections::{BTreeMap, btree_map::Entry};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::machine::{self, Environment};

/// The version of the JSON form.
pub(crate) const FORMAT: u32 = 1;

/// Everything that one run of the bench has measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    pub environment: Environment,
    pub parts: Vec<Part>,
}

/// What one part of the bench has measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its name on the command line.
    pub name: String,
    /// What was run, and what was not part of it: views, store, dedup.
    pub job: String,
    /// The command that measures this part again.
    pub command: String,
    pub figures: Vec<Figure>,
    pub latencies: Vec<Latency>,
    pub curves: Vec<Curve>,
    /// What must be known beside the figures, such as that a run could not keep up.
    pub remarks: Vec<String>,
    /// CPU time that the hypervisor gave to others meanwhile, in milliseconds.
    pub stolen_ms: f64,
    /// How long it took.
    pub elapsed_s: f64,
}

/// A number, measured once or several times.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub name: String,
    pub unit: String,
    /// In the order of the runs.
    pub samples: Vec<f64>,
    pub better: Better,
    /// What it should be: at least, or at most, as `better` says.
    pub bar: Option<f64>,
}

/// Which way a figure gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    Higher,
    Lower,
    /// It is no merit either way.
    Neither,
}

/// Latencies of an open loop: each from an instant that was fixed before the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub name: String,
    /// Events a second that were to be sent; absent where nothing is offered, as in the noise.
    pub offered_per_s: Option<f64>,
    /// Events a second that were.
    pub achieved_per_s: Option<f64>,
    /// Microseconds, and how many values were so long (to three digits), ascending.
    pub values_us: Vec<(u64, u64)>,
    /// Through the run.
    pub over_time: Vec<Interval>,
    /// Bars, in milliseconds by percentile.
    pub bars_ms: Vec<(f64, f64)>,
}

/// The latencies of what was due in an interval.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// Its end, from the beginning of the run.
    pub at_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// Lines over a common axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Curve {
    pub name: String,
    pub x: String,
    pub y: String,
    pub is_log_x: bool,
    pub lines: Vec<Line>,
}

/// A named line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A run that achieves less than this share of what is offered could not keep up.
pub(crate) const KEPT_UP_SHARE: f64 = 0.99;

impl Part {
    /// A part without figures yet. Its stopwatch runs until [`Measuring::done`].
    pub(crate) fn begin(name: &str, job: impl Into<String>) -> Measuring {
        let part = Part {
            name: name.to_owned(),
            job: job.into(),
            command: String::new(),
            figures: Vec::new(),
            latencies: Vec::new(),
            curves: Vec::new(),
            remarks: Vec::new(),
            stolen_ms: 0.0,
            elapsed_s: 0.0,
        };
        Measuring { part, began: std::time::Instant::now(), stolen_ms: machine::stolen_ms() }
    }
}

/// A part being measured.
pub(crate) struct Measuring {
    pub(crate) part: Part,
    began: std::time::Instant,
    stolen_ms: f64,
}

impl Measuring {
    /// Adds a figure.
    pub(crate) fn figure(&mut self, name: &str, unit: &str, better: Better, samples: Vec<f64>) -> &mut Figure {
        let at = self.part.figures.len();
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.part.figures.push(Figure { name, unit, samples, better, bar: None });
        &mut self.part.figures[at]
    }

    /// Adds latencies, and says so where the run could not keep up: what its percentiles tell is how
    /// long the queue had grown when the run ended.
    pub(crate) fn latency(&mut self, latency: Latency) {
        if !latency.kept_up() {
            let (offered, achieved) = (latency.offered_per_s, latency.achieved_per_s);
            self.part.remarks.push(format!(
                "{} could not keep up: {:.0} events/s of {:.0}; its latencies are those of a growing queue, and are not shown",
                latency.name,
                achieved.unwrap_or_default(),
                offered.unwrap_or_default()
            ));
        }
        self.part.latencies.push(latency);
    }

    /// The part, measured.
    pub(crate) fn done(mut self) -> Part {
        self.part.stolen_ms = machine::stolen_ms() - self.stolen_ms;
        self.part.elapsed_s = self.began.elapsed().as_secs_f64();
        self.part
    }
}

impl Figure {
    /// Says what it should be.
    pub(crate) fn bar(&mut self, bar: f64) {
        self.bar = Some(bar);
    }

    /// The middle of the samples.
    pub(crate) fn median(&self) -> f64 {
        let mut samples = self.samples.clone();
        samples.sort_by(f64::total_cmp);
        let at = samples.len() / 2;
        match samples.len() {
            0 => f64::NAN,
            length if length % 2 == 1 => samples[at],
            _ => (samples[at - 1] + samples[at]) / 2.0,
        }
    }

    /// The least and the greatest sample.
    pub(crate) fn range(&self) -> (f64, f64) {
        let least = self.samples.iter().copied().fold(f64::INFINITY, f64::min);
        (least, self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    /// Whether the median is what it should be; `None` without a bar.
    pub(crate) fn meets_bar(&self) -> Option<bool> {
        let bar = self.bar?;
        match self.better {
            Better::Higher => Some(self.median() >= bar),
            Better::Lower => Some(self.median() <= bar),
            Better::Neither => None,
        }
    }
}

impl Latency {
    /// Latencies that were recorded in microseconds.
    pub(crate) fn of(name: &str, histogram: &Histogram<u64>) -> Latency {
        Latency {
            name: name.to_owned(),
            offered_per_s: None,
            achieved_per_s: None,
            values_us: histogram
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
            over_time: Vec::new(),
            bars_ms: Vec::new(),
        }
    }

    /// The same at a rate.
    pub(crate) fn at_rate(self, offered_per_s: f64, achieved_per_s: f64) -> Latency {
        Latency { offered_per_s: Some(offered_per_s), achieved_per_s: Some(achieved_per_s), ..self }
    }

    /// Whether what was offered was done in time.
    pub(crate) fn kept_up(&self) -> bool {
        match (self.offered_per_s, self.achieved_per_s) {
            (Some(offered), Some(achieved)) => achieved >= offered * KEPT_UP_SHARE,
            _ => true,
        }
    }

    /// The distribution.
    pub(crate) fn histogram(&self) -> Histogram<u64> {
        let mut histogram = machine::histogram();
        self.values_us.iter().for_each(|(value, count)| histogram.saturating_record_n(*value, *count));
        histogram
    }

    /// The latency at a percentile, in milliseconds.
    pub(crate) fn percentile_ms(&self, percentile: f64) -> f64 {
        self.histogram().value_at_percentile(percentile) as f64 / 1e3
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.values_us.iter().map(|(_, count)| count).sum()
    }
}

/// How long an interval of [`Latency::over_time`] is.
const INTERVAL_US: u64 = 250_000;

/// Takes latencies as they are measured, each with the instant at which it was due.
pub(crate) struct Recorder {
    all: Histogram<u64>,
    by_interval: BTreeMap<u64, Histogram<u64>>,
    /// What is due before is not counted.
    warm_up_us: u64,
}

impl Recorder {
    /// One that does not count what is due before `warm_up_us`.
    pub(crate) fn after(warm_up_us: u64) -> Recorder {
        Recorder { all: machine::histogram(), by_interval: BTreeMap::new(), warm_up_us }
    }

    /// What was due at `due_us` was done at `done_us`, both since the beginning of the run.
    pub(crate) fn record(&mut self, due_us: u64, done_us: u64) {
        if due_us < self.warm_up_us {
            return;
        }
        let latency_us = done_us.saturating_sub(due_us);
        self.all.saturating_record(latency_us);
        let fresh = || Histogram::new_with_bounds(1, 100_000_000, 2).expect("bounds that the crate takes");
        self.by_interval.entry(due_us / INTERVAL_US).or_insert_with(fresh).saturating_record(latency_us);
    }

    /// The latency at a quantile, in microseconds.
    #[cfg(feature = "kafka")]
    pub(crate) fn value_us(&self, quantile: f64) -> u64 {
        self.all.value_at_quantile(quantile)
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.all.len()
    }

    /// Takes in what another one has recorded.
    pub(crate) fn merge(&mut self, other: Recorder) {
        self.all += other.all;
        for (interval, histogram) in other.by_interval {
            match self.by_interval.entry(interval) {
                Entry::Vacant(vacant) => _ = vacant.insert(histogram),
                Entry::Occupied(mut occupied) => *occupied.get_mut() += histogram,
            }
        }
    }

    /// All of them.
    pub(crate) fn latency(&self, name: &str) -> Latency {
        let interval = |(at, histogram): (&u64, &Histogram<u64>)| {
            let ms = |us: u64| us as f64 / 1_000.0;
            Interval {
                at_s: ((at + 1) * INTERVAL_US) as f64 / 1e6,
                p50_ms: ms(histogram.value_at_quantile(0.5)),
                p99_ms: ms(histogram.value_at_quantile(0.99)),
                max_ms: ms(histogram.max()),
            }
        };
        Latency { over_time: self.by_interval.iter().map(interval).collect(), ..Latency::of(name, &self.all) }
    }
}
