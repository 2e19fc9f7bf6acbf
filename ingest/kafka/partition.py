"""A partition of a topic: what is assigned, read, and owns a shard."""

from typing import NamedTuple


class Partition(NamedTuple):
    """A topic's partition, by its number."""

    topic: str
    number: int


def named(partition: Partition) -> dict[str, str | int]:
    """The partition as fields of a log line."""
    return {"topic": partition.topic, "partition": partition.number}
