//! A catalogue message: an item's product-feed fields, or its deletion.

use super::{
    Context, Limits, Raw,
    check::{self, Checked, Place, first},
    raw::{RawCatalogue, Scalar, Value},
};
use crate::{Catalogue, CatalogueEntry, InputKind, Message, Record, Refusal, decode::fingerprint::fingerprint};

impl<'a> Raw<'a> for RawCatalogue<'a> {
    fn message_id(&self) -> &Scalar<'a> {
        &self.message_id
    }

    fn record(&self, context: &Context<'_>) -> Result<Record, Refusal> {
        let limits = context.limits;
        let at = |name| Place::Message.at(name);
        let given = check::owned_id(&self.message_id, at("messageId"), limits)?;
        let sent_at = check::time(&self.updated_at, at("updated_at"))?;
        let (id, id_name) = first(&[(&self.item_id, "item_id"), (&self.id, "id")]);
        let is_delete = match &self.op {
            Value::Absent => false,
            Value::Text(op) if op == "upsert" => false,
            Value::Text(op) if op == "delete" => true,
            other => return Err(check::wrong(other, at("op"), "upsert or delete")),
        };
        let mut item = Catalogue {
            message_id: String::new(),
            item_id: check::id_symbol(id, at(id_name), limits)?
                .ok_or_else(|| check::missing(at("item_id"), "say which item it is (`id` is taken too)"))?,
            updated_at: sent_at.unwrap_or_default(),
            entry: if is_delete { None } else { Some(self.entry(limits)?) },
        };
        let fingerprint = fingerprint(InputKind::Catalogue, &item, "", given);
        item.message_id = fingerprint.message_id;
        item.updated_at = context.pipeline_time(sent_at);
        Ok(Record { message: Message::Catalogue(item), content: fingerprint.content })
    }
}

impl RawCatalogue<'_> {
    fn entry(&self, limits: &Limits) -> Checked<CatalogueEntry> {
        let at = |name| Place::Message.at(name);
        let expected = "a whole number of units that is not negative";
        let safety_threshold = check::integer(&self.safety_threshold, at("safety_threshold"), expected)?;
        if safety_threshold.is_some_and(|units| units < 0) {
            return Err(check::wrong(&self.safety_threshold, at("safety_threshold"), expected));
        }
        let mut fields = Vec::with_capacity(self.feed.0.len());
        for (name, value) in &self.feed.0 {
            if let Some(text) = feed_text(value, name, limits)? {
                fields.push(((*name).to_owned(), text));
            }
        }
        Ok(CatalogueEntry {
            category: check::category(&self.category, at("category"), limits)?,
            brand: check::label(&self.brand, at("brand"), limits)?,
            safety_threshold,
            withdrawn: check::flag(&self.withdrawn, at("withdrawn"))?.unwrap_or(false),
            fields,
        })
    }
}

/// A feed field as text; feeds in JSON write some of them as numbers.
fn feed_text(value: &Scalar<'_>, name: &'static str, limits: &Limits) -> Checked<Option<String>> {
    match value {
        Value::Unsigned(number) => Ok(Some(number.to_string())),
        Value::Signed(number) => Ok(Some(number.to_string())),
        Value::Float(number) => Ok(Some(number.to_string())),
        other => {
            let limit = (limits.max_field_bytes, "max_field_bytes");
            Ok(check::text(other, Place::Message.at(name), limit)?.map(str::to_owned))
        }
    }
}
