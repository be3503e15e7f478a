//! Deaths between the steps that must survive them.

use std::{
    process::Stdio,
    sync::{Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use etalage_tests::{Server, Shop, seed::Random};
use rand::RngExt;

use super::{Ledger, Report, work_until};

/// The places, as the binary knows them, and how often at most each is passed before the process dies there. The first
/// two are passed once in every process, those of snapshots a few times a second.
const PLACES: [(&str, u64); 10] = [
    ("restored", 1),
    ("read_back", 1),
    ("decided", 60),
    ("stored", 60),
    ("answered", 60),
    ("sealed", 60),
    ("published", 60),
    ("snapshot_begun", 2),
    ("snapshot_synced", 2),
    ("snapshot_written", 2),
];

pub(super) const ALL: [&str; 10] = {
    let mut names = [""; 10];
    let mut at = 0;
    while at < names.len() {
        names[at] = PLACES[at].0;
        at += 1;
    }
    names
};

/// How long a process may take to come to its failpoint.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that dies at a failpoint, under load where it comes so far.
pub(super) fn die(nth: usize, shop: &Shop, ledger: &Mutex<Ledger>, random: &mut Random, report: &mut Report) {
    let (name, most) = PLACES[nth % PLACES.len()];
    let mut command = shop.command(&["run", "--port", "0"]);
    command.env("ETALAGE_FAILPOINT", format!("{name}:{}", random.random_range(1..=most)));
    if most == 1 {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
        let died = waits_until(|| child.try_wait().expect("the system knows its children").is_some());
        // It has ended, or comes to no failpoint.
        let _ = child.kill();
        let status = child.wait().expect("a child can be waited for");
        note(name, died && status.code().is_none(), report);
        return;
    }
    let mut server = match Server::try_start(command) {
        Ok(server) => server,
        // It may die before it listens, without a word.
        Err(said) => return note(name, !said.contains("etalage: "), report),
    };
    let address = server.http.url().trim_start_matches("http://").to_owned();
    waits_until(|| server.has_ended() || server.http.try_get("/readyz").is_ok_and(|answer| answer.status == 200));
    let died = work_until(&address, ledger, random, report, |stop| {
        let died = waits_until(|| server.has_ended());
        stop.store(true, Ordering::SeqCst);
        died
    });
    // By a signal, and not by itself.
    let ended = if died { server.wait() } else { server.kill() };
    note(name, died && ended.code.is_none(), report);
}

fn note(name: &'static str, died: bool, report: &mut Report) {
    // Without a snapshot to begin with, say, it does not come by.
    if died {
        *report.failpoints.entry(name).or_default() += 1;
    }
}

fn waits_until(mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}
