"""An empty Redis, and a directory for objects and backups."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.moving import FailingStore


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """An empty Redis."""
    found = redis.Redis.from_url(redis_url)
    yield found
    found.close()


@pytest.fixture
def objects(tmp_path: Path) -> FailingStore:
    """An empty directory."""
    return FailingStore(tmp_path / "objects")
