//! `etalage repair`: what is damaged of a store, set aside so that the rest can be used.

use etalage_store::{
    QUARANTINE_FILE, Quarantine, SET_ASIDE, StoreError, find_damage, set_damage_aside,
    snapshot::{Place, remove_beyond},
};

use super::{CliError, Out, args::RepairArgs};
use crate::config::Config;

pub(super) const HELP: &str = "\
Reads the whole log in --data-dir, checks every byte, and looks at the quarantine. Without --apply nothing is
changed. With it, the log ends before its first damage: the damaged part and everything behind it are set aside
beside it (*.damaged) and are not read any more. Snapshots that hold more than the log does then are removed. No running server may hold the store at that time.

Examples:
  etalage repair --data-dir etalage-data
  etalage repair --data-dir etalage-data --apply";

/// Finds damage, and sets it aside where it is told so.
///
/// # Errors
/// Where the store cannot be read or written, or is in use.
pub(super) fn run(config: &Config, args: &RepairArgs) -> Result<(), CliError> {
    let dir = &config.store.dir;
    let mut out = Out::new();
    let found = match args.apply {
        true => set_damage_aside(dir)?.map(|(damage, aside)| (damage, Some(aside))),
        false => find_damage(dir)?.map(|damage| (damage, None)),
    };
    let is_whole = found.is_none();
    if let Some((damage, aside)) = found {
        out.line(&format!("{} is damaged at byte {}: {}", damage.path.display(), damage.offset, damage.what))?;
        out.line(&format!("before it stand {} records in {} frames; they stay", damage.records, damage.frames))?;
        out.line(&format!("from there on stand {} bytes, in {} segments", damage.bytes, 1 + damage.later.len()))?;
        for path in aside.iter().flatten() {
            out.line(&format!("set aside: {}", path.display()))?;
        }
        if aside.is_some() {
            forget_snapshots(config, damage.next_frame, &mut out)?;
        }
    }
    let is_quarantine_whole = quarantine(config, args.apply, &mut out)?;
    match (is_whole && is_quarantine_whole, args.apply) {
        (true, _) => out.line("nothing is damaged")?,
        (false, true) => out.line("repaired; restore what was set aside from a copy, if there is one")?,
        (false, false) => out.line("nothing was changed; `etalage repair --apply` sets the damaged part aside")?,
    }
    out.flush()
}

/// A snapshot may hold what the log does not any more.
fn forget_snapshots(config: &Config, next_frame: u64, out: &mut Out) -> Result<(), CliError> {
    let url = config.snapshots.place(&config.store.dir);
    if url.contains("://") || std::path::Path::new(&url).is_dir() {
        let removed = remove_beyond(&Place::open(&url)?, next_frame)?;
        out.line(&format!("removed {} snapshots, which hold more than the log does now", removed.snapshots))?;
    }
    Ok(())
}

/// True where the quarantine is whole, or there is none.
fn quarantine(config: &Config, apply: bool, out: &mut Out) -> Result<bool, CliError> {
    let path = config.store.dir.join(QUARANTINE_FILE);
    if !path.is_file() {
        return Ok(true);
    }
    match Quarantine::open(&config.store.dir, config.quarantine_options()) {
        Ok(_) => Ok(true),
        Err(StoreError::Quarantine { path, error }) => {
            out.line(&format!("{} is damaged: {error}", path.display()))?;
            if apply {
                let mut aside = path.clone().into_os_string();
                aside.push(SET_ASIDE);
                std::fs::rename(&path, &aside).map_err(|error| CliError::Failed(error.to_string()))?;
                out.line(&format!("set aside: {}", std::path::Path::new(&aside).display()))?;
            }
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
