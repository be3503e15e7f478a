//! What a URL says: pieces of its path and the parameters behind it.

use std::ops::RangeInclusive;

use axum::{extract::FromRequestParts, http::request::Parts};

use crate::errors::ApiError;

/// The pieces of a path, each percent-decoded by itself, so that `%2F` stays inside a field.
///
/// # Errors
/// Where a piece is empty or is no UTF-8.
pub(crate) fn path_pieces(path: &str) -> Result<Vec<String>, ApiError> {
    let piece = |piece: &str| {
        percent_decode(piece)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| ApiError::BadKey(format!("`{piece}` is no field of a key: empty, or not percent-encoded")))
    };
    path.split('/').map(piece).collect()
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The parameters of a URL, in order; a name may come several times.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Refuses parameters that are not `known`: a misspelt one would be ignored in silence.
    pub(crate) fn only(self, known: &[&str]) -> Result<Params, ApiError> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(ApiError::BadParameter(format!(
                "there is no parameter `{name}` here; there are: {}",
                if known.is_empty() { "none".into() } else { known.join(", ") }
            ))),
            None => Ok(self),
        }
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The one value of a parameter.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(ApiError::BadParameter(format!("`{name}` is given more than once"))),
        }
    }

    /// A whole number within a range.
    pub(crate) fn number(&self, name: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize, ApiError> {
        let Some(text) = self.one(name)? else { return Ok(default) };
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            ApiError::BadParameter(format!("`{name}={text}`: it must be a whole number from {least} to {most}"))
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params, ApiError> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        pairs.map(|pairs| Params(pairs.0)).map_err(|error| ApiError::BadParameter(error.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_inside_a_field_stays_there() {
        assert_eq!(path_pieces("category:Home%2FKitchen/7d").unwrap(), ["category:Home/Kitchen", "7d"]);
        assert_eq!(path_pieces("a%252Fb/%c3%a9").unwrap(), ["a%2Fb", "é"]);
        for wrong in ["", "a/", "a//b", "a%2", "a%zz", "%ff"] {
            assert!(path_pieces(wrong).is_err(), "{wrong}");
        }
    }
}
