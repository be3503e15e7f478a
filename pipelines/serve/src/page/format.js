// Numbers and times as the page writes them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const exact = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** 12,345 */
export const count = (value) => (Number.isFinite(value) ? whole.format(value) : "–");

/** 1,234.50, of millionths of the shop's currency */
export const money = (micros) => (Number.isFinite(micros) ? exact.format(micros / 1e6) : "–");

/** 42 %, of millionths; what is there is never written as nothing. */
export function share(ppm) {
  const percent = Math.round(ppm / 10_000);
  return percent === 0 && ppm > 0 ? "< 1 %" : `${percent} %`;
}

/** Home › Kitchen, of a category path, whose levels are escaped. */
export function levels(path) {
  const plain = (level) => level.replaceAll("%2F", "/").replaceAll("%25", "%");
  return path.split("/").map(plain).join(" › ");
}

/** 12.3K */
export const rough = (value) => (Number.isFinite(value) ? short.format(value) : "–");

/** 0.8 ms, 1.2 s */
export function duration(ms) {
  if (!Number.isFinite(ms)) {
    return "–";
  }
  if (ms >= 1000) {
    return `${(ms / 1000).toPrecision(3)} s`;
  }
  return ms >= 10 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`;
}

/** 2010-12-01 08:26:00 UTC, of a time as the server writes it. */
export function instant(text) {
  const parts = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)/.exec(text ?? "");
  return parts ? `${parts[1]} ${parts[2]} UTC` : "–";
}

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** The length of a window's label such as `7d`, to put windows in order; unknown ones come last. */
export function windowLength(label) {
  const parts = /^(\d+)([a-z]+)$/.exec(label);
  return parts && UNITS_MS[parts[2]] ? Number(parts[1]) * UNITS_MS[parts[2]] : Infinity;
}
