// The page: reads the view from the URL, asks, draws, and asks again as time goes on.

import { api, apiNowMs, ask, askFreshness, askProjects, follow, hasKey } from "./asking.js";
import { Details } from "./details.js";
import { Breakdown, breakdownQuestion, DIMENSIONS, totalsQuestion } from "./breakdown.js";
import { Card } from "./cards.js";
import { redrawAll } from "./charts.js";
import { openHelp, openKey } from "./dialogs.js";
import { Examples, examplesQuestion } from "./examples.js";
import { FilterBar, ProjectBox } from "./filters.js";
import { drawFreshness } from "./freshness.js";
import { fixed, filterOf, isLive, readView, shifted, toggledLive, widened, windowOf, writeView } from "./view.js";
import { merged, PANELS } from "./panels.js";
import { RangeChoice, rangeWritten, zoneWritten } from "./range.js";
import { rfc3339 } from "./instants.js";
import { drawTotals } from "./totals.js";
import { bindKeys } from "./shortcuts.js";
import { followTheme, switchTheme } from "./theme.js";

const FRESHNESS_MS = 3_000;
// Words of a view that change nothing but what stands below the panels.
const OF_DETAILS = new Set(["by", "order", "dir", "kind"]);
const at = (id) => document.getElementById(id);

let view = readView(location.search);
let round = new AbortController(); // of all that is asked for the view; aborted when another is looked at
let window_ = null;
let answers = {};
let hovered = null;

const cards = PANELS.map(
  (panel) =>
    new Card(panel, {
      onchoose: (fromMs, toMs) => go(fixed(fromMs, toMs)),
      onhover: hover,
      ontable: toggleTable,
      questionOf: (one) => ({ ...statsWindow(), ...one.ask, filter: filterOf(view) }),
    }),
);
const breakdown = new Breakdown(at("breakdown"), { onview: go, onfilter: narrow });
const examples = new Examples(at("examples"), { onview: go, onfilter: (word, value) => filters.add(word, value) });
const details = new Details({
  questions: () => ({
    totals: ["/calls/breakdown", totalsQuestion(view, plainWindow())],
    breakdown: ["/calls/breakdown", breakdownQuestion(view, plainWindow())],
    examples: ["/calls/examples", examplesQuestion(view, plainWindow())],
  }),
  onanswer: (name, answer) => {
    answers = { ...answers, [name]: answer };
    drawDetail(name, round.signal);
  },
  ontrouble: (name, sentence) => {
    if (name === "breakdown") breakdown.trouble(view, sentence);
    if (name === "examples") examples.trouble(view, sentence);
  },
});
const filters = new FilterBar({ onview: go, windowOf: () => plainWindow() });
const projects = new ProjectBox(at("project"), { onview: go });
const range = new RangeChoice(at("range-choice"), at("range"), { onview: go, nowMs: apiNowMs });

/** Looks at something else: the changes go into the URL, and everything is asked anew. */
function go(changes, { replace = false } = {}) {
  if (changes.project) Object.assign(api, { asOfMs: null, projectKnown: true });
  view = { ...view, ...changes };
  history[replace ? "replaceState" : "pushState"](null, "", writeView(view));
  if (Object.keys(changes).every((name) => OF_DETAILS.has(name))) {
    breakdown.drawTabs(view);
    examples.drawTabs(view);
    details.look(round.signal);
  } else start();
}

/** Only the calls of a row: its value takes the place of other values of its kind. */
function narrow(dimension, value) {
  if (dimension.id === "trace_root") return go({ roots: true });
  const others = view.filters.filter((one) => one.word !== dimension.word);
  go({ filters: [...others, { word: dimension.word, value }] });
}

function toggleTable(id) {
  const tables = view.tables.includes(id) ? view.tables.filter((one) => one !== id) : [...view.tables, id];
  view = { ...view, tables };
  history.replaceState(null, "", writeView(view));
  draw();
}

/** Asks all that the view needs, from the beginning. */
function start({ quietly = false } = {}) {
  round.abort();
  round = new AbortController();
  drawBar();
  if (!view.project) return void chooseProject();
  document.title = `${view.project} · callmeter`;
  document.body.classList.toggle("asking", !quietly);
  window_ = windowOf(view, apiNowMs());
  answers = {};
  const { signal } = round;
  compareWith(signal);
  follow(
    "/calls/stats",
    { ...statsWindow(), ...merged(), filter: filterOf(view) },
    { signal, onanswer: (answer, asOf) => arrived(answer, asOf, signal), ontrouble: trouble },
  );
  details.look(signal);
  if (isLive(view)) turnOver(signal);
}

/** A live window starts with a whole bucket; when that is over the question is another one. */
function turnOver(signal) {
  const timer = setInterval(() => {
    const next = windowOf(view, apiNowMs());
    if (next.startMs !== window_.startMs && !document.hidden) restart();
  }, 500);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
}

/** The same view at a later time: what is shown stays until the answer is there. */
function restart() {
  const shown = answers;
  start({ quietly: true });
  answers = shown;
}

function statsWindow() {
  const { startMs, endMs, seconds } = window_ ?? windowOf(view, apiNowMs());
  return {
    project_id: view.project,
    start: rfc3339(startMs),
    ...(endMs && { end: rfc3339(endMs) }),
    granularity: seconds,
    timezone: view.zone,
  };
}

/** The window without buckets, for the breakdown, the values and the examples. */
function plainWindow() {
  const { project_id, start: begin, end = "now" } = statsWindow();
  return { project_id, start: begin, end };
}

function arrived(answer, asOf, signal) {
  performance.mark("answer");
  answers = { ...answers, stats: answer };
  document.body.classList.remove("asking");
  if (api.projectKnown) notice("");
  if (asOf) api.asOfMs = Math.max(api.asOfMs ?? 0, Date.parse(asOf));
  draw();
  api.onfresh();
  performance.measure("answer to drawn", "answer");
  if (!signal.aborted) details.soon();
}

async function compareWith(signal) {
  if (!view.compare) return;
  const { startMs, endMs, seconds } = window_,
    lengthMs = (endMs ?? apiNowMs()) - startMs;
  const wholeMs = Math.ceil(lengthMs / (seconds * 1000)) * seconds * 1000;
  const earlier = { ...statsWindow(), start: rfc3339(startMs - wholeMs), end: rfc3339(startMs) };
  try {
    const before = await ask("/calls/stats", { ...earlier, ...merged(), filter: filterOf(view) }, signal);
    answers = { ...answers, before };
    draw();
  } catch (error) {
    if (error.name !== "AbortError") trouble(error);
  }
}

function draw() {
  const { stats, before } = answers;
  if (!stats) return;
  for (const card of cards)
    card.draw(view, stats, view.compare ? before : undefined, (api.asOfMs ?? apiNowMs()) / 1000);
  drawTotals(at("totals"), view, answers, { go });
}

function drawDetail(name, signal) {
  if (name === "examples") return examples.draw(view, answers.examples);
  if (name === "breakdown") return breakdown.draw(view, answers.breakdown, sparksOfModels(answers.stats), signal);
  if (answers.stats) drawTotals(at("totals"), view, answers, { go });
}

function sparksOfModels(stats) {
  const models = new Map();
  for (const row of stats?.usage_buckets ?? []) {
    if (!models.has(row.model)) models.set(row.model, []);
    models.get(row.model).push({ calls: row.count, errors: 0 });
  }
  return models;
}

function hover(index) {
  if (index === hovered) return;
  hovered = index;
  for (const card of cards) card.hover(index);
}

function trouble(error) {
  document.body.classList.remove("asking");
  if (error.status === 401) return;
  notice(error.message, true);
}

function notice(sentence, isBad = false) {
  const place = at("notice");
  if (place.textContent !== sentence) place.textContent = sentence;
  place.hidden = !sentence;
  place.classList.toggle("bad", isBad);
}

function drawBar() {
  at("range").replaceChildren(
    rangeWritten(view, apiNowMs()),
    Object.assign(document.createElement("small"), { textContent: zoneWritten(view.zone, apiNowMs()) }),
  );
  at("live").setAttribute("aria-pressed", String(isLive(view)));
  at("compare").setAttribute("aria-pressed", String(view.compare));
  at("roots").setAttribute("aria-pressed", String(view.roots));
  at("later").disabled = isLive(view);
  range.view = view;
  filters.draw(view);
  projects.draw(view);
}

async function chooseProject() {
  try {
    const known = await askProjects();
    if (known.length) return go({ project: known[0].project_id }, { replace: true });
    notice("No events have come yet. Send some: callmeter produce events.jsonl");
    setTimeout(() => view.project || chooseProject(), 2_000);
  } catch (error) {
    if (error.status === 404) notice("Type the project's name above.");
    else trouble(error);
  }
}

const COMMANDS = {
  "/": () => filters.box.focus(),
  t: () => range.open(),
  "[": () => go(shifted(view, -1, apiNowMs())),
  "]": () => isLive(view) || go(shifted(view, 1, apiNowMs())),
  "+": () => go(widened(view, 0.5, apiNowMs())),
  "-": () => go(widened(view, 2, apiNowMs())),
  l: () => go(toggledLive(view, apiNowMs())),
  c: () => go({ compare: !view.compare }),
  r: () => go({ roots: !view.roots }),
  e: () => (go({ kind: "failing" }), at("examples").scrollIntoView({ block: "start" })),
  x: () => go({ filters: [], roots: false }),
  p: () => projects.box.focus(),
  d: switchTheme,
  "?": () => openHelp(at("help-dialog")),
};

function recoloured() {
  redrawAll();
  draw();
}

for (const [id, key] of [
  ["live", "l"],
  ["compare", "c"],
  ["roots", "r"],
  ["theme", "d"],
  ["help", "?"],
  ["earlier", "["],
  ["later", "]"],
])
  at(id).addEventListener("click", () => COMMANDS[key]());
at("charts").append(...cards.map((card) => card.root));
at("charts").addEventListener("dblclick", () => COMMANDS["-"]());
bindKeys(
  (key) => COMMANDS[key === "=" ? "+" : key] ?? (DIMENSIONS[key - 1] && (() => go({ by: DIMENSIONS[key - 1].id }))),
);
followTheme(recoloured);
addEventListener("popstate", () => ((view = readView(location.search)), start()));
document.addEventListener("visibilitychange", () =>
  document.hidden ? isLive(view) && round.abort() : isLive(view) && restart(),
);
api.onkey = () => openKey(at("key-dialog"), hasKey(), start);
api.onfresh = () => drawFreshness(at("freshness"), view, api.asOfMs, apiNowMs(), api.projectKnown, notice);
setInterval(() => view.project && !document.hidden && askFreshness(view.project).catch(() => {}), FRESHNESS_MS);
setInterval(api.onfresh, 1_000);
start();
