//! What the status route and `/metrics` tell about the last minute: freshness, and the rate at
//! which messages come in.

use std::collections::VecDeque;

use etalage_model::Group;
use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::{Counts, ReadStore, clock::monotonic_us};

/// Freshness is kept in slots of this length …
const SLOT_US: u64 = 10_000_000;
/// … of which so many make up the time that is reported.
const SLOTS: u64 = 6;
/// The longest freshness that is told apart: an hour.
const MAX_FRESHNESS_US: u64 = 3_600_000_000;
/// The rate of messages is taken over so many samples.
const RATE_SAMPLES: usize = 6;

#[derive(Default)]
pub(crate) struct Gauges {
    freshness: [Mutex<Recent>; 2],
    samples: Mutex<VecDeque<(u64, Counts)>>,
}

/// How old the oldest cause of a tick was when the tick was emitted, over the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Percentiles {
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
    pub(crate) ticks: u64,
}

impl Gauges {
    /// Notes the freshness of an emitted tick.
    pub(crate) fn fresh(&self, group: Group, now_us: u64, freshness_us: u64) {
        metrics::histogram!("etalage_freshness_seconds", "group" => group.name()).record(freshness_us as f64 / 1e6);
        self.freshness[group as usize].lock().record(now_us, freshness_us);
    }

    pub(crate) fn freshness(&self, group: Group, now_us: u64) -> Percentiles {
        self.freshness[group as usize].lock().percentiles(now_us)
    }

    /// Takes the measurements that are made once a heartbeat.
    pub(crate) fn sample(&self, store: &ReadStore, counts: Counts) {
        for (view, keys) in store.keys() {
            metrics::gauge!("etalage_view_keys", "view" => view).set(keys as f64);
        }
        for group in [Group::Shop, Group::Customer] {
            if let Some(as_of) = store.as_of(group).filter(|_| store.has(group)) {
                metrics::gauge!("etalage_as_of_seconds", "group" => group.name()).set(as_of as f64 / 1e6);
            }
        }
        let mut samples = self.samples.lock();
        samples.push_back((monotonic_us(), counts));
        if samples.len() > RATE_SAMPLES {
            samples.pop_front();
        }
    }

    /// Messages stored per second, of late.
    pub(crate) fn events_per_s(&self) -> f64 {
        let samples = self.samples.lock();
        match (samples.front(), samples.back()) {
            (Some((from_us, before)), Some((to_us, after))) if to_us > from_us => {
                after.stored.saturating_sub(before.stored) as f64 * 1e6 / (to_us - from_us) as f64
            }
            _ => 0.0,
        }
    }
}

/// Histograms of the last slots, the newest at the end.
#[derive(Default)]
struct Recent(VecDeque<(u64, Histogram<u64>)>);

impl Recent {
    fn record(&mut self, now_us: u64, freshness_us: u64) {
        let slot = now_us / SLOT_US;
        if self.0.back().is_none_or(|(newest, _)| *newest < slot) {
            let empty = Histogram::new_with_max(MAX_FRESHNESS_US, 2).expect("constant bounds are valid");
            self.0.push_back((slot, empty));
        }
        while self.0.front().is_some_and(|(oldest, _)| oldest + SLOTS <= slot) {
            self.0.pop_front();
        }
        if let Some((_, newest)) = self.0.back_mut() {
            newest.saturating_record(freshness_us);
        }
    }

    fn percentiles(&self, now_us: u64) -> Percentiles {
        let mut all = Histogram::<u64>::new_with_max(MAX_FRESHNESS_US, 2).expect("constant bounds are valid");
        for (_, slot) in self.0.iter().filter(|(slot, _)| slot + SLOTS > now_us / SLOT_US) {
            all.add(slot).expect("all slots have the same bounds");
        }
        if all.is_empty() {
            return Percentiles::default();
        }
        let at = |quantile| all.value_at_quantile(quantile);
        Percentiles { p50_us: at(0.5), p99_us: at(0.99), max_us: all.max(), ticks: all.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_of_the_last_minute() {
        let mut recent = Recent::default();
        assert_eq!(recent.percentiles(0), Percentiles::default());
        for n in 1..=100 {
            recent.record(5_000_000, n * 1_000);
        }
        let seen = recent.percentiles(5_000_000);
        assert_eq!(seen.ticks, 100);
        assert!((49_000..=51_000).contains(&seen.p50_us), "{seen:?}");
        assert!((98_000..=100_000).contains(&seen.p99_us), "{seen:?}");
        recent.record(61_000_000, 7);
        assert_eq!(recent.percentiles(61_000_000).ticks, 1);
        assert_eq!(recent.percentiles(200_000_000).ticks, 0);
    }
}
