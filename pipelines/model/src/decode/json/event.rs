//! An event: the Segment envelope with GA4 properties.

use super::{
    Context, Limits, Raw,
    check::{self, Checked, Place, first},
    item,
    raw::{RawContext, RawEvent, RawProperties, Scalar, Value},
};
use crate::{
    Event, EventKind, InputKind, Message, Micros, Record, Refusal, Sym,
    decode::fingerprint::fingerprint,
    message::ANONYMOUS_PREFIX,
    money::{Currencies, MAX_LINE_MICROS},
};

impl RawEvent<'_> {
    /// Which of the three kinds the fields speak of.
    pub(super) fn kind_by_fields(&self) -> InputKind {
        let is_event = [&self.kind, &self.event, &self.name].iter().any(|field| !field.is_absent());
        let is_catalogue_op = matches!(&self.op, Value::Text(op) if matches!(&**op, "upsert" | "delete"));
        if is_event {
            InputKind::Events
        } else if !self.available.is_absent() {
            InputKind::Inventory
        } else if is_catalogue_op || !self.updated_at.is_absent() {
            InputKind::Catalogue
        } else {
            InputKind::Events
        }
    }

    /// What happened, and the name that was sent for it.
    fn kind_and_name(&self, limits: &Limits) -> Checked<(EventKind, Option<String>)> {
        let label_limit = (limits.max_label_bytes, "max_label_bytes");
        let (name, field) = first(&[(&self.event, "event"), (&self.name, "name")]);
        let name = check::text(name, Place::Message.at(field), label_limit)?;
        let kind = match check::text(&self.kind, Place::Message.at("type"), label_limit)? {
            None | Some("track") => {
                let name = name.ok_or_else(|| {
                    let why = "say what happened (`view_item`, `purchase`, …), or name another `type` than track";
                    check::missing(Place::Message.at("event"), why)
                })?;
                EventKind::from_name(name)
            }
            Some("page" | "screen") => EventKind::Page,
            Some("identify") => EventKind::Identify,
            Some("alias") => EventKind::Alias,
            Some("unlink") => EventKind::Unlink,
            Some("group") => EventKind::Group,
            Some(_) => {
                let expected = "track, page, screen, identify, alias, unlink or group";
                return Err(check::wrong(&self.kind, Place::Message.at("type"), expected));
            }
        };
        Ok((kind, name.filter(|name| *name != kind.name()).map(str::to_owned)))
    }

    /// The time as sent.
    fn sent_at(&self) -> Checked<Option<Micros>> {
        if self.timestamp.is_absent() {
            return check::time_micros(&self.timestamp_micros, Place::Message.at("timestamp_micros"));
        }
        check::time(&self.timestamp, Place::Message.at("timestamp"))
    }

    fn id(&self, value: &Scalar<'_>, name: &'static str, limits: &Limits) -> Checked<Option<String>> {
        check::owned_id(value, Place::Message.at(name), limits)
    }
}

impl<'a> Raw<'a> for RawEvent<'a> {
    fn message_id(&self) -> &Scalar<'a> {
        &self.message_id
    }

    fn record(&self, context: &Context<'_>) -> Result<Record, Refusal> {
        let limits = context.limits;
        let (kind, name) = self.kind_and_name(limits)?;
        let given = self.id(&self.message_id, "messageId", limits)?;
        let sent_at = self.sent_at()?;
        let no_properties;
        let properties = match check::part(&self.properties, Place::Message.at("properties"), "an object")? {
            Some(properties) => properties,
            None => {
                no_properties = Box::default();
                &no_properties
            }
        };
        let seen = Seen::of(&self.context, limits)?;
        let mut event = Event {
            message_id: String::new(),
            kind,
            name,
            timestamp: sent_at.unwrap_or_default(),
            user_id: self.id(&self.user_id, "userId", limits)?,
            anonymous_id: self.id(&self.anonymous_id, "anonymousId", limits)?,
            previous_id: self.id(&self.previous_id, "previousId", limits)?,
            group_id: self.id(&self.group_id, "groupId", limits)?,
            country: seen.country,
            device: seen.device,
            language: seen.language,
            channel: seen.channel,
            transaction_id: transaction_id(properties, limits)?,
            value_micros: value_micros(properties)?,
            coupon: coupon(properties, limits)?,
            search_term: search_term(properties, limits)?,
            items: item::items(kind, properties, limits)?,
        };
        has_its_ids(&event)?;
        let currency = currency(properties)?;
        let fingerprint = fingerprint(InputKind::Events, &event, currency.as_deref().unwrap_or_default(), given);
        event.message_id = fingerprint.message_id;
        // Nothing else goes by it, and nobody would look for somebody there.
        event.previous_id.take_if(|_| !matches!(kind, EventKind::Alias | EventKind::Unlink));
        event.timestamp = context.pipeline_time(sent_at);
        into_shop_currency(&mut event, currency.as_deref(), context.currencies)?;
        Ok(Record { message: Message::Event(event), content: fingerprint.content })
    }
}

/// What `context` says of the circumstances.
#[derive(Default)]
struct Seen {
    country: Option<Sym>,
    device: Option<Sym>,
    language: Option<Sym>,
    channel: Option<Sym>,
}

impl Seen {
    fn of(value: &Value<'_, Box<RawContext<'_>>>, limits: &Limits) -> Checked<Seen> {
        let Some(raw) = check::part(value, Place::Message.at("context"), "an object")? else {
            return Ok(Seen::default());
        };
        let place = Place::Part("context");
        let mut country = check::label(&raw.country, place.at("country"), limits)?;
        if country.is_none()
            && let Some(location) = check::part(&raw.location, place.at("location"), "an object")?
        {
            country = check::label(&location.country, Place::Part("context.location").at("country"), limits)?;
        }
        let mut channel = check::label(&raw.channel, place.at("channel"), limits)?;
        if channel.is_none()
            && let Some(campaign) = check::part(&raw.campaign, place.at("campaign"), "an object")?
        {
            channel = check::label(&campaign.medium, Place::Part("context.campaign").at("medium"), limits)?;
        }
        let device = match &raw.device {
            Value::Is(device) => check::label(&device.kind, Place::Part("context.device").at("type"), limits)?,
            text @ Value::Text(_) => check::label(text, place.at("device"), limits)?,
            other => check::part(other, place.at("device"), "an object with `type`, or a text")?.and(None),
        };
        let locale = check::text(&raw.locale, place.at("locale"), (limits.max_label_bytes, "max_label_bytes"))?;
        let language = locale.and_then(primary_subtag).map(|language| check::symbol(&language)).transpose()?;
        Ok(Seen { country, device, language, channel })
    }
}

/// The language of a locale: `de` of `de-AT`, `de_AT` and `de_AT.UTF-8`.
fn primary_subtag(locale: &str) -> Option<String> {
    let language = locale.split(['-', '_', '.', '@']).next().unwrap_or_default().trim();
    (!language.is_empty()).then(|| language.to_lowercase())
}

fn transaction_id(properties: &RawProperties<'_>, limits: &Limits) -> Checked<Option<String>> {
    let (id, name) = first(&[(&properties.transaction_id, "transaction_id"), (&properties.order_id, "order_id")]);
    check::owned_id(id, Place::Part("properties").at(name), limits)
}

fn value_micros(properties: &RawProperties<'_>) -> Checked<Option<i64>> {
    let (value, name) =
        first(&[(&properties.value, "value"), (&properties.revenue, "revenue"), (&properties.total, "total")]);
    check::amount(value, Place::Part("properties").at(name))
}

fn coupon(properties: &RawProperties<'_>, limits: &Limits) -> Checked<Option<String>> {
    let limit = (limits.max_label_bytes, "max_label_bytes");
    Ok(check::text(&properties.coupon, Place::Part("properties").at("coupon"), limit)?.map(str::to_owned))
}

fn search_term(properties: &RawProperties<'_>, limits: &Limits) -> Checked<Option<String>> {
    let (term, name) = first(&[(&properties.search_term, "search_term"), (&properties.query, "query")]);
    let limit = (limits.max_search_bytes, "max_search_bytes");
    Ok(check::text(term, Place::Part("properties").at(name), limit)?.map(str::to_owned))
}

/// The ISO 4217 code, in upper case.
fn currency(properties: &RawProperties<'_>) -> Checked<Option<String>> {
    let value = &properties.currency;
    match value {
        Value::Absent => Ok(None),
        Value::Text(code) if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            Ok(Some(code.to_ascii_uppercase()))
        }
        other => Err(check::wrong(other, Place::Part("properties").at("currency"), "an ISO 4217 code such as EUR")),
    }
}

/// Links and groups mean nothing without the ids that they are about.
fn has_its_ids(event: &Event) -> Checked<()> {
    for (id, name) in [(&event.user_id, "userId"), (&event.previous_id, "previousId")] {
        if id.as_deref().is_some_and(|id| id.starts_with(ANONYMOUS_PREFIX)) {
            let place = Place::Message.at(name);
            return Err(Refusal::Invalid(format!(
                "{place} begins with `{ANONYMOUS_PREFIX}`, which names profiles without a user; send it as anonymousId"
            )));
        }
    }
    let needs = |is_there: bool, name, why| {
        if is_there { Ok(()) } else { Err(check::missing(Place::Message.at(name), why)) }
    };
    match event.kind {
        EventKind::Alias => {
            needs(event.user_id.is_some(), "userId", "an alias joins `previousId` to it")?;
            needs(event.previous_id.is_some(), "previousId", "an alias joins it to `userId`")
        }
        EventKind::Unlink => {
            needs(event.user_id.is_some(), "userId", "an unlink parts it from `anonymousId` or `previousId`")?;
            let is_pair = event.anonymous_id.is_some() || event.previous_id.is_some();
            needs(is_pair, "anonymousId", "an unlink parts it (or `previousId`) from `userId`")
        }
        EventKind::Group => needs(event.group_id.is_some(), "groupId", "a group event says which account"),
        _ => Ok(()),
    }
}

/// Converts every amount at the event's time, and refuses a line beyond what one may be worth.
fn into_shop_currency(event: &mut Event, currency: Option<&str>, currencies: &Currencies) -> Checked<()> {
    let at = event.timestamp;
    // Nothing is worth nothing in every currency, so it needs no rate.
    let convert = |micros: i64| if micros == 0 { Ok(0) } else { currencies.convert(micros, currency, at) };
    if let Some(value) = &mut event.value_micros {
        *value = convert(*value)?;
    }
    for item in &mut event.items {
        item.price_micros = convert(item.price_micros)?;
        if item.amount_micros() > MAX_LINE_MICROS {
            return Err(Refusal::AmountTooLarge);
        }
    }
    Ok(())
}
