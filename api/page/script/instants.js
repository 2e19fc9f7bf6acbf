// Instants and ranges: relative ones as the api reads them, buckets that fit a screen, and clocks of any zone.

const UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const MINUTE_MS = 60_000;

/** Ranges that can be chosen by name; `from` as the api writes relative instants. */
export const RANGES = [
  ["-15m", "15 minutes"],
  ["-1h", "hour"],
  ["-3h", "3 hours"],
  ["-6h", "6 hours"],
  ["-12h", "12 hours"],
  ["-1d", "24 hours"],
  ["-2d", "2 days"],
  ["-7d", "7 days"],
  ["-30d", "30 days"],
  ["-90d", "90 days"],
];

// Seconds of a bucket; the finest that gives no more bars than this is taken. More could not be told apart.
const GRANULARITIES_S = [
  60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_419_200,
];
const BUCKETS_MAX = 125;

/** "-1d12h" → milliseconds (negative), "now" → 0; null for anything else. */
export function relativeMs(written) {
  if (written === "now") return 0;
  if (!/^-(\d+[smhdw])+$/.test(written)) return null;
  return -[...written.matchAll(/(\d+)([smhdw])/g)].reduce((sum, [, count, unit]) => sum + count * UNITS_MS[unit], 0);
}

/** Milliseconds since the epoch of a relative or an absolute instant; NaN for what is neither. */
export function instantMs(written, nowMs) {
  const relative = relativeMs(written);
  return relative === null ? Date.parse(written) : nowMs + relative;
}

/** Seconds of the buckets that show a range best. */
export function granularityS(rangeMs, bucketsMax = BUCKETS_MAX) {
  return GRANULARITIES_S.find((seconds) => rangeMs / 1000 / seconds <= bucketsMax) ?? GRANULARITIES_S.at(-1);
}

/** The last edge of the zone's grid that is not after an instant, so that the first bucket is a whole one. */
export function floorToBucket(ms, seconds, zone) {
  const offset = offsetMs(ms, zone),
    bucket = seconds * 1000;
  return Math.floor((ms + offset) / bucket) * bucket - offset;
}

/** A duration in words of the range's own: 5400000 → "1d12h"-like, the largest units first. */
export function relativeWritten(ms) {
  let left = Math.max(MINUTE_MS, Math.round(ms / MINUTE_MS) * MINUTE_MS),
    written = "-";
  for (const unit of ["d", "h", "m"]) {
    const count = Math.floor(left / UNITS_MS[unit]);
    if (count) written += `${count}${unit}`;
    left -= count * UNITS_MS[unit];
  }
  return written;
}

const formats = new Map();

/** A formatter of a zone; kept, since making one takes longer than using it a hundred times. */
export function format(zone, options) {
  const key = zone + JSON.stringify(options);
  if (!formats.has(key))
    formats.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options }));
  return formats.get(key);
}

/** How far the zone's clock is ahead of UTC at an instant, in milliseconds. */
export function offsetMs(ms, zone) {
  const parts = Object.fromEntries(wallParts(ms, zone).map(({ type, value }) => [type, Number(value)]));
  const wall = Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second);
  return wall - Math.floor(ms / 1000) * 1000;
}

function wallParts(ms, zone) {
  const options = {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  };
  return format(zone, options).formatToParts(ms);
}

/** "12:31" within a day, "Tue 10 Jun 12:31" else; with the zone's clock. */
export function clock(ms, zone, withSeconds = false) {
  return format(zone, { hour: "2-digit", minute: "2-digit", ...(withSeconds && { second: "2-digit" }) }).format(ms);
}

/** "10 Jun". */
export function day(ms, zone) {
  return format(zone, { day: "numeric", month: "short" }).format(ms);
}

/** A bucket's time in words: "10 Jun, 12:31 to 12:32". */
export function span(beginMs, endMs, zone) {
  const begin = `${day(beginMs, zone)}, ${clock(beginMs, zone)}`;
  if (endMs - beginMs >= 86_400_000)
    return day(endMs - 1, zone) === day(beginMs, zone)
      ? day(beginMs, zone)
      : `${day(beginMs, zone)} – ${day(endMs - 1, zone)}`;
  return `${begin} – ${clock(endMs, zone)}`;
}

/** What an `<input type=datetime-local>` of this zone shows for an instant, and back. */
export function toWall(ms, zone) {
  return new Date(ms + offsetMs(ms, zone)).toISOString().slice(0, 16);
}

export function fromWall(written, zone) {
  const wall = Date.parse(`${written}Z`);
  const guess = wall - offsetMs(wall, zone);
  return wall - offsetMs(guess, zone); // once more, on the right side of a change of the clock
}

/** An instant as the api takes it, in UTC; whole minutes without seconds that say nothing. */
export function rfc3339(ms) {
  return new Date(ms).toISOString().replace(/\.000Z$/, "Z");
}
