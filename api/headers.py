"""The headers that say how fresh an answer is."""

from dataclasses import dataclass
from urllib.parse import quote

from aggregator.timestamps import format_utc

# Headers of some 4 KB pass every proxy; ids have 36 characters as a rule.
INCOMPLETE_NAMED_MAX = 50


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far an answer reaches.

    `as_of_us`: events up to this instant (microseconds since the epoch, UTC) have been applied; None: none has been.
    `lag_s`: seconds between that instant and the answer; None where it is not known.
    `split_call_ids`: calls that are answered, of whose trace other partitions hold a part too, so that what is below
    them may not all be counted.
    `is_known`: whether any event of the project has been applied; a name that was mistyped is none of the known ones.
    """

    as_of_us: int | None
    lag_s: float | None
    is_known: bool | None = None
    split_call_ids: tuple[str, ...] = ()


def freshness_headers(freshness: Freshness) -> dict[str, str]:
    """The headers of an answer, `X-Incomplete-*` where calls are; what is not known is left out, not sent empty."""
    headers = {}
    if freshness.as_of_us is not None:
        headers["X-Data-As-Of"] = format_utc(freshness.as_of_us)
    if freshness.lag_s is not None:
        # Producers' clocks run ahead at times; a negative lag would tell nobody anything.
        headers["X-Data-Lag-Seconds"] = f"{max(freshness.lag_s, 0):.3f}"
    if freshness.is_known is not None:
        headers["X-Project-Known"] = "true" if freshness.is_known else "false"
    if freshness.split_call_ids:
        headers["X-Incomplete-Calls"] = str(len(freshness.split_call_ids))
        named = [quote(call_id, safe="") for call_id in freshness.split_call_ids[:INCOMPLETE_NAMED_MAX]]
        headers["X-Incomplete-Call-Ids"] = ",".join(named)
    return headers
