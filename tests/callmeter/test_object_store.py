"""What an object store cannot be used for want of is said in one sentence."""

import sys
from pathlib import Path

import click
import pytest

from aggregator.objects.directory_store import DirectoryStore
from callmeter.object_store import opened_store
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
