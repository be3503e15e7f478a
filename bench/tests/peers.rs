//! etalage and the loop by hand answer as the plain recomputation does, byte for byte.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_etalage-bench")).args(arguments).output().expect("the bench starts")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// A file of the workload in a folder.
fn generated(folder: &Path) -> PathBuf {
    let input = folder.join("sb.csv");
    let made = bench(&["generate", "--format", "csv", "--out", text(&input), "--events", "60000", "--items", "600"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    input
}

#[test]
fn answers_equal_the_plain_recomputation() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, plain) = (generated(folder.path()), folder.path().join("plain.txt"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/plain.py");
    let ran = Command::new("python3").arg(script).arg(&input).arg(&plain).output().expect("Python starts");
    let summary: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("a summary");
    let last_us = summary["last_us"].as_u64().expect("an instant").to_string();
    let plain = std::fs::read_to_string(&plain).expect("answers");
    let of_the_end: Vec<&str> = plain.lines().filter(|line| line.starts_with(&last_us)).collect();
    assert!(plain.lines().count() > 500 && of_the_end.len() > 400, "lists that are compared");
    for (engine, mode) in [("etalage", "hop"), ("etalage", "continuous"), ("hand", "continuous")] {
        let output = folder.path().join("answers.txt");
        let files = ["--input", text(&input), "--output", text(&output)];
        let told = bench(&[&["peer", "--engine", engine, "--mode", mode, "--last-us", &last_us], &files[..]].concat());
        let measured: serde_json::Value = serde_json::from_slice(&told.stdout).expect("one line of JSON");
        assert!(measured["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{measured}");
        let answers = std::fs::read_to_string(&output).expect("answers");
        let mut answers: Vec<&str> = answers.lines().collect();
        answers.sort_unstable();
        let expected = if mode == "hop" { plain.lines().collect() } else { of_the_end.clone() };
        assert_eq!(answers, expected, "{engine}, {mode}");
    }
}

#[test]
fn a_bad_row_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("bad.csv");
    let rows = "arrival_us,at_us,kind,item,category,amount\n1700000000000000,1700000000000000,click,1,1,5\nnonsense\n";
    std::fs::write(&input, rows).expect("it is written");
    let output = folder.path().join("answers.txt");
    let files = ["--input", text(&input), "--output", text(&output), "--last-us", "1700000040000000"];
    let told = bench(&[&["peer", "--engine", "etalage", "--mode", "hop"], &files[..]].concat());
    let error = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.status.success() && error.contains("bad.csv:3") && error.contains("nonsense"), "{error}");
}
