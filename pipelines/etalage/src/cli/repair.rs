//! `etalage repair`: what is damaged of a store, set aside so that the rest can be used.

use std::path::Path;

use etalage_store::{
    Damage, QUARANTINE_FILE, Quarantine, StoreError, find_damage, set_damage_aside, set_file_aside,
    snapshot::{Listed, Place, list, remove_beyond},
};

use super::{CliError, Out, args::RepairArgs};
use crate::config::Config;

pub(super) const HELP: &str = "\
Reads the whole log in --data-dir, checks every byte, and looks at the quarantine. Without --apply nothing is
changed. With it, the log ends before its first damage: the damaged part and everything behind it are set aside
beside it (*.damaged) and are not read any more. Snapshots that hold more than the log does then are removed for
good; where the service still starts from one of them, copy the folder first. Where the log was trimmed and no other
snapshot is left to start from, nothing is changed. No running server may hold the store at that time.

Examples:
  etalage repair --data-dir etalage-data
  etalage repair --data-dir etalage-data --apply";

/// Finds damage, and sets it aside where it is told so.
///
/// # Errors
/// Where the store cannot be read or written, or is in use, or nothing would be left to start from.
pub(super) fn run(config: &Config, args: &RepairArgs) -> Result<(), CliError> {
    let dir = &config.store.dir;
    let mut out = Out::new();
    let mut is_whole = true;
    if args.apply {
        // What is set aside may have hidden damage before it.
        while let Some((damage, aside)) = set_damage_aside(dir, |damage| forget_snapshots(config, damage))? {
            is_whole = false;
            tell(&damage, &mut out)?;
            aside.iter().try_for_each(|path| out.line(&format!("set aside: {}", path.display())))?;
        }
    } else if let Some(damage) = find_damage(dir)? {
        is_whole = false;
        tell(&damage, &mut out)?;
    }
    let is_quarantine_whole = quarantine(config, args.apply, &mut out)?;
    match (is_whole && is_quarantine_whole, args.apply) {
        (true, _) => out.line("nothing is damaged")?,
        (false, true) => out.line("repaired; restore what was set aside from a copy, if there is one")?,
        (false, false) => out.line("nothing was changed; `etalage repair --apply` sets the damaged part aside")?,
    }
    out.flush()
}

fn tell(damage: &Damage, out: &mut Out) -> Result<(), CliError> {
    out.line(&format!("{} is damaged at byte {}: {}", damage.path.display(), damage.offset, damage.what))?;
    out.line(&format!("before it stand {} records in {} frames; they stay", damage.records, damage.frames))?;
    out.line(&format!("from there on stand {} bytes, in {} segments", damage.bytes, 1 + damage.later.len()))
}

/// Removes the snapshots that hold what the log will not any more; unless nothing were left to start from.
fn forget_snapshots(config: &Config, damage: &Damage) -> Result<(), CliError> {
    let url = config.snapshots.place(&config.store.dir);
    let is_there = url.contains("://") || Path::new(&url).is_dir();
    let place = if is_there { Some(Place::open(&url, config.snapshots.retry_for())?) } else { None };
    let listed = place.as_ref().map(list).transpose()?.unwrap_or_default();
    let holds = |listed: &Listed| listed.manifest.as_ref().ok().map(|manifest| manifest.log.next_frame);
    let remains = damage.begins_at == 0
        || listed.iter().filter_map(holds).any(|next| (damage.begins_at..=damage.next_frame).contains(&next));
    if !remains {
        return Err(CliError::Failed(format!(
            "the log was trimmed: it begins with frame {}, and no snapshot holds what is before that and no more than is \
             left before the damage; nothing was changed. A start from a snapshot may still work; else restore the folder \
             from a copy",
            damage.begins_at
        )));
    }
    place.map(|place| remove_beyond(&place, damage.next_frame)).transpose()?;
    Ok(())
}

/// True where the quarantine is whole, or there is none.
fn quarantine(config: &Config, apply: bool, out: &mut Out) -> Result<bool, CliError> {
    let dir = &config.store.dir;
    if !dir.join(QUARANTINE_FILE).is_file() {
        return Ok(true);
    }
    match Quarantine::open(dir, config.quarantine_options()) {
        Ok(_) => Ok(true),
        Err(StoreError::Quarantine { path, error }) => {
            out.line(&format!("{} is damaged: {error}", path.display()))?;
            if apply {
                out.line(&format!("set aside: {}", set_file_aside(dir, &path)?.display()))?;
            }
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
