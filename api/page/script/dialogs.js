// The dialogs: what the keys do, and the access key where the api asks for one.

import { setKey } from "./asking.js";
import { fill, h } from "./elements.js";

export const KEYS = [
  ["/", "filter"],
  ["t", "choose a range"],
  ["[ ]", "earlier, later"],
  ["+ −", "shorter, longer"],
  ["l", "live, or hold still"],
  ["c", "compare with the period before"],
  ["r", "roots only"],
  ["1 – 6", "break down by op, model, user, run, root, error"],
  ["e", "failing calls"],
  ["x", "remove all filters"],
  ["p", "choose a project"],
  ["d", "light or dark"],
  ["?", "this list"],
  ["Esc", "close"],
];

/** Opens the list of keys. */
export function openHelp(dialog) {
  fill(
    dialog,
    h("h2", { id: "help-title" }, "Keys"),
    h(
      "dl.keys",
      {},
      KEYS.map(([keys, does]) =>
        h(
          "div",
          {},
          h(
            "dt",
            {},
            keys.split(" ").map((key) => (key === "–" ? " – " : h("kbd", {}, key))),
          ),
          h("dd", {}, does),
        ),
      ),
    ),
    h(
      "p.note",
      {},
      "Drag over a chart to zoom in; double-click to zoom out. A row of the breakdown filters by it. The address in the bar is what you see: send it to somebody.",
    ),
    h("form", { method: "dialog" }, h("button.button.strong", {}, "Close")),
  );
  dialog.showModal();
}

/** Asks for the access key; `onkey` is called when one was given. */
export function openKey(dialog, refused, onkey) {
  if (dialog.open) return;
  const box = h("input", {
    type: "password",
    id: "key-box",
    autocomplete: "off",
    required: true,
    placeholder: "cm_…",
    "aria-describedby": "key-note",
  });
  fill(
    dialog,
    h("h2", { id: "key-title" }, "Access key"),
    h(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          setKey(box.value.trim());
          dialog.close();
          onkey();
        },
      },
      h("label", { for: "key-box" }, "A key that may read"),
      box,
      refused && h("p.wrong", { role: "alert" }, "The api does not know that key."),
      h(
        "p.note",
        { id: "key-note" },
        "It is kept in this tab until it is closed. ",
        h("code", {}, "callmeter keys create --name me --all-projects"),
        " makes one.",
      ),
      h("button.button.strong", { type: "submit" }, "Use it"),
    ),
  );
  dialog.showModal();
}
