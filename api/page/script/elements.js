// Makes elements and the words for numbers. Text is always text: nothing that a producer sent is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("button.quiet", {type: "button", onclick}, "text", child, …)`; null, undefined and false children are left out. */
export function h(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** An SVG element. */
export function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Puts children in place of those there are, and keeps the focus on the element of the same `data-key`. */
export function fill(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  parent.replaceChildren(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  if (focused) parent.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** Tells those who do not see the page what just happened. */
export function say(sentence) {
  document.getElementById("said").textContent = sentence;
}

export const NOTHING = "–";
/** Errors among calls from which on a number is shown as troubled. */
export const TROUBLED_SHARE = 0.05;

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = ["", "k", "M", "G", "T"];

/** 1234567 → "1.23M"; up to 9,999 written out. */
export function short(number) {
  if (number === null || number === undefined) return NOTHING;
  if (Math.abs(number) < 10_000)
    return Number.isInteger(number) ? GROUPED.format(number) : String(+number.toPrecision(3));
  const thousands = Math.min(SHORT.length - 1, Math.floor(Math.log10(Math.abs(number)) / 3));
  return `${+(number / 1000 ** thousands).toPrecision(3)}${SHORT[thousands]}`;
}

/** 1234567 → "1,234,567". */
export function whole(number) {
  return number === null || number === undefined ? NOTHING : GROUPED.format(number);
}

/** A latency: "812 ms", "1.23 s", "2 min 03 s". */
export function duration(ms) {
  if (ms === null || ms === undefined) return NOTHING;
  if (ms < 1000) return `${ms < 10 ? +ms.toPrecision(2) : Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${String(Math.floor(ms / 1000) % 60).padStart(2, "0")} s`;
  return `${Math.floor(ms / 3_600_000)} h ${String(Math.floor(ms / 60_000) % 60).padStart(2, "0")} min`;
}

/** USD, with as many digits as tell it from nothing: "$1,234", "$0.42", "$0.0031". */
export function usd(dollars) {
  if (dollars === null || dollars === undefined) return NOTHING;
  if (dollars === 0) return "$0";
  if (Math.abs(dollars) >= 10_000) return `$${short(dollars)}`;
  if (Math.abs(dollars) >= 1_000) return `$${GROUPED.format(dollars)}`;
  if (Math.abs(dollars) >= 0.1) return `$${dollars.toFixed(2)}`;
  const small = dollars.toPrecision(2);
  return small.includes("e") ? "<$0.000001" : `$${small}`;
}

/** A share: "0", "0.4%", "34%". */
export function percent(share) {
  if (share === null || share === undefined || Number.isNaN(share)) return NOTHING;
  if (share === 0) return "0%";
  const hundredths = share * 100;
  if (hundredths < 0.01) return "<0.01%";
  return `${hundredths < 1 ? +hundredths.toPrecision(1) : hundredths < 10 ? hundredths.toFixed(1) : Math.round(hundredths)}%`;
}

/** How a number compares with the one before: "+12%", "−3%", "×4.2", "±0%"; empty where it cannot be said. */
export function change(now, before) {
  if (now === null || now === undefined || !before) return "";
  const ratio = now / before;
  if (ratio >= 3) return `×${+ratio.toPrecision(2)}`;
  const hundredths = (ratio - 1) * 100;
  if (Math.abs(hundredths) < 0.5) return "±0%";
  return `${hundredths > 0 ? "+" : "−"}${Math.abs(hundredths).toFixed(0)}%`;
}

/** `weave:///acme/agents/op/answer:9f3c…` → "answer:9f3c": what tells ops of one project apart. */
export function opName(name) {
  const weave = /^weave(?:-trace-internal)?:\/\/\/.*?\/op\/(.+)$/.exec(name ?? "");
  if (!weave) return name;
  const [op, version] = weave[1].split(":");
  return version && version !== "*" ? `${op}:${version.slice(0, 6)}` : weave[1];
}
