//! Random shops: few items, so that ties happen; every kind of message, late, early and out of
//! order; idle gaps in which whole windows expire; and any configuration.

use std::collections::BTreeSet;

use etalage_model::{
    Catalogue, CatalogueEntry, EventKind, Inventory, Item, Message, Micros, ScoreWeights, StockOp, Tick,
};
use etalage_operators::expire::Phase;
use etalage_views::{PeopleOptions, ShopOptions, UnknownStock, VIEWS, Window};
use proptest::{collection::vec, option, prelude::*, sample};

use crate::{
    harness::{Arrivals, record},
    story,
};

/// The finest bucket. Shops live fast: the longest window is 40 of them.
pub(crate) const BUCKET_US: u64 = 1_000;

/// A configuration, what arrives, and where to cut.
#[derive(Clone, Debug)]
pub(crate) struct RandomShop {
    pub(crate) options: ShopOptions,
    pub(crate) arrivals: Arrivals,
    pub(crate) uppers: Vec<Tick>,
}

/// As many cases as `usual`, or as the environment's `PROPTEST_CASES` says.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let told = ProptestConfig::default();
    let is_told = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig { cases: if is_told { told.cases } else { usual }, ..told }
}

/// Any shop.
pub(crate) fn shops() -> impl Strategy<Value = RandomShop> {
    let start = prop_oneof![4 => Just(1_000_000), 1 => Just(1)];
    (options(), start, vec(step(), 1..70), 0u64..80_000).prop_map(|(options, start, steps, idle_us)| {
        let mut timeline = Timeline { now: start, arrivals: Vec::new(), uppers: Vec::new() };
        steps.into_iter().for_each(|step| timeline.take(step));
        timeline.cut();
        timeline.now += idle_us;
        timeline.cut();
        RandomShop { options, arrivals: timeline.arrivals, uppers: timeline.uppers }
    })
}

/// How time goes on before a message.
#[derive(Clone, Copy, Debug)]
enum Gap {
    Span(u64),
    /// To just before, at, or just after the next edge of an aligned bucket.
    Edge(u64),
}

#[derive(Clone, Debug)]
struct Step {
    gap: Gap,
    what: What,
    dated: Dated,
    cut: bool,
}

/// How a message is dated, against the tick of its arrival.
#[derive(Clone, Copy, Debug)]
struct Dated {
    offset_us: i64,
    /// Dated to a round time, so that messages share one.
    is_round: bool,
}

/// The identifiers that an event carries.
#[derive(Clone, Copy, Debug)]
struct Who {
    user: Option<&'static str>,
    visitor: Option<&'static str>,
    previous: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum What {
    Nothing,
    Event {
        kind: EventKind,
        who: Who,
        lines: Vec<Item>,
        order: Option<u8>,
        country: Option<&'static str>,
        device: Option<&'static str>,
        language: Option<&'static str>,
    },
    Stock {
        item: &'static str,
        location: Option<&'static str>,
        op: StockOp,
        version: u64,
    },
    Catalogue {
        item: &'static str,
        entry: Option<CatalogueEntry>,
    },
}

struct Timeline {
    now: Tick,
    arrivals: Arrivals,
    uppers: Vec<Tick>,
}

impl Timeline {
    fn take(&mut self, step: Step) {
        self.now = match step.gap {
            Gap::Span(span_us) => self.now + span_us,
            Gap::Edge(past_us) => self.now.next_multiple_of(BUCKET_US).max(1) - 1 + past_us,
        }
        .max(self.now);
        let at = self.now.saturating_add_signed(step.dated.offset_us);
        let at = if step.dated.is_round { at - at % 250 } else { at };
        if let Some(message) = self.message(step.what, at) {
            self.arrivals.push((self.now, record(message)));
        }
        if step.cut {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.now += 1;
        self.uppers.push(self.now);
    }

    fn message(&self, what: What, at: u64) -> Option<Message> {
        // Ids whose order is not that of arrival.
        let number = self.arrivals.len();
        let message_id = format!("{:02}-{number}", number * 37 % 100);
        let at = Micros(at);
        Some(match what {
            What::Nothing => return None,
            What::Event { kind, who, lines, order, country, device, language } => {
                let mut event = story::event(kind, message_id, at.0);
                event.items = lines;
                event.user_id = who.user.map(str::to_owned);
                event.anonymous_id = who.visitor.map(str::to_owned);
                event.previous_id = who.previous.map(str::to_owned);
                event.transaction_id = order.map(|order| format!("order {order}"));
                event.country = country.map(Into::into);
                event.device = device.map(Into::into);
                event.language = language.map(Into::into);
                Message::Event(event)
            }
            What::Stock { item, location, op, version } => {
                // The stream of an (item, location) uses versions or it does not.
                let versioned = (item.len() + location.map_or(0, str::len)).is_multiple_of(2);
                let version = versioned.then_some(version);
                let (item_id, location_id) = (item.into(), location.map(Into::into));
                Message::Inventory(Inventory { message_id, item_id, location_id, op, version, occurred_at: at })
            }
            What::Catalogue { item, entry } => {
                Message::Catalogue(Catalogue { message_id, item_id: item.into(), updated_at: at, entry })
            }
        })
    }
}

fn step() -> impl Strategy<Value = Step> {
    let gap = prop_oneof![
        10 => Just(Gap::Span(0)),
        6 => (1u64..400).prop_map(Gap::Span),
        3 => (400u64..6_000).prop_map(Gap::Span),
        1 => (6_000u64..70_000).prop_map(Gap::Span),
        2 => (0u64..3).prop_map(Gap::Edge),
    ];
    let what = prop_oneof![1 => Just(What::Nothing), 12 => happening(), 4 => linking(), 4 => stock(), 3 => catalogue()];
    let offset_us = prop_oneof![4 => Just(0), 1 => 0i64..500, 3 => -4_000i64..0, 2 => -70_000i64..0];
    let dated = (offset_us, any::<bool>()).prop_map(|(offset_us, is_round)| Dated { offset_us, is_round });
    (gap, what, dated, prop::bool::weighted(0.3)).prop_map(|(gap, what, dated, cut)| Step { gap, what, dated, cut })
}

fn item_id() -> impl Strategy<Value = &'static str> {
    sample::select(vec!["boot", "clog", "mule", "sandal", "sneaker", "heel+%/"])
}

fn category() -> impl Strategy<Value = Option<&'static str>> {
    let paths = vec!["Home", "Home/Kitchen", "Home/Kitchen/Pans", "Sport", "Sport+Fun/50%25 %2FHome"];
    option::weighted(0.6, sample::select(paths))
}

fn brand() -> impl Strategy<Value = Option<&'static str>> {
    option::weighted(0.5, sample::select(vec!["acme", "a+b", "100%", "%2B"]))
}

fn happening() -> impl Strategy<Value = What> {
    let kinds = vec![
        EventKind::ViewItem,
        EventKind::AddToCart,
        EventKind::Purchase,
        EventKind::Purchase,
        EventKind::Refund,
        EventKind::Search,
        EventKind::RemoveFromCart,
    ];
    let line =
        (item_id(), category(), brand(), 1i64..4, 0i64..3).prop_map(|(item, category, brand, quantity, price)| {
            let (category, brand) = (category.map(Into::into), brand.map(Into::into));
            Item { category, brand, quantity, price_micros: price * 1_500_000, ..story::line(item) }
        });
    let of_event = (
        option::weighted(0.6, sample::select(vec!["Germany", "France", "Trinidad+Tobago"])),
        option::weighted(0.5, sample::select(vec!["mobile", "desktop"])),
        option::weighted(0.3, sample::select(vec!["de", "fr"])),
    );
    let parts = (sample::select(kinds), who(), vec(line, 0..4), option::weighted(0.7, 0u8..4), of_event);
    parts.prop_map(|(kind, who, lines, order, (country, device, language))| What::Event {
        kind,
        who,
        lines,
        order,
        country,
        device,
        language,
    })
}

/// Few people on few devices, so that they meet.
fn who() -> impl Strategy<Value = Who> {
    let user = option::weighted(0.5, sample::select(vec!["ann", "bob", "cy"]));
    let visitor = option::weighted(0.6, sample::select(vec!["v1", "v2", "v3", "ann"]));
    (user, visitor).prop_map(|(user, visitor)| Who { user, visitor, previous: None })
}

/// Links, and what takes them back.
fn linking() -> impl Strategy<Value = What> {
    let kinds = vec![EventKind::Identify, EventKind::Identify, EventKind::Alias, EventKind::Alias, EventKind::Unlink];
    let user = sample::select(vec!["ann", "bob", "cy", "dot"]);
    let previous = option::weighted(0.6, user.clone());
    (sample::select(kinds), who(), user, previous).prop_map(|(kind, who, user, previous)| What::Event {
        kind,
        who: Who { user: Some(user), previous, ..who },
        lines: Vec::new(),
        order: None,
        country: None,
        device: None,
        language: None,
    })
}

fn stock() -> impl Strategy<Value = What> {
    let op = prop_oneof![3 => (-1i64..5).prop_map(StockOp::Set), 2 => (-3i64..4).prop_map(StockOp::Delta)];
    let location = option::weighted(0.5, sample::select(vec!["north", "south"]));
    (item_id(), location, op, 0u64..6).prop_map(|(item, location, op, version)| What::Stock {
        item,
        location,
        op,
        version,
    })
}

fn catalogue() -> impl Strategy<Value = What> {
    let threshold = option::weighted(0.3, -2i64..4);
    let entry = (category(), brand(), threshold, prop::bool::weighted(0.15)).prop_map(
        |(category, brand, safety_threshold, withdrawn)| CatalogueEntry {
            category: category.map(Into::into),
            brand: brand.map(Into::into),
            safety_threshold,
            withdrawn,
            fields: vec![("title".into(), "A shoe".into())],
        },
    );
    (item_id(), option::weighted(0.8, entry)).prop_map(|(item, entry)| What::Catalogue { item, entry })
}

/// Any configuration.
pub(crate) fn options() -> impl Strategy<Value = ShopOptions> {
    let lengths = sample::select(vec![&[1u64][..], &[3], &[2, 6], &[24, 2, 6], &[3, 5], &[4, 8, 40], &[7, 40]]);
    // Shops outlive 33 of the shorter half-lives.
    let half_lives = sample::select(vec![&[][..], &[300u64], &[1_000, 40], &[7, 2_500], &[100_000, 999]]);
    let max_buckets = sample::select(vec![1u64, 2, 3, 5, 10_080]);
    let phase = sample::select(vec![Phase::Aligned, Phase::Spread]);
    let weights = (sample::select(vec![1i64, 0, -1]), -1i64..6, sample::select(vec![20i64, 0, 3, -2]), -20i64..2);
    let unknown = sample::select(vec![UnknownStock::Sellable, UnknownStock::Hidden]);
    let locations = sample::select(vec![&[][..], &["north"], &["north", "south"], &["nowhere"]]);
    let names: Vec<String> = VIEWS.iter().map(|view| view.name.to_owned()).collect();
    let off = prop_oneof![3 => Just(Vec::new()), 1 => sample::subsequence(names, 1..=3)];
    let stock = (unknown, locations, sample::select(vec![0i64, 0, 2, -1]));
    let rest = (1usize..6, people(), off);
    ((lengths, half_lives), max_buckets, phase, dimensions(), weights, stock, rest).prop_map(
        |((lengths, half_lives), max_buckets, phase, dimensions, weights, stock, rest)| {
            let (unknown_stock, locations, safety_threshold) = stock;
            let (k, people, off) = rest;
            let window =
                |buckets: &u64| Window { label: format!("{buckets}b").as_str().into(), length_us: buckets * BUCKET_US };
            let half_life =
                |length_us: &u64| Window { label: format!("{length_us}us").as_str().into(), length_us: *length_us };
            let (view, cart, order, refund) = weights;
            ShopOptions {
                windows: lengths.iter().map(window).collect(),
                half_lives: half_lives.iter().map(half_life).collect(),
                bucket_us: BUCKET_US,
                max_buckets,
                phase,
                scopes: story::scopes(&dimensions),
                weights: ScoreWeights { view, cart, order, refund },
                k,
                locations: locations.iter().map(|location| (*location).into()).collect(),
                unknown_stock,
                safety_threshold,
                people,
                off: off.into_iter().collect::<BTreeSet<String>>(),
                dedup: None,
                ungated: false,
            }
        },
    )
}

/// People who live as fast as their shop.
fn people() -> impl Strategy<Value = PeopleOptions> {
    let lists = (1usize..4, 1usize..4, 1usize..3);
    let spans = (1u64..2_000, 1u64..4_000, 1u64..6_000, sample::select(vec![500u64, 1_000, 7_001, 1_000_000]));
    let limits = (sample::select(vec![1usize, 2, 3, 500]), sample::select(vec![1usize, 2, 1_000]), 1usize..4);
    // Messages come up to 70 ms late.
    let (retention_us, late_us) = (sample::select(vec![3_000u64, 20_000, 60_000, 1_000_000]), 70_000);
    (lists, spans, limits, retention_us).prop_map(move |(lists, spans, limits, retention_us)| PeopleOptions {
        recent_views: lists.0,
        purchases: lists.1,
        affinity: lists.2,
        session_idle_us: spans.0,
        cart_idle_us: spans.1,
        retention_us,
        late_us,
        suppress_us: spans.2,
        affinity_half_life_us: spans.3,
        max_cart_lines: limits.0,
        max_identifiers: limits.1,
        max_link_messages: limits.2,
    })
}

/// One to six dimensions: single ones, and pairs of all sorts in either order.
fn dimensions() -> impl Strategy<Value = Vec<&'static str>> {
    let all: Vec<[&'static str; 2]> = vec![
        ["global", "global"],
        ["category", "category"],
        ["brand", "brand"],
        ["country", "country"],
        ["language", "language"],
        ["country+category", "category+country"],
        ["brand+device", "device+brand"],
        ["category+brand", "brand+category"],
        ["country+device", "device+country"],
    ];
    let some = sample::subsequence(all, 1..=6);
    let order = vec(any::<bool>(), 6);
    (some, order).prop_map(|(some, order)| {
        let named = some.into_iter().zip(order);
        named.map(|(either, second)| either[usize::from(second)]).collect()
    })
}
