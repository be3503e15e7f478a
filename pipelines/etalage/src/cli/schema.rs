//! `etalage schema`: what keys and values of a view look like, and what its change stream tells of them.

use clap::Args;
use serde_json::{Value, json};

use super::{CliError, Out};

/// What `etalage schema --help` says at its end.
pub(super) const HELP: &str = "\
Those of keys and values stand in docs/schemas, too.

Examples:
  etalage schema                        the names of the views
  etalage schema set.bestsellers
  etalage schema set.bestsellers --changes      a message of its change stream";

/// `schema`
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The view; without it, the names of all
    #[arg(value_name = "VIEW")]
    pub view: Option<String>,
    /// Of what its change stream tells instead (kafka.change_streams)
    #[arg(long, requires = "view")]
    pub changes: bool,
}

/// Prints the JSON Schema of a view, or the names of all.
pub(super) fn run(args: &SchemaArgs) -> Result<(), CliError> {
    let mut out = Out::new();
    match &args.view {
        None => etalage_views::VIEWS.iter().try_for_each(|view| out.line(view.name))?,
        Some(name) => {
            let view = etalage_views::view(name);
            let view =
                view.ok_or_else(|| CliError::Usage(format!("there is no view `{name}`; `etalage schema` lists them")))?;
            let schema = view.json_schema();
            let schema = if args.changes { of_changes(schema) } else { schema };
            out.line(&serde_json::to_string_pretty(&schema).unwrap_or_default())?;
        }
    }
    out.flush()
}

/// The schema of a view's change stream, from that of its keys and values.
fn of_changes(mut schema: Value) -> Value {
    let id = schema["$id"].as_str().and_then(|id| id.strip_suffix(".v1")).map(|id| format!("{id}.changes.v1"));
    schema["$id"] = json!(id);
    let value = json!({ "anyOf": [{ "$ref": "#/$defs/value" }, { "type": "null" }] });
    schema["$defs"]["change"] = json!({
        "description": "A step of a key. What stands before it is what stood after the one before.",
        "type": "object",
        "properties": { "as_of": { "type": "string", "format": "date-time" }, "before": value, "after": value },
        "required": ["as_of", "before", "after"],
    });
    schema["properties"]["value"] = json!({ "$ref": "#/$defs/change" });
    schema
}
