// The page of one customer in a real browser, against a running server with an empty store:
//
//   node customer.mjs http://127.0.0.1:8300/          whose `people.cart_idle` is one second
//   node customer.mjs http://127.0.0.1:8300/ off      whose views of customers are switched off
//   node customer.mjs http://127.0.0.1:8300/ single   whose `profile.snapshot` is switched off
//   node customer.mjs http://127.0.0.1:8300/ keys     that wants keys: ETALAGE_KEY names a secret one,
//                                                     ETALAGE_PUBLISHABLE_KEY a publishable one
//
// CHROMIUM names another browser than /usr/bin/chromium. The last line is `N passed, N failed`; the
// exit code is 0 where none failed, 1 where some did, and 2 where the cases could not be run.

import { Browser, Cases, Line, Shop, eventually, holds, link, overhang, same } from "./support.mjs";

const PATH = "customer.html";
const EVIL = "a/<img src=x onerror=alert(1)>&id=b#ü";
/** Rows of a table, cell by cell. */
const rows = (page, id) =>
  page.locator(`#${id} tr`).evaluateAll((all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
const text = (page, id) => page.locator(`#${id}`).textContent();
const chips = (page, id) => page.locator(`#${id} a`).allTextContents();
/** Entries of the timeline, the newest first, each with its sentences. */
const entries = (page, kind) => {
  const sentences = (all) => all.map((one) => [...one.querySelectorAll("p")].map((p) => p.textContent));
  return page.locator(`#timeline li.${kind}`).evaluateAll(sentences);
};
const said = async (page) => (await entries(page, "live")).flat();
const tells = (page, sentence) =>
  eventually(async () => (await said(page)).some((one) => sentence.test(one)), true, `the timeline says ${sentence}`);
const states = (page) => page.locator("#signals .badge").allTextContents();

/** Cases in their order: each goes on from where the one before left the shop. */
async function cases(shop, browser, cases) {
  const page = await browser.open({ path: PATH, expect: "Not connected" });
  await cases.run("a shop without customers says so, then offers the first", page, () => suggested(shop, page));
  await cases.run("what is posted is shown as features", page, () => features(shop, page));
  await cases.run("the timeline begins with what was before, and goes on live", page, () => timeline(shop, page));
  await cases.run("a log-in brings the visitor's cart to the customer, and the visitor's page there", page, () => logIn(shop, browser, page));
  await cases.run("an idle cart opens a signal; a purchase cancels it and empties the cart", page, () => signal(shop, page));
  await cases.run("an unknown id is told so, until an event names it", page, () => nobody(shop, page));
  await cases.run("an id is text, whatever it looks like", page, () => textOnly(shop, browser));
  await cases.run("it is found with the keyboard, and the way back leads back", page, () => keyboard(page));
  await cases.run("its parts have names", page, () => named(page));
  await cases.run("it fits on a phone of 360 px, light and dark", page, () => phone(browser));
  await cases.run("a cut line is shown, and what was missed is caught up with", page, () => cut(shop, browser));
  await cases.run("nothing came from elsewhere, and the console stayed clean", page, () => same(browser.faults, [], "faults"));
}

const KIND = { item_category: "Home", item_category2: "Tea/Coffee", item_brand: "Acme" };
const item = (item_id, price, quantity = 1) => ({ item_id, price, quantity, ...KIND });
const event = (name, who, items, more = {}) => ({ type: "track", event: name, ...who, properties: { items, ...more } });
const ANNA = { userId: "anna" };
const VISITOR = { anonymousId: "visitor-1" };
/** A moment in the past, so that what comes later is later in any clock. */
const ago = (hours) => new Date(Date.now() - hours * 3_600_000).toISOString();

async function suggested(shop, page) {
  await eventually(() => text(page, "intro-text"), "No event has named a customer yet.", "the intro");
  await shop.events([
    { ...event("view_item", ANNA, [item("22086", 2.95)]), timestamp: ago(5) },
    { ...event("search", ANNA, [], { search_term: "tea" }), timestamp: ago(4) },
    { ...event("purchase", ANNA, [item("22086", 2.95, 2), item("71053", 1234.5)], { transaction_id: "T1" }), timestamp: ago(3) },
    { ...event("view_item", { userId: "ben" }, [item("71053", 1234.5)]), timestamp: ago(2) },
  ]);
  await eventually(() => chips(page, "suggestions"), ["anna", "ben"], "suggestions");
  await page.getByRole("link", { name: "anna" }).click();
  await eventually(() => link(page), "Live", "the connection");
  same(new URL(page.url()).hash, "#id=anna", "the address");
}

async function features(shop, page) {
  await eventually(() => text(page, "profile-id"), "anna", "the profile");
  await eventually(() => text(page, "status"), "new", "status");
  await eventually(() => text(page, "value-orders"), "1", "orders");
  same(await text(page, "value-spend"), "1,240.40", "spent");
  same(await text(page, "value-average"), "1,240.40", "average order");
  same(await text(page, "value-units"), "3", "units");
  const [order] = await rows(page, "orders");
  holds(/^T1\d{4}-/.test(order[0]), `the order: ${order}`);
  same(order.slice(1), ["3", "1,240.40", ""], "units, spent, returned");
  same((await rows(page, "looks")).map(([id]) => id), ["22086"], "last looked at");
  same(await page.locator("#categories li").allTextContents(), ["Home › Tea/Coffee100 %"], "categories");
  same(await page.locator("#brands li").allTextContents(), ["Acme100 %"], "brands");
  const windows = await rows(page, "activity");
  same(windows.at(-1).slice(1), ["3", "1", "1"], "sessions, views, searches of the longest window");
  same((await rows(page, "suppressed")).map(([id]) => id), ["22086", "71053"], "suppressed");
  holds(/^\d{4}-\d\d-\d\d /.test((await rows(page, "suppressed"))[0][1]), "until when");
  holds(await page.locator("#cart-empty").isVisible(), "the cart is empty");
  await shop.events([{ ...event("refund", ANNA, [item("22086", 2.95)], { transaction_id: "T1" }), timestamp: ago(1) }]);
  await eventually(async () => (await rows(page, "orders"))[0].slice(1), ["3", "1,240.40", "1 / 2.95"], "what was returned");
  await eventually(() => text(page, "value-returned"), "2.95", "returned");
}

async function timeline(shop, page) {
  same(await entries(page, "past"), [["Order T1: 2 lines, 3 units, 1,240.40"], ["Looked at 22086"]], "what was before");
  await tells(page, /^Returned of order T1: 1 unit, 2\.95$/);
  await shop.events([event("view_item", ANNA, [item("85123A", 2.55)])]);
  await tells(page, /^Looked at 85123A$/);
  await eventually(async () => (await entries(page, "live"))[0].includes("Looked at 85123A"), true, "the newest comes first");
  await eventually(async () => (await text(page, "latest")).includes("Looked at 85123A"), true, "it is announced");
  same(await page.locator("#latest").getAttribute("role"), "status", "announcements");
  for (let at = 0; at < 105; at += 1) {
    await shop.events([event("view_item", ANNA, [item(`many-${at}`, 1)])]);
  }
  await eventually(async () => (await rows(page, "looks"))[0][0], "many-104", "the last look");
  const length = await page.locator("#timeline li").count();
  holds(length <= 100, `the timeline is bounded: ${length}`);
}

async function logIn(shop, browser, page) {
  await shop.events([event("add_to_cart", VISITOR, [item("84879", 1.69, 3)])]);
  const other = await browser.open({ path: PATH, hash: "#id=anon%3Avisitor-1" });
  await eventually(() => rows(other, "cart"), [["84879", "3", "1.69", "5.07"]], "the visitor's cart");
  await eventually(() => text(other, "status"), "prospect", "the visitor's status");
  await shop.events([{ type: "identify", ...ANNA, ...VISITOR }]);
  await eventually(() => rows(page, "cart"), [["84879", "3", "1.69", "5.07"]], "the customer's cart");
  await eventually(() => text(page, "cart-worth"), "3 units, worth 5.07", "its worth");
  await tells(page, /^84879: 3 put into the cart$/);
  await eventually(() => chips(page, "identifiers"), ["anon:visitor-1", "anna"], "identifiers");
  await eventually(() => text(other, "profile-id"), "anna", "whom the visitor's page shows");
  await tells(other, /^anon:visitor-1 belongs to anna now$/);
  same(await text(other, "asked"), "anon:visitor-1 belongs to this customer.", "why");
  await eventually(() => rows(other, "cart"), [["84879", "3", "1.69", "5.07"]], "the cart there");
  // Who comes later is led there at once, and nothing is told as news.
  await other.reload();
  await eventually(() => text(other, "profile-id"), "anna", "whom the visitor's page shows");
  holds(!(await said(other)).some((one) => one.includes("belongs")), "that it belongs there is no news");
  await other.context().close();
}

async function signal(shop, page) {
  await eventually(() => states(page), ["open"], "signals");
  await tells(page, /^Signal: cart \S+ abandoned \(cause: browser-\S+\)$/);
  const open = await page.locator("#signals li").textContent();
  holds(/opened\d{4}-.*worth5\.07cause(browser-\S+?)cartbrowser-/.test(open), `the signal: ${open}`);
  await shop.events([event("purchase", ANNA, [item("84879", 1.69, 3)], { transaction_id: "T2" })]);
  await eventually(() => states(page), ["cancelled"], "signals");
  const taken = await page.locator("#signals li").textContent();
  holds(/cancelled\d{4}-.*reasonit was bought/.test(taken), `the signal: ${taken}`);
  await eventually(() => rows(page, "cart"), [], "the cart");
  await eventually(() => text(page, "status"), "existing", "status");
  await tells(page, /^Cart is empty now$/);
  await tells(page, /^Order T2: 1 line, 3 units, 5\.07$/);
  await tells(page, /^Signal of cart \S+ cancelled: it was bought$/);
  await tells(page, /^84879: not advertised until \d{4}-/);
}

async function nobody(shop, page) {
  await page.getByRole("textbox", { name: "Customer" }).fill("nobody");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("heading", { name: "No such customer (yet)" }).waitFor();
  holds(!(await page.locator("#cards").isVisible()), "nothing of the customer before is shown");
  const curl = await text(page, "curl");
  holds(curl.startsWith(`curl ${shop.url}v1/events `) && curl.includes('"userId":"nobody"'), `the command: ${curl}`);
  await shop.events([event("view_item", { userId: "nobody" }, [item("22086", 2.95)])]);
  await eventually(() => text(page, "status"), "prospect", "status");
  await tells(page, /^Looked at 22086$/);
  holds(!(await page.locator("#nobody").isVisible()), "the sentence has gone");
}

async function textOnly(shop, browser) {
  await shop.events([event("add_to_cart", { anonymousId: EVIL }, [{ ...item(EVIL, 1), item_variant: "<b>red</b>", item_brand: EVIL }])]);
  const page = await browser.open({ path: PATH, hash: `#${new URLSearchParams({ id: `anon:${EVIL}` })}` });
  await eventually(() => text(page, "profile-id"), `anon:${EVIL}`, "the profile");
  await eventually(() => rows(page, "cart"), [[`${EVIL} (<b>red</b>)`, "1", "1.00", "1.00"]], "the cart");
  same(await page.locator("img, [onerror], [src='x'], #cart b").count(), 0, "elements made of it");
  await page.context().close();
}

async function keyboard(page) {
  await page.getByRole("textbox", { name: "Customer" }).fill("anna");
  await page.keyboard.press("Enter");
  await eventually(() => text(page, "profile-id"), "anna", "the profile");
  await page.goBack();
  await eventually(() => text(page, "profile-id"), "nobody", "the profile before");
  same(await page.getByRole("textbox", { name: "Customer" }).inputValue(), "nobody", "the field");
  await page.goForward();
  await eventually(() => text(page, "profile-id"), "anna", "the profile");
}

async function named(page) {
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Shop" }).waitFor();
  for (const name of ["Last orders", "Not to be advertised", "Last looked at", "Activity"]) {
    await page.getByRole("table", { name }).waitFor();
  }
  for (const name of ["anna", "Cart", "Signals", "Timeline", "Drawn to", "Identifiers"]) {
    await page.getByRole("region", { name }).first().waitFor();
  }
  await page.getByRole("list", { name: "Timeline" }).waitFor();
}

async function phone(browser) {
  for (const colorScheme of ["light", "dark"]) {
    const page = await browser.open({ path: PATH, hash: "#id=anna", width: 360, height: 740, colorScheme, hasTouch: true, isMobile: true });
    await eventually(() => text(page, "profile-id"), "anna", "the profile");
    same(await overhang(page), 0, "pixels beyond the window");
    for (const cell of await page.locator("#orders tr:first-child > *").all()) {
      const box = await cell.boundingBox();
      holds(box.width >= 24 && box.x + box.width <= 360, `a cell can be seen: ${JSON.stringify(box)}`);
    }
    await page.context().close();
  }
}

async function cut(shop, browser) {
  const line = await Line.to(shop.url);
  try {
    const page = await browser.open({ url: line.url, path: PATH, hash: "#id=anna", offline: true });
    await eventually(() => text(page, "profile-id"), "anna", "the profile");
    line.cut();
    await eventually(() => link(page), "Disconnected", "the head of the page");
    holds(/^Disconnected: .* What you see holds as of \d{4}-/.test(await text(page, "banner")), "the banner");
    await shop.events([event("add_to_cart", ANNA, [item("47566", 4.95, 2)])]);
    line.mend();
    await eventually(() => link(page), "Live", "the head of the page");
    await eventually(() => rows(page, "cart"), [["47566", "2", "4.95", "9.90"]], "the cart");
    await tells(page, /^47566: 2 put into the cart$/);
    await page.context().close();
  } finally {
    line.close();
  }
}

/** A server whose views of customers are switched off. */
async function off(shop, browser, cases) {
  const page = await browser.open({ path: PATH, hash: "#id=anna", expect: "Not connected" });
  await cases.run("without views of customers the page says so", page, async () => {
    const sentence = "This server has no views of customers: they are switched off.";
    await eventually(() => text(page, "intro-text"), sentence, "the intro");
    holds(!(await page.locator("#banner").isVisible()), "nothing is called a fault");
  });
  await cases.run("the page of the shop works as ever", page, async () => {
    await page.getByRole("link", { name: "Shop" }).click();
    await eventually(() => link(page), "Live", "the connection");
    await shop.views({ 22086: 1 });
    await eventually(() => page.getByRole("rowheader").allTextContents(), ["22086"], "items");
  });
  await cases.run("nothing came from elsewhere, and the console stayed clean", page, () => same(browser.faults, [], "faults"));
}

/** A server without the view that has all features in one row. */
async function single(shop, browser, cases) {
  const page = await browser.open({ path: PATH, hash: "#id=anna" });
  await cases.run("features that stand in views of their own are shown too", page, async () => {
    await shop.events([event("add_to_cart", ANNA, [item("84879", 1.69, 3)]), event("view_item", ANNA, [item("22086", 2.95)])]);
    await eventually(() => rows(page, "cart"), [["84879", "3", "1.69", "5.07"]], "the cart");
    await eventually(() => text(page, "status"), "prospect", "status");
    await eventually(async () => (await rows(page, "looks")).map(([id]) => id), ["22086"], "last looked at");
    same(await page.locator("#brands li").allTextContents(), ["Acme100 %"], "brands");
    await tells(page, /^84879: 3 put into the cart$/);
  });
  await cases.run("nothing came from elsewhere, and the console stayed clean", page, () => same(browser.faults, [], "faults"));
}

/** A server that wants keys. */
async function keys(shop, browser, cases) {
  await shop.events([event("view_item", ANNA, [item("22086", 2.95)])]);
  const page = await browser.open({ path: PATH, hash: "#id=anna", offline: true, expect: "Key needed", key: null });
  const enter = async (key) => {
    await page.getByLabel("Key").fill(key);
    await page.getByRole("button", { name: "Use key" }).click();
  };
  await cases.run("without a key nothing of a customer is shown", page, async () => {
    same(await text(page, "banner"), "This server wants a key.", "the banner");
    holds(!(await page.locator("#cards").isVisible()), "no customer is shown");
  });
  await cases.run("a publishable key is not enough", page, async () => {
    await enter(process.env.ETALAGE_PUBLISHABLE_KEY);
    await eventually(async () => /does not take the key: .*secret key/.test(await text(page, "banner")), true, "the banner");
    same(await link(page), "Key needed", "the connection");
  });
  await cases.run("a secret key opens the customer, and is forgotten on demand", page, async () => {
    await enter(shop.key);
    await eventually(() => text(page, "profile-id"), "anna", "the profile");
    await page.getByRole("button", { name: "forget key" }).click();
    await eventually(() => link(page), "Key needed", "the connection");
    holds(!(await page.locator("#cards").isVisible()), "the customer is shown no longer");
  });
}

async function main() {
  const [url, which] = process.argv.slice(2);
  const body = { undefined: cases, off, single, keys }[which];
  if (!url || !body) {
    console.error("usage: node customer.mjs URL [off|single|keys]");
    return 2;
  }
  const shop = new Shop(url, process.env.ETALAGE_KEY);
  const { counts } = await shop.get("v1/status");
  holds(counts.stored === 0, "the store must be empty: the cases count on what they send");
  const browser = await Browser.start(shop);
  const counted = new Cases();
  try {
    await body(shop, browser, counted);
  } finally {
    await browser.close();
  }
  return counted.end();
}

process.exitCode = await main().catch((error) => {
  console.error(error.message);
  return 2;
});
