//! The manifest of a snapshot: a line that names format and checksum, then JSON for people and programs.
//!
//! ```text
//! etalage-snapshot 1 5f0c…            format version, XXH3 of everything behind this line (32 hex)
//! { "tick": …, "sections": [ … ] }
//! ```

use etalage_model::{Position, Tick, hash::hash128};
use serde::{Deserialize, Serialize};

use super::SnapshotError;

/// The format version that is written, and the newest that is read.
pub const SNAPSHOT_VERSION: u32 = 1;

const MAGIC: &str = "etalage-snapshot";

/// What a snapshot is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The tick as of which everything holds.
    pub tick: Tick,
    /// The epoch of the store that it belongs to.
    pub epoch: u64,
    /// When it was begun by the wall clock, in µs since 1970.
    pub created_at_us: u64,
    /// Which version wrote it.
    pub written_by: String,
    /// Stands for the part of the configuration that decides what state is kept.
    pub options: String,
    /// How many records of the log are in it.
    pub records: u64,
    /// Which part of the log that is.
    pub log: LogPart,
    /// What the sequencer remembers beside its sections.
    pub state: State,
    /// All rows.
    pub sections: Vec<Section>,
}

/// The beginning of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPart {
    /// The number of the first frame that is not in it.
    pub next_frame: u64,
    /// First frame and salt of its segments: a segment that was rewritten, since somebody was erased, has another.
    pub segments: Vec<(u64, u32)>,
}

impl LogPart {
    /// Whether it is a part of a log with these segments, as they are now; what was trimmed of it aside.
    pub fn is_of(&self, segments: &[(u64, u32)]) -> bool {
        let begins_at = segments.first().map_or(0, |(first, _)| *first);
        self.next_frame >= begins_at
            && self.segments.iter().filter(|(first, _)| *first >= begins_at).all(|segment| segments.contains(segment))
    }
}

/// What decides how a stream of input goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// True where the wall clock drives pipeline time.
    pub is_live: bool,
    /// True where an event was admitted.
    pub has_event: bool,
    /// How far the partitions of topics have been read.
    pub positions: Vec<SavedPosition>,
}

/// A [`Position`] as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPosition {
    source: String,
    partition: u32,
    next: u64,
}

impl From<Position> for SavedPosition {
    fn from(position: Position) -> SavedPosition {
        let Position { source, partition, next } = position;
        SavedPosition { source: source.into(), partition, next }
    }
}

impl From<SavedPosition> for Position {
    fn from(saved: SavedPosition) -> Position {
        let SavedPosition { source, partition, next } = saved;
        Position { source: source.into(), partition, next }
    }
}

/// The rows of one operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Which part of the pipeline it belongs to: a group of views, or the sequencer.
    pub part: String,
    /// The operator's name.
    pub name: String,
    /// Where its rows are.
    pub chunks: Vec<Chunk>,
}

/// A chunk, as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The hash of its rows, which is its name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// Their length.
    pub bytes: u64,
    /// The length of its file.
    pub stored_bytes: u64,
}

impl Section {
    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.rows).sum()
    }

    /// The length of its rows.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.bytes).sum()
    }
}

impl Manifest {
    /// All chunks, in the order of their sections.
    pub fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.sections.iter().flat_map(|section| &section.chunks)
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.sections.iter().map(Section::rows).sum()
    }

    /// Their length.
    pub fn bytes(&self) -> u64 {
        self.sections.iter().map(Section::bytes).sum()
    }

    /// The length of all chunks as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        self.chunks().map(|chunk| chunk.stored_bytes).sum()
    }

    pub(crate) fn to_file(&self) -> Vec<u8> {
        let json = serde_json::to_string_pretty(self).expect("plain data has a JSON form");
        format!("{MAGIC} {SNAPSHOT_VERSION} {:032x}\n{json}\n", hash128(format!("{json}\n").as_bytes())).into_bytes()
    }

    pub(crate) fn from_file(path: &str, file: &[u8]) -> Result<Manifest, SnapshotError> {
        let damaged = |what: &str| SnapshotError::damaged(path, what);
        let end = file.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("it has no first line"))?;
        let (line, json) = (std::str::from_utf8(&file[..end]).unwrap_or(""), &file[end + 1..]);
        let words: Vec<&str> = line.split(' ').collect();
        let [MAGIC, version, hash] = words[..] else { return Err(damaged("it is no manifest of a snapshot")) };
        // Before the checksum: a later version may make it in another way.
        match version.parse::<u32>() {
            Ok(found) if found > SNAPSHOT_VERSION => {
                return Err(SnapshotError::Newer { path: path.to_owned(), found, known: SNAPSHOT_VERSION });
            }
            Ok(SNAPSHOT_VERSION) => {}
            _ => return Err(damaged("its first line names no version")),
        }
        if format!("{:032x}", hash128(json)) != hash {
            return Err(damaged("its checksum does not match"));
        }
        serde_json::from_slice(json).map_err(|error| damaged(&error.to_string()))
    }
}
