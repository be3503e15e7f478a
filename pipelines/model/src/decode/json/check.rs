//! The checks that make a loosely read value into a typed one. Each takes the place of the value
//! and answers with a [`Refusal`] that names it and says what was expected there. An absent
//! value passes every check as `None`.

use std::{borrow::Cow, fmt};

use super::{
    Limits,
    raw::{Scalar, Value},
};
use crate::{Micros, Refusal, Sym, message::category_text, money::micros_of};

/// A checked value, or why there is none.
pub(super) type Checked<T> = Result<T, Refusal>;

/// The object in which a field stands.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// The message itself.
    Message,
    /// A named part of it: `context.device`.
    Part(&'static str),
    /// An element of one of its lists: `properties.items`, 3.
    Element(&'static str, usize),
}

impl Place {
    pub(super) fn at(self, field: &'static str) -> At {
        At(self, field)
    }
}

/// A field's full name; writes itself as `` `properties.items[3].price` ``.
#[derive(Clone, Copy)]
pub(super) struct At(Place, &'static str);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::Message => write!(f, "`{}`", self.1),
            Place::Part(part) => write!(f, "`{part}.{}`", self.1),
            Place::Element(list, index) => write!(f, "`{list}[{index}].{}`", self.1),
        }
    }
}

/// The refusal of a value that is of the wrong type or out of range.
pub(super) fn wrong<T>(value: &Value<'_, T>, at: impl fmt::Display, expected: &str) -> Refusal {
    Refusal::Invalid(format!("{at}: expected {expected}, found {}", value.found()))
}

/// The refusal of a message that lacks a field it cannot do without.
pub(super) fn missing(at: impl fmt::Display, why: &str) -> Refusal {
    Refusal::Invalid(format!("{at} is missing: {why}"))
}

/// The first field that is there, of those that mean the same.
pub(super) fn first<'v, 'a>(fields: &[(&'v Scalar<'a>, &'static str)]) -> (&'v Scalar<'a>, &'static str) {
    *fields.iter().find(|(value, _)| !value.is_absent()).unwrap_or(&fields[0])
}

/// A part that must be an object (or, where `T` is one, a list).
pub(super) fn part<'v, T>(value: &'v Value<'_, T>, at: At, expected: &str) -> Checked<Option<&'v T>> {
    match value {
        Value::Absent => Ok(None),
        Value::Is(part) => Ok(Some(part)),
        other => Err(wrong(other, at, expected)),
    }
}

/// A text of at most `limit` bytes.
pub(super) fn text<'v, T>(
    value: &'v Value<'_, T>,
    at: At,
    (limit, limit_name): (usize, &str),
) -> Checked<Option<&'v str>> {
    match value {
        Value::Absent => Ok(None),
        Value::Text(text) if text.len() <= limit => Ok(Some(text)),
        Value::Text(text) => Err(too_long(text.len(), at, limit, limit_name)),
        other => Err(wrong(other, at, "a text")),
    }
}

fn too_long(bytes: usize, at: At, limit: usize, limit_name: &str) -> Refusal {
    Refusal::Invalid(format!("{at}: {bytes} bytes long, at most {limit} are taken ({limit_name})"))
}

/// An identifier: a text, or an integer in its decimal writing.
pub(super) fn id<'v>(value: &'v Scalar<'_>, at: At, limits: &Limits) -> Checked<Option<Cow<'v, str>>> {
    let limit = limits.max_id_bytes;
    match value {
        Value::Absent => Ok(None),
        Value::Text(text) if text.len() > limit => Err(too_long(text.len(), at, limit, "max_id_bytes")),
        Value::Text(text) => Ok(Some(Cow::Borrowed(text))),
        Value::Unsigned(number) => Ok(Some(Cow::Owned(number.to_string()))),
        Value::Signed(number) => Ok(Some(Cow::Owned(number.to_string()))),
        other => Err(wrong(other, at, "a text or an integer")),
    }
}

/// An identifier as a text of its own.
pub(super) fn owned_id(value: &Scalar<'_>, at: At, limits: &Limits) -> Checked<Option<String>> {
    Ok(id(value, at, limits)?.map(Cow::into_owned))
}

/// An identifier out of a vocabulary.
pub(super) fn id_symbol(value: &Scalar<'_>, at: At, limits: &Limits) -> Checked<Option<Sym>> {
    id(value, at, limits)?.map(|text| symbol(&text)).transpose()
}

/// The message id of a message that is refused, where it can be read.
pub(super) fn readable_id(value: &Scalar<'_>, limits: &Limits) -> Option<String> {
    owned_id(value, Place::Message.at("messageId"), limits).ok().flatten()
}

/// A label: a text out of a vocabulary.
pub(super) fn label<T>(value: &Value<'_, T>, at: At, limits: &Limits) -> Checked<Option<Sym>> {
    text(value, at, (limits.max_label_bytes, "max_label_bytes"))?.map(symbol).transpose()
}

/// The symbol of `text`, if there is room for it.
pub(super) fn symbol(text: &str) -> Checked<Sym> {
    Sym::admit(text).ok_or_else(|| {
        Refusal::Invalid("vocabulary full: no new items, categories or labels are taken; raise max_symbols".to_owned())
    })
}

/// A whole number: a number without a fraction, or a text of one.
pub(super) fn integer(value: &Scalar<'_>, at: At, expected: &str) -> Checked<Option<i64>> {
    /// Up to here every whole number has a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64);
    let number = match value {
        Value::Absent => return Ok(None),
        Value::Unsigned(number) => i64::try_from(*number).ok(),
        Value::Signed(number) => Some(*number),
        Value::Float(number) => whole(*number),
        Value::Text(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse().ok().and_then(whole))
        }
        _ => None,
    };
    number.map(Some).ok_or_else(|| wrong(value, at, expected))
}

/// An amount of money in micros: a number, or a text of one.
pub(super) fn amount(value: &Scalar<'_>, at: At) -> Checked<Option<i64>> {
    let number = match value {
        Value::Absent => return Ok(None),
        Value::Unsigned(number) => Some(*number as f64),
        Value::Signed(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    };
    let number = number.ok_or_else(|| wrong(value, at, "an amount such as 12.5 or \"12.50\""))?;
    micros_of(number).map(Some).ok_or(Refusal::AmountTooLarge)
}

/// `true` or `false`.
pub(super) fn flag(value: &Scalar<'_>, at: At) -> Checked<Option<bool>> {
    match value {
        Value::Absent => Ok(None),
        Value::Bool(flag) => Ok(Some(*flag)),
        other => Err(wrong(other, at, "true or false")),
    }
}

/// An instant: RFC 3339, or milliseconds since the epoch.
pub(super) fn time(value: &Scalar<'_>, at: At) -> Checked<Option<Micros>> {
    let instant = match value {
        Value::Absent => return Ok(None),
        Value::Text(text) => Micros::parse(text),
        Value::Unsigned(millis) => Micros::from_millis(*millis),
        Value::Float(millis) if millis.fract() == 0.0 && *millis >= 0.0 => Micros::from_millis(*millis as u64),
        _ => None,
    };
    let expected = "a time after 1970 as RFC 3339 (2026-11-21T21:30:00Z) or in whole milliseconds since 1970";
    instant.map(Some).ok_or_else(|| wrong(value, at, expected))
}

/// An instant in microseconds since the epoch.
pub(super) fn time_micros(value: &Scalar<'_>, at: At) -> Checked<Option<Micros>> {
    let expected = "whole microseconds since 1970";
    let Some(micros) = integer(value, at, expected)? else { return Ok(None) };
    let instant = u64::try_from(micros).ok().filter(|micros| Micros(0).plus(*micros).0 == *micros);
    instant.map(|micros| Some(Micros(micros))).ok_or_else(|| wrong(value, at, expected))
}

/// A category: a list is the levels of its path; a text is split at ` > `, `>` or `/`.
pub(super) fn category(value: &Value<'_, Vec<Scalar<'_>>>, at: At, limits: &Limits) -> Checked<Option<Sym>> {
    let level_limit = (limits.max_label_bytes, "max_label_bytes");
    match value {
        Value::Absent => Ok(None),
        Value::Is(levels) => {
            let levels: Vec<&str> =
                levels.iter().filter_map(|level| text(level, at, level_limit).transpose()).collect::<Checked<_>>()?;
            path(&levels, at, limits)
        }
        Value::Text(written) => {
            let separator = if written.contains('>') { '>' } else { '/' };
            let levels: Vec<&str> = written.split(separator).collect();
            path(&levels, at, limits)
        }
        other => Err(wrong(other, at, "a text such as `Home > Kitchen` or a list of texts")),
    }
}

/// The symbol of a category path.
pub(super) fn path(levels: &[&str], at: At, limits: &Limits) -> Checked<Option<Sym>> {
    let limit = limits.max_category_levels;
    if levels.len() > limit {
        let count = levels.len();
        return Err(Refusal::Invalid(format!("{at}: {count} levels, at most {limit} are taken (max_category_levels)")));
    }
    if let Some(level) = levels.iter().find(|level| level.len() > limits.max_label_bytes) {
        return Err(too_long(level.len(), at, limits.max_label_bytes, "max_label_bytes"));
    }
    category_text(levels.iter().copied()).map(|text| symbol(&text)).transpose()
}
