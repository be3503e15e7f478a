// The live page: one stream of one bestseller set, and what is drawn from it.
//
//   stream ──▶ bestsellers ──▶ list (table), chart
//      │            └────────▶ stock events (log)
//      └─ state ─▶ connection        status (asked once a second)
//
// Everything shown is read from the newest message when it is time to draw, so that many changes
// within a moment cost one drawing.

import { Bestsellers, VIEW, part } from "./bestsellers.js";
import { lineChart } from "./charts.js";
import { Choice } from "./choice.js";
import { command } from "./command.js";
import { Connection } from "./connection.js";
import { byId, setText } from "./dom.js";
import { instant } from "./format.js";
import { Scores } from "./history.js";
import { List } from "./list.js";
import { Status } from "./status.js";
import { StockEvents } from "./stock.js";
import { Stream } from "./stream.js";

/** New scores are drawn this often at most; who leaves or enters is drawn at once. */
const DRAW_MS = 400;
const SAMPLE_MS = 1_000;
const CHOICES_MS = 20_000;
/** So many items have a color of their own. */
const COLORS = 5;

const set = new Bestsellers();
const scores = new Scores();
const list = new List();
const status = new Status();
const colors = new Map();
const choice = new Choice(follow);
const connection = new Connection(start);
const stock = new StockEvents((id) => list.soldOut(id));
const stream = new Stream({
  onMessage: take,
  onState: (state) => {
    connection.take(state);
    draw();
  },
});
let followed = null;
let asOf = null;
let isFirst = true;
let drawAt = null;

/** Follows the chosen set; while no window is known, all sets, to hear of the first. */
function follow() {
  const { scope, window } = choice.current;
  followed = { scope, window, name: window ? `${scope}/${window}` : scope };
  set.choose(followed);
  scores.clear();
  colors.clear();
  isFirst = true;
  document.title = `${followed.name} · etalage`;
  stream.follow([window ? part(followed) : VIEW]);
}

/** Asks which sets there are, then follows one. The stream tells where even that is refused. */
async function start() {
  await choice.load().catch(() => {});
  follow();
}

function take(message) {
  asOf = message.data.as_of;
  connection.asOf = asOf;
  if (message.event === "reset") {
    set.forget();
    isFirst = true;
  } else if (message.event !== "heartbeat") {
    const isNew = message.data.changes.length > 0 && (choice.isEmpty || !followed.window);
    const changed = set.take(message);
    stock.take(changed, followed.name, asOf);
    if (isNew) {
      refreshChoices();
    }
    if (isFirst || changed.left.length > 0 || changed.entered.length > 0) {
      drawSoon(0);
      return;
    }
  }
  drawSoon(DRAW_MS);
}

async function refreshChoices() {
  await choice.load().catch(() => {});
  const { scope, window } = choice.current;
  if (scope !== followed.scope || window !== followed.window) {
    follow();
  }
}

/** Draws within this time; what is due earlier stays so. */
function drawSoon(inMs) {
  const at = performance.now() + inMs;
  if (drawAt !== null && drawAt.at <= at) {
    return;
  }
  clearTimeout(drawAt?.timer);
  drawAt = { at, timer: setTimeout(draw, inMs) };
}

function draw() {
  clearTimeout(drawAt?.timer);
  drawAt = null;
  setText(byId("as-of"), instant(asOf));
  byId("as-of").title = asOf ?? "";
  const isRepainted = paint(set.items);
  list.show(set.items, colors, isFirst);
  if (isFirst && set.known) {
    scores.sample(set.items);
    isFirst = false;
    drawLines();
  } else if (isRepainted) {
    drawLines();
  }
  showEmpty();
}

/** Gives the first items colors; one that stays among them keeps its own. True where any is new. */
function paint(items) {
  const first = items.slice(0, COLORS).map((item) => item.id);
  for (const id of colors.keys()) {
    if (!first.includes(id)) {
      colors.delete(id);
    }
  }
  const taken = new Set(colors.values());
  const free = Array.from({ length: COLORS }, (_, at) => `c${at}`).filter((color) => !taken.has(color));
  const fresh = first.filter((id) => !colors.has(id));
  for (const id of fresh) {
    colors.set(id, free.shift());
  }
  return fresh.length > 0;
}

function drawLines() {
  list.draw(scores, colors);
  // Colored lines last, so that they lie on top.
  const lines = set.items.toReversed().map(({ id }) => {
    const color = colors.get(id);
    return { name: color ? id : null, color: color ?? "other", values: scores.of(id) };
  });
  lineChart(byId("chart"), lines);
}

function showEmpty() {
  const isEmpty = set.items.length === 0 && set.known;
  byId("empty").hidden = !isEmpty;
  byId("table-box").hidden = isEmpty;
  if (!isEmpty) {
    return;
  }
  const nothing = choice.isEmpty;
  setText(byId("empty-title"), nothing ? "Nothing has come in yet" : "Nothing to show here");
  setText(
    byId("empty-text"),
    nothing
      ? "Send a first event, and the item appears:"
      : `No item of ${followed.name} has a score and can be bought now. Choose another scope or window, or send an event:`,
  );
  setText(byId("curl"), command({ event: "view_item", properties: { items: [{ item_id: "22086" }] } }));
}

setInterval(() => {
  scores.sample(connection.isLive && set.known ? set.items : null);
  drawLines();
  if (!connection.isLocked) {
    status.refresh();
  }
}, SAMPLE_MS);
setInterval(() => connection.isLive && refreshChoices(), CHOICES_MS);
addEventListener("resize", () => {
  drawLines();
  status.draw();
});
status.refresh();
start();
