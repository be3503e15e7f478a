// What the cases of live-page.mjs and customer.mjs stand on: the server's HTTP interface, a browser that notes
// every fault of a page, a line that can be cut, and a count of cases.

import { mkdtempSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

/** How long anything may take to show up on the page. */
const PATIENCE_MS = 10_000;
const LOOK_AGAIN_MS = 20;
/** Keeps the browser from asking for anything by itself, where only the page is looked at. */
const BROWSER_ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Waits until `look()` gives something deeply equal to `expected`; says what it gave last. */
export async function eventually(look, expected, what) {
  const until = Date.now() + PATIENCE_MS;
  const wanted = JSON.stringify(expected);
  for (;;) {
    const seen = JSON.stringify(await look());
    if (seen === wanted) {
      return;
    }
    if (Date.now() > until) {
      throw new Error(`${what}: expected ${wanted}, still ${seen} after ${PATIENCE_MS} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

/** Fails where the two differ. */
export function same(seen, expected, what) {
  if (JSON.stringify(seen) !== JSON.stringify(expected)) {
    throw new Error(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(seen)}`);
  }
}

/** Fails where it does not hold. */
export function holds(condition, what) {
  if (!condition) {
    throw new Error(what);
  }
}

/** The server, as a shop talks to it. */
export class Shop {
  #sent = 0;

  constructor(url, key) {
    this.url = url.replace(/\/*$/, "/");
    this.key = key;
  }

  async get(path) {
    const answer = await fetch(this.url + path, { headers: this.#headers() });
    holds(answer.ok, `GET ${path}: ${answer.status} ${await answer.clone().text()}`);
    return answer.json();
  }

  /** Views of items: `{ item_id: how many }`, each a message of its own. */
  async views(counts, country) {
    const context = country ? { country } : {};
    const events = Object.entries(counts).flatMap(([item_id, count]) =>
      Array.from({ length: count }, () => ({
        messageId: this.#id(),
        type: "track",
        event: "view_item",
        anonymousId: "visitor-1",
        context,
        properties: { items: [{ item_id }] },
      })),
    );
    await this.#post("v1/events", events);
  }

  /** Sends events as they are, each with a message id. */
  async events(events) {
    await this.#post("v1/events", events.map((event) => ({ messageId: this.#id(), ...event })));
  }

  /** Sets what is available of items. */
  async stock(available) {
    const messages = Object.entries(available).map(([item_id, units]) => ({
      messageId: this.#id(),
      item_id,
      op: "set",
      available: units,
    }));
    await this.#post("v1/inventory", messages);
  }

  /** The items of a set, as the interface gives them. */
  async set(scope, window) {
    const key = encodeURIComponent(JSON.stringify({ scope, window }));
    const { entries } = await this.get(`v1/views/set.bestsellers?key=${key}`);
    return (entries[0].value?.items ?? []).map((item) => item.item_id);
  }

  async #post(path, messages) {
    const headers = this.#headers({ "Content-Type": "application/json" });
    const answer = await fetch(this.url + path, { method: "POST", headers, body: JSON.stringify(messages) });
    const text = await answer.text();
    holds(answer.ok, `POST ${path}: ${answer.status} ${text}`);
    const others = JSON.parse(text).results.filter((result) => result.status !== "stored");
    same(others, [], `POST ${path}: all are stored`);
  }

  #headers(more = {}) {
    return this.key ? { ...more, Authorization: `Bearer ${this.key}` } : more;
  }

  #id() {
    this.#sent += 1;
    return `browser-${process.pid}-${this.#sent}`;
  }
}

/** A browser whose pages are watched. */
export class Browser {
  /** What no page may do: faults in the console, dialogs, requests to other origins. */
  faults = [];
  #browser;
  #shop;

  static async start(shop) {
    const browser = new Browser();
    browser.#shop = shop;
    const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
    browser.#browser = await chromium.launch({ executablePath, args: BROWSER_ARGS });
    return browser;
  }

  /**
   * Opens the page at `path`; `hash` chooses what it shows, `key` is entered where the server wants
   * one, and the connection must then be as `expect` says. Faults of `offline` pages are expected.
   */
  async open({
    path = "",
    hash = "",
    url = this.#shop.url,
    key = this.#shop.key,
    expect = "Live",
    offline = false,
    width = 1280,
    height = 900,
    ...options
  } = {}) {
    const context = await this.#browser.newContext({ viewport: { width, height }, ...options });
    const page = await context.newPage();
    let isWatched = !offline && !key;
    page.on("console", (message) => {
      if (isWatched && ["error", "warning"].includes(message.type())) {
        this.faults.push(`console: ${message.text()}`);
      }
    });
    page.on("pageerror", (error) => this.faults.push(`error: ${error.stack}`));
    page.on("dialog", async (dialog) => {
      this.faults.push(`dialog: ${dialog.message()}`);
      await dialog.dismiss();
    });
    page.on("request", (request) => {
      if (new URL(request.url()).origin !== new URL(url).origin) {
        this.faults.push(`request to ${request.url()}`);
      }
    });
    await page.goto(url + path + hash);
    if (key) {
      await page.getByLabel("Key").fill(key);
      await page.getByRole("button", { name: "Use key" }).click();
      isWatched = !offline;
    }
    await eventually(() => link(page), expect, "the connection of the page");
    return page;
  }

  async close() {
    await this.#browser.close();
  }
}

/** The state of the connection, as the page says it. */
export const link = (page) => page.locator("#link").textContent();

/** Items in the table, from the first rank on. */
export const items = (page) => page.getByRole("rowheader").allTextContents();

/** A column of the table. */
export const column = (page, at) => page.locator(`#rows tr > :nth-child(${at})`).allTextContents();

/** Lines of the log of stock events, the newest first. */
export const log = (page) => page.locator("#log li p").allTextContents();

/** By how many pixels the page is wider than its window. */
export const overhang = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

/** A line to the server that can be cut and mended. */
export class Line {
  #sockets = new Set();
  #isCut = false;

  static async to(url) {
    const line = new Line();
    const { hostname, port } = new URL(url);
    const server = net.createServer((near) => {
      if (line.#isCut) {
        near.destroy();
        return;
      }
      const far = net.connect(Number(port), hostname);
      for (const [one, other] of [[near, far], [far, near]]) {
        line.#sockets.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          line.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    line.url = `http://127.0.0.1:${server.address().port}/`;
    line.close = () => {
      line.cut();
      server.close();
    };
    return line;
  }

  cut() {
    this.#isCut = true;
    this.#sockets.forEach((socket) => socket.destroy());
  }

  mend() {
    this.#isCut = false;
  }
}

/** Runs cases one after the other and counts them. */
export class Cases {
  #passed = 0;
  #failed = 0;
  #pictures = null;

  /** A case that fails leaves a picture of the page it was about. */
  async run(name, page, body) {
    try {
      const said = await body(page);
      this.#passed += 1;
      console.log(`ok      ${name}${said ? ` (${said})` : ""}`);
    } catch (error) {
      this.#failed += 1;
      console.log(`FAILED  ${name}\n        ${error.message.replaceAll("\n", "\n        ")}`);
      this.#pictures ??= mkdtempSync(join(tmpdir(), "etalage-page-"));
      const path = join(this.#pictures, `${this.#failed}.png`);
      await page?.screenshot({ path, fullPage: true }).then(() => console.log(`        ${path}`), () => {});
    }
  }

  /** Prints the count; the exit code. */
  end() {
    console.log(`${this.#passed} passed, ${this.#failed} failed`);
    return this.#failed === 0 ? 0 : 1;
  }
}
