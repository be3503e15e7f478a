//! Checks one raw value against the kind of its key. What concerns several keys is checked where
//! the configuration is put together.

use std::{collections::BTreeMap, net::SocketAddr};

use etalage_model::{Micros, money::micros_of, time::parse_span_us};
use etalage_store::snapshot::check_url;

use super::{Dimension, ScopeOf, Window, kind::Kind, read::Raw, table::Entry};

/// The most windows, and the most half-lives, that a configuration may name.
pub const MAX_WINDOWS: usize = 16;
/// The most dimensions and pairs of dimensions.
pub const MAX_DIMENSIONS: usize = 32;

/// A value that is of its key's kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Int(i64),
    /// `None`: `auto`.
    Span(Option<u64>),
    Address(SocketAddr),
    List(Vec<String>),
    Windows(Vec<Window>),
    Dimensions(Vec<ScopeOf>),
    Rates(BTreeMap<String, BTreeMap<Micros, i64>>),
}

/// The value of `entry`, or what is wrong with it, a sentence for each error.
pub(super) fn value(entry: &Entry, raw: &Raw, views: &[&str]) -> Result<Value, Vec<String>> {
    let one = |checked: Result<Value, String>| checked.map_err(|message| vec![message]);
    match entry.kind {
        Kind::Text => {
            one(text(raw).filter(|text| !text.is_empty()).map(Value::Text).ok_or_else(|| expected(entry, raw)))
        }
        Kind::Place => one(place(entry, raw)),
        Kind::Int(min, max) => {
            one(int(raw).filter(|n| (min..=max).contains(n)).map(Value::Int).ok_or_else(|| expected(entry, raw)))
        }
        Kind::Span => one(span(entry, raw)),
        Kind::SpanOrAuto if text(raw).as_deref() == Some("auto") => Ok(Value::Span(None)),
        Kind::SpanOrAuto => one(span(entry, raw)),
        Kind::OneOf(names) => one(text(raw)
            .filter(|text| names.contains(&text.as_str()))
            .map(Value::Text)
            .ok_or_else(|| expected(entry, raw))),
        Kind::Currency => {
            one(text(raw).filter(|text| is_currency(text)).map(Value::Text).ok_or_else(|| expected(entry, raw)))
        }
        Kind::Address => one(address(raw).map(Value::Address).ok_or_else(|| expected(entry, raw))),
        Kind::List => each(entry, raw, |text| Ok(text.to_owned())).map(Value::List),
        Kind::Windows => windows(entry, raw).map(Value::Windows),
        Kind::HalfLives => spans(entry, raw, "half-lives").map(Value::Windows),
        Kind::Dimensions => dimensions(entry, raw).map(Value::Dimensions),
        Kind::Hashes => each(entry, raw, hash).map(Value::List),
        Kind::Views => each(entry, raw, |text| match views.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(format!("there is no view `{text}`; the views are {}", views.join(", "))),
        })
        .map(Value::List),
        Kind::Rates => rates(raw).map(Value::Rates),
    }
}

fn expected(entry: &Entry, raw: &Raw) -> String {
    format!("expected {}, found {}", entry.kind.expects(), raw.shown())
}

fn text(raw: &Raw) -> Option<String> {
    match raw {
        Raw::Text(text) | Raw::Environment(text) => Some(text.trim().to_owned()),
        _ => None,
    }
}

fn place(entry: &Entry, raw: &Raw) -> Result<Value, String> {
    let url = text(raw).filter(|text| !text.is_empty()).ok_or_else(|| expected(entry, raw))?;
    check_url(&url).map(|()| Value::Text(url))
}

fn int(raw: &Raw) -> Option<i64> {
    match raw {
        Raw::Int(number) => Some(*number),
        Raw::Environment(text) => text.trim().replace('_', "").parse().ok(),
        _ => None,
    }
}

fn span(entry: &Entry, raw: &Raw) -> Result<Value, String> {
    let text = text(raw).ok_or_else(|| expected(entry, raw))?;
    parse_span_us(&text).map(|us| Value::Span(Some(us)))
}

fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn address(raw: &Raw) -> Option<SocketAddr> {
    let text = text(raw)?;
    match text.strip_prefix("localhost:") {
        // Without asking a resolver: the name is reserved for the loopback address.
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

fn hash(text: &str) -> Result<String, String> {
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_ascii_lowercase()),
        // Whatever stands there may be a key in the clear, so it is not repeated.
        false => Err("holds something that is no SHA-256 sum of 64 hex digits; `etalage key new pk` (or `sk`) prints \
                      a key and the sum to write here"
            .to_owned()),
    }
}

/// A list of texts, each checked; an environment variable separates them by commas.
fn each<T>(entry: &Entry, raw: &Raw, check: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Vec<String>> {
    let texts: Vec<String> = match raw {
        Raw::Environment(text) => {
            text.split(',').map(|piece| piece.trim().to_owned()).filter(|piece| !piece.is_empty()).collect()
        }
        Raw::List(list) => {
            let texts: Option<Vec<String>> = list.iter().map(text).collect();
            texts.ok_or_else(|| vec![format!("expected {}, found one that is no text", entry.kind.expects())])?
        }
        _ => return Err(vec![expected(entry, raw)]),
    };
    let mut good = Vec::with_capacity(texts.len());
    let mut errors = Vec::new();
    for text in &texts {
        match check(text) {
            Ok(value) => good.push(value),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(good) } else { Err(errors) }
}

fn windows(entry: &Entry, raw: &Raw) -> Result<Vec<Window>, Vec<String>> {
    match spans(entry, raw, "windows") {
        Ok(windows) if windows.is_empty() => {
            Err(vec!["is empty; name at least one window, such as [\"24h\"]".to_owned()])
        }
        windows => windows,
    }
}

/// Durations, each under the text as written; `what` says what they are.
fn spans(entry: &Entry, raw: &Raw, what: &str) -> Result<Vec<Window>, Vec<String>> {
    let windows =
        each(entry, raw, |text| parse_span_us(text).map(|length_us| Window { name: text.to_owned(), length_us }))?;
    let twice = windows.iter().enumerate().find(|(at, window)| windows[..*at].iter().any(|w| w.name == window.name));
    match twice {
        _ if windows.len() > MAX_WINDOWS => Err(vec![format!("names more than {MAX_WINDOWS} {what}")]),
        Some((_, window)) => Err(vec![format!("names `{}` twice", window.name)]),
        None => Ok(windows),
    }
}

fn dimensions(entry: &Entry, raw: &Raw) -> Result<Vec<ScopeOf>, Vec<String>> {
    let scopes = each(entry, raw, scope)?;
    let same = |a: ScopeOf, b: ScopeOf| match (a, b) {
        (ScopeOf::Pair(a, b), ScopeOf::Pair(c, d)) => (a, b) == (c, d) || (a, b) == (d, c),
        (a, b) => a == b,
    };
    let twice = scopes.iter().enumerate().find(|(at, scope)| scopes[..*at].iter().any(|s| same(*s, **scope)));
    match twice {
        _ if scopes.is_empty() => Err(vec!["is empty; name at least one dimension, such as [\"global\"]".to_owned()]),
        _ if scopes.len() > MAX_DIMENSIONS => Err(vec![format!("names more than {MAX_DIMENSIONS} dimensions")]),
        Some((_, scope)) => Err(vec![format!("names `{}` twice", scope)]),
        None => Ok(scopes),
    }
}

fn scope(text: &str) -> Result<ScopeOf, String> {
    let dimension = |name: &str| {
        Dimension::ALL.into_iter().find(|dimension| dimension.name() == name).ok_or_else(|| {
            let all: Vec<&str> = Dimension::ALL.iter().map(|dimension| dimension.name()).collect();
            format!("`{name}` is no dimension; they are {}", all.join(", "))
        })
    };
    match text.split_once('+') {
        None => dimension(text).map(ScopeOf::One),
        Some((a, b)) => match (dimension(a)?, dimension(b)?) {
            (a, b) if a == b || a == Dimension::Global || b == Dimension::Global => {
                Err(format!("`{text}` is no pair: a pair is of two different dimensions, neither of them global"))
            }
            (a, b) => Ok(ScopeOf::Pair(a, b)),
        },
    }
}

fn rates(raw: &Raw) -> Result<BTreeMap<String, BTreeMap<Micros, i64>>, Vec<String>> {
    let Raw::Table(currencies) = raw else {
        return Err(vec![format!(
            "expected currencies with their rates, such as GBP = {{ \"2010-01-01\" = 1.17 }}, found {}",
            raw.shown()
        )]);
    };
    let mut all = BTreeMap::new();
    let mut errors = Vec::new();
    for (code, dated) in currencies {
        if !is_currency(code) {
            errors.push(format!("`{code}` is no currency code; write three capital letters, such as GBP"));
        }
        let Raw::Table(dated) = dated else {
            errors.push(format!("{code}: expected {}, found {}", Kind::Rates.expects(), dated.shown()));
            continue;
        };
        let mut rates = BTreeMap::new();
        for (date, rate) in dated {
            let at = Micros::parse(date);
            if at.is_none() {
                errors.push(format!("{code}: `{date}` is no date; write it as \"2010-01-31\""));
            }
            match (at, rate_micros(rate)) {
                (_, None) => {
                    errors.push(format!("{code}: the rate at {date} must be a number above 0, found {}", rate.shown()));
                }
                (Some(at), Some(rate)) => {
                    rates.insert(at, rate);
                }
                (None, Some(_)) => {}
            }
        }
        if dated.is_empty() {
            errors.push(format!("{code}: has no rate; write one with the date from which on it holds"));
        }
        all.insert(code.clone(), rates);
    }
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

fn rate_micros(raw: &Raw) -> Option<i64> {
    let rate = match raw {
        Raw::Int(number) => *number as f64,
        Raw::Decimal(text) => text.parse().ok()?,
        _ => return None,
    };
    micros_of(rate).filter(|micros| *micros > 0)
}
