"""Whether Redis keeps anything on disk, as real servers say it."""

from pathlib import Path

import pytest
import redis

from aggregator.store.persistence import keeps_on_disk
from tests.servers.redis_server import RedisServer

NEITHER = ("--appendonly", "no", "--save", "")


@pytest.mark.parametrize(
    ("extra_args", "keeps"),
    [(("--appendonly", "yes", "--save", ""), True), (("--appendonly", "no", "--save", "60 1"), True), (NEITHER, False)],
)
def test_what_a_server_keeps(tmp_path: Path, extra_args: tuple[str, ...], keeps: bool) -> None:
    """An append-only file or snapshots; with neither it is known that nothing is kept."""
    server = RedisServer(tmp_path, extra_args=extra_args)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert keeps_on_disk(client) is keeps
    server.stop()


def test_who_may_not_ask_is_not_told(tmp_path: Path) -> None:
    """A client that may not use CONFIG claims nothing of persistence."""
    server = RedisServer(tmp_path, extra_args=NEITHER)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.acl_setuser("plain", enabled=True, nopass=True, categories=["+@all"], commands=["-config"], keys=["*"])
    with redis.Redis.from_url(server.url, username="plain", password="any") as client:
        assert keeps_on_disk(client) is None
    server.stop()
