// What the server tells of itself once a second: rate, freshness, counts, and what kind of run it
// is.

import { get } from "./api.js";
import { areaChart } from "./charts.js";
import { byId, setText } from "./dom.js";
import { count, duration, rough } from "./format.js";
import { Figure } from "./history.js";

export class Status {
  #rates = new Figure();
  #asking = false;

  /** Asks, and shows what is answered; a moment without an answer is a gap. */
  async refresh() {
    if (this.#asking) {
      return;
    }
    this.#asking = true;
    const status = await get("v1/status", AbortSignal.timeout(5_000)).catch(() => null);
    this.#asking = false;
    this.#rates.add(status?.events_per_s);
    if (status) {
      this.#show(status);
    }
    for (const id of ["rate", "p50", "p99", "stored", "duplicates", "refused"]) {
      byId(id).classList.toggle("old", !status);
    }
    this.draw();
  }

  draw() {
    areaChart(byId("rate-chart"), this.#rates.values);
  }

  #show({ mode, events_per_s: rate, freshness, counts }) {
    const isDemo = typeof mode === "string" && mode.startsWith("demo");
    byId("mode").hidden = !mode;
    setText(byId("mode"), mode ?? "");
    byId("demo-note").hidden = !isDemo;
    setText(byId("rate"), rate >= 10_000 ? rough(rate) : count(rate));
    const isFresh = freshness?.ticks > 0;
    setText(byId("p50"), isFresh ? duration(freshness.p50_ms) : "–");
    setText(byId("p99"), isFresh ? duration(freshness.p99_ms) : "–");
    for (const id of ["stored", "duplicates", "refused"]) {
      setText(byId(id), count(counts?.[id]));
    }
  }
}
