//! What is served, built from the output topics alone: for processes that serve and compute nothing.
//!
//! ```text
//!   topics of the shop's views, their progress ──> subscription ──┐
//!   topics of people, their progress ─────────────> subscription ──┴──> read store ──> GET, SSE
//! ```
//!
//! What progress has told is published as one tick: everything that lies below its offsets, and nothing beyond. So a reader
//! never shows half a tick. It reads compacted topics from their beginning when it starts, and is ready when it has all that
//! was told then. Values are passed on byte by byte.
//!
//! **End**: where the topics cannot be read any more. What is skipped can no longer be told from what is gone, so the
//! next start reads everything.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use etalage_kafka::{Cut, KafkaError, Subscription, Times, topics::read_key};
use etalage_model::{Changes, Group, Micros, SealedBatch, SealedTick, Tick, TickTimes, Value, ViewInfo};
use etalage_serve::{ReadStore, Vital};
use parking_lot::Mutex;

use super::brokers;
use crate::{config::Config, runtime::Reading};

/// How often it is looked whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Threads that follow topics.
pub struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    store: ReadStore,
    stopping: AtomicBool,
    failed: Mutex<Option<String>>,
    /// The groups that have not been read up to what was told at first.
    awaited: Mutex<Vec<Group>>,
}

impl Readers {
    /// Begins to follow the topics of `views`, into `store`.
    ///
    /// # Errors
    /// Where a topic is missing or may not be read, or there is no thread.
    pub fn start(config: &Config, views: &[ViewInfo], store: ReadStore) -> Result<Readers, KafkaError> {
        let of_group = |group: Group| views.iter().filter(|view| view.group == group).cloned().collect::<Vec<_>>();
        let groups = [Group::Shop, Group::Customer].map(|group| (group, of_group(group)));
        let groups: Vec<_> = groups.into_iter().filter(|(_, views)| !views.is_empty()).collect();
        let awaited = Mutex::new(groups.iter().map(|(group, _)| *group).collect());
        let shared = Arc::new(Shared { store, stopping: AtomicBool::new(false), failed: Mutex::default(), awaited });
        let mut threads = Vec::new();
        for (group, views) in groups {
            let names: Vec<&str> = views.iter().map(|view| view.name).collect();
            let subscription = Subscription::open(&brokers(&config.kafka), &config.kafka.prefix, group, &names)?;
            let reader = Reader { group, views, lower: 0, shared: Arc::clone(&shared) };
            let thread = std::thread::Builder::new().name("kafka-reader".into());
            let run = move || {
                let _vital = Vital("kafka-reader");
                reader.run(subscription);
            };
            let thread = thread.spawn(run).map_err(|error| KafkaError::Other {
                action: "start the thread that reads topics".into(),
                reason: error.to_string(),
            })?;
            threads.push(thread);
        }
        Ok(Readers { shared, threads })
    }

    /// What can be asked while it runs.
    pub fn state(&self) -> ReadersState {
        ReadersState(Arc::clone(&self.shared))
    }

    /// Ends reading.
    pub fn stop(self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| _ = thread.join());
    }
}

/// How far the readers are.
#[derive(Clone)]
pub struct ReadersState(Arc<Shared>);

impl ReadersState {
    /// Why nothing is read any more.
    pub fn failure(&self) -> Option<String> {
        self.0.failed.lock().clone()
    }

    /// What is waited for, if anything is.
    pub fn awaited(&self) -> Option<String> {
        let awaited = self.0.awaited.lock();
        let names: Vec<&str> = awaited.iter().map(|group| group.name()).collect();
        (!names.is_empty()).then(|| format!("the topics of {} are being read", names.join(" and ")))
    }
}

/// Follows the views of one group.
struct Reader {
    group: Group,
    views: Vec<ViewInfo>,
    lower: Tick,
    shared: Arc<Shared>,
}

impl Reader {
    fn run(mut self, mut subscription: Subscription) {
        while !self.shared.stopping.load(Ordering::SeqCst) {
            match subscription.next(LOOK_EVERY) {
                Ok(cut) => {
                    cut.into_iter().for_each(|cut| self.publish(cut));
                    if subscription.is_whole() {
                        self.begin();
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the topics cannot be read any more");
                    self.shared.failed.lock().get_or_insert(error.to_string());
                    return;
                }
            }
        }
    }

    /// Publishes a cut as one tick. One in which nothing is new says that what is known still holds.
    fn publish(&mut self, cut: Cut) {
        let Cut { tick, changes, times } = cut;
        if tick < self.lower {
            debug_assert!(changes.is_empty(), "what is new has a tick of its own");
            return;
        }
        // Freshness counts from the oldest cause of all; where nothing has changed there is none.
        let oldest = changes.iter().filter_map(|change| change.first_ingested_at).min();
        let times = match changes.is_empty() {
            true => Times { sealed_at: times.sealed_at, ..Times::default() },
            false => Times { first_ingested_at: oldest.or(times.first_ingested_at), ..times },
        };
        // Of several changes of a key the last one stands; it is the only one that is looked at.
        let mut newest: BTreeMap<(Arc<str>, Vec<u8>), Option<Vec<u8>>> = BTreeMap::new();
        for change in changes {
            newest.insert((change.view, change.key), change.value);
        }
        let (lower, upper) = (self.lower, tick + 1);
        let mut batches: Vec<SealedBatch> = Vec::new();
        for ((view, key), value) in newest {
            let Some((info, read)) = self.view(&view) else { continue };
            let Some(key) = read_key(&key, info) else {
                let key = String::from_utf8_lossy(&key);
                tracing::warn!(%view, %key, "a key that is none of the view's is passed over");
                continue;
            };
            let upsert = (key, value.map(read));
            match batches.last_mut().filter(|batch| batch.view == info.name) {
                Some(batch) => batch.upserts.push(upsert),
                None => {
                    let upserts = vec![upsert];
                    batches.push(SealedBatch { upserts, ..SealedBatch::new(self.group, info.name, lower, upper) });
                }
            }
        }
        let sealed = SealedTick { group: self.group, lower, upper, times: here(&times), batches };
        self.shared.store.clone().sealed(&Arc::new(sealed));
        self.lower = upper;
    }

    fn view(&self, name: &str) -> Option<(&ViewInfo, fn(Vec<u8>) -> Value)> {
        let info = self.views.iter().find(|view| view.name == name)?;
        Some((info, etalage_views::view(info.name)?.read))
    }

    /// Once all groups have been read, they are served.
    fn begin(&self) {
        let mut awaited = self.shared.awaited.lock();
        let before = awaited.len();
        awaited.retain(|group| *group != self.group);
        if before > 0 && awaited.is_empty() {
            self.shared.store.begin(0);
            tracing::info!("everything that the topics hold is served");
        }
    }
}

/// Times by the clock of this process, in which freshness is measured.
fn here(times: &Times) -> TickTimes {
    let Reading { monotonic_us, wall_us } = Reading::now();
    let here = |at: Micros| monotonic_us.saturating_sub(wall_us.saturating_sub(at.0));
    TickTimes {
        max_event_time: times.max_event_time,
        first_arrival_us: times.first_ingested_at.map(here),
        last_arrival_us: times.last_ingested_at.map(here),
        sealed_us: times.sealed_at.map_or(monotonic_us, here),
    }
}
