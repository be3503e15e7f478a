//! Every key of the configuration: its kind, its default and what it means. The reader, the
//! checks, the environment overrides, `etalage config reference` and `docs/configuration.md` all
//! walk this one table.

use super::kind::Kind;

/// One key of the configuration.
#[derive(Debug)]
pub struct Entry {
    /// Section and name, joined by a dot: `windows.bucket`.
    pub key: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// The default, as TOML.
    pub default: &'static str,
    /// What it means, in sentences.
    pub doc: &'static str,
}

const MANY: i64 = 1_000_000_000_000;

const fn entry(key: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Entry {
    Entry { key, kind, default, doc }
}

/// All keys, section by section.
pub const TABLE: &[Entry] = &[
    entry(
        "windows.names",
        Kind::Windows,
        r#"["5m", "1h", "24h", "7d", "28d"]"#,
        "The windows. Each is called exactly what is written here, in keys and answers.",
    ),
    entry(
        "windows.bucket",
        Kind::Span,
        r#""10s""#,
        "Length of the finest bucket; events leave a window bucket by bucket. It must divide every window.",
    ),
    entry(
        "windows.phase",
        Kind::OneOf(&["spread", "aligned"]),
        r#""spread""#,
        "`spread` offsets each key's bucket edges by a hash of the key, so that expiry is spread over time. \
         `aligned` keeps edges on multiples of the bucket.",
    ),
    entry(
        "trending.half_lives",
        Kind::HalfLives,
        r#"["1h", "24h"]"#,
        "The half-lives of `item.trend` and `set.trending`: after each, what happened counts half as much; after 33 it \
         is let go. Each is called exactly what is written here, in keys and answers. Empty: both views are off.",
    ),
    entry(
        "shop.currency",
        Kind::Currency,
        r#""EUR""#,
        "The shop's currency. An event without a currency is in this one.",
    ),
    entry(
        "shop.rates",
        Kind::Rates,
        "{}",
        "What one unit of another currency is worth in the shop's, from a date on, for example \
         `GBP = { \"2010-01-01\" = 1.17 }`. An event in a currency without a rate is quarantined.",
    ),
    entry(
        "scopes.dimensions",
        Kind::Dimensions,
        r#"["global", "category", "brand", "country"]"#,
        "Dimensions among global, category, brand, country, device, language and channel, and pairs of two \
         different ones, such as `country+category`. Category and brand are the item's, the others the event's.",
    ),
    entry("score.view", Kind::Int(-1_000_000, 1_000_000), "1", "Points for a view of the item."),
    entry("score.cart", Kind::Int(-1_000_000, 1_000_000), "5", "Points for a line added to a cart."),
    entry("score.order", Kind::Int(-1_000_000, 1_000_000), "20", "Points for a distinct order."),
    entry("score.refund", Kind::Int(-1_000_000, 1_000_000), "-20", "Points for a refunded line."),
    entry("sets.k", Kind::Int(1, 1_000), "10", "How many items a set has at most."),
    entry("sets.locations", Kind::List, "[]", "Locations whose stock counts for the sets. Empty: all."),
    entry(
        "stock.unknown",
        Kind::OneOf(&["sellable", "hidden"]),
        r#""sellable""#,
        "What an item is whose stock was never set.",
    ),
    entry(
        "stock.safety_threshold",
        Kind::Int(0, MANY),
        "0",
        "Units that must remain: an item is sellable while more than these are available. The catalogue may \
         name another threshold for an item.",
    ),
    entry("people.recent_views", Kind::Int(1, 100), "10", "Items in `profile.recent_views`."),
    entry("people.purchases", Kind::Int(1, 100), "10", "Orders in `profile.purchases`."),
    entry("people.affinity", Kind::Int(1, 100), "5", "Categories, and brands, in `profile.affinity`."),
    entry(
        "people.affinity_half_life",
        Kind::Span,
        r#""14d""#,
        "After this long an event counts half as much in `profile.affinity`.",
    ),
    entry("people.session_idle", Kind::Span, r#""30m""#, "A pause longer than this ends a session."),
    entry(
        "people.cart_idle",
        Kind::Span,
        r#""1h""#,
        "A cart to which nothing has happened for this long counts as abandoned.",
    ),
    entry(
        "people.suppress_for",
        Kind::Span,
        r#""30d""#,
        "For this long after a purchase an item stands in `audience.suppress`.",
    ),
    entry(
        "people.profile_retention",
        Kind::SpanOrAuto,
        r#""auto""#,
        "What an id of a customer or visitor did is forgotten when nothing was heard of it for this long. `auto` is three \
         years, or as long as the longest window with its bucket, `suppress_for`, `cart_idle`, or a thousandth of \
         `time.retention`. Not shorter than those.",
    ),
    entry(
        "people.max_cart_lines",
        Kind::Int(1, 10_000),
        "500",
        "The newest lines of cart events that are kept of a person.",
    ),
    entry(
        "people.max_identifiers",
        Kind::Int(1, 100_000),
        "1_000",
        "Visitors' ids that may belong to one user: those with the oldest links.",
    ),
    entry(
        "people.max_link_messages",
        Kind::Int(1, 10_000),
        "32",
        "Explicit links that are remembered of one pair of ids: so many oldest, and so many newest.",
    ),
    entry(
        "store.dir",
        Kind::Text,
        r#""etalage-data""#,
        "Folder of the log and the quarantine; `--data-dir` takes its place. One process at a time uses it.",
    ),
    entry(
        "store.durability",
        Kind::OneOf(&["process", "fsync"]),
        r#""process""#,
        "When a message counts as stored: `process` survives the end of the process (kill -9), `fsync` also the \
         loss of power, at the cost of a wait for the disk.",
    ),
    entry(
        "store.segment_bytes",
        Kind::Int(1_048_576, 17_179_869_184),
        "67_108_864",
        "Length at which the log begins a new file.",
    ),
    entry(
        "store.write_behind_bytes",
        Kind::Int(0, 17_179_869_184),
        "4_194_304",
        "With `durability = \"process\"`, after how much of a file the device is asked to catch up, on a thread of \
         its own: a new file waits for what it has not. 0 is never.",
    ),
    entry(
        "snapshots.on",
        Kind::OneOf(&["yes", "no"]),
        r#""yes""#,
        "Whether `etalage run` takes snapshots, and starts from one.",
    ),
    entry(
        "snapshots.url",
        Kind::Place,
        r#""snapshots""#,
        "Where they are: a folder (one that is relative lies in `store.dir`), or, in a build with the feature `cloud`, \
         `s3://bucket/path`, `gs://bucket/path` or `az://container/path`, with credentials from the environment \
         (docs/snapshots.md). One store has it for itself.",
    ),
    entry(
        "snapshots.retry_for",
        Kind::Span,
        r#""10s""#,
        "How long a call to a server of `url` that fails for a reason that may pass (it is busy, or does not answer) \
         is tried again. Then there is no snapshot this time, or no start.",
    ),
    entry(
        "snapshots.every",
        Kind::Span,
        r#""5m""#,
        "How often one is taken, if anything was stored since the one before.",
    ),
    entry(
        "snapshots.after_records",
        Kind::Int(0, MANY),
        "1_000_000",
        "After so many more messages one is taken before its time: it bounds what a restart reads of the log. 0 is \
         never.",
    ),
    entry(
        "snapshots.keep",
        Kind::Int(2, 1_000),
        "2",
        "So many of the newest stay in any case. Where one is damaged, the one before it takes its place.",
    ),
    entry("snapshots.keep_for", Kind::Span, r#""1m""#, "Older ones stay for so long, within `keep_bytes`."),
    entry(
        "snapshots.keep_bytes",
        Kind::Int(0, MANY),
        "10_737_418_240",
        "Older ones than `keep` stay only as long as all of them have no more bytes together.",
    ),
    entry(
        "snapshots.max_kept_changes",
        Kind::Int(0, 100_000_000),
        "100_000",
        "Of how many keys of a view one says when they changed, those that changed last: so that ETags hold, and streams \
         go on, over a restart. Of the others a reader gets the value once more.",
    ),
    entry(
        "snapshots.trim_log",
        Kind::OneOf(&["yes", "no"]),
        r#""no""#,
        "Whether files of the log are removed that lie before the oldest snapshot. Then nobody can be erased any more, \
         `verify` has nothing to compare with, and other options cannot be started with; snapshots share their chunks, \
         so keep them where storage makes copies of its own.",
    ),
    entry(
        "time.max_clock_skew",
        Kind::Span,
        r#""2m""#,
        "A message dated further ahead of pipeline time is quarantined as `future`.",
    ),
    entry(
        "time.retention",
        Kind::SpanOrAuto,
        r#""auto""#,
        "A message older than this is quarantined as `too_old`. `auto` is the greater of 400 days and the longest \
         window plus 30 days. Not shorter than the longest window.",
    ),
    entry(
        "time.max_replay_gap",
        Kind::Span,
        r#""30d""#,
        "In a replay, a message dated further ahead of the greatest one before it is quarantined as `replay_gap`: \
         one wrong date must not empty the windows.",
    ),
    entry(
        "time.max_clock_step",
        Kind::Span,
        r#""1m""#,
        "A jump of the wall clock above this is not followed, but reported; `etalage clock accept` adopts it.",
    ),
    entry(
        "time.tick_idle",
        Kind::Span,
        r#""10ms""#,
        "Without input, time advances this often, so that windows expire.",
    ),
    entry(
        "time.group_lag_max",
        Kind::Span,
        r#""10s""#,
        "How far the views of people may be behind those of the shop: beyond it messages are turned away (429), \
         and reads of both together are not answered (503). Reads of the shop go on.",
    ),
    entry(
        "dedup.horizon",
        Kind::Span,
        r#""1h""#,
        "How long after its arrival a messageId is remembered. Within it, a message sent again is answered \
         `duplicate` and counted once.",
    ),
    entry(
        "dedup.max_ids",
        Kind::Int(1_000, 10_000_000_000),
        "4_000_000",
        "How many ids are remembered. Where this is reached first, the horizon shrinks and a metric says so.",
    ),
    entry("limits.max_event_bytes", Kind::Int(256, 16_777_216), "32_768", "Length of one message."),
    entry(
        "limits.max_body_bytes",
        Kind::Int(1_024, 1_073_741_824),
        "512_000",
        "Length of a request body, unpacked. Beyond it the answer is 413.",
    ),
    entry(
        "limits.max_discarded_bytes",
        Kind::Int(0, 1_073_741_824),
        "8_388_608",
        "How much of what a body has beyond that is read and thrown away, so that its sender gets to read the \
         answer. A sender of more is cut off.",
    ),
    entry("limits.max_items", Kind::Int(1, 10_000), "200", "Items in one event."),
    entry("limits.max_batch_events", Kind::Int(1, 1_000_000), "5_000", "Messages in one request."),
    entry(
        "limits.max_symbols",
        Kind::Int(1_000, 4_000_000_000),
        "20_000_000",
        "Distinct names (items, categories, countries, locations and so on) that are kept in memory. Messages \
         with further ones are quarantined.",
    ),
    entry(
        "limits.ingest_queue_events",
        Kind::Int(16, 100_000_000),
        "65_536",
        "Messages that wait to be stored. Beyond it the answer is 429.",
    ),
    entry("limits.max_keys", Kind::Int(1, 100_000), "1_000", "Keys in one read."),
    entry("limits.max_list", Kind::Int(1, 1_000_000), "10_000", "Entries in one page of a list."),
    entry("limits.max_streams", Kind::Int(1, 1_000_000), "2_000", "Streams (Server-Sent Events) open at once."),
    entry("limits.max_snapshot_keys", Kind::Int(1, 100_000_000), "250_000", "Keys that a stream starts from."),
    entry("limits.max_lag_frames", Kind::Int(1, 1_000_000), "512", "Messages that a reader of a stream may be behind."),
    entry(
        "limits.max_lag_bytes",
        Kind::Int(1_024, 1 << 30),
        "16_777_216",
        "Bytes that a reader of a stream may be behind; beyond it the stream starts again from a snapshot.",
    ),
    entry("limits.body_timeout_s", Kind::Int(1, 3_600), "30", "Seconds that a request body may take to arrive."),
    entry(
        "limits.store_timeout_s",
        Kind::Int(1, 3_600),
        "30",
        "Seconds after which a request whose messages are not stored yet is told that their fate is unknown.",
    ),
    entry(
        "server.listen",
        Kind::Address,
        r#""127.0.0.1:7878""#,
        "Address and port; `--port` takes the place of the port, and port 0 is any free one. Elsewhere than on \
         the loopback address, keys must be configured.",
    ),
    entry(
        "keys.publishable",
        Kind::Hashes,
        "[]",
        "Hashes of the keys `pk_…`, which may stand in a web page: they send events and read the views of the shop.",
    ),
    entry(
        "keys.secret",
        Kind::Hashes,
        "[]",
        "Hashes of the keys `sk_…`, which may do everything and stay on the shop's servers.",
    ),
    entry("views.off", Kind::Views, "[]", "Names of views to switch off, such as `scope.totals`."),
    entry(
        "online_retail.non_items",
        Kind::List,
        "[]",
        "Codes that are no products, such as `POST`; their lines are left out. Empty: all are kept.",
    ),
    entry("workers.count", Kind::Int(1, 256), "1", "How many threads the dataflow runs on."),
    entry(
        "cluster.addresses",
        Kind::List,
        "[]",
        "Where each process is reached by the others, as `host:port`; the first is the head, which stores and publishes. \
         Empty: there is one process. What passes between them is not encrypted (docs/cluster.md).",
    ),
    entry(
        "cluster.process",
        Kind::Int(0, 255),
        "0",
        "Which of them this process is, counted from 0; `etalage run --process` takes its place.",
    ),
    entry(
        "cluster.listen",
        Kind::Text,
        r#""auto""#,
        "Where it listens for the others, as `host:port`; `auto` is its own address.",
    ),
    entry(
        "cluster.timeout",
        Kind::Span,
        r#""5s""#,
        "A process of which nothing is heard for so long is gone: the cluster stops, to be started again as one.",
    ),
    entry(
        "cluster.readers",
        Kind::Text,
        r#""auto""#,
        "Where values are read, as processes other than the head tell whoever asks them for some; `auto` is the HTTP \
         interface of the head, which is also named for everything else.",
    ),
    entry(
        "kafka.brokers",
        Kind::List,
        "[]",
        "Addresses of brokers, such as `kafka-1:9092`. Empty: neither read from nor written to.",
    ),
    entry(
        "kafka.properties",
        Kind::List,
        "[]",
        "Further settings of librdkafka, each as `name=value`: security, mostly, such as \
         `security.protocol=SASL_SSL`. They take precedence over etalage's own.",
    ),
    entry(
        "kafka.secrets",
        Kind::List,
        "[]",
        "Where settings of librdkafka stand that nobody may see, each as `name=file:PATH` or `name=env:NAME`, such as \
         `sasl.password=file:/run/secrets/kafka`. They are read whenever a client is made.",
    ),
    entry("kafka.events", Kind::List, "[]", "Topics of events. Empty: none is read."),
    entry("kafka.inventory", Kind::List, "[]", "Topics of inventory messages."),
    entry(
        "kafka.catalog",
        Kind::List,
        "[]",
        "Topics of catalogue messages. A tombstone, keyed by `item_id`, withdraws the item.",
    ),
    entry(
        "kafka.group",
        Kind::Text,
        r#""etalage""#,
        "The consumer group to which offsets are committed, so that lag can be watched. Nothing is read back from it.",
    ),
    entry(
        "kafka.discover",
        Kind::Span,
        r#""10s""#,
        "How often topics are asked whether they have got more partitions.",
    ),
    entry(
        "kafka.quarantine",
        Kind::Text,
        r#""etalage.quarantine.v1""#,
        "The topic of messages that could not be taken.",
    ),
    entry(
        "kafka.prefix",
        Kind::Text,
        r#""etalage.""#,
        "What the names of the topics that are written begin with: `etalage.set.bestsellers.v1`.",
    ),
    entry(
        "kafka.linger",
        Kind::Span,
        r#""500us""#,
        "While values are on their way, how long others wait to be sent together. Where none is, they go at once.",
    ),
    entry(
        "kafka.publish_interval",
        Kind::List,
        "[]",
        "Views whose changes are written at most so often, each as `view=duration`, such as `item.popularity=1s`. What \
         can no longer be sold is written at once, and so is every set that still shows it. Progress keeps the pace \
         of the slowest view.",
    ),
    entry(
        "kafka.change_streams",
        Kind::Views,
        "[]",
        "Views of which `etalage.<view>.changes.v1` tells each change: the value before it and after it.",
    ),
    entry("kafka.change_retention", Kind::Span, r#""7d""#, "How long every change stays in its stream."),
    entry(
        "kafka.transactions",
        Kind::OneOf(&["no", "yes"]),
        r#""no""#,
        "Whether values are written in transactions: slower, and with a caveat that docs/kafka.md explains.",
    ),
    entry(
        "kafka.partitions",
        Kind::Int(1, 10_000),
        "6",
        "Partitions that `etalage topics create` gives to a view's topic.",
    ),
    entry(
        "kafka.replication",
        Kind::Int(0, 100),
        "0",
        "Copies of each partition that `etalage topics create` asks for; 0 is what the brokers make by themselves.",
    ),
    entry(
        "quarantine.max_records",
        Kind::Int(1, 1_000_000_000),
        "100_000",
        "How many refused messages are kept; the oldest leave first.",
    ),
    entry(
        "quarantine.max_raw_bytes",
        Kind::Int(0, 16_777_216),
        "4_096",
        "How much of a refused message is kept as it was sent.",
    ),
];
