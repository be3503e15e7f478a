// Tells how the connection is: a word in the head of the page, a banner where the data is not
// live, and the field for a key where the server wants one.

import { currentKey, useKey } from "./api.js";
import { byId, setText } from "./dom.js";
import { instant } from "./format.js";

const WORDS = {
  connecting: "Connecting …",
  live: "Live",
  late: "Late",
  lost: "Disconnected",
  refused: "Not available",
  locked: "Key needed",
  idle: "Not connected",
};

export class Connection {
  #state = { kind: "connecting" };
  #asOf = null;

  /** `onKey()` is called when another key is to be used. */
  constructor(onKey) {
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      useKey(byId("key").value);
      byId("key").value = "";
      onKey();
    });
    byId("forget-key").addEventListener("click", () => {
      useKey("");
      onKey();
    });
    setInterval(() => this.#show(), 1_000);
  }

  get isLive() {
    return this.#state.kind === "live";
  }

  /** True where the server gives nothing without another key. */
  get isLocked() {
    return this.#state.kind === "locked";
  }

  /** The data on the page holds as of this time. */
  set asOf(text) {
    this.#asOf = text;
  }

  /** Takes a state of the stream; `idle` where there is nothing to follow. */
  take(state) {
    const wasLocked = this.#state.kind === "locked";
    this.#state = state;
    this.#show();
    if (state.kind === "locked" && !wasLocked) {
      byId("key").focus();
    }
  }

  #show() {
    const { kind } = this.#state;
    const link = byId("link");
    link.dataset.kind = kind;
    setText(link, WORDS[kind]);
    const text = this.#sentence();
    setText(byId("banner"), text);
    byId("banner").hidden = text === "";
    byId("key-form").hidden = kind !== "locked";
    byId("forget-key").hidden = currentKey() === "";
    const isOld = kind !== "live" && kind !== "connecting" && kind !== "idle";
    for (const card of document.querySelectorAll(".follows")) {
      card.classList.toggle("old", isOld);
    }
  }

  #sentence() {
    const { kind, reason, retryAt } = this.#state;
    const shown = this.#asOf ? ` What you see holds as of ${instant(this.#asOf)}.` : "";
    const waitS = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    switch (kind) {
      case "late":
        return `Nothing has been heard from the server for some seconds.${shown}`;
      case "lost":
        return `Disconnected: ${reason}. Next attempt ${waitS > 0 ? `in ${waitS} s` : "now"}.${shown}`;
      case "refused":
        return `The server does not give this: ${reason}. Next attempt in ${waitS} s.${shown}`;
      case "locked":
        return currentKey() ? `This server does not take the key: ${reason}.` : "This server wants a key.";
      default:
        return "";
    }
  }
}
