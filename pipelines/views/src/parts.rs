//! What several views are made from, each built when the first view asks for it.

use std::{
    cell::{OnceCell, RefCell},
    sync::Arc,
};

use differential_dataflow::{
    AsCollection, ExchangeData, VecCollection,
    difference::{Abelian, Semigroup},
};
use etalage_model::{Bundles, CatalogueEntry, Group, Key, Measures, Record, Sym, Tick, Value};
use etalage_operators::{
    Collection,
    decay::Decay,
    expire::{Expire, Windows},
    inflow::Inflow,
    lanes::Lanes,
    latest::Latest,
    seal::{Places, seal_placed},
    shell::{Steps, Wiring},
    top_k::Feed,
};
use timely::dataflow::{
    Scope, Stream,
    operators::{generic::operator, vec::Map},
};

use crate::{
    attributes,
    lines::{self, Cell, Transaction},
    measures::{Sum, Weighed},
    options::ShopOptions,
    people::People,
    scope::{Part, no_part},
    sealed::{self, Published, Sealable, Shown, Shows},
    sections::{self, Keeping, Sections},
    sellable::{self, ItemAt, Stock},
};

/// The dataflow's input: records that arrived together.
pub type Batch = Arc<Vec<Record>>;

/// Sums per cell, by window or half-life.
pub type InLanes<'scope, R> = Collection<'scope, Cell, Lanes<R>>;

/// What ranks items: scores by event part, places, stock.
pub(crate) type RankFeed = Feed<Sym, Part, Part, Option<i64>>;

/// So many distinct orders.
fn orders(count: isize) -> Measures {
    Measures { orders: count as i64, ..Default::default() }
}

/// The shared parts of a group's views in one dataflow.
pub struct Parts<'scope> {
    group: Group,
    /// The configuration.
    pub options: Arc<ShopOptions>,
    keeping: Keeping,
    sections: RefCell<Sections>,
    batches: Stream<'scope, Tick, Vec<(Batch, Tick, isize)>>,
    purchases: OnceCell<Collection<'scope, ((Cell, Transaction), u64)>>,
    orders: OnceCell<Collection<'scope, ((Cell, Transaction), u64)>>,
    windowed: OnceCell<InLanes<'scope, Sum>>,
    trends: OnceCell<InLanes<'scope, i64>>,
    catalogue: OnceCell<Collection<'scope, (Sym, CatalogueEntry)>>,
    places: OnceCell<Collection<'scope, (Sym, Part)>>,
    units: OnceCell<Collection<'scope, (ItemAt, i64)>>,
    stock: OnceCell<Collection<'scope, (Sym, Stock)>>,
    people: OnceCell<People<'scope>>,
}

impl<'scope> Parts<'scope> {
    /// The parts that can be made of `batches`, all as of the ends of the steps of `keeping`.
    pub(crate) fn new(
        group: Group,
        options: Arc<ShopOptions>,
        keeping: Keeping,
        batches: Stream<'scope, Tick, Vec<(Batch, Tick, isize)>>,
    ) -> Self {
        Parts {
            group,
            options,
            keeping,
            sections: RefCell::default(),
            batches,
            purchases: OnceCell::new(),
            orders: OnceCell::new(),
            windowed: OnceCell::new(),
            trends: OnceCell::new(),
            catalogue: OnceCell::new(),
            places: OnceCell::new(),
            units: OnceCell::new(),
            stock: OnceCell::new(),
            people: OnceCell::new(),
        }
    }

    /// The dataflow's scope.
    pub fn scope(&self) -> Scope<'scope, Tick> {
        self.batches.scope()
    }

    /// What arrives.
    pub fn batches(&self) -> Stream<'scope, Tick, Vec<(Batch, Tick, isize)>> {
        self.batches.clone()
    }

    /// The ticks at which this dataflow is looked at.
    pub fn steps(&self) -> Steps {
        self.keeping.steps.clone()
    }

    /// The sections of all parts that were built.
    pub(crate) fn into_sections(self) -> Sections {
        self.sections.into_inner()
    }

    /// People.
    ///
    /// # Panics
    /// In the `shop` group, which must not depend on who somebody is.
    pub fn people(&self) -> &People<'scope> {
        assert!(self.group == Group::Customer, "the shop's views know nobody");
        self.people.get_or_init(|| People::new(self))
    }

    /// The wiring of an operator whose state is made of what its inputs say now: it always starts empty.
    pub fn wiring<Row: ExchangeData>(&self, name: &'static str) -> Wiring<'scope, Row> {
        Wiring::fresh(name, self.scope()).in_steps(&self.keeping.steps)
    }

    /// The wiring of an operator that remembers what happened: its rows stand in snapshots, in a section of that
    /// name.
    pub fn kept<Row: ExchangeData>(&self, name: &'static str) -> Wiring<'scope, Row> {
        let (wiring, section) = sections::keep(name, self.scope(), &self.keeping);
        let mut sections = self.sections.borrow_mut();
        assert!(sections.iter().all(|other| other.name() != name), "two sections are called {name}");
        sections.push(section);
        wiring
    }

    /// What `of` finds in each batch, as a collection.
    pub fn found<D: Clone + 'static, R: Abelian + 'static>(
        &self,
        of: impl Fn(&[Record]) -> Vec<(D, R)> + 'static,
    ) -> VecCollection<'scope, Tick, D, R> {
        let steps = self.steps();
        let found = move |(batch, tick, diff): (Batch, Tick, isize)| {
            let end = steps.end_of(tick);
            of(&batch).into_iter().map(move |(data, mut found)| {
                if diff < 0 {
                    found.negate();
                }
                (data, end, found)
            })
        };
        self.batches.clone().flat_map(found).as_collection()
    }

    /// As [`Parts::found`], where each thing counts once.
    pub fn found_once<D: Clone + 'static>(&self, of: impl Fn(&[Record]) -> Vec<D> + 'static) -> Collection<'scope, D> {
        self.found(move |batch| of(batch).into_iter().map(|data| (data, 1)).collect())
    }

    /// Purchase lines: `((cell, transaction), at)`.
    pub fn purchases(&self) -> Collection<'scope, ((Cell, Transaction), u64)> {
        let build = || {
            let scopes = self.options.scopes.clone();
            self.found_once(move |batch| lines::purchases(batch, &scopes))
        };
        self.purchases.get_or_init(build).clone()
    }

    /// Each order of a cell at its latest time, for as long as a window or half-life counts it.
    fn orders(&self) -> Collection<'scope, ((Cell, Transaction), u64)> {
        let horizon_us = self.options.horizon_us();
        let build = || self.purchases().latest(horizon_us, self.kept("Orders by item"), |(cell, _)| cell.item);
        self.orders.get_or_init(build).clone()
    }

    /// What each line adds to its cells, but for distinct orders: `((cell, at), R)`.
    fn lines<R: Weighed>(&self) -> Collection<'scope, (Cell, u64), R> {
        let (scopes, weights) = (self.options.scopes.clone(), self.options.weights);
        self.found(move |batch| lines::lines(batch, &scopes, |measures| R::of(measures, &weights)))
    }

    /// What is counted per cell, distinct orders among it, each under the time at which it
    /// happened: `((cell, at), R)`.
    fn counted<R: Weighed>(&self) -> Inflow<'scope, (Cell, u64), R> {
        let weights = self.options.weights;
        let orders =
            Inflow::of(self.orders(), move |((cell, _), at), diff| ((*cell, *at), R::of(&orders(*diff), &weights)));
        orders.and(self.lines())
    }

    /// All measures per cell and window.
    pub fn windowed(&self) -> InLanes<'scope, Sum> {
        let build = || {
            let windows = self.options.expiry(self.options.phase);
            self.counted().expire(windows, self.kept("Windows by item"), |cell: &Cell| cell.item)
        };
        self.windowed.get_or_init(build).clone()
    }

    /// What each item's scores by part are made of, and the windows that are yet to hold it: the sums of all
    /// measures where another view keeps them anyway, else what happened, of which scores alone are kept.
    pub(crate) fn scores(&self) -> (Inflow<'scope, RankFeed, Lanes<i64>>, Option<Windows>) {
        let weights = self.options.weights;
        if self.options.is_on(crate::popularity::NAME) {
            let scores = Inflow::of(self.windowed(), move |cell, sums: &Lanes<Sum>| {
                (Feed::Score((*cell).into()), sums.map(|sum| weights.score(&sum.measures())))
            });
            return (scores, None);
        }
        let happened = |cell: &Cell, at: u64, score: i64| (Feed::Happened((*cell).into(), at), Lanes::one(0, score));
        let lines = Inflow::of(self.lines(), move |(cell, at), score: &i64| happened(cell, *at, *score));
        let orders =
            Inflow::of(self.orders(), move |((cell, _), at), diff| happened(cell, *at, weights.score(&orders(*diff))));
        (orders.and(lines), Some(self.options.expiry(self.options.phase)))
    }

    /// The rank of each cell's score by half-life: the difference is the rank.
    pub fn trends(&self) -> InLanes<'scope, i64> {
        let build = || self.counted().decay(self.options.decay(), self.kept("Trends by item"), |cell: &Cell| cell.item);
        self.trends.get_or_init(build).clone()
    }

    /// Seals what there is of each cell in all scopes of its item: keys are (scope, label, item).
    pub fn by_scope<R: ExchangeData + Semigroup + Sync>(
        &self,
        amounts: InLanes<'scope, R>,
        view: &str,
        shows: Shows<R>,
    ) -> Box<dyn Sealable<'scope> + 'scope> {
        let (options, scopes) = (Arc::clone(&self.options), self.options.scopes.clone());
        let Shows { labels, value, watch } = shows;
        let places = Places {
            everywhere: no_part(),
            is_place: Box::new(move |part: &Part, place: &Part| scopes.is_scope(part, place)),
            nothing: Arc::new(Shown::nothing(value)),
        };
        Published::of(seal_placed(amounts, self.places_in_scopes(), view, places), move |changes, batch| {
            changes.iter().for_each(|change| sealed::look_at_new(change, watch));
            let changes = changes.into_iter().map(|change| sealed::bundle(change, &options.scopes)).collect();
            batch.bundles = Bundles { labels: Arc::clone(&labels), changes };
        })
    }

    /// Seals what there is of each scope: keys are (scope, window).
    pub fn by_window<R: ExchangeData + Semigroup>(
        &self,
        amounts: Collection<'scope, Sym, Lanes<R>>,
        view: &str,
        value: impl Fn(&R) -> Value + 'static,
    ) -> Box<dyn Sealable<'scope> + 'scope> {
        let options = Arc::clone(&self.options);
        let places = Places { everywhere: (), is_place: Box::new(|(), ()| true), nothing: Arc::<Lanes<R>>::default() };
        let nowhere = operator::empty(self.scope()).as_collection();
        let sealing = seal_placed(amounts.map(|scope| (scope, ())), nowhere, view, places);
        Published::of(sealing, move |changes, batch| {
            for change in changes {
                let rows = change.changes().map(|((), window, amount)| {
                    (Key::new(&[change.member, options.label(window)]), amount.map(&value))
                });
                batch.upserts.extend(rows);
            }
        })
    }

    /// The places of items, if some scope has an item half.
    fn places_in_scopes(&self) -> Collection<'scope, (Sym, Part)> {
        if self.options.scopes.has_item_parts() { self.places() } else { operator::empty(self.scope()).as_collection() }
    }

    /// The catalogue entry in force of each item.
    pub fn catalogue(&self) -> Collection<'scope, (Sym, CatalogueEntry)> {
        let build = || attributes::catalogue(self);
        self.catalogue.get_or_init(build).clone()
    }

    /// The item parts of the scopes in which each item stands.
    pub fn places(&self) -> Collection<'scope, (Sym, Part)> {
        self.places.get_or_init(|| attributes::places(self)).clone()
    }

    /// Units by item and location.
    pub(crate) fn units(&self) -> Collection<'scope, (ItemAt, i64)> {
        self.units.get_or_init(|| sellable::units(self)).clone()
    }

    /// Stock and sellability of each item.
    pub fn stock(&self) -> Collection<'scope, (Sym, Stock)> {
        self.stock.get_or_init(|| sellable::stock(self)).clone()
    }
}
