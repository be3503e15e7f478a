//! Why a command failed, and its exit code.

use std::io;

use etalage_store::{StoreError, snapshot::SnapshotError};

use crate::{
    config::ConfigErrors,
    runtime::{EraseError, StartError, cluster::ClusterError, snapshot::NotTaken},
};

/// The exit codes, as `--help` explains them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: nothing answers, a file cannot be read, …
  2  the command line or the configuration is wrong; nothing was opened
  3  the store refuses: damaged, in use, or of a newer version
  4  `verify` found a difference
  5  a part of it has panicked: a defect. What was acknowledged is stored";

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The command line is wrong in a way that only its meaning shows.
    #[error("{0}")]
    Usage(String),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be replayed to its end.
    #[error(transparent)]
    Input(#[from] crate::input::InputError),
    /// No server answers.
    #[error(
        "nothing answers at {url} ({reason}); start a server with `etalage run` or `etalage demo`, or name another \
         one with --url"
    )]
    Unreachable {
        /// The address that was tried.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// The server answered, but not with what was asked for.
    #[error("{url} answers {status}: {message}")]
    Refused {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The server's reason.
        message: String,
    },
    /// The answer is not one of etalage.
    #[error("{url} answers something that is no etalage's answer ({reason}); is another program listening there?")]
    Strange {
        /// The address.
        url: String,
        /// What is odd about it.
        reason: String,
    },
    /// Somebody could not be erased.
    #[error("not erased, or not everything: {0}; ask again")]
    Erase(#[from] EraseError),
    /// Snapshots cannot be read, or none could be taken.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// No snapshot could be taken.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// Some snapshots are damaged.
    #[error("{0} of the snapshots cannot be used")]
    Damaged(usize),
    /// Standard output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
    /// Whoever read the output has gone: not an error of ours, and nothing to say.
    #[error("the reader of the output has gone")]
    ReaderGone,
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}; is another server running there? choose another port with --port")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        reason: io::Error,
    },
    /// A broker, or a topic.
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Kafka(#[from] etalage_kafka::KafkaError),
    /// Topics are missing, or not as they must be.
    #[cfg(feature = "kafka")]
    #[error("the topics are not as they must be:\n  {0}")]
    Topics(String),
    /// The pipeline did not start.
    #[error(transparent)]
    Start(StartError),
    /// The cluster did not come together, or is together no more.
    #[error(transparent)]
    Cluster(ClusterError),
    /// The pipeline ended, or what it needs is not to be had.
    #[error("{0}")]
    Failed(String),
    /// `verify` found differences.
    #[error("{0} keys differ between the dataflow and the plain recomputation")]
    Different(usize),
    /// There is no such record.
    #[error("{0}")]
    NotFound(String),
}

impl CliError {
    /// See [`EXIT_CODES`].
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::ReaderGone => 0,
            CliError::Config(_) | CliError::Usage(_) | CliError::Cluster(ClusterError::Refused(_)) => 2,
            CliError::Store(_) | CliError::Snapshot(_) | CliError::Damaged(_) => 3,
            CliError::Start(StartError::ReadBack(_) | StartError::Snapshots(_)) => 3,
            CliError::Different(_) => 4,
            _ => 1,
        }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> CliError {
        match error {
            StartError::Store(error) => CliError::Store(error),
            StartError::Cluster(error) => CliError::Cluster(error),
            error => CliError::Start(error),
        }
    }
}

impl From<ClusterError> for CliError {
    fn from(error: ClusterError) -> CliError {
        CliError::Cluster(error)
    }
}

impl From<io::Error> for CliError {
    /// An error of standard output; whatever else does I/O names its file.
    fn from(error: io::Error) -> CliError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::ReaderGone,
            _ => CliError::Output(error),
        }
    }
}
