//! How messages are written. Every message carries an `id`, from which a client may go on: `<epoch in hex>-<tick>`;
//! that of `reset` is empty.

use bytes::Bytes;
use etalage_model::{Key, Tick, TickTimes, ViewInfo, key::write_json_str};

use crate::{clock::monotonic_us, json, read_store::ViewId, view_rows::Held};

/// A place in a stream: which store, and which tick of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) epoch: u64,
    pub(crate) tick: Tick,
}

impl EventId {
    /// Reads `<epoch in hex>-<tick>`.
    pub(crate) fn parse(text: &str) -> Option<EventId> {
        let (epoch, tick) = text.split_once('-')?;
        Some(EventId { epoch: u64::from_str_radix(epoch, 16).ok()?, tick: tick.parse().ok()? })
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.tick)
    }
}

/// A key of a view with its value after the tick, or its tombstone.
pub(crate) type Change<'a> = (ViewId, &'a Key, &'a Held);

/// What a message with entries is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All values.
    Snapshot,
    /// What has changed after the tick from which a client goes on.
    Resumed,
    /// What one tick has changed.
    Live,
}

/// A `snapshot` or `changes` message, as of `tick`; nothing of it has changed since that of `id`, which may be earlier.
pub(crate) fn entries<'a>(
    kind: Kind,
    id: EventId,
    tick: Tick,
    times: &TickTimes,
    views: &[ViewInfo],
    changes: impl Iterator<Item = Change<'a>>,
) -> Bytes {
    let mut out = Vec::with_capacity(512);
    head(if kind == Kind::Snapshot { "snapshot" } else { "changes" }, Some(id), tick, &mut out);
    out.push(b',');
    json::times(times, monotonic_us(), kind == Kind::Live, &mut out);
    out.extend_from_slice(b",\"changes\":[");
    for (at, (view, key, held)) in changes.enumerate() {
        let value = held.value();
        out.extend_from_slice(if at > 0 { b",{\"view\":" } else { b"{\"view\":" });
        let view = &views[view];
        write_json_str(view.name, &mut out);
        out.push(b',');
        json::key(view, key, &mut out);
        if value.is_some() {
            json::window_start(view, key, tick, &mut out);
        }
        out.push(b',');
        json::value(value.as_ref(), &mut out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}\n\n");
    out.into()
}

/// Says that nothing has changed since the last message, up to this tick; nor since that of `id`, which may be earlier.
pub(crate) fn heartbeat(id: EventId, tick: Tick, times: &TickTimes) -> Bytes {
    let mut out = Vec::with_capacity(256);
    head("heartbeat", Some(id), tick, &mut out);
    out.push(b',');
    json::times(times, monotonic_us(), false, &mut out);
    out.extend_from_slice(b"}\n\n");
    out.into()
}

/// Says that what the client has is to be thrown away; a snapshot follows. Its id is empty, which makes a client forget
/// the one that it had: should it get no further, it has nothing from which to go on.
pub(crate) fn reset(tick: Tick, reason: &str) -> Bytes {
    let mut out = Vec::with_capacity(128);
    head("reset", None, tick, &mut out);
    out.extend_from_slice(b",\"reason\":");
    write_json_str(reason, &mut out);
    out.extend_from_slice(b"}\n\n");
    out.into()
}

fn head(event: &str, id: Option<EventId>, tick: Tick, out: &mut Vec<u8>) {
    match id {
        Some(id) => json::put(out, format_args!("id: {id}\n")),
        None => out.extend_from_slice(b"id:\n"),
    }
    json::put(out, format_args!("event: {event}\ndata: {{"));
    json::as_of(tick, out);
    json::put(out, format_args!(",\"tick\":{tick}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = EventId { epoch: 0xBEEF, tick: 17 };
        assert_eq!(id.to_string(), "beef-17");
        assert_eq!(EventId::parse("beef-17"), Some(id));
        for wrong in ["", "17", "beef-", "-17", "beef-x", "xyz-1", "beef-17-1"] {
            assert_eq!(EventId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_message_is_one_line_of_data() {
        let bytes = reset(0, "two\nlines");
        assert_eq!(
            &bytes[..],
            b"id:\nevent: reset\ndata: {\"as_of\":\"1970-01-01T00:00:00.000000Z\",\"tick\":0,\"reason\":\"two\\nlines\"}\n\n"
        );
    }
}
