//! What is counted: the measures of an item, a scope and a window.

use serde::{Deserialize, Serialize};

/// Exact counts and sums. Each field adds; money is accumulated in 128 bits and published
/// checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Measures {
    /// `view_item` lines.
    pub views: i64,
    /// `add_to_cart` lines.
    pub carts: i64,
    /// Distinct transactions, however many messages carry one.
    pub orders: i64,
    /// `purchase` lines.
    pub lines: i64,
    /// Units purchased.
    pub units: i64,
    /// Price times units purchased, in micros of the shop's currency.
    pub revenue_micros: i128,
    /// `refund` lines.
    pub refund_lines: i64,
    /// Units refunded.
    pub refund_units: i64,
    /// Price times units refunded, in micros.
    pub refund_micros: i128,
    /// Distinct items with purchase lines (counted for scopes only).
    pub items_sold: i64,
}

impl Measures {
    /// Adds `other`, field by field.
    pub fn add(&mut self, other: &Measures) {
        self.combine(other, 1);
    }

    /// Adds `factor` times `other`.
    pub fn combine(&mut self, other: &Measures, factor: i64) {
        self.views += other.views * factor;
        self.carts += other.carts * factor;
        self.orders += other.orders * factor;
        self.lines += other.lines * factor;
        self.units += other.units * factor;
        self.revenue_micros += other.revenue_micros * i128::from(factor);
        self.refund_lines += other.refund_lines * factor;
        self.refund_units += other.refund_units * factor;
        self.refund_micros += other.refund_micros * i128::from(factor);
        self.items_sold += other.items_sold * factor;
    }

    /// True where every field is 0.
    pub fn is_zero(&self) -> bool {
        *self == Measures::default()
    }
}

/// How much one of each is worth in a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreWeights {
    /// Per view.
    pub view: i64,
    /// Per cart line.
    pub cart: i64,
    /// Per distinct order.
    pub order: i64,
    /// Per refunded line; negative in every sensible configuration.
    pub refund: i64,
}

impl ScoreWeights {
    /// The score of `measures`: linear, so that scores may be added and taken back. Held at the
    /// ends of the 64-bit range.
    pub fn score(&self, measures: &Measures) -> i64 {
        self.view
            .saturating_mul(measures.views)
            .saturating_add(self.cart.saturating_mul(measures.carts))
            .saturating_add(self.order.saturating_mul(measures.orders))
            .saturating_add(self.refund.saturating_mul(measures.refund_lines))
    }
}

impl Default for ScoreWeights {
    fn default() -> ScoreWeights {
        ScoreWeights { view: 1, cart: 5, order: 20, refund: -20 }
    }
}
