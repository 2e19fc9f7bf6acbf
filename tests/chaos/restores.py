"""A Redis that is wiped under load, and comes back from a backup that was made under load, and from the topic."""

import shutil
from collections import Counter
from collections.abc import Sequence

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from aggregator.objects.directory_store import DirectoryStore
from tests.chaos.asker import Asker
from tests.chaos.history import Appended
from tests.chaos.objects import PARTITIONS, ROLLUPS, moved, moving_to, told
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.pipeline.operator import Said, operate
from tests.pipeline.program import Program
from tests.servers.redis_server import RedisServer

ADMIN_TIMEOUT_S = 30.0


class RestoreTrial(Trial):
    """A trial whose workers seal and move after a second, into a directory beside which backups are made."""

    def __init__(self, stage: Stage, server: RedisServer) -> None:
        self.directory = stage.directory / "objects"
        self.server = server
        super().__init__(stage, server.url, partitions=PARTITIONS, also=moving_to(f"file://{self.directory}"))

    def __enter__(self) -> "RestoreTrial":
        super().__enter__()
        return self

    def operate(self, *arguments: str) -> Said:
        """Run `callmeter backup <arguments>`, which must succeed."""
        said = operate(self.pipeline.settings, "backup", *arguments, "--json")
        if said.status != 0:
            raise ChaosFailed(f"{arguments}: {said.errors}")
        return said

    def wipe(self, with_its_files: bool) -> None:
        """Let Redis lose everything, by FLUSHALL, or by a new directory."""
        if with_its_files:
            self.server.kill()
            shutil.rmtree(self.server.directory)
            self.server.start()
        else:
            self.pipeline.redis.flushall()

    def ask_from_now_on(self) -> None:
        """Ask questions again, and forget the answers of before."""
        self._asker = Asker(
            self.api, self._applied_if_known, self.stage.rng.randrange(2**32), self.workload.asked_until
        )
        self._asker.start()

    def moved(self, workers: Sequence[Program]) -> Counter[str]:
        """How many objects there are once workers have ended; raises ChaosFailed where one is wrong, or a pointer."""
        return moved(self, workers, self.server.url, DirectoryStore(self.directory))


def restored(stage: Stage) -> str:
    """Backups are made while workers fold, seal and move; Redis is wiped later, workers begin anew with what Kafka
    holds, and the backup replaces that under their hands.
    """
    server = RedisServer(stage.directory / "redis")
    server.start()
    wipes, again = stage.times(8, 1), 0
    with RestoreTrial(stage, server) as trial:
        workers = trial.begin(60, workers=PARTITIONS)
        for number in trial.steps(wipes, 8):
            trial.wait_for_progress(300)
            trial.operate("make")
            trial.wait_for_progress(200)
            before = trial.applied_messages()
            with trial.redis_away():
                trial.wipe(with_its_files=bool(number % 2))
                if number % 4 < 2:  # with or without what workers have begun to fold again
                    trial.wait_for_progress(50)
                done = trial.operate("restore", "--yes", "--replace").json()
            again += before - sum(shard["next_offset"] for shard in done["shards"])
            trial.wait_for_applied(before)
        trial.settle()
        trial.check()
        found = trial.moved(workers)
    server.stop()
    if not found[ROLLUPS]:
        raise ChaosFailed("nothing was moved")
    done = f"{wipes} wipes, each restored from a backup made under load, {again} messages behind in all"
    return f"{done}; objects: {told(found)}, all whole"


def restored_from_a_trimmed_topic(stage: Stage) -> str:
    """Kafka has deleted messages that were folded after the backup: what is lost is said to the message, by the command
    before it changes anything and by the workers' counter, and the rest is right.
    """
    server = RedisServer(stage.directory / "redis")
    server.start()
    lines, half = stage.workload.lines, len(stage.workload.lines) // 2
    with RestoreTrial(stage, server) as trial:
        workers = trial.begin(stage.times(30, 4), workers=PARTITIONS, lines=lines[:half])
        trial.wait_for_progress(half // 2)
        trial.operate("make")
        trial.settle()
        if stage.short:
            trial.stop_asking()
        else:
            trial.check()
        for worker in workers:
            worker.terminate()
        ends = trial.applied()
        trial.produce(lines[half:])
        trial.load.finish()
        log = trial.read_log()
        with trial.redis_away():
            trial.wipe(with_its_files=True)
            copied = {one["partition"]: one["next_offset"] for one in trial.operate("restore").json()["shards"]}
            gone = {partition: stage.rng.randint(copied[partition], ends[partition]) for partition in copied}
            _trim(trial, gone)
            done = trial.operate("restore", "--yes").json()
        missing = {partition: gone[partition] - offset for partition, offset in copied.items()}
        if {one["partition"]: one["offsets_lost"] for one in done["shards"]} != missing:
            raise ChaosFailed(f"{done['shards']} is said to be lost, not {missing}")
        trial.ask_from_now_on()
        for worker in workers:
            worker.start_until_logged("worker started")
        trial.settle()
        if trial.counters()["offsets_lost"] != sum(missing.values()):
            raise ChaosFailed(f"{trial.counters()['offsets_lost']} offsets counted as lost, not {missing}")
        for partition, messages in log.items():
            lost = slice(copied[partition], gone[partition])
            messages[lost] = [Appended(message.at_us, None) for message in messages[lost]]
        trial.check(log)
        trial.moved(workers)
    server.stop()
    return f"restored from a backup, {sum(missing.values())} messages deleted meanwhile: all of them reported"


def _trim(trial: Trial, before: dict[int, int]) -> None:
    """Let Kafka delete what lies before these offsets."""
    admin = AdminClient({"bootstrap.servers": trial.kafka.bootstrap_servers})
    offsets = [TopicPartition(trial.topic, partition, offset) for partition, offset in before.items()]
    for deleted in admin.delete_records(offsets).values():
        deleted.result(ADMIN_TIMEOUT_S)
