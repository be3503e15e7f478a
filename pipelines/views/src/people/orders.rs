//! What a person has bought and returned: by order, by item, and in all.
//!
//! A purchase belongs to its transaction, however many messages carry one; a refund that names its
//! transaction makes that order less. Gross sums stay.
//!
//! **State bound**: a row per order, and one per item and order.

use std::collections::BTreeMap;

use etalage_model::{Event, EventKind, Item, Micros, Sym};
use serde::{Deserialize, Serialize};

use super::small_map::SmallMap;
use crate::lines::{Transaction, transaction};

/// What was bought or returned, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Lines.
    pub lines: i64,
    /// Units.
    pub units: i64,
    /// Price times units.
    pub micros: i128,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.lines += other.lines;
        self.units += other.units;
        self.micros += other.micros;
    }

    fn of(item: &Item) -> Sums {
        Sums { lines: 1, units: item.quantity, micros: item.amount_micros() }
    }
}

/// An order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    /// What it is called: its transaction, or its only message.
    pub name: Box<str>,
    /// When its first message was dated, and its last.
    pub dated: Option<(Micros, Micros)>,
    /// What was bought.
    pub bought: Sums,
    /// What was returned of it.
    pub refunded: Sums,
}

impl Order {
    /// True where something was bought that was not returned.
    pub fn stands(&self) -> bool {
        self.bought.lines > 0 && self.bought.units > self.refunded.units
    }
}

/// What is known of an item in an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// When it was last bought.
    pub at: Option<Micros>,
    /// Units bought.
    pub units: i64,
    /// Units returned.
    pub refunded: i64,
}

impl Owned {
    /// True where more was bought than returned.
    fn stands(&self) -> bool {
        self.units > self.refunded
    }
}

/// What is known of an item.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OfItem {
    orders: SmallMap<Transaction, Owned>,
    is_bought: bool,
    /// The latest purchase that stands.
    since: Option<Micros>,
}

impl OfItem {
    /// Adds to what is known of the item in an order; true where it is bought for the first time.
    fn add(&mut self, id: Transaction, more: &Owned) -> bool {
        let in_order = self.orders.entry(id);
        let before = (in_order.stands(), in_order.at);
        in_order.at = in_order.at.max(more.at);
        in_order.units += more.units;
        in_order.refunded += more.refunded;
        if in_order.stands() {
            self.since = self.since.max(in_order.at);
        } else if before.0 && before.1 == self.since {
            // Only the return of the latest purchase makes it necessary to look at all of them.
            let standing = self.orders.iter().filter(|(_, owned)| owned.stands());
            self.since = standing.filter_map(|(_, owned)| owned.at).max();
        }
        more.units > 0 && !std::mem::replace(&mut self.is_bought, true)
    }
}

/// All orders of a person.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Orders {
    /// By transaction.
    pub orders: SmallMap<Transaction, Order>,
    /// By item.
    pub items: SmallMap<Sym, OfItem>,
    /// Bought in all.
    pub bought: Sums,
    /// Returned in all, of whatever order.
    pub refunded: Sums,
    /// Orders with lines.
    pub count: i64,
    /// Orders of which something stands.
    pub standing: i64,
    /// Items with lines.
    pub distinct_items: i64,
    /// When the first and the last purchase were dated.
    pub dated: Option<(Micros, Micros)>,
    /// The newest orders, the newest first, as many as are published.
    newest: Vec<(Micros, Transaction)>,
}

/// From when to when two spans reach.
fn join(one: Option<(Micros, Micros)>, other: Option<(Micros, Micros)>) -> Option<(Micros, Micros)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    }
}

impl Orders {
    /// Takes in a purchase or a refund; `touch` is called for each item before it changes.
    pub fn absorb(&mut self, event: &Event, newest: usize, mut touch: impl FnMut(&Self, Sym)) {
        let is_purchase = event.kind == EventKind::Purchase;
        if !is_purchase {
            event.items.iter().for_each(|item| self.refunded.add(&Sums::of(item)));
            if event.transaction_id.is_none() {
                return;
            }
        }
        let id = transaction(event);
        let name = event.transaction_id.as_deref().unwrap_or(&event.message_id);
        let mut more = Order { name: name.into(), ..Order::default() };
        for item in &event.items {
            touch(self, item.item_id);
            let owned = if is_purchase {
                more.bought.add(&Sums::of(item));
                Owned { at: Some(event.timestamp), units: item.quantity, refunded: 0 }
            } else {
                more.refunded.add(&Sums::of(item));
                Owned { at: None, units: 0, refunded: item.quantity }
            };
            let is_new = self.items.entry(item.item_id).add(id, &owned);
            self.distinct_items += i64::from(is_new);
        }
        if is_purchase {
            self.bought.add(&more.bought);
            if more.bought.lines > 0 {
                more.dated = Some((event.timestamp, event.timestamp));
            }
        }
        self.add(id, &more, newest);
    }

    /// Takes in a part of an order.
    fn add(&mut self, id: Transaction, more: &Order, newest: usize) {
        let order = self.orders.entry(id);
        let before = (order.bought.lines > 0, order.stands(), order.dated);
        if order.name.is_empty() {
            order.name = more.name.clone();
        }
        order.bought.add(&more.bought);
        order.refunded.add(&more.refunded);
        order.dated = join(order.dated, more.dated);
        self.count += i64::from(order.bought.lines > 0) - i64::from(before.0);
        self.standing += i64::from(order.stands()) - i64::from(before.1);
        self.dated = join(self.dated, more.dated);
        if let Some((_, at)) = order.dated {
            let place = (at, id);
            // An order only ever becomes newer, so none that was left out can come back by itself.
            self.newest.retain(|(_, other)| *other != id);
            let place_in = self.newest.partition_point(|other| *other > place);
            self.newest.insert(place_in, place);
            self.newest.truncate(newest);
        }
    }

    /// Takes in all that `other` knows.
    pub fn merge(&mut self, other: &Orders, newest: usize) {
        for (item, orders) in other.items.iter() {
            let of_item = self.items.entry(*item);
            for (id, more) in orders.orders.iter() {
                self.distinct_items += i64::from(of_item.add(*id, more));
            }
        }
        self.bought.add(&other.bought);
        self.refunded.add(&other.refunded);
        other.orders.iter().for_each(|(id, order)| self.add(*id, order, newest));
    }

    /// The newest orders, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Order> {
        self.newest.iter().filter_map(|(_, id)| self.orders.get(id))
    }

    /// When an item was last bought that was not returned.
    pub fn owned_since(&self, item: &Sym) -> Option<Micros> {
        self.items.get(item)?.since
    }
}

/// All orders of a person's events, plainly: by transaction text.
pub fn plain_orders<'a>(events: &[&'a Event]) -> BTreeMap<&'a str, PlainOrder<'a>> {
    let mut orders: BTreeMap<&str, PlainOrder<'_>> = BTreeMap::new();
    for event in events {
        match (event.kind, event.transaction_id.as_deref()) {
            (EventKind::Purchase, id) => orders.entry(id.unwrap_or(&event.message_id)).or_default().bought.push(event),
            (EventKind::Refund, Some(id)) => orders.entry(id).or_default().refunded.push(event),
            _ => {}
        }
    }
    orders
}

/// The messages of an order.
#[derive(Default)]
pub struct PlainOrder<'a> {
    /// Purchases.
    pub bought: Vec<&'a Event>,
    /// Refunds.
    pub refunded: Vec<&'a Event>,
}

impl PlainOrder<'_> {
    /// Units of `item`, or of all, that were bought, less those returned.
    pub fn net_units(&self, item: Option<Sym>) -> i64 {
        let units = |events: &[&Event]| {
            let items = events.iter().flat_map(|event| &event.items);
            items.filter(|line| item.is_none_or(|item| line.item_id == item)).map(|line| line.quantity).sum::<i64>()
        };
        units(&self.bought) - units(&self.refunded)
    }

    /// Whether there are lines in it of which something stands.
    pub fn stands(&self) -> bool {
        self.bought.iter().any(|event| !event.items.is_empty()) && self.net_units(None) > 0
    }
}
