//! `signal.cart_abandoned`: a cart to which nothing has happened for `cart_idle`.
//!
//! - **Input** carts (see [`crate::people::cart`]), stock.
//! - **Output** (profile, cart) → the signal: its id, state, what opened it, and lines that can be sold.
//!   `open` from the instant at which the cart was idle for long enough; `cancelled` by whatever happens
//!   to the cart next: a purchase on any device, its being emptied, another line. A line that sells out
//!   leaves, and where none is left the signal is cancelled; a restock brings both back.
//! - **Time**: signals open on logical time, in a replay at the same ticks as live.
//! - **State bound**: the signals of the present cart and of the one before it, per profile.
//!
//! ```text
//!   carts ──> signals ──timers──> live ──┬──────────────────────> by cart ──> seal
//!                                        └─ items ──join stock ──────^
//! ```

use std::{collections::BTreeMap, sync::Arc};

use etalage_model::{Group, Key, Micros, Name, Sym, Tick, Value, Written, hash::hash128};
use etalage_operators::{Collection, inflow::Inflow, reduce::ReduceSmall, seal::seal_differences, timers::Timers};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::State;
use crate::{
    View,
    options::UnknownStock,
    oracle::{History, json},
    parts::Parts,
    people::{
        cart::{Folded, Line, Reason, plain_fold},
        instant, plain,
        rows::{IDLE, Row as Told},
    },
    profile::cart::{Entry, worth},
    row_schema,
    sealed::{Published, Sealable},
    sellable::plain_stock,
};

/// The view's name.
pub const NAME: &str = "signal.cart_abandoned";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: &["profile_id", "cart_id"],
    about: "a cart to which nothing has happened for a while, and what took the signal back",
    has_window_start: false,
    causes: crate::profile::cart::VIEW.causes,
    schema: || row_schema::<Row>(),
    read: Written::text,
    build,
    oracle,
};

/// A row as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
pub struct Row {
    /// The same as long as the signal is the same, whatever the profile is called.
    signal_id: String,
    state: State,
    /// Why it was cancelled.
    reason: Option<Reason>,
    #[serde(with = "instant")]
    #[schemars(with = "String")]
    opened_at: Micros,
    #[serde(with = "instant::maybe")]
    #[schemars(with = "Option<String>")]
    cancelled_at: Option<Micros>,
    /// The messageId after which nothing happened.
    cause: String,
    /// What can be sold of the cart; empty once cancelled.
    lines: Vec<Entry>,
    value_micros: i64,
}

/// A signal of a cart, and when it holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Signal {
    /// The cart.
    cart: Name,
    /// From when on there is a row.
    opens: Micros,
    /// From when on another signal of the cart stands in its place.
    until: Option<Micros>,
    cancelled: Option<(Micros, Reason)>,
    cause: Box<str>,
    lines: Vec<Line>,
}

/// The signals of somebody's carts.
pub fn signals(folded: &Folded) -> Vec<Signal> {
    let signal = |(at, idle): (usize, &crate::people::cart::Idle)| {
        let later = folded.idle[at + 1..].iter().find(|later| later.cart.id == idle.cart.id);
        Signal {
            cart: (&*idle.cart.id).into(),
            opens: idle.opens,
            until: later.map(|later| later.opens),
            cancelled: idle.cancelled,
            cause: idle.cart.last.1.clone(),
            lines: idle.cart.lines.clone(),
        }
    };
    folded.idle.iter().enumerate().map(signal).collect()
}

impl Signal {
    /// The row, given what can be sold.
    fn row(&self, is_sellable: impl Fn(Sym) -> bool) -> Row {
        let lines = || self.lines.iter().filter(|line| self.cancelled.is_none() && is_sellable(line.item));
        let is_sold_out = self.cancelled.is_none() && lines().next().is_none();
        let reason = self.cancelled.map(|(_, reason)| reason).or(is_sold_out.then_some(Reason::SoldOut));
        Row {
            signal_id: format!("{:032x}", hash128(format!("cart_abandoned/{}", self.cause).as_bytes())),
            state: if reason.is_some() { State::Cancelled } else { State::Open },
            reason,
            opened_at: self.opens,
            cancelled_at: self.cancelled.map(|(at, _)| at),
            cause: self.cause.to_string(),
            lines: lines().map(Entry::of).collect(),
            value_micros: worth(lines()).1,
        }
    }
}

/// What decides about a cart's row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Fact {
    Stock(Sym, bool),
    Signal(Arc<Signal>),
}

/// A profile and its cart.
type Cart = (Name, Name);

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let told = parts.people().rows(IDLE).flat_map(|row| match row {
        Told::Idle(profile, signal) => Some((profile, signal)),
        _ => None,
    });
    let live = live(parts, told);
    let wanted = live.clone().filter(|(_, signal)| signal.cancelled.is_none()).flat_map(|(cart, signal)| {
        let mut items: Vec<Sym> = signal.lines.iter().map(|line| line.item).collect();
        items.dedup();
        items.into_iter().map(move |item| (item, cart.clone()))
    });
    let stock = parts.stock().map(|(item, stock)| (item, stock.sellable)).arrange_by_key_named("Stock for carts");
    let stocked = wanted
        .arrange_by_key_named("Idle carts by item")
        .join_core(stock, |item, cart, sellable| Some((cart.clone(), (*item, *sellable))));
    let facts = Inflow::of(live, |(cart, signal), diff| ((cart.clone(), Fact::Signal(Arc::clone(signal))), *diff)).and(
        Inflow::of(stocked, |(cart, (item, sellable)), diff| ((cart.clone(), Fact::Stock(*item, *sellable)), *diff)),
    );
    let unknown = parts.options.unknown_stock == UnknownStock::Sellable;
    let row = move |_: &Cart, facts: &[(Fact, isize)], out: &mut Vec<Arc<Row>>| {
        let is_sellable = |wanted: Sym| {
            let known = facts.iter().find_map(|(fact, _)| match fact {
                Fact::Stock(item, sellable) if *item == wanted => Some(*sellable),
                _ => None,
            });
            known.unwrap_or(unknown)
        };
        let signal = facts.iter().find_map(|(fact, _)| match fact {
            Fact::Signal(signal) => Some(signal),
            Fact::Stock(..) => None,
        });
        out.extend(signal.map(|signal| Arc::new(signal.row(is_sellable))));
    };
    let rows = facts.reduce_small(parts.wiring("Signals by cart"), |(profile, _)| profile.clone(), row);
    let publish =
        |(profile, cart): Cart, row: Option<Arc<Row>>| (Key::of_names(&[profile, cart]), row.map(|row| row as Value));
    let sealing = seal_differences(rows, NAME, |(profile, _): &Cart| profile.clone());
    Published::rows(sealing, publish)
}

/// The signals that hold now.
fn live<'scope>(
    parts: &Parts<'scope>,
    told: Collection<'scope, (Name, Arc<Signal>)>,
) -> Collection<'scope, (Cart, Arc<Signal>)> {
    type Timer = ((Cart, Arc<Signal>), Tick);
    let timer = |(profile, signal): (Name, Arc<Signal>), at: Micros| -> Timer {
        (((profile, signal.cart.clone()), signal), at.0)
    };
    let route = |((profile, _), _): &(Cart, Arc<Signal>)| profile.clone();
    let begins = told.clone().map(move |(profile, signal)| {
        let opens = signal.opens;
        timer((profile, signal), opens)
    });
    let ends = told.flat_map(move |(profile, signal)| {
        let until = signal.until?;
        Some(timer((profile, signal), until))
    });
    let begun = begins.timers(parts.wiring("Signals open"), route);
    let ended = ends.timers(parts.wiring("Signals give way"), route);
    begun.concat(ended.negate())
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let options = history.options;
    let stock = plain_stock(history);
    let unknown = options.unknown_stock == UnknownStock::Sellable;
    let is_sellable = |item: Sym| stock.get(&item).map_or(unknown, |(whole, _)| whole.sellable);
    let mut rows = BTreeMap::new();
    for (owner, events) in plain::profiles(history) {
        let folded = plain_fold(&events, options.people.max_cart_lines, options.people.cart_idle_us);
        for signal in signals(&folded) {
            let is_live = signal.opens.0 <= history.tick && signal.until.is_none_or(|until| until.0 > history.tick);
            if is_live {
                let key = Key::of_names(&[owner.profile_id(), signal.cart.clone()]);
                rows.insert(key, json(&signal.row(is_sellable)));
            }
        }
    }
    rows
}
