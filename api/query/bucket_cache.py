"""Rows of buckets that were worked out before, kept for as long as nothing that they were read from has changed.

A dashboard asks for nearly the same buckets every few seconds, and only the newest of them have changed. What is kept
goes by the versions of the slots that a bucket was read from, never by time: what comes from here is what reading again
would give.
"""

from collections import OrderedDict
from typing import NamedTuple

# A day of five-minute buckets with five models takes about 600 KB, so this holds what some two hundred dashboards show.
KEPT_BYTES_MAX = 128 * 2**20
# What a bucket, and a row, takes besides its JSON.
_BUCKET_BYTES, _ROW_BYTES = 800, 60


class BucketRows(NamedTuple):
    """The rows of one bucket as JSON: of `call_buckets` one, of `usage_buckets` one for each series, in their order.

    `priced`: of which series any usage has a price.
    """

    call_row: bytes
    series: tuple[bytes, ...] = ()
    priced: tuple[bool, ...] = ()
    usage_rows: tuple[bytes, ...] = ()


class BucketKey(NamedTuple):
    """What tells a bucket's rows apart: a digest of what is asked, its timestamp, and its edges (µs since 1970)."""

    asked: bytes
    timestamp: str
    from_us: int
    to_us: int


class _Kept(NamedTuple):
    fingerprint: bytes
    rows: BucketRows
    size_bytes: int


class KeptBuckets:
    """The rows used last, up to `bytes_max` of memory."""

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[BucketKey, _Kept] = OrderedDict()

    def find(self, key: BucketKey, fingerprint: bytes) -> BucketRows | None:
        """The rows, if they are of this fingerprint."""
        kept = self._kept.get(key)
        if kept is None or kept.fingerprint != fingerprint:
            return None
        self._kept.move_to_end(key)
        return kept.rows

    def keep(self, key: BucketKey, fingerprint: bytes, rows: BucketRows) -> None:
        """Keep these rows, instead of what was kept under the key, as long as there is room."""
        before = self._kept.pop(key, None)
        if before is not None:
            self._bytes -= before.size_bytes
        kept = self._kept[key] = _Kept(fingerprint, rows, _size_bytes(fingerprint, rows))
        self._bytes += kept.size_bytes
        while self._bytes > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size_bytes


def _size_bytes(fingerprint: bytes, rows: BucketRows) -> int:
    of_usage = sum(map(len, rows.usage_rows)) + _ROW_BYTES * len(rows.usage_rows)
    return _BUCKET_BYTES + len(fingerprint) + len(rows.call_row) + of_usage
