// What is looked at: project, range, zone, filters, order. It lives in the URL: a link is a view, and back goes back.

import { instantMs, relativeMs, relativeWritten, rfc3339, floorToBucket, granularityS } from "./instants.js";

// Fields of a filter: the word in the URL and on a chip, the field of the request, whether the box suggests values.
export const FILTERS = [
  { word: "op", field: "op_names", dimension: "op_name" },
  { word: "user", field: "wb_user_ids", dimension: "wb_user_id" },
  { word: "run", field: "wb_run_ids", dimension: "wb_run_id" },
  { word: "trace", field: "trace_ids" },
  { word: "call", field: "call_ids" },
  { word: "parent", field: "parent_ids" },
  { word: "thread", field: "thread_ids" },
  { word: "turn", field: "turn_ids" },
  { word: "input", field: "input_refs" },
  { word: "output", field: "output_refs" },
];
const WORDS = new Set(FILTERS.map((filter) => filter.word));

// Words with a value each, and what they are where the URL says nothing.
const DEFAULTS = { project: "", from: "-1h", to: "now", by: "op_name", order: "count", dir: "desc", kind: "failing" };
const FLAGS = ["roots", "compare"];

export const LOCAL_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** The view that a URL's query means; what it does not say, or says wrongly, is as at first. */
export function readView(query, nowMs = Date.now()) {
  const params = new URLSearchParams(query);
  const view = {
    filters: [],
    tables: (params.get("tables") ?? "").split(",").filter(Boolean),
    zone: zoneOf(params.get("zone")),
  };
  for (const [word, usual] of Object.entries(DEFAULTS)) view[word] = params.get(word) || usual;
  for (const word of FLAGS) view[word] = params.get(word) === "1";
  for (const [word, value] of params) if (WORDS.has(word) && value) view.filters.push({ word, value });
  if (!(instantMs(view.from, nowMs) < instantMs(view.to, nowMs)))
    Object.assign(view, { from: DEFAULTS.from, to: DEFAULTS.to });
  return view;
}

/** The query of a view: only what is not as at first. */
export function writeView(view) {
  const params = new URLSearchParams();
  for (const [word, usual] of Object.entries(DEFAULTS)) if (view[word] !== usual) params.set(word, view[word]);
  if (view.zone !== LOCAL_ZONE) params.set("zone", view.zone);
  for (const word of FLAGS) if (view[word]) params.set(word, "1");
  for (const { word, value } of view.filters) params.append(word, value);
  if (view.tables.length) params.set("tables", view.tables.join(","));
  const written = params.toString().replaceAll("%2F", "/").replaceAll("%3A", ":");
  return written ? `?${written}` : location.pathname;
}

function zoneOf(name) {
  try {
    return name && Intl.DateTimeFormat("en", { timeZone: name }) ? name : LOCAL_ZONE;
  } catch {
    return LOCAL_ZONE;
  }
}

/** Whether the view moves on with time. */
export function isLive(view) {
  return view.to === "now";
}

/**
 * The window to ask for: milliseconds, and seconds per bucket. A live one begins with a whole bucket, so that it is
 * answered from what is rolled up, and has the same start until a bucket is over; its `endMs` is null.
 */
export function windowOf(view, nowMs) {
  const beginMs = instantMs(view.from, nowMs),
    endMs = instantMs(view.to, nowMs);
  const seconds = granularityS(endMs - beginMs);
  if (!isLive(view)) return { startMs: beginMs, endMs, seconds, rangeMs: endMs - beginMs };
  return { startMs: floorToBucket(beginMs, seconds, view.zone), endMs: null, seconds, rangeMs: endMs - beginMs };
}

/** The view moved by its own length, earlier (-1) or later (1); it never ends after now, and is live again there. */
export function shifted(view, direction, nowMs) {
  const fromMs = instantMs(view.from, nowMs),
    toMs = instantMs(view.to, nowMs),
    rangeMs = toMs - fromMs;
  if (toMs + direction * rangeMs >= nowMs) return { from: relativeWritten(rangeMs), to: "now" };
  return fixed(fromMs + direction * rangeMs, toMs + direction * rangeMs);
}

/** The view made longer about its middle, as far as now. */
export function widened(view, times, nowMs) {
  const fromMs = instantMs(view.from, nowMs),
    toMs = instantMs(view.to, nowMs),
    rangeMs = (toMs - fromMs) * times;
  if (isLive(view)) return { from: relativeWritten(rangeMs), to: "now" };
  const middleMs = (fromMs + toMs) / 2;
  return fixed(middleMs - rangeMs / 2, Math.min(nowMs, middleMs + rangeMs / 2));
}

/** A window between two instants that stand still, to the minute. */
export function fixed(fromMs, toMs) {
  const beginMs = Math.floor(fromMs / 60_000) * 60_000;
  return { from: rfc3339(beginMs), to: rfc3339(Math.max(beginMs + 60_000, Math.round(toMs / 60_000) * 60_000)) };
}

/** A live view held still, or one that stands still made live. */
export function toggledLive(view, nowMs) {
  if (isLive(view)) return fixed(instantMs(view.from, nowMs), nowMs);
  const rangeMs = instantMs(view.to, nowMs) - instantMs(view.from, nowMs);
  return { from: relativeMs(view.from) === null ? relativeWritten(rangeMs) : view.from, to: "now" };
}

/** The `filter` of a request: values of one field are alternatives, fields all apply. Undefined where nothing is filtered. */
export function filterOf(view, ...more) {
  const filter = {};
  for (const { word, value } of [...view.filters, ...more]) {
    const { field } = FILTERS.find((known) => known.word === word);
    (filter[field] ??= []).push(value);
  }
  if (view.roots) filter.trace_roots_only = true;
  return Object.keys(filter).length ? filter : undefined;
}
