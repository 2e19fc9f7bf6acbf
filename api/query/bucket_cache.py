"""Rows of buckets that were worked out before, kept for as long as nothing that they were read from has changed.

A dashboard asks for nearly the same buckets every few seconds, and only the newest of them have changed.
"""

from typing import NamedTuple

from api.query.kept_by_version import KeptByVersion
from api.query.under_way import UnderWay

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


class KeptBuckets(KeptByVersion[BucketKey, BucketRows]):
    """The rows used last; which are being read, by key and fingerprint."""

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX) -> None:
        super().__init__(bytes_max)
        self.under_way = UnderWay[tuple[BucketKey, bytes]](waits=bytes_max > 0)

    def keep(self, key: BucketKey, fingerprint: bytes, rows: BucketRows) -> None:
        """Keep these rows, instead of what was kept under the key, as long as there is room."""
        self.put(key, fingerprint, rows, _size_bytes(fingerprint, rows))


def _size_bytes(fingerprint: bytes, rows: BucketRows) -> int:
    of_usage = sum(map(len, rows.usage_rows)) + _ROW_BYTES * len(rows.usage_rows)
    return _BUCKET_BYTES + len(fingerprint) + len(rows.call_row) + of_usage
