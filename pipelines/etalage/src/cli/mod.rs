//! The command line. Each command stands in a file of its own; here they are chosen, and their
//! errors become exit codes.

pub mod args;
mod check;
mod client;
pub mod clock;
mod cluster;
mod demo;
mod entry;
mod error;
mod folder;
mod get;
pub mod health;
mod key;
mod opened;
mod out;
mod part;
pub mod people;
mod quarantine;
mod repair;
mod replay;
mod run;
pub mod schema;
mod serve;
mod serving;
pub mod snapshots;
mod topics;
mod verify;
mod watch;

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;

pub use args::Cli;
pub use error::{CliError, EXIT_CODES};
pub use out::Out;

use args::{Command, Common, ConfigCommand, KeyCommand};

use crate::config::{Config, Loaded, reference};

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    log();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, CliError::ReaderGone) {
                eprintln!("etalage: {error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<(), CliError> {
    let common = &cli.common;
    match &cli.command {
        Command::Get(args) => get::run(common, &load(common)?.config, args),
        Command::Watch(args) => {
            end_at_interrupt()?;
            watch::run(common, &load(common)?.config, args)
        }
        Command::Run(args) => {
            let mut config = load(common)?.config;
            let process = args.process.map_or(Ok(()), |process| config.cluster.set_process(process));
            process.map_err(CliError::Usage)?;
            run::run(&config, args)
        }
        Command::Serve(args) => serve::run(&load(common)?.config, args),
        Command::Demo(args) => demo::run(common, &load(common)?.config, args),
        Command::Replay(args) => replay::run(common, &load(common)?.config, args),
        Command::Health(args) => health::run(common, &load(common)?.config, args),
        Command::Verify => verify::run(common, &load(common)?.config),
        Command::Check => check::run(common, &load(common)?),
        Command::Schema(args) => schema::run(args),
        Command::Topics(command) => topics::run(&load(common)?.config, command),
        Command::Feed(args) => topics::feed(&load(common)?.config, args),
        Command::Quarantine(command) => quarantine::run(common, &load(common)?.config, command),
        Command::Repair(args) => repair::run(&load(common)?.config, args),
        Command::Snapshot(command) => snapshots::run(common, &load(common)?.config, command),
        Command::Clock(command) => clock::run(common, &load(common)?.config, command),
        Command::Explain(args) => people::explain(common, &load(common)?.config, args),
        Command::Erase(args) => people::erase(common, &load(common)?.config, args),
        Command::Config(ConfigCommand::Reference { markdown }) => {
            let mut out = Out::new();
            out.line(if *markdown { reference::markdown() } else { reference::toml() }.trim_end())?;
            out.flush()
        }
        Command::Key(KeyCommand::New { kind }) => key::new(common, *kind),
    }
}

/// The process's own log, on standard error; `ETALAGE_LOG` (`info`, `etalage=debug`) says how much.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ETALAGE_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal).init();
}

/// The configuration, with what the command line puts in its place.
fn load(common: &Common) -> Result<Loaded, CliError> {
    // A variable that is no text cannot name a key that is known.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let views: Vec<&str> = etalage_views::VIEWS.iter().map(|view| view.name).collect();
    let mut loaded = Config::load(common.config.as_deref(), environment, &views)?;
    if let Some(dir) = &common.data_dir {
        loaded.config.store.dir.clone_from(dir);
    }
    if let Some(port) = common.port {
        loaded.config.set_port(port);
    }
    Ok(loaded)
}

/// Ctrl-C is how `watch` ends: not a failure. Every line that was printed has been flushed.
fn end_at_interrupt() -> Result<(), CliError> {
    ctrlc::set_handler(|| std::process::exit(0)).map_err(|error| CliError::Usage(format!("no Ctrl-C: {error}")))
}
