//! Random histories of facts and places against the oracle.

use proptest::prelude::*;

use super::*;
use crate::{
    table::hash_of,
    testing::{WORKERS, assert_same, at_ticks},
};

/// How many identifiers there are; owners go by the names of some of them, and by others.
const IDS: Id = 5;

/// Something that happens at a tick.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// A fact, so old, so many times.
    Fact(Id, u8, i64, isize),
    /// A fact that comes and goes at once.
    Flash(Id, u8),
    /// An identifier goes to an owner.
    Goes(Id, Id),
    /// An identifier goes back alone.
    Alone(Id),
    /// An owner has a new generation of the same identifiers.
    Renewed(Id),
    /// An identifier is retracted, with its facts and its place. It may come again at the same tick.
    Erased(Id),
}

/// The state from which the updates are made.
#[derive(Default)]
struct World {
    facts: BTreeMap<Id, Vec<Fact>>,
    owners: BTreeMap<Id, Id>,
    /// How often each identifier was erased: when it is back with an owner, that is another generation.
    erased: BTreeMap<Id, u64>,
    /// How often each owner was renewed.
    renewed: BTreeMap<Id, u64>,
}

impl World {
    /// The places of all identifiers. A generation comes back with the identifiers that it had.
    fn places(&self) -> BTreeSet<(Id, Place<Id>)> {
        let place = |(id, owner): (&Id, &Id)| {
            let members = self.owners.iter().filter(|(_, other)| *other == owner);
            let members: Vec<_> = members.map(|(id, _)| (id, self.erased.get(id))).collect();
            (*id, (*owner, hash_of(&(members, self.renewed.get(owner)))))
        };
        self.owners.iter().map(place).collect()
    }

    /// Lets all that happens at one tick happen: what is retracted first.
    fn pass(&mut self, tick: Tick, acts: &[Act], input: &mut Updates<Fed>) {
        let before = self.places();
        let mut erased = BTreeSet::new();
        for id in acts.iter().filter_map(|act| if let Act::Erased(id) = act { Some(id) } else { None }) {
            erased.insert(*id);
            let facts = self.facts.remove(id).unwrap_or_default();
            input.extend(facts.into_iter().map(|fact| (Fed::Fact(*id, fact), tick, -1)));
            self.owners.remove(id);
            *self.erased.entry(*id).or_insert(0) += 1;
        }
        for act in acts {
            match act {
                Act::Fact(id, value, age, count) => {
                    let fact = (*value, tick.saturating_add_signed(-age));
                    self.facts.entry(*id).or_default().extend(std::iter::repeat_n(fact, *count as usize));
                    input.push((Fed::Fact(*id, fact), tick, *count));
                }
                // Beside a retraction it could not be told from a fact that comes again.
                Act::Flash(id, value) if !erased.contains(id) => {
                    input.extend([1, -1].map(|diff| (Fed::Fact(*id, (*value, tick)), tick, diff)));
                }
                Act::Goes(id, owner) => _ = self.owners.insert(*id, *owner),
                Act::Alone(id) => _ = self.owners.remove(id),
                Act::Renewed(owner) => *self.renewed.entry(*owner).or_insert(0) += 1,
                Act::Flash(..) | Act::Erased(_) => {}
            }
        }
        let after = self.places();
        input.extend(before.difference(&after).map(|(id, place)| (Fed::Place(*id, *place), tick, -1)));
        input.extend(after.difference(&before).map(|(id, place)| (Fed::Place(*id, *place), tick, 1)));
        // Some that stay are retracted and set again.
        let again = before.intersection(&after).filter(|(id, _)| hash_of(&(id, tick)) % 4 == 0);
        again.for_each(|(id, place)| input.extend([1, -1].map(|diff| (Fed::Place(*id, *place), tick, diff))));
    }
}

fn act() -> impl Strategy<Value = Act> {
    let owner = prop_oneof![Just(0u64), Just(1), Just(10)];
    prop_oneof![
        6 => (0..IDS, 0u8..4, -3i64..40, 1isize..3).prop_map(|(id, value, age, count)| Act::Fact(id, value, age, count)),
        1 => (0..IDS, 0u8..4).prop_map(|(id, value)| Act::Flash(id, value)),
        3 => (0..IDS, owner.clone()).prop_map(|(id, owner)| Act::Goes(id, owner)),
        1 => (0..IDS).prop_map(Act::Alone),
        1 => owner.prop_map(Act::Renewed),
        2 => (0..IDS).prop_map(Act::Erased),
    ]
}

/// Facts and places that come, move and are taken back, and the last tick.
pub(super) fn history() -> impl Strategy<Value = (Updates<Fed>, Tick)> {
    let acts = prop::collection::btree_map(0u64..120, prop::collection::vec(act(), 1..6), 1..14);
    let base = prop_oneof![Just(0u64), Just(1_000_003)];
    (acts, base, 1u64..40).prop_map(|(acts, base, more)| {
        let (mut world, mut input) = (World::default(), Updates::new());
        let last = acts.keys().last().copied().unwrap_or(0);
        for (tick, acts) in acts {
            world.pass(base + tick, &acts, &mut input);
        }
        (input, base + last + more)
    })
}

fn facts_only(input: &Updates<Fed>) -> Updates<Fed> {
    input.iter().filter(|(fed, _, _)| matches!(fed, Fed::Fact(..))).cloned().collect()
}

fn expected(input: &Updates<Fed>, ticks: &BTreeSet<Tick>, rules: &Rules) -> BTreeMap<Tick, Snapshot<Row>> {
    ticks.iter().map(|tick| (*tick, told_at(input, *tick, rules))).collect()
}

/// Holds what `build` tells at every tick, and at the ends of steps, against the oracle.
fn check(input: &Updates<Fed>, last: Tick, seed: u64, rules: &Rules, build: &Built) {
    let ticks = ticks(input, last, rules);
    let at_each = expected(input, &ticks, rules);
    for workers in WORKERS {
        let out = Drive::new(workers, seed, input, last).run(build).out;
        assert_same(&at_ticks(&out, &ticks), &at_each, workers);
        let drive = Drive::new(workers, seed, input, last).in_steps();
        let ends = drive.ends();
        let out = drive.run(build).out;
        assert!(out.iter().all(|(_, tick, _)| ends.contains(tick)), "nothing comes out in between");
        assert_same(&at_ticks(&out, &ends), &expected(input, &ends, rules), ("in steps", workers));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_told_is_that_of_the_whole_history((input, last) in history(), seed: u64) {
        check(&input, last, seed, &RULES, &stitched(RULES));
    }

    #[test]
    fn what_is_silent_is_forgotten((input, last) in history(), seed: u64) {
        check(&input, last, seed, &FORGETFUL, &stitched(FORGETFUL));
    }

    #[test]
    fn without_places_every_identifier_stays_by_itself((input, last) in history(), seed: u64) {
        for rules in [RULES, FORGETFUL] {
            check(&facts_only(&input), last, seed, &rules, &summarized(rules));
        }
    }
}
