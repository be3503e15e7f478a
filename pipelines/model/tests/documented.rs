//! `docs/input.md` says what the decoders do: its examples are taken, and its names and numbers
//! are those of the code.

mod common;

use common::shop;
use etalage_model::{EventKind, InputKind, Refusal, decode::json::Limits};

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/input.md");
    std::fs::read_to_string(path).unwrap()
}

/// The first cells of the rows of the table under `heading`, with the cells behind them.
fn rows(page: &str, heading: &str) -> Vec<(String, Vec<String>)> {
    let section = page.split(heading).nth(1).unwrap();
    let table = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let table = table.take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    table.map(cells).map(|mut cells| (cells.remove(0).replace('`', ""), cells)).collect()
}

#[test]
fn the_examples_are_taken() {
    let page = page();
    let mut taken = Vec::new();
    for example in page.split("curl http://127.0.0.1:7878").skip(1) {
        let kind = [InputKind::Events, InputKind::Inventory, InputKind::Catalogue]
            .into_iter()
            .find(|kind| example.starts_with(&format!("/v1/{}", kind.name())))
            .unwrap();
        let body = example.split('\'').nth(1).unwrap();
        let results = shop().body(kind, body.as_bytes()).unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        taken.push((kind, results.len()));
    }
    assert_eq!(taken, [(InputKind::Events, 1), (InputKind::Inventory, 2), (InputKind::Catalogue, 2)]);
}

#[test]
fn the_event_names_are_those_of_the_code() {
    let rows = rows(&page(), "### Event names");
    assert_eq!(rows.len(), 12);
    for (canonical, cells) in rows {
        let kind = EventKind::from_name(&canonical);
        assert_eq!(kind.name(), canonical);
        for alias in cells[0].split(", ") {
            assert_eq!(EventKind::from_name(alias.trim_matches('`')), kind, "{alias}");
        }
    }
}

#[test]
fn the_limits_are_those_of_the_code() {
    let written = rows(&page(), "## Limits").into_iter().map(|(name, cells)| {
        let default: i64 = cells[0].replace(',', "").parse().unwrap();
        (name, default)
    });
    let Limits {
        max_event_bytes,
        max_batch_events,
        max_items,
        max_id_bytes,
        max_label_bytes,
        max_search_bytes,
        max_field_bytes,
        max_category_levels,
        max_quantity,
        max_available,
    } = Limits::default();
    let size = |size: usize| i64::try_from(size).unwrap();
    let expected = [
        ("max_event_bytes", size(max_event_bytes)),
        ("max_batch_events", size(max_batch_events)),
        ("max_items", size(max_items)),
        ("max_id_bytes", size(max_id_bytes)),
        ("max_label_bytes", size(max_label_bytes)),
        ("max_search_bytes", size(max_search_bytes)),
        ("max_field_bytes", size(max_field_bytes)),
        ("max_category_levels", size(max_category_levels)),
        ("max_quantity", max_quantity),
        ("max_available", max_available),
    ];
    assert_eq!(written.collect::<Vec<_>>(), expected.map(|(name, default)| (name.to_owned(), default)));
}

#[test]
fn the_reasons_are_those_of_the_code() {
    let text = String::new;
    let reasons = [
        Refusal::Malformed(text()),
        Refusal::Invalid(text()),
        Refusal::TooLarge { bytes: 0, limit: 0 },
        Refusal::Conflict,
        Refusal::Future(text()),
        Refusal::ReplayGap(text()),
        Refusal::TooOld(text()),
        Refusal::UnknownCurrency(text()),
        Refusal::AmountTooLarge,
        Refusal::MixedVersions(text()),
    ];
    let written: Vec<String> = rows(&page(), "## Reasons of refusal").into_iter().map(|(code, _)| code).collect();
    assert_eq!(written, reasons.map(|reason| reason.code().to_owned()));
}
