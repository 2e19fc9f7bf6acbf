"""Parts of objects that were read, kept as files of a directory that all processes of a machine may share.

An entry is a file under the digest of what it is of: the store's URL, the object's name, and the place in it. It holds
the digest of that and of its content, and then the content. Whatever else is there is no entry: it is read from the
store, and written anew. Entries are put there whole, by a rename, and what they stand for never changes.
"""

import logging
import os
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from aggregator.objects.object_store import ForwardingStore, ObjectStore, Span

log = logging.getLogger(__name__)

_DIGEST_BYTES = 16
_UNFINISHED_PREFIX = ".unfinished-"
# A process that has written this part of the bound looks again at what is there; so each goes over it by that much.
_LOOKS_PER_BOUND = 20
# Of the bound, what is left where there is more.
_LEFT_OF_TEN = 9


class CachedStore(ForwardingStore):
    """An ObjectStore that reads parts of objects from files where it has read them before; `url`: which store it is.

    Where the directory cannot be written or read it is as if nothing were there, and it is logged once.
    """

    def __init__(self, store: ObjectStore, url: str, directory: Path, bytes_max: int) -> None:
        super().__init__(store)
        self._url = url
        self._directory = directory
        self._bytes_max = bytes_max
        self._looking = threading.Lock()
        self._unseen_bytes = bytes_max  # so that the first one who writes looks
        self._is_told = False

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        found = [self._kept(name, span) for span in spans]
        missing = [span for span, content in zip(spans, found, strict=True) if content is None]
        if not missing:
            return [content for content in found if content is not None]
        fresh = iter(self._store.read(name, missing))
        contents: list[bytes] = []
        for span, content in zip(spans, found, strict=True):
            if content is None:
                content = next(fresh)
                self._keep(name, span, content)
            contents.append(content)
        return contents

    def _kept(self, name: str, span: Span) -> bytes | None:
        """Return what is kept of a part; None: nothing that is whole."""
        of = self._of(name, span)
        try:
            with (self._directory / _file_name(of)).open("rb") as file:
                stored = file.read()
                content = stored[_DIGEST_BYTES:]
                if stored[:_DIGEST_BYTES] != _digest(of, content):
                    return None
                os.utime(file.fileno())  # it was of use now
                return content
        except FileNotFoundError:
            return None
        except OSError as why:
            self._tell(why)
            return None

    def _keep(self, name: str, span: Span, content: bytes) -> None:
        if len(content) != span.length or len(content) > self._bytes_max // _LOOKS_PER_BOUND:
            return
        of = self._of(name, span)
        temporary = self._directory / (_UNFINISHED_PREFIX + secrets.token_hex(8))
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                temporary.write_bytes(_digest(of, content) + content)
                temporary.replace(self._directory / _file_name(of))
            finally:
                temporary.unlink(missing_ok=True)
            self._bound(len(content))
        except OSError as why:
            self._tell(why)

    def _bound(self, written_bytes: int) -> None:
        """Delete what was of no use for longest, where there is too much."""
        with self._looking:
            self._unseen_bytes += written_bytes
            if self._unseen_bytes < self._bytes_max // _LOOKS_PER_BOUND:
                return
            self._unseen_bytes = 0
        entries = []
        with os.scandir(self._directory) as files:
            for file in files:
                with suppress(FileNotFoundError):  # deleted meanwhile, by another process
                    status = file.stat()
                    entries.append((status.st_mtime_ns, status.st_size, file.path))
        left_bytes = sum(size for _, size, _ in entries)
        if left_bytes <= self._bytes_max:
            return
        for _, size, path in sorted(entries):
            if left_bytes <= self._bytes_max * _LEFT_OF_TEN // 10:
                return
            Path(path).unlink(missing_ok=True)
            left_bytes -= size

    def _of(self, name: str, span: Span) -> bytes:
        return f"{self._url}\n{name}\n{span.offset}\n{span.length}".encode()

    def _tell(self, why: OSError) -> None:
        if not self._is_told:
            self._is_told = True
            log.warning(
                "parts of objects are not kept on disk", extra={"directory": str(self._directory), "why": str(why)}
            )


def _file_name(of: bytes) -> str:
    return blake2b(of, digest_size=_DIGEST_BYTES).hexdigest()


def _digest(of: bytes, content: bytes) -> bytes:
    """Return what an entry begins with: it tells a damaged one, and one under the name of another."""
    return blake2b(content, digest_size=_DIGEST_BYTES, key=blake2b(of).digest()).digest()
