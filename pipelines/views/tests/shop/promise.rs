//! The promise that matters most: at every published tick no set holds an item that is not
//! sellable. Checked on the published rows alone, and the check is shown to notice.

use etalage_model::SealedTick;
use etalage_views::{
    ShopOptions, UnknownStock,
    audit::{SETS, StockAudit},
    bestsellers, sellable, trending,
};
use serde_json::Value;

use crate::{
    harness::{Rows, WORKERS, admitted, expected, follow, play},
    story::{DAY, Story, plain},
};

/// The items that stand in a set although they must not, each with its set.
pub(crate) fn broken(rows: &Rows, options: &ShopOptions) -> Vec<String> {
    let mut broken = Vec::new();
    let Some(sellable) = rows.get(sellable::NAME).or_else(|| options.is_on(sellable::NAME).then_some(&EMPTY)) else {
        return broken;
    };
    for (set, value) in SETS.iter().filter_map(|view| rows.get(view)).flatten() {
        let value: Value = serde_json::from_str(value).expect("a value is JSON");
        for entry in value["items"].as_array().expect("a set has items") {
            let item = entry["item_id"].as_str().expect("an entry has an item");
            let row = sellable.iter().find(|(key, _)| key.path() == etalage_model::key::escape(item));
            let row = row.map(|(_, value)| serde_json::from_str::<Value>(value).expect("a value is JSON"));
            let may_be_shown = match &row {
                Some(row) => row["sellable"] == true && row["available"] == entry["available"],
                None => options.unknown_stock == UnknownStock::Sellable && entry["available"].is_null(),
            };
            if !may_be_shown {
                broken.push(format!("{item} in {set:?}"));
            }
        }
    }
    broken
}

static EMPTY: std::collections::BTreeMap<etalage_model::Key, String> = std::collections::BTreeMap::new();

/// How many violations the audit counts.
pub(crate) fn audited(ticks: &[SealedTick]) -> usize {
    audited_by(StockAudit::new(plain().unknown_stock), ticks)
}

fn audited_by(mut audit: StockAudit, ticks: &[SealedTick]) -> usize {
    ticks.iter().map(|tick| audit.violations(tick).len()).sum()
}

/// A shop in which the best item sells out, comes back, and is withdrawn.
fn turbulent(options: ShopOptions) -> Story {
    let mut story = Story::new(options);
    story.stock("boot", 3).stock("clog", 2).view("boot").view("boot").view("clog").cut();
    story.wait(1_000).stock("boot", 0).cut();
    story.wait(1_000).stock("boot", 4).cut();
    story.wait(1_000).delisted("boot").cut();
    story.wait(DAY).cut();
    story
}

#[test]
fn the_promise_holds_while_the_gate_is_in_place() {
    turbulent(plain()).check();
}

#[test]
fn with_the_gate_taken_out_the_checks_notice() {
    let story = turbulent(ShopOptions { ungated: true, ..plain() });
    for workers in WORKERS {
        let ticks = play(workers, &story.options, &story.arrivals, &story.uppers);
        let rows = follow(&ticks);
        let found: Vec<usize> = rows.iter().map(|rows| broken(rows, &story.options).len()).collect();
        assert_eq!(found, [0, 3, 0, 3, 2], "boot, sold out or withdrawn, is found in each set that shows it");
        assert!(audited(&ticks) > 0, "the audit notices too");
        let wanted = expected(&story.options, &admitted(&story.arrivals), story.uppers[1] - 1);
        for set in [bestsellers::NAME, trending::NAME] {
            assert_ne!(rows[1].get(set), wanted.get(set), "and so does the oracle");
        }
    }
}

/// A hidden item that has no row of its own is found as well.
#[test]
fn with_the_gate_taken_out_unknown_stock_is_noticed() {
    let mut story = Story::new(ShopOptions { unknown_stock: UnknownStock::Hidden, ungated: true, ..plain() });
    story.view("boot").cut();
    let ticks = play(1, &story.options, &story.arrivals, &story.uppers);
    assert_eq!(broken(&follow(&ticks)[0], &story.options).len(), 3);
    assert_eq!(audited_by(StockAudit::new(UnknownStock::Hidden), &ticks), 1, "boot");
}

/// The audit watches each kind of set by itself.
#[test]
fn with_the_gate_taken_out_each_kind_of_set_is_noticed() {
    for alone in SETS {
        let off = SETS.iter().filter(|set| **set != alone).map(|set| set.to_string()).collect();
        let story = turbulent(ShopOptions { ungated: true, off, ..plain() });
        let ticks = play(1, &story.options, &story.arrivals, &story.uppers);
        let found: Vec<usize> = {
            let mut audit = StockAudit::new(plain().unknown_stock);
            ticks.iter().map(|tick| audit.violations(tick).len()).collect()
        };
        assert_eq!(found[..4], [0, 1, 0, 1], "{alone}");
    }
}
