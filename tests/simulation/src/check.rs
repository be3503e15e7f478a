//! After a run: the log against what was sent, and everything that was published against the oracles.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use etalage::{config::Config, runtime::shop_options};
use etalage_model::{
    Message, Micros, Record, Tick,
    decode::json::{Context, one},
};
use etalage_store::frames_on;
use etalage_views::{VIEWS, oracle::History};

use crate::{
    disk::SimDisk,
    reader::{Mark, Rows},
    shop::Shop,
};

/// The log, whole: what was trimmed of it, and what is there.
pub(crate) fn log(disk: &SimDisk, dir: &Path) -> Result<Vec<(Tick, Record)>, String> {
    let trimmed = trimmed(disk);
    let mut stored = if trimmed.files().is_empty() { Vec::new() } else { frames(&trimmed, dir)? };
    stored.extend(frames(disk, dir)?);
    Ok(stored)
}

/// The segments that were trimmed.
pub(crate) fn trimmed(disk: &SimDisk) -> SimDisk {
    disk.graveyard(|path| path.extension().is_some_and(|ending| ending == "seg"))
}

fn frames(disk: &SimDisk, dir: &Path) -> Result<Vec<(Tick, Record)>, String> {
    let mut stored = Vec::new();
    for frame in frames_on(Arc::new(disk.clone()), dir).map_err(|error| error.to_string())? {
        let frame = frame.map_err(|error| error.to_string())?;
        stored.extend(frame.records.into_iter().map(|record| (frame.tick, record)));
    }
    Ok(stored)
}

/// Every message of the log was sent, as it stands there, and stands there once; everything that was acknowledged does.
pub(crate) fn ledger(stored: &[(Tick, Record)], shop: &Shop, config: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    let limits = config.decode_limits();
    let context = Context { now: Micros(0), map_time: None, currencies: &config.shop.currencies, limits: &limits };
    let mut seen: BTreeMap<&str, Tick> = BTreeMap::new();
    let mut before = 0;
    for (tick, record) in stored {
        let id = record.message.message_id();
        if *tick < before {
            wrong.push(format!("tick {tick} stands behind {before} in the log"));
        }
        before = *tick;
        if let Some(first) = seen.insert(id, *tick) {
            wrong.push(format!("{id} is stored twice: at {first} and {tick}"));
        }
        let is_as_sent = shop.sent.get(id).is_some_and(|sent| {
            sent.texts.iter().any(|text| one(sent.kind, text.as_bytes(), &context).is_ok_and(|sent| sent == *record))
        });
        if !is_as_sent {
            wrong.push(format!("{id} was not sent as it is stored at {tick}"));
        }
    }
    let lost = shop.sent.iter().filter(|(id, sent)| sent.is_acknowledged && !seen.contains_key(id.as_str()));
    wrong.extend(lost.map(|(id, _)| format!("{id} was acknowledged, and is lost")));
    wrong
}

/// What was published equals the oracles of what is stored.
pub(crate) fn oracles(stored: &[(Tick, Record)], marks: &[Mark], config: &Config) -> Vec<String> {
    let options = shop_options(config);
    let admitted: Vec<(Tick, Message)> = stored.iter().map(|(tick, record)| (*tick, record.message.clone())).collect();
    let mut wrong = Vec::new();
    for mark in marks {
        let history = History { tick: mark.as_of, options: &options, admitted: &admitted };
        let views = VIEWS.iter().filter(|view| view.group == mark.group && options.is_on(view.name));
        let mut expected: Rows = views.map(|view| (view.name, (view.oracle)(&history))).collect();
        expected.retain(|_, rows| !rows.is_empty());
        for view in VIEWS.iter().filter(|view| view.group == mark.group) {
            let (got, wanted) = (mark.rows.get(view.name), expected.get(view.name));
            if got != wanted {
                wrong.push(format!("{} as of {}: {}", view.name, mark.as_of, difference(got, wanted)));
            }
        }
    }
    wrong
}

/// The first key that differs.
fn difference<K: Ord + std::fmt::Debug>(
    got: Option<&BTreeMap<K, String>>,
    wanted: Option<&BTreeMap<K, String>>,
) -> String {
    let (none, more) = (BTreeMap::new(), BTreeMap::new());
    let (got, wanted) = (got.unwrap_or(&none), wanted.unwrap_or(&more));
    let keys = got.keys().chain(wanted.keys());
    let differing = keys.into_iter().find(|key| got.get(key) != wanted.get(key));
    differing.map_or_else(String::new, |key| format!("{key:?} is {:?} instead of {:?}", got.get(key), wanted.get(key)))
}

/// Stands for what is stored and was published.
pub(crate) fn digest(stored: &[(Tick, Record)], marks: &[Mark]) -> u64 {
    let mut text = String::new();
    for (tick, record) in stored {
        text.push_str(&format!("{tick} {} {}\n", record.message.message_id(), record.content));
    }
    for mark in marks {
        text.push_str(&format!("{:?} {} {:?}\n", mark.group, mark.as_of, mark.rows));
    }
    etalage_model::hash::hash64(text.as_bytes())
}
