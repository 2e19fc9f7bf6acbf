// Draws a chart with uPlot: bars or lines over buckets of time, one cursor over all charts, dragging chooses a range.

import { clock, day } from "./instants.js";

const HEIGHT_PX = 168;
const all = new Set();

/** A colour of the page's palette, as it is in the theme of now. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Draws all charts again, in the colours of the theme. */
export function redrawAll() {
  for (const chart of all) chart.draw(chart.drawn);
}

/**
 * One chart in `place`. `draw(drawn)` shows `{edges, seconds, zone, series, written, countedToS}`: `edges` are the begins of
 * the buckets in seconds, each of `series` `{label, values, shape: "bars"|"line", colour, dash, width}`, values stacked
 * by the caller; `written` turns a value into words for the axis; events are counted to `countedToS`.
 */
export class Chart {
  constructor(place, { onchoose, onhover }) {
    this.place = place;
    this.onchoose = onchoose;
    this.onhover = onhover;
    this.plot = null;
    this.drawn = null;
    new ResizeObserver(() => this.fit()).observe(place);
    all.add(this);
  }

  draw(drawn) {
    const shape =
      drawn &&
      JSON.stringify([
        drawn.zone,
        drawn.seconds,
        drawn.series.map(({ values, ...rest }) => rest),
        document.documentElement.dataset.theme,
        matchMedia("(prefers-color-scheme: dark)").matches,
      ]);
    this.drawn = drawn;
    if (!drawn) return this.clear();
    const data = [drawn.edges, ...drawn.series.map((series) => series.values)];
    if (this.plot && this.shape === shape) return void this.plot.setData(data);
    this.clear();
    this.shape = shape;
    this.plot = new uPlot(this.options(drawn), data, this.place);
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
  }

  fit() {
    const width = this.place.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.height() });
    else if (!this.plot && this.drawn) this.draw(this.drawn);
  }

  height() {
    return Math.round((HEIGHT_PX * parseFloat(getComputedStyle(document.documentElement).fontSize)) / 14);
  }

  options(drawn) {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const axis = {
      stroke: colour("dim"),
      font: `${Math.round(rem * 0.79)}px system-ui, sans-serif`,
      ticks: { show: false },
    };
    return {
      width: this.place.clientWidth || 300,
      height: this.height(),
      padding: [8, 16, 0, 0],
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), drawn.zone),
      cursor: {
        sync: { key: "callmeter", setSeries: false },
        drag: { x: true, y: false, dist: 5, setScale: false },
        points: { size: 6, width: 2 },
        y: false,
        bind: { dblclick: () => null },
      },
      scales: {
        x: { time: true, range: () => [this.drawn.edges[0], this.drawn.edges.at(-1) + this.drawn.seconds] },
        y: { range: (plot, low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        {
          ...axis,
          size: rem * 1.9,
          gap: 6,
          grid: { show: false },
          space: rem * 5,
          values: (plot, ticks) => this.times(ticks),
        },
        {
          ...axis,
          size: rem * 3.7,
          gap: 6,
          space: rem * 2.6,
          grid: { stroke: colour("grid"), width: 1 },
          values: (plot, ticks) => ticks.map((tick) => this.drawn.written(tick)),
        },
      ],
      series: [{}, ...drawn.series.map((series) => this.serie(series))],
      hooks: {
        setSelect: [(plot) => this.chosen(plot)],
        setCursor: [(plot) => this.onhover(plot.cursor.idx ?? null)],
        drawAxes: [(plot) => this.shadeFilling(plot)],
      },
    };
  }

  serie({ label, shape, colour: name, dash, width = 1.5, fill }) {
    const ink = colour(name);
    if (shape === "bars")
      return {
        label,
        fill: ink,
        stroke: ink,
        width: 0,
        points: { show: false },
        paths: uPlot.paths.bars({ align: 1, size: [0.9, 60], gap: 1 }),
      };
    return {
      label,
      stroke: ink,
      width,
      dash,
      fill: fill && colour(fill),
      points: { show: (plot, index) => this.lonely(plot, index), size: 4 },
      paths: uPlot.paths.stepped({ align: 1 }),
      spanGaps: false,
    };
  }

  /** Points are needed only where a value has no neighbour: a line is not drawn through one bucket. */
  lonely(plot, index) {
    return this.drawn.edges.length === 1;
  }

  times(ticks) {
    let before = "";
    return ticks.map((tick) => {
      const date = day(tick * 1000, this.drawn.zone),
        time = clock(tick * 1000, this.drawn.zone);
      const shown = this.drawn.seconds >= 86_400 || time === "00:00" ? date : time;
      return shown === before ? "" : (before = shown);
    });
  }

  /** Buckets that are not counted to their end stand in a shade: a drop there is none yet. */
  shadeFilling(plot) {
    const { countedToS, edges, seconds } = this.drawn;
    const first = edges.find((edge, index) => (edges[index + 1] ?? edge + seconds) > countedToS);
    if (first === undefined) return;
    const left = plot.valToPos(first, "x", true);
    const right = plot.valToPos(edges.at(-1) + seconds, "x", true);
    plot.ctx.save();
    plot.ctx.fillStyle = colour("filling");
    plot.ctx.fillRect(left, plot.bbox.top, right - left, plot.bbox.height);
    plot.ctx.restore();
  }

  chosen(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const fromS = plot.posToVal(left, "x"),
      toS = plot.posToVal(left + width, "x");
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.onchoose(fromS * 1000, toS * 1000);
  }
}
