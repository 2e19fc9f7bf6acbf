// Sparklines of the breakdown's rows: how each value's calls and errors went over the range, for a look.

import { ask } from "./asking.js";
import { short, svg } from "./elements.js";
import { floorToBucket, granularityS, rfc3339 } from "./instants.js";
import { filterOf } from "./view.js";

const SPARK_BUCKETS = 40;
// A browser has six connections to the api: one is the stream, some are for the panels.
const SPARKS_AT_ONCE = 3;
// They are asked again when they are older than this.
const SPARK_MS_MAX = 15_000;

export class Sparklines {
  /** For the cells in `place` whose `data-spark` is a row's value. */
  constructor(place) {
    Object.assign(this, { place, known: new Map(), of: "" });
  }

  /** Draws what is there: points by value. */
  show(values, points) {
    for (const value of values) this.draw(value, points.get(value) ?? []);
  }

  /** Draws what is known, and asks for what is not or is old: each value with the view's filters, `word` being its own. */
  async ask(view, word, values, { start, end, dimension }, signal) {
    const of = JSON.stringify([dimension, view.project, view.from, view.to, view.zone, view.filters, view.roots]);
    if (this.of !== of) this.known.clear();
    this.of = of;
    for (const value of values) if (this.known.has(value)) this.draw(value, this.known.get(value).points);
    const stale = values.filter((value) => !(performance.now() - this.known.get(value)?.atMs < SPARK_MS_MAX));
    const next = async () => {
      for (let value; (value = stale.shift()) !== undefined && !signal.aborted;) {
        const found = await ask("/calls/stats", sparkQuestion(view, word, value, start, end), signal);
        if (signal.aborted || this.of !== of) return;
        const points = found.call_buckets.map((row) => ({ calls: row.sum_call_count, errors: row.sum_error_count }));
        this.known.set(value, { points, atMs: performance.now() });
        this.draw(value, points);
      }
    };
    await Promise.all(Array.from({ length: SPARKS_AT_ONCE }, next)).catch(() => {}); // a look that fails is no trouble
  }

  draw(value, points) {
    this.place.querySelector(`[data-spark="${CSS.escape(String(value))}"]`)?.replaceChildren(sparkline(points));
  }
}

function sparkQuestion(view, word, value, start, end) {
  const seconds = granularityS(Date.parse(end) - Date.parse(start), SPARK_BUCKETS);
  const filters = word ? [...view.filters.filter((one) => one.word !== word), { word, value }] : view.filters;
  return {
    project_id: view.project,
    start: rfc3339(floorToBucket(Date.parse(start), seconds, view.zone)),
    end,
    granularity: seconds,
    timezone: view.zone,
    call_metrics: [{ metric: "call_count" }, { metric: "error_count" }],
    filter: filterOf({ ...view, filters, roots: view.roots || !word }),
  };
}

/** Calls as bars, the failed ones red at the foot. */
function sparkline(points) {
  const most = Math.max(1, ...points.map(({ calls }) => calls));
  const width = 100 / Math.max(1, points.length);
  const bar = (count, index) => {
    if (!count) return "";
    const height = Math.max(0.8, (count / most) * 20).toFixed(2);
    return `M${(index * width).toFixed(2)} 20v-${height}h${(width * 0.82).toFixed(2)}v${height}z`;
  };
  const errors = points.reduce((sum, point) => sum + point.errors, 0);
  const words = `most ${short(most)} a bucket, ${short(errors)} errors in all`;
  return svg(
    "svg",
    { class: "spark", viewBox: "0 0 100 20", preserveAspectRatio: "none", role: "img", "aria-label": words },
    svg("path", { class: "calls", d: points.map(({ calls }, index) => bar(calls, index)).join("") }),
    svg("path", { class: "errors", d: points.map(({ errors: failed }, index) => bar(failed, index)).join("") }),
  );
}
