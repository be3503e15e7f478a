//! Reading, overriding, and the text of errors.

use super::{reference, table::TABLE, *};

const VIEWS: &[&str] = &["item.sellable", "scope.totals"];

fn read(text: &str) -> Result<Config, String> {
    read_with(text, &[])
}

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_text("shop.toml", text, environment, VIEWS).map(|loaded| loaded.config).map_err(|e| e.to_string())
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = Config::default();
    let names: Vec<&str> = config.windows.names.iter().map(|window| window.name.as_str()).collect();
    assert_eq!(names, ["5m", "1h", "24h", "7d", "28d"]);
    assert_eq!(config.windows.bucket_us, 10_000_000);
    let names: Vec<&str> = config.half_lives.iter().map(|half_life| half_life.name.as_str()).collect();
    assert_eq!(names, ["1h", "24h"]);
    assert_eq!(config.windows.phase, Phase::Spread);
    assert_eq!(config.shop.currencies, Currencies::only("EUR"));
    assert_eq!(config.score, ScoreWeights::default());
    assert_eq!(config.sets, Sets { k: 10, locations: vec![] });
    assert_eq!(config.stock, Stock { unknown_is_sellable: true, safety_threshold: 0 });
    assert_eq!(config.time.retention_us, 400 * 86_400_000_000);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:7878");
    let scopes: Vec<String> = config.scopes.iter().map(ToString::to_string).collect();
    assert_eq!(scopes, ["global", "category", "brand", "country"]);
}

#[test]
fn the_keys_of_the_interface_are_read() {
    let config = read(
        r#"
        [windows]
        names = ["1h", "1d", "7d", "500d"]
        bucket = "1h"
        phase = "aligned"
        [shop]
        currency = "USD"
        [shop.rates]
        GBP = { "2010-01-01" = 1.17, "2011-01-01" = 2 }
        [scopes]
        dimensions = ["global", "country+category"]
        [score]
        refund = -3
        [sets]
        k = 1_000
        locations = ["shop", "depot"]
        [stock]
        unknown = "hidden"
        safety_threshold = 2
        [store]
        durability = "fsync"
        [views]
        off = ["scope.totals"]
        [online_retail]
        non_items = ["POST", "M"]
        "#,
    )
    .unwrap();
    assert_eq!(config.windows.names[1], Window { name: "1d".into(), length_us: 86_400_000_000 });
    assert_eq!(config.windows.phase, Phase::Aligned);
    assert_eq!(config.time.retention_us, 530 * 86_400_000_000, "the longest window and 30 days");
    let rates: Vec<i64> = config.shop.currencies.rates["GBP"].values().copied().collect();
    assert_eq!(rates, [1_170_000, 2_000_000]);
    assert_eq!(config.scopes[1], ScopeOf::Pair(Dimension::Country, Dimension::Category));
    assert_eq!((config.score.order, config.score.refund), (20, -3));
    assert_eq!(config.sets.locations, ["shop", "depot"]);
    assert!(!config.stock.unknown_is_sellable);
    assert_eq!(config.store.durability, Durability::Fsync);
    assert!(config.views_off.contains("scope.totals"));
    assert!(config.non_items.contains("POST"));
    assert_eq!(config.priced_in("GBP").shop.currencies.shop, "USD");
    assert_eq!(Config::default().priced_in("GBP").shop.currencies.shop, "GBP");
}

#[test]
fn the_environment_takes_precedence() {
    let environment = [
        ("ETALAGE_WINDOWS__BUCKET", "1h"),
        ("ETALAGE_WINDOWS__NAMES", "1h, 7d"),
        ("ETALAGE_SETS__K", "25"),
        ("ETALAGE_SETS__LOCATIONS", ""),
        ("ETALAGE_TRENDING__HALF_LIVES", ""),
        ("ETALAGE_SERVER__LISTEN", "localhost:80"),
        ("ETALAGE_SHOP__RATES__GBP", r#"{ "2010-01-01" = 1.5 }"#),
        ("ETALAGE_PORT", "tcp://10.0.0.7:80"),
        ("HOME", "/root"),
    ];
    let file = "[windows]\nbucket = \"10s\"\n[sets]\nk = 5\nlocations = [\"a\"]\n[shop.rates]\n\
                USD = { \"2010-01-01\" = 0.9 }\nGBP = { \"2010-01-01\" = 1.1 }";
    let config = read_with(file, &environment).unwrap();
    assert_eq!(config.windows.bucket_us, 3_600_000_000);
    assert_eq!((config.windows.names.len(), config.half_lives.len()), (2, 0));
    assert_eq!(config.sets, Sets { k: 25, locations: vec![] });
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:80");
    let rate = |code: &str| config.shop.currencies.rates[code].values().copied().collect::<Vec<_>>();
    assert_eq!((rate("GBP"), rate("USD")), (vec![1_500_000], vec![900_000]));
}

#[test]
fn what_was_given_is_told_with_its_place() {
    let environment = [("ETALAGE_SETS__K".to_owned(), "7".to_owned())];
    let loaded = Config::from_text("shop.toml", "[windows]\n\nbucket = \"5m\"\n", environment, VIEWS).unwrap();
    let given: Vec<(&str, String)> = loaded.given.iter().map(|(key, place)| (*key, place.to_string())).collect();
    assert_eq!(
        given,
        [("sets.k", "environment variable ETALAGE_SETS__K".to_owned()), ("windows.bucket", "shop.toml:3".to_owned())]
    );
}

#[test]
fn all_errors_are_listed_at_once() {
    let text = r#"[windows]
names = ["1h", "90m"]
bucket = "1h"
phases = "spread"

[sets]
k = 0

[stock]
unknown = "maybe"

[server]
listen = "0.0.0.0:7878"

[views]
off = ["set.bestseler"]

[sotre]
durability = "fsync"
"#;
    let environment = [("ETALAGE_TIME__MAX_CLOCK_SKEW", "soon"), ("ETALAGE_SETS_K", "3")];
    let expected = r#"9 errors in the configuration; nothing was opened:
  shop.toml:3: windows.bucket: a bucket of 1h does not divide the window `90m`; choose a bucket of which every window is a multiple, such as "10s"
  shop.toml:4: windows.phases: no such key; did you mean `windows.phase`?
  shop.toml:7: sets.k: expected a whole number from 1 to 1000, found `0`
  shop.toml:10: stock.unknown: expected "sellable" or "hidden", found `maybe`
  shop.toml:13: server.listen: 0.0.0.0:7878 can be reached by others, and no keys are configured; write the hash of a key into [keys] secret (`etalage key new sk` makes one), or listen on 127.0.0.1
  shop.toml:16: views.off: there is no view `set.bestseler`; the views are item.sellable, scope.totals
  shop.toml:18: sotre: no such section; did you mean `store`?
  environment variable ETALAGE_SETS_K: sets.k: two underscores stand between section and key: write ETALAGE_SETS__K
  environment variable ETALAGE_TIME__MAX_CLOCK_SKEW: time.max_clock_skew: `soon` is no duration: write a whole number above 0 and a unit, such as 250ms, 10s, 5m, 24h or 7d"#;
    assert_eq!(read_with(text, &environment).unwrap_err(), expected);
}

#[test]
fn broken_toml_names_its_line_and_hides_nothing_else() {
    let errors = read("[windows]\nbucket = 10s\n\n[sets]\nk = \"ten\"\n").unwrap_err();
    assert!(errors.contains("shop.toml:2: no TOML"), "{errors}");
    assert!(errors.contains("shop.toml:5: sets.k: expected a whole number"), "{errors}");
}

#[test]
fn values_are_checked_by_their_kind() {
    for (text, fault) in [
        ("windows = 3", "must be a section"),
        ("[windows]\nnames = []", "name at least one window"),
        ("[windows]\nnames = [\"1h\", \"1h\"]", "names `1h` twice"),
        ("[trending]\nhalf_lives = [\"1h\", \"1h\"]", "names `1h` twice"),
        ("[trending]\nhalf_lives = [\"0h\"]", "is no duration"),
        ("[windows]\nnames = [1]", "found one that is no text"),
        ("[windows]\nnames = \"1h\"", "expected a list of durations"),
        ("[windows]\nbucket = \"7m\"", "does not divide the window `5m`, `1h`"),
        ("[windows]\nbucket = \"0s\"", "is no duration"),
        ("[scopes]\ndimensions = [\"country+global\"]", "is no pair"),
        ("[scopes]\ndimensions = [\"country+country\"]", "is no pair"),
        ("[scopes]\ndimensions = [\"planet\"]", "`planet` is no dimension"),
        ("[scopes]\ndimensions = [\"country+brand\", \"brand+country\"]", "twice"),
        ("[shop]\ncurrency = \"eur\"", "expected a currency code"),
        ("[shop.rates]\nGBP = 1.17", "expected a table of rates by date"),
        ("[shop.rates]\nGBP = { \"soon\" = 1.17 }", "`soon` is no date"),
        ("[shop.rates]\nGBP = { \"2010-01-01\" = -1 }", "must be a number above 0"),
        ("[shop.rates]\nEUR = { \"2010-01-01\" = 1 }", "the shop's own currency"),
        ("[time]\nretention = \"7d\"", "shorter than the longest window of 28d"),
        ("[people]\nprofile_retention = \"7d\"", "is shorter than the 30d that `people.suppress_for` takes"),
        ("[people]\nprofile_retention = \"7d\"\nsuppress_for = \"1d\"", "that `windows.names` takes"),
        ("[people]\nprofile_retention = \"40d\"\ncart_idle = \"45d\"", "the 45d that `people.cart_idle` takes"),
        ("[limits]\nmax_body_bytes = 1_024", "would not fit into a body of 1024"),
        ("[keys]\nsecret = [\"sk_1234\"]", "no SHA-256 sum"),
        ("[kafka]\nproperties = [\"sasl.password=x\"]", "is a secret; write into kafka.secrets where it stands"),
        ("[kafka]\nsecrets = [\"sasl.password=x\"]", "say where it stands, as `sasl.password=file:PATH`"),
        ("[kafka]\nchange_streams = [\"item.sold\"]", "there is no view `item.sold`"),
        (
            "[kafka]\nchange_streams = [\"scope.totals\"]\n[views]\noff = [\"scope.totals\"]",
            "stands in views.off, so nothing of it changes",
        ),
        ("[server]\nlisten = \"7878\"", "expected address and port"),
        ("[sets]\nk = 1979-05-27", "found a datetime"),
    ] {
        let errors = read(text).unwrap_err();
        assert!(errors.contains(fault), "{text}: {errors}");
        assert!(errors.starts_with("1 error"), "{text}: {errors}");
    }
    for text in [
        "[keys]\nsecret = [\"sk_1234\"]",
        "[kafka]\nproperties = [\"sasl.password=sk_1234\", \"sk_1234\"]",
        "[kafka]\nsecrets = [\"sasl.password=sk_1234\", \"ssl.key.pem=sk_1234:a\", \"sk_1234\"]",
    ] {
        let wrong = read(text).unwrap_err();
        assert!(!wrong.contains("sk_1234"), "a secret in the clear is not repeated: {wrong}");
    }
}

#[test]
fn keys_open_other_addresses() {
    let text = format!("[server]\nlisten = \"[::]:80\"\n[keys]\nsecret = [\"{}\"]", "AB".repeat(32));
    assert_eq!(read(&text).unwrap().keys.secret, ["ab".repeat(32)]);
}

#[test]
fn a_missing_file_says_so() {
    let errors = Config::load(Some(Path::new("/nowhere/shop.toml")), [], VIEWS).unwrap_err();
    assert!(errors.to_string().starts_with("/nowhere/shop.toml: "), "{errors}");
}

#[test]
fn the_printed_reference_is_the_default_configuration() {
    let loaded = Config::from_text("reference", &reference::toml(), [], VIEWS).unwrap();
    assert_eq!(loaded.given.len(), TABLE.len(), "it holds every key");
    let expected = Shop { currency_is_set: true, ..Config::default().shop };
    assert_eq!(loaded.config, Config { shop: expected, ..Config::default() });
}

#[test]
fn the_page_of_the_documentation_is_the_printed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    assert!(page == reference::markdown(), "docs/configuration.md is not `etalage config reference --markdown`");
}

#[test]
fn every_key_is_in_a_section_and_documented() {
    for entry in TABLE {
        let section = entry.key.split_once('.').unwrap().0;
        assert!(sections::SECTIONS.iter().any(|(name, _)| *name == section), "{}", entry.key);
        assert!(entry.doc.ends_with('.'), "{}", entry.key);
    }
}

/// For each key, a value that is not its default.
const OTHERS: &[(&str, &str)] = &[
    ("windows.names", r#"["1h"]"#),
    ("windows.bucket", r#""1s""#),
    ("windows.phase", r#""aligned""#),
    ("trending.half_lives", r#"["2h"]"#),
    ("shop.currency", r#""USD""#),
    ("shop.rates", r#"{ GBP = { "2010-01-01" = 1.17 } }"#),
    ("scopes.dimensions", r#"["global"]"#),
    ("score.view", "2"),
    ("score.cart", "2"),
    ("score.order", "2"),
    ("score.refund", "2"),
    ("sets.k", "3"),
    ("sets.locations", r#"["a"]"#),
    ("stock.unknown", r#""hidden""#),
    ("stock.safety_threshold", "1"),
    ("people.recent_views", "3"),
    ("people.purchases", "3"),
    ("people.affinity", "3"),
    ("people.affinity_half_life", r#""3d""#),
    ("people.session_idle", r#""3m""#),
    ("people.cart_idle", r#""3m""#),
    ("people.suppress_for", r#""3d""#),
    ("people.profile_retention", r#""40d""#),
    ("people.max_cart_lines", "3"),
    ("people.max_identifiers", "3"),
    ("people.max_link_messages", "3"),
    ("store.dir", r#""elsewhere""#),
    ("store.durability", r#""fsync""#),
    ("store.segment_bytes", "2_000_000"),
    ("store.write_behind_bytes", "3"),
    ("snapshots.on", r#""no""#),
    ("snapshots.url", r#""elsewhere""#),
    ("snapshots.retry_for", r#""3s""#),
    ("snapshots.every", r#""3m""#),
    ("snapshots.after_records", "3"),
    ("snapshots.keep", "3"),
    ("snapshots.keep_for", r#""3m""#),
    ("snapshots.keep_bytes", "3"),
    ("snapshots.max_kept_changes", "3"),
    ("snapshots.trim_log", r#""yes""#),
    ("time.max_clock_skew", r#""3m""#),
    ("time.retention", r#""90d""#),
    ("time.max_replay_gap", r#""3d""#),
    ("time.max_clock_step", r#""3m""#),
    ("time.tick_idle", r#""3ms""#),
    ("time.group_lag_max", r#""3s""#),
    ("dedup.horizon", r#""3h""#),
    ("dedup.max_ids", "3_000"),
    ("limits.max_event_bytes", "3_000"),
    ("limits.max_body_bytes", "300_000"),
    ("limits.max_discarded_bytes", "3"),
    ("limits.max_items", "3"),
    ("limits.max_batch_events", "3"),
    ("limits.max_symbols", "3_000"),
    ("limits.ingest_queue_events", "300"),
    ("limits.max_keys", "3"),
    ("limits.max_list", "3"),
    ("limits.max_streams", "3"),
    ("limits.max_snapshot_keys", "3"),
    ("limits.max_lag_frames", "3"),
    ("limits.max_lag_bytes", "2048"),
    ("limits.body_timeout_s", "3"),
    ("limits.store_timeout_s", "3"),
    ("server.listen", r#""127.0.0.1:3""#),
    ("views.off", r#"["scope.totals"]"#),
    ("online_retail.non_items", r#"["M"]"#),
    ("workers.count", "3"),
    ("cluster.addresses", r#"["a:1", "b:1"]"#),
    ("cluster.process", "1"),
    ("cluster.listen", r#""0.0.0.0:1""#),
    ("cluster.timeout", r#""3s""#),
    ("cluster.readers", r#""https://shop.example""#),
    ("kafka.brokers", r#"["b:2"]"#),
    ("kafka.properties", r#"["security.protocol=PLAINTEXT"]"#),
    ("kafka.secrets", r#"["sasl.password=env:SECRET"]"#),
    ("kafka.events", r#"["e"]"#),
    ("kafka.inventory", r#"["i"]"#),
    ("kafka.catalog", r#"["c"]"#),
    ("kafka.group", r#""g""#),
    ("kafka.discover", r#""3s""#),
    ("kafka.quarantine", r#""q""#),
    ("kafka.prefix", r#""p.""#),
    ("kafka.linger", r#""3ms""#),
    ("kafka.publish_interval", r#"["item.popularity=1s"]"#),
    ("kafka.change_streams", r#"["item.sellable"]"#),
    ("kafka.change_retention", r#""3d""#),
    ("kafka.transactions", r#""yes""#),
    ("kafka.partitions", "3"),
    ("kafka.replication", "3"),
    ("quarantine.max_records", "3"),
    ("quarantine.max_raw_bytes", "3"),
];

#[test]
fn every_key_of_the_table_is_read() {
    let hash = format!("[\"{}\"]", "ab".repeat(32));
    let hashes = [("keys.publishable", hash.as_str()), ("keys.secret", hash.as_str())];
    let mut read_keys = Vec::new();
    for (key, value) in OTHERS.iter().chain(&hashes) {
        let (section, own) = key.split_once('.').unwrap();
        // Topics need brokers, and a process others; these read snapshots at one place.
        let needed = match (section, own) {
            ("kafka", "events" | "inventory" | "catalog") => "brokers = [\"b:1\"]\n",
            ("cluster", "process") => "addresses = [\"a:1\", \"b:1\"]\n",
            _ => "",
        };
        let place = if section == "cluster" { "[snapshots]\nurl = \"/shared\"\n" } else { "" };
        let config = read(&format!("{place}[{section}]\n{needed}{own} = {value}\n")).unwrap();
        let without = read(&format!("{place}[{section}]\n{needed}")).unwrap();
        assert_ne!(config, without, "{key} = {value} changes nothing");
        read_keys.push(*key);
    }
    for entry in TABLE {
        assert!(read_keys.contains(&entry.key), "{} is not tried here", entry.key);
    }
}
