"""What an object store cannot be used for want of is said in one sentence."""

import sys
from pathlib import Path

import click
import pytest

from aggregator.objects.directory_store import DirectoryStore
from aggregator.objects.object_store import Span
from callmeter.object_store import kept_on_disk, opened_store
from callmeter.serving_settings import ApiSettings
from callmeter.settings import SegmentSettings, Settings


def test_buckets_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named, with what to install, where buckets cannot be used; a directory needs none of it."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(click.ClickException) as refused:
        opened_store(Settings(segments=SegmentSettings(url="s3://bucket/path")))
    assert str(refused.value) == (
        "CALLMETER_SEGMENTS__URL=s3://bucket/path: buckets need an extra: `pip install 'callmeter[buckets]'`"
    )
    assert isinstance(opened_store(Settings(segments=SegmentSettings(url="file:///tmp/segments"))), DirectoryStore)
    assert opened_store(Settings()) is None


def test_a_path_with_spaces(tmp_path: Path) -> None:
    """A URL says them as any URL does."""
    directory = tmp_path / "of all sealed"
    store = opened_store(Settings(segments=SegmentSettings(url=directory.as_uri())))
    assert store is not None
    store.put("a/b", b"content")
    assert (directory / "a/b").read_bytes() == b"content"


def test_what_a_cloud_needs_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket whose cloud needs more than was said is refused at the start, with what is missing."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(click.ClickException, match=r"CALLMETER_SEGMENTS__URL=az://container: cannot be used: .*ccount"):
        opened_store(Settings(segments=SegmentSettings(url="az://container")))


def test_kept_on_disk(tmp_path: Path) -> None:
    """Parts that are read are kept where the api was told to keep them, and nowhere else."""
    url = (tmp_path / "objects").as_uri()
    for cache in (None, tmp_path / "cache"):
        settings = Settings(segments=SegmentSettings(url=url), api=ApiSettings(disk_cache=cache))
        store = kept_on_disk(opened_store(settings), settings)
        assert store is not None
        store.put(f"of {cache is None}", b"content")
        assert store.read(f"of {cache is None}", [Span(0, 7)]) == [b"content"]
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cache", "objects"]
    assert kept_on_disk(None, settings) is None
