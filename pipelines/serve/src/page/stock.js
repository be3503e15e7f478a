// Why an item has left: sold out, or just overtaken by others. The set does not say, so the item's
// own view is asked. What sold out is noted in the log, and again when it is back.

import { Announcer } from "./announce.js";
import { get, query } from "./api.js";
import { byId, el, idText } from "./dom.js";
import { instant } from "./format.js";

const MAX_LOG = 50;
/** Departures that wait to be looked up; older ones are let go. */
const MAX_WAITING = 200;
/** Sold-out items that are remembered, to tell when they are back. */
const MAX_REMEMBERED = 1_000;
/** Items that a line names beside the one it is about. */
const MAX_NAMES = 2;

export class StockEvents {
  #onSoldOut;
  #waiting = [];
  #asking = false;
  #soldOut = new Set();
  #announcer = new Announcer(byId("latest"));

  /** `onSoldOut(id)` is called for every item that has left because it was sold out. */
  constructor(onSoldOut) {
    this.#onSoldOut = onSoldOut;
  }

  /** Takes what one tick has changed in the set called `name`. */
  take({ left, entered }, name, asOf) {
    const back = entered.filter((item) => this.#soldOut.delete(item.id));
    if (left.length + back.length > 0) {
      this.#waiting.push({ left, entered, back, name, asOf });
      this.#waiting.splice(0, this.#waiting.length - MAX_WAITING);
      this.#ask();
    }
  }

  async #ask() {
    if (this.#asking) {
      return;
    }
    this.#asking = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0);
      const ids = [...new Set(batch.flatMap((one) => one.left.map((item) => item.id)))];
      const gone = ids.length > 0 ? await unsellable(ids) : new Set();
      for (const one of batch) {
        this.#tell(one, gone);
      }
    }
    this.#asking = false;
  }

  #tell({ left, entered, back, name, asOf }, gone) {
    const soldOut = left.filter((item) => gone.has(item.id));
    const overtaken = left.filter((item) => !gone.has(item.id));
    for (const item of back) {
      const sentence = [idText(item.id), ` back in stock — entered ${name} at ${item.rank}`];
      this.#note("back", [...sentence, ...others(overtaken, " left")], asOf);
    }
    for (const item of soldOut) {
      this.#remember(item.id);
      this.#onSoldOut(item.id);
      this.#note("gone", [idText(item.id), ` sold out — left ${name}`, ...others(entered, " entered")], asOf);
    }
  }

  #remember(id) {
    this.#soldOut.add(id);
    if (this.#soldOut.size > MAX_REMEMBERED) {
      this.#soldOut.delete(this.#soldOut.values().next().value);
    }
  }

  #note(kind, sentence, asOf) {
    const log = byId("log");
    const line = el("li", { class: kind }, el("time", { datetime: asOf }, instant(asOf)), el("p", {}, ...sentence));
    log.prepend(line);
    while (log.childElementCount > MAX_LOG) {
      log.lastChild.remove();
    }
    byId("log-empty").hidden = true;
    this.#announcer.say(line.lastChild.textContent);
  }
}

/** `; A, B and 2 more entered` of items, or nothing. */
function others(items, what) {
  if (items.length === 0) {
    return [];
  }
  const names = items.slice(0, MAX_NAMES).flatMap((item, at) => [at > 0 ? ", " : "; ", idText(item.id)]);
  const more = items.length - MAX_NAMES;
  return [...names, more > 0 ? ` and ${more} more${what}` : what];
}

/** Which of these items cannot be bought. Where that cannot be read, none is called sold out. */
async function unsellable(ids) {
  try {
    const keys = ids.map((id) => ["key", JSON.stringify({ item_id: id })]);
    const { entries } = await get(`v1/views/item.sellable${query(keys)}`);
    return new Set(entries.filter(({ value }) => value?.sellable === false).map(({ key }) => key.item_id));
  } catch {
    return new Set();
  }
}
