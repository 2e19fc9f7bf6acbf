// The breakdown: one dimension's values, each a row with its share, its sparkline and how it was in the period before.

import {
  change,
  duration,
  fill,
  h,
  NOTHING,
  opName,
  percent,
  short,
  svg,
  TROUBLED_SHARE,
  usd,
  whole,
} from "./elements.js";
import { Sparklines } from "./sparklines.js";
import { filterOf } from "./view.js";

export const DIMENSIONS = [
  { id: "op_name", label: "Op", word: "op" },
  { id: "model", label: "Model" },
  { id: "wb_user_id", label: "User", word: "user" },
  { id: "wb_run_id", label: "Run", word: "run" },
  { id: "trace_root", label: "Root or not" },
];
const COLUMNS = [
  { key: "count", label: "Calls", written: short, exact: whole },
  { key: "sum_error_count", label: "Errors", written: short, exact: whole, bad: true },
  { key: "avg_error_count", label: "Error rate", written: percent, bad: true },
  { key: "p50_latency_ms", label: "p50", written: duration },
  { key: "p95_latency_ms", label: "p95", written: duration },
  { key: "sum_total_tokens", label: "Tokens", written: short, exact: whole },
  { key: "sum_total_cost", label: "Cost", written: usd },
];
// What is known of a model's calls beside their usage; a call without usage belongs to none.
const OF_MODELS = new Set(["count", "sum_total_tokens", "sum_total_cost"]);

/** The columns of a dimension. */
function columnsOf(dimension) {
  return COLUMNS.filter(({ key }) => dimension !== "model" || OF_MODELS.has(key));
}
const BREAKDOWN_ROWS_MAX = 20;

const USAGE = [{ metric: "total_tokens" }, { metric: "total_cost" }];
const CALLS = [
  { metric: "call_count" },
  { metric: "error_count", aggregations: ["sum", "avg"] },
  { metric: "latency_ms", aggregations: [], percentiles: [50, 95] },
];

/** The question that the table asks. */
export function breakdownQuestion(view, window) {
  const isKnown = columnsOf(view.by).some(({ key }) => key === view.order);
  return {
    ...window,
    dimension: view.by,
    call_metrics: view.by === "model" ? [{ metric: "call_count" }] : CALLS,
    usage_metrics: USAGE,
    filter: filterOf(view),
    order_by: isKnown ? view.order : "count",
    order: view.dir,
    limit: BREAKDOWN_ROWS_MAX,
    compare: "previous",
  };
}

/** The question that the totals ask: the whole range as one, with percentiles that buckets cannot be added up to. */
export function totalsQuestion(view, window) {
  const whole = { dimension: "trace_root", call_metrics: CALLS, usage_metrics: USAGE, limit: 1, compare: "previous" };
  return { ...window, ...whole, filter: filterOf(view) };
}

export class Breakdown {
  constructor(place, { onview, onfilter }) {
    Object.assign(this, { place, onview, onfilter, sparklines: new Sparklines(place) });
    this.tabs = h("div.tabs", { role: "group", "aria-label": "Broken down by" });
    this.scroll = h("div.scroll", { tabindex: "0", role: "region", "aria-label": "Breakdown" });
    this.note = h("p.note");
    fill(
      place,
      h("div.card-head", {}, h("h2", { id: "breakdown-title" }, "Breakdown"), this.tabs),
      this.scroll,
      this.note,
    );
  }

  /** Shows an answer; `usage` are the usage rows of the panels, for the sparklines of models. */
  draw(view, answer, usage, signal) {
    this.view = view;
    this.drawTabs(view);
    const dimension = DIMENSIONS.find(({ id }) => id === answer.dimension);
    if (!answer.rows.length) fill(this.scroll, h("p.empty", {}, "No calls in this range."));
    else
      fill(
        this.scroll,
        h(
          "table.rows",
          {},
          this.head(dimension, view),
          h(
            "tbody",
            {},
            answer.rows.map((row) => this.row(dimension, row, view)),
          ),
          this.foot(answer, view),
        ),
      );
    const without = answer.calls_without_model;
    fill(this.note, without ? `${whole(without)} calls used no model that is known and are in no row.` : "");
    const values = answer.rows.map((row) => row.value);
    if (dimension.id === "model") this.sparklines.show(values, usage);
    else
      this.sparklines.ask(
        view,
        dimension.word,
        values.filter((value) => canNarrow(dimension, value)),
        answer,
        signal,
      );
  }

  drawTabs(view) {
    fill(
      this.tabs,
      DIMENSIONS.map(({ id, label }, index) =>
        h(
          "button.tab",
          {
            type: "button",
            "data-key": id,
            "aria-pressed": String(view.by === id),
            title: `By ${label.toLowerCase()}  ${index + 1}`,
            onclick: () => this.onview({ by: id }),
          },
          label,
        ),
      ),
    );
  }

  trouble(view, sentence) {
    this.drawTabs(view);
    fill(this.scroll, h("p.empty", {}, sentence));
  }

  head(dimension, view) {
    const sorted = (key) => (view.order === key ? (view.dir === "desc" ? "descending" : "ascending") : undefined);
    return h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, dimension.label),
        h("th.trend", { scope: "col" }, "Trend"),
        columnsOf(dimension.id).map(({ key, label }) =>
          h(
            "th.number",
            { scope: "col", "aria-sort": sorted(key) },
            h(
              "button.sort",
              {
                type: "button",
                "data-key": `sort-${key}`,
                onclick: () =>
                  this.onview({ order: key, dir: view.order === key && view.dir === "desc" ? "asc" : "desc" }),
              },
              label,
              h("span.arrow", { "aria-hidden": "true" }, view.order === key ? (view.dir === "desc" ? " ↓" : " ↑") : ""),
            ),
          ),
        ),
      ),
    );
  }

  row(dimension, row, view) {
    const name = nameOf(dimension, row.value),
      narrows = canNarrow(dimension, row.value);
    const words = h("span.value", { title: String(row.value ?? "") }, name);
    return h(
      "tr",
      {},
      h(
        "th.name",
        { scope: "row" },
        narrows
          ? h(
              "button.link",
              {
                type: "button",
                "data-key": `row-${row.value}`,
                title: `Only ${name}`,
                onclick: () => this.onfilter(dimension, row.value),
              },
              words,
            )
          : words,
        shareBar(row.share),
      ),
      h("td.trend", { "data-spark": String(row.value) }),
      this.cells(row, row.previous, view),
    );
  }

  foot(answer, view) {
    const rest =
      answer.rest &&
      answer.rest.values &&
      h(
        "tr.rest",
        {},
        h("th.name", { scope: "row" }, `${whole(answer.rest.values)} more`),
        h("td.trend"),
        this.cells(answer.rest, null, view),
      );
    return h(
      "tfoot",
      {},
      rest,
      h(
        "tr.total",
        {},
        h("th.name", { scope: "row" }, "All"),
        h("td.trend"),
        this.cells(answer.total, answer.total.previous, view),
      ),
    );
  }

  cells(row, previous, view) {
    return columnsOf(view.by).map(({ key, written, exact, bad }) => {
      const value = row[key],
        troubled = bad && row.sum_error_count && row.avg_error_count >= TROUBLED_SHARE;
      const delta = view.compare && previous ? change(value, previous[key]) : "";
      return h(
        `td.number${troubled ? ".troubled" : ""}`,
        { title: exact ? exact(value) : undefined },
        key === "sum_error_count" && value === 0 ? "0" : written(value),
        view.compare &&
          h(
            "span.delta",
            { title: previous ? `before: ${written(previous[key])}` : "nothing before" },
            delta || NOTHING,
          ),
      );
    });
  }
}

function nameOf(dimension, value) {
  if (dimension.id === "trace_root") return value ? "roots" : "not roots";
  if (dimension.id === "op_name") return opName(value) ?? "(none)";
  if (value === null) return dimension.id === "error" ? "(no class said)" : "(none)";
  return value === "" ? "(empty)" : String(value);
}

/** Whether there is a filter for the row's value. */
function canNarrow(dimension, value) {
  return (
    Boolean(dimension.word && typeof value === "string" && value) || (dimension.id === "trace_root" && value === true)
  );
}

function shareBar(share) {
  if (share === null || share === undefined) return null;
  const bar = svg("svg", {
    class: "share",
    viewBox: "0 0 100 3",
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": `${percent(share)} of all`,
  });
  bar.append(
    svg("rect", { class: "track", width: 100, height: 3 }),
    svg("rect", { class: "part", width: Math.max(0, Math.min(100, share * 100)), height: 3 }),
  );
  return bar;
}
