"""The embedded servers need no home directory: nothing is unpacked at their start, so nothing has to be tidied."""

from pathlib import Path

import pytest

from callmeter.local.embedded_broker import EmbeddedBroker
from callmeter.local.embedded_redis import EmbeddedRedis


@pytest.mark.parametrize("server", [EmbeddedBroker, EmbeddedRedis])
def test_starts_without_a_home_that_can_be_written(
    server: type[EmbeddedBroker] | type[EmbeddedRedis], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An embedded server runs where HOME is no directory, and writes into its own directory alone."""
    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, "/dev/null/home")
    started = server(tmp_path / "data")
    started.start()
    assert started.running
    started.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
