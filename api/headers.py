"""The headers that say how fresh an answer is."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far an answer reaches.

    `as_of_us`: events up to this instant (microseconds since the epoch, UTC) have been applied; None: none has been.
    `lag_s`: seconds between that instant and the answer; None where it is not known.
    """

    as_of_us: int | None
    lag_s: float | None


def freshness_headers(freshness: Freshness) -> dict[str, str]:
    """`X-Data-As-Of` and `X-Data-Lag-Seconds`; what is not known is left out rather than sent empty."""
    headers = {}
    if freshness.as_of_us is not None:
        as_of = _EPOCH + timedelta(microseconds=freshness.as_of_us)
        headers["X-Data-As-Of"] = as_of.isoformat().replace("+00:00", "Z")
    if freshness.lag_s is not None:
        # Producers' clocks run ahead at times; a negative lag would tell nobody anything.
        headers["X-Data-Lag-Seconds"] = f"{max(freshness.lag_s, 0):.3f}"
    return headers
