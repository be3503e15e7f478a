//! How active a person is: views, searches and sessions in rolling windows.
//!
//! A *session* is a run of events without a pause longer than `session_idle`, on whatever device;
//! it counts in the windows that hold its last event.
//!
//! **Time**: an event leaves a window when its bucket does, as everywhere; the edges of a person's
//! buckets are offset by a hash of the profile, each person's by another, so that no instant is the
//! end of many of them.
//! **State bound**: a number per view and search, and two per session, of the longest window.

use std::collections::VecDeque;

use etalage_model::{Event, EventKind, Micros, Tick};
use etalage_operators::expire::{Phase, Windows};
use serde::{Deserialize, Serialize};

use super::small_map::make_room;

/// How much the newest event may be ahead of pipeline time.
const SLACK_US: u64 = 24 * 3_600_000_000;

/// What one window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counts {
    /// Sessions.
    pub sessions: i64,
    /// `view_item` events.
    pub views: i64,
    /// `search` events.
    pub searches: i64,
}

/// What an activity goes by.
pub struct Pace {
    /// The windows.
    pub windows: Windows,
    /// Whether bucket edges are offset by person.
    pub phase: Phase,
    /// A pause longer than this ends a session.
    pub session_idle_us: u64,
}

impl Pace {
    /// The offset of a person's bucket edges; `hash` is that of the profile's id.
    pub fn phase_us(&self, hash: u64) -> u64 {
        match self.phase {
            Phase::Aligned => 0,
            Phase::Spread => hash % self.windows.coarsest_us().max(1),
        }
    }
}

/// An event that is counted: its time, and in the lowest bit whether it is a search.
type Stamp = u64;

fn at(stamp: Stamp) -> u64 {
    stamp >> 1
}

fn is_search(stamp: Stamp) -> bool {
    stamp & 1 == 1
}

/// Views, searches and sessions of a person.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Activity {
    /// In order, from the first that some window may hold.
    events: VecDeque<Stamp>,
    /// What has come since the windows were last looked at.
    fresh: Vec<Stamp>,
    /// How much of `fresh` was left when what is too old was last taken out of it.
    kept: usize,
    windows: Vec<Held>,
    /// First and last event of each session, in order.
    sessions: Vec<(u64, u64)>,
    newest: u64,
    due: Option<Tick>,
}

/// What a window holds: the place of its first event, and counts.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Held {
    first: u32,
    views: u32,
    searches: u32,
}

impl Held {
    fn count(&mut self, stamp: Stamp) -> &mut u32 {
        if is_search(stamp) { &mut self.searches } else { &mut self.views }
    }
}

impl Activity {
    /// Takes in an event of whatever kind.
    pub fn absorb(&mut self, event: &Event, pace: &Pace) {
        let at = event.timestamp.0;
        self.newest = self.newest.max(at);
        self.visit((at, at), pace.session_idle_us);
        let search = match event.kind {
            EventKind::ViewItem => 0,
            EventKind::Search => 1,
            _ => return,
        };
        self.fresh.push(at << 1 | search);
        self.trim(pace);
    }

    /// Takes in all that `other` knows.
    pub fn merge(&mut self, other: &Activity, pace: &Pace) {
        self.newest = self.newest.max(other.newest);
        self.fresh.extend(other.events.iter().chain(&other.fresh));
        other.sessions.iter().for_each(|session| self.visit(*session, pace.session_idle_us));
        self.trim(pace);
    }

    /// Joins a span of events with the sessions that it touches.
    fn visit(&mut self, (mut first, mut last): (u64, u64), idle_us: u64) {
        let begin = self.sessions.partition_point(|(_, end)| end + idle_us < first);
        let mut end = begin;
        while let Some((start, stop)) = self.sessions.get(end).filter(|(start, _)| *start <= last + idle_us) {
            (first, last) = (first.min(*start), last.max(*stop));
            end += 1;
        }
        make_room(&mut self.sessions);
        self.sessions.splice(begin..end, [(first, last)]);
    }

    /// Forgets what is out of every window, now and then: what belongs to an identifier of somebody
    /// else is kept to be handed on, and never looked at.
    fn trim(&mut self, pace: &Pace) {
        let oldest = self.newest.saturating_sub(pace.windows.horizon_us() + SLACK_US);
        let old = self.sessions.partition_point(|(_, last)| *last < oldest);
        self.sessions.drain(..old);
        if self.fresh.len() > 64 + 2 * self.kept {
            self.fresh.retain(|stamp| at(*stamp) >= oldest);
            self.kept = self.fresh.len();
        }
    }

    /// What each window holds at `tick`.
    pub fn look(&mut self, phase_us: u64, tick: Tick, pace: &Pace) -> Vec<Counts> {
        let windows = &pace.windows;
        self.windows.resize(windows.len(), Held::default());
        self.kept = 0;
        for (window, held) in self.windows.iter_mut().enumerate() {
            let is_held = |at: u64| windows.holds(window, phase_us, at, tick);
            while let Some(stamp) = self.events.get(held.first as usize).filter(|stamp| !is_held(at(**stamp))) {
                *held.count(*stamp) -= 1;
                held.first += 1;
            }
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.drain(..).for_each(|stamp| self.insert(stamp, phase_us, tick, windows));
        let mut due = None;
        let mut counts = Vec::with_capacity(windows.len());
        for (window, held) in self.windows.iter().enumerate() {
            let is_held = |at: u64| windows.holds(window, phase_us, at, tick);
            let session = self.sessions.partition_point(|(_, last)| !is_held(*last));
            let event = self.events.get(held.first as usize).map(|stamp| at(*stamp));
            let first = event.into_iter().chain(self.sessions.get(session).map(|(_, last)| *last)).min();
            let ends = first.map(|at| windows.end(window, phase_us, at));
            due = due.into_iter().chain(ends).min();
            let sessions = (self.sessions.len() - session) as i64;
            counts.push(Counts { sessions, views: held.views.into(), searches: held.searches.into() });
        }
        self.due = due;
        // Under another profile the edges of buckets lie elsewhere: what is forgotten must be out of
        // every window wherever they are.
        let old = self.events.partition_point(|stamp| at(*stamp) + windows.horizon_us() <= tick);
        self.events.drain(..old);
        self.windows.iter_mut().for_each(|held| held.first -= old as u32);
        counts
    }

    fn insert(&mut self, stamp: Stamp, phase_us: u64, tick: Tick, windows: &Windows) {
        let place = self.events.partition_point(|other| *other <= stamp);
        self.events.insert(place, stamp);
        for (window, held) in self.windows.iter_mut().enumerate() {
            if windows.holds(window, phase_us, at(stamp), tick) {
                *held.count(stamp) += 1;
            } else {
                held.first += 1;
            }
        }
    }

    /// The next tick at which some window holds less than when it was last looked at, if nothing else
    /// happens.
    pub fn due(&self) -> Option<Tick> {
        self.due
    }
}

/// What a window holds of a person's events, plainly.
pub fn plain_counts(events: &[&Event], window: usize, phase_us: u64, tick: Tick, pace: &Pace) -> Counts {
    let held = |at: Micros| pace.windows.holds(window, phase_us, at.0, tick);
    let of_kind = |kind| events.iter().filter(|event| event.kind == kind && held(event.timestamp)).count() as i64;
    // Of each session the last event is the one that no other follows within the pause.
    let mut times: Vec<u64> = events.iter().map(|event| event.timestamp.0).collect();
    times.sort_unstable();
    let last = |at: usize| times.get(at + 1).is_none_or(|next| times[at] + pace.session_idle_us < *next);
    let sessions = (0..times.len()).filter(|at| last(*at) && held(Micros(times[*at]))).count() as i64;
    Counts { sessions, views: of_kind(EventKind::ViewItem), searches: of_kind(EventKind::Search) }
}
