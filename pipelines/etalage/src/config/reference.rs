//! The configuration's reference, made from the table: as a file that can be used
//! (`etalage config reference`) and as the page `docs/configuration.md`.

use std::fmt::Write;

use super::{
    read::ENVIRONMENT_PREFIX,
    sections::SECTIONS,
    table::{Entry, TABLE},
};

/// Where comment lines are broken.
const WIDTH: usize = 100;

/// A TOML file with every key at its default, each with what it means.
pub fn toml() -> String {
    let mut out = String::from(
        "# Every key of etalage's configuration, at its default. A file needs only what differs.\n\
         # An environment variable takes precedence: ETALAGE_WINDOWS__BUCKET=1h (lists: comma separated).\n",
    );
    for (section, about) in SECTIONS {
        out.push('\n');
        comment(&mut out, about);
        _ = writeln!(out, "[{section}]");
        for (name, entry) in entries(section) {
            comment(&mut out, &format!("{} ({})", entry.doc, entry.kind.expects()));
            _ = writeln!(out, "{name} = {}", entry.default);
        }
    }
    out
}

/// The page `docs/configuration.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         etalage reads a TOML file (`--config FILE`) and then the environment; what is not given has a default. \
         `etalage check --config FILE` lists everything that is wrong with a configuration at once. This page is \
         `etalage config reference --markdown`; without `--markdown` the same is printed as a file to start from.\n\n\
         An environment variable names section and key with two underscores between them, in capitals: \
         `ETALAGE_WINDOWS__BUCKET=1h`, `ETALAGE_SETS__K=20`. Lists are comma separated: \
         `ETALAGE_WINDOWS__NAMES=1h,7d`. A rate is `ETALAGE_SHOP__RATES__GBP='{ \"2010-01-01\" = 1.17 }'`. The \
         environment takes precedence over the file.\n\n\
         Durations are a whole number and a unit: `250ms`, `10s`, `5m`, `24h`, `7d`.\n",
    );
    for (section, about) in SECTIONS {
        _ = write!(out, "\n## `[{section}]`\n\n{about}\n\n| key | default | meaning |\n|---|---|---|\n");
        for (name, entry) in entries(section) {
            let expects = entry.kind.expects();
            let cell = format!("{} Expects {expects}.", entry.doc).replace('|', "\\|");
            _ = writeln!(out, "| `{name}` | `{}` | {cell} |", entry.default);
        }
    }
    out
}

/// The name of the environment variable of `key`.
pub fn variable(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

fn entries(section: &'static str) -> impl Iterator<Item = (&'static str, &'static Entry)> {
    TABLE.iter().filter_map(move |entry| Some((entry.key.strip_prefix(section)?.strip_prefix('.')?, entry)))
}

fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    _ = writeln!(out, "{line}");
}
