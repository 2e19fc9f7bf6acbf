"""Fixtures of the aggregator's tests: a real Redis and a directory of objects, both empty."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.moving import FailingStore


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """A client of an empty Redis."""
    with redis.Redis.from_url(redis_url) as connected:
        yield connected


@pytest.fixture
def objects(tmp_path: Path) -> FailingStore:
    """An empty directory of objects."""
    return FailingStore(tmp_path / "objects")
