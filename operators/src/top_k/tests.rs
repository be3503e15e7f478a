//! Gated top-k against a sort of the whole history.

mod against_oracle;
mod cases;
mod round_trip;
mod windows;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use differential_dataflow::AsCollection;
use proptest::prelude::*;
use timely::dataflow::operators::vec::Map;

use super::*;
use crate::{
    Tick,
    testing::{Build, Drive, Snapshot, Updates, at_ticks},
};

type Member = u32;
type Axis = u8;
type Place = u8;
type Payload = i64;
type Change = Feed<Member, Axis, Place, Payload>;
type Row = TopKRow<Member, Axis, Place, Payload>;
type Listed = ((Axis, Place), Ranking<Member, Payload>);

/// How many lanes there are; axes are twice as many.
const LANES: usize = 3;

/// The place where every member stands, in most tests.
const EVERYWHERE: Place = 9;

/// [`TopKOptions`] that can be sent to a worker.
#[derive(Clone, Debug)]
struct Lists {
    k: usize,
    everywhere: Vec<Place>,
    without_gate: Option<Payload>,
    /// Whether axis 1 has no lists but that of all places.
    axis_1_only_everywhere: bool,
}

impl Lists {
    /// Lists of `k`, of every axis at every place and of all members; open without a gate.
    fn of(k: usize) -> Lists {
        Lists { k, everywhere: vec![EVERYWHERE], without_gate: Some(0), axis_1_only_everywhere: false }
    }

    fn is_group(&self, axis: Axis, place: Place) -> bool {
        !(self.axis_1_only_everywhere && axis & 1 == 1 && place != EVERYWHERE)
    }

    fn options(&self) -> TopKOptions<Member, Axis, Place, Payload> {
        let lists = self.clone();
        TopKOptions {
            k: self.k,
            lanes: LANES,
            windows: None,
            everywhere: self.everywhere.clone(),
            is_group: Rc::new(move |axis, place| lists.is_group(*axis, *place)),
            without_gate: self.without_gate,
            // Four members a tie.
            tie: |member| u64::from(*member / 4),
        }
    }
}

/// One of the three inputs, out of the one that a test drives.
fn part<'s, D: ExchangeData>(
    input: &Collection<'s, Change, i64>,
    pick: impl Fn(Change) -> Option<D> + 'static,
) -> Collection<'s, D> {
    let picked = input.clone().inner.flat_map(move |(change, tick, diff)| Some((pick(change)?, tick, diff as isize)));
    picked.as_collection()
}

fn places<'s>(input: &Collection<'s, Change, i64>) -> Collection<'s, (Member, Place)> {
    part(input, |change| if let Feed::Place(member, place) = change { Some((member, place)) } else { None })
}

fn gates<'s>(input: &Collection<'s, Change, i64>) -> Collection<'s, (Member, Option<Payload>)> {
    part(input, |change| if let Feed::Gate(member, gate) = change { Some((member, gate)) } else { None })
}

fn scores<'s>(input: &Collection<'s, Change, i64>) -> Collection<'s, (Member, Axis), i64> {
    input.clone().flat_map(|change| if let Feed::Score(score) = change { Some(score) } else { None })
}

type Built = Arc<Build<Change, i64, Row, Listed, isize>>;

/// The operator. Tests know no lanes: of an axis, the lowest bit is the operator's and the others are
/// the lane.
fn top_k(lists: &Lists) -> Built {
    let lists = lists.clone();
    Arc::new(move |input, wiring| {
        let in_lanes = Inflow::of(input, |change, diff| laned(change, *diff));
        let lists = in_lanes.top_k(lists.options(), wiring);
        lists.map(|((axis, place, lane), list)| ((axis | lane << 1, place), list))
    })
}

/// A change as the operator takes it.
fn laned(change: &Change, diff: i64) -> (Change, Lanes<i64>) {
    match change {
        Feed::Score((member, axis)) => (Feed::Score((*member, axis & 1)), Lanes::one(axis >> 1, diff)),
        other => (other.clone(), Lanes::one(0, diff)),
    }
}

/// Inputs and what is asked of them.
#[derive(Clone, Debug)]
struct History {
    lists: Lists,
    input: Updates<Change, i64>,
    last: Tick,
}

impl History {
    fn drive(&self, workers: usize, seed: u64) -> Drive<Change, i64, Row> {
        Drive::new(workers, seed, &self.input, self.last)
    }

    fn ticks(&self) -> BTreeSet<Tick> {
        self.input.iter().map(|(_, tick, _)| *tick).chain([self.last]).collect()
    }

    /// The lists at `tick`: all members with all they have, sorted.
    fn lists_at(&self, tick: Tick) -> Snapshot<Listed> {
        let state = at_ticks(&self.input, &[tick].into()).remove(&tick).expect("asked for");
        let mut gates: BTreeMap<Member, Option<Payload>> = BTreeMap::new();
        let mut places: BTreeMap<Member, BTreeSet<Place>> = BTreeMap::new();
        for (change, _) in state.iter().filter(|(_, count)| **count > 0) {
            match change {
                Feed::Gate(member, gate) => {
                    let least = gates.get(member).map_or(*gate, |other| *gate.min(other));
                    gates.insert(*member, least);
                }
                Feed::Place(member, place) => _ = places.entry(*member).or_default().insert(*place),
                Feed::Score(..) | Feed::Happened(..) => {}
            }
        }
        let mut groups: BTreeMap<(Axis, Place), Vec<Ranked<Member, Payload>>> = BTreeMap::new();
        for (change, score) in state.iter().filter(|(_, score)| **score > 0) {
            let Feed::Score((member, axis)) = change else { continue };
            let Some(payload) = gates.get(member).copied().unwrap_or(self.lists.without_gate) else { continue };
            let placed = places.get(member).into_iter().flatten().chain(&self.lists.everywhere);
            for place in placed.collect::<BTreeSet<_>>() {
                if self.lists.is_group(*axis, *place) {
                    groups.entry((*axis, *place)).or_default().push((*member, *score, payload));
                }
            }
        }
        let first = groups.into_iter().map(|(group, mut members)| {
            members.sort_by_key(|(member, score, _)| (-score, *member));
            members.truncate(self.lists.k);
            ((group, members.into()), 1)
        });
        first.collect()
    }
}

/// Something that happens to a member.
#[derive(Clone, Debug)]
enum Event {
    Scores(Axis, i64),
    Moves(Place),
    Gate(Option<Option<Payload>>),
}

/// Histories of many members and short lists, so that most members are far from the cut; scores
/// meet, fall below 0 and rise again, members move, close and open, several times in a tick.
fn history() -> impl Strategy<Value = History> {
    let lists = (1usize..4, prop_oneof![Just(None), Just(Some(0i64))], any::<bool>(), any::<bool>()).prop_map(
        |(k, without_gate, all, axis_1_only_everywhere)| Lists {
            k,
            everywhere: if all { vec![EVERYWHERE] } else { vec![] },
            without_gate,
            axis_1_only_everywhere,
        },
    );
    let gate = prop_oneof![2 => Just(Some(None)), 3 => (0i64..4).prop_map(|left| Some(Some(left))), 1 => Just(None)];
    let event = prop_oneof![
        6 => (0u8..2 * LANES as u8, -5i64..9).prop_map(|(axis, more)| Event::Scores(axis, more)),
        2 => prop_oneof![4 => 0u8..3, 1 => Just(EVERYWHERE)].prop_map(Event::Moves),
        2 => gate.prop_map(Event::Gate),
    ];
    let base = prop_oneof![Just(0u64), Just(1_000_003)];
    let events = prop::collection::vec((0u32..20, 0u64..4, event), 1..350);
    (lists, base, events).prop_map(|(lists, base, events)| {
        let mut tick = base;
        let mut input = Updates::new();
        let mut placed = BTreeSet::new();
        let mut gated = BTreeMap::new();
        for (member, later, event) in events {
            tick += later;
            match event {
                Event::Scores(axis, more) => input.push((Feed::Score((member, axis)), tick, more)),
                Event::Moves(place) => {
                    let is_new = placed.insert((member, place));
                    if !is_new {
                        placed.remove(&(member, place));
                    }
                    input.push((Feed::Place(member, place), tick, if is_new { 1 } else { -1 }));
                }
                Event::Gate(gate) => {
                    let before = gated.insert(member, gate).flatten();
                    input.extend(before.map(|before| (Feed::Gate(member, before), tick, -1)));
                    input.extend(gate.map(|gate| (Feed::Gate(member, gate), tick, 1)));
                }
            }
        }
        History { lists, input, last: tick + 1 }
    })
}
