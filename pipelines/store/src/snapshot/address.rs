//! What the address of a place names: a folder, or a bucket of a server. Nothing is opened here, so that a configuration
//! can be checked.

use std::{fmt, path::PathBuf};

use object_store::ObjectStoreScheme;
use url::Url;

/// What an address names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    Folder(PathBuf),
    Bucket(Server, Url),
}

/// Whose server a bucket is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    S3,
    Google,
    Azure,
}

impl Server {
    /// The variables that name who asks, and where.
    pub(super) fn variables(self) -> &'static str {
        match self {
            Server::S3 => {
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (or a role), AWS_REGION, AWS_ENDPOINT (AWS_ALLOW_HTTP=true \
                 for http://)"
            }
            Server::Google => "GOOGLE_SERVICE_ACCOUNT (a file) or the machine's own account",
            Server::Azure => "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY (or a token)",
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Server::S3 => "S3",
            Server::Google => "Google Cloud Storage",
            Server::Azure => "Azure",
        })
    }
}

/// Whether this build can keep snapshots at `url`, as far as its text tells: nothing is opened, nobody is asked.
///
/// # Errors
/// Why it cannot, and what to do. What may be a secret is not repeated.
pub fn check_url(url: &str) -> Result<(), String> {
    match Address::of(url)? {
        Address::Bucket(server, _) if !cfg!(feature = "cloud") => Err(format!(
            "this build of etalage cannot reach {server}; build it with `cargo build --release --features cloud`, or \
             name a folder"
        )),
        _ => Ok(()),
    }
}

/// An address as it may be shown: what could be a secret is left out.
pub(super) fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(parsed) if url.contains("://") && may_tell_a_secret(&parsed) => {
            format!("{}://{}/…", parsed.scheme(), parsed.host_str().unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

/// Keys and signatures stand before the host or behind a question mark, where they stand in an address at all.
fn may_tell_a_secret(url: &Url) -> bool {
    // Azure's addresses name the container there.
    let is_user_key = !url.username().is_empty() && !url.scheme().starts_with("abfs");
    is_user_key || url.password().is_some() || url.query().is_some() || url.fragment().is_some()
}

impl Address {
    /// What `url` names.
    pub(super) fn of(url: &str) -> Result<Address, String> {
        if !url.contains("://") {
            return Ok(Address::Folder(PathBuf::from(url)));
        }
        let parsed = Url::parse(url).map_err(|error| format!("it is no URL: {error}"))?;
        if may_tell_a_secret(&parsed) {
            return Err(
                "credentials do not stand in the URL (nothing may follow `?` or `#`, nor a name or password come before \
                        `@`): they come from the environment"
                    .to_owned(),
            );
        }
        if parsed.scheme() == "file"
            && let Ok(folder) = parsed.to_file_path()
        {
            return Ok(Address::Folder(folder));
        }
        let server = match ObjectStoreScheme::parse(&parsed) {
            Ok((ObjectStoreScheme::AmazonS3, _)) => Server::S3,
            Ok((ObjectStoreScheme::GoogleCloudStorage, _)) => Server::Google,
            Ok((ObjectStoreScheme::MicrosoftAzure, _)) => Server::Azure,
            _ => {
                return Err("known are a folder, file:///folder, s3://bucket/path, gs://bucket/path and \
                            az://container/path"
                    .to_owned());
            }
        };
        Ok(Address::Bucket(server, parsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Option<Server> {
        match Address::of(url) {
            Ok(Address::Bucket(server, _)) => Some(server),
            _ => None,
        }
    }

    #[test]
    fn folders_and_buckets_are_told_apart() {
        assert_eq!(Address::of("snapshots"), Ok(Address::Folder("snapshots".into())));
        assert_eq!(Address::of("file:///var/s"), Ok(Address::Folder("/var/s".into())));
        for (url, expected) in [
            ("s3://bucket", Server::S3),
            ("s3a://bucket/a/b", Server::S3),
            ("https://bucket.s3.eu-west-1.amazonaws.com/a", Server::S3),
            ("gs://bucket/a", Server::Google),
            ("az://container/a", Server::Azure),
            ("abfss://container@account.dfs.core.windows.net/a", Server::Azure),
        ] {
            assert_eq!(server(url), Some(expected), "{url}");
        }
    }

    #[test]
    fn what_is_not_known_says_what_is() {
        for url in ["gopher://somewhere", "s3:///no-bucket", "http://example.org/x", "memory:///", "file://host/x"] {
            let error = check_url(url).unwrap_err();
            assert!(error.contains("s3://bucket/path"), "{url}: {error}");
        }
        assert!(check_url("://").unwrap_err().contains("no URL"));
    }

    #[test]
    fn a_secret_in_an_address_is_refused_and_not_repeated() {
        for url in
            ["s3://me:SECRET@bucket/a", "s3://SECRET@bucket/a", "az://container/a?sig=SECRET", "gs://bucket/a#SECRET"]
        {
            let error = check_url(url).unwrap_err();
            assert!(error.contains("environment") && !error.contains("SECRET"), "{error}");
            assert!(!shown(url).contains("SECRET"), "{}", shown(url));
        }
        assert_eq!(shown("s3://bucket/a"), "s3://bucket/a");
    }

    #[test]
    fn whether_this_build_reaches_a_server_is_known_beforehand() {
        for url in ["s3://bucket/a", "gs://bucket", "az://container"] {
            let checked = check_url(url);
            assert_eq!(checked.is_ok(), cfg!(feature = "cloud"), "{checked:?}");
            assert!(checked.err().is_none_or(|error| error.contains("--features cloud")), "{url}");
        }
    }
}
