//! `scope.totals`: what happened in a scope, per rolling window.
//!
//! - **Input** views, carts, purchases and refunds, by line.
//! - **Output** (scope, window) → measures, with distinct orders and distinct items sold.
//! - **Time**: buckets are aligned even where those of items are spread. There are few scopes, so
//!   that their expiring together costs little; and a category's lines must move to another
//!   category with their buckets, which have to mean the same there.
//! - **State bound**: per scope and bucket a row; per scope the transactions and items of the
//!   longest window; per item, event part and bucket a row where scopes have an item half.
//!
//! ```text
//!   events ──by event part──────────────────────────────┐
//!   lines by (item, bucket) ──join places──> by scope ──┼──> windows by scope ──> seal
//!   purchases ──────┬─join places──> (scope, transaction) ──latest──┤
//!                   └──────────────> (scope, item) ─────────latest──┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use differential_dataflow::{AsCollection, difference::Semigroup};
use etalage_model::{Group, Key, Measures, Sym, Value, Written};
use etalage_operators::{
    Collection,
    expire::{Expire, Phase, Windows},
    join_small::{JoinRow, join_small},
    latest::Latest,
    shell::Wiring,
    table::Mix,
};
use schemars::JsonSchema;
use serde::Serialize;
use timely::dataflow::operators::vec::Map;

use crate::{
    View,
    lines::Cell,
    measures::Sum,
    options::ShopOptions,
    oracle::{self, History, json},
    parts::Parts,
    row_schema,
    scope::{Part, no_part},
    sealed::Sealable,
};

/// The view's name.
pub const NAME: &str = "scope.totals";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Shop,
    key_fields: &["scope", "window"],
    about: "views, carts, orders, units, revenue, refunds and distinct items sold of a scope, per rolling window",
    has_window_start: false,
    causes: &[],
    schema: || row_schema::<Row>(),
    read: Written::text,
    build,
    oracle,
};

/// Sums of money that did not fit the 64 bits in which they are published.
pub static OVERFLOWS: AtomicU64 = AtomicU64::new(0);

/// A sum of money as it is published: checked, held at the ends of the range, and counted there.
pub fn published_micros(micros: i128) -> i64 {
    if i64::try_from(micros).is_err() {
        OVERFLOWS.fetch_add(1, Ordering::Relaxed);
    }
    held_micros(micros)
}

/// A sum of money, held at the ends of the range in which it is published.
pub fn held_micros(micros: i128) -> i64 {
    micros.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// A row as readers see it.
#[derive(Debug, JsonSchema, Serialize)]
struct Row {
    views: i64,
    carts: i64,
    orders: i64,
    lines: i64,
    units: i64,
    revenue_micros: i64,
    refund_lines: i64,
    refund_units: i64,
    refund_micros: i64,
    items_sold: i64,
    score: i64,
}

fn row(measures: &Measures, options: &ShopOptions) -> Row {
    Row {
        views: measures.views,
        carts: measures.carts,
        orders: measures.orders,
        lines: measures.lines,
        units: measures.units,
        revenue_micros: published_micros(measures.revenue_micros),
        refund_lines: measures.refund_lines,
        refund_units: measures.refund_units,
        refund_micros: published_micros(measures.refund_micros),
        items_sold: measures.items_sold,
        score: options.score(measures),
    }
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let options = Arc::clone(&parts.options);
    let windows = options.expiry(Phase::Aligned);
    let horizon_us = windows.horizon_us();
    let sold = scoped(parts, parts.purchases(), || parts.kept("Purchases by scope"));
    let orders = sold.clone().map(|(scope, order, _item, at)| ((scope, order), at)).latest(
        horizon_us,
        parts.kept("Orders by scope"),
        |(_, order)| *order,
    );
    let items = sold.map(|(scope, _order, item, at)| ((scope, item), at)).latest(
        horizon_us,
        parts.kept("Items by scope"),
        |(_, item)| *item,
    );
    let count = |measures: Measures| {
        move |scope: Sym, at, tick, diff: isize| {
            let mut times = Measures::default();
            times.combine(&measures, diff as i64);
            ((scope, at), tick, Sum::of(&times))
        }
    };
    let order = count(Measures { orders: 1, ..Default::default() });
    let item = count(Measures { items_sold: 1, ..Default::default() });
    let orders = orders.inner.map(move |(((scope, _), at), tick, diff)| order(scope, at, tick, diff)).as_collection();
    let items = items.inner.map(move |(((scope, _), at), tick, diff)| item(scope, at, tick, diff)).as_collection();
    let rows = lines(parts, &windows).concat(orders).concat(items).expire(
        windows,
        parts.kept("Windows by scope"),
        |scope: &Sym| *scope,
    );
    parts.by_window(rows, NAME, move |sum| Arc::new(row(&sum.measures(), &options)) as Value)
}

/// The last instant of the bucket: as good as any within it, and always there.
fn bucketed(windows: &Windows, at: u64) -> u64 {
    windows.bucket_end(shortest(windows), 0, at) - 1
}

/// The window with the finest buckets.
fn shortest(windows: &Windows) -> usize {
    (0..windows.len()).min_by_key(|window| windows.bucket_us(*window)).unwrap_or(0)
}

/// What adds up, per scope and time.
fn lines<'scope>(parts: &Parts<'scope>, windows: &Windows) -> Collection<'scope, (Sym, u64), Sum> {
    let (scopes, buckets) = (parts.options.scopes.clone(), windows.clone());
    let by_event = parts.found(move |batch| {
        let mut sums: HashMap<(Sym, u64), Sum, Mix> = HashMap::default();
        for ((cell, at), sum) in crate::lines::lines(batch, &scopes, Sum::of) {
            if let Some(scope) = scopes.scope(&cell.part, &no_part()) {
                sums.entry((scope, bucketed(&buckets, at))).or_default().plus_equals(&sum);
            }
        }
        sums.into_iter().collect()
    });
    if !parts.options.scopes.has_item_parts() {
        return by_event;
    }
    let (scopes, buckets) = (parts.options.scopes.clone(), windows.clone());
    let by_item = parts.found(move |batch| {
        let lines = crate::lines::lines(batch, &scopes, Sum::of).into_iter();
        lines.map(|((cell, at), sum)| ((cell.item, (cell.part, bucketed(&buckets, at))), sum)).collect()
    });
    let (scopes, horizon_us) = (parts.options.scopes.clone(), windows.horizon_us());
    let by_place = join_small(
        by_item,
        parts.places(),
        parts.kept("Lines by scope"),
        move |(_, at)| at + horizon_us,
        move |_item, (part, at), place| scopes.scope(part, place).map(|scope| (scope, *at)),
    );
    by_event.concat(by_place)
}

/// What happened to an item: event part, by whom or what, when. Its places stand beside it.
pub(crate) type InScopes = JoinRow<Sym, (Part, u128, u64), Part, isize>;

/// What of `found` happened in which scope: (scope, by whom or what, item, at), as often as there are
/// lines. It moves with the places of its item as long as some window holds it.
pub(crate) fn scoped<'scope>(
    parts: &Parts<'scope>,
    found: Collection<'scope, ((Cell, u128), u64)>,
    wiring: impl FnOnce() -> Wiring<'scope, InScopes>,
) -> Collection<'scope, (Sym, u128, Sym, u64)> {
    let scopes = parts.options.scopes.clone();
    let alone = found.clone().flat_map({
        let scopes = scopes.clone();
        move |((cell, by), at)| scopes.scope(&cell.part, &no_part()).map(|scope| (scope, by, cell.item, at))
    });
    if !scopes.has_item_parts() {
        return alone;
    }
    let windows = parts.options.expiry(Phase::Aligned);
    let horizon_us = windows.horizon_us();
    let by_item = found.map(move |((cell, by), at)| (cell.item, (cell.part, by, bucketed(&windows, at))));
    let placed = join_small(
        by_item,
        parts.places(),
        wiring(),
        move |(_, _, at)| at + horizon_us,
        move |item, (part, by, at), place| scopes.scope(part, place).map(|scope| (scope, *by, *item, *at)),
    );
    alone.concat(placed)
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    type Distinct<'a> = (Measures, BTreeSet<&'a str>, BTreeSet<Sym>);
    let options = history.options;
    let windows = options.expiry(Phase::Aligned);
    let places = oracle::places(history);
    let mut rows: BTreeMap<(Sym, u8), Distinct<'_>> = BTreeMap::new();
    for (event, item, measures) in oracle::lines(history) {
        let scopes = oracle::scopes(&options.scopes, event, places.get(&item.item_id));
        for window in 0..windows.len() {
            if !windows.holds(window, 0, event.timestamp.0, history.tick) {
                continue;
            }
            for scope in &scopes {
                let (sum, orders, items) = rows.entry((*scope, window as u8)).or_default();
                sum.add(&measures);
                if measures.lines > 0 {
                    orders.insert(event.transaction_id.as_deref().unwrap_or(&event.message_id));
                    items.insert(item.item_id);
                }
            }
        }
    }
    let published = |((scope, window), (sum, orders, items)): ((Sym, u8), Distinct<'_>)| {
        let whole = Measures { orders: orders.len() as i64, items_sold: items.len() as i64, ..sum };
        (Key::new(&[scope, options.label(window)]), json(&row(&whole, options)))
    };
    rows.into_iter().map(published).collect()
}
