//! `etalage snapshot`: state as of one tick, taken and looked at.

use std::time::Duration;

use clap::Subcommand;
use etalage_model::{Micros, Tick};
use etalage_store::snapshot::{Listed, Manifest, Place, list, load};
use serde_json::{Value, json};

use super::{CliError, Out, args::Common, client::Client, opened::in_store};
use crate::{
    config::Config,
    runtime::{
        Door,
        snapshot::{RESTORED_AT_ONCE_BYTES, Snapshots, Taking, summary},
    },
};

const HELP: &str = "\
A running server takes snapshots by itself ([snapshots] every, after_records). `now` asks it for one where
--url names it; without it the store in --data-dir is opened, which no running server may hold at that time.
The others read [snapshots] url, whoever is running.

Examples:
  etalage snapshot now --url http://127.0.0.1:7878 --key sk_…
  etalage snapshot list --data-dir etalage-data
  etalage snapshot inspect --data-dir etalage-data
  etalage snapshot verify 1790000000000000";

/// `snapshot`
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Take one now
    #[command(after_help = HELP)]
    Now,
    /// List them, oldest first
    #[command(after_help = HELP)]
    List,
    /// Say what one is made of
    #[command(after_help = HELP)]
    Inspect {
        /// Its tick; without it, the newest
        tick: Option<Tick>,
    },
    /// Read one, or all of them, and check every byte
    #[command(after_help = HELP)]
    Verify {
        /// Its tick; without it, all
        tick: Option<Tick>,
    },
}

/// Does what the command says.
///
/// # Errors
/// Where snapshots cannot be read or taken, or one is damaged.
pub(super) fn run(common: &Common, config: &Config, command: &SnapshotCommand) -> Result<(), CliError> {
    let mut out = Out::new();
    match command {
        SnapshotCommand::Now => now(common, config, &mut out)?,
        SnapshotCommand::List => listed(common, &list(&place_to_read(config)?)?, &mut out)?,
        SnapshotCommand::Inspect { tick } => inspect(common, &list(&place_to_read(config)?)?, *tick, &mut out)?,
        SnapshotCommand::Verify { tick } => verify(common, &place_to_read(config)?, *tick, &mut out)?,
    }
    out.flush()
}

/// The snapshots that a pipeline starts from and takes, if they are switched on.
pub(super) fn of(config: &Config, taking: Taking) -> Option<Snapshots> {
    let url = config.snapshots.place(&config.store.dir);
    config.snapshots.on.then_some(Snapshots {
        url,
        retry_for: config.snapshots.retry_for(),
        restored_at_once_bytes: RESTORED_AT_ONCE_BYTES,
        taking,
        kept: config.snapshots.kept,
        trims_log: config.snapshots.trim_log,
    })
}

/// When a service takes one without being asked.
pub(super) fn taking(config: &Config) -> Taking {
    let every = Duration::from_micros(config.snapshots.every_us);
    Taking { every, after_records: config.snapshots.after_records }
}

/// Where they are, if it is there: looking must not make a folder.
fn place_to_read(config: &Config) -> Result<Place, CliError> {
    let url = config.snapshots.place(&config.store.dir);
    if !url.contains("://") && !std::path::Path::new(&url).is_dir() {
        return Err(CliError::NotFound(format!("there are no snapshots in {url}")));
    }
    Ok(Place::open(&url, config.snapshots.retry_for())?)
}

fn now(common: &Common, config: &Config, out: &mut Out) -> Result<(), CliError> {
    let taken: Value = if common.url.is_some() {
        let client = Client::new(common, config)?;
        serde_json::from_str(&client.post("/v1/snapshots")?).map_err(|error| client.strange(error))?
    } else {
        summary(&in_store(config, Door::snapshot)??)
    };
    if common.json {
        return out.line(&taken.to_string());
    }
    let text = |name: &str| taken[name].as_str().map_or_else(|| taken[name].to_string(), str::to_owned);
    out.line(&format!(
        "{}: {} rows of {} records, {} bytes, {} of them new",
        text("tick"),
        text("rows"),
        text("records"),
        text("stored_bytes"),
        text("new_bytes"),
    ))
}

fn listed(common: &Common, all: &[Listed], out: &mut Out) -> Result<(), CliError> {
    for Listed { tick, manifest } in all {
        let line = match (manifest, common.json) {
            (Ok(manifest), true) => head(manifest).to_string(),
            (Err(error), true) => json!({ "tick": tick, "damaged": error.to_string() }).to_string(),
            (Ok(manifest), false) => format!(
                "{tick}  {}  {:>12} records {:>12} rows {:>14} bytes",
                Micros(*tick),
                manifest.records,
                manifest.rows(),
                manifest.stored_bytes()
            ),
            (Err(error), false) => format!("{tick}  {}  damaged: {error}", Micros(*tick)),
        };
        out.line(&line)?;
    }
    Ok(())
}

/// What is known of a snapshot as a whole.
fn head(manifest: &Manifest) -> Value {
    json!({
        "tick": manifest.tick, "as_of": Micros(manifest.tick).to_string(),
        "created_at": Micros(manifest.created_at_us).to_string(), "written_by": manifest.written_by,
        "options": manifest.options, "records": manifest.records, "rows": manifest.rows(), "bytes": manifest.bytes(),
        "stored_bytes": manifest.stored_bytes(),
    })
}

fn inspect(common: &Common, all: &[Listed], tick: Option<Tick>, out: &mut Out) -> Result<(), CliError> {
    let found = match tick {
        Some(tick) => all.iter().find(|listed| listed.tick == tick),
        None => all.last(),
    };
    let missing = || CliError::NotFound("there is no such snapshot; `etalage snapshot list` lists them".into());
    let Listed { manifest, .. } = found.ok_or_else(missing)?;
    let manifest = manifest.as_ref().map_err(|error| CliError::Failed(error.to_string()))?;
    if common.json {
        let section = |section: &etalage_store::snapshot::Section| {
            json!({
                "part": section.part, "name": section.name, "rows": section.rows(), "bytes": section.bytes(),
                "chunks": section.chunks.len(),
            })
        };
        let mut told = head(manifest);
        told["sections"] = manifest.sections.iter().map(section).collect();
        return out.line(&told.to_string());
    }
    out.line(&format!("as of       {} (tick {})", Micros(manifest.tick), manifest.tick))?;
    out.line(&format!("taken       {} by etalage {}", Micros(manifest.created_at_us), manifest.written_by))?;
    out.line(&format!("records     {}", manifest.records))?;
    out.line(&format!("stored      {} bytes", manifest.stored_bytes()))?;
    out.line(&format!("{:<10} {:<24} {:>12} {:>14} {:>8}", "part", "section", "rows", "bytes", "a row"))?;
    for section in &manifest.sections {
        let a_row = section.bytes() / section.rows().max(1);
        let (rows, bytes) = (section.rows(), section.bytes());
        out.line(&format!("{:<10} {:<24} {rows:>12} {bytes:>14} {a_row:>8}", section.part, section.name))?;
    }
    Ok(())
}

fn verify(common: &Common, place: &Place, tick: Option<Tick>, out: &mut Out) -> Result<(), CliError> {
    let ticks = match tick {
        Some(tick) => vec![tick],
        None => list(place)?.into_iter().map(|listed| listed.tick).collect(),
    };
    let mut damaged = 0;
    for tick in ticks {
        let checked = load(place, tick).and_then(|snapshot| snapshot.verify());
        match checked {
            Err(error) if !error.is_about_one() => return Err(error.into()),
            Err(error) => {
                damaged += 1;
                out.line(&match common.json {
                    true => json!({ "tick": tick, "damaged": error.to_string() }).to_string(),
                    false => format!("{tick}  damaged: {error}"),
                })?;
            }
            Ok(()) => out.line(&match common.json {
                true => json!({ "tick": tick, "damaged": null }).to_string(),
                false => format!("{tick}  whole"),
            })?,
        }
    }
    out.flush()?;
    if damaged == 0 { Ok(()) } else { Err(CliError::Damaged(damaged)) }
}
