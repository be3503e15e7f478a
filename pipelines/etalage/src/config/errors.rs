//! What is wrong with a configuration: all of it at once, each error with its place, its key and
//! what to do.

use std::fmt;

use super::{sections::SECTIONS, table::TABLE};

/// Where a value was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is the default.
    #[default]
    Default,
    /// In the file, at this line.
    File {
        /// The file, as it was named.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// In an environment variable.
    Environment(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Default => f.write_str("default"),
            Place::File { path, line } => write!(f, "{path}:{line}"),
            Place::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it stands.
    pub place: Place,
    /// The key, where one could be read.
    pub key: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong, in the order of the file, then of the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigErrors {
    /// The file could not be read at all.
    #[error("{path}: {reason}; name a readable file with --config")]
    Unreadable {
        /// The file, as it was named.
        path: String,
        /// Why.
        reason: String,
    },
    /// It was read, and these values are wrong.
    #[error("{}", list(.0))]
    Wrong(Vec<ConfigError>),
}

impl ConfigErrors {
    /// These errors, in the order of the file. What confuses the parser does so several times, so
    /// of a line that is no TOML the first error stands.
    pub(super) fn wrong(mut errors: Vec<ConfigError>) -> ConfigErrors {
        errors.sort_by_key(|error| match &error.place {
            Place::File { line, .. } => (0, *line),
            Place::Environment(_) => (1, 0),
            Place::Default => (2, 0),
        });
        errors.dedup_by(|later, first| first.key.is_none() && later.key.is_none() && first.place == later.place);
        ConfigErrors::Wrong(errors)
    }
}

fn list(errors: &[ConfigError]) -> String {
    let count = if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors", errors.len()) };
    let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
    format!("{count} in the configuration; nothing was opened:{lines}")
}

/// ` (did you mean …?)`, or how to find the keys that exist.
pub(super) fn suggestion(unknown: &str) -> String {
    let name = unknown.rsplit('.').next().unwrap_or(unknown);
    let keys = TABLE.iter().map(|entry| entry.key);
    let moved = keys.clone().find(|key| key.split_once('.').is_some_and(|(_, own)| own == name));
    let candidates: Box<dyn Iterator<Item = &str>> =
        if unknown.contains('.') { Box::new(keys) } else { Box::new(SECTIONS.iter().map(|(name, _)| *name)) };
    let nearest = candidates
        .map(|known| (distance(unknown, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 4))
        .map(|(_, known)| known);
    match nearest.or(moved) {
        Some(known) => format!("did you mean `{known}`?"),
        None => "`etalage config reference` lists the keys that exist".to_owned(),
    }
}

/// How many characters must be added, removed, changed or swapped with their neighbour to make
/// `b` of `a` (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("sotre", "store"), 1);
        assert_eq!(distance("windows.bucket", "windows.bucket"), 0);
    }

    #[test]
    fn unknown_names_get_a_suggestion() {
        assert_eq!(suggestion("windows.buckets"), "did you mean `windows.bucket`?");
        assert_eq!(suggestion("sets.bucket"), "did you mean `windows.bucket`?");
        assert_eq!(suggestion("window"), "did you mean `windows`?");
        assert!(suggestion("zebra.crossing").contains("config reference"));
    }
}
