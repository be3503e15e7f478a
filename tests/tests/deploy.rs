//! The files of `deploy/`: each is read by the program that it is for, or, where that needs a cluster, a registry or a
//! display, by its linter or schema.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use etalage_tests::{
    Shop,
    binary::{etalage, root},
};
use serde_json::{Value, json};

fn deploy(path: &str) -> PathBuf {
    root().join("deploy").join(path)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a program that must succeed.
#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; `tests/run` installs what tests need");
    });
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&stdout).into_owned()
}

/// A program of the environment that `tests/deploy --fetch` makes.
fn python(program: &str) -> Command {
    static FETCH: std::sync::Once = std::sync::Once::new();
    FETCH.call_once(|| _ = succeeds(Command::new(root().join("tests/deploy")).arg("--fetch")));
    Command::new(root().join("target/deploy/venv/bin").join(program))
}

#[test]
fn every_configuration_is_accepted() {
    let examples = fs::read_dir(deploy("examples")).expect("there are examples");
    let examples = examples.map(|entry| entry.expect("the folder can be listed").path());
    let mut all: Vec<PathBuf> = examples.filter(|path| path.extension() == Some("toml".as_ref())).collect();
    assert!(all.len() >= 3, "{all:?}");
    all.extend(
        ["compose.toml", "kubernetes/base/etalage.toml", "kubernetes/overlays/cluster/etalage.toml"].map(deploy),
    );
    for path in all {
        let mut check = etalage(["check", "--config", path.to_str().expect("a path that is text")]);
        succeeds(check.env("ETALAGE_KEYS__SECRET", "ab".repeat(32)));
    }
}

#[test]
fn alerts_fire_when_they_should_and_each_is_in_the_runbook() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["prometheus.yml", "rules.yml", "rules_test.yml"] {
        fs::copy(deploy("prometheus").join(name), folder.path().join(name)).expect("a file can be copied");
    }
    fs::write(folder.path().join("etalage.key"), "sk_x").expect("a file can be written");
    let promtool = |arguments: &[&str]| succeeds(Command::new("promtool").args(arguments).current_dir(folder.path()));
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["test", "rules", "rules_test.yml"]);

    let rules = text(&deploy("prometheus/rules.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let (runbook, tests) = (text(&deploy("RUNBOOK.md")), text(&deploy("prometheus/rules_test.yml")));
    for alert in alerts {
        assert!(runbook.contains(&format!("### {alert}\n")), "deploy/RUNBOOK.md says nothing of {alert}");
        assert!(rules.contains(&format!("deploy/RUNBOOK.md#{}\"", alert.to_lowercase())), "{alert} names no place");
        assert!(tests.contains(&format!("alertname: {alert}")), "no test of {alert}");
    }
}

/// The names of metrics in a text of Prometheus' language.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c)).filter(|word| word.starts_with("etalage_"));
    words.map(str::to_owned).collect()
}

#[test]
fn every_query_asks_for_what_the_binary_exposes() {
    let dashboard: Value = serde_json::from_str(&text(&deploy("grafana/dashboards/etalage.json"))).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("queries"));
    let queries: Vec<&str> = queries.map(|target| target["expr"].as_str().expect("a query")).collect();
    assert!(queries.len() > 20, "{} queries", queries.len());
    // They are queries: promtool reads each as that of a rule, with what Grafana puts in its place.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rule = |(at, query): (usize, &&str)| json!({ "record": format!("q{at}"), "expr": query.replace("$__range", "5m").replace("$instance", ".*") });
    let rules: Vec<Value> = queries.iter().enumerate().map(rule).collect();
    let file = folder.path().join("queries.yml");
    fs::write(&file, json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string()).expect("a file");
    succeeds(Command::new("promtool").args(["check", "rules"]).arg(&file));

    let mut wanted: BTreeSet<String> = queries.iter().flat_map(|query| metrics_in(query)).collect();
    wanted.extend(
        text(&deploy("prometheus/rules.yml")).lines().filter(|line| line.contains("expr:")).flat_map(metrics_in),
    );
    // Those of topics are looked for where there is a broker (`tests/kafka`).
    wanted.retain(|name| !name.starts_with("etalage_kafka_"));
    let missing = not_exposed(&wanted);
    assert!(missing.is_empty(), "nobody exposes {missing:?}");
}

/// What of this a service does not expose to which everything has happened that is counted only then.
fn not_exposed(wanted: &BTreeSet<String>) -> Vec<String> {
    let shop = Shop::new("[people]\nmax_cart_lines = 1\n");
    let server = shop.run();
    let line = |at: usize| {
        json!({
            "messageId": format!("e{at}"), "event": "add_to_cart", "userId": "ann",
            "properties": { "items": [{ "item_id": format!("i{at}") }] },
        })
    };
    server.http.store("/v1/events", &(0..5).map(line).collect::<Vec<_>>());
    assert_eq!(server.http.post("/v1/events", r#"{"messageId":"r","event":7}"#).statuses(), ["refused"]);
    assert_eq!(server.http.post("/v1/snapshots", "").status, 201);
    let stream = etalage_tests::Stream::open(&server.http, "/v1/stream/item.sellable", Some("0-1"));
    assert_eq!(stream.next().event, "reset");
    let missing = || {
        let text = server.http.get("/metrics").text;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let exposed: BTreeSet<&str> = lines.filter_map(|line| line.split(['{', ' ']).next()).collect();
        wanted.iter().filter(|name| !exposed.contains(name.as_str())).cloned().collect::<Vec<_>>()
    };
    // Some are looked after every few seconds.
    let until = Instant::now() + Duration::from_secs(30);
    while !missing().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(200));
    }
    let missing = missing();
    server.terminate().with_code(0);
    missing
}

/// What kustomize makes of a folder; nothing where it is not to be had: Debian's own kubectl is too old to know these files.
fn rendered(folder: &str) -> Option<String> {
    let command = Command::new("kubectl").arg("kustomize").arg(deploy("kubernetes").join(folder)).output().ok()?;
    let said = String::from_utf8_lossy(&command.stderr).into_owned();
    let is_too_old = said.contains("must be a file") || said.contains("cannot unmarshal object into Go struct field");
    assert!(command.status.success() || is_too_old, "{folder}: {said}");
    command.status.success().then(|| String::from_utf8_lossy(&command.stdout).into_owned())
}

#[test]
fn manifests_are_what_kubernetes_takes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let validate = |file: &Path| succeeds(python("kubernetes-validate").args(["--strict", "-k", "1.32.0"]).arg(file));
    for file in ["base/etalage.yaml", "overlays/readers/readers.yaml"] {
        validate(&deploy("kubernetes").join(file));
    }
    for (name, objects) in [("base", 7), ("overlays/cluster", 7), ("overlays/readers", 10)] {
        let Some(rendered) = rendered(name) else {
            eprintln!("NOT CHECKED: kubernetes/{name} is not rendered, for want of a kubectl of 1.21 or later");
            continue;
        };
        assert_eq!(rendered.lines().filter(|line| line.starts_with("kind: ")).count(), objects, "{name}");
        // Patches must have met what they are for.
        assert_eq!(rendered.contains("ETALAGE_CLUSTER__PROCESS"), name != "base", "{name}");
        let file = folder.path().join("rendered.yaml");
        fs::write(&file, rendered).expect("a file can be written");
        validate(&file);
    }
}

#[test]
fn units_image_and_compose_file_are_well_formed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["etalage.service", "etalage@.service"] {
        // Neither the binary nor the user is on this machine.
        let unit = text(&deploy("systemd").join(name)).replace("/usr/local/bin/etalage", "/bin/true");
        let unit = unit.replace("User=etalage", "User=root");
        fs::write(folder.path().join(name), unit).expect("a file can be written");
    }
    for name in ["etalage.service", "etalage@1.service"] {
        succeeds(Command::new("systemd-analyze").arg("verify").arg(folder.path().join(name)));
    }
    succeeds(python("hadolint").arg(deploy("Dockerfile")));
    succeeds(Command::new("docker-compose").arg("-f").arg(deploy("compose.yaml")).args(["config", "--quiet"]));
    // The key that compose.yaml names is the one that Prometheus sends.
    let sum = Command::new("sha256sum").arg(deploy("prometheus/compose.key")).output().expect("coreutils");
    let sum = String::from_utf8_lossy(&sum.stdout).split_whitespace().next().unwrap_or_default().to_owned();
    assert!(text(&deploy("compose.yaml")).contains(&format!("ETALAGE_KEYS__SECRET: {sum}")), "{sum}");
}
