// A box that one types into and chooses from a list: projects, filters, zones. The listbox pattern of ARIA.

import { fill, h } from "./elements.js";

const WAIT_MS = 120; // between a key and a question about what it could become

/**
 * Puts the box into `place`. `options(typed, signal)` gives `[{label, hint, value}]`; `onchoose(value)` is told what was
 * chosen, or `onchoose(null, typed)` of a text that is none of them. `keeps`: the choice stays in the box.
 */
export function chooser(place, { id, label, placeholder, options, onchoose, keeps = false, icon }) {
  let shown = [],
    active = -1,
    settled = "",
    asking = null,
    timer = 0;
  // A list that is scrolled takes the focus by itself, in Chromium, and is gone as soon as the box has lost it.
  const attributes = { id: `${id}-options`, role: "listbox", "aria-label": label, tabindex: "-1", hidden: true };
  const list = h("ul.options", attributes);
  const box = h("input", {
    id: `${id}-box`,
    type: "text",
    role: "combobox",
    "aria-label": label,
    placeholder,
    autocomplete: "off",
    spellcheck: "false",
    "aria-expanded": "false",
    "aria-controls": `${id}-options`,
    "aria-autocomplete": "list",
    oninput: () => look(WAIT_MS),
    onfocus: () => (keeps && box.select(), look(0)),
    onblur: close,
    onkeydown: key,
    onclick: () => list.hidden && look(0),
  });
  fill(place, icon && h("span.icon", { "aria-hidden": "true" }, icon), box, list);

  function look(waitMs) {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      asking?.abort();
      asking = new AbortController();
      try {
        const typed = keeps && box.value === settled ? "" : box.value.trim();
        const found = await options(typed, asking.signal);
        if (document.activeElement === box) show(found);
      } catch (error) {
        if (error.name !== "AbortError") show([]);
      }
    }, waitMs);
  }

  function show(found) {
    shown = found;
    active = found.length && box.value.trim() && !(keeps && box.value === settled) ? 0 : -1;
    fill(
      list,
      found.map(({ label: words, hint }, index) =>
        h(
          "li",
          {
            id: `${id}-option-${index}`,
            role: "option",
            "aria-selected": "false",
            onpointerdown: (event) => (event.preventDefault(), choose(index)),
          },
          h("span.words", {}, words),
          hint && h("span.hint", {}, hint),
        ),
      ),
    );
    list.hidden = !found.length;
    box.setAttribute("aria-expanded", String(!list.hidden));
    mark();
  }

  function mark() {
    [...list.children].forEach((option, index) => option.setAttribute("aria-selected", String(index === active)));
    if (active < 0) return box.removeAttribute("aria-activedescendant");
    box.setAttribute("aria-activedescendant", `${id}-option-${active}`);
    list.children[active].scrollIntoView({ block: "nearest" });
  }

  function key(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) return look(0);
      active = (active + (event.key === "ArrowDown" ? 1 : -1) + shown.length) % shown.length;
      mark();
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (active >= 0 && !list.hidden) choose(active);
      else if (box.value.trim()) (onchoose(null, box.value.trim()), keeps || clear(), close());
    } else if (event.key === "Escape") {
      event.stopPropagation();
      if (keeps) box.value = settled;
      if (list.hidden) box.blur();
      close();
    }
  }

  function choose(index) {
    const { value } = shown[index];
    keeps ? set(shown[index].label) : clear();
    close();
    onchoose(value);
  }

  function close() {
    clearTimeout(timer);
    asking?.abort();
    list.hidden = true;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
    if (keeps && document.activeElement !== box) box.value = settled;
  }

  function clear() {
    box.value = "";
  }

  function set(text) {
    settled = box.value = text;
  }

  return { box, set };
}
