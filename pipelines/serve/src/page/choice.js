// Choice of scope and window. The sets that exist are those that can be chosen; the choice stands
// behind the `#` of the address, so that a link can be shared.

import { get, query } from "./api.js";
import { VIEW } from "./bestsellers.js";
import { byId, el } from "./dom.js";
import { windowLength } from "./format.js";

/** Sets are listed in pages of this length … */
const PAGE_KEYS = 500;
/** … and no more of them than this can be chosen by hand; a link reaches the others. */
const MAX_KEYS = 2_000;
/** Shown first, where there is one of these: long enough to be calm, short enough to move. */
const PREFERRED_WINDOWS = ["24h", "1d", "7d"];

export class Choice {
  #onChange;
  #scopes = [];
  #windows = [];
  #shown = "";

  /** `onChange()` is called when the reader has chosen. */
  constructor(onChange) {
    this.#onChange = onChange;
    byId("scope").addEventListener("change", (event) => this.#choose({ scope: event.target.value }));
    byId("scope").addEventListener("blur", () => this.#show());
    byId("windows").addEventListener("change", (event) => this.#choose({ window: event.target.value }));
    byId("choice").addEventListener("submit", (event) => event.preventDefault());
    addEventListener("hashchange", () => {
      this.#show();
      this.#onChange();
    });
    this.#show();
  }

  /** `{ scope, window }`; the window is `null` while no set exists and none was asked for. */
  get current() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const window = asked.get("window") || this.#defaultWindow();
    return { scope: asked.get("scope") || this.#defaultScope(), window };
  }

  /** True where no set exists at all. */
  get isEmpty() {
    return this.#scopes.length === 0;
  }

  /** Asks which sets there are. */
  async load() {
    const [scopes, windows] = [new Set(), new Set()];
    let cursor = null;
    for (let read = 0; read < MAX_KEYS; read += PAGE_KEYS) {
      const more = cursor ? { cursor } : {};
      const page = await get(`v1/views/${VIEW}${query({ limit: PAGE_KEYS, ...more })}`);
      for (const { key } of page.entries) {
        scopes.add(key.scope);
        windows.add(key.window);
      }
      cursor = page.next;
      if (!cursor) {
        break;
      }
    }
    this.#scopes = [...scopes].sort((a, b) => (b === "global") - (a === "global") || a.localeCompare(b));
    this.#windows = [...windows].sort((a, b) => windowLength(a) - windowLength(b) || a.localeCompare(b));
    this.#show();
  }

  #choose(part) {
    const hash = new URLSearchParams({ ...this.current, ...part });
    // Without an entry of its own in the history: the way back leads out of the page.
    history.replaceState(null, "", `#${hash}`);
    this.#onChange();
  }

  #defaultScope() {
    return this.#scopes.includes("global") ? "global" : (this.#scopes[0] ?? "global");
  }

  #defaultWindow() {
    const preferred = PREFERRED_WINDOWS.find((label) => this.#windows.includes(label));
    return preferred ?? this.#windows[Math.floor(this.#windows.length / 2)] ?? null;
  }

  /** Writes the options anew where they differ, but never under the reader's hands. */
  #show() {
    const { scope, window } = this.current;
    const scopes = withChosen(this.#scopes, scope);
    const windows = withChosen(this.#windows, window);
    const texts = JSON.stringify([scopes, windows]);
    const select = byId("scope");
    if (texts !== this.#shown && document.activeElement !== select) {
      this.#shown = texts;
      select.replaceChildren(...groups(scopes));
      byId("windows").replaceChildren(...windows.map(radio));
    }
    select.value = scope;
    for (const input of byId("windows").querySelectorAll("input")) {
      input.checked = input.value === window;
    }
  }
}

/** A link may name what does not exist yet. */
function withChosen(options, chosen) {
  return chosen === null || options.includes(chosen) ? options : [...options, chosen];
}

/** Options by dimension: `country:Germany` stands under `country` as `Germany`. */
function groups(scopes) {
  const byDimension = new Map();
  for (const scope of scopes) {
    const isPair = scope.includes("+") && scope.split("+").every((half) => half.includes(":"));
    const at = scope.indexOf(":");
    const [dimension, text] = isPair || at < 0 ? [isPair ? "pairs" : "", scope] : [scope.slice(0, at), scope.slice(at + 1)];
    const option = el("option", { value: scope }, text);
    byDimension.set(dimension, [...(byDimension.get(dimension) ?? []), option]);
  }
  return [...byDimension].flatMap(([dimension, options]) =>
    dimension ? [el("optgroup", { label: dimension }, ...options)] : options,
  );
}

function radio(label) {
  return el("label", {}, el("input", { type: "radio", name: "window", value: label }), el("span", {}, label));
}
