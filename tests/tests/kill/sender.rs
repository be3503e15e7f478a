//! A client that knows at every moment how far its request is.

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use etalage_tests::seed::Random;
use rand::RngExt;
use serde_json::Value;

use super::ledger::{Ledger, body};

/// In which stage a kill has hit a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    /// Between an answer and the next request.
    Between,
    /// A part of the request was sent.
    Sending,
    /// The whole request was sent, and no answer came.
    Awaiting,
    /// The answer broke off.
    Answered,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cut::Between => "between an answer and the next request",
            Cut::Sending => "with a part of its request sent",
            Cut::Awaiting => "with its request sent and no answer",
            Cut::Answered => "in the middle of an answer",
        })
    }
}

/// Sends batch after batch until it is cut off.
pub(super) struct Sender<'a> {
    pub(super) address: &'a str,
    pub(super) ledger: &'a Mutex<Ledger>,
    pub(super) stop: &'a AtomicBool,
    pub(super) lane: usize,
    pub(super) random: Random,
}

impl Sender<'_> {
    pub(super) fn run(mut self) -> Cut {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return Cut::Between };
        // Else the second part of a request waits for the first one's acknowledgement.
        stream.set_nodelay(true).expect("a socket takes options");
        let mut answers = BufReader::new(stream.try_clone().expect("a socket has two ends"));
        while !self.stop.load(Ordering::SeqCst) {
            let batch = self.ledger().next(self.lane);
            if let Err(cut) = self.exchange(&mut stream, &mut answers, &body(&batch.numbers)).map(|answer| {
                let results = answer["results"].as_array().unwrap_or_else(|| panic!("no results: {answer}"));
                let statuses: Vec<&str> = results.iter().filter_map(|result| result["status"].as_str()).collect();
                self.ledger().answered(&batch, &statuses);
            }) {
                self.ledger().cut_off(self.lane, batch, cut != Cut::Sending && cut != Cut::Between);
                return cut;
            }
            self.pause(14_000);
        }
        Cut::Between
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no sender panics")
    }

    fn pause(&mut self, most_us: u64) {
        std::thread::sleep(Duration::from_micros(self.random.random_range(0..most_us)));
    }

    /// One request and its answer; an error where the server was gone.
    fn exchange(&mut self, stream: &mut TcpStream, answers: &mut impl BufRead, body: &str) -> Result<Value, Cut> {
        let head = format!("POST /v1/events HTTP/1.1\r\nHost: shop\r\nContent-Length: {}\r\n\r\n", body.len());
        let (first, second) = body.split_at(self.random.random_range(1..body.len()));
        stream.write_all(format!("{head}{first}").as_bytes()).map_err(|_| Cut::Between)?;
        self.pause(2_000);
        if self.stop.load(Ordering::SeqCst) {
            return Err(Cut::Sending);
        }
        stream.write_all(second.as_bytes()).map_err(|_| Cut::Sending)?;
        let mut line = String::new();
        match answers.read_line(&mut line) {
            Ok(0) | Err(_) => return Err(Cut::Awaiting),
            // Not stored in time, on a busy machine: whether it will be is unknown, as if the connection had gone.
            Ok(_) if line.starts_with("HTTP/1.1 503 ") => return Err(Cut::Awaiting),
            Ok(_) => assert_eq!(line, "HTTP/1.1 200 OK\r\n"),
        }
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            if answers.read_line(&mut line).map_err(|_| Cut::Answered)? == 0 {
                return Err(Cut::Answered);
            }
            if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = bytes.trim().parse().expect("a length is a number");
            }
        }
        let mut answer = vec![0; length];
        answers.read_exact(&mut answer).map_err(|_| Cut::Answered)?;
        Ok(serde_json::from_slice(&answer).expect("an answer is JSON"))
    }
}
