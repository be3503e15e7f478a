//! Clusters of real processes on loopback addresses.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use etalage_tests::{
    Ended, Http, Server, Shop,
    http::eventually,
    link::free_addresses,
    story::{Kind, Story},
};
use rand::RngExt;
use serde_json::{Value, json};

/// How long nothing may be heard of a process.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// A shop that is computed by several processes.
pub(crate) struct Cluster {
    pub(crate) shop: Shop,
    pub(crate) addresses: Vec<String>,
    workers: usize,
}

impl Cluster {
    pub(crate) fn new(processes: usize, workers: usize) -> Cluster {
        let mut cluster = Cluster { shop: Shop::new(""), addresses: Vec::new(), workers };
        cluster.rescale(processes, workers);
        cluster
    }

    /// Other numbers of processes and workers from the next start on.
    pub(crate) fn rescale(&mut self, processes: usize, workers: usize) {
        self.addresses = free_addresses(processes);
        self.workers = workers;
        self.shop.configure(&self.config(&self.addresses));
    }

    fn config(&self, addresses: &[String]) -> String {
        let snapshots = self.shop.path("snapshots");
        let addresses = if addresses.len() == 1 { &[] } else { addresses };
        format!(
            "[windows]\nnames = [\"1h\", \"7d\"]\nbucket = \"10m\"\n[people]\ncart_idle = \"300ms\"\n\
             [workers]\ncount = {}\n[snapshots]\nurl = {snapshots:?}\nevery = \"1h\"\n\
             [cluster]\naddresses = {addresses:?}\ntimeout = \"{}s\"\n",
            self.workers,
            TIMEOUT.as_secs(),
        )
    }

    /// A command of process `number`.
    pub(crate) fn command(&self, number: usize) -> Command {
        self.shop.command(&["run", "--port", "0", "--process", &number.to_string()])
    }

    /// Starts all processes, and waits until the first is ready.
    #[track_caller]
    pub(crate) fn run(&self) -> Vec<Server> {
        let servers: Vec<Server> =
            (0..self.addresses.len()).map(|number| Server::start(self.command(number))).collect();
        servers[0].wait_ready();
        servers
    }

    /// What one process says that starts from a copy of the log alone, once it is as far as `acknowledged`.
    pub(crate) fn told_by_one(&self) -> BTreeMap<String, String> {
        let one = Shop::new(
            &self
                .config(&[])
                .replace("[snapshots]", "[snapshots]\non = \"no\"")
                .replace(&format!("count = {}", self.workers), "count = 1"),
        );
        copy(&self.shop.data(), &one.data());
        let server = one.run();
        let told = settled(&server.http);
        server.terminate().with_code(0);
        one.ended(&["verify"]).with_code(0);
        told
    }
}

/// Ends all processes as `systemd` would, the first one first.
pub(crate) fn terminate(servers: Vec<Server>) {
    let mut servers = servers.into_iter();
    servers.next().expect("a process").terminate().with_code(0);
    servers.for_each(|server| _ = server.wait().with_code(0));
}

/// Waits until a process has ended because another was gone; how long that took.
#[track_caller]
pub(crate) fn stopped(server: Server) -> (Ended, Duration) {
    let began = Instant::now();
    let ended = server.wait();
    (ended.with_code(1), began.elapsed())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("there is a store") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_file() {
            let name = path.file_name().expect("a file has a name");
            fs::copy(&path, to.join(name)).expect("a file can be copied");
        }
    }
}

/// Sends messages of a story that happened within the last minutes.
pub(crate) fn tell(http: &Http, story: &mut Story, messages: usize) {
    let mut by_kind: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    for at in 0..messages {
        // The order of arrival is another than that in which it happened.
        let happened_ms = now_ms as u64 - 1_000 * ((at as u64 * 7_919) % 240);
        let (kind, message) = story.any(happened_ms);
        by_kind.entry(Kind::path(kind)).or_default().push(message);
        // Now and then a visitor logs in, as one of a few customers.
        if at % 40 == 0 {
            let visitor = story.random().random_range(0..20);
            let link = json!({
                "messageId": format!("l{happened_ms}-{at}"), "type": "identify", "timestamp": happened_ms,
                "userId": format!("u{}", visitor % 7), "anonymousId": format!("a{visitor}"),
            });
            by_kind.entry(Kind::path(Kind::Event)).or_default().push(link);
        }
    }
    for (path, messages) in by_kind {
        messages.chunks(100).for_each(|some| send(http, path, some));
    }
}

/// What is refused, because it mixes versions and none, is no matter here.
fn send(http: &Http, path: &str, messages: &[Value]) {
    let lines: Vec<String> = messages.iter().map(Value::to_string).collect();
    let answer = http.post(path, lines.join("\n"));
    assert_eq!(answer.status, 200, "{answer:?}");
}

pub(crate) fn tick(http: &Http) -> u64 {
    http.json("/v1/status")["tick"].as_u64().expect("a tick was sealed")
}

/// Key → value of every view, once everything that was acknowledged is sealed in both groups.
#[track_caller]
pub(crate) fn settled(http: &Http) -> BTreeMap<String, String> {
    let last = tick(http);
    eventually("later ticks are sealed", || (tick(http) > last + 600_000).then_some(()));
    eventually("the values stand still", || {
        let before = all(http);
        std::thread::sleep(Duration::from_millis(300));
        (all(http) == before).then_some(before)
    })
}

/// Key → value of every view, as texts.
fn all(http: &Http) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let views = http.json("/v1/views");
    for view in views["views"].as_array().expect("a list").iter().filter_map(|view| view["name"].as_str()) {
        let page = http.json(&format!("/v1/views/{view}?limit=10000"));
        assert!(page["next"].is_null(), "one page holds the whole of {view}");
        for entry in page["entries"].as_array().expect("a list") {
            all.insert(format!("{view} {}", entry["key"]), entry["value"].to_string());
        }
    }
    all
}
