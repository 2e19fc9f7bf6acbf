"""A slot's version as it is stored: random bytes, and of minutes when the latest of its calls began.

Eight bytes that are drawn anew by every batch that changes the slot; of a minute, behind them, the latest start of its
calls in digits, microseconds since 1970: `8f03c1d2a4b5e697` `1772532059000000`. Where it is not known, as of minutes
that an earlier version began, the digits are missing, and stay so.
"""

from collections.abc import Iterator, Mapping

from aggregator.layout.keys import VERSION_BYTES

# Draws the version of slots anew, and keeps their latest start. KEYS: versions. ARGV: version, slot, latest start of
# the calls that are new (0: none are), slot, latest start, ...
DRAW_MINUTES = f"""
for i = 2, #ARGV, 2 do
  local kept, latest = redis.call('HGET', KEYS[1], ARGV[i]), ARGV[i + 1]
  if kept then
    local before = string.sub(kept, {VERSION_BYTES + 1})
    if before == '' or tonumber(before) > tonumber(latest) then latest = before end
  elseif latest == '0' then
    latest = ''
  end
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[1] .. latest)
end
"""


def drawn_minutes(version: bytes, latest_starts_us: Mapping[int, int]) -> Iterator[bytes | int]:
    """Yield the arguments of the script: a version, and the latest start of what is new in each slot."""
    yield version
    for slot, latest_us in latest_starts_us.items():
        yield slot
        yield latest_us


def with_latest_start(version: bytes, kept: bytes | None, latest_us: int) -> bytes:
    """Return what the script stores of a slot that had `kept` before."""
    before = b"%d" % latest_us if kept is None and latest_us else (kept or b"")[VERSION_BYTES:]
    return version + (b"%d" % max(int(before), latest_us) if before else b"")


def latest_start_us(stored: bytes) -> int | None:
    """The latest start of a minute's calls, by its version (microseconds since 1970); None: not known."""
    return int(stored[VERSION_BYTES:]) if len(stored) > VERSION_BYTES else None
