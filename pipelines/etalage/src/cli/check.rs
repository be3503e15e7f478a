//! `etalage check`: says what a configuration amounts to.

use super::{CliError, Out, args::Common};
use crate::config::{Loaded, Place, sections::SECTIONS, table::TABLE};

/// Prints what was given, and where; the rest is at its default.
///
/// # Errors
/// Only where the output cannot be written: a wrong configuration never gets here.
pub(super) fn run(common: &Common, loaded: &Loaded) -> Result<(), CliError> {
    let mut out = Out::new();
    if common.json {
        for (key, place) in &loaded.given {
            out.line(&serde_json::json!({ "key": key, "given": place.to_string() }).to_string())?;
        }
        return out.flush();
    }
    let source = match (&common.config, loaded.given.values().any(|place| matches!(place, Place::Environment(_)))) {
        (Some(file), false) => file.display().to_string(),
        (Some(file), true) => format!("{} and the environment", file.display()),
        (None, false) => "The default configuration".to_owned(),
        (None, true) => "The environment".to_owned(),
    };
    out.line(&format!("{source}: no errors, {} of {} keys given", loaded.given.len(), TABLE.len()))?;
    for (section, _) in SECTIONS {
        let keys = loaded.given.iter().filter(|(key, _)| key.split('.').next() == Some(*section));
        for (key, place) in keys {
            out.line(&format!("  {key:<28} {place}"))?;
        }
    }
    out.flush()
}
