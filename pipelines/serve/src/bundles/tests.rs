//! Bundles against single rows that are given the same changes key by key.

use std::collections::{BTreeMap, BTreeSet};

use etalage_model::{Value, key::value_json};
use proptest::prelude::*;

use super::*;
use crate::rows::Rows;

const LABELS: [&str; 3] = ["7d", "10m", "1h"];
const MEMBERS: [&str; 3] = ["boot", "bag", "boo"];
/// The axes, each with the scopes in which its bundles may stand.
const AXES: [(&str, &[&str]); 2] = [("", &["all", "home", "homes"]), ("de", &["de", "de+home"])];
const KEEP: Keep = Keep { span_us: 20, max: 9 };

/// A value per lane; 0 is none.
#[derive(Debug, Default)]
struct Plain([u8; 3]);

impl Amounts for Plain {
    fn value(&self, lane: u8) -> Option<Value> {
        self.has(lane).then(|| Arc::new(self.0[usize::from(lane)]) as Value)
    }
    fn has(&self, lane: u8) -> bool {
        self.0[usize::from(lane)] != 0
    }
}

/// What a bundle is to become: which one, its amounts, in which of its scopes.
#[derive(Clone, Debug)]
struct Step {
    member: usize,
    axis: usize,
    amounts: [u8; 3],
    scopes: [bool; 3],
    later: Tick,
    /// Another process goes on then.
    restarts: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amount = prop_oneof![2 => Just(0u8), 1 => 1u8..3];
    let step =
        (0..MEMBERS.len(), 0..AXES.len(), [amount.clone(), amount.clone(), amount], any::<[bool; 3]>(), 1u64..15, 0..8);
    let step = step.prop_map(|(member, axis, amounts, scopes, later, draw)| Step {
        member,
        axis,
        amounts,
        scopes,
        later,
        restarts: draw == 0,
    });
    prop::collection::vec(step, 1..60)
}

/// Both kinds of rows, and what each bundle was made last.
#[derive(Default)]
struct Both {
    bundled: BundleRows,
    single: Rows,
    made: BTreeMap<(usize, usize), (BTreeSet<Sym>, [u8; 3])>,
    tick: Tick,
}

impl Both {
    fn take(&mut self, step: &Step) {
        self.tick += step.later;
        let (axis, scopes) = AXES[step.axis];
        let wanted = scopes.iter().zip(step.scopes).filter(|(_, wanted)| *wanted).map(|(scope, _)| Sym::new(scope));
        let scopes: BTreeSet<Sym> = wanted.collect();
        let (stood, was) = self.made.entry((step.member, step.axis)).or_default();
        let change = BundleChange {
            member: Sym::new(MEMBERS[step.member]),
            axis: Sym::new(axis),
            scopes: scopes.iter().copied().collect(),
            joined: scopes.difference(stood).copied().collect(),
            left: stood.difference(&scopes).copied().collect(),
            changed: (0..3u8).filter(|lane| was[usize::from(*lane)] != step.amounts[usize::from(*lane)]).collect(),
            was: Arc::new(Plain(*was)),
            now: Arc::new(Plain(step.amounts)),
        };
        (*stood, *was) = (scopes, step.amounts);
        let bundles = Bundles { labels: LABELS.map(Sym::new).into(), changes: vec![change] };
        let upserts: Vec<(Key, Option<Value>)> = bundles.upserts().collect();
        // The dataflow does not tell of what changes nothing: amounts that come and go where a bundle stands
        // nowhere.
        if !upserts.is_empty() {
            self.bundled.apply(&bundles, self.tick, |_| ());
        }
        self.single.apply(&upserts, self.tick, |_, _| ());
        self.bundled.bury(self.tick, KEEP, upserts.len());
        self.single.bury(self.tick, KEEP, upserts.len());
        if step.restarts {
            self.restart();
        }
    }

    /// Makes the values again, as a new process does, and takes in when they changed.
    fn restart(&mut self) {
        let (old, single) = (std::mem::take(&mut self.bundled), std::mem::take(&mut self.single));
        let bundle =
            |(&(member, axis), (scopes, amounts)): (&(usize, usize), &(BTreeSet<Sym>, [u8; 3]))| BundleChange {
                member: Sym::new(MEMBERS[member]),
                axis: Sym::new(AXES[axis].0),
                scopes: scopes.iter().copied().collect(),
                joined: scopes.iter().copied().collect(),
                left: Vec::new(),
                changed: (0..3u8).filter(|lane| amounts[usize::from(*lane)] != 0).collect(),
                was: Arc::new(Plain::default()),
                now: Arc::new(Plain(*amounts)),
            };
        let changes = self.made.iter().map(bundle).filter(|change| !change.scopes.is_empty()).collect();
        let bundles = Bundles { labels: LABELS.map(Sym::new).into(), changes };
        let upserts: Vec<(Key, Option<Value>)> = bundles.upserts().collect();
        self.bundled.apply(&bundles, self.tick, |_| ());
        self.single.apply(&upserts, self.tick, |_, _| ());

        self.bundled.begin_restoring(old.floor(), 0, &LABELS.map(str::to_owned));
        let mut kept: Vec<KeptBundle> = old.in_slots(0..old.slots()).collect();
        kept.sort_by_key(KeptBundle::newest);
        kept.iter().for_each(|kept| self.bundled.restore(kept));
        self.bundled.end_restoring();
        self.single.begin_restoring(single.floor(), 0);
        let mut kept: Vec<_> = single.in_slots(0..single.slots()).collect();
        kept.sort_by_key(|row| row.changed);
        for row in kept {
            self.single.restore(&KeyFields(row.key.texts().map(str::to_owned).collect()), row.changed);
        }
    }

    /// The live keys of a scan, each with its value and when it changed.
    fn scans(&self, prefix: &KeyPrefix, after: Option<&KeyFields>) -> [Vec<(String, String, Tick)>; 2] {
        let text = |value: Option<Value>| value.map_or(String::new(), |value| value_json(&*value));
        let bundled = self.bundled.scan(prefix, after).filter(InBundle::is_live);
        let bundled = bundled.map(|found| (found.key().path(), text(value(&found)), found.changed()));
        let single = self.single.scan(prefix, after).filter(|row| row.value.is_some());
        let single = single.map(|row| (row.key.path(), text(row.value.clone()), row.changed));
        [bundled.collect(), single.collect()]
    }

    /// What a reader that knows everything up to `tick` is told, by key: the value, or none.
    fn news(&self, tick: Tick) -> [BTreeMap<Key, Option<String>>; 2] {
        let all = KeyPrefix::default();
        let text = |value: Option<Value>| value.map(|value| value_json(&*value));
        let bundled = self.bundled.scan(&all, None).filter(|found| found.changed() > tick);
        let single = self.single.scan(&all, None).filter(|row| row.changed > tick);
        [
            bundled.map(|found| (found.key(), text(value(&found)))).collect(),
            single.map(|row| (row.key.clone(), text(row.value.clone()))).collect(),
        ]
    }
}

proptest! {
    #[test]
    fn they_answer_as_single_rows_do(steps in steps(), after in "(all|home|de)/(10m|1h|2h|7d)/(b|boo|boot)") {
        let mut both = Both::default();
        let names = ["scope", "window", "item_id"];
        let after = KeyFields::parse(&after, &names).unwrap();
        for step in &steps {
            let before = both.tick;
            both.take(step);
            prop_assert_eq!(both.bundled.live(), both.single.live());
            for prefix in ["", "home", "home/", "all/1", "de/7d/", "home/1h/boo", "de+home/10m/bag"] {
                let prefix = KeyPrefix::parse(prefix, &names).unwrap();
                for after in [None, Some(&after)] {
                    let [bundled, single] = both.scans(&prefix, after);
                    prop_assert_eq!(bundled, single, "{:?} after {:?}", prefix, after);
                }
            }
            for (axis, scope) in AXES.iter().flat_map(|(axis, scopes)| scopes.iter().map(move |scope| (axis, scope))) {
                for (label, member) in LABELS.iter().flat_map(|label| MEMBERS.map(|member| (label, member))) {
                    let key = Key::new(&[Sym::new(scope), Sym::new(label), Sym::new(member)]);
                    let bundled = both.bundled.get(&key).and_then(|found| value(&found));
                    let single = both.single.get(&key).and_then(|row| row.value.clone());
                    let [bundled, single] = [bundled, single].map(|value| value.map(|value| value_json(&*value)));
                    prop_assert_eq!(bundled, single, "{:?} on axis {:?}", key, axis);
                }
            }
            // Whoever goes on from a tick that is not forgotten hears of everything; that something is gone
            // may be said again.
            for tick in [before, before.saturating_sub(15)] {
                if tick >= both.bundled.floor() && tick >= both.single.floor() {
                    let [bundled, single] = both.news(tick);
                    let missing: Vec<_> = single.iter().filter(|(key, _)| !bundled.contains_key(*key)).collect();
                    prop_assert!(missing.is_empty(), "since {}: {:?}", tick, missing);
                    let more = bundled.iter().filter(|(key, value)| value.is_some() && single.get(*key) != Some(*value));
                    prop_assert_eq!(more.count(), 0);
                }
            }
            prop_assert!(both.bundled.dead <= KEEP.max, "{} tombstones", both.bundled.dead);
        }
    }
}

/// The value of what was found.
fn value(found: &InBundle<'_>) -> Option<Value> {
    found.in_lane()?.value()
}

#[test]
fn what_leaves_its_last_scope_takes_no_room_either() {
    let mut both = Both::default();
    both.take(&Step {
        member: 0,
        axis: 0,
        amounts: [1, 2, 0],
        scopes: [true, false, false],
        later: 1,
        restarts: false,
    });
    both.take(&Step { member: 0, axis: 0, amounts: [1, 2, 0], scopes: [false; 3], later: 1, restarts: false });
    // It loses its values where nobody is told of it.
    both.take(&Step { member: 0, axis: 0, amounts: [0; 3], scopes: [false; 3], later: 1, restarts: false });
    both.take(&Step { member: 1, axis: 0, amounts: [1; 3], scopes: [true; 3], later: 40, restarts: false });
    assert_eq!((both.bundled.index.len(), both.bundled.free.len(), both.bundled.dead), (1, 1, 0));
}

#[test]
fn what_came_while_it_stood_nowhere_is_there_when_it_stands_somewhere() {
    let mut both = Both::default();
    both.take(&Step { member: 0, axis: 0, amounts: [1, 0, 0], scopes: [false; 3], later: 1, restarts: false });
    both.take(&Step {
        member: 0,
        axis: 0,
        amounts: [1, 0, 0],
        scopes: [true, false, false],
        later: 1,
        restarts: false,
    });
    assert_eq!(both.bundled.scan(&KeyPrefix::default(), None).filter(InBundle::is_live).count(), 1);
    assert_eq!(both.bundled.live(), 1);
}

#[test]
fn what_is_forgotten_takes_no_room() {
    let mut both = Both::default();
    let step =
        |amounts, later| Step { member: 0, axis: 0, amounts, scopes: [true, true, false], later, restarts: false };
    both.take(&step([1, 2, 0], 1));
    both.take(&step([0, 0, 0], 1));
    assert_eq!((both.bundled.live(), both.bundled.scopes.len()), (0, 2));
    both.take(&Step { member: 1, ..step([1, 1, 1], 30) });
    let members: Vec<usize> = both.bundled.scopes.values().map(BTreeMap::len).collect();
    assert_eq!((both.bundled.index.len(), both.bundled.free.len(), members), (1, 1, vec![1, 1]));
    assert_eq!(both.bundled.floor(), 2);
    both.take(&step([3, 0, 0], 1));
    assert_eq!((both.bundled.slots.len(), both.bundled.live()), (2, 8));
}
