// The cards of a customer. Each is written anew only where what it shows differs, so that a
// selection or a place in the text stays.

import { item, reason } from "./changes.js";
import { byId, el, idText, setText } from "./dom.js";
import { count, instant, levels, money, share } from "./format.js";

/** Lines of a cart, and suppressed items, that are written out. */
const MAX_ROWS = 50;
const MAX_SIGNALS = 10;

const shown = new Map();

/** Writes all cards of a state. */
export function drawCards({ features, signals, suppressed }) {
  drawStatus(features.customer_status);
  drawValue(features.value);
  drawCart(features.cart);
  fill("orders", features.purchases?.orders ?? [], (orders) => orders.map(order));
  fill("looks", features.recent_views?.items ?? [], (items) => items.map(look));
  fill("categories", features.affinity?.categories ?? [], (rows) => rows.map((row) => bar(levels(row.category), row.share_ppm, "c0")));
  fill("brands", features.affinity?.brands ?? [], (rows) => rows.map((row) => bar(row.brand, row.share_ppm, "c2")));
  fill("activity", features.activity?.windows ?? [], (windows) => windows.map(activity));
  const newest = [...signals].sort(([, a], [, b]) => b.opened_at.localeCompare(a.opened_at));
  fill("signals", newest.slice(0, MAX_SIGNALS), (rows) => rows.map(signal));
  const last = [...suppressed].sort(([a, x], [b, y]) => y.until.localeCompare(x.until) || a.localeCompare(b));
  fill("suppressed", last.slice(0, MAX_ROWS), (rows) => rows.map(suppression));
  rest("suppressed-more", last.length);
}

/** Writes what `make(data)` gives into an element; where there is nothing, its note is shown. */
function fill(id, data, make) {
  const text = JSON.stringify(data);
  if (shown.get(id) !== text) {
    shown.set(id, text);
    byId(id).replaceChildren(...make(data));
    byId(`${id}-empty`).hidden = data.length > 0;
    const table = byId(id).closest("table");
    (table ?? byId(id)).hidden = data.length === 0;
  }
}

function rest(id, length) {
  setText(byId(id), length > MAX_ROWS ? `and ${count(length - MAX_ROWS)} more` : "");
}

function drawStatus(row) {
  const status = row?.status ?? "";
  setText(byId("status"), status);
  byId("status").dataset.status = status;
  byId("status").hidden = status === "";
}

function drawValue(row) {
  const figures = {
    "value-orders": count(row?.orders ?? 0),
    "value-spend": money(row?.spend_micros ?? 0),
    "value-average": money(row?.average_order_micros),
    "value-units": count(row?.units ?? 0),
    "value-items": count(row?.distinct_items ?? 0),
    "value-returned": money(row?.refund_micros ?? 0),
    "value-first": instant(row?.first_order),
    "value-last": instant(row?.last_order),
  };
  for (const [id, text] of Object.entries(figures)) {
    setText(byId(id), text);
  }
}

function drawCart(row) {
  const lines = row?.lines ?? [];
  fill("cart", lines.slice(0, MAX_ROWS), (rows) => rows.map(cartLine));
  rest("cart-more", lines.length);
  const worth = row ? `${count(row.units)} ${row.units === 1 ? "unit" : "units"}, worth ${money(row.value_micros)}` : "";
  setText(byId("cart-worth"), worth);
  byId("cart-worth").title = row ? `since ${instant(row.updated_at)}` : "";
}

function cartLine(line) {
  const { quantity, price_micros: price } = line;
  return el("tr", {}, name(...item(line)), number(count(quantity)), number(money(price)), number(money(price * quantity)));
}

function order(row) {
  const back = row.refund_units > 0 || row.refund_micros > 0 ? `${count(row.refund_units)} / ${money(row.refund_micros)}` : "";
  const id = el("span", { class: "cut" }, idText(row.transaction_id));
  const at = el("time", { datetime: row.ordered_at }, instant(row.ordered_at));
  return el("tr", {}, name(id, at), number(count(row.units)), number(money(row.spend_micros)), number(back));
}

function look(row) {
  return el("tr", {}, name(idText(row.item_id)), when(row.viewed_at));
}

function suppression([id, row]) {
  return el("tr", {}, name(idText(id)), when(row.until));
}

function activity(row) {
  return el("tr", {}, name(row.window), ...["sessions", "views", "searches"].map((field) => number(count(row[field]))));
}

/** A share as text, and as a bar for the eye. */
function bar(text, ppm, color) {
  const length = el("span", { class: `length ${color}` });
  length.style.inlineSize = `${Math.min(100, ppm / 10_000)}%`;
  const way = el("span", { class: "way", "aria-hidden": "true" }, length);
  return el("li", {}, el("span", { class: "text", title: text }, idText(text)), way, el("span", { class: "share" }, share(ppm)));
}

function signal([cartId, row]) {
  const figures = [
    ["opened", instant(row.opened_at)],
    ...(row.cancelled_at ? [["cancelled", instant(row.cancelled_at)]] : []),
    ...(row.reason ? [["reason", reason(row.reason)]] : []),
    ...(row.state === "open" ? [["worth", money(row.value_micros)]] : []),
    ["cause", idText(row.cause)],
    ["cart", idText(cartId)],
  ];
  const list = el("dl", { class: "pairs" }, ...figures.map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, text))));
  return el("li", { class: row.state }, el("h3", {}, "Cart abandoned ", el("span", { class: "badge" }, row.state)), list);
}

const name = (...children) => el("th", { scope: "row", class: "item" }, ...children);

const number = (text) => el("td", { class: "number" }, text);

const when = (at) => el("td", { class: "when" }, el("time", { datetime: at }, instant(at)));
