// The identifiers that belong to a profile. The view is keyed by identifier, so they are looked for
// page by page; in a large shop only a part of it is looked through, and the page says so.

import { get, query } from "./api.js";
import { byId, el, idText, setText } from "./dom.js";
import { count } from "./format.js";
import { IDENTITY, idOf } from "./profile.js";

/** Links are read in pages of this length … */
const PAGE_KEYS = 500;
/** … and no more of them than this. */
const MAX_KEYS = 2_000;
const MAX_SHOWN = 50;
/** After a change they are looked for again, but not more often than this. */
const PAUSE_MS = 5_000;

export class Identifiers {
  #profileId = null;
  #isWhole = true;
  #isAsking = false;
  #askedAt = -Infinity;
  #timer = null;

  /** Looks for those of this profile; `null` for none. */
  of(profileId) {
    if (profileId !== this.#profileId) {
      this.#profileId = profileId;
      this.#isWhole = true;
      byId("identifiers").replaceChildren();
      setText(byId("identifiers-note"), "");
      this.#askedAt = -Infinity;
      this.again();
    }
  }

  /** The profile has changed: perhaps its identifiers too. Where there are too many links, they were looked at once. */
  again() {
    if (this.#profileId === null || !this.#isWhole) {
      return;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#ask();
    }, Math.max(0, this.#askedAt + PAUSE_MS - performance.now()));
  }

  async #ask() {
    if (this.#isAsking) {
      this.again();
      return;
    }
    this.#isAsking = true;
    this.#askedAt = performance.now();
    const profileId = this.#profileId;
    const found = await linked(profileId).catch(() => null);
    this.#isAsking = false;
    if (found && profileId === this.#profileId) {
      this.#show(found);
    }
  }

  #show({ ids, isWhole }) {
    this.#isWhole = isWhole;
    const shown = ids.slice(0, MAX_SHOWN).map((id) => el("li", {}, el("a", { href: `#${new URLSearchParams({ id })}` }, idText(id))));
    byId("identifiers").replaceChildren(...shown);
    setText(byId("identifiers-note"), note(ids.length, shown.length, isWhole));
  }
}

function note(found, shown, isWhole) {
  if (!isWhole) {
    return `Only the first ${count(MAX_KEYS)} links of the shop were looked through: there may be others.`;
  }
  if (found === 0) {
    return "It is linked to no other.";
  }
  return found > shown ? `and ${count(found - shown)} more` : "";
}

async function linked(profileId) {
  const ids = [];
  let cursor = null;
  for (let read = 0; read < MAX_KEYS; read += PAGE_KEYS) {
    const more = cursor ? { cursor } : {};
    const page = await get(`v1/views/${IDENTITY}${query({ limit: PAGE_KEYS, ...more })}`);
    ids.push(...page.entries.filter(({ value }) => value?.profile_id === profileId).map(({ key }) => idOf(key)));
    cursor = page.next;
    if (!cursor) {
      break;
    }
  }
  return { ids, isWhole: !cursor };
}
