// The strip of totals: what one sees first, each against the period before.

import { change, duration, fill, h, NOTHING, percent, short, TROUBLED_SHARE, usd, whole } from "./elements.js";
import { unpricedOf } from "./panels.js";

function sum(rows, key) {
  return rows.reduce((total, row) => total + (row[key] ?? 0), 0);
}

/** What is told of the panels' answer and, where it is there, of the question of the whole range, which has its percentiles. */
export function drawTotals(place, view, { stats, totals }, { go }) {
  const calls = sum(stats.call_buckets, "sum_call_count"),
    errors = sum(stats.call_buckets, "sum_error_count");
  const tokens = sum(stats.usage_buckets, "sum_total_tokens"),
    dollars = sum(stats.usage_buckets, "sum_total_cost"),
    unpriced = unpricedOf(stats);
  const now = totals?.total ?? {},
    before = now.previous ?? null;
  const rate = calls ? errors / calls : null,
    troubled = rate !== null && rate >= TROUBLED_SHARE;
  const seconds = stats.call_buckets.length * stats.granularity || 1;
  const priced = stats.usage_buckets.some((row) => row.sum_total_cost !== null);
  fill(
    place,
    tile("Calls", short(calls), whole(calls), change(calls, before?.count), rateWritten(calls / seconds)),
    tile(
      "Errors",
      short(errors),
      whole(errors),
      change(errors, before?.sum_error_count),
      rate === null ? "" : `${percent(rate)} of all`,
      { troubled, onclick: () => go({ kind: "failing", order: "sum_error_count", dir: "desc" }) },
    ),
    tile(
      "Latency p95",
      duration(now.p95_latency_ms),
      "",
      change(now.p95_latency_ms, before?.p95_latency_ms),
      now.p50_latency_ms === undefined ? "" : `p50 ${duration(now.p50_latency_ms)}`,
    ),
    tile("Tokens", short(tokens), whole(tokens), change(tokens, before?.sum_total_tokens), ""),
    tile(
      "Cost",
      priced || !unpriced.count ? usd(dollars) : NOTHING,
      String(dollars),
      change(dollars, before?.sum_total_cost),
      unpriced.count ? `+ ${short(unpriced.count)} calls unpriced` : "",
    ),
  );
}

function tile(label, number, exact, delta, beside, { troubled = false, onclick } = {}) {
  const said =
    delta && h("span.delta", { title: "against the period before" }, delta, h("span.against", {}, " vs before"));
  const inside = [
    h("span.label", {}, troubled ? "▲ " : "", label),
    h("span.big", { title: exact || undefined }, number),
    h("span.beside", {}, said, beside && h("span", {}, beside)),
  ];
  return onclick
    ? h(`button.tile${troubled ? ".troubled" : ""}`, { type: "button", "data-key": `tile-${label}`, onclick }, inside)
    : h("div.tile", {}, inside);
}

function rateWritten(perSecond) {
  if (!perSecond) return "";
  return perSecond >= 1 ? `${short(+perSecond.toPrecision(3))}/s` : `${short(+(perSecond * 60).toPrecision(2))}/min`;
}
