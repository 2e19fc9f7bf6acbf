"""`callmeter segments`: what there is is listed, damage is found, and only what nothing needs is deleted."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from aggregator.layout.moved import OWNER
from aggregator.store.generation import Generations, Lease
from callmeter.commands.segments import GRACE_S, segments
from callmeter.settings import RedisSettings, SegmentSettings, Settings
from tests.support.folding import NOW_US, SHARD, apply
from tests.support.moving import AT_ONCE, KEYS, PREFIX, FailingStore, open_moving
from tests.support.sealing import seal_all, some_calls
from tests.support.strategies import NOW


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """An empty Redis."""
    found = redis.Redis.from_url(redis_url)
    yield found
    found.close()


@pytest.fixture
def objects(client: Any, tmp_path: Path) -> FailingStore:
    """A directory with some objects, as many of them retired."""
    found = FailingStore(tmp_path / "objects")
    shard = open_moving(client, found, AT_ONCE)
    for first in (0, 60):
        apply(shard, some_calls(60, first))
        seal_all(shard)
    return found


@pytest.fixture
def settings(redis_url: str, client: Any, tmp_path: Path) -> Settings:
    """Returns settings of that Redis and that directory, at the time of the calls."""
    return Settings(
        redis=RedisSettings(url=redis_url, namespace=SHARD.namespace, cluster=isinstance(client, redis.RedisCluster)),
        segments=SegmentSettings(url=(tmp_path / "objects").as_uri()),
        now=NOW,
    )


def run(settings: Settings, *arguments: str) -> Result:
    """Runs the command and returns what it says."""
    return CliRunner().invoke(segments, arguments, obj=settings)


def names(objects: FailingStore) -> set[str]:
    """Returns what the directory holds."""
    return {one.name for one in objects.listed(PREFIX)} - {PREFIX + OWNER}


def needed(client: Any) -> list[str]:
    """Objects that something points into."""
    return sorted(name.decode() for name in client.hkeys(KEYS.objects) if name != OWNER.encode())


def test_listed(settings: Settings, client: Any, objects: FailingStore) -> None:
    """Each object is listed with its size, a retired one with the time."""
    rows = json.loads(run(settings, "list", "--json").output)
    assert {row["object"] for row in rows} == names(objects)
    sizes = {one.name: one.size_bytes for one in objects.listed(PREFIX)}
    assert all(row["bytes"] == sizes[row["object"]] for row in rows if row["retired_since"] is None)
    assert sum(row["retired_since"] is not None for row in rows) == client.hlen(KEYS.retired) > 0
    assert f"{len(needed(client))} objects, " in run(settings, "list").output


def test_verified(settings: Settings, client: Any, objects: FailingStore, tmp_path: Path) -> None:
    """All is well; then one is damaged, one is gone, and the third is pointed into where nothing is."""
    damaged, gone, wrong, *more = needed(client)
    assert run(settings, "verify").output == f"{3 + len(more)} objects: all as they were put.\n"
    path = tmp_path / "objects" / (PREFIX + damaged)
    path.write_bytes(path.read_bytes()[:100] + b"!!" + path.read_bytes()[102:])
    (tmp_path / "objects" / (PREFIX + gone)).unlink()
    (tmp_path / "objects" / (PREFIX + wrong)).write_bytes((tmp_path / "objects" / PREFIX / OWNER).read_bytes())
    found = run(settings, "verify")
    assert found.exit_code == 1
    assert f"{PREFIX}{damaged}: it is damaged at byte " in found.output
    assert f"{PREFIX}{gone}: is missing" in found.output
    assert f"{PREFIX}{wrong}: it does not begin as a segment does" in found.output
    assert f"{3 + len(more)} objects: 3 faults." in found.output


def test_an_object_under_another_name_is_found(
    settings: Settings, client: Any, objects: FailingStore, tmp_path: Path
) -> None:
    """An object that stands under another name is found: its checksums are right, and it is not what was put there."""
    one, other, *_ = needed(client)
    (tmp_path / "objects" / (PREFIX + one)).write_bytes(objects.read_whole(PREFIX + other))
    found = run(settings, "verify")
    assert f"{PREFIX}{one}: it was put under another name, {PREFIX}{other}" in found.output


def test_collected_only_when_told(settings: Settings, client: Any, objects: FailingStore) -> None:
    """Said first, then done: what is retired for longer than the grace; what nothing ever named is noted."""
    everything = names(objects)
    retired = {PREFIX + name.decode() for name in client.hkeys(KEYS.retired)}
    orphan = f"{PREFIX}20000-h-5-abc"
    objects.put(orphan, b"left")
    later = settings.model_copy(update={"now": NOW.fromtimestamp(NOW_US / 1e6 + GRACE_S, NOW.tzinfo)})
    early = run(settings, "collect", "--json")
    assert json.loads(early.output) == {"noted": [orphan], "deleted": [], "shared": [], "done": False}
    dry = json.loads(run(later, "collect", "--json").output)
    assert set(dry["deleted"]) == retired
    assert names(objects) == everything | {orphan}
    assert client.hlen(KEYS.retired) == len(retired)
    assert "was deleted" in run(later, "collect", "--yes").output
    assert names(objects) == (everything | {orphan}) - retired
    assert client.hkeys(KEYS.retired) == [b"20000-h-5-abc"]


def test_of_a_generation_that_was_replaced(
    settings: Settings, client: Any, objects: FailingStore, tmp_path: Path
) -> None:
    """Objects of a replaced generation go a grace after they were made, and not before; those of a rebuild under way
    stay."""
    generations = Generations(client, SHARD.namespace)
    live = generations.begin(0)
    generations.switch(Lease(client, SHARD.namespace, live))
    generations.tidy()
    building = generations.begin(0)
    for namespace in (live, building):
        objects.put(f"{namespace}/calls/0/20000-h-5-abc", b"needed")
    old = names(objects) | {PREFIX + OWNER}
    left = old.pop()
    for name in old:
        os.utime(tmp_path / "objects" / name, (0, NOW_US / 1e6 - GRACE_S))
    os.utime(tmp_path / "objects" / left, (0, NOW_US / 1e6 - GRACE_S + 1))
    assert set(json.loads(run(settings, "collect", "--json", "--yes").output)["deleted"]) == old
    assert {one.name for one in objects.listed(PREFIX)} == {left}
    assert objects.read_whole(f"{live}/calls/0/20000-h-5-abc") == b"needed"
    assert objects.read_whole(f"{building}/calls/0/20000-h-5-abc") == b"needed"


def test_no_store_is_set(settings: Settings) -> None:
    """The command says in one sentence that no store is set; to list needs none."""
    without = settings.model_copy(update={"segments": SegmentSettings()})
    for command in ("verify", "collect"):
        found = run(without, command)
        assert found.exit_code == 1
        assert "CALLMETER_SEGMENTS__URL is not set" in found.output
    assert run(without, "list").exit_code == 0
