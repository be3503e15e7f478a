//! Random messages of a small shop: views, carts, purchases in one message or several, refunds,
//! stock with and without versions, a catalogue that moves items about. Equal instants, repeated
//! items and transactions, and items whose stock nobody knows are frequent on purpose.

use rand::{Rng, RngExt, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::seed::Random;

const COUNTRIES: [&str; 3] = ["Germany", "France", "EIRE"];
const BRANDS: [&str; 3] = ["Acme", "Bolt", "Crow"];
const CATEGORIES: [&[&str]; 4] = [&["Home"], &["Home", "Kitchen"], &["Garden"], &["Tea/Coffee", "Mugs"]];
const LOCATIONS: [&str; 2] = ["north", "south"];

/// Where a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `POST /v1/events`
    Event,
    /// `POST /v1/inventory`
    Inventory,
    /// `POST /v1/catalog`
    Catalogue,
}

impl Kind {
    /// The route.
    pub fn path(self) -> &'static str {
        match self {
            Kind::Event => "/v1/events",
            Kind::Inventory => "/v1/inventory",
            Kind::Catalogue => "/v1/catalog",
        }
    }
}

/// Writes messages.
pub struct Story {
    random: Random,
    items: usize,
    next: u64,
    transactions: Vec<String>,
}

impl Story {
    /// A shop of so many items.
    pub fn new(random: Random, items: usize) -> Story {
        Story { random, items, next: 0, transactions: Vec::new() }
    }

    /// The generator, for choices that belong to the same seed.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// A message of any kind that happens at `at_ms`, milliseconds since 1970.
    pub fn any(&mut self, at_ms: u64) -> (Kind, Value) {
        match self.random.random_range(0..10) {
            0..6 => (Kind::Event, self.event(at_ms)),
            6..9 => (Kind::Inventory, self.stock(at_ms)),
            _ => (Kind::Catalogue, self.catalogue(at_ms)),
        }
    }

    /// Something that a visitor does.
    pub fn event(&mut self, at_ms: u64) -> Value {
        let name = *["view_item", "view_item", "add_to_cart", "purchase", "purchase", "refund", "search"]
            .choose(&mut self.random)
            .expect("there are names");
        let count = self.random.random_range(1..=4);
        let items: Vec<Value> = (0..count).map(|_| self.line()).collect();
        let mut properties = json!({ "items": items });
        match name {
            "purchase" => properties["transaction_id"] = self.transaction().into(),
            "refund" => {
                if let Some(transaction) = self.transactions.choose(&mut self.random) {
                    properties["transaction_id"] = transaction.as_str().into();
                }
            }
            _ => {}
        }
        let mut event = json!({
            "messageId": self.id("e"), "event": name, "timestamp": at_ms, "properties": properties,
            "anonymousId": format!("a{}", self.random.random_range(0..20)),
        });
        if self.random.random_bool(0.8) {
            let country = COUNTRIES.choose(&mut self.random).expect("there are countries");
            event["context"] = json!({ "country": country, "device": { "type": "mobile" } });
        }
        event
    }

    fn line(&mut self) -> Value {
        let mut line = json!({
            "item_id": self.item(), "quantity": self.random.random_range(1..5),
            "price": f64::from(self.random.random_range(0..5_000)) / 100.0,
        });
        if self.random.random_bool(0.2) {
            line["item_brand"] = (*BRANDS.choose(&mut self.random).expect("there are brands")).into();
        }
        if self.random.random_bool(0.2) {
            line["category"] = json!(CATEGORIES.choose(&mut self.random).expect("there are categories"));
        }
        line
    }

    /// A change of stock. Every third item has versions, every other third locations.
    pub fn stock(&mut self, at_ms: u64) -> Value {
        let item = self.random.random_range(0..self.items);
        let is_delta = self.random.random_bool(0.4);
        let available = match is_delta {
            true => self.random.random_range(-4..=4),
            false => *[0, 0, 1, 2, 6].choose(&mut self.random).expect("there are levels"),
        };
        let mut stock = json!({
            "messageId": self.id("s"), "item_id": format!("i{item:02}"), "occurred_at": at_ms,
            "op": if is_delta { "delta" } else { "set" }, "available": available,
        });
        if item % 3 == 0 {
            stock["version"] = self.random.random_range(1..40).into();
        }
        if item % 3 == 1 {
            stock["location_id"] = (*LOCATIONS.choose(&mut self.random).expect("there are locations")).into();
        }
        stock
    }

    /// What an item is from now on.
    pub fn catalogue(&mut self, at_ms: u64) -> Value {
        let mut entry = json!({ "messageId": self.id("c"), "item_id": self.item(), "updated_at": at_ms });
        if self.random.random_bool(0.15) {
            entry["op"] = "delete".into();
            return entry;
        }
        entry["brand"] = (*BRANDS.choose(&mut self.random).expect("there are brands")).into();
        entry["category"] = json!(CATEGORIES.choose(&mut self.random).expect("there are categories"));
        entry["withdrawn"] = self.random.random_bool(0.2).into();
        entry["safety_threshold"] = self.random.random_range(0..3).into();
        entry
    }

    fn item(&mut self) -> String {
        // Low numbers are popular, so that sets have much to lose.
        let at = self.random.random_range(0..self.items).min(self.random.random_range(0..self.items));
        format!("i{at:02}")
    }

    fn transaction(&mut self) -> String {
        match self.transactions.last() {
            // An order may come in several messages.
            Some(last) if self.random.random_bool(0.3) => last.clone(),
            _ => {
                let fresh = format!("t{}", self.transactions.len());
                self.transactions.push(fresh.clone());
                fresh
            }
        }
    }

    fn id(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}{}-{:08x}", self.next, self.random.next_u32())
    }
}
