//! `etalage get`: reads a view page by page.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    CliError, Out,
    args::{Common, GetArgs},
    client::{Client, encoded},
    entry::{Entry, Row, table},
};
use crate::config::Config;

/// Entries that are asked for at a time.
const PAGE_ENTRIES: u64 = 1_000;

/// A page of a list.
#[derive(Debug, Deserialize)]
struct Page<'a> {
    as_of: &'a str,
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
    #[serde(borrow)]
    next: Option<Cow<'a, str>>,
}

/// Prints the entries that begin with the prefix, in the order of their keys.
///
/// # Errors
/// Where no server answers, or there is no such view.
pub(super) fn run(common: &Common, config: &Config, args: &GetArgs) -> Result<(), CliError> {
    let client = Client::new(common, config)?;
    let (view, prefix) = split(&args.view);
    let mut out = Out::new();
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut cursor: Option<String> = None;
    let mut is_first = true;
    while left > 0 {
        let mut path = format!("/v1/views/{}?prefix={}", encoded(view), encoded(prefix));
        path.push_str(&format!("&limit={}", left.min(PAGE_ENTRIES)));
        if let Some(cursor) = &cursor {
            path.push_str(&format!("&cursor={}", encoded(cursor)));
        }
        let body = client.get(&path)?;
        let page: Page<'_> = serde_json::from_str(&body).map_err(|error| client.strange(error))?;
        if common.json {
            for entry in &page.entries {
                out.line(&entry.json_line(view, page.as_of))?;
            }
        } else {
            let rows: Vec<Row> = page.entries.iter().flat_map(Entry::rows).collect();
            for line in table(&rows, is_first) {
                out.line(&line)?;
            }
        }
        if is_first && page.entries.is_empty() {
            eprintln!("nothing in {} as of {}", args.view, page.as_of);
        }
        is_first = false;
        left = left.saturating_sub(page.entries.len() as u64);
        cursor = page.next.map(Cow::into_owned);
        if cursor.is_none() {
            break;
        }
    }
    out.flush()
}

/// View and prefix of `VIEW[:KEY-PREFIX]`.
pub(super) fn split(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, ""))
}
