"""`callmeter backup`: what there is, what a restore would do, and why it is refused, each in one sentence."""

import json
import uuid
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from aggregator.layout.backup import backups_prefix
from aggregator.layout.keys import LAYOUT_VERSION, ShardKeys, ShardName
from aggregator.objects.directory_store import DirectoryStore
from aggregator.store.shard_store import ShardStore
from aggregator.writing.objects_access import AtOnce, objects_access
from aggregator.writing.shard import Shard
from callmeter.backups.keeping import MAKING_S_MAX, prune, stored_backups
from callmeter.commands import backup as commands
from callmeter.commands.backup import backup
from callmeter.settings import KafkaSettings, RedisSettings, SegmentSettings, Settings
from ingest.kafka.watermarks import watermarks
from tests.servers.kafka_server import create_topic
from tests.support.backing_up import back_up
from tests.support.folding import KEEP_ALL, NOW_US, SHARD, apply, open_shard, prices
from tests.support.moving import AT_ONCE
from tests.support.sealing import seal_all, some_calls

NO_BROKER = KafkaSettings(bootstrap_servers="127.0.0.1:1")


@pytest.fixture
def client(redis_url: str) -> Any:
    """An empty Redis."""
    return redis.Redis.from_url(redis_url)


@pytest.fixture
def settings(redis_url: str, client: Any, tmp_path: Path) -> Settings:
    """Returns settings of that Redis and a directory; no broker answers."""
    is_cluster = isinstance(client, redis.RedisCluster)
    return Settings(
        kafka=NO_BROKER,
        redis=RedisSettings(url=redis_url, namespace=SHARD.namespace, cluster=is_cluster),
        segments=SegmentSettings(url=(tmp_path / "objects").as_uri()),
    )


def run(settings: Settings, *arguments: str) -> Result:
    """Runs the command and returns what it says."""
    return CliRunner().invoke(backup, arguments, obj=settings)


@pytest.mark.single_redis
def test_wiped_and_restored_with_a_log_that_was_trimmed(
    settings: Settings, client: Any, bootstrap_servers: str, tmp_path: Path
) -> None:
    """The dry run says to the offset what is lost of which partition, and changes nothing; then it is done."""
    topic = f"calls-{uuid.uuid4().hex}"
    settings = settings.model_copy(
        update={"kafka": KafkaSettings(bootstrap_servers=bootstrap_servers, topics=(topic,))}
    )
    create_topic(bootstrap_servers, topic, 3)
    producer = Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    for partition in (0, 1, 2):
        for _ in range(30):
            producer.produce(topic, b"message", partition=partition)
    assert producer.flush(30) == 0
    shards = [ShardName(SHARD.namespace, topic, partition) for partition in (0, 1)]
    for shard in shards:
        apply(Shard(ShardStore(client, shard), prices(), KEEP_ALL), some_calls(20))
    assert json.loads(run(settings, "make", "--json").output)["keys"] > 20
    before = set(client.keys())
    client.flushall()
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for deleted in admin.delete_records([TopicPartition(topic, 0, 25), TopicPartition(topic, 1, 10)]).values():
        deleted.result(30)
    said = run(settings, "restore")
    assert said.exit_code == 0, said.output
    assert f"{topic}/0: goes on at offset 20; log 25 to 30: 5 offsets to read, 5 are lost\n" in said.output
    assert f"{topic}/1: goes on at offset 20; log 10 to 30: 10 offsets to read\n" in said.output
    assert "5 offsets are lost: Kafka has deleted them since." in said.output
    assert "Nothing was changed; --yes does it." in said.output
    assert client.keys() == []
    done = json.loads(run(settings, "restore", "--yes", "--json").output)
    assert done["done"]
    assert [shard["offsets_lost"] for shard in done["shards"]] == [5, 0]
    assert set(client.keys()) == before
    assert [ShardStore(client, shard).read_offset() for shard in shards] == [20, 20]
    assert not client.exists(ShardKeys(shards[0]._replace(partition=2)).next)
    refused = run(settings, "restore", "--yes")
    assert refused.exit_code == 1
    assert refused.output.endswith(f"Redis holds {len(before)} keys of this namespace; --replace deletes them\n")
    assert run(settings, "restore", "--yes", "--replace").exit_code == 0
    client.set(ShardKeys(shards[1]).next, 99)
    run(settings, "make")
    assert "log 10 to 30 is another one than the one that was read" in run(settings, "restore", "--replace").output


def test_without_a_broker(settings: Settings, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore says that it does not know what is lost, and is done all the same."""
    monkeypatch.setattr(commands, "watermarks", partial(watermarks, timeout_s=0.2))
    apply(open_shard(client), some_calls(20))
    assert run(settings, "make").exit_code == 0
    client.flushall()
    said = run(settings, "restore", "--yes")
    assert said.exit_code == 0, said.output
    assert "What Kafka has deleted since is not known: no Kafka broker answers at 127.0.0.1:1" in said.output
    assert "Done." in said.output
    assert open_shard(client).next_offset == 20


def test_refused(settings: Settings, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No backup, a damaged one, another layout, a missing object: one sentence, status 1, and Redis stays as it is."""
    monkeypatch.setattr(commands, "watermarks", lambda *_: {})

    def refusal(*arguments: str) -> str:
        client.flushall()
        said = run(settings, "restore", "--yes", *arguments)
        assert said.exit_code == 1
        assert client.keys() == []
        return said.output.splitlines()[-1]

    assert refusal() == "Error: there is no backup"
    assert refusal("2026") == "Error: there is no backup 2026"
    objects = DirectoryStore(tmp_path / "objects")
    shard = Shard(ShardStore(client, SHARD), prices(), KEEP_ALL, AT_ONCE, objects_access(objects, AtOnce()))
    apply(shard, some_calls(20))
    seal_all(shard)
    name, manifest = back_up(client, objects)
    other, _ = back_up(client, objects, NOW_US - 2)
    client.hset(ShardKeys(SHARD).shard, "layout", 3)
    old, _ = back_up(client, objects, NOW_US - 1)
    assert f"has layout 3, this version knows {LAYOUT_VERSION}: restore it with the version" in refusal(old)
    gone = sorted(manifest.shards[0].objects)[0]
    objects.delete([f"callmeter/calls/0/{gone}"])
    assert refusal(name).startswith("Error: 1 objects that the backup points into are missing; --despite-missing")
    done = run(settings, "restore", name, "--yes", "--despite-missing")
    assert done.exit_code == 0
    assert f"callmeter/calls/0/{gone} is missing" in done.output
    part = tmp_path / "objects" / f"{backups_prefix('callmeter')}{name}" / "00000.keys"
    part.write_bytes(part.read_bytes()[:-1])
    assert refusal(name, "--despite-missing").endswith("00000.keys is damaged: it is not what its manifest says")
    (tmp_path / "objects/callmeter/calls/0/owner").write_text("another")
    assert refusal(other) == (
        "Error: the object store is not the one of this backup, or is shared with another deployment"
    )


def test_listed_and_pruned(settings: Settings, client: Any, tmp_path: Path) -> None:
    """Backups older than they are kept go, the newest stays, and so does what may still be made."""
    apply(open_shard(client), some_calls(5))
    objects = DirectoryStore(tmp_path / "objects")
    names = [back_up(client, objects, NOW_US + minute * 60_000_000)[0] for minute in range(3)]
    objects.put(f"{backups_prefix('callmeter')}unfinished/00000.keys", b"")
    assert [one["name"] for one in json.loads(run(settings, "list", "--json").output)] == [*names, "unfinished"]
    assert "3 backups." in run(settings, "list").output
    now_us = max(one.modified_us for one in stored_backups(objects, "callmeter"))
    keep_s = int(timedelta(days=2).total_seconds())
    assert prune(objects, "callmeter", keep_s, now_us + MAKING_S_MAX * 1_000_000) == []
    assert prune(objects, "callmeter", keep_s, now_us + (MAKING_S_MAX + 60) * 1_000_000) == ["unfinished"]
    assert prune(objects, "callmeter", keep_s, now_us + (keep_s + 60) * 1_000_000) == names[:2]
    assert [one.name for one in stored_backups(objects, "callmeter")] == names[2:]


def test_no_store_is_set(settings: Settings) -> None:
    """The command says in one sentence that no store is set."""
    without = settings.model_copy(update={"segments": SegmentSettings()})
    for command in ("make", "list", "restore"):
        found = run(without, command)
        assert found.exit_code == 1
        assert "CALLMETER_SEGMENTS__URL is not set" in found.output
