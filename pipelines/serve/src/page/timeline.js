// The timeline of a customer: what was known before the page was opened, and above it what has
// happened since, one entry a tick, the newest first.

import { Announcer } from "./announce.js";
import { byId, el } from "./dom.js";
import { instant } from "./format.js";

const MAX_ENTRIES = 100;
/** Sentences of one entry; a tick that joins two profiles may have many more. */
const MAX_SENTENCES = 12;

export class Timeline {
  #log = byId("timeline");
  #announcer = new Announcer(byId("latest"));

  /** True where it says nothing yet. */
  get isEmpty() {
    return this.#log.childElementCount === 0;
  }

  clear() {
    this.#log.replaceChildren();
    this.#show();
  }

  /** Begins with these entries: `{ at, sentences }`, the newest first. */
  begin(entries) {
    this.#log.replaceChildren(...entries.slice(0, MAX_ENTRIES).map(({ at, sentences }) => entry("past", at, sentences)));
    this.#show();
  }

  /** Notes what one tick has changed. */
  note(at, sentences) {
    const line = entry("live", at, sentences);
    this.#log.prepend(line);
    while (this.#log.childElementCount > MAX_ENTRIES) {
      this.#log.lastChild.remove();
    }
    this.#announcer.say([...line.querySelectorAll("p")].map((one) => one.textContent).join(". "));
    this.#show();
  }

  #show() {
    byId("timeline-empty").hidden = !this.isEmpty;
  }
}

function entry(kind, at, sentences) {
  const said = sentences.slice(0, MAX_SENTENCES).map((sentence) => el("p", {}, ...sentence));
  const more = sentences.length - said.length;
  const rest = more > 0 ? [el("p", {}, `and ${more} more`)] : [];
  return el("li", { class: kind }, el("time", { datetime: at }, instant(at)), ...said, ...rest);
}
