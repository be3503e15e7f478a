//! The bench as an engineer runs it: every part, small, and the report that comes of it. No figure is
//! judged here.

use std::{path::Path, process::Command};

fn bench(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_etalage-bench")).args(arguments).output().expect("the bench starts")
}

/// The server's binary: as the test run names it, or where the bench's own stands.
fn server() -> String {
    let beside = || Path::new(env!("CARGO_BIN_EXE_etalage-bench")).with_file_name("etalage").display().to_string();
    std::env::var("ETALAGE_BIN").unwrap_or_else(|_| beside())
}

#[test]
fn the_quick_suite_measures_every_part_and_writes_its_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("a path of text");
    let ran = bench(&["suite", "--quick", "--out", out, "--server", &server()]);
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stderr));

    let json = folder.path().join("report.json");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&json).expect("a report")).expect("it is JSON");
    let parts = report["parts"].as_array().expect("it has parts");
    let names: Vec<&str> = parts.iter().filter_map(|part| part["name"].as_str()).collect();
    for name in [
        "noise",
        "throughput",
        "operators",
        "budget",
        "memory",
        "soak",
        "latency",
        "store",
        "full",
        "ingest",
        "sustained",
        "read",
        "replay",
        "cluster",
        "scaling",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for part in parts {
        let samples =
            part["figures"].as_array().expect("figures").iter().flat_map(|figure| figure["samples"].as_array());
        let are_numbers = samples.flatten().all(|sample| sample.as_f64().is_some_and(f64::is_finite));
        assert!(are_numbers, "{part}");
        assert!(part["command"].as_str().is_some_and(|command| command.starts_with("etalage-bench ")), "{part}");
    }
    let page = std::fs::read_to_string(folder.path().join("report.html")).expect("a page");
    assert!(page.matches("<svg").count() > 8 && !page.contains("src=\"http"), "the page draws, and loads nothing");
    let is_distribution = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|ending| ending == "hgrm");
    let distributions = std::fs::read_dir(folder.path()).expect("a folder").flatten().filter(is_distribution).count();
    assert!(distributions >= 4, "{distributions}");

    let json = json.to_str().expect("a path of text");
    let same = bench(&["compare", json, json, "--strict"]);
    assert!(same.status.success(), "a report does not differ from itself: {}", String::from_utf8_lossy(&same.stdout));
}

#[test]
fn a_part_that_cannot_run_says_so_and_the_suite_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    for part in ["read", "sustained"] {
        let ran = bench(&[part, "--server", "no/such/binary"]);
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && told.contains("no/such/binary"), "{told}");
    }
    let absent = folder.path().join("no-report.json");
    let shown = bench(&["show", absent.to_str().expect("a path of text")]);
    assert!(!shown.status.success() && String::from_utf8_lossy(&shown.stderr).contains("no-report.json"));
}
