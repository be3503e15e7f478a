//! A pipeline with its server: what `run`, `demo` and `replay --serve` share.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use etalage_model::{Changes, ViewInfo};
use etalage_serve::{ReadStore, ServeState, StoreOptions};
use etalage_views::{
    people::{Limit, identity},
    profile::identifiers::{self, identifiers_of},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::CliError;
use crate::{
    config::Config,
    runtime::{
        ClockMode, Door, Identify, KeepRefused, Pipeline, PipelineOptions, cluster::Joined, shop_options,
        snapshot::Snapshots,
    },
};

/// How often histograms are folded and process figures are read.
const UPKEEP: Duration = Duration::from_secs(5);

/// Bounds of latency histograms, in seconds.
const LATENCY_BUCKETS_S: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// What else a pipeline is connected to.
#[derive(Default)]
pub(super) struct Beside {
    /// Gets the sealed ticks, after the server.
    pub(super) reader: Option<Box<dyn Changes>>,
    /// Called when state is complete.
    pub(super) begin: Option<Box<dyn FnOnce() + Send>>,
    /// Keeps what is refused of topics, where the pipeline is fed by some.
    pub(super) refused: Option<Box<dyn KeepRefused>>,
    /// Snapshots to start from, and to take.
    pub(super) snapshots: Option<Snapshots>,
    /// The other processes of the cluster.
    pub(super) others: Option<Joined>,
}

/// A running pipeline and its server.
pub(super) struct Serving {
    pub(super) pipeline: Pipeline,
    pub(super) address: SocketAddr,
    http: Http,
}

impl Serving {
    /// Binds, opens, starts. Requests are answered from the beginning; `readyz` and inputs wait
    /// until the log is read back.
    pub(super) fn start(
        config: &Config,
        dir: &Path,
        clock: ClockMode,
        mode: &str,
        beside: Beside,
    ) -> Result<Serving, CliError> {
        Serving::start_on(listener(config)?, config, dir, (clock, mode), beside)
    }

    /// As [`Serving::start`], at an address that is bound already.
    pub(super) fn start_on(
        listener: TcpListener,
        config: &Config,
        dir: &Path,
        (clock, mode): (ClockMode, &str),
        beside: Beside,
    ) -> Result<Serving, CliError> {
        let address = address_of(&listener, config)?;
        let metrics = metrics_recorder();
        let views = etalage_views::infos(&shop_options(config));
        let store = ReadStore::new(&views, store_options(config));
        let ready = store.clone();
        let mut readers: Vec<Box<dyn Changes>> = vec![Box::new(store.clone())];
        readers.extend(beside.reader);
        let begin = beside.begin;
        let identify = identify(&views, store.clone());
        let options = PipelineOptions {
            served: Some(store.clone()),
            clock,
            readers,
            on_ready: Box::new(move |tick| {
                ready.begin(tick);
                begin.into_iter().for_each(|begin| begin());
            }),
            refused: beside.refused,
            identify,
            snapshots: beside.snapshots,
            others: beside.others,
        };
        let pipeline = Pipeline::start(config, dir, options)?;
        let mut serve = config.serve_options();
        serve.mode = mode.to_owned();
        let render = metrics.clone();
        serve.metrics = Arc::new(move || render.render());
        let state = ServeState::new(views, pipeline.edition(), store, Arc::new(pipeline.door()), serve);
        let http = Http::start(listener, state, metrics)?;
        Ok(Serving { pipeline, address, http })
    }

    /// The way in.
    pub(super) fn door(&self) -> Door {
        self.pipeline.door()
    }

    /// Ends streams, then the server, then the pipeline.
    pub(super) fn stop(self) {
        self.pipeline.give_up_snapshots();
        self.pipeline.rest();
        self.http.stop();
        self.pipeline.stop();
    }
}

/// The thread that answers requests.
pub(super) struct Http {
    state: ServeState,
    thread: std::thread::JoinHandle<std::io::Result<()>>,
}

impl Http {
    /// Serves until it is stopped.
    pub(super) fn start(listener: TcpListener, state: ServeState, metrics: PrometheusHandle) -> Result<Http, CliError> {
        let serving = state.clone();
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("http").build()?;
            runtime.block_on(async {
                tokio::spawn(upkeep(metrics));
                etalage_serve::serve(tokio::net::TcpListener::from_std(listener)?, serving).await
            })
        });
        Ok(Http { state, thread: thread.map_err(crate::runtime::StartError::Thread)? })
    }

    /// Ends streams, then the server.
    pub(super) fn stop(self) {
        self.state.shutdown();
        match self.thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the server failed"),
            Err(_) => tracing::error!("the server's thread ended with a panic"),
        }
    }
}

/// Binds the address of the HTTP interface.
pub(super) fn listener(config: &Config) -> Result<TcpListener, CliError> {
    let address = config.server.listen;
    let bound = TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|reason| CliError::Listen { address, reason })
}

/// The address that a listener has got.
pub(super) fn address_of(listener: &TcpListener, config: &Config) -> Result<SocketAddr, CliError> {
    listener.local_addr().map_err(|reason| CliError::Listen { address: config.server.listen, reason })
}

pub(super) fn store_options(config: &Config) -> StoreOptions {
    StoreOptions {
        group_lag_max_us: config.time.group_lag_max_us,
        max_kept_changes: config.snapshots.max_kept_changes,
        ..StoreOptions::default()
    }
}

/// Tells who belongs together from what is served; nobody can where one of the views that know it is off.
pub(super) fn identify(views: &[ViewInfo], store: ReadStore) -> Option<Identify> {
    let is_on = |name| views.iter().any(|view| view.name == name);
    let knows = is_on(identity::NAME) && is_on(identifiers::NAME);
    knows.then(|| -> Identify { Arc::new(move |text| identifiers_of(text, |view, key| store.value(view, key))) })
}

/// The process's metrics. A second pipeline in one process shares those of the first.
pub(super) fn metrics_recorder() -> PrometheusHandle {
    static RECORDER: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    let install = || {
        let suffix = Matcher::Suffix("_seconds".into());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(suffix, LATENCY_BUCKETS_S);
        let builder = builder.expect("the bounds are not empty");
        let handle = builder.install_recorder().expect("the first recorder of the process");
        describe();
        handle
    };
    RECORDER.get_or_init(install).clone()
}

fn describe() {
    metrics::describe_counter!(
        "etalage_stock_violations_total",
        "Items published in a set while not sellable; must stay 0"
    );
    // What an alert looks at is there before it first counts.
    for name in [
        "etalage_stock_violations_total",
        "etalage_store_errors_total",
        "etalage_snapshot_errors_total",
        "etalage_quarantine_lost_total",
        "etalage_ingest_duplicates_total",
        "etalage_ingest_late_total",
    ] {
        metrics::counter!(name).increment(0);
    }
    metrics::gauge!("etalage_clock_astray").set(0.0);
    metrics::describe_counter!("etalage_ingest_stored_total", "Messages stored, by kind");
    metrics::describe_counter!("etalage_ingest_duplicates_total", "Messages that were stored before");
    metrics::describe_counter!("etalage_ingest_late_total", "Messages older than every window when they were stored");
    metrics::describe_counter!("etalage_quarantine_total", "Messages refused, by reason");
    metrics::describe_counter!("etalage_ticks_sealed_total", "Ticks published");
    metrics::describe_counter!("etalage_people_limit_hits_total", "How often a limit of a person was hit");
    metrics::describe_counter!("etalage_money_overflow_total", "Published sums of money that did not fit 64 bits");
    metrics::describe_histogram!("etalage_commit_seconds", "Time to append one group commit to the log");
    metrics::describe_gauge!("etalage_read_back_bytes", "Bytes of the log that this start had to read back");
    metrics::describe_gauge!("etalage_read_back_left_bytes", "Those of them that are still to be read");
    metrics::describe_gauge!("etalage_read_back_records", "Records that this start has read back");
    metrics::describe_histogram!("etalage_snapshot_seconds", "Time to take a snapshot");
    metrics::describe_gauge!("etalage_snapshot_bytes", "Bytes of the newest snapshot, as it is stored");
    metrics::describe_gauge!("etalage_state_rows", "Rows of state in the newest snapshot, by section");
    metrics::describe_gauge!("etalage_state_bytes", "Their bytes, before they are compressed");
    metrics::describe_gauge!("etalage_snapshot_tick_seconds", "The tick of the newest snapshot, in seconds since 1970");
    metrics::describe_counter!("etalage_snapshot_errors_total", "Snapshots that could not be taken");
    metrics::describe_gauge!("etalage_clock_astray", "1 while the wall clock is too far off to be followed");
    metrics::describe_gauge!("etalage_backlog_records", "Stored records that the dataflow has not taken yet");
    metrics::describe_gauge!("etalage_dedup_ids", "Message ids that are remembered");
    metrics::describe_gauge!("etalage_dedup_horizon_seconds", "For how long message ids are remembered at present");
}

pub(super) async fn upkeep(metrics: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP);
    loop {
        interval.tick().await;
        metrics.run_upkeep();
        let overflows = etalage_views::totals::OVERFLOWS.load(std::sync::atomic::Ordering::Relaxed);
        metrics::counter!("etalage_money_overflow_total").absolute(overflows);
        for limit in Limit::ALL {
            metrics::counter!("etalage_people_limit_hits_total", "limit" => limit.name()).absolute(limit.hits());
        }
    }
}
