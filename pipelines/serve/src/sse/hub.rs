//! The hub: one thread that takes published ticks, encodes each once per topic that it touches,
//! and puts the frames into the topics' rings. It also sends the heartbeats and takes the
//! once-a-second measurements.
//!
//! A tick is in the store before it is in the outbox. So whoever follows a topic *first* and
//! reads a snapshot *then* misses nothing: every later tick comes through the ring.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use etalage_model::{Group, Key, KeyFields, KeyText, SealedTick, Tick, TickTimes, ViewInfo};
use parking_lot::Mutex;

use crate::{
    Vital,
    clock::monotonic_us,
    door::Door,
    errors::ApiError,
    gauges::Gauges,
    read_store::{Part, Parts, ReadStore, ViewId},
    sse::{
        frames::{self, Change, EventId, Kind},
        topic::{Frame, RingLimits, Topic},
    },
    view_rows::Held,
};

/// What the hub needs to know.
pub(crate) struct HubOptions {
    pub(crate) epoch: u64,
    pub(crate) max_streams: usize,
    pub(crate) ring: RingLimits,
    pub(crate) heartbeat: Duration,
}

pub(crate) struct Hub {
    pub(crate) store: ReadStore,
    pub(crate) views: Arc<[ViewInfo]>,
    pub(crate) options: HubOptions,
    pub(crate) gauges: Gauges,
    topics: Mutex<HashMap<Parts, Arc<Topic>>>,
    streams: AtomicUsize,
    /// The newest tick of each group that went into the topics.
    newest: Mutex<[Option<(Tick, TickTimes)>; 2]>,
}

impl Hub {
    pub(crate) fn new(store: ReadStore, views: Arc<[ViewInfo]>, options: HubOptions) -> Hub {
        let (gauges, topics, streams, newest) = Default::default();
        Hub { store, views, options, gauges, topics, streams, newest }
    }

    /// Starts the thread; it ends when the store's outbox is closed, with a last heartbeat.
    pub(crate) fn start(self: &Arc<Hub>, door: Arc<dyn Door>) -> std::io::Result<JoinHandle<()>> {
        let running = self.clone();
        std::thread::Builder::new().name("sse-hub".into()).spawn(move || {
            let _vital = Vital("sse-hub");
            running.run(&*door);
            running.beat();
        })
    }

    /// Open streams.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Joins the topic of these parts, from the next tick on.
    pub(crate) fn follow(self: &Arc<Hub>, parts: Parts) -> Result<Reader, ApiError> {
        let max = self.options.max_streams;
        let one_more = |open: usize| (open < max).then_some(open + 1);
        if self.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Err(ApiError::TooManyStreams { limit: max });
        }
        metrics::gauge!("etalage_sse_streams").increment(1.0);
        let mut topics = self.topics.lock();
        let group = parts.group;
        let is_new = !topics.contains_key(&parts);
        let topic = topics.entry(parts.clone()).or_insert_with(|| Arc::new(Topic::new(parts))).clone();
        if is_new {
            // What is published after this look comes through the ring.
            topic.may_have_changed(self.store.group_rows(group).read().as_of());
        }
        topic.join();
        Ok(Reader { hub: self.clone(), topic })
    }

    fn run(&self, door: &dyn Door) {
        let mut beat_at = Instant::now() + self.options.heartbeat;
        while self.feed(beat_at) {
            if Instant::now() >= beat_at {
                self.beat();
                self.gauges.sample(&self.store, door.counts());
                beat_at = Instant::now() + self.options.heartbeat;
            }
        }
    }

    /// Waits for ticks until `deadline`, and puts what there is into the topics. False once nothing will follow.
    pub(crate) fn feed(&self, deadline: Instant) -> bool {
        let taken = self.store.outbox().take(deadline);
        if taken.overflowed {
            tracing::warn!("the streams' encoder fell behind: all streams start again from a snapshot");
            self.topics.lock().values().for_each(|topic| {
                topic.may_have_changed(self.store.group_rows(topic.parts.group).read().as_of());
                topic.gap();
            });
        }
        for tick in &taken.ticks {
            self.emit(tick);
            let newest = &mut self.newest.lock()[tick.group as usize];
            let before = newest.map_or_else(TickTimes::default, |(_, times)| times);
            *newest = Some((tick.as_of(), tick.times.after(&before)));
        }
        !taken.closed
    }

    pub(crate) fn id(&self, tick: Tick) -> EventId {
        EventId { epoch: self.options.epoch, tick }
    }

    fn of_group(&self, group: Group) -> Vec<Arc<Topic>> {
        self.topics.lock().values().filter(|topic| topic.parts.group == group).cloned().collect()
    }

    fn emit(&self, tick: &SealedTick) {
        let topics = self.of_group(tick.group);
        if !topics.is_empty() {
            let followed = topics.iter().flat_map(|topic| topic.parts.of.iter().map(|(view, _)| *view)).collect();
            let changed = Changed::of(tick, &self.store, &followed);
            for topic in topics {
                let changes = changed.within(&topic.parts);
                if changes.is_empty() {
                    continue;
                }
                let (id, at) = (self.id(tick.as_of()), tick.as_of());
                let bytes = frames::entries(Kind::Live, id, at, &tick.times, &self.views, changes.into_iter());
                topic.push(Frame { tick: at, heartbeat: false, bytes }, self.options.ring);
            }
        }
        if let Some(arrived_us) = tick.times.first_arrival_us {
            let now_us = monotonic_us();
            self.gauges.fresh(tick.group, now_us, now_us.saturating_sub(arrived_us));
        }
    }

    /// Tells every stream the newest tick that it has everything of.
    pub(crate) fn beat(&self) {
        let newest = *self.newest.lock();
        for group in [Group::Shop, Group::Customer] {
            let topics = self.of_group(group);
            topics.iter().for_each(|topic| topic.forget_shared());
            let begun = self.store.begun_at(group).map(|begun| (begun, TickTimes::default()));
            if let Some((tick, times)) = newest[group as usize].or(begun) {
                for topic in topics {
                    let from = self.store.resumption(topic.changed(), tick);
                    let bytes = frames::heartbeat(self.id(from), tick, &times);
                    topic.push(Frame { tick, heartbeat: true, bytes }, self.options.ring);
                }
            }
        }
    }
}

/// A stream's place at a topic. Leaves when it is dropped.
pub(crate) struct Reader {
    pub(crate) hub: Arc<Hub>,
    pub(crate) topic: Arc<Topic>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut topics = self.hub.topics.lock();
        if self.topic.leave() {
            topics.remove(&self.topic.parts);
        }
        drop(topics);
        self.hub.streams.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("etalage_sse_streams").decrement(1.0);
    }
}

/// The changes of one tick in the views that anybody follows, those of each view in key order,
/// so that a topic finds its own without looking at the others.
struct Changed(BTreeMap<ViewId, Vec<(Key, Held)>>);

impl Changed {
    fn of(tick: &SealedTick, store: &ReadStore, followed: &BTreeSet<ViewId>) -> Changed {
        let by_view = tick.batches.iter().filter_map(|batch| {
            let view = store.view(batch.view).filter(|view| followed.contains(view))?;
            let single = batch.upserts.iter().map(|(key, value)| (key.clone(), Held::from(value.clone())));
            let bundled = batch.bundles.keys().map(|(key, at)| (key, Held::from(at)));
            let mut changes: Vec<(Key, Held)> = single.chain(bundled).collect();
            changes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            Some((view, changes))
        });
        Changed(by_view.collect())
    }

    /// Those that a topic follows, each once, by view and key.
    fn within(&self, parts: &Parts) -> Vec<Change<'_>> {
        let mut found = Vec::new();
        for (view, of) in &parts.of {
            let Some(changes) = self.0.get(view) else { continue };
            let begin = found.len();
            let from = |lower: &KeyFields| {
                let at = changes.partition_point(|(key, _)| (key as &dyn KeyText) < (lower as &dyn KeyText));
                changes[at..].iter()
            };
            for part in of {
                match part {
                    Part::Prefix(prefix) => found.extend(
                        from(&prefix.lower_bound())
                            .take_while(|(key, _)| prefix.matches(key))
                            .map(|(key, held)| (*view, key, held)),
                    ),
                    Part::Key(fields) => found.extend(
                        from(fields)
                            .take(1)
                            .filter(|(key, _)| (key as &dyn KeyText) == (fields as &dyn KeyText))
                            .map(|(key, held)| (*view, key, held)),
                    ),
                }
            }
            if of.len() > 1 {
                found[begin..].sort_unstable_by_key(|(_, key, _)| *key);
                found.dedup_by_key(|(view, key, _)| (*view, *key));
            }
        }
        found
    }
}
