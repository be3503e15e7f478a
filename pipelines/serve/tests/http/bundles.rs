//! Views whose rows come in bundles, read and followed as any other.

use std::sync::Arc;

use etalage_model::{Amounts, BundleChange, Bundles, Group, SealedBatch, Sym, Tick, Value};
use serde_json::json;

use crate::shop::Shop;

const VIEW: &str = "item.popularity";
const LABELS: [&str; 2] = ["1h", "7d"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
struct Units {
    units: u64,
}

/// Units by lane; 0 is none.
#[derive(Clone, Copy, Debug)]
struct ByLane([u64; 2]);

impl Amounts for ByLane {
    fn value(&self, lane: u8) -> Option<Value> {
        self.has(lane).then(|| Arc::new(Units { units: self.0[usize::from(lane)] }) as Value)
    }
    fn has(&self, lane: u8) -> bool {
        self.0.get(usize::from(lane)).is_some_and(|units| *units > 0)
    }
}

/// An item's bundle, which changes tick by tick.
struct Item {
    name: &'static str,
    scopes: Vec<&'static str>,
    units: [u64; 2],
}

impl Item {
    fn new(name: &'static str) -> Item {
        Item { name, scopes: Vec::new(), units: [0; 2] }
    }

    /// Publishes a tick in which it becomes this.
    fn becomes(&mut self, shop: &Shop, scopes: &[&'static str], units: [u64; 2]) -> Tick {
        let syms = |scopes: &[&'static str]| scopes.iter().map(|scope| Sym::new(scope)).collect::<Vec<_>>();
        let not_in = |scopes: &[&'static str], others: &[&'static str]| {
            syms(&scopes.iter().filter(|scope| !others.contains(scope)).copied().collect::<Vec<_>>())
        };
        let change = BundleChange {
            member: self.name.into(),
            axis: Sym::default(),
            scopes: syms(scopes).into(),
            joined: not_in(scopes, &self.scopes),
            left: not_in(&self.scopes, scopes),
            changed: (0..2u8).filter(|lane| self.units[usize::from(*lane)] != units[usize::from(*lane)]).collect(),
            was: Arc::new(ByLane(self.units)),
            now: Arc::new(ByLane(units)),
        };
        (self.scopes, self.units) = (scopes.to_vec(), units);
        let bundles = Bundles { labels: LABELS.map(Sym::new).into(), changes: vec![change] };
        shop.seal(|tick| vec![SealedBatch { bundles, ..SealedBatch::new(Group::Shop, VIEW, tick, tick + 1) }])
    }
}

#[test]
fn keys_of_bundles_are_read_and_listed_page_by_page() {
    let shop = Shop::open();
    let (mut boot, mut bag) = (Item::new("boot"), Item::new("bag"));
    boot.becomes(&shop, &["global", "brand:x"], [1, 5]);
    let tick = bag.becomes(&shop, &["global"], [0, 2]);
    let answer = shop.get("/v1/views/item.popularity/global/7d/boot");
    assert_eq!(answer.json()["value"], json!({ "units": 5 }));
    assert_eq!(answer.header("etag"), format!("\"beef-{}\"", tick - 1));
    assert_eq!(shop.get("/v1/views/item.popularity/global/1h/bag").status, 404, "nothing in that window");
    assert_eq!(shop.get("/v1/views/item.popularity/brand:x/7d/bag").status, 404, "not there");

    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = shop.get(&format!("/v1/views/item.popularity?limit=2{cursor}"));
        found.extend(page.entries());
        let body = page.json();
        let Some(next) = body["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let in_order =
        ["brand:x/1h/boot=1", "brand:x/7d/boot=5", "global/1h/boot=1", "global/7d/bag=2", "global/7d/boot=5"];
    assert_eq!(found, in_order);
    assert_eq!(shop.store.keys(), [("item.sellable", 0), (VIEW, 5), ("profile.value", 0)]);
}

#[test]
fn a_stream_of_bundles_goes_on_over_a_move() {
    let shop = Shop::open();
    let mut boot = Item::new("boot");
    let first = boot.becomes(&shop, &["global", "brand:x"], [1, 5]);
    let mut live = shop.stream("/v1/stream?sub=item.popularity");
    assert_eq!(
        live.expect("snapshot"),
        ["brand:x/1h/boot=1", "brand:x/7d/boot=5", "global/1h/boot=1", "global/7d/boot=5"]
    );
    boot.becomes(&shop, &["global", "brand:y"], [1, 6]);
    let moved =
        ["brand:x/1h/boot=null", "brand:x/7d/boot=null", "brand:y/1h/boot=1", "brand:y/7d/boot=6", "global/7d/boot=6"];
    assert_eq!(live.expect("changes"), moved);
    let mut resumed = shop.stream(&format!("/v1/stream?sub=item.popularity&after=beef-{first}"));
    assert_eq!(resumed.expect("changes"), moved, "whoever goes on hears the same");

    // The tag of what stays is that of its own last change, and a window that empties is told.
    let tag = shop.get("/v1/views/item.popularity/global/1h/boot").header("etag").to_owned();
    assert_eq!(tag, format!("\"beef-{first}\""));
    boot.becomes(&shop, &["global", "brand:y"], [0, 6]);
    assert_eq!(live.expect("changes"), ["brand:y/1h/boot=null", "global/1h/boot=null"]);
    assert_eq!(shop.get("/v1/views/item.popularity/global/1h/boot").status, 404);
}

#[test]
fn shop_and_people_are_read_together_as_of_the_tick_of_people() {
    let shop = Shop::open();
    let mut boot = Item::new("boot");
    boot.becomes(&shop, &["global", "brand:x"], [1, 5]);
    shop.tick_of(Group::Customer, &[("profile.value:ann", Some(1))]);
    // People lag behind a move and a change.
    boot.becomes(&shop, &["global", "brand:y"], [2, 6]);
    let read = |scope: &str| {
        let path = format!("/v1/read?get=profile.value:ann&get=item.popularity:{scope}/7d/boot");
        shop.get(&path).json()["entries"][1]["value"]["units"].as_u64()
    };
    assert_eq!([read("global"), read("brand:x"), read("brand:y")], [Some(5), Some(5), None]);
    shop.tick_of(Group::Customer, &[]);
    assert_eq!([read("global"), read("brand:x"), read("brand:y")], [Some(6), None, Some(6)]);
}
