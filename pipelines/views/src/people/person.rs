//! All that is known of one person: a summary made of several, and what it tells.

use std::sync::Arc;

use etalage_model::{Event, EventKind, Micros, Name, ScoreWeights, Sym, Tick, hash::hash64, hash::hash128};
use etalage_operators::stitch::{Forgetting, Summary, Told};
use serde::{Deserialize, Serialize};

use super::{
    Identifier, PeopleOptions, Seen,
    activity::{Activity, Pace},
    affinity::Weights,
    cart::{Cart, Folded},
    cells::Cells,
    orders::Orders,
    recent::Recent,
    rows::{FEATURES, Feature, Profiled, Row},
};
use crate::{
    ShopOptions,
    lines::{self, Cell},
    profile::{activity, affinity, cart, customer_status, purchases, recent_views, snapshot, value},
    scope::Scopes,
    signal::cart_abandoned::{self, Signal},
};

/// What all summaries go by.
pub struct Rules {
    /// The configuration of people.
    pub people: PeopleOptions,
    /// Windows and sessions.
    pub pace: Pace,
    /// The labels of the windows.
    pub labels: Vec<Sym>,
    /// What an event is worth.
    pub weights: ScoreWeights,
    scopes: Scopes,
    /// How long distinct people are counted.
    horizon_us: u64,
    /// Whether somebody wants to know who looked, and who bought.
    counts: (bool, bool),
}

impl Rules {
    /// The rules that a configuration makes.
    pub fn new(options: &ShopOptions) -> Rules {
        let windows = options.expiry(options.phase);
        Rules {
            people: options.people.clone(),
            horizon_us: windows.horizon_us(),
            pace: Pace { windows, phase: options.phase, session_idle_us: options.people.session_idle_us },
            labels: options.windows.iter().map(|window| window.label).collect(),
            weights: options.weights,
            scopes: options.scopes.clone(),
            counts: (
                options.is_on(crate::distinct::item_viewers::NAME),
                options.is_on(crate::distinct::item_buyers::NAME) || options.is_on(crate::distinct::scope_buyers::NAME),
            ),
        }
    }
}

/// The summary of a person.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Person {
    /// What was bought and returned. Most visitors buy nothing: what they do not have is absent.
    pub orders: Option<Box<Orders>>,
    /// What was looked at.
    pub recent: Recent,
    /// Views, searches, sessions.
    pub activity: Activity,
    /// Categories.
    pub categories: Weights,
    /// Brands.
    pub brands: Weights,
    /// Carts.
    pub cart: Option<Box<Cart>>,
    looked: Cells,
    bought: Option<Box<Cells>>,
    /// What may have changed since something was told: a bit per feature.
    #[serde(skip)]
    changed: u16,
    #[serde(skip)]
    told: Told<Box<Telling>>,
}

/// What a person has told.
#[derive(Debug)]
struct Telling {
    profile: Name,
    features: [Option<Profiled>; FEATURES],
    idle: Vec<Arc<Signal>>,
    /// What was told of items that have changed since.
    owned: Vec<(Sym, Option<Micros>)>,
    /// When affinities change by time alone.
    affinity_due: Option<Tick>,
}

fn bit(feature: Feature) -> u16 {
    1 << feature as u16
}

impl Person {
    fn take_purchase(&mut self, event: &Event, rules: &Rules) {
        let told = &mut self.told.0;
        self.orders.get_or_insert_default().absorb(event, rules.people.purchases, |orders, item| {
            if let Some(told) = told {
                told.owned.push((item, orders.owned_since(&item)));
            }
        });
        self.changed |= bit(Feature::Value) | bit(Feature::Purchases) | bit(Feature::CustomerStatus);
        if event.kind == EventKind::Purchase {
            self.cart.get_or_insert_default().absorb(event, rules.people.max_cart_lines);
            self.changed |= bit(Feature::Cart);
        }
    }

    fn weigh(&mut self, event: &Event, rules: &Rules) {
        for item in &event.items {
            let weight = affinity::weight(event.kind, &rules.weights);
            let (at, half_life_us) = (event.timestamp.0, rules.people.affinity_half_life_us);
            for (label, weights) in [(item.category, &mut self.categories), (item.brand, &mut self.brands)] {
                if let Some(label) = label.filter(|_| weight != 0) {
                    weights.take(label, at, weight, half_life_us);
                    self.changed |= bit(Feature::Affinity);
                }
            }
        }
    }

    fn count(&mut self, event: &Event, rules: &Rules) {
        let cells = match event.kind {
            EventKind::ViewItem if rules.counts.0 => &mut self.looked,
            EventKind::Purchase if rules.counts.1 => &mut **self.bought.get_or_insert_default(),
            _ => return,
        };
        let mut parts = Vec::new();
        rules.scopes.event_parts(event, &mut parts);
        for item in &event.items {
            for part in &parts {
                cells.take(Cell { item: item.item_id, part: *part }, event.timestamp.0, rules.horizon_us);
            }
        }
    }

    /// The row of a feature, as of `tick`; `folded` is what the cart comes to.
    fn row(&mut self, feature: Feature, folded: Option<&Folded>, tick: Tick, rules: &Rules) -> Option<Profiled> {
        let told = self.told.0.as_mut()?;
        Some(match feature {
            Feature::Value => Profiled::Value(Arc::new(value::row(self.orders.as_deref()?)?)),
            Feature::Purchases => Profiled::Purchases(Arc::new(purchases::row(self.orders.as_deref()?)?)),
            Feature::RecentViews => Profiled::RecentViews(Arc::new(recent_views::row(&self.recent)?)),
            Feature::CustomerStatus => {
                Profiled::CustomerStatus(customer_status::row(self.orders.as_ref().map_or(0, |orders| orders.standing)))
            }
            Feature::Cart => Profiled::Cart(Arc::new(cart::row(folded?.cart.clone())?)),
            Feature::Activity => {
                let phase_us = rules.pace.phase_us(hash64(told.profile.as_bytes()));
                let counts = self.activity.look(phase_us, tick, &rules.pace);
                Profiled::Activity(Arc::new(activity::row(counts, &rules.labels)?))
            }
            Feature::Affinity => {
                let (people, half_life_us) = (&rules.people, rules.people.affinity_half_life_us);
                let (categories, one) = self.categories.top(people.affinity, tick, half_life_us);
                let (brands, other) = self.brands.top(people.affinity, tick, half_life_us);
                told.affinity_due = one.into_iter().chain(other).min();
                Profiled::Affinity(Arc::new(affinity::row(categories, brands)?))
            }
            Feature::Snapshot => Profiled::Snapshot(Arc::new(snapshot::row(&told.features)?)),
        })
    }

    fn settle_features(
        &mut self,
        folded: Option<&Folded>,
        tick: Tick,
        rules: &Rules,
        tell: &mut dyn FnMut(Row, isize),
    ) {
        let mut is_news = false;
        for feature in Feature::ALL {
            if feature == Feature::Snapshot && !is_news
                || feature != Feature::Snapshot && self.changed & bit(feature) == 0
            {
                continue;
            }
            let row = self.row(feature, folded, tick, rules);
            let Some(told) = self.told.0.as_mut() else { return };
            let before = &mut told.features[feature as usize];
            if *before == row {
                continue;
            }
            is_news = true;
            let profile = &told.profile;
            before.take().into_iter().for_each(|row| tell(Row::Profiled(profile.clone(), row), -1));
            row.iter().for_each(|row| tell(Row::Profiled(profile.clone(), row.clone()), 1));
            *before = row;
        }
    }

    fn settle_idle(&mut self, folded: &Folded, tell: &mut dyn FnMut(Row, isize)) {
        let Some(told) = self.told.0.as_mut() else { return };
        let idle: Vec<Arc<Signal>> = cart_abandoned::signals(folded).into_iter().map(Arc::new).collect();
        if idle != told.idle {
            let profile = &told.profile;
            told.idle.drain(..).for_each(|signal| tell(Row::Idle(profile.clone(), signal), -1));
            idle.iter().for_each(|signal| tell(Row::Idle(profile.clone(), Arc::clone(signal)), 1));
            told.idle = idle;
        }
    }

    fn settle_owned(&mut self, tell: &mut dyn FnMut(Row, isize)) {
        let Some(told) = self.told.0.as_mut() else { return };
        // Of several changes of an item the first knows what was told.
        let mut owned = std::mem::take(&mut told.owned);
        owned.sort_by_key(|(item, _)| *item);
        owned.dedup_by_key(|(item, _)| *item);
        for (item, before) in owned {
            let after = self.orders.as_ref().and_then(|orders| orders.owned_since(&item));
            if before != after {
                before.into_iter().for_each(|at| tell(Row::Owned(told.profile.clone(), item, at), -1));
                after.into_iter().for_each(|at| tell(Row::Owned(told.profile.clone(), item, at), 1));
            }
        }
    }

    /// What is owned, and since when.
    fn owned(&self) -> impl Iterator<Item = (Sym, Micros)> {
        let items = self.orders.iter().flat_map(|orders| orders.items.iter().map(move |(item, _)| (orders, *item)));
        items.filter_map(|(orders, item)| Some((item, orders.owned_since(&item)?)))
    }

    /// Begins to tell: everything is news.
    fn begin(&mut self, owner: &Identifier, tell: &mut dyn FnMut(Row, isize)) {
        let profile = owner.profile_id();
        self.owned().for_each(|(item, at)| tell(Row::Owned(profile.clone(), item, at), 1));
        let (features, idle, owned) = (Default::default(), Vec::new(), Vec::new());
        self.told = Told(Some(Box::new(Telling { profile, features, idle, owned, affinity_due: None })));
        self.changed = u16::MAX;
    }
}

impl Feature {
    /// All of them; the one made of the others last.
    pub const ALL: [Feature; FEATURES] = [
        Feature::Value,
        Feature::Purchases,
        Feature::RecentViews,
        Feature::Affinity,
        Feature::CustomerStatus,
        Feature::Activity,
        Feature::Cart,
        Feature::Snapshot,
    ];
}

impl Summary<Identifier> for Person {
    type Fact = Seen;
    type Row = Row;
    type Rules = Rules;

    fn forgetting(rules: &Rules) -> Forgetting {
        Forgetting { idle_us: rules.people.retention_us, late_us: rules.people.late_us }
    }

    fn at_us(seen: &Seen) -> u64 {
        seen.event().timestamp.0
    }

    fn absorb(&mut self, seen: &Seen, rules: &Rules) {
        let event = seen.event();
        self.activity.absorb(event, &rules.pace);
        self.changed |= bit(Feature::Activity);
        match event.kind {
            EventKind::Purchase | EventKind::Refund => self.take_purchase(event, rules),
            EventKind::ViewItem => {
                self.recent.absorb(event, rules.people.recent_views);
                self.changed |= bit(Feature::RecentViews);
            }
            EventKind::AddToCart | EventKind::RemoveFromCart => {
                self.cart.get_or_insert_default().absorb(event, rules.people.max_cart_lines);
                self.changed |= bit(Feature::Cart);
            }
            _ => {}
        }
        if lines::counts(event.kind) {
            self.weigh(event, rules);
            self.count(event, rules);
        }
    }

    fn merge(&mut self, other: &Person, rules: &Rules) {
        let people = &rules.people;
        if let Some(orders) = &other.orders {
            self.orders.get_or_insert_default().merge(orders, people.purchases);
        }
        self.recent.merge(&other.recent, people.recent_views);
        self.activity.merge(&other.activity, &rules.pace);
        self.categories.merge(&other.categories);
        self.brands.merge(&other.brands);
        if let Some(cart) = &other.cart {
            self.cart.get_or_insert_default().merge(cart, people.max_cart_lines);
        }
        self.looked.merge(&other.looked, rules.horizon_us);
        if let Some(bought) = &other.bought {
            self.bought.get_or_insert_default().merge(bought, rules.horizon_us);
        }
    }

    fn settle(&mut self, owner: &Identifier, tick: Tick, rules: &Rules, tell: &mut dyn FnMut(Row, isize)) {
        match &self.told.0 {
            None => self.begin(owner, tell),
            Some(told) => {
                let is_due = |due: Option<Tick>| due.is_some_and(|due| due <= tick);
                self.changed |= if is_due(self.activity.due()) { bit(Feature::Activity) } else { 0 };
                self.changed |= if is_due(told.affinity_due) { bit(Feature::Affinity) } else { 0 };
            }
        }
        let changed_cart = self.cart.as_ref().filter(|_| self.changed & bit(Feature::Cart) != 0);
        let folded = changed_cart.map(|cart| cart.fold(rules.people.cart_idle_us));
        self.settle_features(folded.as_ref(), tick, rules, tell);
        folded.iter().for_each(|folded| self.settle_idle(folded, tell));
        self.settle_owned(tell);
        self.changed = 0;
        let buyer = self.told.0.as_ref().map_or(0, |told| hash128(told.profile.as_bytes()));
        self.looked.settle(|cell, at, diff| tell(Row::Looked(cell, at), diff));
        if let Some(bought) = &mut self.bought {
            bought.settle(|cell, at, diff| tell(Row::Bought(cell, buyer, at), diff));
        }
    }

    fn withdraw(&mut self, _owner: &Identifier, _rules: &Rules, tell: &mut dyn FnMut(Row, isize)) {
        self.settle_owned(tell);
        let Some(told) = self.told.0.take() else { return };
        let profile = &told.profile;
        told.features.into_iter().flatten().for_each(|row| tell(Row::Profiled(profile.clone(), row), -1));
        told.idle.into_iter().for_each(|signal| tell(Row::Idle(profile.clone(), signal), -1));
        self.owned().for_each(|(item, at)| tell(Row::Owned(profile.clone(), item, at), -1));
        let buyer = hash128(profile.as_bytes());
        self.looked.withdraw(|cell, at, diff| tell(Row::Looked(cell, at), diff));
        if let Some(bought) = &mut self.bought {
            bought.withdraw(|cell, at, diff| tell(Row::Bought(cell, buyer, at), diff));
        }
    }

    fn peek(&self) -> u64 {
        let told = self.told.0.as_ref().map_or(0, |told| told.owned.len());
        self.recent.items().next().map_or(0, |(_, at)| at.0) ^ told as u64
    }

    fn due(&self) -> Option<Tick> {
        let affinity = self.told.0.as_ref().and_then(|told| told.affinity_due);
        self.activity.due().into_iter().chain(affinity).min()
    }
}
