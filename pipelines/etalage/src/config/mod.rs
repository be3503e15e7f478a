//! The configuration: a TOML file, then the environment, on top of defaults. Every key, its
//! default and its meaning stand in [`table::TABLE`]; all errors are collected and listed at
//! once, before anything is opened.
//!
//! Reading the file is the only I/O here. Environment variables are passed in.

mod build;
mod check;
mod cluster;
mod convert;
mod errors;
mod kafka;
pub mod kind;
mod read;
pub mod reference;
pub mod sections;
pub mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use etalage_model::{measures::ScoreWeights, money::Currencies};

pub use etalage_operators::expire::Phase;
pub use etalage_store::{Durability, snapshot::Kept};
pub use etalage_views::PeopleOptions;

pub use check::{MAX_DIMENSIONS, MAX_WINDOWS};
pub use cluster::Cluster;
pub use errors::{ConfigError, ConfigErrors, Place};
pub use kafka::{Kafka, SecretPlace};
pub use read::ENVIRONMENT_PREFIX;

/// A longer file is no configuration, and is not read.
pub const MAX_FILE_BYTES: u64 = 1_048_576;

/// Everything that can be configured, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[windows]`
    pub windows: Windows,
    /// `[trending] half_lives`
    pub half_lives: Vec<Window>,
    /// `[shop]`
    pub shop: Shop,
    /// `[scopes] dimensions`
    pub scopes: Vec<ScopeOf>,
    /// `[score]`
    pub score: ScoreWeights,
    /// `[sets]`
    pub sets: Sets,
    /// `[stock]`
    pub stock: Stock,
    /// `[people]`
    pub people: PeopleOptions,
    /// `[store]`
    pub store: Store,
    /// `[snapshots]`
    pub snapshots: Snapshots,
    /// `[time]`
    pub time: Time,
    /// `[dedup]`
    pub dedup: Dedup,
    /// `[limits]`
    pub limits: Limits,
    /// `[server]`
    pub server: Server,
    /// `[keys]`
    pub keys: Keys,
    /// `[views] off`
    pub views_off: BTreeSet<String>,
    /// `[online_retail] non_items`
    pub non_items: BTreeSet<String>,
    /// `[workers] count`
    pub workers: usize,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[kafka]`
    pub kafka: Kafka,
    /// `[quarantine]`
    pub quarantine: QuarantineLimits,
}

/// `[windows]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The windows, in the order in which they were written.
    pub names: Vec<Window>,
    /// Length of the finest bucket.
    pub bucket_us: u64,
    /// Where bucket edges lie.
    pub phase: Phase,
}

/// One rolling window, or one half-life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// What it is called: the text as written.
    pub name: String,
    /// How long it is.
    pub length_us: u64,
}

/// `[shop]`
#[derive(Clone, Debug, PartialEq)]
pub struct Shop {
    /// The shop's currency and the rates of others.
    pub currencies: Currencies,
    /// True where the configuration names the currency; false where it is the default.
    pub currency_is_set: bool,
}

/// What a scope divides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Everything together.
    Global,
    /// Each level of the item's category path.
    Category,
    /// The item's brand.
    Brand,
    /// The event's country.
    Country,
    /// The event's device.
    Device,
    /// The event's language.
    Language,
    /// The event's channel.
    Channel,
}

/// A dimension, or a pair of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeOf {
    /// One dimension: `country:Germany`.
    One(Dimension),
    /// Both at once, in the order in which they were written: `country:Germany+category:Home`.
    Pair(Dimension, Dimension),
}

/// `[sets]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sets {
    /// Items in a set.
    pub k: usize,
    /// Locations whose stock counts; empty: all.
    pub locations: Vec<String>,
}

/// `[stock]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Whether an item whose stock was never set may be sold.
    pub unknown_is_sellable: bool,
    /// Units that must remain.
    pub safety_threshold: i64,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The folder.
    pub dir: PathBuf,
    /// When a message counts as stored.
    pub durability: Durability,
    /// Length at which the log begins a new file.
    pub segment_bytes: u64,
    /// After how much of it the device is asked to catch up, under `process`.
    pub write_behind_bytes: u64,
}

/// `[snapshots]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// Whether there are any.
    pub on: bool,
    /// A folder, or a URL.
    pub url: String,
    /// How long a call to a server is tried again.
    pub retry_us: u64,
    /// How often one is taken.
    pub every_us: u64,
    /// After how many more messages one is taken before its time; 0 is never.
    pub after_records: u64,
    /// Which stay.
    pub kept: Kept,
    /// Of how many keys of a view one says when they changed.
    pub max_kept_changes: usize,
    /// Whether the log before the oldest of them is removed.
    pub trim_log: bool,
}

impl Snapshots {
    /// The URL, or the folder, which lies in `store` where it is relative.
    pub fn place(&self, store: &Path) -> String {
        match self.url.contains("://") {
            true => self.url.clone(),
            false => store.join(&self.url).display().to_string(),
        }
    }

    /// How long a call to a server is tried again.
    pub fn retry_for(&self) -> Duration {
        Duration::from_micros(self.retry_us)
    }
}

/// `[time]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// How far ahead of pipeline time a message may be dated.
    pub max_clock_skew_us: u64,
    /// How old a message may be.
    pub retention_us: u64,
    /// How far ahead of the greatest one before it a replayed message may be dated.
    pub max_replay_gap_us: u64,
    /// The largest jump of the wall clock that is followed.
    pub max_clock_step_us: u64,
    /// How often time advances without input.
    pub tick_idle_us: u64,
    /// How far the views of people may be behind those of the shop.
    pub group_lag_max_us: u64,
}

/// `[dedup]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dedup {
    /// How long an id is remembered.
    pub horizon_us: u64,
    /// How many are.
    pub max_ids: usize,
}

/// `[limits]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of one message.
    pub max_event_bytes: usize,
    /// Length of a request body, unpacked.
    pub max_body_bytes: usize,
    /// Length of what is read and thrown away of a body beyond that.
    pub max_discarded_bytes: usize,
    /// Items in one event.
    pub max_items: usize,
    /// Messages in one request.
    pub max_batch_events: usize,
    /// Distinct interned names.
    pub max_symbols: usize,
    /// Messages that wait to be stored.
    pub ingest_queue_events: usize,
    /// Keys in one read.
    pub max_keys: usize,
    /// Entries in one page of a list.
    pub max_list: usize,
    /// Streams open at once.
    pub max_streams: usize,
    /// Keys that a stream starts from.
    pub max_snapshot_keys: usize,
    /// Messages that a reader of a stream may be behind.
    pub max_lag_frames: usize,
    /// Bytes that a reader of a stream may be behind.
    pub max_lag_bytes: usize,
    /// How long a request body may take to arrive.
    pub body_timeout_s: u64,
    /// How long a request waits for its messages to be stored.
    pub store_timeout_s: u64,
}

/// `[server]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Address and port.
    pub listen: SocketAddr,
}

/// `[keys]`: SHA-256 sums in lower-case hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Of the keys `pk_…`.
    pub publishable: Vec<String>,
    /// Of the keys `sk_…`.
    pub secret: Vec<String>,
}

/// `[quarantine]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineLimits {
    /// How many records are kept.
    pub max_records: u64,
    /// How much of each is kept as it was sent.
    pub max_raw_bytes: usize,
}

/// A configuration and what in it was given, not default.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Key → where it was given.
    pub given: BTreeMap<&'static str, Place>,
}

impl Config {
    /// Reads `file` (none: defaults only) and then `environment`, whose variables
    /// (`ETALAGE_WINDOWS__BUCKET=1h`) take precedence. `views` are the names that `[views] off`
    /// may hold.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        views: &[&str],
    ) -> Result<Loaded, ConfigErrors> {
        let Some(path) = file else { return Config::from_text("", "", environment, views) };
        let shown = path.display().to_string();
        let unreadable = |reason: String| ConfigErrors::Unreadable { path: shown.clone(), reason };
        let length = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if length > MAX_FILE_BYTES {
            return Err(unreadable(format!("has {length} bytes, more than the {MAX_FILE_BYTES} of any configuration")));
        }
        let bytes = fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| unreadable("is no UTF-8 text".to_owned()))?;
        Config::from_text(&shown, &text, environment, views)
    }

    /// As [`Config::load`], from a text that `name` stands for in errors.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_text(
        name: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        views: &[&str],
    ) -> Result<Loaded, ConfigErrors> {
        let mut errors = Vec::new();
        let mut given = read::file(name, text, &mut errors);
        given.extend(read::environment(environment, &mut errors));
        let values = build::Values::check(given, views, &mut errors);
        let config = build::config(&values, &mut errors);
        if errors.is_empty() { Ok(Loaded { config, given: values.given() }) } else { Err(ConfigErrors::wrong(errors)) }
    }

    /// Puts `port` in the place of the configured one.
    pub fn set_port(&mut self, port: u16) {
        self.server.listen.set_port(port);
    }

    /// The configuration for a replay of a format whose prices are in `currency`: the shop's
    /// currency is that too, unless the configuration names one.
    pub fn priced_in(mut self, currency: &str) -> Config {
        if !self.shop.currency_is_set {
            self.shop.currencies.shop = currency.to_owned();
        }
        self
    }
}

impl Default for Config {
    /// The defaults of [`table::TABLE`].
    fn default() -> Config {
        match Config::from_text("", "", [], &[]) {
            Ok(loaded) => loaded.config,
            Err(errors) => unreachable!("the table's defaults are checked by a test: {errors}"),
        }
    }
}

impl Dimension {
    /// All of them.
    pub const ALL: [Dimension; 7] = [
        Dimension::Global,
        Dimension::Category,
        Dimension::Brand,
        Dimension::Country,
        Dimension::Device,
        Dimension::Language,
        Dimension::Channel,
    ];

    /// The name in the configuration and in scopes.
    pub fn name(self) -> &'static str {
        match self {
            Dimension::Global => "global",
            Dimension::Category => "category",
            Dimension::Brand => "brand",
            Dimension::Country => "country",
            Dimension::Device => "device",
            Dimension::Language => "language",
            Dimension::Channel => "channel",
        }
    }
}

impl fmt::Display for ScopeOf {
    /// As it is written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScopeOf::One(dimension) => f.write_str(dimension.name()),
            ScopeOf::Pair(a, b) => write!(f, "{}+{}", a.name(), b.name()),
        }
    }
}

#[cfg(test)]
mod tests;
