//! `[cluster]`: which processes there are.

use std::{collections::BTreeSet, time::Duration};

use super::{ConfigError, build::Values};
use crate::runtime::cluster::Members;

/// `cluster.timeout` is at least this.
const MIN_TIMEOUT_US: u64 = 1_000_000;

/// `[cluster]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Where each process is reached by the others; none where there is one.
    pub addresses: Vec<String>,
    /// Which of them this one is.
    pub process: usize,
    /// Where it listens; absent for its own address.
    pub listen: Option<String>,
    /// How long nothing may be heard of a process.
    pub timeout_us: u64,
    /// Where values are read; absent for the HTTP interface of the head.
    pub readers: Option<String>,
}

impl Cluster {
    /// The processes; nothing where there is one.
    pub fn members(&self) -> Option<Members> {
        let own = self.addresses.get(self.process)?;
        (self.addresses.len() > 1).then(|| Members {
            addresses: self.addresses.clone(),
            process: self.process,
            listen: self.listen.as_ref().unwrap_or(own).clone(),
            timeout: Duration::from_micros(self.timeout_us),
        })
    }

    /// Puts another number in the place of the configured one.
    ///
    /// # Errors
    /// Where there is no such process.
    pub fn set_process(&mut self, process: usize) -> Result<(), String> {
        self.process = process;
        match self.no_such_process() {
            Some(message) => Err(format!("--process {process}: {message}")),
            None => Ok(()),
        }
    }

    fn no_such_process(&self) -> Option<String> {
        let last = self.addresses.len().saturating_sub(1);
        (self.process > last).then(|| match last {
            0 => "there is one process, 0; name the others in cluster.addresses".to_owned(),
            _ => format!("cluster.addresses names the processes 0 to {last}"),
        })
    }
}

/// The section of `values`.
pub(super) fn cluster(values: &Values, errors: &mut Vec<ConfigError>) -> Cluster {
    let auto = |key: &str| Some(values.text(key).to_owned()).filter(|text| text != "auto");
    let cluster = Cluster {
        addresses: values.list("cluster.addresses"),
        process: values.size("cluster.process"),
        listen: auto("cluster.listen"),
        timeout_us: values.span_us("cluster.timeout"),
        readers: auto("cluster.readers"),
    };
    let listen = cluster.listen.iter().map(|address| ("cluster.listen", address));
    for (key, address) in cluster.addresses.iter().map(|address| ("cluster.addresses", address)).chain(listen) {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            values.object(errors, &[key], format!("`{address}` is no address; write it as `host:port`"));
        }
    }
    let distinct: BTreeSet<&String> = cluster.addresses.iter().collect();
    if distinct.len() < cluster.addresses.len() {
        let message = "names an address twice; each process has its own".to_owned();
        values.object(errors, &["cluster.addresses"], message);
    }
    if cluster.timeout_us < MIN_TIMEOUT_US {
        let message = "is too short: the system probes silent connections once a second; make it 1s or more".to_owned();
        values.object(errors, &["cluster.timeout"], message);
    }
    if let Some(message) = cluster.no_such_process() {
        values.object(errors, &["cluster.process", "cluster.addresses"], message);
    }
    let url = values.text("snapshots.url");
    let is_shared = url.contains("://") || url.starts_with('/');
    if cluster.addresses.len() > 1 && values.text("snapshots.on") == "yes" && !is_shared {
        let message = format!(
            "snapshots.url, `{url}`, lies in the store of one process, and all of a cluster read snapshots; name a place that all of them \
             reach, as a whole path or a URL, or set snapshots.on = \"no\""
        );
        values.object(errors, &["snapshots.url", "cluster.addresses"], message);
    }
    cluster
}
