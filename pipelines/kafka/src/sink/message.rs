//! What stands in messages beside a value: headers, and progress.

use etalage_model::{Group, Micros, Tick, TickTimes, Value, key::write_json_str};
use rdkafka::message::{Header, OwnedHeaders};

use super::output::json;

/// When the causes of a value happened and arrived, when it was sealed and sent. `now` is both clocks:
/// microseconds of the process, in which `times` are, and the wall clock.
pub(super) fn headers(as_of: Tick, times: &TickTimes, now: (u64, Micros)) -> OwnedHeaders {
    let (now_us, now) = now;
    let wall = |us: u64| now.minus(now_us.saturating_sub(us));
    let known = [
        ("as-of", Some(Micros(as_of))),
        ("max-event-time", times.max_event_time),
        ("first-ingested-at", times.first_arrival_us.map(wall)),
        ("last-ingested-at", times.last_arrival_us.map(wall)),
        ("sealed-at", Some(wall(times.sealed_us))),
        ("emitted-at", Some(now)),
    ];
    let told = known.into_iter().filter_map(|(key, at)| at.map(|at| (key, at.to_string())));
    told.fold(OwnedHeaders::new(), |headers, (key, at)| headers.insert(Header { key, value: Some(&at) }))
}

/// `{"as_of","before","after"}`
pub(super) fn change(as_of: Tick, before: Option<&Value>, after: Option<&Value>) -> String {
    format!(r#"{{"as_of":"{}","before":{},"after":{}}}"#, Micros(as_of), json(before), json(after))
}

/// The key of what is told of progress.
pub(super) fn progress_key(group: Group) -> String {
    format!(r#"{{"group":"{}"}}"#, group.name())
}

/// `{"group","as_of","tick","offsets":{topic:{partition:offset behind the last}}}`
pub(super) fn progress<'a, E>(group: Group, tick: Tick, ends: impl Iterator<Item = (&'a str, E)>) -> String
where
    E: Iterator<Item = (u32, u64)>,
{
    let (group, as_of) = (group.name(), Micros(tick));
    let head = format!(r#"{{"group":"{group}","as_of":"{as_of}","tick":{tick},"offsets":{{"#);
    let mut out = head.into_bytes();
    for (at, (topic, ends)) in ends.enumerate() {
        out.extend_from_slice(if at > 0 { b"," } else { b"" });
        write_json_str(topic, &mut out);
        let ends: Vec<String> = ends.map(|(partition, end)| format!("\"{partition}\":{end}")).collect();
        out.extend_from_slice(format!(":{{{}}}", ends.join(",")).as_bytes());
    }
    out.extend_from_slice(b"}}");
    String::from_utf8(out).expect("JSON of texts is UTF-8")
}
