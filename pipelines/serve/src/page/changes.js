// What has happened to a customer, in sentences: between two states, or before the first one. What
// changes by time alone, such as a window that empties, is no sentence.
//
// A sentence is a list of texts and elements.

import { idText } from "./dom.js";
import { count, instant, levels, money, windowLength } from "./format.js";

/** Why a signal was taken back. */
const REASONS = {
  purchase: "it was bought",
  emptied: "everything was taken out",
  activity: "something else happened to the cart",
  sold_out: "nothing in it can be sold any more",
};

export const reason = (name) => REASONS[name] ?? name ?? "";

/** The sentences of what differs between two states of one profile. */
export function sentences(before, after) {
  const [old, now] = [before.features, after.features];
  const ordered = orders(old.purchases?.orders ?? [], now.purchases?.orders ?? []);
  return [
    ...status(old.customer_status, now.customer_status),
    ...(ordered.length > 0 ? ordered : value(old.value, now.value)),
    ...cart(old.cart?.lines ?? [], now.cart?.lines ?? []),
    ...looks(old.recent_views?.items ?? [], now.recent_views?.items ?? []),
    ...activity(old.activity?.windows ?? [], now.activity?.windows ?? []),
    ...affinity(old.affinity, now.affinity),
    ...signals(before.signals, after.signals),
    ...suppressed(before.suppressed, after.suppressed),
  ];
}

/** What a state tells of the time before it: `{ at, sentences }`, the newest first. */
export function past({ features, signals: known }) {
  const ordered = (features.purchases?.orders ?? []).map((order) => ({ at: order.ordered_at, sentences: [bought(order)] }));
  const looked = (features.recent_views?.items ?? []).map(({ item_id: id, viewed_at: at }) => ({ at, sentences: [looksAt([id])] }));
  const told = [...known].flatMap(([cartId, row]) => [
    { at: row.opened_at, sentences: [opened(cartId, row)] },
    ...(row.cancelled_at ? [{ at: row.cancelled_at, sentences: [cancelled(cartId, row)] }] : []),
  ]);
  return [...ordered, ...looked, ...told].sort((a, b) => b.at.localeCompare(a.at));
}

function status(before, after) {
  const [old, now] = [before?.status ?? "unknown", after?.status ?? "unknown"];
  return old === now ? [] : [[`Status: ${old} → ${now}`]];
}

function orders(before, after) {
  const old = new Map(before.map((order) => [order.transaction_id, order]));
  // An older order that moves up into the list has not happened now.
  const oldest = before.length > 0 ? before.at(-1).ordered_at : "";
  return after.toReversed().flatMap((order) => {
    const known = old.get(order.transaction_id);
    if (!known) {
      return order.ordered_at >= oldest ? [bought(order)] : [];
    }
    const said = known.spend_micros === order.spend_micros && known.units === order.units ? [] : [bought(order)];
    const isReturned = known.refund_micros !== order.refund_micros || known.refund_units !== order.refund_units;
    return isReturned ? [...said, returned(order)] : said;
  });
}

const bought = ({ transaction_id: id, lines, units, spend_micros: spend }) => [
  "Order ", idText(id), `: ${many(lines, "line")}, ${many(units, "unit")}, ${money(spend)}`,
];

const returned = ({ transaction_id: id, refund_units: units, refund_micros: micros }) => [
  "Returned of order ", idText(id), `: ${many(units, "unit")}, ${money(micros)}`,
];

/** Where no order tells it. */
function value(before, after) {
  const spent = before?.spend_micros === after?.spend_micros ? [] : [[`Spent so far: ${money(after?.spend_micros)}`]];
  const back = (before?.refund_micros ?? 0) === (after?.refund_micros ?? 0) ? [] : [[`Returned so far: ${money(after?.refund_micros)}`]];
  return [...spent, ...back];
}

function cart(before, after) {
  if (after.length === 0) {
    return before.length > 0 ? [["Cart is empty now"]] : [];
  }
  const nameOf = (line) => JSON.stringify([line.item_id, line.variant]);
  const [old, now] = [before, after].map((lines) => new Map(lines.map((line) => [nameOf(line), line])));
  const into = after.flatMap((line) => {
    const had = old.get(nameOf(line))?.quantity ?? 0;
    const change = had === 0 ? `${count(line.quantity)} put into the cart` : `${count(had)} → ${count(line.quantity)} in the cart`;
    return had === line.quantity ? [] : [[...item(line), `: ${change}`]];
  });
  const out = before.filter((line) => !now.has(nameOf(line)));
  return [...into, ...out.map((line) => [...item(line), ": taken out of the cart"])];
}

/** An item, with its variant where it has one. */
export const item = ({ item_id: id, variant }) => (variant ? [idText(id), " (", idText(variant), ")"] : [idText(id)]);

function looks(before, after) {
  const newest = before[0]?.viewed_at ?? "";
  const old = new Map(before.map((look) => [look.item_id, look.viewed_at]));
  const seen = after.filter((look) => look.viewed_at >= newest && look.viewed_at !== old.get(look.item_id));
  return seen.length > 0 ? [looksAt(seen.map((look) => look.item_id))] : [];
}

const looksAt = (ids) => ["Looked at ", ...ids.flatMap((id, at) => [at > 0 ? ", " : "", idText(id)])];

/** The longest window forgets last: what it counts more of has just happened. */
function activity(before, after) {
  const longest = after.toSorted((a, b) => windowLength(b.window) - windowLength(a.window))[0];
  const old = before.find((one) => one.window === longest?.window);
  const more = (field) => (longest?.[field] ?? 0) > (old?.[field] ?? 0);
  return [...(more("sessions") ? [["New session"]] : []), ...(more("searches") ? [["Searched"]] : [])];
}

function affinity(before, after) {
  const top = (of) => [levels(of?.categories[0]?.category ?? ""), of?.brands[0]?.brand];
  const old = top(before);
  return top(after).flatMap((name, at) => (name && name !== old[at] ? [["Most drawn to ", idText(name)]] : []));
}

function signals(before, after) {
  const changed = [...after].flatMap(([cartId, row]) => {
    const old = before.get(cartId);
    if (old?.signal_id === row.signal_id && old.state === row.state) {
      return old.value_micros === row.value_micros ? [] : [["Abandoned cart ", idText(cartId), ` is worth ${money(row.value_micros)} now`]];
    }
    return [row.state === "cancelled" ? cancelled(cartId, row) : opened(cartId, row)];
  });
  const gone = [...before.keys()].filter((cartId) => !after.has(cartId));
  return [...changed, ...gone.map((cartId) => ["No signal of cart ", idText(cartId), " any more"])];
}

const opened = (cartId, { cause }) => ["Signal: cart ", idText(cartId), " abandoned (cause: ", idText(cause), ")"];

const cancelled = (cartId, row) => ["Signal of cart ", idText(cartId), ` cancelled: ${reason(row.reason)}`];

function suppressed(before, after) {
  const fresh = [...after].filter(([id, row]) => before.get(id)?.until !== row.until);
  const gone = [...before.keys()].filter((id) => !after.has(id));
  return [
    ...fresh.map(([id, row]) => [idText(id), `: not advertised until ${instant(row.until)}`]),
    ...gone.map((id) => [idText(id), ": may be advertised again"]),
  ];
}

const many = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;
