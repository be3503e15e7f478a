// What the page remembers of the last minutes: one sample a second.

export const SAMPLES = 300;
/** Items beyond this are forgotten, those first that were listed longest ago. */
const MAX_ITEMS = 100;

/** Samples of one figure, the newest at the end; `null` is a moment without one. */
export class Figure {
  values = [];

  add(value) {
    this.values.push(Number.isFinite(value) ? value : null);
    if (this.values.length > SAMPLES) {
      this.values.shift();
    }
  }
}

/** Scores of items, all sampled at the same moments. */
export class Scores {
  #figures = new Map();

  /** Notes the listed items; those not listed have a gap. `null`: nothing is known just now. */
  sample(items) {
    const scores = new Map((items ?? []).map((item) => [item.id, item.score]));
    for (const id of scores.keys()) {
      const known = this.#figures.get(id) ?? new Figure();
      // Put at the end again: the map stays in the order in which items were last listed.
      this.#figures.delete(id);
      this.#figures.set(id, known);
    }
    for (const [id, figure] of this.#figures) {
      figure.add(scores.get(id));
    }
    while (this.#figures.size > Math.max(MAX_ITEMS, scores.size)) {
      this.#figures.delete(this.#figures.keys().next().value);
    }
  }

  /** The samples of an item, up to now. */
  of(id) {
    return this.#figures.get(id)?.values ?? [];
  }

  clear() {
    this.#figures.clear();
  }
}
