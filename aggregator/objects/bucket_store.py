"""Objects in a bucket of S3, Google Cloud Storage or Azure, through `obstore`, which is imported only where one is set.

Credentials, region and endpoint are read by it from the environment, under the names that each cloud's tools use.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from aggregator.objects.object_store import AlreadyThere, ObjectMissing, ObjectStoreAway, Span, StoredObject
from aggregator.time_units import SECOND_US

# A request is sent again so often, for so long, where the bucket does not answer; who waits then hears that it is away.
RETRY_TIMEOUT_S = 10
RETRIES_MAX = 3


class BucketsNotInstalled(Exception):
    """What reads and writes buckets is not installed; the message says how to get it."""


class BucketStore:
    """An ObjectStore in a bucket, below the path of `url`. Raises BucketsNotInstalled, and ValueError where the
    environment does not say what its cloud needs.
    """

    def __init__(self, url: str) -> None:
        try:
            import obstore
            from obstore.store import from_url
        except ImportError:
            raise BucketsNotInstalled("buckets need an extra: `pip install 'callmeter[buckets]'`") from None
        self._obstore: Any = obstore
        self._url = url
        make: Any = from_url
        retries = {"retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S), "max_retries": RETRIES_MAX}
        try:
            self._store: Any = make(url, retry_config=retries)
        except Exception as why:
            raise ValueError(f"cannot be used: {_first_line(why)}") from None

    def put(self, name: str, content: bytes) -> None:
        try:
            self._obstore.put(self._store, name, content, mode="create")
        except self._obstore.exceptions.AlreadyExistsError:
            raise AlreadyThere(name) from None
        except Exception as why:
            raise self._away("written", name, why) from why

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        starts, lengths = [span.offset for span in spans], [span.length for span in spans]
        try:
            found = self._obstore.get_ranges(self._store, name, starts=starts, lengths=lengths)
            return [bytes(one) for one in found]
        except FileNotFoundError:
            raise self._missing(name) from None
        except Exception as why:
            raise self._away("read", name, why) from why

    def read_whole(self, name: str) -> bytes:
        try:
            return bytes(self._obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            raise self._missing(name) from None
        except Exception as why:
            raise self._away("read", name, why) from why

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                self._obstore.delete(self._store, name)
            except FileNotFoundError:
                continue
            except Exception as why:
                raise self._away("deleted", name, why) from why

    def listed(self, prefix: str) -> list[StoredObject]:
        try:
            found = [one for piece in self._obstore.list(self._store, prefix) for one in piece]
        except Exception as why:
            raise self._away("listed", prefix, why) from why
        return sorted(
            StoredObject(one["path"], one["size"], int(one["last_modified"].timestamp() * SECOND_US)) for one in found
        )

    def _missing(self, name: str) -> ObjectMissing:
        return ObjectMissing(f"there is no object {name} in {self._url}")

    def _away(self, what: str, name: str, why: Exception) -> ObjectStoreAway:
        """Whatever the client or the bucket says: no right, no bucket, no network."""
        return ObjectStoreAway(f"{name} in {self._url} cannot be {what}: {_first_line(why)}")


def _first_line(why: Exception) -> str:
    said = str(why).strip().splitlines()
    return said[0] if said else type(why).__name__
