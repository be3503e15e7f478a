//! What the processes of a cluster tell each other, and how it stands on the wire: bincode, each message behind its
//! length.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use etalage_model::{Group, Record, Tick, codec};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use socket2::{SockRef, TcpKeepalive};

use super::parts::ToldBatch;
use crate::runtime::snapshot::{Piece, ToldPart};

/// The longest message: larger than any round, so that whoever is no process of ours cannot fill the memory.
pub const MAX_MESSAGE_BYTES: u32 = 1 << 30;

/// The longest message of whoever has not said yet who it is.
pub const MAX_HELLO_BYTES: u32 = 65_536;

/// So many signs of life are sent before a process that hears nothing gives the other one up.
const BEATS: u32 = 10;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Line {
    /// Orders of the head, and what the workers answer.
    Orders,
    /// Rows of snapshots.
    Pieces,
    /// The dataflow: between each two processes.
    Mesh,
}

/// What processes must have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Agreed {
    /// Of the program.
    pub(super) version: String,
    /// See `snapshot::fingerprint`.
    pub(super) options: String,
    pub(super) processes: usize,
    /// Of each process.
    pub(super) workers: usize,
    pub(super) timeout_us: u64,
    pub(super) has_snapshots: bool,
}

/// The first message of a connection, from whoever has opened it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// [`MAGIC`].
    pub(super) magic: u64,
    pub(super) from: usize,
    pub(super) line: Line,
    /// The try to come together that it belongs to; 0 before there is one.
    pub(super) formation: u64,
    pub(super) agreed: Agreed,
}

/// What a [`Hello`] begins with.
pub(super) const MAGIC: u64 = u64::from_be_bytes(*b"etalage1");

/// What the head tells another process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToFollower {
    /// All processes are there: connect to each other.
    Form(u64),
    /// It goes on.
    Beat,
    /// As `worker::Order::Round`.
    Round { worker: usize, group: Group, batches: Vec<(Tick, isize, Arc<Vec<Record>>)>, upper: Tick },
    /// As `worker::Order::Restore`.
    Restore { worker: usize, part: ToldPart },
    /// As `worker::Order::Export`; the pieces belong to the export of this number.
    Export { worker: usize, export: u64, group: Group, tick: Tick },
    /// As `worker::Order::Stop`.
    Stop { worker: usize },
}

/// What a process tells the head.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHead {
    /// It goes on.
    Beat,
    /// As `conductor::Signal::Part`.
    Part { group: Group, worker: usize, upper: Tick, batches: Vec<ToldBatch> },
    /// A worker has taken its share of a part of a snapshot in.
    Restored { worker: usize, result: Result<(), String> },
    /// It was told to end: so must all.
    Leaving,
    /// All of its workers have ended as they were told.
    Ended,
}

/// A piece of a snapshot, of the export of this number.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ToldPiece {
    pub(super) export: u64,
    pub(super) piece: Piece,
}

/// Sets a connection up: whoever does not answer in time is given up.
pub(super) fn set_up(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // A silent connection is probed, so that a link that is cut without a word is noticed.
    // The system counts whole seconds.
    let every = (timeout / 4).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every).with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Has the system give a connection up on which nothing that was sent is acknowledged: probes are sent on a silent one
/// alone. Whoever receives on it must always read.
pub(super) fn always_read(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(timeout))?;
    Ok(())
}

/// Of a connection on which nothing may be said for long, or which is not read for long.
pub(super) fn without_patience(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)
}

/// How often a sign of life is sent.
pub(super) fn beat_every(timeout: Duration) -> Duration {
    timeout / BEATS
}

/// Sends a message.
pub(super) fn send(to: &mut impl Write, message: &impl Serialize, room: &mut Vec<u8>) -> io::Result<()> {
    room.clear();
    codec::frame_into(message, room).map_err(io::Error::other)?;
    to.write_all(room)?;
    to.flush()
}

/// Waits for a message.
pub(super) fn receive<T: DeserializeOwned>(from: &mut impl Read, max_bytes: u32) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > max_bytes {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "what was sent is no message of etalage"));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    codec::decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// Says what an error of a connection means.
pub(super) fn meaning(error: &io::Error, timeout: Duration) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("nothing was heard of it for {timeout:?} (cluster.timeout)")
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "it has ended, or the connection was closed".to_owned()
        }
        _ => error.to_string(),
    }
}
