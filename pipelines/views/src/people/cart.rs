//! A person's cart: a fold of cart events, in order, since the last purchase.
//!
//! Adding adds units and sets the price; removing stops at 0; a purchase empties it, on whatever
//! device. A *cart* begins with the event that puts something into an empty one, and is called by the
//! messageId of that event.
//!
//! Where nothing happens to a cart for `cart_idle`, a signal opens. It is cancelled by whatever
//! happens to the cart next; if nothing more happens after that, another one opens.
//!
//! **State bound**: the newest `max_cart_lines` lines of cart events after the purchase before the
//! last, so that it is known what became of the cart before this one; two purchases.

use etalage_model::{Event, EventKind, Micros, Sym};
use serde::{Deserialize, Serialize};

use super::Limit;

/// Place of a line among others: timestamp, messageId, place in its message.
type Order = (u64, Box<str>, u32);

/// A line of a cart event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Change {
    order: Order,
    item: Sym,
    variant: Option<Sym>,
    /// Units put in, or taken out where it is negative.
    units: i64,
    price_micros: i64,
}

/// Cart events and purchases of a person.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cart {
    changes: Vec<Change>,
    /// The last two purchases, the later first.
    purchases: Vec<Order>,
}

/// A line of a cart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Line {
    /// The item.
    pub item: Sym,
    /// Its variant, where it was said.
    pub variant: Option<Sym>,
    /// Units; at least 1.
    pub units: i64,
    /// The price of one, as last put in.
    pub price_micros: i64,
}

/// What is in a cart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The messageId that it began with.
    pub id: Box<str>,
    /// Lines by item and variant; empty where there is no cart.
    pub lines: Vec<Line>,
    /// When something last happened to it, and the messageId of that.
    pub last: (Micros, Box<str>),
}

/// Why a signal was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was bought.
    Purchase,
    /// Everything was taken out.
    Emptied,
    /// Something else happened to the cart.
    Activity,
    /// Nothing in it can be sold any more.
    SoldOut,
}

/// A cart to which nothing has happened for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// What is in it, and what happened last.
    pub cart: Content,
    /// When its signal opens.
    pub opens: Micros,
    /// When and why it was cancelled.
    pub cancelled: Option<(Micros, Reason)>,
}

/// What the events come to.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    /// The cart as it is.
    pub cart: Content,
    /// The last idle time of each of the last two carts, as far as it has begun or may begin; and of the
    /// present one also the one before it, which was cancelled.
    pub idle: Vec<Idle>,
}

/// What happens in the fold.
enum Step<'a> {
    Change(&'a Change),
    Purchase(&'a Order),
}

impl Cart {
    /// Takes in a cart event or a purchase.
    pub fn absorb(&mut self, event: &Event, max_lines: usize) {
        let order = |line: usize| (event.timestamp.0, event.message_id.as_str().into(), line as u32);
        if event.kind == EventKind::Purchase {
            self.purchase(order(0));
            return;
        }
        let sign = if event.kind == EventKind::AddToCart { 1 } else { -1 };
        for (line, item) in event.items.iter().enumerate() {
            let (units, price_micros) = (sign * item.quantity, item.price_micros);
            let (item, variant) = (item.item_id, item.variant);
            self.change(Change { order: order(line), item, variant, units, price_micros }, max_lines);
        }
    }

    /// Takes in all that `other` knows.
    pub fn merge(&mut self, other: &Cart, max_lines: usize) {
        other.purchases.iter().for_each(|order| self.purchase(order.clone()));
        other.changes.iter().for_each(|change| self.change(change.clone(), max_lines));
    }

    fn purchase(&mut self, order: Order) {
        let place = self.purchases.partition_point(|other| *other > order);
        if self.purchases.get(place) != Some(&order) {
            self.purchases.insert(place, order);
            self.purchases.truncate(2);
        }
        if let Some(before) = self.purchases.get(1) {
            let old = self.changes.partition_point(|change| change.order <= *before);
            self.changes.drain(..old);
        }
    }

    fn change(&mut self, change: Change, max_lines: usize) {
        if self.purchases.get(1).is_some_and(|before| change.order <= *before) {
            return;
        }
        let place = self.changes.partition_point(|other| other.order < change.order);
        if self.changes.len() == max_lines {
            Limit::CartLines.hit();
            if place == 0 {
                return;
            }
            self.changes.remove(0);
            self.changes.insert(place - 1, change);
        } else {
            self.changes.insert(place, change);
        }
    }

    /// What the events come to.
    pub fn fold(&self, idle_us: u64) -> Folded {
        let mut steps: Vec<Step<'_>> = self.changes.iter().map(Step::Change).collect();
        for purchase in &self.purchases {
            let place = steps.partition_point(|step| step.order() < purchase);
            steps.insert(place, Step::Purchase(purchase));
        }
        fold(&steps, idle_us)
    }
}

impl Step<'_> {
    fn order(&self) -> &Order {
        match self {
            Step::Change(change) => &change.order,
            Step::Purchase(order) => order,
        }
    }
}

/// The fold itself, which is also the definition.
fn fold(steps: &[Step<'_>], idle_us: u64) -> Folded {
    let mut folded = Folded::default();
    // What last happened to the cart, if there is one.
    let mut last: Option<&Order> = None;
    for step in steps {
        let at = Micros(step.order().0);
        let opened = last.map(|last| (last, Micros(last.0).plus(idle_us))).filter(|(_, opens)| *opens <= at);
        let was_idle = opened.map(|(last, opens)| (folded.cart.clone().since(last), opens));
        match step {
            Step::Change(change) => put(&mut folded.cart, change),
            Step::Purchase(_) => folded.cart.lines.clear(),
        }
        if let Some((cart, opens)) = was_idle {
            let reason = match step {
                Step::Purchase(_) => Reason::Purchase,
                Step::Change(_) if folded.cart.lines.is_empty() => Reason::Emptied,
                Step::Change(_) => Reason::Activity,
            };
            folded.idle.retain(|idle| idle.cart.id != cart.id);
            folded.idle.push(Idle { cart, opens, cancelled: Some((at, reason)) });
        }
        last = (!folded.cart.lines.is_empty()).then_some(step.order());
    }
    match last {
        Some(last) => folded.cart = folded.cart.since(last),
        None => folded.cart = Content::default(),
    }
    // Of earlier carts only the last one's end is told.
    let present = &folded.cart.id;
    let earlier = folded.idle.iter().rev().find(|idle| idle.cart.id != *present).map(|idle| idle.cart.id.clone());
    folded.idle.retain(|idle| idle.cart.id == *present || Some(&idle.cart.id) == earlier.as_ref());
    if last.is_some() {
        let opens = folded.cart.last.0.plus(idle_us);
        folded.idle.push(Idle { cart: folded.cart.clone(), opens, cancelled: None });
    }
    folded
}

impl Content {
    /// The same, `last` being what last happened to it.
    fn since(self, last: &Order) -> Content {
        Content { last: (Micros(last.0), last.1.clone()), ..self }
    }
}

/// Puts a line into a cart, or takes it out.
fn put(cart: &mut Content, change: &Change) {
    let key = (change.item, change.variant);
    match cart.lines.binary_search_by_key(&key, |line| (line.item, line.variant)) {
        Ok(place) => {
            let line = &mut cart.lines[place];
            line.units = line.units.saturating_add(change.units);
            if change.units > 0 {
                line.price_micros = change.price_micros;
            } else if line.units <= 0 {
                cart.lines.remove(place);
            }
        }
        Err(place) if change.units > 0 => {
            if cart.lines.is_empty() {
                cart.id = change.order.1.clone();
            }
            let (item, variant, price_micros) = (change.item, change.variant, change.price_micros);
            cart.lines.insert(place, Line { item, variant, units: change.units, price_micros });
        }
        Err(_) => {}
    }
}

/// What all events of a person come to, plainly: in order, without what is beyond the limit.
pub fn plain_fold(events: &[&Event], max_lines: usize, idle_us: u64) -> Folded {
    let mut sorted: Vec<&Event> = events.to_vec();
    sorted.sort_by_key(|event| (event.timestamp, &event.message_id));
    let purchases: Vec<&Event> = sorted.iter().copied().filter(|event| event.kind == EventKind::Purchase).collect();
    let before = purchases.len().checked_sub(2).map(|at| (purchases[at].timestamp, &purchases[at].message_id));
    let mut changes = Vec::new();
    for event in sorted.iter().filter(|event| matches!(event.kind, EventKind::AddToCart | EventKind::RemoveFromCart)) {
        if before.is_some_and(|before| (event.timestamp, &event.message_id) <= before) {
            continue;
        }
        let sign = if event.kind == EventKind::AddToCart { 1 } else { -1 };
        changes.extend(event.items.iter().enumerate().map(|(line, item)| Change {
            order: (event.timestamp.0, event.message_id.as_str().into(), line as u32),
            item: item.item_id,
            variant: item.variant,
            units: sign * item.quantity,
            price_micros: item.price_micros,
        }));
    }
    changes.drain(..changes.len().saturating_sub(max_lines));
    let last = purchases.iter().rev().take(2).map(|event| (event.timestamp.0, event.message_id.as_str().into(), 0));
    let purchases: Vec<Order> = last.collect();
    let mut steps: Vec<Step<'_>> =
        changes.iter().map(Step::Change).chain(purchases.iter().map(Step::Purchase)).collect();
    steps.sort_by(|one, other| one.order().cmp(other.order()));
    fold(&steps, idle_us)
}
