//! Keys and values as every output writes them: JSON objects with named fields.

use std::{
    any::Any,
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{Name, Sym, hash::hash64};

/// The most fields a key has.
pub const MAX_KEY_FIELDS: usize = 3;

/// A view's key: up to three texts, ordered field by field.
#[derive(Clone, Serialize, Deserialize)]
pub struct Key(Fields);

/// The fields of a key: interned where they are of a vocabulary, shared where they name a person. There
/// are many keys, most of vocabularies alone: this keeps them small.
#[derive(Clone, Serialize, Deserialize)]
enum Fields {
    Vocabulary([Option<Sym>; MAX_KEY_FIELDS]),
    Person(Name, [Option<Sym>; MAX_KEY_FIELDS - 1]),
    Names(Arc<[Name]>),
}

/// A field of a key.
enum Field<'a> {
    Vocabulary(Sym),
    Person(&'a Name),
}

impl<'a> Field<'a> {
    fn text(self) -> &'a str {
        match self {
            Field::Vocabulary(sym) => sym.as_str(),
            Field::Person(name) => name,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        match (&self.0, &other.0) {
            (Fields::Vocabulary(one), Fields::Vocabulary(other)) => one == other,
            _ => self.texts().eq(other.texts()),
        }
    }
}
impl Eq for Key {}
impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        match (&self.0, &other.0) {
            (Fields::Vocabulary(one), Fields::Vocabulary(other)) => one.cmp(other),
            _ => self.texts().cmp(other.texts()),
        }
    }
}
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for at in 0..MAX_KEY_FIELDS {
            state.write_u64(match self.at(at) {
                Some(Field::Vocabulary(sym)) => sym.stable_hash(),
                Some(Field::Person(name)) => hash64(name.as_bytes()),
                None => 0,
            });
        }
    }
}

impl Key {
    /// The key of these fields, at most [`MAX_KEY_FIELDS`].
    pub fn new(fields: &[Sym]) -> Key {
        Key(Fields::Vocabulary(std::array::from_fn(|at| fields.get(at).copied())))
    }

    /// The key of a person, and of what `more` says.
    pub fn of_person(person: Name, more: &[Sym]) -> Key {
        Key(Fields::Person(person, std::array::from_fn(|at| more.get(at).copied())))
    }

    /// The key of texts that are not interned, at most [`MAX_KEY_FIELDS`].
    pub fn of_names(names: &[Name]) -> Key {
        Key(Fields::Names(names.iter().take(MAX_KEY_FIELDS).cloned().collect()))
    }

    /// The texts of the fields, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        (0..MAX_KEY_FIELDS).map_while(|at| self.at(at).map(Field::text))
    }

    /// Field `at`, if the key has it and it is of a vocabulary.
    pub fn field(&self, at: usize) -> Option<Sym> {
        match self.at(at)? {
            Field::Vocabulary(sym) => Some(sym),
            Field::Person(_) => None,
        }
    }

    fn at(&self, at: usize) -> Option<Field<'_>> {
        match &self.0 {
            Fields::Vocabulary(fields) => fields.get(at).copied().flatten().map(Field::Vocabulary),
            Fields::Person(person, more) => match at.checked_sub(1) {
                None => Some(Field::Person(person)),
                Some(at) => more.get(at).copied().flatten().map(Field::Vocabulary),
            },
            Fields::Names(names) => names.get(at).map(Field::Person),
        }
    }

    /// Appends the canonical JSON object, its fields named by `names`.
    pub fn write_json(&self, names: &[&str], out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (name, field)) in names.iter().zip(self.texts()).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_json_str(name, out);
            out.push(b':');
            write_json_str(field, out);
        }
        out.push(b'}');
    }

    /// The canonical JSON object as text.
    pub fn json(&self, names: &[&str]) -> String {
        let mut out = Vec::new();
        self.write_json(names, &mut out);
        String::from_utf8(out).expect("JSON of texts is UTF-8")
    }

    /// The path form: fields joined by `/`, with `%` and `/` in a field written `%25` and `%2F`.
    pub fn path(&self) -> String {
        self.texts().map(escape).collect::<Vec<_>>().join("/")
    }
}

/// The texts of a key's fields, interned or not: a map of [`Key`]s is searched by what a request
/// says without interning it (texts of strangers must not stay in memory).
pub trait KeyText {
    /// The text of field `at`, if there is one.
    fn text(&self, at: usize) -> Option<&str>;
}

impl KeyText for Key {
    fn text(&self, at: usize) -> Option<&str> {
        self.at(at).map(Field::text)
    }
}

impl<'a> Borrow<dyn KeyText + 'a> for Key {
    fn borrow(&self) -> &(dyn KeyText + 'a) {
        self
    }
}

impl PartialEq for dyn KeyText + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for dyn KeyText + '_ {}
impl PartialOrd for dyn KeyText + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for dyn KeyText + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        let fields = (0..MAX_KEY_FIELDS).map(|at| self.text(at).cmp(&other.text(at)));
        fields.fold(Ordering::Equal, Ordering::then)
    }
}

/// A whole key as a request wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyFields(pub Vec<String>);

impl KeyText for KeyFields {
    fn text(&self, at: usize) -> Option<&str> {
        self.0.get(at).map(String::as_str)
    }
}

impl KeyFields {
    /// Reads the path form or a JSON object with the leading fields of `names`.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn parse(text: &str, names: &[&str]) -> Result<KeyFields, String> {
        let KeyPrefix { mut whole, partial } = KeyPrefix::parse(text, names)?;
        whole.extend(partial);
        if whole.is_empty() || whole.iter().any(String::is_empty) {
            return Err(format!("`{text}` is no key: it needs {}", names.join("/")));
        }
        Ok(KeyFields(whole))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// The beginning of a key: whole leading fields, then perhaps the first characters of the next.
///
/// Written as a path (`global/7d/22`: the last piece may be partial; a closing `/` makes it
/// whole) or as a JSON object (`{"scope":"global","window":"7d"}`: every field is whole).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyPrefix {
    /// Fields that must be equal.
    pub whole: Vec<String>,
    /// What the field after them must begin with.
    pub partial: Option<String>,
}

impl KeyPrefix {
    /// Reads either form; an empty text is the prefix of every key.
    ///
    /// # Errors
    /// A sentence that names the wrong field, or says that there are too many.
    pub fn parse(text: &str, names: &[&str]) -> Result<KeyPrefix, String> {
        let prefix = if text.starts_with('{') { Self::parse_json(text, names)? } else { Self::parse_path(text) };
        if prefix.whole.len() + usize::from(prefix.partial.is_some()) > names.len() {
            return Err(format!("`{text}` has more fields than the key {}", names.join("/")));
        }
        Ok(prefix)
    }

    fn parse_path(text: &str) -> KeyPrefix {
        let mut pieces: Vec<String> = text.split('/').map(unescape).collect();
        let partial = pieces.pop().filter(|last| !last.is_empty());
        KeyPrefix { whole: pieces, partial }
    }

    fn parse_json(text: &str, names: &[&str]) -> Result<KeyPrefix, String> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|error| format!("`{text}` is no JSON object: {error}"))?;
        let mut whole = Vec::new();
        for name in names.iter().take(object.len()) {
            match object.get(*name) {
                Some(serde_json::Value::String(field)) => whole.push(field.clone()),
                Some(_) => return Err(format!("`{name}` must be a string")),
                None => {
                    return Err(format!(
                        "`{text}` lacks `{name}`: a prefix names the leading fields of {}",
                        names.join(", ")
                    ));
                }
            }
        }
        if object.len() > names.len() {
            return Err(format!("`{text}` has more fields than {}", names.join(", ")));
        }
        Ok(KeyPrefix { whole, partial: None })
    }

    /// True where keys that begin with this prefix may have `text` as field `at`.
    pub fn admits(&self, at: usize, text: &str) -> bool {
        match self.whole.get(at) {
            Some(field) => field == text,
            None => at > self.whole.len() || self.partial.as_ref().is_none_or(|start| text.starts_with(start.as_str())),
        }
    }

    /// True where `key` begins with this prefix.
    pub fn matches(&self, key: &Key) -> bool {
        let named = self.whole.len() + usize::from(self.partial.is_some());
        (0..named).all(|at| key.text(at).is_some_and(|text| self.admits(at, text)))
    }

    /// At or below every key that matches: where a scan in key order begins. The keys that match
    /// follow it without a gap.
    pub fn lower_bound(&self) -> KeyFields {
        KeyFields(self.whole.iter().chain(&self.partial).cloned().collect())
    }
}

/// Percent-encodes what would be read as structure in the path form.
pub fn escape(field: &str) -> String {
    field.replace('%', "%25").replace('/', "%2F")
}

/// Undoes [`escape`].
pub fn unescape(field: &str) -> String {
    field.replace("%2F", "/").replace("%2f", "/").replace("%25", "%")
}

/// Appends `text` as a JSON string.
pub fn write_json_str(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a text always encodes");
}

/// A published value: knows how to write itself as a JSON object with named fields.
pub trait ViewValue: fmt::Debug + Send + Sync {
    /// Appends the canonical JSON object.
    fn write_json(&self, out: &mut Vec<u8>);

    /// The value itself, for those who know its type.
    fn as_any(&self) -> &dyn Any;
}

/// A value as it is handed from the dataflow to all readers.
pub type Value = Arc<dyn ViewValue>;

/// Any serialisable struct is a value.
impl<T: Serialize + fmt::Debug + Send + Sync + 'static> ViewValue for T {
    fn write_json(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("plain structs always encode");
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The JSON of `value` as text.
pub fn value_json(value: &dyn ViewValue) -> String {
    let mut out = Vec::new();
    value.write_json(&mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["scope", "window", "item_id"];

    #[test]
    fn a_key_is_written_and_read_in_both_forms() {
        let key = Key::new(&["category:Home/Kitchen".into(), "7d".into(), "22086".into()]);
        assert_eq!(key.json(NAMES), r#"{"scope":"category:Home/Kitchen","window":"7d","item_id":"22086"}"#);
        assert_eq!(key.path(), "category:Home%2FKitchen/7d/22086");
        let map = std::collections::BTreeMap::from([(key.clone(), ())]);
        for text in [key.path(), key.json(NAMES)] {
            let fields = KeyFields::parse(&text, NAMES).unwrap();
            assert!(map.contains_key(&fields as &dyn KeyText), "{text}");
        }
        assert!(KeyFields::parse("", NAMES).is_err());
        assert!(KeyFields::parse("a/b/c/d", NAMES).is_err());
    }

    #[test]
    fn a_person_is_ordered_and_found_by_text_like_any_field() {
        let keys = [Key::of_person("14911".into(), &["boot".into()]), Key::new(&["14911".into(), "boot".into()])];
        assert_eq!(keys[0], keys[1]);
        assert_eq!(std::collections::HashSet::from(keys.clone()).len(), 1);
        assert!(Key::of_names(&["anonymous".into(), "a".into()]) > keys[0]);
        assert!(Key::of_person("1491".into(), &[]) < keys[1]);
        assert_eq!(keys[0].json(&["profile_id", "item_id"]), r#"{"profile_id":"14911","item_id":"boot"}"#);
    }

    #[test]
    fn a_prefix_is_whole_fields_and_perhaps_a_beginning() {
        let key = Key::new(&["global".into(), "7d".into(), "22086".into()]);
        for (text, matches) in [
            ("", true),
            ("glob", true),
            ("global/", true),
            ("globa/", false),
            ("global/7d/22", true),
            ("global/7d/23", false),
            (r#"{"scope":"global"}"#, true),
            (r#"{"scope":"glob"}"#, false),
        ] {
            let prefix = KeyPrefix::parse(text, NAMES).unwrap();
            assert_eq!(prefix.matches(&key), matches, "{text}");
            assert!(!matches || (&prefix.lower_bound() as &dyn KeyText) <= (&key as &dyn KeyText), "{text}");
        }
        assert!(KeyPrefix::parse(r#"{"window":"7d"}"#, NAMES).is_err());
    }
}
