//! Several processes compute what one does, and stop as one.
//!
//! Real processes on loopback addresses: other numbers of them over one store, kills in between, links that are cut and
//! slow, processes that come late or do not belong here.

mod support;

use std::time::Duration;

use etalage_tests::{Server, http::eventually, link::Link, seed, story::Story};
use support::{Cluster, TIMEOUT, settled, stopped, tell, terminate};

/// Processes and workers, one after the other, over one store.
const SCALES: [(usize, usize); 6] = [(1, 1), (2, 1), (2, 2), (1, 2), (3, 1), (1, 1)];

/// How much later than its timeout a process may notice that another is gone.
const SLACK: Duration = Duration::from_secs(5);

/// At every scale the answers are those of one process that reads the whole log by itself, and `verify` finds that these are
/// the plain recomputation; whether the one before was stopped or killed, with a snapshot or without.
#[test]
fn any_number_of_processes_answers_what_one_does() {
    let (seed, random) = seed::draw("any_number_of_processes_answers_what_one_does");
    let mut story = Story::new(random, 40);
    let mut cluster = Cluster::new(1, 1);
    for (at, (processes, workers)) in SCALES.into_iter().enumerate() {
        cluster.rescale(processes, workers);
        let mut servers = cluster.run();
        tell(&servers[0].http, &mut story, 600);
        if at % 3 == 1 {
            let taken = servers[0].http.post("/v1/snapshots", "");
            assert_eq!(taken.status, 201, "{taken:?}");
            tell(&servers[0].http, &mut story, 200);
        }
        let told = settled(&servers[0].http);
        assert!(told.len() > 300, "{} values", told.len());
        if at == 0 {
            terminate(servers);
        } else {
            // Whichever of them is killed, all others end.
            servers.remove(at % processes).kill();
            servers.into_iter().for_each(|server| _ = stopped(server));
        }
        let one = cluster.told_by_one();
        assert_eq!(told, one, "{processes} processes, {workers} workers each, seed {seed}");
    }
}

#[test]
fn a_process_that_is_killed_ends_all_others_and_they_come_together_again() {
    let (_, random) = seed::draw("a_process_that_is_killed_ends_all_others_and_they_come_together_again");
    let mut story = Story::new(random, 40);
    let cluster = Cluster::new(3, 1);
    for victim in 0..3 {
        let mut servers = cluster.run();
        tell(&servers[0].http, &mut story, 300);
        servers.remove(victim).kill();
        for server in servers {
            let (ended, took) = stopped(server);
            ended.says(&["the cluster stops, to be started again as one"]);
            assert!(took < TIMEOUT + SLACK, "{took:?}");
        }
    }
    let servers = cluster.run();
    let told = settled(&servers[0].http);
    terminate(servers);
    assert_eq!(told, cluster.told_by_one());
}

#[test]
fn a_process_that_is_told_to_end_ends_all_in_order() {
    let cluster = Cluster::new(3, 1);
    let mut servers = cluster.run();
    let told = servers.remove(2);
    told.terminate().with_code(0).says(&["stopping"]);
    servers.remove(0).wait().with_code(0).says(&["process 2 was told to end, and so does the cluster"]);
    servers.remove(0).wait().with_code(0);

    // One that waits for the others goes at once, and so does the head.
    let waiting = [0, 1].map(|number| Server::start(cluster.command(number)));
    eventually("process 2 is waited for", || {
        let answer = waiting[0].http.try_get("/readyz").ok()?;
        answer.text.contains("process 2").then_some(())
    });
    std::thread::sleep(Duration::from_millis(300));
    let [head, other] = waiting;
    other.terminate().with_code(0);
    head.terminate().with_code(0);
}

#[test]
fn a_process_that_stands_still_is_noticed() {
    let cluster = Cluster::new(2, 1);
    let mut servers = cluster.run();
    let still = servers.remove(1);
    still.signal("STOP");
    let (ended, took) = stopped(servers.remove(0));
    ended.says(&["process 1 is gone: nothing was heard of it for 2s (cluster.timeout)"]);
    assert!(took < TIMEOUT + SLACK, "{took:?}");
    still.signal("CONT");
    stopped(still);
}

/// Somebody is erased from every process, and from the snapshots that they share.
#[test]
fn whoever_is_erased_is_gone_from_all_processes() {
    let (_, random) = seed::draw("whoever_is_erased_is_gone_from_all_processes");
    let mut story = Story::new(random, 40);
    let cluster = Cluster::new(2, 1);
    let servers = cluster.run();
    let http = &servers[0].http;
    tell(http, &mut story, 600);
    settled(http);
    assert_eq!(http.post("/v1/snapshots", "").status, 201);
    let before = settled(http);
    let names =
        |values: &std::collections::BTreeMap<String, String>| values.keys().any(|key| key.contains("anon:a3\""));
    let name = if names(&before) { "anon:a3" } else { "a3" };
    let erased = http.try_delete(&format!("/v1/profiles/{name}")).expect("an answer");
    assert_eq!(erased.status, 200, "{erased:?}");
    let after = settled(http);
    assert_ne!(before, after);
    terminate(servers);
    assert_eq!(after, cluster.told_by_one());
    let servers = cluster.run();
    assert_eq!(settled(&servers[0].http), after, "no snapshot brings anybody back");
    terminate(servers);
}

/// A process that is connected over `link` to process 0.
fn over(link: &Link, cluster: &Cluster) -> Server {
    let mut addresses = cluster.addresses.clone();
    addresses[0] = link.address();
    let mut command = cluster.command(1);
    command.env("ETALAGE_CLUSTER__ADDRESSES", addresses.join(","));
    Server::start(command)
}

#[test]
fn a_link_that_is_cut_without_a_word_is_noticed_by_both() {
    let cluster = Cluster::new(2, 1);
    let link = Link::to(&cluster.addresses[0]);
    let head = Server::start(cluster.command(0));
    let other = over(&link, &cluster);
    head.wait_ready();
    link.cut();
    for server in [head, other] {
        let (ended, took) = stopped(server);
        ended.says(&["the cluster stops"]);
        assert!(took < TIMEOUT + SLACK, "{took:?}");
    }
}

#[test]
fn a_slow_link_makes_answers_late_and_not_wrong() {
    let (_, random) = seed::draw("a_slow_link_makes_answers_late_and_not_wrong");
    let mut story = Story::new(random, 40);
    let cluster = Cluster::new(2, 1);
    let link = Link::to(&cluster.addresses[0]);
    let head = Server::start(cluster.command(0));
    let other = over(&link, &cluster);
    head.wait_ready();
    link.slow_down(Duration::from_millis(20));
    tell(&head.http, &mut story, 600);
    let told = settled(&head.http);
    assert!(link.passed_bytes() > 100_000, "{} bytes", link.passed_bytes());
    terminate(vec![head, other]);
    assert_eq!(told, cluster.told_by_one());
}

#[test]
fn a_cluster_waits_for_a_process_that_comes_late_and_says_so() {
    let cluster = Cluster::new(2, 1);
    let head = Server::start(cluster.command(0));
    let waits = |server: &Server| {
        eventually("it says whom it waits for", || {
            let answer = server.http.try_get("/readyz").ok()?;
            (answer.status == 503).then(|| answer.json()["error"]["message"].as_str().map(str::to_owned))?
        })
    };
    let named = format!("waiting for process 1 ({})", cluster.addresses[1]);
    eventually("it names whom it waits for", || waits(&head).contains(&named).then_some(()));
    assert_eq!(head.http.get("/healthz").status, 200);
    assert_eq!(head.http.try_get("/v1/views").map(|answer| answer.status), Ok(503));

    // One that came and went before the others were there is waited for again.
    let cluster_of_three = Cluster::new(3, 1);
    let first = Server::start(cluster_of_three.command(0));
    let second = Server::start(cluster_of_three.command(1));
    eventually("one is missing", || (!waits(&first).contains("process 1")).then_some(()));
    second.kill();
    eventually("two are missing", || waits(&first).contains("process 1").then_some(()));
    let others = [1, 2].map(|number| Server::start(cluster_of_three.command(number)));
    first.wait_ready();
    terminate([first].into_iter().chain(others).collect());

    let late = Server::start(cluster.command(1));
    head.wait_ready();
    terminate(vec![head, late]);
}

#[test]
fn a_process_that_only_computes_says_where_values_are_read() {
    let cluster = Cluster::new(2, 1);
    let servers = cluster.run();
    let other = &servers[1].http;
    assert_eq!(other.get("/healthz").status, 200);
    eventually("it is ready", || (other.get("/readyz").status == 200).then_some(()));
    assert!(other.get("/metrics").status == 200);
    let (host, _) = cluster.addresses[0].rsplit_once(':').expect("an address has a port");
    let (_, port) = servers[0].http.url().rsplit_once(':').expect("a URL has a port");
    let named = format!("ask http://{host}:{port}");
    for path in ["/v1/views", "/v1/views/set.bestsellers/global/7d", "/v1/stream/item.sellable", "/"] {
        let answer = other.try_get(path).expect("an answer");
        assert_eq!(answer.status, 421, "{path}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"], "elsewhere");
        assert!(error["message"].as_str().expect("a text").ends_with(&named), "{error}");
    }
    assert_eq!(other.post("/v1/events", "{}").status, 421);
    terminate(servers);
}

#[test]
fn a_process_of_another_configuration_is_refused_with_the_reason() {
    let cluster = Cluster::new(2, 1);
    let head = Server::start(cluster.command(0));
    for (name, value, reason) in [
        ("ETALAGE_WINDOWS__NAMES", "1h,2d", "options of the dataflow are others"),
        ("ETALAGE_WORKERS__COUNT", "2", "workers.count"),
    ] {
        let mut command = cluster.command(1);
        command.env(name, value);
        let ended = Server::start(command).wait();
        ended.with_code(2).says(&[reason]);
    }
    let other = Server::start(cluster.command(1));
    head.wait_ready();
    terminate(vec![head, other]);
}

#[test]
fn a_cluster_without_a_shared_place_of_snapshots_is_a_wrong_configuration() {
    let cluster = Cluster::new(2, 1);
    let addresses = &cluster.addresses;
    cluster.shop.configure(&format!("[cluster]\naddresses = {addresses:?}\nprocess = 2\n"));
    let ended = cluster.shop.ended(&["check"]).with_code(2);
    ended.says(&["cluster.process", "snapshots.url"]);
    cluster.shop.configure("[cluster]\naddresses = [\"here\", \"127.0.0.1:1\"]\n[snapshots]\non = \"no\"\n");
    cluster.shop.ended(&["check"]).with_code(2).says(&["`here`", "host:port"]);
}
