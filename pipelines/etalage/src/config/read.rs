//! From a TOML text and environment variables to raw values, each with its place. Nothing is
//! judged here but syntax.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    errors::{ConfigError, Place, suggestion},
    sections::SECTIONS,
    table::TABLE,
};

/// Environment variables that begin with this name keys: `ETALAGE_WINDOWS__BUCKET=1h`.
pub const ENVIRONMENT_PREFIX: &str = "ETALAGE_";

/// A value as it was written, before it is known what should stand there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    Text(String),
    Int(i64),
    /// A number with a point.
    Decimal(String),
    List(Vec<Raw>),
    Table(Vec<(String, Raw)>),
    /// The value of an environment variable: its type follows from the key.
    Environment(String),
    /// Anything else TOML has; by its name.
    Other(&'static str),
}

impl Raw {
    /// The value as an error message quotes it.
    pub(super) fn shown(&self) -> String {
        match self {
            Raw::Text(text) | Raw::Environment(text) => format!("`{text}`"),
            Raw::Int(number) => format!("`{number}`"),
            Raw::Decimal(text) => format!("`{text}`"),
            Raw::List(_) => "a list".to_owned(),
            Raw::Table(_) => "a table".to_owned(),
            Raw::Other(name) => format!("a {name}"),
        }
    }
}

/// A key that was given, known or not.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) key: String,
    pub(super) raw: Raw,
    pub(super) place: Place,
}

/// The keys of a TOML text. A broken line does not hide the errors of the others.
pub(super) fn file(path: &str, text: &str, errors: &mut Vec<ConfigError>) -> Vec<Given> {
    let place = |offset: usize| {
        let line = 1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
        Place::File { path: path.to_owned(), line }
    };
    let (root, broken) = DeTable::parse_recoverable(text);
    for error in broken {
        let at = error.span().map_or(0, |span| span.start);
        errors.push(ConfigError { place: place(at), key: None, message: format!("no TOML: {}", error.message()) });
    }
    let mut given = Vec::new();
    for (name, value) in root.get_ref() {
        let section = name.get_ref().as_ref();
        let at = name.span().start;
        let known = SECTIONS.iter().any(|(known, _)| *known == section);
        let DeValue::Table(keys) = value.get_ref() else {
            let message = if known {
                format!("must be a section: write `[{section}]` on a line of its own, its keys below")
            } else {
                format!("no such key; {}", suggestion(section))
            };
            errors.push(ConfigError { place: place(at), key: Some(section.to_owned()), message });
            continue;
        };
        if !known {
            let message = format!("no such section; {}", suggestion(section));
            errors.push(ConfigError { place: place(at), key: Some(section.to_owned()), message });
            continue;
        }
        for (name, value) in keys {
            let key = format!("{section}.{}", name.get_ref());
            given.push(Given { key, raw: raw(value), place: place(name.span().start) });
        }
    }
    given.sort_by_key(|given| match &given.place {
        Place::File { line, .. } => *line,
        _ => 0,
    });
    given
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Raw::Int(number),
            Err(_) => Raw::Other("number beyond 64 bits"),
        },
        DeValue::Float(number) => Raw::Decimal(number.as_str().to_owned()),
        DeValue::Array(list) => Raw::List(list.iter().map(raw).collect()),
        DeValue::Table(table) => Raw::Table(pairs(table)),
        other => Raw::Other(other.type_str()),
    }
}

fn pairs(table: &DeTable<'_>) -> Vec<(String, Raw)> {
    table.iter().map(|(name, value)| (name.get_ref().to_string(), raw(value))).collect()
}

/// The keys that environment variables name. Two underscores stand between section and key;
/// variables without them belong to others (`ETALAGE_PORT` of a container's links), unless they
/// spell a key with one underscore only.
pub(super) fn environment(
    variables: impl IntoIterator<Item = (String, String)>,
    errors: &mut Vec<ConfigError>,
) -> Vec<Given> {
    let mut given = Vec::new();
    for (name, value) in variables {
        let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let place = Place::Environment(name.clone());
        if let Some((section, rest)) = path.split_once("__") {
            given.push(from_variable(section, rest, value, place));
        } else if let Some(entry) = TABLE.iter().find(|entry| path.eq_ignore_ascii_case(&entry.key.replace('.', "_"))) {
            let (section, own) = entry.key.split_once('.').unwrap_or((entry.key, ""));
            let right = format!("{ENVIRONMENT_PREFIX}{}__{}", section.to_uppercase(), own.to_uppercase());
            let message = format!("two underscores stand between section and key: write {right}");
            errors.push(ConfigError { place, key: Some(entry.key.to_owned()), message });
        }
    }
    given.sort_by_key(|given| given.place.to_string());
    given
}

fn from_variable(section: &str, rest: &str, value: String, place: Place) -> Given {
    let section = section.to_lowercase();
    match rest.split_once("__") {
        // `ETALAGE_SHOP__RATES__GBP`: one pair of a table.
        Some((key, pair)) => {
            let raw = Raw::Table(vec![(pair.to_owned(), inline(value))]);
            Given { key: format!("{section}.{}", key.to_lowercase()), raw, place }
        }
        None => {
            let key = format!("{section}.{}", rest.to_lowercase());
            let raw = if value.trim_start().starts_with('{') { inline(value) } else { Raw::Environment(value) };
            Given { key, raw, place }
        }
    }
}

/// A TOML value in a variable; left as text where it is none.
fn inline(value: String) -> Raw {
    match DeValue::parse(value.trim()) {
        Ok(parsed) => raw(&parsed),
        Err(_) => Raw::Environment(value),
    }
}

/// The raw value of a default in the table.
pub(super) fn default(text: &str) -> Raw {
    inline(text.to_owned())
}
