// The panels: what each asks of /calls/stats, and what of the answer it shows as chart, table and CSV.

import { duration, NOTHING, percent, short, usd, whole } from "./elements.js";

const COUNTS = [{ metric: "call_count" }, { metric: "error_count" }];
const PERCENTILES = [50, 95, 99];
const TOKENS = ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
// Models that are told apart in a chart; what is left is one series, the table has all.
const MODELS_MAX = 6;

/** Rows of `usage_buckets` of each bucket's timestamp. */
function usageByTime(answer) {
  const rows = new Map(answer.call_buckets.map(({ timestamp }) => [timestamp, []]));
  for (const row of answer.usage_buckets) rows.get(row.timestamp)?.push(row);
  return rows;
}

function total(values) {
  return values.reduce((sum, value) => sum + (value ?? 0), 0);
}

/** Each list plus those before it, for bars that stand on each other; the last comes first, since it is drawn behind. */
function stacked(series) {
  let below = series[0]?.values.map(() => 0) ?? [];
  return series
    .map((one) => ({
      ...one,
      own: one.values,
      values: (below = one.values.map((value, index) => below[index] + (value ?? 0))),
    }))
    .reverse();
}

const calls = {
  id: "calls",
  title: "Calls and errors",
  ask: { call_metrics: COUNTS },
  written: whole,
  read(answer) {
    const errors = answer.call_buckets.map((row) => row.sum_error_count);
    const good = answer.call_buckets.map((row, index) => row.sum_call_count - errors[index]);
    return [
      { label: "failed", values: errors, shape: "bars", colour: "bad" },
      { label: "not failed", values: good, shape: "bars", colour: "calls" },
    ];
  },
  stacks: true,
  before: (answer) => answer.call_buckets.map((row) => row.sum_call_count),
  sum: total,
};

const errorRate = {
  id: "error-rate",
  title: "Error rate",
  ask: { call_metrics: COUNTS },
  written: percent,
  read: (answer) => [
    { label: "failed of all", values: rates(answer), shape: "line", colour: "bad", fill: "bad-soft", width: 2 },
  ],
  before: rates,
  sum: (values, answer) =>
    total(answer.call_buckets.map((row) => row.sum_error_count)) /
    total(answer.call_buckets.map((row) => row.sum_call_count)),
};

function rates(answer) {
  return answer.call_buckets.map((row) => (row.sum_call_count ? row.sum_error_count / row.sum_call_count : null));
}

const latency = {
  id: "latency",
  title: "Latency",
  ask: { call_metrics: [{ metric: "latency_ms", aggregations: [], percentiles: PERCENTILES }] },
  written: duration,
  axis: (ms) => (ms === 0 ? "0" : ms % 1000 ? duration(ms) : ms % 60_000 ? `${ms / 1000} s` : `${ms / 60_000} min`),
  read: (answer) => [
    {
      label: "p99",
      values: answer.call_buckets.map((row) => row.p99_latency_ms),
      shape: "line",
      colour: "p99",
      dash: [2, 3],
    },
    {
      label: "p95",
      values: answer.call_buckets.map((row) => row.p95_latency_ms),
      shape: "line",
      colour: "p95",
      width: 2,
    },
    {
      label: "p50",
      values: answer.call_buckets.map((row) => row.p50_latency_ms),
      shape: "line",
      colour: "p50",
      dash: [7, 3],
    },
  ],
  before: (answer) => answer.call_buckets.map((row) => row.p95_latency_ms),
  sum: () => undefined, // percentiles of buckets do not add up to one of the range; the totals above have it
};

const TOKEN_LOOKS = {
  input_tokens: { label: "input", colour: "c1", width: 2 },
  output_tokens: { label: "output", colour: "c2", width: 2, dash: [7, 3] },
  cache_read_input_tokens: { label: "read from cache", colour: "c3", dash: [2, 3] },
  cache_creation_input_tokens: { label: "written to cache", colour: "c4", dash: [9, 3, 2, 3] },
};

const tokens = {
  id: "tokens",
  title: "Tokens by class",
  ask: { usage_metrics: TOKENS.map((metric) => ({ metric })) },
  written: short,
  read(answer) {
    const rows = [...usageByTime(answer).values()];
    return TOKENS.map((metric) => ({
      ...TOKEN_LOOKS[metric],
      values: rows.map((models) => total(models.map((row) => row[`sum_${metric}`]))),
      shape: "line",
    }));
  },
  before: (answer) =>
    [...usageByTime(answer).values()].map((models) => total(models.map((row) => row.sum_input_tokens))),
  sum: total,
};

const cost = {
  id: "cost",
  title: "Cost by model",
  ask: { usage_metrics: [{ metric: "total_cost", aggregations: ["sum", "count"] }] },
  written: usd,
  read(answer) {
    const rows = [...usageByTime(answer).values()],
      totals = new Map();
    for (const row of answer.usage_buckets)
      totals.set(row.model, (totals.get(row.model) ?? 0) + (row.sum_total_cost ?? 0));
    const models = [...totals]
      .filter(([, dollars]) => dollars > 0)
      .sort((a, b) => b[1] - a[1])
      .map(([model]) => model);
    const named = models.length > MODELS_MAX ? models.slice(0, MODELS_MAX - 1) : models;
    const valuesOf = (isOne) =>
      rows.map((all) => total(all.filter((row) => isOne(row.model)).map((row) => row.sum_total_cost)));
    const series = named.map((model, index) => ({
      label: model || "(no name)",
      values: valuesOf((name) => name === model),
      shape: "bars",
      colour: `c${index + 1}`,
    }));
    if (named.length < models.length)
      series.push({
        label: `${models.length - named.length} others`,
        values: valuesOf((name) => !named.includes(name)),
        shape: "bars",
        colour: "others",
      });
    return series;
  },
  stacks: true,
  before: (answer) => [...usageByTime(answer).values()].map((models) => total(models.map((row) => row.sum_total_cost))),
  sum: total,
  whole: (answer) => total(answer.usage_buckets.map((row) => row.sum_total_cost)),
  note(answer) {
    const rows = unpricedOf(answer);
    if (!rows.count) return null;
    return `${whole(rows.count)} calls have no price: ${rows.models
      .slice(0, 3)
      .map((model) => model || "(no name)")
      .join(", ")}${rows.models.length > 3 ? ", …" : ""}`;
  },
};

/** How many rows of usage have no price, and of which models. */
export function unpricedOf(answer) {
  const unpriced = new Map();
  for (const row of answer.usage_buckets) {
    const count = row.count - row.count_total_cost;
    if (count) unpriced.set(row.model, (unpriced.get(row.model) ?? 0) + count);
  }
  return {
    count: total([...unpriced.values()]),
    models: [...unpriced].sort((a, b) => b[1] - a[1]).map(([model]) => model),
  };
}

export const PANELS = [calls, errorRate, latency, tokens, cost];

/** All that the panels ask, as one question: one answer draws them all. */
export function merged() {
  return {
    call_metrics: [...COUNTS, ...latency.ask.call_metrics],
    usage_metrics: [...tokens.ask.usage_metrics, { metric: "total_tokens" }, ...cost.ask.usage_metrics],
  };
}

/** What a panel draws of an answer; `own` are values as they are, `values` as they are drawn. */
export function seriesOf(panel, answer, before) {
  const series = panel.read(answer).map((one) => ({ ...one, own: one.values }));
  const drawn = panel.stacks ? stacked(series) : series;
  if (!before) return { series, drawn };
  const earlier = panel.before(before).slice(0, answer.call_buckets.length);
  const values = answer.call_buckets.map((row, index) => earlier[index] ?? null);
  const ghost = { label: "before", values, own: values, shape: "line", colour: "before", width: 1.5, dash: [4, 3] };
  return { series: [...series, ghost], drawn: [...drawn, ghost] };
}

/** A panel as rows of text: the head, then one row a bucket. */
export function tableOf(panel, series, edges, spanOf) {
  const head = ["time", ...series.map((one) => one.label)];
  return [
    head,
    ...edges.map((edge, index) => [
      spanOf(index),
      ...series.map((one) => (one.own[index] === null ? NOTHING : panel.written(one.own[index]))),
    ]),
  ];
}

/** The same as CSV, with numbers as they are and times as the api wrote them. */
export function csvOf(series, timestamps) {
  const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  // A model's name is a producer's word; a spreadsheet must not take one for a formula.
  const safe = (text) => quoted(/^[=+\-@\t]/.test(text) ? `'${text}` : text);
  const rows = timestamps.map((at, index) => [at, ...series.map((one) => one.own[index] ?? "")].join(","));
  return [["timestamp", ...series.map((one) => safe(one.label))].join(","), ...rows].join("\r\n") + "\r\n";
}
