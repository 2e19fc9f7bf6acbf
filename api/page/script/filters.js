// The chips of the filters, the box that adds one, and the box of the project.

import { ask, askProjects } from "./asking.js";
import { chooser } from "./chooser.js";
import { fill, h, opName, short } from "./elements.js";
import { FILTERS } from "./view.js";

const SUGGESTED_MAX = 8,
  PROJECTS_MAX = 50;

export class FilterBar {
  constructor({ onview, windowOf }) {
    Object.assign(this, { onview, windowOf, chips: document.getElementById("chips") });
    const options = (typed, signal) => this.suggest(typed, signal);
    const made = chooser(document.getElementById("filter"), {
      id: "filter",
      label: "Add a filter",
      placeholder: "Filter by op, user, run, trace…",
      icon: "/",
      options,
      onchoose: (value, typed) => this.chosen(value, typed),
    });
    this.box = made.box;
  }

  draw(view) {
    this.view = view;
    fill(
      this.chips,
      view.filters.map(({ word, value }, index) =>
        h(
          "li.chip",
          {},
          h("span.word", {}, word),
          h("span.value", { title: value }, word === "op" ? opName(value) : value),
          h(
            "button",
            {
              type: "button",
              "data-key": `chip-${index}`,
              "aria-label": `Remove the filter ${word} ${value}`,
              onclick: () => this.onview({ filters: view.filters.filter((one, other) => other !== index) }),
            },
            "×",
          ),
        ),
      ),
    );
  }

  add(word, value) {
    if (this.view.filters.some((one) => one.word === word && one.value === value)) return;
    this.onview({ filters: [...this.view.filters, { word, value }] });
  }

  chosen(value, typed) {
    const { word, rest } = value ?? split(typed);
    if (word && rest) this.add(word, rest);
    else if (value?.prefix) this.box.value = value.prefix;
  }

  /** Values that were seen in the range, most calls first; of one kind where the text begins with its word. */
  async suggest(typed, signal) {
    if (!this.view.project) return [];
    const { word, rest } = split(typed);
    const seen = FILTERS.filter((filter) => filter.dimension && (!word || word === filter.word));
    const lists = await Promise.all(
      seen.map((filter) => this.valuesOf(filter, rest, word ? 20 : SUGGESTED_MAX, signal).catch(unlessAborted)),
    );
    const written = rest
      ? FILTERS.filter((filter) => (word ? word === filter.word : !filter.dimension)).map(({ word: name }) => ({
          label: `${name}: ${rest}`,
          hint: "as typed",
          value: { word: name, rest },
        }))
      : [];
    return [...lists.flat(), ...written];
  }

  /** Values that begin so; of ops, those too whose name begins so behind what all ops of a project begin with. */
  async valuesOf({ word, dimension }, typed, limit, signal) {
    const prefixes = dimension === "op_name" && typed ? [typed, `weave:///${this.view.project}/op/${typed}`] : [typed];
    const found = await Promise.all(
      prefixes.map((prefix) => ask("/calls/values", { ...this.windowOf(), dimension, prefix, limit }, signal)),
    );
    return found
      .flatMap(({ values }) => values)
      .map(({ value, count }) => ({
        label: `${word}: ${word === "op" ? opName(value) : value}`,
        hint: `${short(count)} calls`,
        value: { word, rest: value },
      }));
  }
}

/** Where no values are to be had, what is typed can still be taken. */
function unlessAborted(error) {
  if (error.name === "AbortError") throw error;
  return [];
}

/** "op: answer" → the word and the rest; without a known word all is the rest. */
function split(typed) {
  const [, word, rest] = /^(\w+):\s*(.*)$/s.exec(typed) ?? [];
  return FILTERS.some((filter) => filter.word === word) ? { word, rest } : { word: null, rest: typed };
}

export class ProjectBox {
  constructor(place, { onview }) {
    const choose = (value, typed) => onview({ project: value ?? typed, filters: [] });
    const { box, set } = chooser(place, {
      id: "project",
      label: "Project",
      placeholder: "entity/project",
      keeps: true,
      options: (typed) => this.options(typed),
      onchoose: choose,
    });
    Object.assign(this, { box, set });
  }

  draw(view) {
    if (document.activeElement !== this.box) this.set(view.project);
  }

  async options(typed) {
    const wanted = typed.toLowerCase();
    const known = await askProjects();
    return known
      .filter(({ project_id: name }) => name.toLowerCase().includes(wanted))
      .slice(0, PROJECTS_MAX)
      .map(({ project_id: name }) => ({ label: name, value: name }));
  }
}
