//! The command line: what may be said, and how `--help` explains it.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use etalage_model::time::parse_span_us;

use super::{clock, error::EXIT_CODES, health, people, repair, schema, snapshots};
use crate::demo::DEFAULT_SEED;

/// etalage: what sells, what is in stock, now.
#[derive(Debug, Parser)]
#[command(
    name = "etalage",
    version,
    about = "Real-time feature pipeline for online shops: rolling popularity and bestseller sets that never show a \
             sold-out item.",
    after_help = after_help(),
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What all commands know.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

fn after_help() -> String {
    format!(
        "Examples:
  etalage demo                                 real data, played fast; nothing else is needed
  etalage run                                  the service
  etalage get set.bestsellers:global/24h       the bestsellers of the last 24 hours
  etalage watch item.sellable                  every change of stock, as it happens
  etalage check --config shop.toml             everything that is wrong with a configuration

{EXIT_CODES}"
    )
}

/// Options of all commands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Configuration (TOML); without it, defaults and the environment count
    #[arg(long, global = true, value_name = "FILE", env = "ETALAGE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Folder of the store, in place of `[store] dir`
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Port, in place of the one in `[server] listen`; 0 is any free one
    #[arg(long, global = true, value_name = "N")]
    pub port: Option<u16>,
    /// A running server, such as http://127.0.0.1:7878
    #[arg(long, global = true, value_name = "URL", env = "ETALAGE_URL")]
    pub url: Option<String>,
    /// Key for a server that wants one
    #[arg(long, global = true, value_name = "KEY", env = "ETALAGE_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Print JSON lines instead of tables
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service: take events, keep the views, answer
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Answer reads from the output topics, and compute nothing
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Play real data fast, with simulated views, carts and stock around it
    #[command(after_help = DEMO_HELP)]
    Demo(DemoArgs),
    /// Play files through the pipeline
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// Recompute every view plainly from the log, and compare
    #[command(after_help = VERIFY_HELP)]
    Verify,
    /// Read a view from a running server
    #[command(after_help = GET_HELP)]
    Get(GetArgs),
    /// Follow a view as it changes
    #[command(after_help = WATCH_HELP)]
    Watch(WatchArgs),
    /// Check a configuration, and list everything that is wrong with it
    #[command(after_help = CHECK_HELP)]
    Check,
    /// Print the JSON Schema of a view's keys and values
    #[command(after_help = schema::HELP)]
    Schema(schema::SchemaArgs),
    /// Make or check the Kafka topics that are written
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Keep a product file (Google Merchant, Meta) current from the topics
    #[command(after_help = FEED_HELP)]
    Feed(FeedArgs),
    /// Look at messages that were refused
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Find what is damaged of a store, and set it aside
    #[command(after_help = repair::HELP)]
    Repair(RepairArgs),
    /// Take snapshots, and look at them
    #[command(subcommand)]
    Snapshot(snapshots::SnapshotCommand),
    /// Ask whether a running server lives, or is ready
    #[command(after_help = health::HELP)]
    Health(health::HealthArgs),
    /// See how the wall clock stands to pipeline time, and adopt it
    #[command(subcommand)]
    Clock(clock::ClockCommand),
    /// List the events behind a value of one person
    #[command(after_help = people::EXPLAIN_HELP)]
    Explain(people::ExplainArgs),
    /// Erase a person from every view, the log and the quarantine, and print the receipt
    #[command(after_help = people::ERASE_HELP)]
    Erase(people::EraseArgs),
    /// About configurations
    #[command(subcommand)]
    Config(ConfigCommand),
    /// About keys for the HTTP interface
    #[command(subcommand)]
    Key(KeyCommand),
}

const RUN_HELP: &str = "\
Messages are stored in --data-dir before they are acknowledged; after a restart everything is rebuilt
from there. The service listens on the loopback address unless the configuration says otherwise, and
elsewhere only with keys.

Examples:
  etalage run
  etalage run --config shop.toml --data-dir /var/lib/etalage
  etalage run --config cluster.toml --process 1      one of several processes (docs/cluster.md)
  curl -X POST http://127.0.0.1:7878/v1/events -d \\
    '{\"messageId\":\"1\",\"event\":\"view_item\",\"properties\":{\"items\":[{\"item_id\":\"22086\"}]}}'";

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Fail at once where no Kafka broker answers, instead of waiting for one
    #[arg(long)]
    pub no_wait: bool,
    /// Number of this process in `[cluster] addresses`, in place of `[cluster] process`
    #[arg(long, value_name = "N")]
    pub process: Option<usize>,
}

const SERVE_HELP: &str = "\
Reads the topics of all views from their beginning, is ready when it has what they hold, and answers what the process
answers that writes them, byte by byte. Start as many as reads need. Messages are taken by `etalage run`.

Examples:
  etalage serve --from kafka --config shop.toml
  etalage serve --from kafka --config shop.toml --port 7879";

/// `serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where values come from
    #[arg(long, value_enum)]
    pub from: ServeFrom,
    /// Fail at once where no Kafka broker answers, instead of waiting for one
    #[arg(long)]
    pub no_wait: bool,
}

/// Where values that are served come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServeFrom {
    /// The output topics of `etalage run`
    Kafka,
}

const TOPICS_HELP: &str = "\
Every view has a compacted topic, such as etalage.set.bestsellers.v1; etalage.progress.v1 says how far
they have come, and the quarantine topic holds what could not be taken. `etalage run` does not start
where one of them is missing or would forget keys.

Examples:
  etalage topics create --config shop.toml
  etalage topics check --config shop.toml";

/// `topics`
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Make the topics that are not there yet, and check all
    #[command(after_help = TOPICS_HELP)]
    Create,
    /// Say what is wrong with the topics
    #[command(after_help = TOPICS_HELP)]
    Check,
}

const FEED_HELP: &str = "\
Reads item.sellable, set.bestsellers and the topics of the catalogue. The file is replaced as a whole; FILE.json
beside it says as of which instant it holds. A product that is sold out keeps its row, as out_of_stock, and
is written at once. custom_label_0 is top10 or top50, by the set of --scope and --window.

Example:
  etalage feed --out /var/www/feed.tsv --config shop.toml --window 7d";

/// `feed`
#[derive(Debug, Args)]
pub struct FeedArgs {
    /// The file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Whose words it uses
    #[arg(long, value_enum, default_value_t = FeedFormat::Google)]
    pub format: FeedFormat,
    /// The scope of the set that gives the labels
    #[arg(long, value_name = "SCOPE", default_value = "global")]
    pub scope: String,
    /// The window of that set; without it, the longest
    #[arg(long, value_name = "WINDOW")]
    pub window: Option<String>,
    /// Write at most this often, except for what is sold out
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1s")]
    pub every: Duration,
}

/// Whose words a product file uses.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FeedFormat {
    /// Google Merchant: in_stock
    Google,
    /// Meta: in stock
    Meta,
}

const DEMO_HELP: &str = "\
Open the printed address in a browser. The invoices of a real shop (Online Retail, UCI) are played; what
that data lacks is simulated and labelled: views, carts, stock levels, deliveries, categories. The store
is temporary unless --data-dir names an empty folder. Messages that are sent to the demo over HTTP are
dated in real time, and mapped onto the time that is played.

Examples:
  etalage demo
  etalage demo --speed 3600 --port 8080      an hour in a second
  etalage demo --for 30s --port 0
  curl -X POST http://127.0.0.1:7878/v1/inventory -d \\
    '{\"messageId\":\"sold-out-1\",\"item_id\":\"85123A\",\"op\":\"set\",\"available\":0}'";

/// The speed of a demonstration: ten minutes of the data in a second.
const DEMO_SPEED: f64 = 600.0;

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many times faster than real time
    #[arg(long, value_name = "N", default_value_t = DEMO_SPEED, value_parser = speed)]
    pub speed: f64,
    /// End after this time, such as 30s or 5m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub r#for: Option<Duration>,
    /// Seed of the simulation: the same seed gives the same messages
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    pub seed: u64,
}

const REPLAY_HELP: &str = "\
The clock of a replay is the greatest time among the messages. The store is fresh and temporary unless
--data-dir names a folder; `etalage run` can go on with that. A line that cannot be read is
quarantined and counted, and the replay goes on. Several files are of one format, and are merged by
time; docs/formats.md says what each format becomes.

Examples:
  etalage replay events.jsonl.zst --format jsonl --dump set.bestsellers:global/
  etalage replay online_retail.csv.zst --format online-retail --until 2011-12-06T00:00:00Z --dump scope.totals
  etalage replay 2019-Oct.csv.gz 2019-Nov.csv.gz --format rees46 --dump set.bestsellers:global/
  etalage replay events.csv item_properties_part1.csv item_properties_part2.csv --format retailrocket
  zcat events.jsonl.gz | etalage replay - --format jsonl --speed 60 --serve";

const VERIFY_HELP: &str = "\
The dataflow starts as a server does, from the newest snapshot, and goes on over the log; what it is
compared with is made of the whole log. The exit code is 4 where a difference is found. The store must
not be in use.

Examples:
  etalage verify --config shop.toml --data-dir /var/lib/etalage
  ETALAGE_SNAPSHOTS__ON=no etalage verify      the dataflow over the whole log, too";

/// `replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The files, plain, gzip or zstd, merged by time; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What is in them
    #[arg(long, value_enum)]
    pub format: crate::input::Format,
    /// Take what is dated before this instant, and evaluate at it
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Print a view, or the part of it below a key prefix, as JSON lines at the end
    #[arg(long, value_name = "VIEW[:KEY-PREFIX]")]
    pub dump: Vec<String>,
    /// Play at this multiple of real time; without it, as fast as possible
    #[arg(long, value_name = "N", value_parser = speed)]
    pub speed: Option<f64>,
    /// Answer over HTTP meanwhile, and afterwards until Ctrl-C
    #[arg(long)]
    pub serve: bool,
    /// Add to a store that is not empty
    #[arg(long, requires = "data_dir")]
    pub append: bool,
    /// No progress bar
    #[arg(long)]
    pub quiet: bool,
}

/// Bounds of `--speed`.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;

fn speed(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| SPEEDS.contains(number));
    number.ok_or_else(|| format!("`{text}` is no number from {} to {}", SPEEDS.start(), SPEEDS.end()))
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_span_us(text).map(Duration::from_micros)
}

const GET_HELP: &str = "\
A key is written as a path of its fields, and a `/` or `%` inside a field as %2F or %25; the last piece
may be a beginning: `item.popularity:global/7d/22` is every item whose id begins with 22. A closing `/`
makes the piece before it whole. JSON with the leading fields works too.

Examples:
  etalage get set.bestsellers                          every set
  etalage get set.bestsellers:country:Germany/7d       one of them
  etalage get item.popularity:global/24h/ --limit 20   the first 20 items
  etalage get 'scope.totals:{\"scope\":\"global\"}' --json | jq .value.orders
  etalage get item.sellable:22086 --url http://shop:7878 --key sk_...";

const WATCH_HELP: &str = "\
Prints what is there, then each change. When the connection is lost it is made again, and goes on
behind the last change that was seen. A key without a value any more is printed as gone (`null`).

Examples:
  etalage watch set.bestsellers:global/1h
  etalage watch item.sellable set.bestsellers:global/ --json
  etalage watch item.popularity:global/5m/22086 --limit 100";

const CHECK_HELP: &str = "\
Nothing is opened or started. The exit code is 2 where something is wrong.

Examples:
  etalage check --config shop.toml
  ETALAGE_SETS__K=0 etalage check";

/// `get`
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The view, and perhaps the beginning of a key
    #[arg(value_name = "VIEW[:KEY-PREFIX]")]
    pub view: String,
    /// Print at most so many entries
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// `watch`
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Views, each perhaps with the beginning of a key
    #[arg(value_name = "VIEW[:KEY-PREFIX]", required = true)]
    pub views: Vec<String>,
    /// End after so many changes
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// `repair`
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// Set the damaged part aside; without it nothing is changed
    #[arg(long)]
    pub apply: bool,
}

/// `quarantine`
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List refused messages, oldest first
    #[command(after_help = QUARANTINE_HELP)]
    List {
        /// Begin behind this number
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
        /// Print at most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Show one refused message, as it was sent
    #[command(after_help = QUARANTINE_HELP)]
    Show {
        /// Its number
        number: u64,
    },
    /// Take refused messages in once more, after what they were refused for has been mended
    #[command(after_help = RETRY_HELP)]
    Retry {
        /// Their numbers
        #[arg(required_unless_present = "code", conflicts_with = "code")]
        numbers: Vec<u64>,
        /// All that were refused for this reason, such as too_old or unknown_currency
        #[arg(long)]
        code: Option<String>,
    },
}

const RETRY_HELP: &str = "\
A message that is taken leaves the quarantine; one that is refused again stands there under a new number. A
message that was cut when it was kept ([quarantine] max_raw_bytes), or came from a file, cannot be taken from
here: send it again.

Examples:
  etalage quarantine retry 17 18 --url http://127.0.0.1:7878
  etalage quarantine retry --code too_old --data-dir etalage-data";

const QUARANTINE_HELP: &str = "\
With --url a running server is asked; without it the store in --data-dir is read, which no running
server may hold at that time.

Examples:
  etalage quarantine list --url http://127.0.0.1:7878
  etalage quarantine list --data-dir etalage-data --json
  etalage quarantine show 17";

/// `config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every key with its default and its meaning, as a file to start from
    #[command(after_help = "Example:\n  etalage config reference > shop.toml")]
    Reference {
        /// Print the page of the documentation instead
        #[arg(long)]
        markdown: bool,
    },
}

/// `key`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key, and the hash of it that the configuration wants
    #[command(after_help = "Examples:\n  etalage key new pk    for web pages: sends events, reads shop views\n  \
                            etalage key new sk    for servers: everything")]
    New {
        /// Publishable or secret
        kind: KeyKind,
    },
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// Publishable: may stand in a web page; sends events and reads the views of the shop
    Pk,
    /// Secret: may do everything
    Sk,
}
