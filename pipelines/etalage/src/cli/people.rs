//! `etalage erase` and `etalage explain`: about single people.

use clap::Args;
use etalage_model::KeyFields;
use etalage_serve::{ReadStore, StoreOptions};
use serde_json::Value;

use super::{
    CliError, Out,
    args::Common,
    client::{Client, encoded},
    serving, snapshots,
};
use crate::{
    config::Config,
    runtime::{ClockMode, Pipeline, PipelineOptions, shop_options, snapshot::Taking, told},
};

pub(super) const ERASE_HELP: &str = "\
Takes back everything about somebody, under all identifiers that belong to them: from every view and
aggregate, from the log, from the quarantine. Prints the receipt, which names the id by a keyed hash.
With --url a running server does it; without it the store in --data-dir is opened, which no running
server may hold at that time.

Examples:
  etalage erase 14911 --url http://127.0.0.1:7878 --key sk_…
  etalage erase anon:4f1c --data-dir etalage-data";

pub(super) const EXPLAIN_HELP: &str = "\
Lists the events behind a value of one person, the newest first, as a running server has stored them.

Examples:
  etalage explain profile.value 14911
  etalage explain audience.suppress 14911/22086 --limit 5 --json";

/// `erase`
#[derive(Debug, Args)]
pub struct EraseArgs {
    /// A customer's id, or `anon:` and a visitor's
    pub id: String,
}

/// `explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A view about single people
    pub view: String,
    /// The key, in path form
    pub key: String,
    /// Print at most so many events
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
}

/// Erases somebody and prints the receipt.
///
/// # Errors
/// Where neither a server nor a store can do it.
pub(super) fn erase(common: &Common, config: &Config, args: &EraseArgs) -> Result<(), CliError> {
    let receipt: Value = if common.url.is_some() {
        let client = Client::new(common, config)?;
        let body = client.delete(&format!("/v1/profiles/{}", encoded(&args.id)))?;
        serde_json::from_str(&body).map_err(|error| client.strange(error))?
    } else {
        in_folder(config, &args.id)?
    };
    let mut out = Out::new();
    if common.json {
        out.line(&receipt.to_string())?;
    } else {
        let text = |name: &str| receipt[name].as_str().map_or_else(|| receipt[name].to_string(), str::to_owned);
        let (records, quarantined) = (text("records"), text("quarantined"));
        out.line(&format!("erased as of {}: {records} records, {quarantined} refused ones", text("as_of")))?;
        out.line(&format!("receipt {} for {}", text("receipt_id"), text("profile")))?;
    }
    out.flush()
}

/// Opens the store, erases, and closes it.
fn in_folder(config: &Config, id: &str) -> Result<Value, CliError> {
    let dir = &config.store.dir;
    // Erasing must not make a store where there is none.
    drop(etalage_store::frames(dir)?);
    let views = etalage_views::infos(&shop_options(config));
    let store = ReadStore::new(&views, StoreOptions::default());
    let (ready, identify) = (store.clone(), serving::identify(&views, store.clone()));
    let options = PipelineOptions {
        served: None,
        clock: ClockMode::Wall,
        readers: vec![Box::new(store)],
        on_ready: Box::new(move |tick| ready.begin(tick)),
        refused: None,
        identify,
        snapshots: snapshots::of(config, Taking::NEVER),
        others: None,
    };
    let pipeline = Pipeline::start(config, dir, options)?;
    let receipt = pipeline.ready().map_err(CliError::from).and_then(|()| Ok(pipeline.door().erase(id)?));
    pipeline.stop();
    Ok(told(&receipt?))
}

/// Prints the events behind a value.
///
/// # Errors
/// Where no server answers, or the view is about nobody.
pub(super) fn explain(common: &Common, config: &Config, args: &ExplainArgs) -> Result<(), CliError> {
    let client = Client::new(common, config)?;
    let fields = KeyFields::parse(&args.key, &["", "", ""]).map_err(CliError::Usage)?;
    let key: Vec<String> = fields.0.iter().map(|field| encoded(field)).collect();
    let path = format!("/v1/explain/{}/{}?limit={}", encoded(&args.view), key.join("/"), args.limit);
    let told: Value = serde_json::from_str(&client.get(&path)?).map_err(|error| client.strange(error))?;
    let mut out = Out::new();
    for cause in told["events"].as_array().into_iter().flatten() {
        if common.json {
            out.line(&cause.to_string())?;
            continue;
        }
        let event = &cause["event"];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let items = event["items"].as_array().into_iter().flatten();
        let items: Vec<String> =
            items.map(|item| format!("{} x{}", text(&item["item_id"]), item["quantity"])).collect();
        let who = if event["user_id"].is_null() { &event["anonymous_id"] } else { &event["user_id"] };
        let (at, name, id) = (text(&cause["timestamp"]), text(&cause["name"]), text(&event["message_id"]));
        out.line(&format!("{at}  {name:<16} {:<20} {id}  {}", text(who), items.join(", ")))?;
    }
    let more = told["more"].as_u64().unwrap_or(0);
    if more > 0 {
        eprintln!("{more} older events are not shown; ask for more with --limit");
    }
    out.flush()
}
