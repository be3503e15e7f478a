//! Scopes: the segments of a shop that have figures and sets of their own.
//!
//! A scope has an *event part* (country, device, language, channel: what the event says of
//! itself) and an *item part* (category level, brand: what the item is now). Either may be empty;
//! both are for `global`. A line is counted under its event parts when it arrives. Item parts are
//! *places* of the item: when its category changes, its places change, and no line is touched.

use std::{cell::RefCell, collections::HashMap, sync::LazyLock};

use etalage_model::{Event, Sym, message::category_levels};
use serde::{Deserialize, Serialize};

/// The scope of everything together.
static GLOBAL: LazyLock<Sym> = LazyLock::new(|| Sym::new("global"));

/// Something that scopes are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Dimension {
    Category,
    Brand,
    Country,
    Device,
    Language,
    Channel,
}

impl Dimension {
    /// Every dimension, by name.
    pub const ALL: &'static [(&'static str, Dimension)] = &[
        ("category", Dimension::Category),
        ("brand", Dimension::Brand),
        ("country", Dimension::Country),
        ("device", Dimension::Device),
        ("language", Dimension::Language),
        ("channel", Dimension::Channel),
    ];

    fn parse(name: &str) -> Option<Dimension> {
        Dimension::ALL.iter().find(|(other, _)| *other == name).map(|(_, dimension)| *dimension)
    }

    fn name(self) -> &'static str {
        Dimension::ALL.iter().find(|(_, other)| *other == self).map_or("", |(name, _)| name)
    }

    /// True where the item, not the event, has it.
    pub fn is_of_item(self) -> bool {
        matches!(self, Dimension::Category | Dimension::Brand)
    }

    fn of_event(self, event: &Event) -> Option<Sym> {
        match self {
            Dimension::Country => event.country,
            Dimension::Device => event.device,
            Dimension::Language => event.language,
            Dimension::Channel => event.channel,
            Dimension::Category | Dimension::Brand => None,
        }
    }
}

/// One half of a scope: which dimensions, and their text (`country:Germany`); empty text for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Part {
    /// Number among the event patterns or the item patterns of [`Scopes`].
    pub pattern: u8,
    /// Its text.
    pub text: Sym,
}

/// The scopes that a configuration names, and the halves they are made of.
#[derive(Clone, Debug)]
pub struct Scopes {
    names: Vec<String>,
    event_patterns: Vec<Vec<Dimension>>,
    item_patterns: Vec<Vec<Dimension>>,
    /// `kinds[event pattern][item pattern]`: the dimensions in the configured order.
    kinds: Vec<Vec<Option<Vec<Dimension>>>>,
}

impl Scopes {
    /// Reads dimension names (`global`, `category`, `country+category`).
    ///
    /// # Errors
    /// A sentence for the first name that is none, or that names a pair a second time.
    pub fn parse(names: &[String]) -> Result<Scopes, String> {
        let mut scopes = Scopes {
            names: names.to_vec(),
            event_patterns: vec![vec![]],
            item_patterns: vec![vec![]],
            kinds: vec![vec![None]],
        };
        for name in names {
            let unknown = |part: &str| format!("`{part}` is no dimension");
            let dimensions: Vec<Dimension> = match name.as_str() {
                "global" => vec![],
                _ => name
                    .split('+')
                    .map(|part| Dimension::parse(part).ok_or_else(|| unknown(part)))
                    .collect::<Result<_, _>>()?,
            };
            if dimensions.len() > 2 || (dimensions.len() == 2 && dimensions[0] == dimensions[1]) {
                return Err(format!("`{name}` is no pair of two different dimensions"));
            }
            scopes.add(dimensions).map_err(|other| format!("`{name}` names the same scopes as `{other}`"))?;
        }
        Ok(scopes)
    }

    /// Refuses a pair that is there already the other way round, whose name it gives.
    fn add(&mut self, dimensions: Vec<Dimension>) -> Result<(), String> {
        if let Some(other) = self.kinds.iter().flatten().flatten().find(|other| other.iter().rev().eq(&dimensions)) {
            let names: Vec<&str> = other.iter().map(|dimension| dimension.name()).collect();
            if *other != dimensions {
                return Err(names.join("+"));
            }
        }
        let half = |of_item: bool| -> Vec<Dimension> {
            dimensions.iter().copied().filter(|dimension| dimension.is_of_item() == of_item).collect()
        };
        let place = |patterns: &mut Vec<Vec<Dimension>>, half: Vec<Dimension>| {
            patterns.iter().position(|other| *other == half).unwrap_or_else(|| {
                patterns.push(half);
                patterns.len() - 1
            })
        };
        let event = place(&mut self.event_patterns, half(false));
        let item = place(&mut self.item_patterns, half(true));
        self.kinds.resize(self.event_patterns.len(), vec![]);
        let width = self.item_patterns.len();
        self.kinds.iter_mut().for_each(|row| row.resize(width, None));
        self.kinds[event][item] = Some(dimensions);
        Ok(())
    }

    /// The names that were configured.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// True where the halves make a configured scope.
    pub fn is_scope(&self, event: &Part, item: &Part) -> bool {
        self.kinds[usize::from(event.pattern)][usize::from(item.pattern)].is_some()
    }

    /// True where an event pattern stands alone in some scope.
    pub fn stands_alone(&self, event: &Part) -> bool {
        self.kinds[usize::from(event.pattern)][0].is_some()
    }

    /// True where some scope has an item half.
    pub fn has_item_parts(&self) -> bool {
        self.item_patterns.len() > 1
    }

    /// True where a scope needs this attribute of items.
    pub fn uses(&self, dimension: Dimension) -> bool {
        self.item_patterns.iter().chain(&self.event_patterns).flatten().any(|other| *other == dimension)
    }

    /// The text of the scope that two halves make: `global`, `country:Germany+category:Home`.
    pub fn scope(&self, event: &Part, item: &Part) -> Option<Sym> {
        thread_local! {
            static SCOPES: RefCell<HashMap<(Sym, Sym, bool), Sym>> = RefCell::default();
        }
        let kind = self.kinds[usize::from(event.pattern)][usize::from(item.pattern)].as_ref()?;
        Some(match (event.text.is_empty(), item.text.is_empty()) {
            (true, true) => *GLOBAL,
            (false, true) => event.text,
            (true, false) => item.text,
            (false, false) => {
                let item_first = kind.first().is_some_and(|dimension| dimension.is_of_item());
                let join = || {
                    let (first, second) = if item_first { (item.text, event.text) } else { (event.text, item.text) };
                    Sym::new(&format!("{first}+{second}"))
                };
                SCOPES.with_borrow_mut(|known| *known.entry((event.text, item.text, item_first)).or_insert_with(join))
            }
        })
    }

    /// The event halves under which an event counts.
    pub fn event_parts(&self, event: &Event, out: &mut Vec<Part>) {
        thread_local! {
            static PARTS: RefCell<HashMap<(Dimension, Sym, Option<(Dimension, Sym)>), Sym>> = RefCell::default();
        }
        for (pattern, dimensions) in self.event_patterns.iter().enumerate() {
            let pattern = pattern as u8;
            let value = |at: usize| dimensions.get(at).map(|dimension| (*dimension, dimension.of_event(event)));
            let text = match (value(0), value(1)) {
                (None, _) => Some(Sym::default()),
                (Some((first, Some(a))), None) => {
                    Some((first, a, None)).map(|key| PARTS.with_borrow_mut(|known| part_text(known, key)))
                }
                (Some((first, Some(a))), Some((second, Some(b)))) => {
                    Some(PARTS.with_borrow_mut(|known| part_text(known, (first, a, Some((second, b))))))
                }
                _ => None,
            };
            out.extend(text.map(|text| Part { pattern, text }));
        }
    }

    /// The places of an item with this category path and brand.
    pub fn item_parts(&self, category: Option<Sym>, brand: Option<Sym>) -> Vec<Part> {
        let texts = |dimension: &Dimension| -> Vec<String> {
            let values: Vec<&str> = match dimension {
                Dimension::Category => category.iter().flat_map(|path| category_levels(path.as_str())).collect(),
                _ => brand.iter().map(|brand| brand.as_str()).collect(),
            };
            values.into_iter().map(|value| labelled(*dimension, value)).collect()
        };
        let mut parts = Vec::new();
        for (pattern, dimensions) in self.item_patterns.iter().enumerate().skip(1) {
            let first = texts(&dimensions[0]);
            let joined = match dimensions.get(1).map(texts) {
                None => first,
                Some(second) => first.iter().flat_map(|a| second.iter().map(move |b| format!("{a}+{b}"))).collect(),
            };
            parts.extend(joined.iter().map(|text| Part { pattern: pattern as u8, text: Sym::new(text) }));
        }
        parts
    }
}

fn part_text(
    known: &mut HashMap<(Dimension, Sym, Option<(Dimension, Sym)>), Sym>,
    key: (Dimension, Sym, Option<(Dimension, Sym)>),
) -> Sym {
    *known.entry(key).or_insert_with(|| {
        let (dimension, value, second) = key;
        let first = labelled(dimension, value.as_str());
        let text = match second {
            None => first,
            Some((dimension, value)) => format!("{first}+{}", labelled(dimension, value.as_str())),
        };
        Sym::new(&text)
    })
}

/// `country:Germany`. A `+` in a value is written `%2B`, since it joins the halves of a pair, and
/// a `%` is written `%25`, which category paths have done already.
fn labelled(dimension: Dimension, value: &str) -> String {
    let value = if dimension == Dimension::Category { value.to_owned() } else { value.replace('%', "%25") };
    format!("{}:{}", dimension.name(), value.replace('+', "%2B"))
}

/// The empty half.
pub fn no_part() -> Part {
    Part { pattern: 0, text: Sym::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(names: &[&str]) -> Scopes {
        Scopes::parse(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn halves_make_the_configured_scopes_only() {
        let scopes = scopes(&["global", "country", "category+country"]);
        let country = Part { pattern: 1, text: "country:Germany".into() };
        let home = scopes.item_parts(Some("Home/Kitchen".into()), Some("x".into()));
        assert_eq!(
            home.iter().map(|part| part.text.as_str()).collect::<Vec<_>>(),
            ["category:Home", "category:Home/Kitchen"]
        );
        let name = |event: &Part, item: &Part| scopes.scope(event, item).map(Sym::as_str);
        assert_eq!(name(&no_part(), &no_part()), Some("global"));
        assert_eq!(name(&country, &no_part()), Some("country:Germany"));
        assert_eq!(name(&country, &home[0]), Some("category:Home+country:Germany"));
        assert_eq!(name(&no_part(), &home[0]), None, "category alone is not configured");
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        assert!(Scopes::parse(&["colour".into()]).is_err());
        assert!(Scopes::parse(&["brand+brand".into()]).is_err());
        assert!(Scopes::parse(&["brand+country+device".into()]).is_err());
    }

    #[test]
    fn a_pair_is_named_in_one_order_only() {
        for [pair, turned] in [["country+category", "category+country"], ["brand+category", "category+brand"]] {
            let refused = Scopes::parse(&[pair.into(), turned.into()]).unwrap_err();
            assert_eq!(refused, format!("`{turned}` names the same scopes as `{pair}`"));
            assert!(Scopes::parse(&[pair.into(), pair.into(), "category".into()]).is_ok());
        }
    }
}
