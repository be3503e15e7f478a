//! The bytes of the log, format version 2. Integers are little endian.
//!
//! ```text
//! segment file    log-<first_seq, 20 digits>.seg
//! +--------------+-------+-------+-- … --+
//! | segment head | frame | frame |       |
//! +--------------+-------+-------+-- … --+
//!
//! segment head, 64 bytes                       frame head, 36 bytes, then the payload
//!   0  magic "etalage"                           0  magic E7 46 52 A9
//!   7  format version                            4  payload_bytes   u32
//!   8  epoch           u64                       8  seq             u64
//!  16  first_seq       u64                      16  tick            u64
//!  24  records_before  u64                      24  count           u32
//!  32  tick_before     u64                      28  payload_crc     u32
//!  40  previous_seq    u64                      32  crc32 of 0..32, begun with the salt
//!  48  previous_bytes  u64
//!  56  salt            u32
//!  60  crc32 of 0..60
//! ```
//!
//! The payload is the frame's records and its binding as [`etalage_model::codec`] encodes the pair.
//! In a segment of version 1 it is the records alone, as a list.
//!
//! The salt is drawn for each segment and never shown: a sender cannot put bytes into a message
//! that would pass for a frame when a torn tail is searched for one.

use etalage_model::Tick;

/// The format version that is written, and the newest that is read.
pub const FORMAT_VERSION: u8 = 2;

pub(crate) const SEGMENT_HEAD_BYTES: usize = 64;
pub(crate) const FRAME_HEAD_BYTES: usize = 36;

const SEGMENT_MAGIC: [u8; 7] = *b"etalage";
pub(crate) const FRAME_MAGIC: [u8; 4] = [0xE7, b'F', b'R', 0xA9];

/// The first bytes of a segment: what it is part of, and what came before it, so that opening
/// the log needs to read frames of the last segment only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) version: u8,
    pub(crate) epoch: u64,
    /// Number of its first frame; frames count from 0 through all segments.
    pub(crate) first_seq: u64,
    /// Records in all segments before.
    pub(crate) records_before: u64,
    /// Tick of the last frame before; 0 where there is none.
    pub(crate) tick_before: Tick,
    /// `first_seq` of the segment before; its own where there is none.
    pub(crate) previous_seq: u64,
    /// Length of the segment before; 0 where there is none.
    pub(crate) previous_bytes: u64,
    pub(crate) salt: u32,
}

/// Why bytes are no segment head, or no manifest.
pub(crate) enum BadHead {
    Newer(u8),
    Broken(&'static str),
}

impl SegmentHead {
    pub(crate) fn to_bytes(self) -> [u8; SEGMENT_HEAD_BYTES] {
        let mut bytes = [0; SEGMENT_HEAD_BYTES];
        bytes[..7].copy_from_slice(&SEGMENT_MAGIC);
        bytes[7] = self.version;
        let words =
            [self.epoch, self.first_seq, self.records_before, self.tick_before, self.previous_seq, self.previous_bytes];
        for (place, word) in bytes[8..56].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[56..60].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn read(bytes: &[u8; SEGMENT_HEAD_BYTES]) -> Result<SegmentHead, BadHead> {
        if bytes[..7] != SEGMENT_MAGIC {
            return Err(BadHead::Broken("it does not begin as a segment of etalage's log does"));
        }
        // Before the checksum: a later version may place it elsewhere.
        if bytes[7] > FORMAT_VERSION {
            return Err(BadHead::Newer(bytes[7]));
        }
        if crc32fast::hash(&bytes[..60]) != u32_at(bytes, 60) || bytes[7] == 0 {
            return Err(BadHead::Broken("the checksum of the segment's head does not match"));
        }
        Ok(SegmentHead {
            version: bytes[7],
            epoch: u64_at(bytes, 8),
            first_seq: u64_at(bytes, 16),
            records_before: u64_at(bytes, 24),
            tick_before: u64_at(bytes, 32),
            previous_seq: u64_at(bytes, 40),
            previous_bytes: u64_at(bytes, 48),
            salt: u32_at(bytes, 56),
        })
    }
}

/// Version and salt in the head of a segment, unchecked: they stay as they are while the rest of a head
/// is written over.
pub(crate) fn version_and_salt(bytes: &[u8; SEGMENT_HEAD_BYTES]) -> (u8, u32) {
    (bytes[7], u32_at(bytes, 56))
}

/// The first bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) payload_bytes: u32,
    pub(crate) seq: u64,
    pub(crate) tick: Tick,
    /// Records in the payload.
    pub(crate) count: u32,
    pub(crate) payload_crc: u32,
}

impl FrameHead {
    pub(crate) fn to_bytes(self, salt: u32) -> [u8; FRAME_HEAD_BYTES] {
        let mut bytes = [0; FRAME_HEAD_BYTES];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.tick.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.count.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = salted_crc(&bytes[..32], salt);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The head that `bytes` begin with; `None` where they do not begin with an intact one.
    pub(crate) fn read(bytes: &[u8], salt: u32) -> Option<FrameHead> {
        let bytes = bytes.get(..FRAME_HEAD_BYTES)?;
        let intact = bytes[..4] == FRAME_MAGIC && salted_crc(&bytes[..32], salt) == u32_at(bytes, 32);
        intact.then(|| FrameHead {
            payload_bytes: u32_at(bytes, 4),
            seq: u64_at(bytes, 8),
            tick: u64_at(bytes, 16),
            count: u32_at(bytes, 24),
            payload_crc: u32_at(bytes, 28),
        })
    }
}

/// The file name of the segment that begins with frame `first_seq`.
pub(crate) fn segment_name(first_seq: u64) -> String {
    format!("log-{first_seq:020}.seg")
}

/// The number in a name that [`segment_name`] made.
pub(crate) fn segment_seq(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".seg")?;
    let seq = digits.parse().ok()?;
    (segment_name(seq) == name).then_some(seq)
}

fn salted_crc(bytes: &[u8], salt: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: SegmentHead = SegmentHead {
        version: FORMAT_VERSION,
        epoch: 0x0123_4567_89AB_CDEF,
        first_seq: 17,
        records_before: 4_711,
        tick_before: 1_291_191_960_000_000,
        previous_seq: 3,
        previous_bytes: 67_108_000,
        salt: 0xDEAD_BEEF,
    };
    const FRAME: FrameHead = FrameHead { payload_bytes: 1_000, seq: 18, tick: 5, count: 7, payload_crc: 0x55AA_55AA };

    #[test]
    fn heads_come_back_and_every_flipped_bit_is_seen() {
        let segment = SEGMENT.to_bytes();
        assert!(SegmentHead::read(&segment).is_ok_and(|head| head == SEGMENT));
        for bit in 0..SEGMENT_HEAD_BYTES * 8 {
            let mut flipped = segment;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHead::read(&flipped).is_err(), "bit {bit}");
        }
        let frame = FRAME.to_bytes(9);
        assert_eq!(FrameHead::read(&frame, 9), Some(FRAME));
        assert_eq!(FrameHead::read(&frame, 10), None, "another segment's salt");
        for bit in 0..FRAME_HEAD_BYTES * 8 {
            let mut flipped = frame;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHead::read(&flipped, 9), None, "bit {bit}");
        }
    }

    #[test]
    fn only_our_own_names_are_segments() {
        assert_eq!(segment_name(42), "log-00000000000000000042.seg");
        assert_eq!(segment_seq(&segment_name(u64::MAX)), Some(u64::MAX));
        for name in ["log-42.seg", "log-00000000000000000042.seg.new", "log-+0000000000000000042.seg", "store.lock"] {
            assert_eq!(segment_seq(name), None, "{name}");
        }
    }
}
