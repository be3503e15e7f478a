// The page of one customer: one stream of what is known of a profile, and what is drawn from it.
//
//   find (id) ──▶ stream ──▶ profile ──┬▶ cards
//                   │                  ├▶ changes ──▶ timeline
//                   └─ state ─▶ connection          identifiers (looked for page by page)
//
// An identifier that belongs to another profile leads there: at once, and also where that comes
// about while the page is open.

import { drawCards } from "./cards.js";
import { past, sentences } from "./changes.js";
import { command } from "./command.js";
import { Connection } from "./connection.js";
import { byId, idText, setText } from "./dom.js";
import { Find, customerViews } from "./find.js";
import { instant } from "./format.js";
import { Identifiers } from "./identifiers.js";
import { IDENTITY, Profile, names, parts } from "./profile.js";
import { Stream, stateOf } from "./stream.js";
import { Timeline } from "./timeline.js";

/** Changes within so long cost one drawing. */
const DRAW_MS = 200;
/** While no customer is chosen, the first ids are asked for again after this time. */
const SUGGEST_MS = 5_000;
/** What cannot be asked is asked again after this time. */
const RETRY_MS = 3_000;

const profile = new Profile();
const timeline = new Timeline();
const identifiers = new Identifiers();
const connection = new Connection(start);
const find = new Find(choose);
const stream = new Stream({ onMessage: take, onState: (state) => connection.take(state) });
/** Names of the views that this server has, none where none tells of one customer; `null` until it has said so. */
let views = null;
let hasCustomers = true;
/** The profile that is followed; `null` while no customer is chosen. */
let followed = null;
let asOf = null;
let drawAt = null;
let askAt = null;

/** Asks what the server has, then shows the chosen customer. */
async function start() {
  clearTimeout(askAt);
  try {
    views = await customerViews();
  } catch (problem) {
    // What was shown is not for whoever may not read it any more.
    views = null;
    restart();
    stream.stop();
    draw();
    refused(problem, start);
    return;
  }
  choose();
}

function refused(problem, again) {
  const state = stateOf(problem, RETRY_MS);
  connection.take(state);
  if (state.kind !== "locked") {
    askAt = setTimeout(again, RETRY_MS);
  }
}

/** Follows the customer that is asked for. */
function choose() {
  if (views === null) {
    return;
  }
  clearTimeout(askAt);
  restart();
  document.title = `${find.id || "Customer"} · etalage`;
  if (find.id === "" || views.size === 0) {
    stream.stop();
    connection.take({ kind: "idle" });
    suggest();
  } else {
    follow(find.id);
  }
  draw();
}

/** Forgets the customer who was shown. */
function restart() {
  profile.restart();
  timeline.clear();
  identifiers.of(null);
  followed = null;
}

function follow(profileId) {
  followed = profileId;
  stream.follow(parts(find.id, profileId, views));
}

async function suggest() {
  try {
    hasCustomers = (await find.suggest(views)) > 0;
  } catch (problem) {
    if (followed === null) {
      refused(problem, choose);
    }
    return;
  }
  draw();
  if (find.id === "" && views.size > 0) {
    clearTimeout(askAt);
    askAt = setTimeout(suggest, SUGGEST_MS);
  }
}

function take(message) {
  asOf = message.data.as_of;
  connection.asOf = asOf;
  if (message.event === "snapshot" || message.event === "changes") {
    const before = profile.state;
    profile.take(message);
    if ((profile.owner ?? find.id) === followed) {
      tell(before);
    } else {
      lead(before !== null);
    }
  }
  drawSoon();
}

/** Notes what has changed; the first time, what was before. */
function tell(before) {
  if (before !== null) {
    const said = sentences(before, profile.state);
    if (said.length > 0) {
      timeline.note(asOf, said);
    }
  } else if (timeline.isEmpty) {
    timeline.begin(past(profile.state));
  }
  if (views.has(IDENTITY)) {
    identifiers.of(followed);
    identifiers.again();
  }
}

/** Goes on with the profile that the identifier belongs to. */
function lead(isNews) {
  const owner = profile.owner ?? find.id;
  if (isNews) {
    timeline.note(asOf, [[idText(find.id), " belongs to ", idText(owner), " now"]]);
  }
  profile.forget();
  follow(owner);
}

function drawSoon() {
  drawAt ??= setTimeout(draw, DRAW_MS);
}

function draw() {
  clearTimeout(drawAt);
  drawAt = null;
  setText(byId("as-of"), instant(asOf));
  const isChosen = followed !== null;
  const isKnown = isChosen && profile.state !== null;
  byId("intro").hidden = isChosen || views === null;
  byId("nobody").hidden = !(isKnown && !profile.exists);
  byId("cards").hidden = !(isKnown && profile.exists);
  setText(byId("intro-text"), introduction());
  if (isKnown) {
    setText(byId("nobody-text"), `Nothing is known of ${followed}. It is shown here as soon as an event names it:`);
    setText(byId("curl"), command({ event: "view_item", ...names(followed), properties: { items: [{ item_id: "22086" }] } }));
    byId("profile-id").replaceChildren(idText(followed));
    byId("asked").hidden = followed === find.id;
    setText(byId("asked"), `${find.id} belongs to this customer.`);
    drawCards(profile.state);
  }
}

function introduction() {
  if (views?.size === 0) {
    return "This server has no views of customers: they are switched off.";
  }
  return hasCustomers ? "Enter a customer’s id, or choose one of the first:" : "No event has named a customer yet.";
}

start();
