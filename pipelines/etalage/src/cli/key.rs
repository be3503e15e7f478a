//! `etalage key new`: makes a key of 256 random bits, and the hash that the configuration wants.

use etalage_serve::hash_key;
use rand::RngExt;

use super::{
    CliError, Out,
    args::{Common, KeyKind},
};

const KEY_BYTES: usize = 32;

/// Prints a new key and its hash. Neither is stored.
///
/// # Errors
/// Only where the output cannot be written.
pub(super) fn new(common: &Common, kind: KeyKind) -> Result<(), CliError> {
    let (prefix, list) = match kind {
        KeyKind::Pk => ("pk", "publishable"),
        KeyKind::Sk => ("sk", "secret"),
    };
    let bytes: [u8; KEY_BYTES] = rand::rng().random();
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("{prefix}_{digits}");
    let hash = hash_key(&key);
    let mut out = Out::new();
    if common.json {
        out.line(&serde_json::json!({ "kind": prefix, "key": key, "sha256": hash }).to_string())?;
        return out.flush();
    }
    out.line(&key)?;
    out.line("")?;
    out.line("Keep it: it is stored nowhere. The configuration wants its hash:")?;
    out.line("")?;
    out.line("[keys]")?;
    out.line(&format!("{list} = [\"{hash}\"]"))?;
    out.flush()
}
