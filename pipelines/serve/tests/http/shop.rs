//! The server under test, and a client for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use etalage_model::{
    Changes, Group, InputKind, Key, KeyFields, Micros, Outcome, Quarantined, Record, Refusal, Rejected, SealedBatch,
    SealedTick, Tick, TickTimes, Value, ViewInfo,
    decode::json::{self, BodyError, Context, Limits},
    money::Currencies,
};
use etalage_serve::{Busy, Counts, Door, NotStored, ReadStore, ServeOptions, ServeState, StoreOptions, monotonic_us};
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::sync::oneshot;

/// The epoch of every store here; `beef` in ids and tags.
pub(crate) const EPOCH: u64 = 0xBEEF;
/// The first tick after the state is complete, which no test publishes.
pub(crate) const BEGIN: Tick = 1_291_192_000_000_000;

/// Three views of both groups. Windows of `spread` items start an hour before the tick.
pub(crate) fn views() -> Vec<ViewInfo> {
    let view = |name, group, key_fields| ViewInfo {
        name,
        group,
        key_fields,
        about: "a test",
        is_personal: group == Group::Customer,
        resolve: None,
        window_start: None,
    };
    let mut popularity = view("item.popularity", Group::Shop, &["scope", "window", "item_id"]);
    popularity.window_start = Some(Arc::new(|key: &Key, tick| {
        key.field(1).filter(|window| window.as_str() == "spread").map(|_| Micros(tick - 3_600_000_000))
    }));
    vec![
        view("item.sellable", Group::Shop, &["item_id", "location_id"]),
        popularity,
        view("profile.value", Group::Customer, &["profile"]),
    ]
}

#[derive(Debug, serde::Serialize)]
struct Units {
    units: u64,
}

/// What the door says to a batch.
#[derive(Clone, Default)]
pub(crate) enum Mood {
    #[default]
    Takes,
    Busy(Busy),
    Fails,
    Stops,
}

#[derive(Default)]
pub(crate) struct TestDoor {
    pub(crate) mood: Mutex<Mood>,
    pub(crate) stored: Mutex<Vec<(String, String)>>,
    seen: Mutex<BTreeSet<String>>,
    refused: AtomicU64,
    pub(crate) not_ready: Mutex<Option<String>>,
}

impl Door for TestDoor {
    fn erase(&self, id: &str) -> Result<Json, String> {
        match &*self.not_ready.lock() {
            None => Ok(serde_json::json!({ "profile": id })),
            Some(reason) => Err(reason.clone()),
        }
    }

    fn explain(&self, view: &str, key: &KeyFields, limit: usize) -> Result<Json, etalage_serve::NotExplained> {
        Ok(serde_json::json!({ "view": view, "key": key.0, "limit": limit }))
    }

    fn has_room(&self) -> Result<(), Busy> {
        Ok(())
    }

    fn retry(&self, numbers: &[u64], code: Option<&str>) -> Result<Json, String> {
        match &*self.not_ready.lock() {
            None => Ok(serde_json::json!([{ "numbers": numbers, "code": code }])),
            Some(reason) => Err(reason.clone()),
        }
    }

    fn clock(&self) -> Json {
        serde_json::json!({ "mode": "wall", "off_ms": 7 })
    }

    fn accept_clock(&self) -> Result<Json, String> {
        match *self.mood.lock() {
            Mood::Stops => Err("nothing to adopt".into()),
            _ => Ok(serde_json::json!({ "was_off_ms": 7 })),
        }
    }

    fn snapshot(&self) -> Result<Json, String> {
        match &*self.not_ready.lock() {
            None => Ok(serde_json::json!({ "tick": 5 })),
            Some(reason) => Err(reason.clone()),
        }
    }

    fn decode(&self, kind: InputKind, body: &[u8]) -> Result<Vec<Result<Record, Rejected>>, BodyError> {
        let limits = Limits { max_batch_events: 100, ..Limits::default() };
        let context =
            Context { now: Micros(BEGIN), map_time: None, currencies: &Currencies::only("EUR"), limits: &limits };
        json::body(kind, body, &context)
    }

    fn submit(
        &self,
        source: &str,
        batch: Vec<Result<Record, Rejected>>,
    ) -> Result<oneshot::Receiver<Result<Vec<Outcome>, NotStored>>, Busy> {
        let (answer, receiver) = oneshot::channel();
        match self.mood.lock().clone() {
            Mood::Takes => {
                let outcomes = batch.into_iter().map(|item| match item {
                    Ok(record) if self.seen.lock().insert(record.message.message_id().into()) => {
                        self.stored.lock().push((source.into(), record.message.message_id().into()));
                        Outcome::Stored
                    }
                    Ok(_) => Outcome::Duplicate,
                    Err(rejected) => {
                        self.refused.fetch_add(1, Ordering::Relaxed);
                        Outcome::Refused(rejected.reason)
                    }
                });
                answer.send(Ok(outcomes.collect())).expect("the handler waits");
            }
            Mood::Busy(busy) => return Err(busy),
            Mood::Fails => answer.send(Err(NotStored::Failed("the disk is full".into()))).expect("the handler waits"),
            Mood::Stops => drop(answer),
        }
        Ok(receiver)
    }

    fn counts(&self) -> Counts {
        let (stored, refused) = (self.stored.lock().len() as u64, self.refused.load(Ordering::Relaxed));
        Counts { stored, duplicates: 0, refused }
    }

    fn quarantine(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>, String> {
        let one = |seq| Quarantined {
            seq,
            arrived_at: Micros(BEGIN),
            source: "POST /v1/events".into(),
            reason: Refusal::Conflict,
            raw: b"{\"<b>\":\xFF}".to_vec(),
            raw_bytes: 9,
        };
        Ok((after + 1..=3).take(limit).map(one).collect())
    }

    fn ready(&self) -> Result<(), String> {
        self.not_ready.lock().clone().map_or(Ok(()), Err)
    }
}

/// A running server. Stops when it is dropped.
pub(crate) struct Shop {
    pub(crate) store: ReadStore,
    pub(crate) state: ServeState,
    pub(crate) door: Arc<TestDoor>,
    pub(crate) url: String,
    next: AtomicU64,
    pub(crate) server: Option<std::thread::JoinHandle<std::io::Result<()>>>,
}

impl Shop {
    /// A server whose state is complete as of [`BEGIN`].
    pub(crate) fn open() -> Shop {
        Shop::with(ServeOptions::default(), StoreOptions::default())
    }

    pub(crate) fn with(options: ServeOptions, store: StoreOptions) -> Shop {
        let shop = Shop::reading_back(options, store);
        shop.store.begin(BEGIN);
        shop
    }

    /// A server that has not finished to read its log.
    pub(crate) fn reading_back(options: ServeOptions, store: StoreOptions) -> Shop {
        let store = ReadStore::new(&views(), store);
        let door = Arc::new(TestDoor::default());
        let state = ServeState::new(views(), EPOCH, store.clone(), door.clone(), options);
        let (port, bound) = std::sync::mpsc::channel();
        let serving = state.clone();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                port.send(listener.local_addr()?.port()).expect("the test waits");
                etalage_serve::serve(listener, serving).await
            })
        });
        let url = format!("http://127.0.0.1:{}", bound.recv().expect("the server starts"));
        Shop { store, state, door, url, next: AtomicU64::new(BEGIN + 1), server: Some(server) }
    }

    /// Publishes one tick of the `shop` group: `VIEW:KEY`, and its units or `None`.
    pub(crate) fn tick(&self, changes: &[(&str, Option<u64>)]) -> Tick {
        self.tick_of(Group::Shop, changes)
    }

    pub(crate) fn tick_of(&self, group: Group, changes: &[(&str, Option<u64>)]) -> Tick {
        let lower = self.next.fetch_add(1, Ordering::Relaxed);
        let tick = Arc::new(sealed(group, lower, changes));
        self.store.clone().sealed(&tick);
        lower
    }

    /// Publishes one tick of the `shop` group, of whatever batches.
    pub(crate) fn seal(&self, batches: impl FnOnce(Tick) -> Vec<SealedBatch>) -> Tick {
        let lower = self.next.fetch_add(1, Ordering::Relaxed);
        let tick = SealedTick { batches: batches(lower), ..sealed(Group::Shop, lower, &[]) };
        self.store.clone().sealed(&Arc::new(tick));
        lower
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = agent(Some(WHOLE)).get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.call().expect("an answer"))
    }

    pub(crate) fn post(&self, path: &str, body: &[u8], headers: &[(&str, &str)]) -> Answer {
        let mut request = agent(Some(WHOLE)).post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send(body).expect("an answer"))
    }

    pub(crate) fn stream(&self, path: &str) -> Events {
        self.stream_with(path, &[])
    }

    pub(crate) fn stream_with(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut request = agent(None).get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.call().expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert!(!answer.headers().contains_key("content-encoding"));
        Events { lines: BufReader::new(Box::new(answer.into_body().into_reader())), tick: 0 }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.state.shutdown();
        if let Some(server) = self.server.take() {
            server.join().expect("the server does not panic").expect("the server ends well");
        }
    }
}

/// A sealed tick that covers `tick` alone.
pub(crate) fn sealed(group: Group, tick: Tick, changes: &[(&str, Option<u64>)]) -> SealedTick {
    let mut by_view = BTreeMap::<&'static str, Vec<(Key, Option<Value>)>>::new();
    for (text, units) in changes {
        let (name, key) = text.split_once(':').expect("VIEW:KEY");
        let view = views().into_iter().find(|view| view.name == name).expect("a view of the test");
        let fields: Vec<_> = key.split('/').map(|field| etalage_model::key::unescape(field).as_str().into()).collect();
        let value = units.map(|units| Arc::new(Units { units }) as Value);
        by_view.entry(view.name).or_default().push((Key::new(&fields), value));
    }
    let batch = |(view, upserts)| SealedBatch { upserts, ..SealedBatch::new(group, view, tick, tick + 1) };
    let now_us = monotonic_us();
    let times = TickTimes {
        max_event_time: Some(Micros(tick - 5)),
        first_arrival_us: Some(now_us),
        last_arrival_us: Some(now_us),
        sealed_us: now_us,
    };
    SealedTick { group, lower: tick, upper: tick + 1, times, batches: by_view.into_iter().map(batch).collect() }
}

/// How long an answer may take that is no stream.
const WHOLE: Duration = Duration::from_secs(30);

fn agent(whole: Option<Duration>) -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(whole);
    config.timeout_per_read(Some(Duration::from_secs(20))).build().into()
}

/// A line on which `bytes` were sent.
pub(crate) fn sent(shop: &Shop, bytes: &str) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(shop.url.trim_start_matches("http://")).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    stream.write_all(bytes.as_bytes()).expect("sent");
    stream
}

/// The status that a line begins its answer with.
pub(crate) fn status(mut line: std::net::TcpStream) -> String {
    let mut answer = [0; 12];
    line.read_exact(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

/// A request whose body is announced, and begun.
pub(crate) fn half_a_request(shop: &Shop) -> std::net::TcpStream {
    let stream = sent(shop, "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{");
    // The server has begun with it once a later request is answered.
    assert_eq!(shop.get("/healthz").status, 200);
    stream
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    fn of(answer: ureq::http::Response<ureq::Body>) -> Answer {
        let headers = answer.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
        let (status, headers) = (answer.status().as_u16(), headers.collect());
        let mut bytes = Vec::new();
        answer.into_body().into_reader().read_to_end(&mut bytes).expect("a whole body");
        Answer { status, headers, bytes }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and `error.code`.
    pub(crate) fn error(&self) -> (u16, String) {
        (self.status, self.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    /// `entries` as `key/path=units`.
    pub(crate) fn entries(&self) -> Vec<String> {
        self.json()["entries"].as_array().expect("entries").iter().map(entry).collect()
    }
}

fn entry(entry: &Json) -> String {
    let fields = ["scope", "window", "item_id", "location_id", "profile"].map(|name| entry["key"][name].as_str());
    let key = fields.into_iter().flatten().collect::<Vec<_>>().join("/");
    let units = entry["value"]["units"].as_u64().map_or("null".into(), |units| units.to_string());
    format!("{key}={units}")
}

/// An open stream.
pub(crate) struct Events {
    lines: BufReader<Box<dyn Read + Send>>,
    /// The newest tick seen; none may be older.
    tick: Tick,
}

/// One message of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: Json,
}

impl Event {
    pub(crate) fn tick(&self) -> Tick {
        self.data["tick"].as_u64().expect("a tick")
    }

    /// `changes` as `key/path=units`.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.data["changes"].as_array().expect("changes").iter().map(entry).collect()
    }
}

impl Events {
    /// The next message; `None` where the stream has ended.
    pub(crate) fn any(&mut self) -> Option<Event> {
        let mut event = Event { id: None, event: String::new(), data: Json::Null };
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                // What a client was told to go on from is forgotten.
                None if line.trim_end() == "id:" => event.id = None,
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("event", name)) => event.event = name.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).expect("JSON"),
                Some(other) => panic!("unexpected line {other:?}"),
                None => {
                    let expected = (event.event != "reset").then(|| format!("{EPOCH:x}-{}", event.tick()));
                    assert_eq!(event.id, expected, "{event:?}");
                    assert!(event.tick() >= self.tick, "back from {}: {event:?}", self.tick);
                    self.tick = event.tick();
                    return Some(event);
                }
            }
        }
    }

    /// The next message that is no heartbeat.
    pub(crate) fn next(&mut self) -> Event {
        loop {
            let event = self.any().expect("the stream goes on");
            if event.event != "heartbeat" {
                return event;
            }
        }
    }

    /// The next message, which must be of this kind; its changes.
    pub(crate) fn expect(&mut self, kind: &str) -> Vec<String> {
        let event = self.next();
        assert_eq!(event.event, kind, "{event:?}");
        event.changes()
    }
}
