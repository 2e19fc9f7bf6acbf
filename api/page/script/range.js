// The choice of a range and a zone, and how both are said in a few words.

import { chooser } from "./chooser.js";
import { fill, h } from "./elements.js";
import { clock, day, fromWall, instantMs, offsetMs, RANGES, relativeMs, rfc3339, toWall } from "./instants.js";
import { isLive, LOCAL_ZONE } from "./view.js";

/** "Last hour", or "10 Jun 12:00 – 13:30". */
export function rangeWritten(view, nowMs) {
  const named = RANGES.find(([from]) => from === view.from);
  if (isLive(view))
    return named
      ? `Last ${named[1]}`
      : relativeMs(view.from) === null
        ? `Since ${moment(Date.parse(view.from), view.zone)}`
        : `Last ${view.from.slice(1)}`;
  const fromMs = instantMs(view.from, nowMs),
    toMs = instantMs(view.to, nowMs);
  const sameDay = day(fromMs, view.zone) === day(toMs, view.zone);
  return `${moment(fromMs, view.zone)} – ${sameDay ? clock(toMs, view.zone) : moment(toMs, view.zone)}`;
}

function moment(ms, zone) {
  return `${day(ms, zone)} ${clock(ms, zone)}`;
}

/** "UTC+2"; empty for the zone of the browser. */
export function zoneWritten(zone, nowMs) {
  const minutes = Math.round(offsetMs(nowMs, zone) / 60_000),
    size = Math.abs(minutes);
  const hours = `${Math.floor(size / 60)}${size % 60 ? `:${String(size % 60).padStart(2, "0")}` : ""}`;
  return minutes ? `UTC${minutes > 0 ? "+" : "−"}${hours}` : "UTC";
}

/** Fills the popover below the range's button; `onview` is told what was chosen. */
export class RangeChoice {
  constructor(popover, button, { onview, nowMs }) {
    Object.assign(this, { popover, button, onview, nowMs });
    button.addEventListener("click", () => this.open());
  }

  open() {
    if (this.popover.matches(":popover-open")) return this.popover.hidePopover();
    this.build();
    this.popover.showPopover();
    const { left, bottom } = this.button.getBoundingClientRect(),
      { offsetWidth } = this.popover;
    this.popover.style.left = `${Math.max(8, Math.min(left, innerWidth - offsetWidth - 8))}px`;
    this.popover.style.top = `${bottom + 6}px`;
    (this.popover.querySelector("[aria-pressed=true]") ?? this.popover.querySelector("button")).focus();
  }

  build() {
    const { view } = this,
      nowMs = this.nowMs();
    const fromMs = instantMs(view.from, nowMs),
      toMs = instantMs(view.to, nowMs);
    const from = h("input", {
      type: "datetime-local",
      id: "from-box",
      value: toWall(fromMs, view.zone),
      required: true,
    });
    const to = h("input", { type: "datetime-local", id: "to-box", value: toWall(toMs, view.zone), required: true });
    const wrong = h("p.wrong", { role: "alert" });
    const zone = h("div.field", { id: "zone" });
    const choose = (changes) => (this.popover.hidePopover(), this.onview(changes));
    fill(
      this.popover,
      h(
        "div.presets",
        { role: "group", "aria-label": "Up to now" },
        RANGES.map(([start, label]) =>
          h(
            "button.preset",
            {
              type: "button",
              "aria-pressed": String(isLive(view) && view.from === start),
              onclick: () => choose({ from: start, to: "now" }),
            },
            label,
          ),
        ),
      ),
      h(
        "form.exact",
        {
          novalidate: true,
          onsubmit: (event) => {
            event.preventDefault();
            const fromWanted = fromWall(from.value, this.view.zone),
              toWanted = fromWall(to.value, this.view.zone);
            if (!(fromWanted < toWanted)) wrong.textContent = "The end has to come after the beginning.";
            else choose({ from: rfc3339(fromWanted), to: rfc3339(toWanted) });
          },
        },
        h("label", {}, "From", from),
        h("label", {}, "To", to),
        wrong,
        h("button.button.strong", { type: "submit" }, "Show"),
        h("div.zone-row", {}, h("span", { id: "zone-label" }, "Clock of"), zone),
      ),
    );
    const { set } = chooser(zone, {
      id: "zone",
      label: "Time zone",
      placeholder: "Europe/Berlin",
      keeps: true,
      options: (typed) => zones(typed),
      onchoose: (value) => value && choose({ zone: value }),
    });
    set(view.zone);
  }
}

function zones(typed) {
  const wanted = typed.toLowerCase().replaceAll(" ", "_");
  const known = [LOCAL_ZONE, "UTC", ...Intl.supportedValuesOf("timeZone")];
  return [...new Set(known)]
    .filter((name) => name.toLowerCase().includes(wanted))
    .slice(0, 50)
    .map((name) => ({
      label: name,
      value: name,
      hint: name === LOCAL_ZONE ? "this browser" : zoneWritten(name, Date.now()),
    }));
}
