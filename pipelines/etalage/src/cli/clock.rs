//! `etalage clock`: the wall clock of a running server, and adopting it.

use clap::Subcommand;
use serde_json::Value;

use super::{CliError, Out, args::Common, client::Client};
use crate::config::Config;

const HELP: &str = "\
Pipeline time runs with the monotonic clock and is steered to the wall clock by at most 1 %. A wall clock that is
off by more than [time] max_clock_step is not followed, since it may be wrong: the log says so, and
etalage_clock_astray is 1. If it is wrong, mend it. If it is right, `accept` adopts it at once:

  ahead of pipeline time    pipeline time jumps there; what leaves windows meanwhile leaves at once
  behind pipeline time      pipeline time never goes back, so it stands until the wall clock has come to it:
                            messages are taken, and nothing leaves a window

Examples:
  etalage clock show
  etalage clock accept --url http://127.0.0.1:7878 --key sk_…";

/// `clock`
#[derive(Debug, Subcommand)]
pub enum ClockCommand {
    /// Say how the wall clock stands to pipeline time
    #[command(after_help = HELP)]
    Show,
    /// Adopt the wall clock, however far it is off
    #[command(after_help = HELP)]
    Accept,
}

/// Asks a running server.
///
/// # Errors
/// Where none answers, or its time is not made of a wall clock.
pub(super) fn run(common: &Common, config: &Config, command: &ClockCommand) -> Result<(), CliError> {
    let client = Client::new(common, config)?;
    let body = match command {
        ClockCommand::Show => client.get("/v1/clock")?,
        ClockCommand::Accept => client.post("/v1/clock/accept")?,
    };
    let told: Value = serde_json::from_str(&body).map_err(|error| client.strange(error))?;
    let mut out = Out::new();
    match (common.json, command) {
        (true, _) => out.line(&told.to_string())?,
        (false, ClockCommand::Show) => show(&told, &mut out)?,
        (false, ClockCommand::Accept) => out.line(&accepted(&told))?,
    }
    out.flush()
}

fn show(told: &Value, out: &mut Out) -> Result<(), CliError> {
    out.line(&format!("pipeline time  {}", text(told, "now")))?;
    if told["wall"].is_null() {
        return out.line(&format!("mode           {}: the wall clock does not drive it", text(told, "mode")));
    }
    out.line(&format!("wall clock     {}, {}", text(told, "wall"), off(told, "off_ms")))?;
    if told["followed"] == false {
        let limit = seconds(&told["max_clock_step_ms"]);
        out.line(&format!("not followed: beyond max_clock_step ({limit}); mend it, or `etalage clock accept`"))?;
    }
    match told["stands_for_ms"].as_u64() {
        None | Some(0) => Ok(()),
        Some(_) => out.line(&format!("pipeline time stands for {} more", seconds(&told["stands_for_ms"]))),
    }
}

fn accepted(told: &Value) -> String {
    let was = off(told, "was_off_ms");
    match told["did"] == "stands" {
        true => format!(
            "the wall clock was {was}; pipeline time stands at {} until it has come there, for {}",
            text(told, "now"),
            seconds(&told["stands_for_ms"])
        ),
        false => format!("the wall clock was {was}; pipeline time is {} now", text(told, "now")),
    }
}

fn text<'a>(told: &'a Value, name: &str) -> &'a str {
    told[name].as_str().unwrap_or_default()
}

/// How far the wall clock is off.
fn off(told: &Value, name: &str) -> String {
    let off_ms = told[name].as_i64().unwrap_or_default();
    let way = if off_ms < 0 { "behind" } else { "ahead" };
    format!("{} {way}", seconds(&off_ms.abs().into()))
}

fn seconds(ms: &Value) -> String {
    format!("{:.3} s", ms.as_u64().unwrap_or_default() as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_said_by_how_much_it_was_off_and_what_was_done() {
        let ahead = json!({ "was_off_ms": 86_400_000, "did": "moved", "now": "T", "stands_for_ms": 0 });
        assert_eq!(accepted(&ahead), "the wall clock was 86400.000 s ahead; pipeline time is T now");
        let behind = json!({ "was_off_ms": -90_000, "did": "stands", "now": "T", "stands_for_ms": 90_000 });
        assert_eq!(
            accepted(&behind),
            "the wall clock was 90.000 s behind; pipeline time stands at T until it has come there, for 90.000 s"
        );
    }
}
