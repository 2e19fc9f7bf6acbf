"""How a worker's consumer is set up: how far it reads ahead, how long it waits, and how members share partitions."""

from collections.abc import Mapping

from ingest.message_size import MESSAGE_BYTES_MAX

# What the client reads ahead, over all partitions, and of each: two batches. It is a bound on memory, and on how long
# what has just come to a quiet partition waits behind the backlog of a hot one: they share one queue.
READ_AHEAD_KIB_MAX = 32_768
READ_AHEAD_MESSAGES = 20_000
# When that is full the client looks so often whether there is room again. By default it waits for a second, in which a
# fast reader has emptied it long ago: on a backlog, even one that only consumes then idles most of the time.
READ_AHEAD_PAUSE_MS = 5
# The broker answers a fetch when it has so much for it, or after so long. It would otherwise answer with a few messages
# at a time, which takes the processors of both sides; where few events come each may wait so much longer.
FETCH_KIB_MIN = 64
FETCH_WAIT_MS_MAX = 50
# A worker that has not polled for so long is taken for dead and its partitions go to others.
SESSION_TIMEOUT_MS = 10_000
POLL_INTERVAL_MS_MAX = 300_000
# Who comes back under the same name within the session timeout is who it was, and nobody else waits (KIP-345).
MEMBER = "group.instance.id"
# A topic that does not exist yet, and partitions that are added, are seen within this time.
METADATA_REFRESH_MS = 5_000

Property = str | int | float | bool
"""The value of a property of librdkafka."""


def consumer_properties(
    bootstrap_servers: str, group_id: str, member: str, extra: Mapping[str, Property]
) -> dict[str, Property]:
    """The properties of librdkafka for a group member that keeps its offsets elsewhere; `extra` has the last word.

    `member`: a name that no other member has; who comes back under it has its partitions at once. Empty: none.
    """
    return {
        "bootstrap.servers": bootstrap_servers,
        "group.id": group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # a gap in the log must not pass silently
        **_membership(extra),
        **({MEMBER: member} if member else {}),
        "enable.partition.eof": True,
        "max.poll.interval.ms": POLL_INTERVAL_MS_MAX,
        "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
        "fetch.min.bytes": FETCH_KIB_MIN * 2**10,
        "fetch.wait.max.ms": FETCH_WAIT_MS_MAX,
        "queued.min.messages": READ_AHEAD_MESSAGES,
        "queued.max.messages.kbytes": READ_AHEAD_KIB_MAX,
        "fetch.queue.backoff.ms": READ_AHEAD_PAUSE_MS,
        "fetch.message.max.bytes": 2**20,
        "receive.message.max.bytes": 2 * MESSAGE_BYTES_MAX,
        **extra,
    }


def _membership(extra: Mapping[str, Property]) -> dict[str, str | int]:
    """How members share partitions: under the newer protocol (KIP-848) that is for the broker to say, and the client
    refuses to start where it is told.
    """
    if str(extra.get("group.protocol", "classic")).lower() == "consumer":
        return {}
    return {"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": SESSION_TIMEOUT_MS}
