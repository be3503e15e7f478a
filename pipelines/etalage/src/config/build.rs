//! Puts the checked values together into a [`Config`], and checks what concerns several keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use etalage_model::{measures::ScoreWeights, money::Currencies, time::parse_span_us};
use etalage_operators::expire::{Phase, Windows as ExpiryWindows};
use etalage_store::{Durability, snapshot::Kept};
use etalage_views::{PeopleOptions, options::MAX_BUCKETS};

use super::{
    Config, ConfigError, Dedup, Keys, Limits, Place, QuarantineLimits, Server, Sets, Shop, Snapshots, Stock, Store,
    Time, Windows,
    check::{self, Value},
    cluster,
    errors::suggestion,
    kafka,
    read::{self, Given, Raw},
    table::TABLE,
};

const DAY_US: u64 = 86_400_000_000;
/// `time.retention = "auto"` is at least this.
const MIN_AUTO_RETENTION_US: u64 = 400 * DAY_US;
/// `time.retention = "auto"` is the longest window and this.
const AUTO_RETENTION_MARGIN_US: u64 = 30 * DAY_US;
/// `people.profile_retention = "auto"` is at least this.
const MIN_AUTO_PROFILE_RETENTION_US: u64 = 1_095 * DAY_US;
/// What was silent for `people.profile_retention` is kept at least this long for events that come late, however short
/// `time.retention` is: where that is changed, nothing is joined otherwise than before.
const MIN_LATE_US: u64 = MIN_AUTO_RETENTION_US;
/// Between pauses of `people.profile_retention` one id is remembered at most about so many times.
const MAX_SPANS: u64 = 1_000;

/// One value for each key of the table.
pub(super) struct Values {
    values: BTreeMap<&'static str, (Value, Place)>,
    /// Keys whose given value was wrong: the default stands in for it, and checks across keys
    /// leave them alone.
    wrong: BTreeSet<&'static str>,
}

impl Values {
    /// Checks each given value by its kind; later ones take precedence.
    pub(super) fn check(given: Vec<Given>, views: &[&str], errors: &mut Vec<ConfigError>) -> Values {
        let mut layered: BTreeMap<&'static str, (Raw, Place)> = BTreeMap::new();
        let mut wrong = BTreeSet::new();
        for Given { key, raw, place } in given {
            let Some(entry) = TABLE.iter().find(|entry| entry.key == key) else {
                let message = format!("no such key; {}", suggestion(&key));
                errors.push(ConfigError { place, key: Some(key), message });
                continue;
            };
            let raw = match (layered.remove(entry.key), raw) {
                // Rates of the environment stand beside those of the file.
                (Some((Raw::Table(mut below), _)), Raw::Table(above)) => {
                    below.retain(|(name, _)| above.iter().all(|(other, _)| other != name));
                    below.extend(above);
                    Raw::Table(below)
                }
                (_, raw) => raw,
            };
            if let Err(messages) = check::value(entry, &raw, views) {
                wrong.insert(entry.key);
                let wrong = |message| ConfigError { place: place.clone(), key: Some(key.clone()), message };
                errors.extend(messages.into_iter().map(wrong));
            } else {
                wrong.remove(entry.key);
            }
            layered.insert(entry.key, (raw, place));
        }
        let values = TABLE.iter().map(|entry| {
            let of_default = || {
                let value = check::value(entry, &read::default(entry.default), views);
                (value.expect("a default is of its key's kind; a test reads them all"), Place::Default)
            };
            let value = match layered.remove(entry.key) {
                Some((raw, place)) if !wrong.contains(entry.key) => {
                    check::value(entry, &raw, views).map_or_else(|_| of_default(), |value| (value, place))
                }
                _ => of_default(),
            };
            (entry.key, value)
        });
        Values { values: values.collect(), wrong }
    }

    /// The keys that were given, and where.
    pub(super) fn given(&self) -> BTreeMap<&'static str, Place> {
        let given = self.values.iter().filter(|(_, (_, place))| *place != Place::Default);
        given.map(|(key, (_, place))| (*key, place.clone())).collect()
    }

    fn value(&self, key: &str) -> &Value {
        &self.values[key].0
    }

    pub(super) fn text(&self, key: &str) -> &str {
        match self.value(key) {
            Value::Text(text) => text,
            other => unreachable!("{key} is a text in the table, not {other:?}"),
        }
    }

    fn int(&self, key: &str) -> i64 {
        match self.value(key) {
            Value::Int(number) => *number,
            other => unreachable!("{key} is a number in the table, not {other:?}"),
        }
    }

    /// A number whose bounds in the table make it a size.
    pub(super) fn size(&self, key: &str) -> usize {
        usize::try_from(self.int(key)).unwrap_or(usize::MAX)
    }

    fn span(&self, key: &str) -> Option<u64> {
        match self.value(key) {
            Value::Span(span) => *span,
            other => unreachable!("{key} is a duration in the table, not {other:?}"),
        }
    }

    /// A duration that cannot be `auto`.
    pub(super) fn span_us(&self, key: &str) -> u64 {
        self.span(key).unwrap_or_default()
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            Value::List(list) => list.clone(),
            other => unreachable!("{key} is a list in the table, not {other:?}"),
        }
    }

    fn address(&self, key: &str) -> SocketAddr {
        match self.value(key) {
            Value::Address(address) => *address,
            other => unreachable!("{key} is an address in the table, not {other:?}"),
        }
    }

    /// An error at `key`, unless one of the keys it is about was wrong in itself.
    pub(super) fn object(&self, errors: &mut Vec<ConfigError>, about: &[&'static str], message: String) {
        if about.iter().any(|key| self.wrong.contains(key)) {
            return;
        }
        // The place is that of the first key that was given; the message names the others.
        let given = about.iter().find(|key| self.values[**key].1 != Place::Default);
        let key = given.or(about.first()).expect("an error is about a key");
        errors.push(ConfigError { place: self.values[key].1.clone(), key: Some((*key).to_owned()), message });
    }
}

/// The configuration of `values`; what does not fit together is added to `errors`.
pub(super) fn config(values: &Values, errors: &mut Vec<ConfigError>) -> Config {
    let complaints = errors.len();
    let windows = windows(values, errors);
    let right = Some(&windows).filter(|_| errors.len() == complaints);
    let longest_us = windows.names.iter().map(|window| window.length_us).max().unwrap_or_default();
    let time = time(values, longest_us, errors);
    Config {
        shop: shop(values, errors),
        scopes: match values.value("scopes.dimensions") {
            Value::Dimensions(scopes) => scopes.clone(),
            other => unreachable!("scopes.dimensions are dimensions in the table, not {other:?}"),
        },
        score: ScoreWeights {
            view: values.int("score.view"),
            cart: values.int("score.cart"),
            order: values.int("score.order"),
            refund: values.int("score.refund"),
        },
        sets: Sets { k: values.size("sets.k"), locations: values.list("sets.locations") },
        stock: Stock {
            unknown_is_sellable: values.text("stock.unknown") == "sellable",
            safety_threshold: values.int("stock.safety_threshold"),
        },
        people: people(values, right, time.retention_us, errors),
        store: Store {
            dir: values.text("store.dir").into(),
            durability: match values.text("store.durability") {
                "fsync" => Durability::Fsync,
                _ => Durability::Process,
            },
            segment_bytes: values.size("store.segment_bytes") as u64,
            write_behind_bytes: values.size("store.write_behind_bytes") as u64,
        },
        snapshots: Snapshots {
            on: values.text("snapshots.on") == "yes",
            trim_log: values.text("snapshots.trim_log") == "yes",
            url: values.text("snapshots.url").to_owned(),
            retry_us: values.span_us("snapshots.retry_for"),
            every_us: values.span_us("snapshots.every"),
            after_records: values.size("snapshots.after_records") as u64,
            kept: Kept {
                newest: values.size("snapshots.keep"),
                for_us: values.span_us("snapshots.keep_for"),
                max_bytes: values.size("snapshots.keep_bytes") as u64,
            },
            max_kept_changes: values.size("snapshots.max_kept_changes"),
        },
        time,
        dedup: Dedup { horizon_us: values.span_us("dedup.horizon"), max_ids: values.size("dedup.max_ids") },
        limits: limits(values, errors),
        server: Server { listen: values.address("server.listen") },
        keys: keys(values, errors),
        views_off: values.list("views.off").into_iter().collect(),
        non_items: values.list("online_retail.non_items").into_iter().collect(),
        workers: values.size("workers.count"),
        cluster: cluster::cluster(values, errors),
        kafka: kafka::kafka(values, errors),
        quarantine: QuarantineLimits {
            max_records: values.size("quarantine.max_records") as u64,
            max_raw_bytes: values.size("quarantine.max_raw_bytes"),
        },
        half_lives: match values.value("trending.half_lives") {
            Value::Windows(half_lives) => half_lives.clone(),
            other => unreachable!("trending.half_lives are durations in the table, not {other:?}"),
        },
        windows,
    }
}

fn windows(values: &Values, errors: &mut Vec<ConfigError>) -> Windows {
    let names = match values.value("windows.names") {
        Value::Windows(windows) => windows.clone(),
        other => unreachable!("windows.names are windows in the table, not {other:?}"),
    };
    let bucket_us = values.span_us("windows.bucket");
    let uneven = names.iter().filter(|window| window.length_us % bucket_us != 0);
    let uneven: Vec<String> = uneven.map(|window| format!("`{}`", window.name)).collect();
    if !uneven.is_empty() {
        let message = format!(
            "a bucket of {} does not divide the window {}; choose a bucket of which every window is a multiple, such \
             as \"10s\"",
            span_text(bucket_us),
            uneven.join(", ")
        );
        values.object(errors, &["windows.bucket", "windows.names"], message);
    }
    let phase = if values.text("windows.phase") == "aligned" { Phase::Aligned } else { Phase::Spread };
    Windows { names, bucket_us, phase }
}

fn shop(values: &Values, errors: &mut Vec<ConfigError>) -> Shop {
    let mut currencies = Currencies::only(values.text("shop.currency"));
    if let Value::Rates(rates) = values.value("shop.rates") {
        currencies.rates = rates.clone();
    }
    if currencies.rates.contains_key(&currencies.shop) {
        let message = format!("holds a rate for {0}, the shop's own currency; leave {0} out", currencies.shop);
        values.object(errors, &["shop.rates", "shop.currency"], message);
    }
    Shop { currencies, currency_is_set: values.values["shop.currency"].1 != Place::Default }
}

fn time(values: &Values, longest_us: u64, errors: &mut Vec<ConfigError>) -> Time {
    let auto_us = MIN_AUTO_RETENTION_US.max(longest_us.saturating_add(AUTO_RETENTION_MARGIN_US));
    let retention_us = values.span("time.retention").unwrap_or(auto_us);
    if retention_us < longest_us {
        let message = format!(
            "is shorter than the longest window of {}; make it at least as long, or \"auto\"",
            span_text(longest_us)
        );
        values.object(errors, &["time.retention", "windows.names"], message);
    }
    Time {
        max_clock_skew_us: values.span_us("time.max_clock_skew"),
        retention_us,
        max_replay_gap_us: values.span_us("time.max_replay_gap"),
        max_clock_step_us: values.span_us("time.max_clock_step"),
        tick_idle_us: values.span_us("time.tick_idle"),
        group_lag_max_us: values.span_us("time.group_lag_max"),
    }
}

fn people(
    values: &Values,
    windows: Option<&Windows>,
    retention_us: u64,
    errors: &mut Vec<ConfigError>,
) -> PeopleOptions {
    let late_us = retention_us.max(MIN_LATE_US);
    let horizon_us = windows.map_or(0, |windows| {
        let lengths: Vec<u64> = windows.names.iter().map(|window| window.length_us).collect();
        ExpiryWindows::new(&lengths, windows.bucket_us, MAX_BUCKETS, Phase::Spread).horizon_us()
    });
    let of = |key: &'static str| (values.span_us(key), key);
    let others = ["people.suppress_for", "people.cart_idle", "people.session_idle"].map(of);
    let spans = [(horizon_us, "windows.names"), (late_us.div_ceil(MAX_SPANS), "time.retention")];
    let (least_us, key) = others.into_iter().chain(spans).max_by_key(|(least_us, _)| *least_us).unwrap_or_default();
    let auto_us = MIN_AUTO_PROFILE_RETENTION_US.max(least_us);
    let retention_us = values.span("people.profile_retention").unwrap_or(auto_us);
    if retention_us < least_us {
        let message =
            format!("is shorter than the {} that `{key}` takes; make it as long, or \"auto\"", span_text(least_us));
        values.object(errors, &["people.profile_retention", key], message);
    }
    PeopleOptions {
        recent_views: values.size("people.recent_views"),
        purchases: values.size("people.purchases"),
        affinity: values.size("people.affinity"),
        affinity_half_life_us: values.span_us("people.affinity_half_life"),
        session_idle_us: values.span_us("people.session_idle"),
        cart_idle_us: values.span_us("people.cart_idle"),
        retention_us,
        late_us,
        suppress_us: values.span_us("people.suppress_for"),
        max_cart_lines: values.size("people.max_cart_lines"),
        max_identifiers: values.size("people.max_identifiers"),
        max_link_messages: values.size("people.max_link_messages"),
    }
}

fn limits(values: &Values, errors: &mut Vec<ConfigError>) -> Limits {
    let limits = Limits {
        max_event_bytes: values.size("limits.max_event_bytes"),
        max_body_bytes: values.size("limits.max_body_bytes"),
        max_discarded_bytes: values.size("limits.max_discarded_bytes"),
        max_items: values.size("limits.max_items"),
        max_batch_events: values.size("limits.max_batch_events"),
        max_symbols: values.size("limits.max_symbols"),
        ingest_queue_events: values.size("limits.ingest_queue_events"),
        max_keys: values.size("limits.max_keys"),
        max_list: values.size("limits.max_list"),
        max_streams: values.size("limits.max_streams"),
        max_snapshot_keys: values.size("limits.max_snapshot_keys"),
        max_lag_frames: values.size("limits.max_lag_frames"),
        max_lag_bytes: values.size("limits.max_lag_bytes"),
        body_timeout_s: values.size("limits.body_timeout_s") as u64,
        store_timeout_s: values.size("limits.store_timeout_s") as u64,
    };
    if limits.max_event_bytes > limits.max_body_bytes {
        let message = format!(
            "a message of {} bytes would not fit into a body of {}; make limits.max_body_bytes the larger one",
            limits.max_event_bytes, limits.max_body_bytes
        );
        values.object(errors, &["limits.max_event_bytes", "limits.max_body_bytes"], message);
    }
    limits
}

fn keys(values: &Values, errors: &mut Vec<ConfigError>) -> Keys {
    let keys = Keys { publishable: values.list("keys.publishable"), secret: values.list("keys.secret") };
    let listen = values.address("server.listen");
    if !listen.ip().is_loopback() && keys.secret.is_empty() && keys.publishable.is_empty() {
        let message = format!(
            "{listen} can be reached by others, and no keys are configured; write the hash of a key into [keys] \
             secret (`etalage key new sk` makes one), or listen on 127.0.0.1"
        );
        values.object(errors, &["server.listen", "keys.publishable", "keys.secret"], message);
    }
    if let Some(both) = keys.publishable.iter().find(|hash| keys.secret.contains(hash)) {
        let message = format!("{both} stands in keys.publishable and in keys.secret; a key is one or the other");
        values.object(errors, &["keys.publishable", "keys.secret"], message);
    }
    keys
}

/// `span_us` as a configuration would write it, in the largest unit that fits.
pub(super) fn span_text(span_us: u64) -> String {
    let units = [("d", DAY_US), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];
    let fitting = units.into_iter().find(|(_, us)| span_us.is_multiple_of(*us));
    let text = fitting.map_or_else(String::new, |(unit, us)| format!("{}{unit}", span_us / us));
    debug_assert_eq!(parse_span_us(&text), Ok(span_us));
    text
}
