//! A stock message.

use super::{
    Context, Raw,
    check::{self, Place},
    raw::{RawInventory, Scalar, Value},
};
use crate::{InputKind, Inventory, Message, Record, Refusal, StockOp, decode::fingerprint::fingerprint};

impl<'a> Raw<'a> for RawInventory<'a> {
    fn message_id(&self) -> &Scalar<'a> {
        &self.message_id
    }

    fn record(&self, context: &Context<'_>) -> Result<Record, Refusal> {
        let limits = context.limits;
        let at = |name| Place::Message.at(name);
        let given = check::owned_id(&self.message_id, at("messageId"), limits)?;
        let sent_at = check::time(&self.occurred_at, at("occurred_at"))?;
        let op = self.stock_op(limits.max_available)?;
        if matches!(op, StockOp::Delta(_)) && given.is_none() {
            let why = "a delta without one would count twice when it is sent again";
            return Err(check::missing(at("messageId"), why));
        }
        let mut stock = Inventory {
            message_id: String::new(),
            item_id: check::id_symbol(&self.item_id, at("item_id"), limits)?
                .ok_or_else(|| check::missing(at("item_id"), "say whose stock it is"))?,
            location_id: check::id_symbol(&self.location_id, at("location_id"), limits)?,
            op,
            version: self.version()?,
            occurred_at: sent_at.unwrap_or_default(),
        };
        let fingerprint = fingerprint(InputKind::Inventory, &stock, "", given);
        stock.message_id = fingerprint.message_id;
        stock.occurred_at = context.pipeline_time(sent_at);
        Ok(Record { message: Message::Inventory(stock), content: fingerprint.content })
    }
}

impl RawInventory<'_> {
    fn stock_op(&self, max_available: i64) -> Result<StockOp, Refusal> {
        let at = Place::Message.at("available");
        let units = check::integer(&self.available, at, "a whole number of units")?
            .ok_or_else(|| check::missing(at, "say how many units"))?;
        if units.unsigned_abs() > max_available.unsigned_abs() {
            let reason = format!("{at}: {units}, at most {max_available} are taken (max_available)");
            return Err(Refusal::Invalid(reason));
        }
        match &self.op {
            Value::Absent => Ok(StockOp::Set(units)),
            Value::Text(op) if op == "set" => Ok(StockOp::Set(units)),
            Value::Text(op) if op == "delta" => Ok(StockOp::Delta(units)),
            other => Err(check::wrong(other, Place::Message.at("op"), "set or delta")),
        }
    }

    fn version(&self) -> Result<Option<u64>, Refusal> {
        match &self.version {
            Value::Absent => Ok(None),
            Value::Unsigned(version) => Ok(Some(*version)),
            other => Err(check::wrong(other, Place::Message.at("version"), "a whole number that is not negative")),
        }
    }
}
