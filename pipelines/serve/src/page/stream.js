// Follows one stream of the server, and goes on with it when the connection breaks.
//
// It is read with fetch, as an EventSource can send no key and tells no reason why a stream was
// refused. The rest is as with an EventSource: after a break it asks with the last id for what
// has changed since. Heartbeats come once a second; where they stay out, the stream is *late*,
// and after a longer silence it is opened again.

import { Refused, headers } from "./api.js";

/** After so long a silence the data is shown as late … */
const LATE_MS = 4_000;
/** … and after so long the connection is given up. */
const DEAD_MS = 12_000;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;
/** Pause after an answer that will hardly change, such as an unknown view. */
const REFUSED_PAUSE_MS = 15_000;
/** No message is longer than this. */
const MAX_MESSAGE_CHARS = 32 << 20;

export class Stream {
  #onMessage;
  #onState;
  #stop = new AbortController();
  #wake = () => {};

  /**
   * `onMessage({ event, data })` gets every message, heartbeats too; `onState({ kind,
   * reason, retryAt })` every change of kind: connecting, live, late, lost, refused, locked.
   */
  constructor({ onMessage, onState }) {
    this.#onMessage = onMessage;
    this.#onState = onState;
    addEventListener("online", () => this.retry());
  }

  /** Follows these parts (`VIEW:PREFIX`) from a snapshot on, instead of those before. */
  follow(subs) {
    this.#stop.abort();
    this.#stop = new AbortController();
    const url = `v1/stream?${new URLSearchParams(subs.map((sub) => ["sub", sub]))}`;
    this.#follow(url, this.#stop.signal);
  }

  /** Follows nothing any more. */
  stop() {
    this.#stop.abort();
  }

  /** Does not wait any longer with the next attempt. */
  retry() {
    this.#wake();
  }

  async #follow(url, stop) {
    const place = { id: null, failures: 0 };
    this.#onState({ kind: "connecting" });
    while (!stop.aborted) {
      let problem = new Error("the server ended the stream");
      try {
        await this.#read(url, place, stop);
      } catch (error) {
        problem = error;
      }
      if (stop.aborted) {
        return;
      }
      const pauseMs = pauseAfter(problem, place.failures);
      place.failures += 1;
      this.#onState(stateOf(problem, pauseMs));
      await this.#pause(pauseMs, stop);
    }
  }

  async #read(url, place, stop) {
    const attempt = new AbortController();
    let heardAt = performance.now();
    let kind = "connecting";
    const tell = (next) => {
      if (next !== kind) {
        kind = next;
        this.#onState({ kind });
      }
    };
    const watch = setInterval(() => {
      const silentMs = performance.now() - heardAt;
      if (silentMs > DEAD_MS) {
        attempt.abort(new Error("the server is silent"));
      } else if (silentMs > LATE_MS && kind === "live") {
        tell("late");
      }
    }, 500);
    try {
      const answer = await fetch(url, {
        headers: headers(place.id ? { "Last-Event-ID": place.id } : {}),
        signal: AbortSignal.any([stop, attempt.signal]),
        cache: "no-store",
      });
      if (!answer.ok) {
        throw await Refused.of(answer);
      }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const messages = new Messages();
      for (;;) {
        const { done, value } = await reader.read();
        if (done || stop.aborted) {
          return;
        }
        heardAt = performance.now();
        for (const message of messages.push(value)) {
          place.failures = 0;
          place.id = message.id ?? place.id;
          tell("live");
          this.#hand(message, stop);
        }
      }
    } finally {
      clearInterval(watch);
    }
  }

  /** A fault of the page itself is reported and does not break the stream. */
  #hand(message, stop) {
    if (stop.aborted) {
      return;
    }
    try {
      this.#onMessage(message);
    } catch (error) {
      reportError(error);
    }
  }

  #pause(ms, stop) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      const end = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#wake = end;
      stop.addEventListener("abort", end, { once: true });
    });
  }
}

/** The state after a request that has failed, and that is made again after this time. */
export function stateOf(problem, pauseMs) {
  return { kind: kindOf(problem), reason: reasonOf(problem), retryAt: Date.now() + pauseMs };
}

function kindOf(problem) {
  if (problem instanceof Refused) {
    return problem.wantsKey ? "locked" : "refused";
  }
  return "lost";
}

function reasonOf(problem) {
  // A browser says "Failed to fetch" or "network error" where nobody answers.
  return problem instanceof TypeError ? "the server cannot be reached" : problem.message;
}

function pauseAfter(problem, failures) {
  if (problem instanceof Refused && problem.status < 500 && problem.status !== 429) {
    return problem.wantsKey ? 2 ** 31 - 1 : REFUSED_PAUSE_MS;
  }
  const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failures, 10), MAX_PAUSE_MS);
  // Readers that were cut off together should not come back together.
  return Math.max(problem.retryAfterMs ?? 0, pauseMs * (0.75 + Math.random() / 2));
}

/** Cuts what arrives into messages. */
class Messages {
  #rest = "";

  push(text) {
    this.#rest += text;
    const blocks = this.#rest.split("\n\n");
    this.#rest = blocks.pop();
    if (this.#rest.length > MAX_MESSAGE_CHARS) {
      throw new Error("a message of the stream has no end");
    }
    return blocks.map(message).filter((one) => one.data);
  }
}

function message(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at > 0) {
      fields[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, "");
    }
  }
  return { id: fields.id, event: fields.event, data: fields.data && JSON.parse(fields.data) };
}
