//! From which ticks a stream can go on: those as of which this process knows, or an earlier one knew, exactly what was
//! published.
//!
//! A process knows what changes after every tick from its own beginning on. Of the time before it knows the ticks that
//! it has sealed itself when it read the log back, and what the snapshot that it began with knew. At any other tick an
//! earlier process may have published a value that lasted for a moment, of which the log says nothing: whoever comes
//! back from there has to start again.
//!
//! **Bound**: [`MAX_KNOWN`] ranges; the oldest go.

use std::collections::VecDeque;

use etalage_model::Tick;

/// Ranges of ticks that are remembered at most.
pub(crate) const MAX_KNOWN: usize = 16_384;

/// Ticks, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// First and last tick of each, none of which touches the one before.
    before: VecDeque<(Tick, Tick)>,
    /// From here on every tick is known.
    begun: Option<Tick>,
}

impl Known {
    /// Every tick from this one on is known.
    pub(crate) fn begin(&mut self, tick: Tick) {
        self.begun = Some(tick);
    }

    /// The tick from which on everything is known.
    pub(crate) fn begun(&self) -> Option<Tick> {
        self.begun
    }

    /// What was published as of this tick, which is the newest, is known.
    pub(crate) fn seal(&mut self, tick: Tick) {
        if self.begun.is_none() {
            self.add((tick, tick));
        }
    }

    /// Every tick from `first` to `last` is known; none before `first` comes later.
    pub(crate) fn add(&mut self, (first, last): (Tick, Tick)) {
        match self.before.back_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => self.before.push_back((first, last)),
        }
        if self.before.len() > MAX_KNOWN {
            self.before.pop_front();
        }
    }

    pub(crate) fn has(&self, tick: Tick) -> bool {
        if self.begun.is_some_and(|begun| begun <= tick) {
            return true;
        }
        let behind = self.before.partition_point(|(first, _)| *first <= tick);
        behind > 0 && tick <= self.before[behind - 1].1
    }

    /// What is known up to `tick`.
    pub(crate) fn until(&self, tick: Tick) -> Vec<(Tick, Tick)> {
        let own = self.begun.map(|begun| (begun, Tick::MAX));
        let known = self.before.iter().copied().chain(own);
        let known = known.map(|(first, last)| (first, last.min(tick)));
        known.filter(|(first, last)| first <= last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_sealed_and_everything_from_its_beginning_on() {
        let mut known = Known::default();
        known.add((10, 20));
        for tick in [20, 25, 26, 40] {
            known.seal(tick);
        }
        known.begin(50);
        known.seal(55);
        let has = |tick: &Tick| known.has(*tick);
        assert_eq!(
            (0..60).filter(has).collect::<Vec<_>>(),
            [&Vec::from_iter(10..=20)[..], &[25, 26, 40], &Vec::from_iter(50..60)[..]].concat()
        );
        assert_eq!(known.until(52), [(10, 20), (25, 26), (40, 40), (50, 52)]);
        assert_eq!(known.until(30), [(10, 20), (25, 26)]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut known = Known::default();
        (0..=MAX_KNOWN as Tick).for_each(|n| known.seal(n * 2));
        assert!(!known.has(0) && known.has(2) && !known.has(3));
    }
}
