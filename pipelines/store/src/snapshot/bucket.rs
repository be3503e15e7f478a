//! A bucket of a server as a store of objects: S3 and what speaks like it, Google Cloud Storage, Azure. Only in builds
//! with the feature `cloud`; others say so.

use std::{error::Error, sync::Arc, time::Duration};

use object_store::{ObjectStore, path::Path};
use url::Url;

use super::{SnapshotError, address::Server};

/// What a server says of an error is shown up to here.
const MAX_REASON_CHARS: usize = 600;

/// Why a call ends that nobody waits for any more.
pub(super) const GIVEN_UP: &str = "etalage is stopping";

/// Where a machine of a cloud is asked for its own account, when the environment names none.
const OWN_ACCOUNTS: [&str; 2] = ["169.254.169.254", "metadata.google.internal"];

/// The bucket that `url` names, and where in it snapshots are. Who asks is read from the environment, as `object_store`
/// documents it. A call that fails for a reason that may pass is tried again for `retry_for`.
#[cfg(feature = "cloud")]
pub(super) fn open(
    server: Server,
    url: &Url,
    retry_for: Duration,
) -> object_store::Result<(Arc<dyn ObjectStore>, Path)> {
    use object_store::{
        BackoffConfig, ObjectStoreScheme, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
        gcp::GoogleCloudStorageBuilder,
    };

    /// Between two attempts at most.
    const MAX_PAUSE: Duration = Duration::from_secs(2);
    /// The time is the limit: pauses are drawn, and ten of them may be over within a second.
    const MAX_RETRIES: usize = 1_000;

    let backoff = BackoffConfig { max_backoff: MAX_PAUSE, ..BackoffConfig::default() };
    let retry = RetryConfig { backoff, max_retries: MAX_RETRIES, retry_timeout: retry_for };
    let (_, base) = ObjectStoreScheme::parse(url).map_err(object_store::Error::from)?;
    let store: Arc<dyn ObjectStore> = match server {
        Server::S3 => Arc::new(AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry).build()?),
        Server::Google => {
            Arc::new(GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry).build()?)
        }
        Server::Azure => Arc::new(MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry).build()?),
    };
    Ok((store, base))
}

#[cfg(not(feature = "cloud"))]
pub(super) fn open(_: Server, url: &Url, _: Duration) -> object_store::Result<(Arc<dyn ObjectStore>, Path)> {
    Err(object_store::Error::NotSupported { source: super::check_url(url.as_str()).err().unwrap_or_default().into() })
}

/// What a server said when `action` was tried on `path`, and what to do.
pub(super) fn refused(
    server: Server,
    action: &'static str,
    path: String,
    error: &object_store::Error,
) -> SnapshotError {
    let reason = reason(error);
    let says = |status: [&str; 2]| status.iter().any(|status| reason.contains(&format!("status code: {status}")));
    // Of a list the crate tells the status in its text alone.
    let is_refused = says(["401", "403"])
        || matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. });
    let variables = server.variables();
    let cure = if reason.contains(GIVEN_UP) {
        "the next process takes one".to_owned()
    } else if OWN_ACCOUNTS.iter().any(|host| reason.contains(host)) {
        format!("there are no credentials in the environment ({variables}), and this machine has no account of its own")
    } else if is_refused {
        format!("look at the credentials in the environment ({variables}) and at what they may do in this bucket")
    } else if says(["404", "400"]) {
        "look whether there is such a bucket, and at [snapshots] url".to_owned()
    } else {
        format!("look at the network, at the server, and at the environment ({variables})")
    };
    SnapshotError::Server { action, path, reason: reason.chars().take(MAX_REASON_CHARS).collect(), cure }
}

/// An error with its causes, as far as it does not repeat them.
pub(super) fn reason(error: &object_store::Error) -> String {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        cause = error.source();
    }
    reason
}

#[cfg(all(test, feature = "cloud"))]
mod tests {
    use super::{super::Place, *};

    #[test]
    fn a_bucket_of_each_kind_is_reached_by_its_url() {
        for (server, url, base) in [
            (Server::S3, "s3://bucket/shop/a", "shop/a"),
            (Server::S3, "https://s3.eu-west-1.amazonaws.com/bucket/shop", "shop"),
            (Server::Google, "gs://bucket/shop", "shop"),
            (Server::Azure, "abfss://container@account.dfs.core.windows.net/shop", "shop"),
        ] {
            let (store, path) = open(server, &Url::parse(url).unwrap(), Duration::ZERO).unwrap();
            assert_eq!(path.as_ref(), base, "{url}");
            let made = store.to_string();
            assert!(made.contains("bucket") || made.contains("container"), "{made}");
        }
    }

    #[test]
    fn what_is_missing_in_the_environment_is_told() {
        let error = Place::open("az://container/shop", Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("az://container/shop") && error.contains("AZURE_STORAGE_ACCOUNT_NAME"), "{error}");
    }

    #[test]
    fn a_refusal_is_told_from_a_missing_bucket_and_from_silence() {
        let told = |text: &str| {
            let error = object_store::Error::Generic { store: "S3", source: text.to_owned().into() };
            refused(Server::S3, "list", "s3://bucket/a".into(), &error).to_string()
        };
        let refusal = told("Server returned non-2xx status code: 403 Forbidden: AccessDenied");
        assert!(refusal.contains("cannot list s3://bucket/a") && refusal.contains("credentials"), "{refusal}");
        assert!(told("non-2xx status code: 404 Not Found: NoSuchBucket").contains("such a bucket"));
        assert!(told("connection refused").contains("network"));
        assert!(told("PUT http://169.254.169.254/latest/api/token").contains("no credentials"));
        assert!(told(&"x".repeat(1 << 20)).len() < 1_000, "a server may say much");
    }
}
