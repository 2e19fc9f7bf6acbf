// Single calls of the range: newest, failing, slowest, dearest; each opens its link, and what its subtree used.

import { ask, curlOf } from "./asking.js";
import { duration, fill, h, NOTHING, opName, say, short, usd, whole } from "./elements.js";
import { clock, day } from "./instants.js";
import { filterOf } from "./view.js";

export const KINDS = [
  ["failing", "Failing"],
  ["newest", "Newest"],
  ["slowest", "Slowest"],
  ["dearest", "Dearest"],
];
const CALLS_MAX = 20;
const EMPTY = {
  failing: "No call failed in this range.",
  newest: "No calls in this range.",
  slowest: "No call has ended in this range.",
  dearest: "No call with a price in this range.",
};

/** The question that the list asks. */
export function examplesQuestion(view, window) {
  return { ...window, filter: filterOf(view), kind: view.kind, limit: CALLS_MAX };
}

export class Examples {
  constructor(place, { onview, onfilter }) {
    Object.assign(this, { place, onview, onfilter, open: null, subtrees: new Map() });
    this.tabs = h("div.tabs", { role: "group", "aria-label": "Which calls" });
    this.list = h("ol.calls");
    this.note = h("p.note");
    fill(place, h("div.card-head", {}, h("h2", { id: "examples-title" }, "Calls"), this.tabs), this.list, this.note);
  }

  draw(view, answer) {
    this.view = view;
    this.drawTabs(view);
    if (!answer.calls.some((call) => call.id === this.open)) this.open = null;
    this.calls = answer.calls;
    const incomplete = "There are too many calls to look at all of them: some that belong here may be missing.";
    this.note.textContent = answer.complete === false ? incomplete : "";
    fill(
      this.list,
      answer.calls.length ? answer.calls.map((call) => this.call(call)) : h("li.empty", {}, EMPTY[answer.kind]),
    );
  }

  drawTabs(view) {
    fill(
      this.tabs,
      KINDS.map(([kind, label]) =>
        h(
          "button.tab",
          {
            type: "button",
            "data-key": kind,
            "aria-pressed": String(view.kind === kind),
            onclick: () => this.onview({ kind }),
          },
          label,
        ),
      ),
    );
  }

  trouble(view, sentence) {
    this.drawTabs(view);
    fill(this.list, h("li.empty", {}, sentence));
  }

  call(call) {
    const zone = this.view.zone,
      startedMs = Date.parse(call.started_at),
      isOpen = this.open === call.id;
    const head = h(
      "button.call-head",
      {
        type: "button",
        "data-key": `call-${call.id}`,
        "aria-expanded": String(isOpen),
        onclick: () => this.toggle(call),
      },
      h(
        "time",
        { datetime: call.started_at, title: call.started_at },
        h("span.day", {}, `${day(startedMs, zone)} `),
        clock(startedMs, zone, true),
      ),
      h(
        "span.outcome",
        {},
        call.failed
          ? h("span.badge.bad", {}, "✕ failed")
          : call.ended_at
            ? h("span.badge", {}, "✓ ended")
            : h("span.badge", {}, "… open"),
      ),
      h("span.op", { title: call.op_name }, opName(call.op_name)),
      h("span.id", {}, call.id),
      h("span.number", {}, duration(call.latency_ms)),
      h("span.models", {}, call.models.join(", ") || NOTHING),
      h(
        "span.number",
        { title: `${whole(call.total_tokens)} tokens` },
        call.total_tokens ? `${short(call.total_tokens)} tok` : NOTHING,
      ),
      h("span.number", {}, usd(call.cost)),
      call.error && h("span.error", {}, call.error),
    );
    return h(`li${isOpen ? ".open" : ""}`, {}, head, isOpen && this.detail(call));
  }

  detail(call) {
    const only = (word, value, label) =>
      value &&
      h(
        "div",
        {},
        h("dt", {}, label),
        h(
          "dd",
          {},
          h(
            "button.link",
            { type: "button", "data-key": `${word}-${value}`, onclick: () => this.onfilter(word, value) },
            value,
          ),
        ),
      );
    return h(
      "div.detail",
      {},
      h(
        "p.actions",
        {},
        call.link &&
          h("a.button", { href: safeLink(call.link), target: "_blank", rel: "noopener noreferrer" }, "Open the call ↗"),
        h(
          "button.button",
          { type: "button", "data-key": `copy-${call.id}`, onclick: () => copy(call.id, "The call's id") },
          "Copy id",
        ),
        h(
          "button.button",
          {
            type: "button",
            "data-key": `curl-${call.id}`,
            onclick: () => copy(curlOf("/calls/usage", usageQuestion(this.view, call)), "The curl"),
          },
          "Copy curl",
        ),
      ),
      h(
        "dl",
        {},
        h("div", {}, h("dt", {}, "Call"), h("dd", {}, h("code", {}, call.id))),
        only("trace", call.trace_id, "Trace"),
        only("parent", call.parent_id, "Siblings of parent"),
        only("user", call.wb_user_id, "User"),
        only("run", call.wb_run_id, "Run"),
        only("op", call.op_name, "Op"),
      ),
      h("h3", {}, "Used by this call and all below it"),
      this.subtree(call),
    );
  }

  subtree(call) {
    const found = this.subtrees.get(call.id);
    if (!found) return h("p.note", {}, "Asking…");
    if (typeof found === "string") return h("p.note", {}, found);
    const models = Object.entries(found.call_usage[call.id] ?? {});
    if (!models.length) return h("p.note", {}, "No usage was stated, by it or below it.");
    const row = ([model, used]) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, model || "(no name)"),
        [used.requests, used.prompt_tokens, used.cache_read_input_tokens, used.completion_tokens].map((count) =>
          h("td.number", {}, whole(count)),
        ),
        h("td.number", {}, usd(costOf(used))),
      );
    return [
      h(
        "div.scroll",
        { tabindex: "0", role: "region", "aria-label": "What it used, by model" },
        h(
          "table.rows",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ["Model", "Requests", "Input", "From cache", "Output", "Cost"].map((label, index) =>
                h(index ? "th.number" : "th", { scope: "col" }, label),
              ),
            ),
          ),
          h("tbody", {}, models.map(row)),
        ),
      ),
      found.unfinished_call_ids.length > 0 &&
        h("p.note", {}, `${whole(found.unfinished_call_ids.length)} of them have not ended yet.`),
    ];
  }

  async toggle(call) {
    this.open = this.open === call.id ? null : call.id;
    this.redraw();
    if (!this.open) return;
    try {
      this.subtrees.set(call.id, await ask("/calls/usage", usageQuestion(this.view, call)));
    } catch (error) {
      this.subtrees.set(call.id, error.message);
    }
    this.redraw();
  }

  redraw() {
    fill(
      this.list,
      this.calls.map((call) => this.call(call)),
    );
  }
}

function usageQuestion(view, call) {
  return { project_id: view.project, call_ids: [call.id], include_costs: true };
}

function costOf(used) {
  const parts = Object.entries(used)
    .filter(([name]) => name.endsWith("_total_cost"))
    .map(([, dollars]) => dollars);
  return parts.every((part) => part === null) ? null : parts.reduce((sum, part) => sum + (part ?? 0), 0);
}

/** A link that an operator's template made; nothing but the web is opened. */
function safeLink(link) {
  return /^https?:\/\//.test(link) ? link : undefined;
}

/** Puts text on the clipboard and says so. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS a browser has no clipboard of its own; the old way still works.
    const area = h("textarea.hidden", {}, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(`${what} is on the clipboard.`);
}

/** A sentence that is seen for a moment, and said. */
export function toast(sentence) {
  document.querySelector(".toast")?.remove();
  const shown = h("p.toast", {}, sentence);
  document.body.append(shown);
  say(sentence);
  setTimeout(() => shown.remove(), 2_000);
}
