//! `etalage health`: whether a server lives, for supervisors that can only run a command.

use clap::Args;

use super::{CliError, Out, args::Common, client::Client};
use crate::config::Config;

pub(super) const HELP: &str = "\
Asks /healthz: the process answers. With --ready it asks /readyz: the state is complete and messages are taken.

Examples:
  etalage health || restart
  etalage health --ready --url http://127.0.0.1:7878";

/// `health`
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Ask whether it is ready, and not only whether it lives
    #[arg(long)]
    pub ready: bool,
}

/// Prints what the server says of itself.
///
/// # Errors
/// Where nothing answers, or it says that it is not well.
pub(super) fn run(common: &Common, config: &Config, args: &HealthArgs) -> Result<(), CliError> {
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let body = Client::new(common, config)?.get(path)?;
    let mut out = Out::new();
    out.line(&body)?;
    out.flush()
}
