//! How the processes of a cluster find each other.
//!
//! ```text
//!   process 1 ── Hello: orders ──> head        waits until all are there
//!   process 2 ── Hello: orders ──> head
//!             <── Form(7) ──────── head        to each of them
//!   1 ── Hello: pieces, mesh (7) ──> head
//!   2 ── Hello: pieces, mesh (7) ──> head
//!   2 ── Hello: mesh (7) ──> 1                 the one of the greater number connects
//! ```
//!
//! Where one goes away meanwhile, everything begins anew with another number; connections of an earlier try are
//! dropped. Once all are connected nobody listens any more: a process that is started again comes back to a head that is
//! started again, since a cluster stops as one.

use std::{
    collections::BTreeMap,
    io,
    net::{TcpListener, TcpStream, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::{
    ClusterError, Members,
    wire::{self, Agreed, Hello, Line, MAGIC, MAX_HELLO_BYTES, ToFollower, receive, send},
};

/// Connections whose first message is awaited at once; those beyond are closed.
pub const MAX_GREETINGS: usize = 64;

/// How often it is looked who has come, and whether the process is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a process waits before it tries again to reach another.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// How often it is said who is waited for.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The connections of a process to all others.
#[derive(Debug)]
pub(super) struct Connected {
    /// Orders: of the head to each process, by its number; of another to the head alone.
    pub(super) orders: BTreeMap<usize, TcpStream>,
    /// Pieces of snapshots, the same.
    pub(super) pieces: BTreeMap<usize, TcpStream>,
    /// The dataflow, by process; none to itself.
    pub(super) mesh: Vec<Option<TcpStream>>,
}

impl Connected {
    fn none(members: &Members) -> Connected {
        let mesh = members.addresses.iter().map(|_| None).collect();
        Connected { orders: BTreeMap::new(), pieces: BTreeMap::new(), mesh }
    }

    fn is_complete(&self, members: &Members) -> bool {
        let peers = if members.is_head() { members.addresses.len() - 1 } else { 1 };
        let has_mesh = self.mesh.iter().flatten().count() + 1 == members.addresses.len();
        self.orders.len() == peers && self.pieces.len() == peers && has_mesh
    }
}

/// What a process that waits for others is asked.
#[derive(Clone)]
pub struct Waiting(Arc<Mutex<Known>>);

struct Known {
    reason: Option<String>,
    /// The port of the head's HTTP interface.
    head_port: Option<u16>,
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting::of("the process starts")
    }
}

impl Waiting {
    /// Something is waited for.
    pub fn of(reason: &str) -> Waiting {
        Waiting(Arc::new(Mutex::new(Known { reason: Some(reason.to_owned()), head_port: None })))
    }

    /// The same at a head whose HTTP interface has this port.
    pub fn at_head(port: u16) -> Waiting {
        let waiting = Waiting::default();
        waiting.set_head_port(port);
        waiting
    }

    /// What is waited for; nothing once all are connected.
    pub fn reason(&self) -> Option<String> {
        self.0.lock().reason.clone()
    }

    /// The port of the head's HTTP interface, once the head has told it.
    pub fn head_port(&self) -> Option<u16> {
        self.0.lock().head_port
    }

    fn set_head_port(&self, port: u16) {
        self.0.lock().head_port = Some(port);
    }

    fn set(&self, reason: Option<String>) {
        self.0.lock().reason = reason;
    }
}

/// A connection that said who it is.
struct Arrival {
    hello: Hello,
    stream: TcpStream,
}

/// Takes connections until it is dropped.
struct Door {
    arrivals: Receiver<Arrival>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    fn open(members: &Members) -> Result<Door, ClusterError> {
        let cannot = |reason| ClusterError::Listen { address: members.listen.clone(), reason };
        let listener = TcpListener::bind(members.listen.as_str()).map_err(cannot)?;
        listener.set_nonblocking(true).map_err(cannot)?;
        let (to_arrivals, arrivals) = bounded(MAX_GREETINGS);
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, timeout) = (Arc::clone(&is_over), members.timeout);
        let take = move || take_connections(&listener, timeout, &over, &to_arrivals);
        let thread = std::thread::Builder::new().name("cluster-door".into()).spawn(take).map_err(cannot)?;
        Ok(Door { arrivals, is_over, thread: Some(thread) })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // It has nothing to say.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn take_connections(listener: &TcpListener, timeout: Duration, is_over: &AtomicBool, arrivals: &Sender<Arrival>) {
    let greeting = Arc::new(AtomicUsize::new(0));
    while !is_over.load(Ordering::SeqCst) {
        let Ok((stream, from)) = listener.accept() else {
            std::thread::sleep(LOOK_EVERY);
            continue;
        };
        if greeting.fetch_add(1, Ordering::SeqCst) >= MAX_GREETINGS {
            greeting.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (greeting, arrivals) = (Arc::clone(&greeting), arrivals.clone());
        std::thread::spawn(move || {
            match greet(stream, timeout) {
                // Where nobody takes it any more, it is closed.
                Ok(arrival) => _ = arrivals.send_timeout(arrival, timeout),
                Err(error) => tracing::warn!(%from, %error, "a connection that is none of this cluster's was closed"),
            }
            greeting.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn greet(mut stream: TcpStream, timeout: Duration) -> io::Result<Arrival> {
    stream.set_nonblocking(false)?;
    wire::set_up(&stream, timeout)?;
    let hello: Hello = receive(&mut stream, MAX_HELLO_BYTES)?;
    if hello.magic != MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks something else"));
    }
    Ok(Arrival { hello, stream })
}

/// Why this process does not go with ours; nothing where it does.
fn refusal(members: &Members, ours: &Agreed, hello: &Hello) -> Option<String> {
    let theirs = &hello.agreed;
    let differs = |what: &str, ours: &dyn std::fmt::Display, theirs: &dyn std::fmt::Display| {
        Some(format!("{what}: {theirs}, and {ours} at process {}", members.process))
    };
    match () {
        () if theirs.version != ours.version => {
            differs("it is of another version of etalage", &ours.version, &theirs.version)
        }
        () if theirs.processes != ours.processes => {
            differs("its cluster.addresses name another number of processes", &ours.processes, &theirs.processes)
        }
        () if theirs.workers != ours.workers => differs("its workers.count is another", &ours.workers, &theirs.workers),
        () if theirs.options != ours.options => Some(
            "its windows, scopes, views or other options of the dataflow are others; all processes of a cluster \
                  need the same configuration"
                .to_owned(),
        ),
        () if hello.from >= ours.processes || hello.from == members.process => {
            Some(format!("there is no other process {} in this cluster", hello.from))
        }
        () => None,
    }
}

/// Brings all processes together, as the head. `is_over` ends the waiting.
pub(super) fn as_head(
    members: &Members,
    agreed: &Agreed,
    waiting: &Waiting,
    is_over: &dyn Fn() -> bool,
) -> Result<Connected, ClusterError> {
    let door = Door::open(members)?;
    // No try of an earlier life of this process has the same number.
    let number = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros() as u64);
    let http_port = waiting.head_port().unwrap_or_default();
    let mut forming = Forming { members, connected: Connected::none(members), http_port, number, until: None };
    let mut told = Instant::now();
    while !is_over() {
        match door.arrivals.recv_timeout(LOOK_EVERY) {
            Ok(arrival) => forming.take(arrival, agreed),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(ClusterError::Over),
        }
        forming.drop_those_gone();
        if forming.go_on() {
            waiting.set(None);
            return Ok(forming.connected);
        }
        let reason = forming.awaited();
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tracing::warn!(reason, "the cluster is not complete");
        }
        waiting.set(Some(reason));
    }
    Err(ClusterError::Over)
}

/// A try to bring all processes together.
struct Forming<'a> {
    members: &'a Members,
    connected: Connected,
    /// Of the HTTP interface.
    http_port: u16,
    /// Of this try, or of the one before.
    number: u64,
    /// Until when all must be connected, once all are there.
    until: Option<Instant>,
}

impl Forming<'_> {
    fn take(&mut self, Arrival { hello, mut stream }: Arrival, agreed: &Agreed) {
        let from = hello.from;
        let refusal = refusal(self.members, agreed, &hello);
        match hello.line {
            Line::Orders => {
                let answer: Result<u16, String> = refusal.clone().map_or(Ok(self.http_port), Err);
                let answered = send(&mut stream, &answer, &mut Vec::new());
                if let Some(reason) = refusal {
                    tracing::error!(process = from, reason, "a process was refused");
                } else if answered.is_ok() {
                    // Whoever comes again has lost what it had.
                    self.begin_anew();
                    self.connected.orders.insert(from, stream);
                }
            }
            _ if refusal.is_some() || hello.formation != self.number || self.until.is_none() => {}
            Line::Pieces => _ = self.connected.pieces.insert(from, stream),
            Line::Mesh => self.connected.mesh[from] = Some(stream),
        }
    }

    fn begin_anew(&mut self) {
        if self.until.take().is_some() {
            self.connected = Connected::none(self.members);
        }
    }

    fn drop_those_gone(&mut self) {
        let beat = |stream: &mut TcpStream| send(stream, &ToFollower::Beat, &mut Vec::new()).is_ok();
        let before = self.connected.orders.len();
        self.connected.orders.retain(|_, stream| is_open(stream) && beat(stream));
        if self.connected.orders.len() < before || self.until.is_some_and(|until| until < Instant::now()) {
            self.begin_anew();
        }
    }

    /// True once everybody is connected.
    fn go_on(&mut self) -> bool {
        let others = self.members.addresses.len() - 1;
        if self.until.is_none() && self.connected.orders.len() == others {
            self.number += 1;
            self.until = Some(Instant::now() + self.members.timeout);
            let form = ToFollower::Form(self.number);
            // One that is gone is noticed when it does not come.
            self.connected.orders.values_mut().for_each(|stream| _ = send(stream, &form, &mut Vec::new()));
        }
        self.until.is_some() && self.connected.is_complete(self.members)
    }

    fn awaited(&self) -> String {
        let is_missing = |process: &usize| !self.connected.orders.contains_key(process);
        let missing: Vec<String> = (1..self.members.addresses.len())
            .filter(is_missing)
            .map(|process| format!("process {process} ({})", self.members.addresses[process]))
            .collect();
        match missing.is_empty() {
            true => "the processes connect to each other".to_owned(),
            false => format!("waiting for {}", missing.join(", ")),
        }
    }
}

/// False where the other side has closed it.
fn is_open(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let looked = stream.peek(&mut [0]);
    let is_blocking = stream.set_nonblocking(false).is_ok();
    is_blocking
        && !matches!(looked, Ok(0))
        && looked.map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true)
}

/// Joins the others, as a process that is not the head. `is_over` ends the waiting.
pub(super) fn as_follower(
    members: &Members,
    agreed: &Agreed,
    waiting: &Waiting,
    is_over: &dyn Fn() -> bool,
) -> Result<Connected, ClusterError> {
    let door = Door::open(members)?;
    let mut told = Instant::now();
    while !is_over() {
        match join(members, agreed, waiting, is_over, &door) {
            Ok(connected) => {
                waiting.set(None);
                return Ok(connected);
            }
            Err(Failed::ForGood(error)) => return Err(error),
            Err(Failed::ForNow(reason)) => {
                if told.elapsed() >= TELL_EVERY {
                    told = Instant::now();
                    tracing::warn!(reason, "the cluster is not complete");
                }
                waiting.set(Some(reason));
                std::thread::sleep(TRY_EVERY);
            }
        }
    }
    Err(ClusterError::Over)
}

/// Why a process could not join.
enum Failed {
    ForNow(String),
    ForGood(ClusterError),
}

fn join(
    members: &Members,
    agreed: &Agreed,
    waiting: &Waiting,
    is_over: &dyn Fn() -> bool,
    door: &Door,
) -> Result<Connected, Failed> {
    let head = &members.addresses[0];
    let hello =
        |line, formation| Hello { magic: MAGIC, from: members.process, line, formation, agreed: agreed.clone() };
    let away = |error: io::Error| {
        Failed::ForNow(format!("waiting for process 0 ({head}): {}", wire::meaning(&error, members.timeout)))
    };
    let mut orders = connect(head, &hello(Line::Orders, 0), members.timeout).map_err(away)?;
    let answer: Result<u16, String> = receive(&mut orders, MAX_HELLO_BYTES).map_err(away)?;
    let port = answer.map_err(|reason| Failed::ForGood(ClusterError::Refused(reason)))?;
    waiting.set_head_port(port);
    waiting.set(Some("waiting for the other processes of the cluster".to_owned()));
    let formation = await_form(&mut orders, is_over).map_err(away)?;
    let mut connected = Connected::none(members);
    connected.orders.insert(0, orders);
    let open = |to: usize, line| {
        let address = &members.addresses[to];
        connect(address, &hello(line, formation), members.timeout).map_err(|error| {
            Failed::ForNow(format!("waiting for process {to} ({address}): {}", wire::meaning(&error, members.timeout)))
        })
    };
    connected.pieces.insert(0, open(0, Line::Pieces)?);
    for lower in 0..members.process {
        connected.mesh[lower] = Some(open(lower, Line::Mesh)?);
    }
    let until = Instant::now() + members.timeout;
    while !connected.is_complete(members) {
        match door.arrivals.recv_deadline(until) {
            Ok(Arrival { hello, stream })
                if hello.line == Line::Mesh
                    && hello.formation == formation
                    && refusal(members, agreed, &hello).is_none() =>
            {
                connected.mesh[hello.from] = Some(stream);
            }
            Ok(_) => {}
            Err(_) => return Err(Failed::ForNow("waiting for the processes to connect to each other".to_owned())),
        }
    }
    Ok(connected)
}

/// Waits for the head to say that all are there; the number of the try.
fn await_form(orders: &mut TcpStream, is_over: &dyn Fn() -> bool) -> io::Result<u64> {
    loop {
        match receive(orders, MAX_HELLO_BYTES)? {
            ToFollower::Form(number) => return Ok(number),
            _ if is_over() => return Err(io::Error::other("the process ends")),
            _ => {}
        }
    }
}

/// Connects, and says who this is.
fn connect(address: &str, hello: &Hello, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(mut stream) => {
                wire::set_up(&stream, timeout)?;
                send(&mut stream, hello, &mut Vec::new())?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
