// Small line charts, drawn as SVG. They span the time since the first sample, but at least
// MIN_SPAN and at most SAMPLES seconds, up to now.

import { svg } from "./dom.js";
import { count, rough } from "./format.js";
import { SAMPLES } from "./history.js";

const MARGIN = { top: 10, right: 8, bottom: 20, left: 44 };
/** Height of a line of text beside a line's end. */
const LABEL_PX = 14;
const LABEL_WIDTH_PX = 84;
const LABEL_CHARS = 9;
const MIN_SPAN = 60;

/** A line without axes, in the row of an item. */
export function sparkline(drawing, values, color) {
  const [width, height] = [80, 22];
  drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const scale = scaleOf([values], { top: 2, bottom: height - 2, left: 1, right: width - 2 });
  const last = values.at(-1);
  const end = last == null ? [] : [svg("circle", { cx: scale.x(scale.span - 1), cy: scale.y(last), r: 1.8, class: `dot ${color}` })];
  drawing.replaceChildren(svg("path", { d: path(values, scale), class: `line ${color}` }), ...end);
}

/** Lines of several items with axes; the names stand at the ends of those that have a color. */
export function lineChart(drawing, lines) {
  const { width, height } = sized(drawing);
  const area = { ...areaOf(width, height), right: width - LABEL_WIDTH_PX };
  const scale = scaleOf(lines.map((line) => line.values), area);
  const drawn = lines.map((line) => svg("path", { d: path(line.values, scale), class: `line ${line.color}` }));
  drawing.replaceChildren(...axes(scale, area, false), ...drawn, ...labels(lines, scale, area));
}

/** One figure from zero up, filled. */
export function areaChart(drawing, values) {
  const { width, height } = sized(drawing);
  const area = areaOf(width, height);
  const scale = scaleOf(values.some((value) => value !== null) ? [values, [0]] : [values], area);
  const shape = runs(values, scale.span).map((run) => {
    const [from, to] = [run[0], run.at(-1)].map((point) => scale.x(point.at).toFixed(1));
    return `M${from},${area.bottom}L${run.map((point) => place(point, scale)).join("L")}L${to},${area.bottom}Z`;
  });
  drawing.replaceChildren(
    ...axes(scale, area, true),
    svg("path", { d: shape.join(""), class: "fill" }),
    svg("path", { d: path(values, scale), class: "line c0" }),
  );
}

function sized(drawing) {
  const width = Math.max(drawing.clientWidth, 120);
  const height = Math.max(drawing.clientHeight, 60);
  drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  return { width, height };
}

function areaOf(width, height) {
  return { top: MARGIN.top, right: width - MARGIN.right, bottom: height - MARGIN.bottom, left: MARGIN.left };
}

/** Maps samples to places: the newest stands at the right end. */
function scaleOf(series, { top, bottom, left, right }) {
  const seen = series.flat().filter((value) => value !== null);
  let [low, high] = [Math.min(...seen), Math.max(...seen)];
  if (seen.length === 0) {
    [low, high] = [0, 1];
  }
  const isFlat = low === high;
  const pad = isFlat ? Math.max(Math.abs(high) * 0.05, 1) : (high - low) * 0.06;
  const from = low >= 0 ? Math.max(low - pad, 0) : low - pad;
  const to = high + pad;
  const span = Math.min(Math.max(...series.map((values) => values.length), MIN_SPAN), SAMPLES);
  return {
    low: from,
    high: to,
    span,
    isEmpty: seen.length === 0,
    x: (at) => left + (at / (span - 1)) * (right - left),
    y: (value) => bottom - ((value - from) / (to - from)) * (bottom - top),
  };
}

/** The samples as runs without a gap, each with its place in time. */
function runs(values, span) {
  const offset = span - values.length;
  const found = [];
  let open = null;
  values.forEach((value, index) => {
    if (value === null) {
      open = null;
      return;
    }
    if (!open) {
      found.push((open = []));
    }
    open.push({ at: offset + index, value });
  });
  return found;
}

const place = ({ at, value }, scale) => `${scale.x(at).toFixed(1)},${scale.y(value).toFixed(1)}`;

function path(values, scale) {
  return runs(values, scale.span).map((run) => `M${run.map((point) => place(point, scale)).join("L")}`).join("");
}

/** Round values inside the scale, at most about four. */
function ticks(low, high) {
  const rawStep = (high - low) / 3;
  const magnitude = 10 ** Math.floor(Math.log10(rawStep));
  const step = [1, 2, 5, 10].map((factor) => factor * magnitude).find((one) => one >= rawStep);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) {
    found.push(at);
  }
  return found;
}

function axes(scale, area, isRate) {
  if (scale.isEmpty) {
    const middle = { x: (area.left + area.right) / 2, y: (area.top + area.bottom) / 2 };
    return [svg("text", { ...middle, class: "tick middle" }, "nothing to draw yet")];
  }
  const write = isRate || scale.high >= 100_000 ? rough : count;
  const lines = ticks(scale.low, scale.high).flatMap((value) => {
    const y = scale.y(value).toFixed(1);
    return [
      svg("line", { x1: area.left, x2: area.right, y1: y, y2: y, class: "grid" }),
      svg("text", { x: area.left - 6, y, class: "tick end" }, write(value)),
    ];
  });
  const y = area.bottom + 14;
  return [
    ...lines,
    svg("text", { x: area.left, y, class: "tick" }, ago(scale.span)),
    svg("text", { x: area.right, y, class: "tick end" }, "now"),
  ];
}

const ago = (seconds) => (seconds < 120 ? `${Math.floor(seconds / 10) * 10} s ago` : `${Math.round(seconds / 60)} min ago`);

/** Names at the ends of lines, moved apart where they would cover each other. */
function labels(lines, scale, area) {
  const ends = lines.filter((line) => line.name && line.values.at(-1) != null);
  const places = ends.map((line) => ({ line, y: scale.y(line.values.at(-1)) })).sort((a, b) => a.y - b.y);
  places.forEach((one, at) => {
    one.y = Math.max(one.y, at > 0 ? places[at - 1].y + LABEL_PX : area.top);
  });
  let floor = area.bottom;
  for (const one of places.toReversed()) {
    one.y = Math.min(one.y, floor);
    floor = one.y - LABEL_PX;
  }
  return places.map(({ line, y }) => {
    const name = line.name.length > LABEL_CHARS ? `${line.name.slice(0, LABEL_CHARS - 1)}…` : line.name;
    return svg("text", { x: area.right + 8, y: y.toFixed(1), class: `name ${line.color}` }, name);
  });
}
