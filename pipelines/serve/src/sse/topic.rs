//! What some streams follow together, and the ring of the newest frames for it.
//!
//! Frames are numbered. A reader keeps the number that it needs next; where that frame has left
//! the ring, the reader has lagged and must start again from a snapshot.
//!
//! **Bound**: [`RingLimits`], by frames and by bytes. The newest frame always stays.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use etalage_model::Tick;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{errors::ApiError, read_store::Parts};

/// How long readers that are reset at about the same time share one encoded snapshot.
const SHARED_FOR: Duration = Duration::from_millis(100);

/// How much a topic keeps for readers that are behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingLimits {
    pub(crate) max_frames: usize,
    pub(crate) max_bytes: usize,
}

/// One message, as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) tick: Tick,
    /// A heartbeat may repeat the tick that a reader has; changes may not.
    pub(crate) heartbeat: bool,
    pub(crate) bytes: Bytes,
}

pub(crate) struct Topic {
    pub(crate) parts: Parts,
    /// How many streams follow it; changed only under the lock of the hub's table.
    pub(crate) readers: AtomicUsize,
    /// The last tick that has, or may have, changed anything of it.
    changed: AtomicU64,
    ring: Mutex<Ring>,
    news: Notify,
    shared: tokio::sync::Mutex<Option<(Instant, Shared)>>,
}

/// A snapshot that several readers may start from: those that are told to start again at about
/// the same moment cost one encoding.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The number of the frame to go on with.
    pub(crate) at: u64,
    pub(crate) as_of: Tick,
    pub(crate) bytes: Bytes,
}

#[derive(Default)]
struct Ring {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Number of the first frame kept.
    first: u64,
}

/// What a reader found.
#[derive(Debug)]
pub(crate) enum Next {
    Frame(Frame),
    /// The frame it needed is gone.
    Lagged,
    /// It has everything.
    None,
}

impl Topic {
    pub(crate) fn new(parts: Parts) -> Topic {
        Topic {
            parts,
            readers: AtomicUsize::new(0),
            changed: AtomicU64::new(0),
            ring: Mutex::default(),
            news: Notify::new(),
            shared: tokio::sync::Mutex::new(None),
        }
    }

    /// A snapshot made not long ago, if the frames behind it are all still here; else what
    /// `make` makes, while others that want one wait for it.
    pub(crate) async fn shared(
        &self,
        make: impl Future<Output = Result<Shared, ApiError>>,
    ) -> Result<Shared, ApiError> {
        let mut shared = self.shared.lock().await;
        match &*shared {
            Some((made, known)) if made.elapsed() < SHARED_FOR && !matches!(self.next(known.at), Next::Lagged) => {
                Ok(known.clone())
            }
            _ => {
                let made = Instant::now();
                let new = make.await?;
                *shared = Some((made, new.clone()));
                Ok(new)
            }
        }
    }

    /// Frees a shared snapshot that is too old to be used.
    pub(crate) fn forget_shared(&self) {
        if let Ok(mut shared) = self.shared.try_lock()
            && shared.as_ref().is_some_and(|(made, _)| made.elapsed() >= SHARED_FOR)
        {
            *shared = None;
        }
    }

    /// The last tick that has, or may have, changed anything of it.
    pub(crate) fn changed(&self) -> Tick {
        self.changed.load(Ordering::Relaxed)
    }

    /// Ticks up to this one may have changed it, unseen.
    pub(crate) fn may_have_changed(&self, tick: Tick) {
        self.changed.fetch_max(tick, Ordering::Relaxed);
    }

    /// Adds a frame and wakes the readers.
    pub(crate) fn push(&self, frame: Frame, limits: RingLimits) {
        if !frame.heartbeat {
            self.may_have_changed(frame.tick);
        }
        let mut ring = self.ring.lock();
        ring.bytes += frame.bytes.len();
        ring.frames.push_back(frame);
        while ring.frames.len() > 1 && (ring.frames.len() > limits.max_frames || ring.bytes > limits.max_bytes) {
            ring.drop_first();
        }
        drop(ring);
        self.news.notify_waiters();
    }

    /// Makes a gap that no reader can miss: ticks were lost before they were encoded.
    pub(crate) fn gap(&self) {
        let mut ring = self.ring.lock();
        while !ring.frames.is_empty() {
            ring.drop_first();
        }
        ring.first += 1;
        drop(ring);
        self.news.notify_waiters();
    }

    /// The number of the next frame to come.
    pub(crate) fn end(&self) -> u64 {
        let ring = self.ring.lock();
        ring.first + ring.frames.len() as u64
    }

    /// Frame `at`, if it is there.
    pub(crate) fn next(&self, at: u64) -> Next {
        let ring = self.ring.lock();
        match at.checked_sub(ring.first) {
            None => Next::Lagged,
            Some(at) => ring.frames.get(at as usize).cloned().map_or(Next::None, Next::Frame),
        }
    }

    /// Waits until frame `at` is there, or gone.
    pub(crate) async fn wait(&self, at: u64) {
        let news = self.news.notified();
        tokio::pin!(news);
        // A frame that is pushed between the look and the wait must not be missed.
        news.as_mut().enable();
        if matches!(self.next(at), Next::None) {
            news.await;
        }
    }

    pub(crate) fn join(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    /// True where the last reader has gone.
    pub(crate) fn leave(&self) -> bool {
        self.readers.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl Ring {
    fn drop_first(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.bytes.len();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use etalage_model::Group;

    use super::*;

    fn topic(frames: &[(Tick, usize)], limits: RingLimits) -> Topic {
        let topic = Topic::new(Parts::new(Group::Shop, []));
        for (tick, bytes) in frames {
            topic.push(Frame { tick: *tick, heartbeat: false, bytes: vec![b'x'; *bytes].into() }, limits);
        }
        topic
    }

    fn tick_at(topic: &Topic, at: u64) -> Result<Option<Tick>, ()> {
        match topic.next(at) {
            Next::Frame(frame) => Ok(Some(frame.tick)),
            Next::None => Ok(None),
            Next::Lagged => Err(()),
        }
    }

    #[test]
    fn old_frames_leave_by_number_and_by_size() {
        let by_number = topic(&[(1, 1), (2, 1), (3, 1)], RingLimits { max_frames: 2, max_bytes: 100 });
        assert_eq!([0, 1, 2, 3].map(|at| tick_at(&by_number, at)), [Err(()), Ok(Some(2)), Ok(Some(3)), Ok(None)]);
        let by_size = topic(&[(1, 60), (2, 60), (3, 500)], RingLimits { max_frames: 9, max_bytes: 100 });
        assert_eq!([0, 1, 2].map(|at| tick_at(&by_size, at)), [Err(()), Err(()), Ok(Some(3))]);
    }

    #[test]
    fn a_gap_is_seen_even_by_a_reader_that_had_everything() {
        let topic = topic(&[(1, 1)], RingLimits { max_frames: 9, max_bytes: 100 });
        let end = topic.end();
        topic.gap();
        assert_eq!(tick_at(&topic, end), Err(()));
        assert_eq!(tick_at(&topic, topic.end()), Ok(None));
    }
}
