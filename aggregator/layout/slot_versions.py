"""A slot's version as it is stored: random bytes, and of minutes when the latest of its calls began.

Eight bytes that are drawn anew by every batch that changes the slot; of a minute, behind them, the latest start of its
calls in digits, microseconds since 1970: `8f03c1d2a4b5e697` `1772532059000000`. Where it is not known, as of minutes
that an earlier version began, the digits are missing, and stay so.
"""

from aggregator.layout.keys import VERSION_BYTES


def pack_version(version: bytes, latest_us: int) -> bytes:
    """Return what is stored of a slot; `latest_us`: the latest start of its calls (0: not known)."""
    return version + b"%d" % latest_us if latest_us else version


def latest_start_us(stored: bytes) -> int:
    """The latest start of a minute's calls, by what is stored (microseconds since 1970); 0: not known."""
    return int(stored[VERSION_BYTES:] or 0)
