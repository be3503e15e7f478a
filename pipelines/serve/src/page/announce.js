// Says the newest of what happens in a status line, for those who listen to the page instead of
// looking at it.

import { setText } from "./dom.js";

/** Pause between two announcements, so that a screen reader is not talked over. */
const PAUSE_MS = 2_500;

export class Announcer {
  #element;
  #at = 0;
  #timer = null;
  #text = "";

  /** `element` has the role `status`. */
  constructor(element) {
    this.#element = element;
  }

  /** Says this text, or in its place what comes before the next pause has ended. */
  say(text) {
    this.#text = text;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#at = performance.now();
      setText(this.#element, this.#text);
    }, Math.max(0, this.#at + PAUSE_MS - performance.now()));
  }
}
