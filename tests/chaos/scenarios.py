"""All scenarios by name."""

from collections.abc import Callable

from tests.chaos import (
    api_deaths,
    brokers,
    bucket_deaths,
    late_events,
    object_losses,
    rebalances,
    rebuilds,
    redis_clusters,
    redis_dumps,
    redis_losses,
    redis_memory,
    redis_refusals,
    redis_replica,
    restores,
    rivals,
    topics,
    worker_deaths,
)
from tests.chaos.kafka_ways import WAYS
from tests.chaos.stage import Stage

# Returns what was done; raises where the product did not do what it must.
Scenario = Callable[[Stage], str]

SCENARIOS: dict[str, Scenario] = {
    "worker-killed": worker_deaths.killed,
    "worker-seals": worker_deaths.killed_while_sealing,
    "worker-moves": object_losses.killed_while_moving,
    "bucket-killed": bucket_deaths.killed_at_every_step,
    "late-by-a-month": late_events.by_a_month,
    "worker-twins": rivals.twins,
    "collected": rivals.collected,
    "rebuilt-sealed": rebuilds.while_sealing,
    "redis-dump": redis_dumps.back_to_a_dump,
    "worker-frozen": worker_deaths.zombies,
    "api-killed": api_deaths.killed,
    "workers-scaled": rebalances.scaled,
    "redis-killed": redis_losses.killed,
    "redis-wiped": redis_losses.wiped,
    "redis-restored": restores.restored,
    "redis-restored-trimmed": restores.restored_from_a_trimmed_topic,
    "redis-full": redis_memory.out_of_memory,
    "redis-evicting": redis_memory.evicting,
    "redis-refuses": redis_refusals.refusing,
    "redis-replica": redis_replica.promoted,
    "cluster-cases": redis_clusters.golden_cases,
    "cluster-killed": redis_clusters.master_killed,
    "cluster-slots": redis_clusters.slots_moved,
    "broker-killed": brokers.killed,
    "topic-grows": topics.more_partitions,
    "topic-made-anew": topics.made_anew,
    "topic-trimmed": topics.trimmed,
    **WAYS,
}

# These bring their own messages.
WITHOUT_LOAD = ("cluster-cases",)

# Too long for `make test`, in which others do some of the same.
ONLY_LONG = ("late-by-a-month", "collected", "rebuilt-sealed", "redis-dump", "redis-restored-trimmed")
