"""The registries of projects on a single Redis and on a cluster, where each of them lies in another slot."""

from collections.abc import Iterator
from typing import Any

import pytest

from aggregator.layout.keys import ShardName, project_registry, projects_by_name
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_server import RedisServer

PROJECTS = [f"acme/{number}" for number in range(130)]


@pytest.fixture(scope="module", params=["single", "cluster"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A writer's connection."""
    directory = tmp_path_factory.mktemp("redis")
    server = RedisServer(directory) if request.param == "single" else RedisCluster(directory)
    server.start()
    yield connect(server.url, cluster=request.param == "cluster")
    server.stop()


def test_sets_expire_and_names_follow(client: Any) -> None:
    """A set lives for as long as the shard that holds its project longest; once it is gone, a sweep takes its name."""
    stores = [ShardStore(client, ShardName("registry", "calls", partition)) for partition in range(2)]
    stores[0].register(dict.fromkeys(PROJECTS, 1_000))
    stores[1].register({PROJECTS[0]: 2_000, PROJECTS[1]: 500})
    assert client.smembers(project_registry("registry", PROJECTS[0])) == {b"calls/0", b"calls/1"}
    assert 1_900 < client.ttl(project_registry("registry", PROJECTS[0])) <= 2_000
    assert 900 < client.ttl(project_registry("registry", PROJECTS[1])) <= 1_000
    for name in PROJECTS[5:]:
        client.delete(project_registry("registry", name))
    cursor = stores[0].sweep_projects(0)
    while cursor:
        cursor = stores[0].sweep_projects(cursor)
    assert client.zrange(projects_by_name("registry"), 0, -1) == sorted(name.encode() for name in PROJECTS[:5])
