//! `etalage quarantine`: refused messages, from a running server or from the store's folder.

use std::path::Path;

use etalage_model::Quarantined;
use etalage_store::{QUARANTINE_FILE, Quarantine, StoreError};
use serde::{Deserialize, Serialize};

use serde_json::Value;

use super::{
    CliError, Out,
    args::{Common, QuarantineCommand},
    client::{Client, encoded},
    entry::{Cell, Row, table},
    opened::in_store,
};
use crate::{
    config::Config,
    runtime::{Retried, Wanted},
};

/// Records that are read at a time.
const PAGE_RECORDS: usize = 1_000;

/// A refused message as a server answers it, and as `--json` prints it.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    seq: u64,
    arrived_at: String,
    source: String,
    code: String,
    reason: String,
    raw: String,
    raw_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Page {
    records: Vec<Record>,
}

/// Lists records, or shows one.
///
/// # Errors
/// Where neither a server nor a store can be read, or there is no such record.
pub(super) fn run(common: &Common, config: &Config, command: &QuarantineCommand) -> Result<(), CliError> {
    if let QuarantineCommand::Retry { numbers, code } = command {
        return retry(common, config, numbers, code.as_deref());
    }
    let from = match &common.url {
        Some(_) => From::Server(Client::new(common, config)?),
        None => From::Store(open(&config.store.dir, config)?),
    };
    let mut out = Out::new();
    match *command {
        QuarantineCommand::Retry { .. } => {}
        QuarantineCommand::List { after, limit } => list(common, &from, after, limit, &mut out)?,
        QuarantineCommand::Show { number } => {
            let found = from.page(number.saturating_sub(1), 1)?.pop().filter(|record| record.seq == number);
            let record = found.ok_or_else(|| CliError::NotFound(format!("there is no record {number}")))?;
            show(common, &record, &mut out)?;
        }
    }
    out.flush()
}

/// Takes refused messages in once more, and prints what became of each.
fn retry(common: &Common, config: &Config, numbers: &[u64], code: Option<&str>) -> Result<(), CliError> {
    let retried: Value = match &common.url {
        Some(_) => {
            let client = Client::new(common, config)?;
            let asked: Vec<String> = match code {
                Some(code) => vec![format!("code={}", encoded(code))],
                None => numbers.iter().map(|number| format!("number={number}")).collect(),
            };
            let body = client.post(&format!("/v1/quarantine/retry?{}", asked.join("&")))?;
            let mut answer: Value = serde_json::from_str(&body).map_err(|error| client.strange(error))?;
            answer["retried"].take()
        }
        None => {
            let wanted = code.map_or(Wanted::Numbers(numbers), Wanted::Code);
            let retried = in_store(config, |door| door.retry(wanted))?.map_err(CliError::Failed)?;
            retried.iter().map(Retried::told).collect()
        }
    };
    let mut out = Out::new();
    for one in retried.as_array().into_iter().flatten() {
        match common.json {
            true => out.line(&one.to_string())?,
            false => {
                let text = |name: &str| one[name].as_str().unwrap_or_default();
                out.line(format!("{:>8}  {:<10} {}", one["number"], text("status"), text("reason")).trim_end())?;
            }
        }
    }
    if retried.as_array().is_none_or(Vec::is_empty) {
        eprintln!("no message was refused for that");
    }
    out.flush()
}

/// Where records are read.
enum From {
    Server(Client),
    Store(Quarantine),
}

impl From {
    fn page(&self, after: u64, limit: usize) -> Result<Vec<Record>, CliError> {
        match self {
            From::Server(client) => {
                let body = client.get(&format!("/v1/quarantine?after={after}&limit={limit}"))?;
                Ok(serde_json::from_str::<Page>(&body).map_err(|error| client.strange(error))?.records)
            }
            From::Store(quarantine) => Ok(quarantine.list(after, limit)?.iter().map(Record::of).collect()),
        }
    }
}

fn open(dir: &Path, config: &Config) -> Result<Quarantine, CliError> {
    if !dir.join(QUARANTINE_FILE).is_file() {
        let message = format!(
            "no quarantine in {}; name the folder of a store with --data-dir, or a running server with --url",
            dir.display()
        );
        return Err(CliError::NotFound(message));
    }
    Quarantine::open(dir, config.quarantine_options()).map_err(|error| match error {
        StoreError::Locked { .. } => CliError::NotFound(format!(
            "the store in {} is in use; ask the server that has it, with --url http://{}",
            dir.display(),
            config.server.listen
        )),
        other => other.into(),
    })
}

fn list(common: &Common, from: &From, mut after: u64, limit: usize, out: &mut Out) -> Result<(), CliError> {
    let mut left = limit;
    let mut is_first = true;
    while left > 0 {
        let wanted = left.min(PAGE_RECORDS);
        let page = from.page(after, wanted)?;
        match common.json {
            true => {
                for record in &page {
                    out.line(&serde_json::to_string(record).map_err(|error| CliError::Output(error.into()))?)?;
                }
            }
            false => {
                let rows: Vec<Row> = page.iter().map(Record::row).collect();
                for line in table(&rows, is_first) {
                    out.line(&line)?;
                }
            }
        }
        if page.is_empty() && is_first {
            eprintln!("no message was refused");
        }
        is_first = false;
        left -= page.len().min(left);
        match page.last() {
            Some(last) if page.len() == wanted => after = last.seq,
            _ => break,
        }
    }
    Ok(())
}

fn show(common: &Common, record: &Record, out: &mut Out) -> Result<(), CliError> {
    if common.json {
        return out.line(&serde_json::to_string(record).map_err(|error| CliError::Output(error.into()))?);
    }
    out.line(&format!("number   {}", record.seq))?;
    out.line(&format!("arrived  {}", record.arrived_at))?;
    out.line(&format!("source   {}", record.source))?;
    out.line(&format!("reason   {}", record.reason))?;
    out.line(&format!("sent     {} bytes", record.raw_bytes))?;
    out.line("")?;
    out.line(record.raw.trim_end())?;
    if record.raw_bytes > record.raw.len() as u64 {
        out.line("…")?;
    }
    Ok(())
}

impl Record {
    fn of(record: &Quarantined) -> Record {
        Record {
            seq: record.seq,
            arrived_at: record.arrived_at.to_string(),
            source: record.source.clone(),
            code: record.reason.code().to_owned(),
            reason: record.reason.to_string(),
            raw: String::from_utf8_lossy(&record.raw).into_owned(),
            raw_bytes: record.raw_bytes,
        }
    }

    fn row(&self) -> Row {
        Row(vec![
            Cell::text("number", &self.seq.to_string()),
            Cell::text("arrived", &self.arrived_at),
            Cell::text("source", &self.source),
            Cell::text("reason", &self.reason),
        ])
    }
}
