//! What was read of a file, in the words of its format, for the report of a replay.

use std::fmt;

use etalage_model::decode::{online_retail, otto, rees46, retailrocket};

/// How many rows of each kind were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// `online-retail`
    OnlineRetail(online_retail::Counts),
    /// `rees46`
    Rees46(rees46::Counts),
    /// `otto`
    Otto(otto::Counts),
    /// `retailrocket`
    Retailrocket(retailrocket::Counts),
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tally::OnlineRetail(rows) => write!(
                f,
                "{} rows: sale {}, cancel {}, free {}, adjust {}, baddebt {} (skipped); {} of non-items, {} unreadable",
                rows.rows, rows.sale, rows.cancel, rows.free, rows.adjust, rows.baddebt, rows.non_items, rows.bad
            ),
            Tally::Rees46(rows) => write!(
                f,
                "{} rows: view {}, cart {}, remove_from_cart {}, purchase {}; {} unreadable",
                rows.rows, rows.views, rows.carts, rows.removals, rows.purchases, rows.bad
            ),
            Tally::Otto(acts) => write!(
                f,
                "{} sessions: clicks {}, carts {}, orders {}; unreadable are {} events and {} lines",
                acts.sessions, acts.clicks, acts.carts, acts.orders, acts.bad_events, acts.bad_lines
            ),
            Tally::Retailrocket(rows) => write!(
                f,
                "{} rows: view {}, addtocart {}, transaction {}, available {}, categoryid {}, other properties {} \
                 (skipped); {} unreadable",
                rows.rows,
                rows.views,
                rows.carts,
                rows.transactions,
                rows.stock,
                rows.categories,
                rows.skipped,
                rows.bad
            ),
        }
    }
}
