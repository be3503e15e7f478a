//! Simulated visitors: those who looked before somebody bought, and those who only look.

use etalage_model::{Event, EventKind, Item, Micros, Record, Sym};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::message::{self, Visitor};

/// How long before a purchase the views and carts of its lines begin, at most.
pub(super) const LEAD_US: u64 = 30 * MINUTE_US;

/// Different browsers.
const VISITORS: u64 = 50_000;
/// How many others look at what is bought, per line.
const OTHERS_PER_LINE: std::ops::Range<u32> = 1..5;
/// Of a hundred buyers that are known, so many had logged in while they looked.
const LOGGED_IN_PERCENT: u32 = 35;
/// Of a hundred who look, so many put the item into their cart.
const CART_PERCENT: u32 = 12;
/// Views of one who only looks.
const VIEWS_PER_VISIT: std::ops::Range<u32> = 1..6;
/// Time between two steps of a visitor.
const STEP_S: std::ops::Range<u64> = 5..90;
/// The least and the most time between two visits, by day and by night.
const DAY_GAP_S: std::ops::Range<u64> = 5..35;
const NIGHT_GAP_S: std::ops::Range<u64> = 20..140;
/// The hours (UTC) of the day.
const DAY_HOURS: std::ops::Range<u64> = 7..21;
/// Where those come from who only look, each as often as it is drawn.
const COUNTRIES: [(&str, u32); 6] =
    [("United Kingdom", 82), ("Germany", 6), ("France", 5), ("EIRE", 4), ("Spain", 2), ("Netherlands", 1)];

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;
const HOUR_US: u64 = 60 * MINUTE_US;

/// Makes views and cart lines.
pub(super) struct Visitors {
    /// Items that were sold, their price, and the lines up to and with this one: what is popular
    /// is looked at more often.
    items: Vec<(Sym, i64, u64)>,
    next_number: u64,
}

impl Visitors {
    /// Visitors of a shop with `items`: code, price, lines sold.
    pub(super) fn new(items: impl Iterator<Item = (Sym, i64, u64)>) -> Visitors {
        let mut lines = 0;
        let items = items.map(|(item, price_micros, sold)| {
            lines += sold;
            (item, price_micros, lines)
        });
        Visitors { items: items.collect(), next_number: 0 }
    }

    /// What happened shortly before a line was bought: the buyer looked and filled a cart, and
    /// others looked.
    pub(super) fn before(
        &mut self,
        bought: &Event,
        line: &Item,
        random: &mut ChaCha8Rng,
        out: &mut Vec<(Micros, Record)>,
    ) {
        let item = (line.item_id, line.price_micros);
        let logged_in = random.random_range(0..100) < LOGGED_IN_PERCENT;
        let buyer = Visitor {
            user_id: bought.user_id.as_deref().filter(|_| logged_in),
            number: random.random_range(0..VISITORS),
            country: bought.country,
        };
        let looked = bought.timestamp.minus(random.random_range(4 * MINUTE_US..LEAD_US));
        let filled = looked.plus(random.random_range(STEP_S) * SECOND_US);
        self.push(EventKind::ViewItem, looked, buyer, item, out);
        self.push(EventKind::AddToCart, filled, buyer, item, out);
        for _ in 0..random.random_range(OTHERS_PER_LINE) {
            let other = Visitor { user_id: None, number: random.random_range(0..VISITORS), country: bought.country };
            let looked = bought.timestamp.minus(random.random_range(4 * MINUTE_US..LEAD_US));
            self.look(looked, other, item, random, out);
        }
    }

    /// One who only looks, from `at` on.
    pub(super) fn visit(&mut self, at: Micros, random: &mut ChaCha8Rng, out: &mut Vec<(Micros, Record)>) {
        let visitor =
            Visitor { user_id: None, number: random.random_range(0..VISITORS), country: Some(country(random)) };
        let mut at = at;
        for _ in 0..random.random_range(VIEWS_PER_VISIT) {
            let Some((_, _, lines)) = self.items.last() else { return };
            let drawn = random.random_range(0..*lines);
            let (item, price_micros, _) = self.items[self.items.partition_point(|(_, _, upto)| *upto <= drawn)];
            self.look(at, visitor, (item, price_micros), random, out);
            at = at.plus(random.random_range(STEP_S) * SECOND_US);
        }
    }

    /// When the next visitor comes after one at `at`.
    pub(super) fn next_visit(at: Micros, random: &mut ChaCha8Rng) -> Micros {
        let hour = at.0 / HOUR_US % 24;
        let gap_s = if DAY_HOURS.contains(&hour) { DAY_GAP_S } else { NIGHT_GAP_S };
        at.plus(random.random_range(gap_s.start * SECOND_US..gap_s.end * SECOND_US))
    }

    fn look(
        &mut self,
        at: Micros,
        visitor: Visitor<'_>,
        item: (Sym, i64),
        random: &mut ChaCha8Rng,
        out: &mut Vec<(Micros, Record)>,
    ) {
        self.push(EventKind::ViewItem, at, visitor, item, out);
        if random.random_range(0..100) < CART_PERCENT {
            let filled = at.plus(random.random_range(STEP_S) * SECOND_US);
            self.push(EventKind::AddToCart, filled, visitor, item, out);
        }
    }

    fn push(
        &mut self,
        kind: EventKind,
        at: Micros,
        visitor: Visitor<'_>,
        item: (Sym, i64),
        out: &mut Vec<(Micros, Record)>,
    ) {
        self.next_number += 1;
        out.push((at, message::event(kind, at, self.next_number, visitor, item)));
    }
}

fn country(random: &mut ChaCha8Rng) -> Sym {
    let all: u32 = COUNTRIES.iter().map(|(_, weight)| weight).sum();
    let mut drawn = random.random_range(0..all);
    let found = COUNTRIES.iter().find(|(_, weight)| match drawn.checked_sub(*weight) {
        Some(rest) => {
            drawn = rest;
            false
        }
        None => true,
    });
    Sym::new(found.map_or(COUNTRIES[0].0, |(name, _)| name))
}
