// One panel as a card: its title, its legend with numbers, its chart, the table behind it, CSV and curl.

import { curlOf } from "./asking.js";
import { Chart, colour } from "./charts.js";
import { fill, h, NOTHING, svg } from "./elements.js";
import { copy } from "./examples.js";
import { span } from "./instants.js";
import { csvOf, seriesOf, tableOf } from "./panels.js";

const TABLE_WAIT_MS = 500; // until the table behind a chart is drawn even if the browser is never idle

export class Card {
  constructor(panel, { onchoose, onhover, ontable, questionOf }) {
    Object.assign(this, { panel, questionOf, ontable, shown: null, hovered: null });
    this.legend = h("ul.legend");
    this.when = h("p.when");
    this.place = h("div.chart", { "aria-hidden": "true" });
    this.table = h("div.table.hidden", { role: "region", "aria-label": `${panel.title}, as a table` });
    this.empty = h("p.empty", { hidden: true });
    this.note = h("p.note");
    this.tableButton = this.action("Table", "table", () => ontable(panel.id));
    this.root = h(
      `figure.card.panel.${panel.id}`,
      { "aria-labelledby": `${panel.id}-title` },
      h(
        "div.card-head",
        {},
        h("h2", { id: `${panel.id}-title` }, panel.title),
        h(
          "div.actions",
          {},
          this.tableButton,
          this.action("CSV", "csv", () => this.download()),
          this.action("curl", "curl", () => copy(curlOf("/calls/stats", questionOf(panel)), "The curl")),
        ),
      ),
      this.legend,
      h("div.drawing", {}, this.place, this.when, this.empty),
      this.table,
      this.note,
    );
    this.chart = new Chart(this.place, { onchoose, onhover });
  }

  action(label, what, onclick) {
    return h(
      "button.action",
      { type: "button", "data-action": what, "aria-label": `${this.panel.title}: ${label}`, onclick },
      label,
    );
  }

  /** Shows an answer, with what was before it where that is compared. */
  draw(view, answer, before, countedToS) {
    const { panel } = this,
      edges = answer.call_buckets.map((row) => Date.parse(row.timestamp) / 1000);
    const { series, drawn } = seriesOf(panel, answer, before);
    this.shown = { view, answer, series, edges };
    this.isTable = view.tables.includes(panel.id);
    this.tableButton.setAttribute("aria-pressed", String(this.isTable));
    this.table.classList.toggle("hidden", !this.isTable);
    this.place.parentElement.hidden = this.isTable;
    const isEmpty = !edges.length || series.every((one) => one.own.every((value) => !value));
    this.empty.hidden = !isEmpty;
    this.empty.textContent = answer.call_buckets.some((row) => row.sum_call_count)
      ? "Nothing of this in the range."
      : "No calls in this range.";
    if (!this.isTable)
      this.chart.draw(
        edges.length
          ? {
              edges,
              seconds: answer.granularity,
              zone: view.zone,
              series: drawn,
              written: panel.axis ?? panel.written,
              countedToS,
            }
          : null,
      );
    cancelIdleCallback(this.waitingTable);
    // Behind a chart it is for those who hear the page: hundreds of rows must not hold the picture up.
    if (this.isTable) this.drawTable();
    else this.waitingTable = requestIdleCallback(() => this.drawTable(), { timeout: TABLE_WAIT_MS });
    this.drawLegend();
    fill(this.note, panel.note?.(answer) ?? "");
  }

  /** The same bucket in all panels, in numbers; null: the whole range. */
  hover(index) {
    this.hovered = index;
    if (this.shown) this.drawLegend();
  }

  drawLegend() {
    const { series, answer, edges, view } = this.shown,
      index = this.hovered !== null && this.hovered < edges.length ? this.hovered : null;
    const numberOf = (one) =>
      index !== null ? one.own[index] : this.panel.sum(one.own, one.label === "before" ? { call_buckets: [] } : answer);
    fill(
      this.legend,
      series.map((one) => {
        const number = one.label === "before" && index === null ? undefined : numberOf(one);
        return h(
          "li",
          {},
          swatch(one),
          h("span", {}, one.label),
          number !== undefined &&
            h("b", {}, number === null || Number.isNaN(number) ? NOTHING : this.panel.written(number)),
        );
      }),
    );
    if (this.panel.whole && index === null)
      this.legend.append(h("li", {}, h("span", {}, "all"), h("b", {}, this.panel.written(this.panel.whole(answer)))));
    this.when.textContent =
      index === null
        ? ""
        : span(edges[index] * 1000, (edges[index + 1] ?? edges[index] + answer.granularity) * 1000, view.zone);
  }

  drawTable() {
    const { series, answer, edges, view } = this.shown;
    const spanOf = (index) =>
      span(edges[index] * 1000, (edges[index + 1] ?? edges[index] + answer.granularity) * 1000, view.zone);
    const [head, ...rows] = tableOf(this.panel, series, edges, spanOf);
    const cells = (row) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, row[0]),
        row.slice(1).map((text) => h("td.number", {}, text)),
      );
    this.table.tabIndex = this.isTable ? 0 : -1;
    fill(
      this.table,
      h(
        "table.rows",
        {},
        h("caption.hidden", {}, this.panel.title),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            head.map((label, index) => h(index ? "th.number" : "th", { scope: "col" }, label)),
          ),
        ),
        h("tbody", {}, rows.reverse().map(cells)),
      ),
    );
  }

  download() {
    if (!this.shown) return;
    const { series, answer, view } = this.shown;
    const file = URL.createObjectURL(
      new Blob(
        [
          csvOf(
            series,
            answer.call_buckets.map((row) => row.timestamp),
          ),
        ],
        { type: "text/csv" },
      ),
    );
    h("a", { href: file, download: `${view.project.replaceAll("/", "-")}-${this.panel.id}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(file), 1_000);
  }
}

/** What stands for a series in the legend: its colour, and its shape for those who do not tell colours apart. */
function swatch({ shape, colour: name, dash, width = 1.5 }) {
  const mark = svg("svg", { class: "swatch", viewBox: "0 0 16 10", "aria-hidden": "true" });
  if (shape === "bars") mark.append(svg("rect", { x: 3, width: 10, height: 10, rx: 2, fill: colour(name) }));
  else
    mark.append(
      svg("line", {
        x1: 0,
        x2: 16,
        y1: 5,
        y2: 5,
        stroke: colour(name),
        "stroke-width": width + 0.5,
        "stroke-dasharray": (dash ?? []).map((length) => length * 0.7).join(" ") || "none",
      }),
    );
  return mark;
}
