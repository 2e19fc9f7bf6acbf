"""Opens the object store that a URL names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from aggregator.objects.bucket_store import BucketStore
from aggregator.objects.directory_store import DirectoryStore
from aggregator.objects.object_store import ObjectStore

BUCKET_SCHEMES = ("s3", "gs", "az")


def open_store(url: str) -> ObjectStore | None:
    """The store at `url`, None where that is empty. Raises ValueError for a wrong one, and BucketsNotInstalled."""
    if not url:
        return None
    check_url(url)
    parts = urlsplit(url)
    return DirectoryStore(Path(unquote(parts.path))) if parts.scheme == "file" else BucketStore(url)


def check_url(url: str) -> None:
    """Raises ValueError, whose text is the rest of a sentence about the URL, for one that names no object store."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/") or parts.path == "/":
            raise ValueError("is not a directory by its whole path, like file:///var/lib/callmeter/segments")
    elif parts.scheme not in BUCKET_SCHEMES or not parts.netloc:
        raise ValueError("is no object store, like file:///path, s3://bucket/path, gs://bucket/path or az://container")
