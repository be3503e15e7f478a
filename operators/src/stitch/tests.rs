//! Stitching against a look at the whole history of facts and places.

mod against_oracle;
mod cases;
mod cores;
mod forgetting;
mod round_trip;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::*;
use crate::testing::{Build, Drive, Snapshot, Updates, add};

type Id = u64;
/// A value, and when it was.
type Fact = (u8, Tick);
type Row = (Id, Said);
type Built = Arc<Build<Fed, isize, IdentifierRow<Id, Known>, Row, isize>>;

/// How many of the greatest values are kept.
const GREATEST: usize = 3;
/// How long a fact is news.
const NEWS_US: u64 = 20;

/// What goes by: facts and places as one collection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Fed {
    Fact(Id, Fact),
    Place(Id, Place<Id>),
}

/// What is told of an owner of whom anything is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Said {
    Sum(u64),
    Greatest(Vec<u8>),
    /// How many facts are news, if any; changes by time alone.
    News(usize),
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    greatest: usize,
    news_us: u64,
    forgetting: Forgetting,
}

/// Everything is remembered.
const RULES: Rules = Rules { greatest: GREATEST, news_us: NEWS_US, forgetting: Forgetting::NEVER };
/// What is silent is forgotten; no fact of a random history comes later than that.
const FORGETFUL: Rules = Rules { forgetting: Forgetting { idle_us: 25, late_us: 40 }, ..RULES };

/// The summary of the tests.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    sum: u64,
    /// In descending order.
    greatest: Vec<u8>,
    /// When each fact ceases to be news.
    news_until: Vec<Tick>,
    #[serde(skip)]
    told: Told<(Tick, BTreeSet<Said>)>,
}

impl Known {
    fn take(&mut self, value: u8, rules: &Rules) {
        let place = self.greatest.partition_point(|other| *other > value);
        self.greatest.insert(place, value);
        self.greatest.truncate(rules.greatest);
    }
}

impl Summary<Id> for Known {
    type Fact = Fact;
    type Row = Row;
    type Rules = Rules;

    fn forgetting(rules: &Rules) -> Forgetting {
        rules.forgetting
    }

    fn at_us((_, at): &Fact) -> u64 {
        *at
    }

    fn absorb(&mut self, (value, at): &Fact, rules: &Rules) {
        self.sum += u64::from(*value);
        self.take(*value, rules);
        self.news_until.push(at + rules.news_us);
    }

    fn merge(&mut self, other: &Self, rules: &Rules) {
        self.sum += other.sum;
        other.greatest.iter().for_each(|value| self.take(*value, rules));
        self.news_until.extend(&other.news_until);
    }

    fn settle(&mut self, owner: &Id, tick: Tick, _rules: &Rules, tell: &mut dyn FnMut(Row, isize)) {
        let news = self.news_until.iter().filter(|until| **until > tick).count();
        let mut now = BTreeSet::from([Said::Sum(self.sum), Said::Greatest(self.greatest.clone())]);
        now.extend((news > 0).then_some(Said::News(news)));
        let before = self.told.0.take().map(|(_, said)| said).unwrap_or_default();
        before.difference(&now).for_each(|said| tell((*owner, said.clone()), -1));
        now.difference(&before).for_each(|said| tell((*owner, said.clone()), 1));
        self.told = Told(Some((tick, now)));
    }

    fn withdraw(&mut self, owner: &Id, _rules: &Rules, tell: &mut dyn FnMut(Row, isize)) {
        let before = self.told.0.take().map(|(_, said)| said).unwrap_or_default();
        before.into_iter().for_each(|said| tell((*owner, said), -1));
    }

    fn due(&self) -> Option<Tick> {
        let (tick, _) = self.told.0.as_ref()?;
        self.news_until.iter().copied().filter(|until| until > tick).min()
    }
}

/// The operator.
fn stitched(rules: Rules) -> Built {
    Arc::new(move |input, wiring| {
        let of_owners = Wiring::fresh("Tested owners", input.scope()).in_steps(&wiring.steps);
        let facts = input.clone().flat_map(|fed| match fed {
            Fed::Fact(id, fact) => Some((id, fact)),
            Fed::Place(..) => None,
        });
        let places = input.flat_map(|fed| match fed {
            Fed::Place(id, place) => Some((id, place)),
            Fed::Fact(..) => None,
        });
        stitch::<Id, Known>(facts, places, Rc::new(rules), wiring, of_owners)
    })
}

/// The operator without places.
fn summarized(rules: Rules) -> Built {
    Arc::new(move |input, wiring| {
        let facts = input.flat_map(|fed| match fed {
            Fed::Fact(id, fact) => Some((id, fact)),
            Fed::Place(..) => None,
        });
        summarize::<Id, Known>(facts, Rc::new(rules), wiring)
    })
}

/// Those of an identifier's facts that count at `tick`: the last without a long pause, unless they are followed by one.
fn that_count(mut facts: Vec<Fact>, tick: Tick, idle_us: u64) -> Vec<Fact> {
    facts.sort_by_key(|(_, at)| *at);
    let Some((_, last)) = facts.last().filter(|(_, last)| last.saturating_add(idle_us) >= tick) else { return vec![] };
    let mut first = *last;
    let count = facts.iter().rev().take_while(|(_, at)| {
        let is_one_of_them = at.saturating_add(idle_us) >= first;
        first = *at;
        is_one_of_them
    });
    let count = count.count();
    facts.split_off(facts.len() - count)
}

/// What is to be told at `tick`, from the facts and places of the whole history.
fn told_at(input: &Updates<Fed>, tick: Tick, rules: &Rules) -> Snapshot<Row> {
    let mut all: Snapshot<Fed> = Snapshot::new();
    input.iter().filter(|(_, came, _)| *came <= tick).for_each(|(fed, _, diff)| add(&mut all, fed, diff));
    let mut places: BTreeMap<Id, Place<Id>> = BTreeMap::new();
    for (fed, count) in &all {
        assert!(*count > 0, "the history is one of facts and places: {fed:?}");
        if let Fed::Place(id, place) = fed {
            assert_eq!((*count, places.insert(*id, *place)), (1, None), "an identifier has one place");
        }
    }
    let mut by_id: BTreeMap<Id, Vec<Fact>> = BTreeMap::new();
    for (fed, count) in &all {
        if let Fed::Fact(id, fact) = fed {
            by_id.entry(*id).or_default().extend(std::iter::repeat_n(*fact, *count as usize));
        }
    }
    let mut facts: BTreeMap<Result<Place<Id>, Id>, Vec<Fact>> = BTreeMap::new();
    for (id, of_id) in by_id {
        let somebody = places.get(&id).copied().ok_or(id);
        facts.entry(somebody).or_default().extend(that_count(of_id, tick, rules.forgetting.idle_us));
    }
    facts.retain(|_, facts| !facts.is_empty());
    let mut told = Snapshot::new();
    for (somebody, facts) in facts {
        let owner = somebody.map_or_else(|id| id, |(owner, _)| owner);
        let mut greatest: Vec<u8> = facts.iter().map(|(value, _)| *value).collect();
        greatest.sort_by(|one, other| other.cmp(one));
        greatest.truncate(GREATEST);
        let sum = facts.iter().map(|(value, _)| u64::from(*value)).sum();
        let news = facts.iter().filter(|(_, at)| at + NEWS_US > tick).count();
        let said = [Said::Sum(sum), Said::Greatest(greatest)].into_iter();
        said.chain((news > 0).then_some(Said::News(news))).for_each(|said| add(&mut told, &(owner, said), &1));
    }
    told
}

/// Every tick at which something arrives, ceases to be news or may cease to count, and the one before.
fn ticks(input: &Updates<Fed>, last: Tick, rules: &Rules) -> BTreeSet<Tick> {
    let until = |at: Tick| at.saturating_add(rules.forgetting.idle_us);
    let each = input.iter().flat_map(|(fed, tick, _)| match fed {
        Fed::Fact(_, (_, at)) => {
            vec![*tick, at + NEWS_US - 1, at + NEWS_US, until(*at), until(*at).saturating_add(1)]
        }
        Fed::Place(..) => vec![*tick],
    });
    each.filter(|tick| *tick <= last).chain([last]).collect()
}
