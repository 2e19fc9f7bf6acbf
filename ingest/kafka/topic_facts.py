"""The ids of topics, and how many partitions they have.

A topic that is deleted and made again has another id, whatever its name and offsets are. Both are asked on
connections of their own: a broker answers the requests of a connection in turn, so on the reader's a question waits
until a fetch is over.
"""

import logging
from collections.abc import Mapping

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from aggregator.time_units import SECOND_US

log = logging.getLogger(__name__)

# How long an id is believed; asking takes a millisecond. What the broker does not say is asked for again then, too.
BELIEVED_US_MAX = SECOND_US
ANSWER_TIMEOUT_S = 1.0


class TopicFacts:
    """Asks for them, and remembers ids for a moment."""

    def __init__(self, settings: Mapping[str, str | int | float | bool]) -> None:
        self._settings = dict(settings)
        self._admin: AdminClient | None = None
        self._known: dict[str, tuple[int, str | None]] = {}

    def find(self, topic: str, now_us: int) -> str | None:
        """The id of a topic; None for one that does not exist, or where the broker does not say."""
        looked_us, topic_id = self._known.get(topic, (0, None))
        if now_us - looked_us >= BELIEVED_US_MAX:
            topic_id = self._ask(topic)
            self._known[topic] = (now_us, topic_id)
        return topic_id

    def forget(self, topic: str) -> None:
        """Look this one up anew: it was missing for a while."""
        self._known.pop(topic, None)

    def partition_count(self, topic: str) -> int | None:
        """How many partitions a topic has now; None where the broker does not say. Safe to call from any thread."""
        try:
            return len(self._client().list_topics(topic, ANSWER_TIMEOUT_S).topics[topic].partitions)
        except KafkaException as failed:
            log.debug("the partitions of the topic are not known", extra={"topic": topic, "why": failed.args[0].str()})
            return None

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(self._settings, logger=log)
        return self._admin

    def _ask(self, topic: str) -> str | None:
        try:
            asked = self._client().describe_topics(TopicCollection([topic]), request_timeout=ANSWER_TIMEOUT_S)
            topic_id = asked[topic].result().topic_id
        except KafkaException as failed:
            log.debug("the id of a topic is not known", extra={"topic": topic, "why": failed.args[0].str()})
            return None
        # Brokers without ids say 0.
        return str(topic_id) if topic_id.get_most_significant_bits() or topic_id.get_least_significant_bits() else None
