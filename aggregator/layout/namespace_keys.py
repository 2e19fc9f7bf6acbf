"""Which keys of Redis belong to a generation of a namespace: those of its shards, and its registries."""

from aggregator.layout.keys import (
    ShardName,
    claims_prefix,
    counted_topics,
    grown_topics,
    project_registry,
    projects_by_name,
    shard_registry,
)


def shard_of_key(key: bytes, namespace: str) -> ShardName | None:
    """The shard of this namespace that a key belongs to; None for all other keys."""
    begin = f"{{{namespace}/".encode()
    # A topic has no slash in its name, so a namespace that goes on after this one has more of them.
    topic, _, partition = key.partition(b"}")[0][len(begin) :].rpartition(b"/")
    if not key.startswith(begin) or not topic or b"/" in topic or not partition.isdigit():
        return None
    return ShardName(namespace, topic.decode(), int(partition))


def is_registry(key: bytes, namespace: str) -> bool:
    """Whether a key says what the shards of this namespace hold together, beside their own keys."""
    begins = (project_registry(namespace, ""), claims_prefix(namespace))
    names = (
        shard_registry(namespace),
        counted_topics(namespace),
        grown_topics(namespace),
        projects_by_name(namespace),
    )
    return key.startswith(tuple(begin.encode() for begin in begins)) or key in [name.encode() for name in names]


def only_literally(text: str) -> str:
    """Return a pattern of SCAN that matches nothing else."""
    return "".join(f"\\{letter}" if letter in "*?[]^-\\" else letter for letter in text)
