// The table of bestsellers. What stands in it is always the set as the server last told it: an
// item that has left is out of the table at once, and only a fading picture of its row stays
// behind for a moment. Rows that change their rank glide to their new place.

import { sparkline } from "./charts.js";
import { byId, el, idText, isCalm, setText, svg } from "./dom.js";
import { count } from "./format.js";

const MOVE_MS = 350;
const LEAVE_MS = 1_100;
/** How long a row that has entered stays marked. */
const ENTERED_MS = 2_500;
const MAX_GHOSTS = 12;
/** Stock at or below this is shown as low. */
const LOW_STOCK = 5;

export class List {
  #body = byId("rows");
  #ghosts = byId("ghosts");
  #rows = new Map();
  #entered = new Map();

  /** Shows these items. `isFirst`: nothing moves, as nothing was there before. */
  show(items, colors, isFirst) {
    const before = isFirst || isCalm() ? new Map() : this.#places();
    this.#leave(new Set(items.map((item) => item.id)), isFirst);
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

  /** Writes onto what is left of an item that it was sold out. */
  stamp(id) {
    for (const ghost of this.#ghosts.children) {
      if (ghost.dataset.id === id) {
        setText(ghost.lastChild, "sold out");
      }
    }
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
  #leave(ids, isFirst) {
    const left = [...this.#rows].filter(([id]) => !ids.has(id));
    if (!isFirst && !isCalm() && !document.hidden) {
      const room = MAX_GHOSTS - this.#ghosts.childElementCount;
      left.slice(0, Math.max(room, 0)).forEach(([id, row]) => this.#haunt(id, row.element));
    }
    for (const [id, row] of left) {
      this.#rows.delete(id);
      row.element.remove();
    }
  }

  /** A picture of the row that fades where the row was. */
  #haunt(id, row) {
    const ghost = el("div", { class: "ghost" }, idText(id), el("span", { class: "stamp" }));
    ghost.dataset.id = id;
    ghost.style.top = `${row.offsetTop}px`;
    ghost.style.height = `${row.offsetHeight}px`;
    this.#ghosts.append(ghost);
    const steps = [
      { opacity: 1, transform: "none" },
      { opacity: 0.95, transform: "none", offset: 0.45 },
      { opacity: 0, transform: "translateX(12%)" },
    ];
    const fading = ghost.animate(steps, { duration: LEAVE_MS, easing: "ease-in" });
    fading.finished.catch(() => {}).then(() => ghost.remove());
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
