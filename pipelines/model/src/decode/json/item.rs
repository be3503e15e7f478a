//! The items of an event: GA4's list, Segment's `products`, or the properties themselves in
//! Segment's events of a single product.

use super::{
    Limits,
    check::{self, Checked, Place, first},
    raw::{RawItem, RawProperties, Scalar, Value},
};
use crate::{EventKind, Item, Refusal, Sym};

/// The items that `properties` state, their prices in the currency that was sent.
pub(super) fn items(kind: EventKind, properties: &RawProperties<'_>, limits: &Limits) -> Checked<Vec<Item>> {
    let own = &properties.item;
    let listed = match (list(&properties.items, "items")?, list(&properties.products, "products")?) {
        (Some(items), _) if !items.is_empty() => Some((items, "properties.items")),
        (_, Some(products)) => Some((products, "properties.products")),
        (items, None) => items.map(|items| (items, "properties.items")),
    };
    if let Some((elements, list)) = listed
        && !elements.is_empty()
    {
        return elements_of(elements, list, own, limits);
    }
    let is_single =
        matches!(kind, EventKind::ViewItem | EventKind::SelectItem | EventKind::AddToCart | EventKind::RemoveFromCart);
    if is_single && [&own.item_id, &own.product_id, &own.sku].iter().any(|id| !id.is_absent()) {
        return Ok(vec![item(own, Place::Part("properties"), None, limits)?]);
    }
    Ok(Vec::new())
}

type Elements<'a> = Vec<Value<'a, Box<RawItem<'a>>>>;

fn list<'v, 'a>(value: &'v Value<'a, Elements<'a>>, name: &'static str) -> Checked<Option<&'v Elements<'a>>> {
    check::part(value, Place::Part("properties").at(name), "a list of items")
}

fn elements_of(elements: &Elements<'_>, list: &'static str, own: &RawItem<'_>, limits: &Limits) -> Checked<Vec<Item>> {
    let (count, limit) = (elements.len(), limits.max_items);
    if count > limit {
        let reason = format!("`{list}`: {count} items, at most {limit} are taken (max_items); split the event");
        return Err(Refusal::Invalid(reason));
    }
    // GA4 states the list once for the event, and on an item only where it differs.
    let event_list = list_id(own, Place::Part("properties"), limits)?;
    let element = |(index, element): (usize, &Value<'_, Box<RawItem<'_>>>)| match element {
        Value::Is(raw) => item(raw, Place::Element(list, index), event_list, limits),
        other => Err(check::wrong(other, format_args!("`{list}[{index}]`"), "an object with `item_id`")),
    };
    elements.iter().enumerate().map(element).collect()
}

fn item(raw: &RawItem<'_>, place: Place, event_list: Option<Sym>, limits: &Limits) -> Checked<Item> {
    let (id, name) = first(&[(&raw.item_id, "item_id"), (&raw.product_id, "product_id"), (&raw.sku, "sku")]);
    let item_id = check::id_symbol(id, place.at(name), limits)?
        .ok_or_else(|| check::missing(place.at("item_id"), "every item needs one (or `product_id`, or `sku`)"))?;
    let (brand, brand_name) = first(&[(&raw.item_brand, "item_brand"), (&raw.brand, "brand")]);
    let (variant, variant_name) = first(&[(&raw.item_variant, "item_variant"), (&raw.variant, "variant")]);
    let quantity_at = place.at("quantity");
    let expected = "a whole number of at least 1";
    let quantity = check::integer(&raw.quantity, quantity_at, expected)?.unwrap_or(1);
    if quantity < 1 {
        return Err(check::wrong(&raw.quantity, quantity_at, expected));
    }
    if quantity > limits.max_quantity {
        let limit = limits.max_quantity;
        return Err(Refusal::Invalid(format!("{quantity_at}: {quantity}, at most {limit} are taken (max_quantity)")));
    }
    let price_micros = check::amount(&raw.price, place.at("price"))?.unwrap_or(0);
    if price_micros < 0 {
        return Err(check::wrong(&raw.price, place.at("price"), "an amount that is not negative"));
    }
    Ok(Item {
        item_id,
        brand: check::label(brand, place.at(brand_name), limits)?,
        category: category(raw, place, limits)?,
        variant: check::id_symbol(variant, place.at(variant_name), limits)?,
        list_id: list_id(raw, place, limits)?.or(event_list),
        location_id: check::id_symbol(&raw.location_id, place.at("location_id"), limits)?,
        quantity,
        price_micros,
    })
}

fn list_id(raw: &RawItem<'_>, place: Place, limits: &Limits) -> Checked<Option<Sym>> {
    let (list, name) = first(&[(&raw.item_list_id, "item_list_id"), (&raw.list_id, "list_id")]);
    check::id_symbol(list, place.at(name), limits)
}

fn category(raw: &RawItem<'_>, place: Place, limits: &Limits) -> Checked<Option<Sym>> {
    let numbered: [(&Scalar<'_>, &'static str); 5] = [
        (&raw.item_category, "item_category"),
        (&raw.item_category2, "item_category2"),
        (&raw.item_category3, "item_category3"),
        (&raw.item_category4, "item_category4"),
        (&raw.item_category5, "item_category5"),
    ];
    if numbered.iter().all(|(level, _)| level.is_absent()) {
        return check::category(&raw.category, place.at("category"), limits);
    }
    let mut levels = [""; 5];
    for (level, (value, name)) in levels.iter_mut().zip(numbered) {
        let limit = (limits.max_label_bytes, "max_label_bytes");
        *level = check::text(value, place.at(name), limit)?.unwrap_or_default();
    }
    check::path(&levels, place.at("item_category"), limits)
}
