//! Keys: who may do what.
//!
//! A *publishable* key (`pk_…`) is safe in a page: it appends events and reads the views that are
//! about nobody in particular. A *secret* key (`sk_…`) may do everything. Only their SHA-256 hashes are
//! configured, and all of them are compared, each in constant time. With no key configured every
//! request may do everything; the server must then listen on loopback only.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use etalage_model::{InputKind, ViewInfo};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{ServeState, errors::ApiError};

/// The hashes of the keys that are let in. `Debug` tells only how many.
#[derive(Clone, Default)]
pub struct Keys {
    publishable: Vec<[u8; 32]>,
    secret: Vec<[u8; 32]>,
}

/// The hash of a key, as configurations hold it: SHA-256 in hexadecimal.
pub fn hash_key(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Keys {
    /// Reads configured hashes, as [`hash_key`] writes them.
    ///
    /// # Errors
    /// A sentence that says which is wrong, without repeating it.
    pub fn parse(publishable: &[String], secret: &[String]) -> Result<Keys, String> {
        let read = |name: &str, hashes: &[String]| {
            let read_one = |(at, text): (usize, &String)| {
                parse_hash(text).ok_or_else(|| {
                    format!(
                        "keys.{name}[{at}] must be the SHA-256 of the key in 64 hexadecimal digits, not the key itself"
                    )
                })
            };
            hashes.iter().enumerate().map(read_one).collect::<Result<Vec<_>, String>>()
        };
        Ok(Keys { publishable: read("publishable", publishable)?, secret: read("secret", secret)? })
    }

    /// True where no key is configured, and every request may do everything.
    pub fn is_empty(&self) -> bool {
        self.publishable.is_empty() && self.secret.is_empty()
    }

    pub(crate) fn access(&self, presented: Option<&str>) -> Result<Access, ApiError> {
        if self.is_empty() {
            return Ok(Access::Secret);
        }
        let hash: [u8; 32] = Sha256::digest(presented.ok_or(ApiError::NoKey)?.as_bytes()).into();
        let among = |hashes: &[[u8; 32]]| {
            let any = hashes.iter().fold(subtle::Choice::from(0), |any, known| any | known.ct_eq(&hash));
            bool::from(any)
        };
        match (among(&self.secret), among(&self.publishable)) {
            (true, _) => Ok(Access::Secret),
            (_, true) => Ok(Access::Publishable),
            _ => Err(ApiError::WrongKey),
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} publishable, {} secret)", self.publishable.len(), self.secret.len())
    }
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok())?
}

/// What a request may do; an extractor that answers 401 where it may do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Publishable,
    Secret,
}

impl Access {
    /// Lets only secret keys pass.
    pub(crate) fn secret(self) -> Result<(), ApiError> {
        match self {
            Access::Secret => Ok(()),
            Access::Publishable => Err(ApiError::Forbidden("this route wants a secret key (sk_…)")),
        }
    }

    /// Lets pass who may read this view.
    pub(crate) fn read(self, view: &ViewInfo) -> Result<(), ApiError> {
        match self {
            Access::Publishable if view.is_personal => {
                Err(ApiError::Forbidden("views of single people want a secret key (sk_…)"))
            }
            _ => Ok(()),
        }
    }

    /// Lets pass who may send this input.
    pub(crate) fn write(self, kind: InputKind) -> Result<(), ApiError> {
        match (self, kind) {
            (Access::Secret, _) | (_, InputKind::Events) => Ok(()),
            _ => Err(ApiError::Forbidden("a publishable key sends events only; stock and catalogue want sk_…")),
        }
    }
}

impl FromRequestParts<ServeState> for Access {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ServeState) -> Result<Access, ApiError> {
        state.options().keys.access(presented(&parts.headers))
    }
}

pub(crate) fn presented(headers: &HeaderMap) -> Option<&str> {
    let own = headers.get("x-etalage-key").and_then(|key| key.to_str().ok());
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_and_never_shown() {
        let hash = hash_key("sk_test");
        assert_eq!(hash_key("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let keys = Keys::parse(&[], std::slice::from_ref(&hash)).unwrap();
        assert_eq!(keys.access(Some("sk_test")).unwrap(), Access::Secret);
        assert!(keys.access(Some("sk_tes")).is_err());
        assert!(keys.access(Some(&hash)).is_err());
        assert!(keys.access(None).is_err());
        assert!(!format!("{keys:?}").contains(&hash[..8]));
        let wrong = Keys::parse(&["pk_plain".into()], &[]).unwrap_err();
        assert!(wrong.contains("publishable[0]") && !wrong.contains("pk_plain"), "{wrong}");
    }
}
