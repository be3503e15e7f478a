//! `[kafka]`: what is read from topics, what is written, and how brokers are reached.

use std::path::PathBuf;

use etalage_model::{InputKind, time::parse_span_us};

use super::{ConfigError, build::Values};

/// Settings of librdkafka that are secrets: a configuration says only where they stand.
const SECRETS: [&str; 9] = [
    "sasl.password",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// `[kafka]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// Addresses of brokers; empty: no Kafka.
    pub brokers: Vec<String>,
    /// Further settings of the client.
    pub properties: Vec<(String, String)>,
    /// Settings of the client that nobody may see, and where each stands.
    pub secrets: Vec<(String, SecretPlace)>,
    /// Topics that are read, and what they hold.
    pub topics: Vec<(String, InputKind)>,
    /// The consumer group to which offsets are committed.
    pub group: String,
    /// How often new partitions are looked for.
    pub discover_us: u64,
    /// The topic of refused messages.
    pub quarantine: String,
    /// What the names of written topics begin with.
    pub prefix: String,
    /// How long a value waits for others.
    pub linger_us: u64,
    /// Views whose changes are written at most so often.
    pub publish_interval: Vec<(String, u64)>,
    /// Views of which a change stream is written, too.
    pub change_streams: Vec<String>,
    /// How long every change stays in its stream.
    pub change_retention_us: u64,
    /// Whether values are written in transactions.
    pub is_transactional: bool,
    /// Partitions of new topics.
    pub partitions: u32,
    /// Copies of each; 0 is up to the brokers.
    pub replication: u32,
}

/// Where a secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a file.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

impl Kafka {
    /// True where brokers are configured.
    pub fn is_on(&self) -> bool {
        !self.brokers.is_empty()
    }
}

/// The section, of checked values; what does not fit together is added to `errors`.
pub(super) fn kafka(values: &Values, errors: &mut Vec<ConfigError>) -> Kafka {
    Kafka {
        brokers: values.list("kafka.brokers"),
        properties: properties(values, errors),
        secrets: each(values, errors, "kafka.secrets", secret),
        topics: topics(values, errors),
        group: values.text("kafka.group").to_owned(),
        discover_us: values.span_us("kafka.discover"),
        quarantine: values.text("kafka.quarantine").to_owned(),
        prefix: values.text("kafka.prefix").to_owned(),
        linger_us: values.span_us("kafka.linger"),
        publish_interval: publish_interval(values, errors),
        change_streams: change_streams(values, errors),
        change_retention_us: values.span_us("kafka.change_retention"),
        is_transactional: values.text("kafka.transactions") == "yes",
        partitions: values.size("kafka.partitions") as u32,
        replication: values.size("kafka.replication") as u32,
    }
}

/// What `read` makes of each text of a list; what is wrong is added to `errors`.
fn each<T>(
    values: &Values,
    errors: &mut Vec<ConfigError>,
    key: &'static str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let (right, wrong): (Vec<_>, Vec<_>) = values.list(key).iter().map(|text| read(text)).partition(Result::is_ok);
    wrong.into_iter().filter_map(Result::err).for_each(|message| values.object(errors, &[key], message));
    right.into_iter().flatten().collect()
}

fn topics(values: &Values, errors: &mut Vec<ConfigError>) -> Vec<(String, InputKind)> {
    let inputs = [
        ("kafka.events", InputKind::Events),
        ("kafka.inventory", InputKind::Inventory),
        ("kafka.catalog", InputKind::Catalogue),
    ];
    let of = |(key, kind): (&'static str, InputKind)| values.list(key).into_iter().map(move |topic| (key, topic, kind));
    let topics: Vec<(&'static str, String, InputKind)> = inputs.into_iter().flat_map(of).collect();
    for (at, (key, topic, _)) in topics.iter().enumerate() {
        if let Some((other, ..)) = topics[..at].iter().find(|(_, other, _)| other == topic) {
            let message = format!("`{topic}` stands in {other} already; a topic holds messages of one kind");
            values.object(errors, &[key, other], message);
        }
    }
    if let Some((key, topic, _)) = topics.first().filter(|_| values.list("kafka.brokers").is_empty()) {
        let message = format!("`{topic}` cannot be read without brokers; name some in kafka.brokers");
        values.object(errors, &[key, "kafka.brokers"], message);
    }
    topics.into_iter().map(|(_, topic, kind)| (topic, kind)).collect()
}

/// `name=value`. A message repeats no value: it may be a part of a secret.
fn pair(text: &str) -> Option<(String, &str)> {
    let (name, value) = text.split_once('=')?;
    (!name.trim().is_empty()).then(|| (name.trim().to_owned(), value.trim()))
}

fn properties(values: &Values, errors: &mut Vec<ConfigError>) -> Vec<(String, String)> {
    each(values, errors, "kafka.properties", |text| match pair(text) {
        Some((name, _)) if SECRETS.contains(&name.as_str()) => Err(format!(
            "`{name}` is a secret; write into kafka.secrets where it stands: `{name}=file:/run/secrets/{name}`, or \
             `{name}=env:NAME` for an environment variable"
        )),
        Some((name, value)) => Ok((name, value.to_owned())),
        None => Err("holds what is no setting; write each as `name=value`".to_owned()),
    })
}

fn secret(text: &str) -> Result<(String, SecretPlace), String> {
    let (name, place) = pair(text).ok_or("holds what is no place of a secret; write each as `name=file:PATH`")?;
    let place = match place.split_once(':') {
        Some(("file", path)) if !path.is_empty() => SecretPlace::File(path.into()),
        Some(("env", variable)) if !variable.is_empty() => SecretPlace::Variable(variable.to_owned()),
        _ => return Err(format!("`{name}`: say where it stands, as `{name}=file:PATH` or `{name}=env:NAME`")),
    };
    Ok((name, place))
}

fn change_streams(values: &Values, errors: &mut Vec<ConfigError>) -> Vec<String> {
    let (named, off) = (values.list("kafka.change_streams"), values.list("views.off"));
    for view in named.iter().filter(|view| off.contains(view)) {
        let message = format!("`{view}` stands in views.off, so nothing of it changes");
        values.object(errors, &["kafka.change_streams", "views.off"], message);
    }
    named
}

fn publish_interval(values: &Values, errors: &mut Vec<ConfigError>) -> Vec<(String, u64)> {
    let paces = each(values, errors, "kafka.publish_interval", pace);
    let is_paced = |view: &str| paces.iter().any(|(other, _)| other == view);
    let off = values.list("views.off");
    if etalage_views::audit::SETS.into_iter().any(is_paced)
        && off.iter().any(|view| view == etalage_views::sellable::NAME)
    {
        let message = "sets cannot wait where item.sellable is off: nothing tells when one shows what is sold out";
        values.object(errors, &["kafka.publish_interval"], message.to_owned());
    }
    paces
}

/// Reads `view=duration`.
fn pace(text: &str) -> Result<(String, u64), String> {
    let (view, span) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is no pace; write it as `view=duration`"))?;
    if etalage_views::view(view.trim()).is_none() {
        return Err(format!(
            "`{view}` is no view; there are {}",
            etalage_views::VIEWS.iter().map(|view| view.name).collect::<Vec<_>>().join(", ")
        ));
    }
    let span_us = parse_span_us(span.trim()).map_err(|error| format!("`{text}`: {error}"))?;
    Ok((view.trim().to_owned(), span_us))
}
