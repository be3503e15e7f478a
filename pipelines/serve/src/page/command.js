// The command that sends an event to this server, for a reader who wants to try.

import { currentKey } from "./api.js";

/** A line for a shell. It holds no key of the reader's, only the place for one. */
export function command(event) {
  const address = new URL("v1/events", document.baseURI);
  const auth = currentKey() === "" ? "" : " -H 'Authorization: Bearer pk_…'";
  return `curl ${address}${auth} -d '${JSON.stringify(event).replaceAll("'", "'\\''")}'`;
}
