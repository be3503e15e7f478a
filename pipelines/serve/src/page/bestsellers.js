// The set that is followed: its items, and what has changed between two renderings.

export const VIEW = "set.bestsellers";

/** The part of the stream that is one set. Written as JSON, which needs no escapes of its own. */
export const part = ({ scope, window }) => `${VIEW}:${JSON.stringify({ scope, window })}`;

export class Bestsellers {
  /** Items by rank: `{ id, score, available }`. */
  items = [];
  /** False until the server has said what the set holds. */
  known = false;
  #choice = null;

  /** Follows another set from now on. */
  choose(choice) {
    this.#choice = choice;
    this.forget();
  }

  /** Drops what is known: a snapshot follows. */
  forget() {
    this.items = [];
    this.known = false;
  }

  /**
   * Takes a `snapshot` or `changes` message. Gives the items that left and that entered, with
   * their ranks; a first snapshot has none of either.
   */
  take({ event, data }) {
    const change = data.changes.find((one) => one.view === VIEW && this.#isOf(one.key));
    if (!change && event !== "snapshot") {
      return { left: [], entered: [] };
    }
    const [before, wasKnown] = [this.items, this.known];
    this.items = (change?.value?.items ?? []).map(({ item_id: id, score, available }) => ({ id, score, available }));
    this.known = true;
    return wasKnown ? { left: missing(before, this.items), entered: missing(this.items, before) } : { left: [], entered: [] };
  }

  #isOf(key) {
    return this.#choice && key.scope === this.#choice.scope && key.window === this.#choice.window;
  }
}

/** Items of `these` that are not among `those`. */
function missing(these, those) {
  const ids = new Set(those.map((item) => item.id));
  return these.map((item, at) => ({ ...item, rank: at + 1 })).filter((item) => !ids.has(item.id));
}
