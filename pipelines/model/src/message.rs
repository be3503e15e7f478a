//! The three kinds of message that come in, decoded and checked: behaviour, stock, catalogue.

use serde::{Deserialize, Serialize};

use crate::{Micros, Sym};

/// One message, as it is stored and as the dataflow reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// What somebody did.
    Event(Event),
    /// What a location has in stock.
    Inventory(Inventory),
    /// What an item is.
    Catalogue(Catalogue),
}

impl Message {
    /// The message's id as given, or made from its content.
    pub fn message_id(&self) -> &str {
        match self {
            Message::Event(event) => &event.message_id,
            Message::Inventory(stock) => &stock.message_id,
            Message::Catalogue(item) => &item.message_id,
        }
    }

    /// When it happened, by the sender's clock.
    pub fn at(&self) -> Micros {
        match self {
            Message::Event(event) => event.timestamp,
            Message::Inventory(stock) => stock.occurred_at,
            Message::Catalogue(item) => item.updated_at,
        }
    }
}

/// A message as it is stored, with the hash of what was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The message.
    pub message: Message,
    /// Hash of the content as sent, without `messageId`, `sentAt` and `receivedAt`, and without
    /// the time that was filled in for a missing one: a retry hashes like its first attempt.
    /// Equal ids with unequal content are in conflict.
    pub content: u64,
}

/// Which of the three inputs a body or a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputKind {
    /// `POST /v1/events`
    Events,
    /// `POST /v1/inventory`
    Inventory,
    /// `POST /v1/catalog`
    Catalogue,
}

impl InputKind {
    /// The last piece of the route, and the label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            InputKind::Events => "events",
            InputKind::Inventory => "inventory",
            InputKind::Catalogue => "catalog",
        }
    }
}

/// What the id of a profile without a user begins with; a user id does not.
pub const ANONYMOUS_PREFIX: &str = "anon:";

/// What an event says happened. GA4's names are canonical; see [`EventKind::from_name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum EventKind {
    ViewItem,
    ViewItemList,
    SelectItem,
    AddToCart,
    RemoveFromCart,
    ViewCart,
    BeginCheckout,
    Purchase,
    Refund,
    Search,
    ViewPromotion,
    SelectPromotion,
    Page,
    Identify,
    Alias,
    Unlink,
    Group,
    /// A name that etalage has no use for; stored, and counted as such.
    Other,
}

/// An event in the Segment envelope with GA4 properties.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The sender's id of this message, or `auto:` and a hash of its content.
    pub message_id: String,
    /// What happened.
    pub kind: EventKind,
    /// The name as it was sent (`Order Completed`), where it was not the canonical one.
    pub name: Option<String>,
    /// When it happened; pipeline time where the sender did not say.
    pub timestamp: Micros,
    /// Who: the shop's own id of a customer.
    pub user_id: Option<String>,
    /// Who: a device's or browser's id.
    pub anonymous_id: Option<String>,
    /// `alias`: the id that `user_id` replaces.
    pub previous_id: Option<String>,
    /// `group`: the account.
    pub group_id: Option<String>,
    /// ISO code or name, as the shop writes it.
    pub country: Option<Sym>,
    /// `mobile`, `desktop`, …
    pub device: Option<Sym>,
    /// Primary language subtag of the locale, in lower case.
    pub language: Option<Sym>,
    /// Sales or marketing channel.
    pub channel: Option<Sym>,
    /// `purchase` and `refund`: which transaction.
    pub transaction_id: Option<String>,
    /// The event's value, in micros of the shop's currency.
    pub value_micros: Option<i64>,
    /// Coupon code.
    pub coupon: Option<String>,
    /// `search`: what was looked for.
    pub search_term: Option<String>,
    /// The items it concerns, at most 200.
    pub items: Vec<Item>,
}

/// One line of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The feed's `id`.
    pub item_id: Sym,
    /// Brand, as this event states it.
    pub brand: Option<Sym>,
    /// Category path, its levels joined by `/` (see [`category_path`]); empty where not stated.
    pub category: Option<Sym>,
    /// Variant: size, colour.
    pub variant: Option<Sym>,
    /// The list in which it was shown.
    pub list_id: Option<Sym>,
    /// The stock location.
    pub location_id: Option<Sym>,
    /// Units; at least 1.
    pub quantity: i64,
    /// Price of one unit, in micros of the shop's currency.
    pub price_micros: i64,
}

impl Item {
    /// Price times quantity; the decoder made sure that it fits.
    pub fn amount_micros(&self) -> i128 {
        i128::from(self.price_micros) * i128::from(self.quantity)
    }
}

/// A change of stock at one location.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// The sender's id, or `auto:` and a hash for a `set` without one.
    pub message_id: String,
    /// Which item.
    pub item_id: Sym,
    /// Where; `None` is a shop with one location.
    pub location_id: Option<Sym>,
    /// What to do.
    pub op: StockOp,
    /// Order among the messages of one (item, location); a stream uses versions or it does not.
    pub version: Option<u64>,
    /// When.
    pub occurred_at: Micros,
}

/// What an inventory message does to the units available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StockOp {
    /// They are now so many.
    Set(i64),
    /// So many more, or fewer.
    Delta(i64),
}

/// What an item is: an upsert, or its withdrawal from the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The sender's id, or `auto:` and a hash.
    pub message_id: String,
    /// Which item.
    pub item_id: Sym,
    /// Last write wins by (`updated_at`, `message_id`).
    pub updated_at: Micros,
    /// `None`: the item is deleted from the catalogue.
    pub entry: Option<CatalogueEntry>,
}

/// The fields of a product feed that etalage reads or hands on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CatalogueEntry {
    /// Category path, its levels joined by `/`.
    pub category: Option<Sym>,
    /// Brand.
    pub brand: Option<Sym>,
    /// Units that must remain unsold: sellable means available above it.
    pub safety_threshold: Option<i64>,
    /// Must not be shown, whatever its stock.
    pub withdrawn: bool,
    /// Further feed fields (`title`, `link`, `price`, …) in the order of their names, as text.
    pub fields: Vec<(String, String)>,
}

/// The levels of a category path joined into one text: `/` between levels, and `%` and `/`
/// within a level written `%25` and `%2F`, so that no two paths share a text. `None` where no
/// level has a text.
pub fn category_text<'a>(levels: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut text = String::new();
    for level in levels.into_iter().map(str::trim).filter(|level| !level.is_empty()) {
        if !text.is_empty() {
            text.push('/');
        }
        if !level.contains(['%', '/']) {
            text.push_str(level);
            continue;
        }
        for c in level.chars() {
            match c {
                '%' => text.push_str("%25"),
                '/' => text.push_str("%2F"),
                c => text.push(c),
            }
        }
    }
    (!text.is_empty()).then_some(text)
}

/// The symbol of [`category_text`].
pub fn category_path<'a>(levels: impl IntoIterator<Item = &'a str>) -> Option<Sym> {
    category_text(levels).map(|text| Sym::new(&text))
}

/// Each level of a path that [`category_path`] made, from the top: `Home`, `Home/Kitchen`.
pub fn category_levels(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end]).chain(std::iter::once(path))
}

impl EventKind {
    /// The kind that `name` stands for among GA4's, Segment's and Snowplow's names.
    pub fn from_name(name: &str) -> EventKind {
        match name {
            "view_item" | "Product Viewed" | "product_view" => EventKind::ViewItem,
            "view_item_list" | "Product List Viewed" | "list_view" => EventKind::ViewItemList,
            "select_item" | "Product Clicked" | "list_click" => EventKind::SelectItem,
            "add_to_cart" | "Product Added" => EventKind::AddToCart,
            "remove_from_cart" | "Product Removed" => EventKind::RemoveFromCart,
            "view_cart" | "Cart Viewed" => EventKind::ViewCart,
            "begin_checkout" | "Checkout Started" => EventKind::BeginCheckout,
            "purchase" | "Order Completed" | "transaction" => EventKind::Purchase,
            "refund" | "Order Refunded" | "Order Cancelled" => EventKind::Refund,
            "search" | "Products Searched" => EventKind::Search,
            "view_promotion" | "Promotion Viewed" | "promo_view" => EventKind::ViewPromotion,
            "select_promotion" | "Promotion Clicked" | "promo_click" => EventKind::SelectPromotion,
            _ => EventKind::Other,
        }
    }

    /// The canonical (GA4) name.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::ViewItem => "view_item",
            EventKind::ViewItemList => "view_item_list",
            EventKind::SelectItem => "select_item",
            EventKind::AddToCart => "add_to_cart",
            EventKind::RemoveFromCart => "remove_from_cart",
            EventKind::ViewCart => "view_cart",
            EventKind::BeginCheckout => "begin_checkout",
            EventKind::Purchase => "purchase",
            EventKind::Refund => "refund",
            EventKind::Search => "search",
            EventKind::ViewPromotion => "view_promotion",
            EventKind::SelectPromotion => "select_promotion",
            EventKind::Page => "page",
            EventKind::Identify => "identify",
            EventKind::Alias => "alias",
            EventKind::Unlink => "unlink",
            EventKind::Group => "group",
            EventKind::Other => "other",
        }
    }
}
