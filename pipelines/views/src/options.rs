//! What a shop configures of its views, as plain values.

use std::{collections::BTreeSet, sync::Arc};

use etalage_model::{Key, Measures, Micros, ScoreWeights, Sym, Tick};
use etalage_operators::{
    decay::HalfLives,
    expire::{Phase, Windows},
};

use crate::{people::PeopleOptions, scope::Scopes, trend, trending};

/// The most buckets of one window.
pub use etalage_operators::expire::DEFAULT_MAX_BUCKETS as MAX_BUCKETS;

/// A rolling window or a half-life: the label that the configuration gave it, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The text as written, `7d`.
    pub label: Sym,
    /// Its length in microseconds.
    pub length_us: u64,
}

/// Whether an item whose stock nobody has told may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownStock {
    /// It may.
    Sellable,
    /// It may not.
    Hidden,
}

/// Everything that decides what the `shop` views hold.
#[derive(Clone, Debug)]
pub struct ShopOptions {
    /// Rolling windows; at most 256.
    pub windows: Vec<Window>,
    /// Half-lives of trends; at most 256. Without any, the views of trends are off.
    pub half_lives: Vec<Window>,
    /// Length of the finest bucket, in microseconds; divides every window.
    pub bucket_us: u64,
    /// The most buckets of one window; a longer window has coarser buckets.
    pub max_buckets: u64,
    /// Where bucket edges lie.
    pub phase: Phase,
    /// The scopes that are kept.
    pub scopes: Scopes,
    /// Weights of the score.
    pub weights: ScoreWeights,
    /// Length of a set.
    pub k: usize,
    /// The locations whose stock counts for sets; empty for all.
    pub locations: BTreeSet<Sym>,
    /// What unknown stock means.
    pub unknown_stock: UnknownStock,
    /// Sellable means available above this, unless the catalogue says otherwise for an item.
    pub safety_threshold: i64,
    /// What the views of people hold.
    pub people: PeopleOptions,
    /// Views that are switched off.
    pub off: BTreeSet<String>,
    /// Whether duplicates may still be among the input (a source that delivers at least once).
    pub dedup: Option<etalage_operators::dedup::DedupLimits>,
    /// Takes the stock gate out, to show that the tests notice. Read only in builds for tests.
    pub ungated: bool,
}

impl ShopOptions {
    /// True unless the view is switched off.
    pub fn is_on(&self, view: &str) -> bool {
        let is_of_trends = [trend::NAME, trending::NAME].contains(&view);
        !(self.off.contains(view) || is_of_trends && self.half_lives.is_empty())
    }

    /// True where bucket edges are spread.
    pub fn is_spread(&self) -> bool {
        self.phase == Phase::Spread
    }

    /// The windows as the expiry operator takes them.
    pub fn expiry(&self, phase: Phase) -> Windows {
        let lengths: Vec<u64> = self.windows.iter().map(|window| window.length_us).collect();
        Windows::new(&lengths, self.bucket_us, self.max_buckets, phase)
    }

    /// The half-lives as the decay operator takes them.
    pub fn decay(&self) -> HalfLives {
        HalfLives::new(&self.half_lives.iter().map(|half_life| half_life.length_us).collect::<Vec<_>>())
    }

    /// For how long what happened may count in a window, or in a trend where there are any.
    pub fn horizon_us(&self) -> u64 {
        let has_trends = self.is_on(trend::NAME) || self.is_on(trending::NAME);
        let of_trends = if has_trends { self.decay().horizon_us() } else { 0 };
        self.expiry(self.phase).horizon_us().max(of_trends)
    }

    /// The labels of the windows, in order.
    pub fn labels(&self) -> impl Iterator<Item = Sym> {
        self.windows.iter().map(|window| window.label)
    }

    /// The labels of the half-lives, in order.
    pub fn half_life_labels(&self) -> impl Iterator<Item = Sym> {
        self.half_lives.iter().map(|half_life| half_life.label)
    }

    /// The label of half-life `at`.
    pub fn half_life_label(&self, at: u8) -> Sym {
        self.half_lives[usize::from(at)].label
    }

    /// The label of window `at`.
    pub fn label(&self, at: u8) -> Sym {
        self.windows[usize::from(at)].label
    }

    /// The score of `measures`.
    pub fn score(&self, measures: &Measures) -> i64 {
        self.weights.score(measures)
    }

    /// The gate of an item of which nothing is known: open without a number, or closed.
    pub fn without_gate(&self) -> Option<Option<i64>> {
        (self.unknown_stock == UnknownStock::Sellable || self.ungated).then_some(None)
    }

    /// From which instant on events count for a key (scope, window, item) at a tick.
    pub fn window_start(&self) -> Arc<dyn Fn(&Key, Tick) -> Option<Micros> + Send + Sync> {
        let (windows, labels) = (self.expiry(self.phase), self.windows.clone());
        Arc::new(move |key, tick| {
            let label = key.field(1)?;
            let window = labels.iter().position(|window| window.label == label)?;
            let phase_us = windows.phase_us(&key.field(2)?);
            Some(Micros(windows.start(window, phase_us, tick)))
        })
    }
}
