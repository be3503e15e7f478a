//! The job `sb`, mode hop, in dbsp, as `bench/peers/run` starts it: beside other engines, on the same file.
//!
//! One step of the circuit is one minute of event time. A minute is answered when the newest arrival is two seconds
//! past it, as the other engines' watermarks have it. A thread of its own reads the file and hands over what came
//! until then; the lists that changed are written out as text, and those that did not as they were.
//!
//! What was measured is printed as a line of JSON: from the first line to the last answer written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Write},
    num::NonZeroUsize,
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Instant,
};

use anyhow::{Context, anyhow};
use circuit::{Handles, Item, List, Member, Update};
use clap::Parser;
use dbsp::{
    DBSPHandle, IndexedZSetReader, Runtime, ZWeight,
    circuit::CircuitConfig,
    mimalloc::MiMalloc,
    utils::{Tup2, Tup3},
};
use serde_json::json;

mod circuit;

/// The allocator of dbsp's own benchmarks.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const START_US: u64 = 1_700_000_000_000_000;
const MINUTE_US: u64 = 60_000_000;
/// How long after a minute's end a message that is dated in it may arrive: late by 2 s, and the 2 ms that every
/// message is on its way.
const LATE_US: u64 = 2_002_000;
/// How many minutes the reader may be ahead of the circuit.
const AHEAD_MINUTES: usize = 4;
/// How CPU time is counted on every Linux we run on.
const TICKS_PER_S: f64 = 100.0;

/// Runs the job once.
#[derive(Parser)]
struct Options {
    /// The file, as `generate --format csv` writes it
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the answers go
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The last minute that is answered, in microseconds
    #[arg(long)]
    last_us: u64,
    /// Workers of the circuit
    #[arg(long, default_value = "1")]
    parallelism: NonZeroUsize,
}

/// What has come before a minute is answered.
#[derive(Default)]
struct Batch {
    /// The number of the minute that is answered; the window ends with its beginning.
    minute: u32,
    clicks: Vec<Tup2<u32, Tup2<Item, ZWeight>>>,
    stock: Vec<Tup2<u32, Tup2<Tup2<Item, Update>, ZWeight>>>,
}

fn main() -> anyhow::Result<()> {
    let started = Instant::now();
    let options = Options::parse();
    // Input is appended between transactions only, which dbsp wants to be told.
    let config = CircuitConfig::with_workers(options.parallelism.get()).with_allow_input_during_commit(false);
    let (mut dbsp, handles) = Runtime::init_circuit(config, circuit::build)?;

    let (start_s, began, cpu) = (started.elapsed().as_secs_f64(), Instant::now(), cpu_s());
    let (sender, receiver) = sync_channel(AHEAD_MINUTES);
    let lists = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&options, sender));
        let lists = answer(&mut dbsp, &handles, receiver, &options)?;
        reader.join().expect("the reader does not panic")?;
        anyhow::Ok(lists)
    })?;
    let measured = json!({
        "engine": "dbsp",
        "mode": "hop",
        "version": version(),
        "parallelism": options.parallelism,
        "seconds": began.elapsed().as_secs_f64(),
        "cpu_seconds": cpu_s() - cpu,
        "peak_rss_mib": peak_rss_mib(),
        "start_seconds": start_s,
        "lists": lists,
        "settings": { "step": "1 minute", "storage": "none", "allocator": "mimalloc" },
    });
    println!("{measured}");
    dbsp.kill().map_err(|_| anyhow!("a worker panicked"))
}

/// Sends the rows of the file, minute by minute. Stops if nobody takes them.
fn read(options: &Options, batches: SyncSender<Batch>) -> anyhow::Result<()> {
    let path = options.input.display();
    let file = File::open(&options.input).with_context(|| format!("{path} cannot be read"))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut line, mut number) = (String::new(), 1);
    reader.read_line(&mut line)?; // the names of the columns
    let mut end_us = START_US.next_multiple_of(MINUTE_US);
    let mut batch = Batch::default();
    let send = |batch: &mut Batch, end_us| {
        batch.minute = minute(end_us);
        batches.send(std::mem::take(batch)).is_ok()
    };
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            break;
        }
        number += 1;
        let arrival_us = arrival_us(&line);
        while arrival_us.is_some_and(|arrival_us| arrival_us >= end_us + LATE_US) {
            if !send(&mut batch, end_us) {
                return Ok(());
            }
            end_us += MINUTE_US;
        }
        arrival_us
            .and_then(|_| batch.take(line.trim_end(), number))
            .with_context(|| format!("{path}:{number}: no row of `generate --format csv`: {line}"))?;
    }
    while end_us <= options.last_us && send(&mut batch, end_us) {
        end_us += MINUTE_US;
    }
    Ok(())
}

fn arrival_us(line: &str) -> Option<u64> {
    line.split(',').next()?.parse().ok()
}

fn minute(at_us: u64) -> u32 {
    u32::try_from(at_us / MINUTE_US).expect("an instant of this millennium")
}

impl Batch {
    /// Takes a row in; `None` if it is none.
    fn take(&mut self, line: &str, number: u64) -> Option<()> {
        let mut fields = line.split(',').skip(1);
        let at_us: u64 = fields.next()?.parse().ok()?;
        let kind = fields.next()?;
        let item: u32 = fields.next()?.parse().ok()?;
        let category: u32 = fields.next()?.parse().ok()?;
        let amount: i64 = fields.next()?.parse().ok()?;
        let item = Tup2(category, item);
        match kind {
            "click" => self.clicks.push(Tup2(minute(at_us), Tup2(item, amount))),
            "stock" => {
                let update = Tup3(at_us, number, amount);
                self.stock.push(Tup2(minute(at_us), Tup2(Tup2(item, update), 1)));
            }
            _ => return None,
        }
        Some(())
    }
}

/// Steps the circuit for every minute and writes all lists. How many lists were written.
fn answer(
    dbsp: &mut DBSPHandle,
    handles: &Handles,
    batches: Receiver<Batch>,
    options: &Options,
) -> anyhow::Result<usize> {
    let path = options.output.display();
    let file = File::create(&options.output).with_context(|| format!("{path} cannot be written"))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut lists = BTreeMap::<List, Top>::new();
    let mut written = 0;
    for mut batch in batches {
        handles.clock.set_for_all(batch.minute);
        handles.clicks.append(&mut batch.clicks);
        handles.stock.append(&mut batch.stock);
        dbsp.transaction()?;
        let mut changed = BTreeSet::new();
        for (list, member, weight) in handles.lists.concat().iter() {
            lists.entry(list).or_default().change(member, weight);
            changed.insert(list);
        }
        for list in changed {
            lists.get_mut(&list).expect("a list that has changed").tell(list);
        }
        let t_us = u64::from(batch.minute) * MINUTE_US;
        for top in lists.values().filter(|top| !top.members.is_empty()) {
            writeln!(out, "{t_us},{}", top.text)?;
            written += 1;
        }
    }
    out.flush()?;
    Ok(written)
}

/// A list as it is.
#[derive(Default)]
struct Top {
    members: BTreeSet<Member>,
    /// Its name and members, as the answers have them.
    text: String,
}

impl Top {
    fn change(&mut self, member: Member, weight: ZWeight) {
        match weight {
            1.. => self.members.insert(member),
            0 => false,
            _ => self.members.remove(&member),
        };
    }

    /// Writes the text anew.
    fn tell(&mut self, list: List) {
        self.text = list.map_or_else(|| "global".to_owned(), |category| category.to_string());
        for (at, Tup2(minus, item)) in self.members.iter().enumerate() {
            let space = if at == 0 { ',' } else { ' ' };
            write!(self.text, "{space}{item}:{}", -minus).expect("a text takes all");
        }
    }
}

/// The version of dbsp that this was built with.
fn version() -> &'static str {
    let locked =
        include_str!("../Cargo.lock").split("[[package]]").find(|package| package.contains("name = \"dbsp\"\n"));
    locked.and_then(|package| package.split('"').nth(3)).expect("Cargo.lock has dbsp")
}

/// CPU time of this process so far, user and system.
fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / TICKS_PER_S
}

fn peak_rss_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
}
