// The live page in a real browser, against a running server with an empty store:
//
//   node live-page.mjs http://127.0.0.1:8300/
//
// ETALAGE_KEY names a secret key where the server wants one; CHROMIUM another browser than
// /usr/bin/chromium. The last line is `N passed, N failed`; the exit code is 0 where none failed,
// 1 where some did, and 2 where the cases could not be run.

import { Browser, Cases, Line, Shop, column, eventually, holds, items, link, log, overhang, same } from "./support.mjs";

const EVIL = "<img src=x onerror=alert(1)>";
const LONG = "an-item-id-that-is-much-longer-than-any-column-of-a-table-on-a-phone";
/** More items than a set holds, each with one view. */
const CROWD = Array.from({ length: 14 }, (_, at) => `crowd-${String(at).padStart(2, "0")}`);

/** Cases of one page, in their order: each goes on from where the one before left the shop. */
async function cases(shop, browser, cases) {
  const page = await browser.open();
  await cases.run("an empty shop is told how to send its first event", page, () => empty(shop, page));
  await cases.run("items are ranked by their views, with their stock", page, () => ranked(shop, page));
  await cases.run("an item id is text, whatever it looks like", page, () => textOnly(page));
  await cases.run("an item that sells out leaves, and its successor takes its place", page, () => soldOut(shop, page));
  await cases.run("a restock brings it back", page, () => restocked(shop, page));
  await cases.run("in a full set the next item moves up from outside", page, () => movesUp(shop, page));
  await cases.run("the table, its columns and the choice have names", page, () => named(page));
  await cases.run("the window is chosen with the keyboard, and stands in the address", page, () => windows(page));
  await cases.run("a scope shows its own items", page, () => scopes(shop, page));
  await cases.run("a link opens the same choice", page, () => shared(shop, browser, page));
  await cases.run("it fits on a phone of 360 px, light and dark", page, () => phone(shop, browser));
  await cases.run("without motion an item leaves just the same", page, () => calm(shop, browser));
  await cases.run("a cut line is shown, and what was missed is caught up with", page, () => cut(shop, browser));
  await cases.run("rate, freshness and counts are those of the server", page, () => figures(shop, page));
  await cases.run("nothing came from elsewhere, and the console stayed clean", page, () => same(browser.faults, [], "faults"));
}

async function empty(shop, page) {
  await eventually(() => page.locator("#empty-title").isVisible(), true, "the empty state is shown");
  const curl = await page.locator("#curl").textContent();
  holds(curl.startsWith(`curl ${shop.url}v1/events `), `the command names this server: ${curl}`);
}

async function ranked(shop, page) {
  await shop.stock({ 22086: 7, "85123A": 120 });
  await shop.views({ 22086: 4, [EVIL]: 2 }, "Germany");
  await shop.views({ "85123A": 3 }, "France");
  await eventually(() => items(page), ["22086", "85123A", EVIL], "items by rank");
  await eventually(() => column(page, 1), ["1", "2", "3"], "ranks");
  await eventually(() => column(page, 4), ["4", "3", "2"], "scores");
  await eventually(() => column(page, 5), ["7", "120", "?"], "stock");
  await shop.stock({ 22086: 3, [EVIL]: 5 });
  await eventually(() => column(page, 5), ["3", "120", "5"], "stock");
  holds(!(await page.locator("#empty").isVisible()), "the empty state has gone");
}

async function textOnly(page) {
  holds((await items(page)).includes(EVIL), "it is shown as it is");
  same(await page.locator("img, [onerror], [src='x']").count(), 0, "elements made of it");
}

async function soldOut(shop, page) {
  // Rows as they are at every change of the table: none may name the item once it has left.
  await page.evaluate(() => {
    const rows = document.getElementById("rows");
    globalThis.leftAt = null;
    new MutationObserver(() => {
      const has = [...rows.rows].some((row) => row.textContent.includes("22086"));
      globalThis.leftAt = has ? null : (globalThis.leftAt ?? Date.now());
    }).observe(rows, { childList: true });
    globalThis.pictures = [];
    new MutationObserver((changes) => {
      const added = changes.flatMap((change) => [...change.addedNodes]);
      globalThis.pictures.push(...added.map((ghost) => ghost.textContent));
    }).observe(document.getElementById("ghosts"), { childList: true });
  });
  await shop.stock({ 22086: 0 });
  const storedAt = Date.now();
  await eventually(() => items(page), ["85123A", EVIL], "items by rank");
  await eventually(() => column(page, 1), ["1", "2"], "ranks");
  const sentence = /^22086 sold out — left global\/\S+$/;
  await eventually(async () => sentence.test((await log(page))[0]), true, "the newest line of the log");
  await eventually(async () => sentence.test(await page.locator("#latest").textContent()), true, "it is announced");
  same(await page.evaluate(() => globalThis.pictures), ["22086sold out"], "pictures of rows that fade");
  await eventually(() => page.locator(".ghost").count(), 0, "pictures that stay");
  return `${(await page.evaluate(() => globalThis.leftAt)) - storedAt} ms after its acknowledgement`;
}

async function restocked(shop, page) {
  await shop.stock({ 22086: 9 });
  await eventually(() => items(page), ["22086", "85123A", EVIL], "items by rank");
  await eventually(() => column(page, 5), ["9", "120", "5"], "stock");
  const sentence = /^22086 back in stock — entered global\/\S+ at 1$/;
  await eventually(async () => sentence.test((await log(page))[0]), true, "the newest line of the log");
}

async function movesUp(shop, page) {
  await shop.views(Object.fromEntries(CROWD.map((id) => [id, 1])));
  const window = await chosenWindow(page);
  const all = ["22086", "85123A", EVIL, ...CROWD];
  await eventually(async () => (await items(page)).length > 3, true, "the crowd comes in");
  const full = await shop.set("global", window);
  holds(full.length < all.length, `the case wants sets of fewer than ${all.length} items`);
  await eventually(() => items(page), full, "the page shows the set");
  const successor = all[full.length];
  await shop.stock({ "85123A": 0 });
  await eventually(() => items(page), [...full.filter((id) => id !== "85123A"), successor], "items by rank");
  const sentence = `85123A sold out — left global/${window}; ${successor} entered`;
  await eventually(async () => (await log(page))[0], sentence, "the newest line of the log");
  await shop.stock({ "85123A": 120 });
  await eventually(() => items(page), full, "items by rank");
}

async function named(page) {
  await page.getByRole("table", { name: "Items that can be bought now, by score" }).waitFor();
  same(await page.getByRole("columnheader").allTextContents(), ["#", "Item", "Trend", "Score", "Stock"], "columns");
  await page.getByRole("combobox", { name: "Scope" }).waitFor();
  await page.getByRole("group", { name: "Window" }).waitFor();
  same(await page.locator("#latest").getAttribute("role"), "status", "announcements");
}

async function windows(page) {
  const labels = await page.getByRole("radio").evaluateAll((radios) => radios.map((radio) => radio.value));
  holds(labels.length > 1, "the case wants two windows");
  await page.getByRole("combobox", { name: "Scope" }).focus();
  await page.keyboard.press("Tab");
  const before = await chosenWindow(page);
  same(await page.evaluate(() => document.activeElement.value), before, "the tab key leads to the chosen window");
  const listed = await items(page);
  await page.keyboard.press("ArrowLeft");
  const next = labels.at(labels.indexOf(before) - 1);
  await eventually(() => chosenWindow(page), next, "the chosen window");
  same(await hash(page), { scope: "global", window: next }, "the address");
  await eventually(() => items(page), listed, "items of a window that holds the same events");
}

async function scopes(shop, page) {
  const select = page.getByRole("combobox", { name: "Scope" });
  await page.reload();
  await eventually(() => select.locator("option[value='country:Germany']").count(), 1, "the scope can be chosen");
  await select.selectOption("country:Germany");
  await eventually(() => items(page), ["22086", EVIL], "items of Germany");
  same((await hash(page)).scope, "country:Germany", "the address");
  await shop.views({ "85123A": 9 }, "Germany");
  await eventually(() => items(page), ["85123A", "22086", EVIL], "it is live in this scope too");
}

async function shared(shop, browser, page) {
  const other = await browser.open({ hash: new URL(page.url()).hash });
  await eventually(() => items(other), ["85123A", "22086", EVIL], "items");
  same(await other.getByRole("combobox", { name: "Scope" }).inputValue(), "country:Germany", "scope");
  same(await chosenWindow(other), await chosenWindow(page), "window");
  // A link to what does not exist yet says so, and shows the first item when it comes.
  await other.evaluate(() => (location.hash = location.hash.replace("Germany", "Iceland")));
  await eventually(() => other.locator("#empty-title").textContent(), "Nothing to show here", "nothing yet");
  await shop.views({ 22086: 1 }, "Iceland");
  await eventually(() => items(other), ["22086"], "items");
  await other.context().close();
}

async function phone(shop, browser) {
  await shop.views({ [LONG]: 20 });
  const grounds = [];
  for (const colorScheme of ["light", "dark"]) {
    const page = await browser.open({ width: 360, height: 740, colorScheme, hasTouch: true, isMobile: true });
    await eventually(async () => (await items(page))[0], LONG, "the first item");
    same(await overhang(page), 0, "pixels beyond the window");
    const table = await page.getByRole("table").boundingBox();
    holds(table.x >= 0 && table.x + table.width <= 360, `the table lies within: ${JSON.stringify(table)}`);
    for (const cell of await page.locator("#rows tr:first-child > *").all()) {
      const box = await cell.boundingBox();
      holds(box.width >= 24 && box.x + box.width <= 360, `a cell can be seen: ${JSON.stringify(box)}`);
    }
    await page.getByRole("radio").first().tap();
    await eventually(async () => (await items(page))[0], LONG, "the first item of another window");
    grounds.push(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor));
    await page.context().close();
  }
  holds(grounds[0] !== grounds[1], `light and dark differ: ${grounds}`);
}

async function calm(shop, browser) {
  const page = await browser.open({ reducedMotion: "reduce" });
  await eventually(async () => (await items(page))[0], LONG, "the first item");
  const before = await items(page);
  await page.evaluate(() => {
    globalThis.moved = 0;
    const animate = Element.prototype.animate;
    Element.prototype.animate = function (...given) {
      globalThis.moved += 1;
      return animate.apply(this, given);
    };
  });
  await shop.stock({ [LONG]: 0 });
  await eventually(async () => (await items(page))[0], before[1], "the first item");
  await shop.stock({ [LONG]: 2 });
  await eventually(() => items(page), before, "items by rank");
  same(await page.evaluate(() => globalThis.moved), 0, "movements");
  await page.context().close();
}

async function cut(shop, browser) {
  const line = await Line.to(shop.url);
  try {
    await cutAndMended(shop, browser, line);
  } finally {
    line.close();
  }
}

async function cutAndMended(shop, browser, line) {
  const page = await browser.open({ url: line.url, offline: true });
  await eventually(async () => (await items(page))[0], LONG, "the first item");
  const before = await items(page);
  const asked = [];
  page.on("request", (request) => request.url().includes("/v1/stream") && asked.push(request));
  line.cut();
  await eventually(() => link(page), "Disconnected", "the head of the page");
  const banner = await page.locator("#banner").textContent();
  holds(/^Disconnected: .* What you see holds as of \d{4}-/.test(banner), `the banner: ${banner}`);
  await shop.stock({ [LONG]: 0 });
  line.mend();
  await eventually(() => link(page), "Live", "the head of the page");
  await eventually(async () => (await items(page)).includes(LONG), false, "what sold out meanwhile has left");
  const last = await asked.at(-1).headerValue("last-event-id");
  holds(/^[0-9a-f]+-\d+$/.test(last ?? ""), `it went on from the last message: ${last}`);
  await shop.stock({ [LONG]: 2 });
  await eventually(() => items(page), before, "items by rank");
  holds(!(await page.locator("#banner").isVisible()), "the banner has gone");
  await page.context().close();
}

async function figures(shop, page) {
  const { counts, mode } = await shop.get("v1/status");
  const text = (id) => page.locator(id).textContent();
  await eventually(() => text("#stored"), counts.stored.toLocaleString("en"), "stored");
  await eventually(() => text("#duplicates"), String(counts.duplicates), "duplicates");
  await eventually(() => text("#refused"), String(counts.refused), "refused");
  await eventually(() => text("#mode"), mode, "mode");
  for (const id of ["#p50", "#p99"]) {
    await eventually(async () => /^[\d.]+ m?s$/.test(await text(id)), true, `a time in ${id}`);
  }
  await eventually(async () => /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/.test(await text("#as-of")), true, "as of");
  holds((await page.locator("#rate-chart path").count()) > 0, "the rate is drawn");
  holds((await page.locator("#chart path").count()) > 0, "the scores are drawn");
  holds((await page.locator(".spark path").count()) > 0, "every item has its line");
}

const chosenWindow = (page) => page.locator("#windows input:checked").inputValue();

const hash = (page) => page.evaluate(() => Object.fromEntries(new URLSearchParams(location.hash.slice(1))));

async function main() {
  const url = process.argv[2];
  if (!url) {
    console.error("usage: node live-page.mjs URL");
    return 2;
  }
  const shop = new Shop(url, process.env.ETALAGE_KEY);
  const { entries } = await shop.get("v1/views/set.bestsellers?limit=1");
  holds(entries.length === 0, "the store must be empty: the cases count on what they send");
  const browser = await Browser.start(shop);
  const counted = new Cases();
  try {
    await cases(shop, browser, counted);
  } finally {
    await browser.close();
  }
  return counted.end();
}

process.exitCode = await main().catch((error) => {
  console.error(error.message);
  return 2;
});
