// How old what is shown is; in red, and in words, when it is older than it should be.

import { fill, h } from "./elements.js";
import { clock } from "./instants.js";

const STALE_MS = 30_000;

/** `asOfMs`: through when events are counted; null before the first. */
export function drawFreshness(place, view, asOfMs, nowMs, projectKnown, notice) {
  if (!view.project) return fill(place);
  if (!projectKnown) {
    fill(place, h("span", {}, "no such project"));
    place.className = "freshness bad";
    return notice(`No event of ${view.project} has been seen. Is its name right?`, true);
  }
  if (asOfMs === null) return fill(place, h("span", {}, "nothing counted yet"));
  const ageMs = Math.max(0, nowMs - asOfMs),
    isStale = ageMs > STALE_MS;
  place.className = `freshness${isStale ? " bad" : ""}`;
  place.title = `Events through ${new Date(asOfMs).toISOString()} are counted`;
  fill(
    place,
    h("span.dot", { "aria-hidden": "true" }),
    isStale ? h("strong", {}, "Stale: ") : null,
    h("span.as-of", {}, `as of ${clock(asOfMs, view.zone, true)}`),
    h("span.age", {}, `${age(ageMs)} behind`),
  );
}

/** "0.4 s", "12 s", "3 min", "2 h", "5 d". */
export function age(ms) {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`;
}
