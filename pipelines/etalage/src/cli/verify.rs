//! `etalage verify`: runs the log through the dataflow, recomputes every view plainly from the
//! same log, and compares them key by key.

use std::collections::BTreeMap;

use etalage_model::{Key, Message, Micros, Tick, key::value_json};
use etalage_views::{VIEWS, View, oracle::History};

use super::{CliError, Out, args::Common, snapshots};
use crate::{
    config::Config,
    runtime::{ClockMode, Pipeline, PipelineOptions, collect::Collector, shop_options, snapshot::Taking},
};

/// How many differences of a view are printed.
const MAX_PRINTED: usize = 10;

/// Compares.
///
/// # Errors
/// Where the store cannot be read, or a difference was found.
pub(super) fn run(common: &Common, config: &Config) -> Result<(), CliError> {
    let dir = &config.store.dir;
    // Verifying must not make a store where there is none.
    if etalage_store::frames(dir)?.begins_at() > 0 {
        let why = "the log was trimmed ([snapshots] trim_log): there is not everything to recompute views from";
        return Err(CliError::Failed(why.into()));
    }
    let options = shop_options(config);
    let views: Vec<&View> = VIEWS.iter().filter(|view| options.is_on(view.name)).collect();
    let collector = Collector::of(views.iter().map(|view| view.name.to_owned()));
    let readers: Vec<Box<dyn etalage_model::Changes>> = vec![Box::new(collector.clone())];
    let on_ready = Box::new(|_| {});
    let snapshots = snapshots::of(config, Taking::NEVER);
    let pipeline = Pipeline::start(
        config,
        dir,
        PipelineOptions {
            others: None,
            served: None,
            clock: ClockMode::Replay,
            readers,
            on_ready,
            refused: None,
            identify: None,
            snapshots,
        },
    )?;
    let ready = pipeline.ready();
    pipeline.stop();
    ready?;
    let mut admitted: Vec<(Tick, Message)> = Vec::new();
    for frame in etalage_store::frames(dir)? {
        let frame = frame?;
        admitted.extend(frame.records.into_iter().map(|record| (frame.tick, record.message)));
    }
    let tick = collector.with(|kept| kept.as_of);
    let history = History { tick, options: &options, admitted: &admitted };
    let mut out = Out::new();
    let mut different = 0;
    for view in views {
        let expected = (view.oracle)(&history);
        let found: BTreeMap<Key, String> = collector.with(|kept| {
            let rows = kept.views.get(view.name).into_iter().flatten();
            rows.map(|(key, value)| (key.clone(), value_json(value.as_ref()))).collect()
        });
        different += compare(&mut out, common, view, &expected, &found)?;
    }
    if !common.json {
        out.line(&format!("{} messages, as of {}", admitted.len(), Micros(tick)))?;
    }
    out.flush()?;
    match different {
        0 => Ok(()),
        _ => Err(CliError::Different(different)),
    }
}

type Rows = BTreeMap<Key, String>;

fn compare(out: &mut Out, common: &Common, view: &View, expected: &Rows, found: &Rows) -> Result<usize, CliError> {
    let keys: std::collections::BTreeSet<&Key> = expected.keys().chain(found.keys()).collect();
    let different: Vec<&Key> = keys.iter().copied().filter(|key| expected.get(*key) != found.get(*key)).collect();
    if common.json {
        let line = serde_json::json!({ "view": view.name, "keys": keys.len(), "different": different.len() });
        out.line(&line.to_string())?;
        return Ok(different.len());
    }
    out.line(&format!("{:<18} {:>9} keys, {} different", view.name, keys.len(), different.len()))?;
    for key in different.iter().take(MAX_PRINTED) {
        let text = |row: Option<&String>| row.cloned().unwrap_or_else(|| "absent".into());
        out.line(&format!("  {}", key.json(view.key_fields)))?;
        out.line(&format!("    dataflow {}", text(found.get(*key))))?;
        out.line(&format!("    oracle   {}", text(expected.get(*key))))?;
    }
    Ok(different.len())
}
