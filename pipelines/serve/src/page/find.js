// Which customer is shown, and whether the server tells of any. The id stands behind the `#` of the
// address, so that a link can be shared.

import { currentKey, get, query } from "./api.js";
import { byId, el, idText } from "./dom.js";
import { VIEWS } from "./profile.js";

/** Where the first ids are taken from: the smallest values come first. */
const LISTED = ["profile.customer_status", "profile.value", "profile.snapshot", "cart.state"];
const MAX_SUGGESTIONS = 10;

export class Find {
  /** `onChange()` is called when another customer is asked for. */
  constructor(onChange) {
    byId("find").addEventListener("submit", (event) => {
      event.preventDefault();
      const id = byId("customer-id").value.trim();
      if (id !== this.id) {
        location.hash = id === "" ? "" : new URLSearchParams({ id });
      }
    });
    addEventListener("hashchange", () => {
      this.#show();
      onChange();
    });
    this.#show();
  }

  /** The id that is asked for, or an empty text. */
  get id() {
    return (new URLSearchParams(location.hash.slice(1)).get("id") ?? "").trim();
  }

  /** Offers the first customers of the shop; the number of them. */
  async suggest(views) {
    const view = LISTED.find((name) => views.has(name));
    const { entries } = view ? await get(`v1/views/${view}${query({ limit: MAX_SUGGESTIONS })}`) : { entries: [] };
    const links = entries.map(({ key: { profile_id: id } }) =>
      el("li", {}, el("a", { href: `#${new URLSearchParams({ id })}` }, idText(id))),
    );
    // Nothing is written anew under the reader's hands.
    if (!byId("suggestions").contains(document.activeElement)) {
      byId("suggestions").replaceChildren(...links);
    }
    byId("suggested").hidden = links.length === 0;
    return links.length;
  }

  #show() {
    byId("customer-id").value = this.id;
  }
}

/** Names of the server's views; none where none tells of one customer. Fails where the key may not read them. */
export async function customerViews() {
  const { views: listed } = await get("v1/views");
  const all = new Set(listed.map((view) => view.name));
  if (VIEWS.some((view) => all.has(view))) {
    return all;
  }
  if (currentKey() !== "") {
    // Wants a secret key too: this tells whether there is nothing, or nothing for this key.
    await get("v1/quarantine?limit=1");
  }
  return new Set();
}
