//! The parts that every JSON answer is made of: `as_of`, the times of a tick, keys, values.
//! Written straight into one buffer, since values write themselves.

use std::io::Write;

use etalage_model::{Key, KeyText, Micros, Tick, TickTimes, Value, ViewInfo, key::write_json_str};

/// `"as_of":"2010-12-01T08:26:00.000000Z"`
pub(crate) fn as_of(tick: Tick, out: &mut Vec<u8>) {
    put(out, format_args!("\"as_of\":\"{}\"", Micros(tick)));
}

/// `,"window_start":"…"` where the view's windows are spread: from which instant on events count.
pub(crate) fn window_start(view: &ViewInfo, key: &Key, as_of: Tick, out: &mut Vec<u8>) {
    if let Some(at) = view.window_start.as_ref().and_then(|start| start(key, as_of)) {
        put(out, format_args!(",\"window_start\":\"{at}\""));
    }
}

/// `"times":{…}`: when the causes of a tick happened and arrived, when it was sealed, and when
/// this answer was made. Everything but `max_event_time` is in milliseconds since the process
/// started, so that only differences mean something. Freshness is told where the tick is `new`:
/// a value that is read later has not become less fresh by it.
pub(crate) fn times(times: &TickTimes, emitted_us: u64, new: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"times\":{\"max_event_time\":");
    match times.max_event_time {
        Some(at) => put(out, format_args!("\"{at}\"")),
        None => out.extend_from_slice(b"null"),
    }
    let freshness_us = times.first_arrival_us.filter(|_| new).map(|arrival| emitted_us.saturating_sub(arrival));
    for (name, us) in [
        ("first_arrival_ms", times.first_arrival_us),
        ("last_arrival_ms", times.last_arrival_us),
        ("sealed_ms", Some(times.sealed_us)),
        ("emitted_ms", Some(emitted_us)),
        ("freshness_ms", freshness_us),
    ] {
        match us {
            Some(us) => put(out, format_args!(",\"{name}\":{}.{:03}", us / 1000, us % 1000)),
            None => put(out, format_args!(",\"{name}\":null")),
        }
    }
    out.push(b'}');
}

/// `"key":{…}`, its fields named as the view names them.
pub(crate) fn key(view: &ViewInfo, key: &dyn KeyText, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"key\":{");
    let fields = view.key_fields.iter().enumerate().map_while(|(at, name)| Some((name, key.text(at)?)));
    for (at, (name, field)) in fields.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_json_str(name, out);
        out.push(b':');
        write_json_str(field, out);
    }
    out.push(b'}');
}

/// `"value":{…}` or `"value":null`.
pub(crate) fn value(value: Option<&Value>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"value\":");
    match value {
        Some(value) => value.write_json(out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends formatted text.
pub(crate) fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_of_the_process() {
        let mut out = Vec::new();
        let sealed = TickTimes {
            max_event_time: Some(Micros(0)),
            first_arrival_us: Some(1_000),
            last_arrival_us: None,
            sealed_us: 2_050,
        };
        times(&sealed, 3_000, true, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#""times":{"max_event_time":"1970-01-01T00:00:00.000000Z","first_arrival_ms":1.000,"last_arrival_ms":null,"sealed_ms":2.050,"emitted_ms":3.000,"freshness_ms":2.000}"#
        );
    }
}
