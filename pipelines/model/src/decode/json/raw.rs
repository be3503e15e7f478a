//! What JSON holds, read loosely: any value fits anywhere, and the fields that etalage knows
//! are picked out of objects. Nothing is judged here; [`super::check`] does that.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Any JSON value. `T` is what an object or a list is read into where one is expected.
#[derive(Default)]
pub(super) enum Value<'a, T> {
    /// Not there, `null`, or a text of nothing but white space.
    #[default]
    Absent,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Cow<'a, str>),
    /// The object or list that belongs here.
    Is(T),
    /// An object where none belongs.
    Object,
    /// A list where none belongs.
    List,
}

/// A value that should be no object and no list.
pub(super) type Scalar<'a> = Value<'a, Never>;

/// The longest piece of a text that a reason quotes, in characters.
const QUOTED_CHARS: usize = 40;

impl<T> Value<'_, T> {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Value::Absent)
    }

    /// What stands here, for a reason to name.
    pub(super) fn found(&self) -> String {
        match self {
            Value::Absent => "nothing".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Unsigned(number) => number.to_string(),
            Value::Signed(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Text(text) if text.chars().nth(QUOTED_CHARS).is_some() => {
                format!("the text `{}…`", text.chars().take(QUOTED_CHARS).collect::<String>())
            }
            Value::Text(text) => format!("the text `{text}`"),
            Value::Is(_) | Value::Object => "an object".to_owned(),
            Value::List => "a list".to_owned(),
        }
    }
}

/// What an object or a list can be read into.
pub(super) trait Nested<'de>: Sized {
    /// Reads an object to its end.
    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Value<'de, Self>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Object)
    }

    /// Reads a list to its end.
    fn list<A: SeqAccess<'de>>(mut seq: A) -> Result<Value<'de, Self>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::List)
    }
}

/// Neither an object nor a list belongs here.
pub(super) enum Never {}
impl Nested<'_> for Never {}

impl<'de, T: Nested<'de>> Nested<'de> for Vec<Value<'de, T>> {
    fn list<A: SeqAccess<'de>>(mut seq: A) -> Result<Value<'de, Self>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Value::Is(elements))
    }
}

/// Reads whatever value comes.
pub(super) struct Reading<T>(PhantomData<T>);

impl<T> Reading<T> {
    pub(super) fn new() -> Reading<T> {
        Reading(PhantomData)
    }
}

impl<'de, T: Nested<'de>> Visitor<'de> for Reading<T> {
    type Value = Value<'de, T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Absent)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Value::Unsigned(number))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Value::Signed(number))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Value::Float(number))
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(if is_blank(text) { Value::Absent } else { Value::Text(Cow::Borrowed(text)) })
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(if is_blank(text) { Value::Absent } else { Value::Text(Cow::Owned(text.to_owned())) })
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::object(map)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        T::list(seq)
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// A key of an object, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Fields that are picked out of an object by their names.
trait Fields<'de> {
    /// Takes the value of `key`; false where no field has that name (the value is still there).
    fn take<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Declares a struct (always boxed, since it is larger than what is moved at no cost) whose fields are read from the keys given for them; `..` gets the keys
/// that no field has.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident<$a:lifetime> {
        $($field:ident: $type:ty = $key:literal,)*
        $(..$rest:ident: $rest_type:ty,)?
    }) => {
        $(#[$meta])*
        #[derive(Default)]
        pub(super) struct $name<$a> {
            $(pub(super) $field: $type,)*
            $(pub(super) $rest: $rest_type,)?
        }

        impl<$a> Fields<$a> for $name<$a> {
            fn take<A: MapAccess<$a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
                match key {
                    $($key => self.$field = map.next_value()?,)*
                    _ => {
                        $(return self.$rest.take(key, map);)?
                        #[allow(unreachable_code)]
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }

        impl<$a> Nested<$a> for Box<$name<$a>> {
            fn object<A: MapAccess<$a>>(mut map: A) -> Result<Value<$a, Self>, A::Error> {
                let mut made: Self = Box::default();
                while let Some(Name(key)) = map.next_key()? {
                    if !made.take(&key, &mut map)? {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Value::Is(made))
            }
        }
    };
}

object! {
    /// The part of a message that is too large that is read all the same.
    Envelope<'a> {
        message_id: Scalar<'a> = "messageId",
    }
}

object! {
    /// An event in the Segment envelope. `available`, `op` and `updated_at` tell the other two
    /// kinds apart in a file that mixes them.
    RawEvent<'a> {
        message_id: Scalar<'a> = "messageId",
        kind: Scalar<'a> = "type",
        event: Scalar<'a> = "event",
        name: Scalar<'a> = "name",
        timestamp: Scalar<'a> = "timestamp",
        timestamp_micros: Scalar<'a> = "timestamp_micros",
        user_id: Scalar<'a> = "userId",
        anonymous_id: Scalar<'a> = "anonymousId",
        previous_id: Scalar<'a> = "previousId",
        group_id: Scalar<'a> = "groupId",
        context: Value<'a, Box<RawContext<'a>>> = "context",
        properties: Value<'a, Box<RawProperties<'a>>> = "properties",
        available: Scalar<'a> = "available",
        op: Scalar<'a> = "op",
        updated_at: Scalar<'a> = "updated_at",
    }
}

object! {
    /// `context`
    RawContext<'a> {
        country: Scalar<'a> = "country",
        location: Value<'a, Box<RawLocation<'a>>> = "location",
        device: Value<'a, Box<RawDevice<'a>>> = "device",
        locale: Scalar<'a> = "locale",
        channel: Scalar<'a> = "channel",
        campaign: Value<'a, Box<RawCampaign<'a>>> = "campaign",
    }
}

object! {
    /// `context.location`
    RawLocation<'a> {
        country: Scalar<'a> = "country",
    }
}

object! {
    /// `context.device`, where it is an object
    RawDevice<'a> {
        kind: Scalar<'a> = "type",
    }
}

object! {
    /// `context.campaign`
    RawCampaign<'a> {
        medium: Scalar<'a> = "medium",
    }
}

object! {
    /// `properties`; in Segment's events of a single product they are the item itself.
    RawProperties<'a> {
        transaction_id: Scalar<'a> = "transaction_id",
        order_id: Scalar<'a> = "order_id",
        currency: Scalar<'a> = "currency",
        value: Scalar<'a> = "value",
        revenue: Scalar<'a> = "revenue",
        total: Scalar<'a> = "total",
        coupon: Scalar<'a> = "coupon",
        search_term: Scalar<'a> = "search_term",
        query: Scalar<'a> = "query",
        items: Value<'a, Vec<Value<'a, Box<RawItem<'a>>>>> = "items",
        products: Value<'a, Vec<Value<'a, Box<RawItem<'a>>>>> = "products",
        ..item: RawItem<'a>,
    }
}

object! {
    /// An item in GA4's names and in Segment's.
    RawItem<'a> {
        item_id: Scalar<'a> = "item_id",
        product_id: Scalar<'a> = "product_id",
        sku: Scalar<'a> = "sku",
        item_brand: Scalar<'a> = "item_brand",
        brand: Scalar<'a> = "brand",
        item_category: Scalar<'a> = "item_category",
        item_category2: Scalar<'a> = "item_category2",
        item_category3: Scalar<'a> = "item_category3",
        item_category4: Scalar<'a> = "item_category4",
        item_category5: Scalar<'a> = "item_category5",
        category: Value<'a, Vec<Scalar<'a>>> = "category",
        item_variant: Scalar<'a> = "item_variant",
        variant: Scalar<'a> = "variant",
        item_list_id: Scalar<'a> = "item_list_id",
        list_id: Scalar<'a> = "list_id",
        location_id: Scalar<'a> = "location_id",
        quantity: Scalar<'a> = "quantity",
        price: Scalar<'a> = "price",
    }
}

object! {
    /// A stock message.
    RawInventory<'a> {
        message_id: Scalar<'a> = "messageId",
        item_id: Scalar<'a> = "item_id",
        location_id: Scalar<'a> = "location_id",
        op: Scalar<'a> = "op",
        available: Scalar<'a> = "available",
        version: Scalar<'a> = "version",
        occurred_at: Scalar<'a> = "occurred_at",
    }
}

object! {
    /// A catalogue message.
    RawCatalogue<'a> {
        message_id: Scalar<'a> = "messageId",
        item_id: Scalar<'a> = "item_id",
        id: Scalar<'a> = "id",
        op: Scalar<'a> = "op",
        updated_at: Scalar<'a> = "updated_at",
        category: Value<'a, Vec<Scalar<'a>>> = "category",
        brand: Scalar<'a> = "brand",
        safety_threshold: Scalar<'a> = "safety_threshold",
        withdrawn: Scalar<'a> = "withdrawn",
        ..feed: RawFeed<'a>,
    }
}

/// The feed fields that are kept as text, in the order of their names.
const FEED_FIELDS: [&str; 18] = [
    "availability",
    "condition",
    "custom_label_0",
    "custom_label_1",
    "custom_label_2",
    "custom_label_3",
    "custom_label_4",
    "description",
    "google_product_category",
    "gtin",
    "image_link",
    "item_group_id",
    "link",
    "mpn",
    "price",
    "product_type",
    "sale_price",
    "title",
];

/// The feed fields of a catalogue message by their names.
#[derive(Default)]
pub(super) struct RawFeed<'a>(pub(super) BTreeMap<&'static str, Scalar<'a>>);

impl<'de> Fields<'de> for RawFeed<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let Ok(at) = FEED_FIELDS.binary_search(&key) else { return Ok(false) };
        self.0.insert(FEED_FIELDS[at], map.next_value()?);
        Ok(true)
    }
}
