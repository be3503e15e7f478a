// Requests to the server, with the reader's key where one was entered. The key is kept for this
// tab only. All addresses are relative, so that the page also works below a path.

const KEY_NAME = "etalage.key";

let key = stored();

/** The key in use, or an empty text. */
export const currentKey = () => key;

/** Uses a key from now on; an empty text forgets it. */
export function useKey(text) {
  key = text.trim();
  try {
    if (key) {
      sessionStorage.setItem(KEY_NAME, key);
    } else {
      sessionStorage.removeItem(KEY_NAME);
    }
  } catch {
    // Without storage the key lasts as long as the page.
  }
}

/** Headers of a request. */
export function headers(more = {}) {
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

/** An answer that is not the one asked for. */
export class Refused extends Error {
  constructor(status, message, retryAfterMs) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  /** True where another key would help. */
  get wantsKey() {
    return this.status === 401 || this.status === 403;
  }

  static async of(answer) {
    const body = await answer.json().catch(() => null);
    const message = body?.error?.message ?? `the server answered ${answer.status}`;
    return new Refused(answer.status, message, Number(answer.headers.get("Retry-After")) * 1000 || 0);
  }
}

/** Reads one JSON answer. */
export async function get(path, signal) {
  const answer = await fetch(path, { headers: headers(), signal });
  if (!answer.ok) {
    throw await Refused.of(answer);
  }
  return answer.json();
}

/** `?name=value&…` of pairs. */
export const query = (pairs) => `?${new URLSearchParams(pairs)}`;

function stored() {
  try {
    return sessionStorage.getItem(KEY_NAME) ?? "";
  } catch {
    return "";
  }
}
