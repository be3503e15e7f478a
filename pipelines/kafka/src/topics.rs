//! The topics that etalage writes: their names, how they must be set up, making and checking them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use etalage_model::{Group, Key, Name, Sym, ViewInfo, key::write_json_str};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication},
    consumer::BaseConsumer,
    types::RDKafkaErrorCode,
};

use crate::{
    Brokers, KafkaError, MAX_BATCH_BYTES, MAX_RAW_BYTES, PROGRESS_TOPIC,
    client::{ANSWER_TIMEOUT, Told, is_unknown, metadata, partitions},
};

/// What a broker counts beside values: heads of a batch and of messages, their keys and headers.
const OVERHEAD_BYTES: u64 = 10_000;

/// How often brokers are asked whether they know a topic that was just made.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The topic of a view.
pub fn of_view(prefix: &str, view: &str) -> String {
    format!("{prefix}{view}.v1")
}

/// The change stream of a view.
pub fn of_changes(prefix: &str, view: &str) -> String {
    format!("{prefix}{view}.changes.v1")
}

/// The topic that says how far those of a group's views have come.
pub fn of_progress(prefix: &str, group: Group) -> String {
    match group {
        Group::Shop => format!("{prefix}{PROGRESS_TOPIC}"),
        Group::Customer => format!("{prefix}{}.{PROGRESS_TOPIC}", group.name()),
    }
}

/// A key as it stands in a topic: canonical JSON (RFC 8785), so that equal keys are equal bytes
/// whoever writes them. Its fields stand in the order of their names.
pub fn key(key: &Key, names: &[&str]) -> String {
    let fields: BTreeMap<&str, &str> = names.iter().copied().zip(key.texts()).collect();
    let mut out = vec![b'{'];
    for (at, (name, field)) in fields.into_iter().enumerate() {
        out.extend_from_slice(if at > 0 { b"," } else { b"" });
        write_json_str(name, &mut out);
        out.push(b':');
        write_json_str(field, &mut out);
    }
    out.push(b'}');
    String::from_utf8(out).expect("JSON of texts is UTF-8")
}

/// The key that [`key`] wrote; `None` where it is none of the view's.
pub fn read_key(json: &[u8], view: &ViewInfo) -> Option<Key> {
    let fields: BTreeMap<String, String> = serde_json::from_slice(json).ok()?;
    let known: Vec<&str> = view.key_fields.iter().map_while(|name| fields.get(*name)).map(String::as_str).collect();
    if known.is_empty() || known.len() != fields.len() {
        return None;
    }
    // Who somebody is does not stay in memory for ever.
    Some(match view.is_personal {
        true => Key::of_names(&known.into_iter().map(Name::from).collect::<Vec<_>>()),
        false => Key::new(&known.into_iter().map(Sym::new).collect::<Vec<_>>()),
    })
}

/// A topic as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions a new one gets.
    pub partitions: u32,
    /// Settings that it must have.
    pub settings: BTreeMap<&'static str, String>,
    /// How many bytes it must take at once.
    pub min_message_bytes: u64,
}

/// What is written of which views.
#[derive(Clone, Debug, Default)]
pub struct Written<'a> {
    /// What the name of each topic begins with.
    pub prefix: &'a str,
    /// Each view, and its group.
    pub views: &'a [(&'a str, Group)],
    /// Those of which each change is told, too.
    pub change_streams: &'a [String],
    /// How long every change stays: only what is older may be compacted.
    pub change_retention: Duration,
    /// Where refused messages lie.
    pub quarantine: &'a str,
    /// How many partitions a new topic of a view gets.
    pub partitions: u32,
}

/// The topics that are written.
pub fn specs(written: &Written<'_>) -> Vec<TopicSpec> {
    let Written { prefix, views, change_streams, change_retention, quarantine, partitions } = written;
    let compacted = |name: String, partitions: u32| TopicSpec {
        name,
        partitions,
        settings: BTreeMap::from([("cleanup.policy", "compact".to_owned())]),
        min_message_bytes: MAX_BATCH_BYTES + OVERHEAD_BYTES,
    };
    let of_views = views.iter().map(|(view, _)| compacted(of_view(prefix, view), *partitions));
    let groups: BTreeSet<Group> = views.iter().map(|(_, group)| *group).collect();
    let of_progress = groups.into_iter().map(|group| compacted(of_progress(prefix, group), 1));
    let of_changes = change_streams.iter().map(|view| {
        let mut spec = compacted(of_changes(prefix, view), *partitions);
        // A step holds two values.
        spec.min_message_bytes = 2 * MAX_BATCH_BYTES + OVERHEAD_BYTES;
        let lag = change_retention.as_millis().to_string();
        if views.contains(&(view.as_str(), Group::Customer)) {
            // What was told of somebody who is erased must go in the end.
            spec.settings.insert("max.compaction.lag.ms", lag.clone());
        }
        spec.settings.insert("min.compaction.lag.ms", lag);
        spec
    });
    let quarantine = TopicSpec {
        name: (*quarantine).to_owned(),
        partitions: 1,
        settings: BTreeMap::new(),
        min_message_bytes: MAX_RAW_BYTES as u64 + OVERHEAD_BYTES,
    };
    of_views.chain(of_progress).chain(of_changes).chain([quarantine]).collect()
}

/// Makes the topics that are not there yet, with so many copies of each partition (0 is as many as the
/// brokers make by themselves); gives their names.
///
/// # Errors
/// Where no broker answers, or it does not let us.
pub fn create(brokers: &Brokers, specs: &[TopicSpec], replication: u32) -> Result<Vec<String>, KafkaError> {
    let admin: AdminClient<Told> = brokers.client(&[], Told)?;
    // To the brokers, -1 is as many as they make by themselves.
    let replication = if replication == 0 { -1 } else { replication as i32 };
    let wanted: Vec<NewTopic<'_>> = specs
        .iter()
        .map(|spec| {
            let topic = NewTopic::new(&spec.name, spec.partitions as i32, TopicReplication::Fixed(replication));
            spec.settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT)).operation_timeout(Some(ANSWER_TIMEOUT));
    let made = answer(admin.create_topics(&wanted, &options))?;
    let made = made.map_err(|error| KafkaError::of("make topics", error))?;
    let mut names = Vec::new();
    for result in made {
        match result {
            Ok(name) => names.push(name),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                let error = rdkafka::error::KafkaError::AdminOp(code);
                return Err(KafkaError::of(format!("make the topic `{name}`"), error));
            }
        }
    }
    await_known(brokers, &names)?;
    Ok(names)
}

/// Waits until the brokers tell of topics that were just made: they hear of them one after the other.
fn await_known(brokers: &Brokers, names: &[String]) -> Result<(), KafkaError> {
    let until = Instant::now() + ANSWER_TIMEOUT;
    loop {
        match find(brokers, names.iter().map(String::as_str)) {
            Err(error) if error.is_unknown_topic() && Instant::now() < until => std::thread::sleep(ASK_EVERY),
            found => return found,
        }
    }
}

/// Gives a topic more partitions, so that it has `count`.
///
/// # Errors
/// Where no broker answers, or it does not let us.
pub fn grow(brokers: &Brokers, topic: &str, count: u32) -> Result<(), KafkaError> {
    let admin: AdminClient<Told> = brokers.client(&[], Told)?;
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT)).operation_timeout(Some(ANSWER_TIMEOUT));
    let wanted = NewPartitions::new(topic, count as usize);
    let action = || format!("give `{topic}` more partitions");
    let grown =
        answer(admin.create_partitions(&[wanted], &options))?.map_err(|error| KafkaError::of(action(), error))?;
    let refused = grown.into_iter().find_map(Result::err);
    refused.map_or(Ok(()), |(_, code)| Err(KafkaError::of(action(), rdkafka::error::KafkaError::AdminOp(code))))
}

/// Asks whether topics are there and may be read.
///
/// # Errors
/// Where one is not, or no broker answers.
pub fn find<'a>(brokers: &Brokers, names: impl IntoIterator<Item = &'a str>) -> Result<(), KafkaError> {
    let consumer: BaseConsumer<Told> = brokers.client(&[("allow.auto.create.topics", "false")], Told)?;
    names.into_iter().try_for_each(|name| partitions(&consumer, brokers, name).map(|_| ()))
}

/// What is wrong with the topics, in sentences; nothing where they are as they must be.
///
/// # Errors
/// Where no broker answers.
pub fn check(brokers: &Brokers, specs: &[TopicSpec]) -> Result<Vec<String>, KafkaError> {
    let consumer: BaseConsumer<Told> = brokers.client(&[("allow.auto.create.topics", "false")], Told)?;
    let (mut wrong, mut there) = (Vec::new(), Vec::new());
    for spec in specs {
        let told = metadata(&consumer, brokers, &spec.name, ANSWER_TIMEOUT)?;
        let about = told.topics().first();
        match about.and_then(|about| about.error()).map(RDKafkaErrorCode::from) {
            None if about.is_some() => there.push(spec),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                wrong.push(format!("`{}` may not be looked at by etalage's user", spec.name));
            }
            Some(code) if !is_unknown(code) => {
                let error = rdkafka::error::KafkaError::MetadataFetch(code);
                return Err(KafkaError::of(format!("ask for `{}`", spec.name), error));
            }
            _ => wrong.push(format!("there is no topic `{}`; `etalage topics create` makes it", spec.name)),
        }
    }
    if there.is_empty() {
        return Ok(wrong);
    }
    let admin: AdminClient<Told> = brokers.client(&[], Told)?;
    let asked: Vec<ResourceSpecifier<'_>> = there.iter().map(|spec| ResourceSpecifier::Topic(&spec.name)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
    let told = answer(admin.describe_configs(&asked, &options))?;
    let told = told.map_err(|error| KafkaError::of("ask for the settings of topics", error))?;
    for (spec, found) in there.into_iter().zip(told) {
        let Ok(found) = found else {
            wrong.push(format!("the settings of `{}` may not be looked at by etalage's user", spec.name));
            continue;
        };
        let takes = found.get("max.message.bytes").and_then(|entry| entry.value.as_ref()?.parse::<u64>().ok());
        if let Some(takes) = takes.filter(|takes| *takes < spec.min_message_bytes) {
            wrong.push(format!(
                "`{}` takes no more than {takes} bytes at once, and must take {}: set its max.message.bytes",
                spec.name, spec.min_message_bytes
            ));
        }
        for (setting, value) in &spec.settings {
            let is = found.get(setting).and_then(|entry| entry.value.as_deref()).unwrap_or("unknown");
            if is != value {
                wrong.push(format!(
                    "`{}` has {setting} = {is}, and must have {value}: otherwise {}. `kafka-configs.sh --alter --topic {} --add-config {setting}={value}` sets it",
                    spec.name,
                    match *setting {
                        "min.compaction.lag.ms" | "max.compaction.lag.ms" => "changes are forgotten sooner or later than kafka.change_retention says",
                        _ => "its oldest keys are forgotten, or it grows for ever",
                    },
                    spec.name
                ));
            }
        }
    }
    Ok(wrong)
}

/// Waits for what the admin client answers.
fn answer<T>(asked: impl Future<Output = T>) -> Result<T, KafkaError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime
        .map_err(|error| KafkaError::Other { action: "wait for the brokers".into(), reason: error.to_string() })?;
    Ok(runtime.block_on(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_canonical_and_read_as_it_is_written() {
        let view = |key_fields, is_personal| ViewInfo {
            name: "item.popularity",
            group: Group::Shop,
            key_fields,
            about: "",
            is_personal,
            resolve: None,
            window_start: None,
        };
        let names = &["scope", "window", "item_id"];
        let popular = Key::new(&["country:DE \"x\"", "7d", "22086"].map(Sym::new));
        let json = key(&popular, names);
        assert_eq!(json, r#"{"item_id":"22086","scope":"country:DE \"x\"","window":"7d"}"#);
        assert_eq!(read_key(json.as_bytes(), &view(names, false)), Some(popular));
        let short = Key::new(&[Sym::new("22086")]);
        assert_eq!(key(&short, &["item_id", "location_id"]), r#"{"item_id":"22086"}"#);
        assert_eq!(read_key(br#"{"item_id":"22086"}"#, &view(&["item_id", "location_id"], false)), Some(short));
        let person = read_key(br#"{"profile_id":"14911"}"#, &view(&["profile_id"], true)).unwrap();
        assert_eq!((person.field(0), &person), (None, &Key::of_person("14911".into(), &[])), "nobody is interned");
        for other in [&b"{}"[..], b"x", br#"{"other":"1"}"#, br#"{"scope":"a","item_id":"b"}"#, br#"{"scope":1}"#] {
            assert_eq!(read_key(other, &view(names, false)), None);
        }
    }

    #[test]
    fn topics_of_views_are_compacted() {
        let specs = specs(&Written {
            prefix: "etalage.",
            views: &[("set.bestsellers", Group::Shop), ("profile.value", Group::Customer)],
            change_streams: &["set.bestsellers".to_owned(), "profile.value".to_owned()],
            change_retention: Duration::from_secs(60),
            quarantine: "etalage.quarantine.v1",
            partitions: 6,
        });
        let names: Vec<(&str, u32)> = specs.iter().map(|spec| (spec.name.as_str(), spec.partitions)).collect();
        let expected = [
            ("etalage.set.bestsellers.v1", 6),
            ("etalage.profile.value.v1", 6),
            ("etalage.progress.v1", 1),
            ("etalage.customer.progress.v1", 1),
            ("etalage.set.bestsellers.changes.v1", 6),
            ("etalage.profile.value.changes.v1", 6),
            ("etalage.quarantine.v1", 1),
        ];
        assert_eq!(names, expected);
        let lags = |at: usize| {
            ["min", "max"].map(|end| specs[at].settings.get(&*format!("{end}.compaction.lag.ms")).map(String::as_str))
        };
        assert_eq!([lags(4), lags(5)], [[Some("60000"), None], [Some("60000"), Some("60000")]]);
        assert!(specs[6].settings.is_empty());
        assert_eq!(specs[0].settings["cleanup.policy"], "compact");
    }
}
