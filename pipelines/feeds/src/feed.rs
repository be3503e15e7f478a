//! What a product file holds.

use std::collections::{BTreeMap, BTreeSet};

use etalage_model::{Catalogue, CatalogueEntry};
use serde::Deserialize;

/// A label of an item by its place in a set. It is given at `enter` or better, and taken away beyond
/// `leave`: a label that changes with every click would have the platforms review the item for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// What stands in `custom_label_0`.
    pub name: &'static str,
    /// The last place at which an item gets it.
    pub enter: usize,
    /// The last place at which it keeps it.
    pub leave: usize,
}

/// The labels, best first.
pub const LABELS: [Label; 2] =
    [Label { name: "top10", enter: 10, leave: 13 }, Label { name: "top50", enter: 50, leave: 65 }];

/// Columns of every file.
const COLUMNS: [&str; 11] = [
    "id",
    "title",
    "description",
    "link",
    "image_link",
    "availability",
    "price",
    "condition",
    "brand",
    "item_group_id",
    "custom_label_0",
];

/// Whose words a file uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Google Merchant: `in_stock`.
    Google,
    /// Meta: `in stock`.
    Meta,
}

/// A product file in the making.
#[derive(Debug, Default)]
pub struct Feed {
    products: BTreeMap<String, Product>,
    sellable: BTreeSet<String>,
    labels: BTreeMap<String, &'static str>,
    /// Whether anything in the file has changed since it was last taken, and whether something that it
    /// offers cannot be sold any more.
    changed: bool,
    urgent: bool,
}

/// What the catalogue says of an item: the newest statement, by time and then by message.
#[derive(Debug)]
struct Product {
    order: (u64, String),
    entry: Option<CatalogueEntry>,
}

/// The key of `item.sellable`.
#[derive(Deserialize)]
struct ItemKey {
    item_id: String,
    location_id: Option<String>,
}

#[derive(Deserialize)]
struct Sellable {
    sellable: bool,
}

#[derive(Deserialize)]
struct Set {
    items: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    item_id: String,
}

impl Feed {
    /// Takes a statement of the catalogue.
    pub fn catalogue(&mut self, stated: Catalogue) {
        let order = (stated.updated_at.0, stated.message_id);
        let item = stated.item_id.as_str().to_owned();
        if self.products.get(&item).is_none_or(|known| known.order < order) {
            self.products.insert(item, Product { order, entry: stated.entry });
            self.changed = true;
        }
    }

    /// Takes a change of `item.sellable`, as JSON; `None` where the key has no value any more. What is
    /// none of an item as a whole is passed over.
    pub fn sellable(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Ok(ItemKey { item_id, location_id: None }) = serde_json::from_slice(key) else { return };
        let is_sellable =
            value.and_then(|value| serde_json::from_slice::<Sellable>(value).ok()).is_some_and(|row| row.sellable);
        let changed = match is_sellable {
            true => self.sellable.insert(item_id),
            false => self.sellable.remove(&item_id),
        };
        self.changed |= changed;
        self.urgent |= changed && !is_sellable;
    }

    /// Takes the set that gives the labels, as JSON; `None` where there is none any more.
    pub fn set(&mut self, value: Option<&[u8]>) {
        let items =
            value.and_then(|value| serde_json::from_slice::<Set>(value).ok()).map_or(Vec::new(), |set| set.items);
        let label_at = |place: usize, item: &str| {
            let had = self.labels.get(item);
            let stays = |label: &&Label| place <= if had == Some(&label.name) { label.leave } else { label.enter };
            LABELS.iter().find(stays).map(|label| label.name)
        };
        let labelled = items
            .iter()
            .enumerate()
            .filter_map(|(at, Listed { item_id })| label_at(at + 1, item_id).map(|label| (item_id.clone(), label)));
        let labels: BTreeMap<String, &'static str> = labelled.collect();
        self.changed |= labels != self.labels;
        self.labels = labels;
    }

    /// True where the file would be another one than when it was last taken.
    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// True where the file that was taken last offers what cannot be sold any more.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// The file: tab-separated, one row for each product of the catalogue, by id.
    pub fn take(&mut self, format: Format) -> String {
        (self.changed, self.urgent) = (false, false);
        let mut out = COLUMNS.join("\t");
        out.push('\n');
        for (item, Product { entry, .. }) in &self.products {
            let Some(entry) = entry else { continue };
            let field = |name: &str| entry.fields.iter().find(|(other, _)| other == name).map_or("", |(_, text)| text);
            let cell = |column: &str| match column {
                "id" => item.as_str(),
                "availability" => availability(format, self.sellable.contains(item)),
                "brand" => entry.brand.map_or("", |brand| brand.as_str()),
                "condition" => Some(field("condition")).filter(|text| !text.is_empty()).unwrap_or("new"),
                "custom_label_0" => self.labels.get(item).copied().unwrap_or_default(),
                other => field(other),
            };
            // The formats know no quotes: what would end a cell or a row becomes a space.
            let cells = COLUMNS.map(|column| cell(column).replace(['\t', '\n', '\r'], " "));
            out.push_str(&cells.join("\t"));
            out.push('\n');
        }
        out
    }

    /// How many products can be sold.
    pub fn offered(&self) -> usize {
        let is_listed = |item: &&String| self.products.get(*item).is_some_and(|product| product.entry.is_some());
        self.sellable.iter().filter(is_listed).count()
    }
}

fn availability(format: Format, is_sellable: bool) -> &'static str {
    match (format, is_sellable) {
        (Format::Google, true) => "in_stock",
        (Format::Google, false) => "out_of_stock",
        (Format::Meta, true) => "in stock",
        (Format::Meta, false) => "out of stock",
    }
}

#[cfg(test)]
mod tests {
    use etalage_model::{Micros, Sym};

    use super::*;

    fn product(item: &str, at: u64, title: Option<&str>) -> Catalogue {
        let fields =
            |title: &str| vec![("price".to_owned(), "9.95 EUR".to_owned()), ("title".to_owned(), title.to_owned())];
        let entry = title.map(|title| CatalogueEntry { fields: fields(title), ..CatalogueEntry::default() });
        Catalogue { message_id: format!("{item}-{at}"), item_id: Sym::new(item), updated_at: Micros(at), entry }
    }

    fn sold(feed: &mut Feed, item: &str, sellable: bool) {
        let value = format!(r#"{{"available":1,"availability":"","sellable":{sellable}}}"#);
        feed.sellable(format!(r#"{{"item_id":"{item}"}}"#).as_bytes(), Some(value.as_bytes()));
    }

    fn set(feed: &mut Feed, items: impl IntoIterator<Item = String>) {
        let items: Vec<String> = items.into_iter().map(|item| format!(r#"{{"item_id":"{item}","score":1}}"#)).collect();
        feed.set(Some(format!(r#"{{"items":[{}]}}"#, items.join(",")).as_bytes()));
    }

    /// Rows by id: title, availability, label.
    fn rows(feed: &mut Feed) -> BTreeMap<String, [String; 3]> {
        let file = feed.take(Format::Google);
        let row = |line: &str| {
            let cells: Vec<&str> = line.split('\t').collect();
            assert_eq!(cells.len(), COLUMNS.len());
            (cells[0].to_owned(), [cells[1], cells[5], cells[10]].map(str::to_owned))
        };
        file.lines().skip(1).map(row).collect()
    }

    fn row(title: &str, availability: &str, label: &str) -> [String; 3] {
        [title, availability, label].map(str::to_owned)
    }

    #[test]
    fn a_sold_out_product_keeps_its_row_and_is_not_offered() {
        let mut feed = Feed::default();
        feed.catalogue(product("a", 1, Some("A\ttab")));
        sold(&mut feed, "a", true);
        sold(&mut feed, "unlisted", true);
        assert_eq!(rows(&mut feed), BTreeMap::from([("a".to_owned(), row("A tab", "in_stock", ""))]));
        assert!(!feed.has_changed() && feed.offered() == 1);
        sold(&mut feed, "a", false);
        assert!(feed.is_urgent());
        assert_eq!(rows(&mut feed)["a"], row("A tab", "out_of_stock", ""));
        sold(&mut feed, "a", true);
        assert!(feed.has_changed() && !feed.is_urgent(), "a restock can wait a moment");
        feed.sellable(br#"{"item_id":"a"}"#, None);
        assert_eq!(rows(&mut feed)["a"][1], "out_of_stock", "of what nothing is known nothing is offered");
    }

    #[test]
    fn the_stock_of_a_location_is_not_that_of_the_item() {
        let mut feed = Feed::default();
        feed.catalogue(product("a", 1, Some("A")));
        feed.sellable(br#"{"item_id":"a","location_id":"north"}"#, Some(br#"{"sellable":true}"#));
        assert_eq!(rows(&mut feed)["a"][1], "out_of_stock");
    }

    #[test]
    fn the_newest_statement_of_the_catalogue_counts_in_whatever_order_it_comes() {
        let mut feed = Feed::default();
        feed.catalogue(product("a", 5, Some("new")));
        feed.catalogue(product("a", 3, Some("old")));
        assert_eq!(rows(&mut feed)["a"][0], "new");
        feed.catalogue(product("a", 7, None));
        assert!(rows(&mut feed).is_empty());
    }

    #[test]
    fn a_label_is_kept_a_little_beyond_where_it_is_given() {
        let mut feed = Feed::default();
        (0..70).for_each(|item| feed.catalogue(product(&format!("i{item}"), 1, Some(""))));
        set(&mut feed, (0..11).map(|item| format!("i{item}")));
        let before = rows(&mut feed);
        assert_eq!((&*before["i9"][2], &*before["i10"][2]), ("top10", "top50"));
        // The tenth falls to place 13, and the eleventh does not rise above 11.
        let order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 10, 21, 9];
        set(&mut feed, order.map(|item| format!("i{item}")));
        let after = rows(&mut feed);
        assert_eq!((&*after["i9"][2], &*after["i10"][2], &*after["i20"][2]), ("top10", "top50", "top10"));
        set(&mut feed, [0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 10, 21, 22, 9].map(|item| format!("i{item}")));
        assert_eq!(rows(&mut feed)["i9"][2], "top50");
        feed.set(None);
        assert_eq!(rows(&mut feed)["i0"][2], "");
    }
}
