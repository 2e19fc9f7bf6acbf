"""The headers that say how fresh an answer is."""

from dataclasses import dataclass

from aggregator.timestamps import format_utc


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far an answer reaches.

    `as_of_us`: events up to this instant (microseconds since the epoch, UTC) have been applied; None: none has been.
    `lag_s`: seconds between that instant and the answer; None where it is not known.
    `is_known`: whether any event of the project has been applied; a name that was mistyped is none of the known ones.
    """

    as_of_us: int | None
    lag_s: float | None
    is_known: bool | None = None


def freshness_headers(freshness: Freshness) -> dict[str, str]:
    """`X-Data-As-Of`, `X-Data-Lag-Seconds` and `X-Project-Known`; what is not known is left out, not sent empty."""
    headers = {}
    if freshness.as_of_us is not None:
        headers["X-Data-As-Of"] = format_utc(freshness.as_of_us)
    if freshness.lag_s is not None:
        # Producers' clocks run ahead at times; a negative lag would tell nobody anything.
        headers["X-Data-Lag-Seconds"] = f"{max(freshness.lag_s, 0):.3f}"
    if freshness.is_known is not None:
        headers["X-Project-Known"] = "true" if freshness.is_known else "false"
    return headers
