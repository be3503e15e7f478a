//! The rules of the house that a machine can hold: which crate may know which, how long files and
//! functions may be, what must not stand in pure code, and that links and references are whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use etalage_tests::binary::root;

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

/// Crate → the crates of ours that it may depend on; in tests too, except for itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("etalage-operators", &[]),
    ("etalage-model", &[]),
    ("etalage-views", &["etalage-model", "etalage-operators"]),
    ("etalage-store", &["etalage-model"]),
    ("etalage-kafka", &["etalage-model"]),
    ("etalage-serve", &["etalage-model"]),
    ("etalage-feeds", &["etalage-model"]),
    (
        "etalage",
        &[
            "etalage-model",
            "etalage-operators",
            "etalage-views",
            "etalage-store",
            "etalage-kafka",
            "etalage-serve",
            "etalage-feeds",
        ],
    ),
    (
        "etalage-bench",
        &[
            "etalage",
            "etalage-model",
            "etalage-operators",
            "etalage-views",
            "etalage-store",
            "etalage-serve",
            "etalage-kafka",
        ],
    ),
    ("etalage-tests", &["etalage-kafka", "etalage-store"]),
    (
        "etalage-simulation",
        &["etalage", "etalage-model", "etalage-serve", "etalage-store", "etalage-tests", "etalage-views"],
    ),
];

/// Files that git tracks or would, with this ending.
fn files(ending: &str) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard", &format!("*{ending}")])
        .output()
        .expect("git lists the files");
    let listed = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let files: Vec<PathBuf> = listed.lines().map(|path| root().join(path)).filter(|path| path.is_file()).collect();
    assert!(!files.is_empty(), "there are files that end with {ending}");
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn arrows_between_crates_run_one_way() {
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata");
    let ours: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let known: BTreeSet<String> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(ours, known, "every crate has its line in ARROWS");
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        for dependency in package.dependencies.iter().filter(|dependency| ours.contains(&dependency.name)) {
            if !allowed[package.name.as_str()].contains(&dependency.name.as_str()) {
                wrong.push(format!("{} depends on {}", package.name, dependency.name));
            }
        }
    }
    none("arrows that run the wrong way", &wrong);
}

#[test]
fn files_and_functions_are_of_readable_length() {
    let mut long = Vec::new();
    for path in files(".rs") {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > MAX_FILE_LINES {
            long.push(format!("{}: {} lines", path.display(), lines.len()));
        }
        for (at, length) in functions(&lines) {
            if length > MAX_FUNCTION_LINES {
                long.push(format!("{}:{}: a function of {length} lines", path.display(), at + 1));
            }
        }
    }
    none("too long to read", &long);
}

/// Where each function begins, and how many lines it has: rustfmt closes it at its own indentation.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let words: Vec<&str> = code.split_whitespace().take(5).collect();
        let is_function = words.contains(&"fn") && !code.starts_with("//") && !code.trim_end().ends_with(';');
        if !is_function {
            continue;
        }
        let end = lines[at..].iter().position(|line| line.len() == indent + 1 && line.ends_with('}'));
        found.extend(end.map(|end| (at, end + 1)));
    }
    found
}

#[test]
fn nothing_is_left_open() {
    let mut open = Vec::new();
    // Written in two halves, so that this file is not among the finds.
    let words = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("db", "g!("), concat!("FIX", "ME")];
    for path in files(".rs") {
        for (at, line) in read(&path).lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                open.push(format!("{}:{}: {}", path.display(), at + 1, line.trim()));
            }
        }
    }
    none("left open", &open);
}

#[test]
fn operators_and_views_are_pure() {
    let forbidden = ["std::time", "std::fs", "std::net", "std::io", "std::env", "Instant::now", "SystemTime", "rand::"];
    let mut impure = Vec::new();
    for path in files(".rs") {
        let place = path.strip_prefix(root()).expect("a path below the root").to_string_lossy().into_owned();
        let is_pure = place.starts_with("operators/src") || place.starts_with("pipelines/views/src");
        let is_test = place.contains("/tests") || place.ends_with("testing.rs");
        if !is_pure || is_test {
            continue;
        }
        let text = read(&path);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            if forbidden.iter().any(|word| line.contains(word)) {
                impure.push(format!("{place}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    none("a clock, chance or I/O where there must be none", &impure);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut dead = Vec::new();
    for path in files(".md") {
        let text = read(&path);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let is_ours = !file.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
            if is_ours && !path.parent().expect("a file lies in a folder").join(file).exists() {
                dead.push(format!("{}: {target}", path.display()));
            }
        }
    }
    none("links that lead nowhere", &dead);
}

#[test]
fn every_file_is_formatted() {
    let output = Command::new("rustfmt").args(["--edition", "2024", "--check", "-l"]).args(files(".rs")).output();
    let output = output.expect("rustfmt is installed");
    assert!(output.status.success(), "not formatted:\n{}", String::from_utf8_lossy(&output.stdout));
}
