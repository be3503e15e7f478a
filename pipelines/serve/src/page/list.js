// The table of bestsellers. What stands in it is always the set as the server last told it: an
// item that has left is out of the table at once; where it was sold out, a fading picture of its
// row stays behind for a moment. Rows that change their rank glide to their new place.

import { sparkline } from "./charts.js";
import { byId, el, idText, isCalm, setText, svg } from "./dom.js";
import { count } from "./format.js";

const MOVE_MS = 350;
const LEAVE_MS = 1_100;
/** How long a row that has entered stays marked. */
const ENTERED_MS = 2_500;
const MAX_GHOSTS = 12;
/** How long after its leaving it may become known that an item was sold out. */
const LEFT_MS = 1_000;
/** Stock at or below this is shown as low. */
const LOW_STOCK = 5;

export class List {
  #body = byId("rows");
  #ghosts = byId("ghosts");
  #rows = new Map();
  #entered = new Map();
  /** Where items were that have left just now. */
  #left = new Map();

  /** Shows these items. `isFirst`: nothing moves, as nothing was there before. */
  show(items, colors, isFirst) {
    const before = isFirst || isCalm() ? new Map() : this.#places();
    this.#leave(new Set(items.map((item) => item.id)));
    items.forEach((item, at) => {
      const row = this.#rows.get(item.id) ?? this.#enter(item.id, isFirst);
      fill(row, item, at + 1, colors.get(item.id));
      if (this.#body.children[at] !== row.element) {
        this.#body.insertBefore(row.element, this.#body.children[at] ?? null);
      }
    });
    this.#glide(before);
  }

  /** Draws the line of every row. */
  draw(scores, colors) {
    for (const [id, row] of this.#rows) {
      sparkline(row.spark, scores.of(id), colors.get(id) ?? "other");
    }
  }

  /** Says of an item that has left that it was sold out: a picture of its row fades there. */
  soldOut(id) {
    const place = this.#left.get(id);
    if (!place || place.at < performance.now() - LEFT_MS || isCalm() || document.hidden) {
      return;
    }
    if (this.#ghosts.childElementCount >= MAX_GHOSTS) {
      return;
    }
    const ghost = el("div", { class: "ghost" }, idText(id), el("span", { class: "stamp" }, "sold out"));
    ghost.style.top = `${place.top}px`;
    ghost.style.height = `${place.height}px`;
    this.#ghosts.append(ghost);
    const steps = [
      { opacity: 1, transform: "none" },
      { opacity: 0.95, transform: "none", offset: 0.45 },
      { opacity: 0, transform: "translateX(12%)" },
    ];
    const fading = ghost.animate(steps, { duration: LEAVE_MS, easing: "ease-in" });
    fading.finished.catch(() => {}).then(() => ghost.remove());
  }

  #enter(id, isFirst) {
    const row = newRow(id);
    this.#rows.set(id, row);
    if (!isFirst) {
      row.element.classList.add("entered");
      clearTimeout(this.#entered.get(id));
      this.#entered.set(id, setTimeout(() => {
        row.element.classList.remove("entered");
        this.#entered.delete(id);
      }, ENTERED_MS));
      if (!isCalm()) {
        row.element.animate([{ opacity: 0 }, { opacity: 1 }], { duration: MOVE_MS, easing: "ease-out" });
      }
    }
    return row;
  }

  /** Takes out the rows of items that are not among these. */
  #leave(ids) {
    const left = [...this.#rows].filter(([id]) => !ids.has(id));
    if (left.length === 0) {
      return;
    }
    const at = performance.now();
    for (const [id, place] of this.#left) {
      if (place.at < at - LEFT_MS) {
        this.#left.delete(id);
      }
    }
    // All places before the first row goes, as the others then move up.
    for (const [id, { element }] of left) {
      this.#left.set(id, { at, top: element.offsetTop, height: element.offsetHeight });
    }
    for (const [id, row] of left) {
      this.#rows.delete(id);
      row.element.remove();
    }
  }

  #places() {
    const places = new Map();
    for (const [id, row] of this.#rows) {
      places.set(id, row.element.getBoundingClientRect().top);
    }
    return places;
  }

  /** Moves rows from where they were to where they are now. */
  #glide(before) {
    const moves = [];
    for (const [id, row] of this.#rows) {
      if (before.has(id)) {
        row.gliding?.cancel();
        const by = before.get(id) - row.element.getBoundingClientRect().top;
        if (Math.abs(by) > 1) {
          moves.push([row, by]);
        }
      }
    }
    for (const [row, by] of moves) {
      const steps = [{ transform: `translateY(${by}px)` }, { transform: "none" }];
      row.gliding = row.element.animate(steps, { duration: MOVE_MS, easing: "cubic-bezier(0.2, 0, 0, 1)" });
    }
  }
}

function newRow(id) {
  const [rank, score, stock] = [el("td", { class: "rank" }), el("td", { class: "number" }), el("td", { class: "number stock" })];
  const spark = svg("svg", { class: "spark", "aria-hidden": "true" });
  const name = el("th", { scope: "row", class: "item", title: id }, idText(id));
  const element = el("tr", {}, rank, name, el("td", { class: "trend" }, spark), score, stock);
  element.dataset.id = id;
  return { element, rank, score, stock, spark, gliding: null };
}

function fill(row, item, rank, color) {
  setText(row.rank, String(rank));
  row.rank.className = `rank ${color ?? ""}`;
  setText(row.score, count(item.score));
  const isKnown = item.available !== null && item.available !== undefined;
  setText(row.stock, isKnown ? count(item.available) : "?");
  row.stock.title = isKnown ? "" : "the stock of this item was never told";
  row.stock.classList.toggle("low", isKnown && item.available <= LOW_STOCK);
  row.stock.classList.toggle("unknown", !isKnown);
}
