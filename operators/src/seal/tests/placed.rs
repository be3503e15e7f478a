//! Amounts at places against a join by hand.

use differential_dataflow::AsCollection;
use timely::dataflow::operators::vec::Map;

use super::*;
use crate::lanes::Lanes;

type Member = u64;

/// What a test feeds: the difference says how much, or how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
enum Fed {
    Amount { member: Member, axis: u64, lane: u8 },
    Place { member: Member, place: u64 },
}

const EVERYWHERE: u64 = 0;

/// Axis 1 has no place but everywhere, axis 2 every place but that.
fn is_place(axis: u64, place: u64) -> bool {
    match axis {
        1 => place == EVERYWHERE,
        2 => place != EVERYWHERE,
        _ => true,
    }
}

/// The key as a number.
fn key(member: Member, axis: u64, place: u64, lane: u8) -> Key {
    member * 1_000 + axis * 100 + place * 10 + u64::from(lane)
}

/// An amount and its lane as one value.
type Shown = (u8, isize);

/// The changes of cells, told key by key.
struct ByKey(Rc<RefCell<Placed<Member, u64, u64, isize, Lanes<isize>>>>);

impl Seal for ByKey {
    type Change = (Key, Option<Shown>);

    fn cut(&mut self, upper: Tick) -> Vec<Self::Change> {
        let cells = self.0.borrow_mut().cut(upper);
        let tell = |cell: &CellChange<Member, u64, u64, Lanes<isize>>| {
            let told = cell.changes().map(|(place, lane, amount)| {
                (key(cell.member, cell.axis, *place, lane), amount.map(|amount| (lane, *amount)))
            });
            let told: Vec<_> = told.collect();
            assert!(!told.is_empty(), "a change of which nothing is another: {cell:?}");
            told
        };
        cells.iter().flat_map(tell).collect()
    }

    fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

fn by_place() -> Arc<Build<Fed, ByKey>> {
    Arc::new(|input| {
        let amounts = input.clone().inner.flat_map(|(fed, tick, diff)| match fed {
            Fed::Amount { member, axis, lane } => Some(((member, axis), tick, Lanes::one(lane, diff))),
            Fed::Place { .. } => None,
        });
        let places = input.flat_map(|fed| match fed {
            Fed::Place { member, place } => Some((member, place)),
            Fed::Amount { .. } => None,
        });
        let wanted = Places {
            everywhere: EVERYWHERE,
            is_place: Box::new(|axis, place| is_place(*axis, *place)),
            nothing: Arc::default(),
        };
        let Sealing { seal, passed } = seal_placed(amounts.as_collection(), places, "Placed", wanted);
        Sealing { seal: Rc::new(RefCell::new(ByKey(seal))), passed }
    })
}

/// What is published as of `tick`.
fn joined(input: &Updates<Fed>, tick: Tick) -> BTreeMap<Key, Shown> {
    let fed = at_ticks(input, &[tick].into()).remove(&tick).expect("asked for");
    let stands = |member: Member, place: u64| place == EVERYWHERE || fed.contains_key(&Fed::Place { member, place });
    let mut joined = BTreeMap::new();
    for (fed, amount) in &fed {
        let Fed::Amount { member, axis, lane } = *fed else { continue };
        for place in (0..6).filter(|place| stands(member, *place) && is_place(axis, *place)) {
            joined.insert(key(member, axis, place, lane), (lane, *amount));
        }
    }
    joined
}

/// Amounts that are added and taken back, and members that move, several times in a tick.
fn input() -> impl Strategy<Value = Updates<Fed>> {
    let amount = (0u64..5, 0u64..3, 0u8..4, prop_oneof![Just(-1isize), Just(1), Just(2)]);
    let changes = prop_oneof![
        3 => amount.prop_map(|(member, axis, lane, diff)| (Fed::Amount { member, axis, lane }, diff)),
        2 => (0u64..5, 0u64..6).prop_map(|(member, place)| (Fed::Place { member, place }, 0)),
    ];
    prop::collection::vec((changes, 0u64..4), 1..120).prop_map(|changes| {
        let (mut tick, mut stands) = (0, BTreeSet::new());
        let mut input = Updates::new();
        for ((fed, diff), later) in changes {
            tick += later;
            let diff = match fed {
                Fed::Amount { .. } => diff,
                Fed::Place { .. } if stands.insert(fed) => 1,
                Fed::Place { .. } => {
                    stands.remove(&fed);
                    -1
                }
            };
            input.push((fed, tick, diff));
        }
        input
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn each_cut_tells_what_a_join_would(input in input(), seed: u64, uppers in prop::collection::btree_set(0u64..260, 1..20)) {
        let last = input.iter().map(|(_, tick, _)| *tick).max().unwrap_or(0) + 1;
        let uppers: BTreeSet<Tick> = uppers.into_iter().map(|upper| upper.min(last)).chain([last]).collect();
        for workers in WORKERS {
            check(cuts(workers, seed, &input, &uppers, &by_place()), |tick| joined(&input, tick));
        }
    }
}

#[test]
fn what_has_nothing_and_stands_nowhere_takes_no_room() {
    let (amount, place) = (Fed::Amount { member: 1, axis: 0, lane: 2 }, Fed::Place { member: 1, place: 3 });
    timely::execute_directly(move |worker| {
        let (mut input, seal) = worker.dataflow::<Tick, _, _>(|scope| {
            let (input, data) = scope.new_collection();
            (input, by_place()(data).seal)
        });
        for (tick, diff, cells) in [(0, 1, 1), (1, -1, 0)] {
            input.update_at(amount, tick, diff);
            input.update_at(place, tick, diff);
            input.advance_to(tick + 1);
            input.flush();
            (0..10).for_each(|_| _ = worker.step());
            assert_eq!(seal.borrow_mut().cut(tick + 1).len(), 2);
            assert_eq!(seal.borrow().0.borrow().held(), (cells, cells));
        }
    });
}
