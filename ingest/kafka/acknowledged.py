"""Sends messages to Kafka for coroutines, each of which waits until the broker has acknowledged its own.

Memory is bounded: what is under way is counted, and what does not fit is refused before any of it is sent.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ingest.kafka.message_key import KeyedMessage
from ingest.kafka.producer import FRAME_BYTES_MAX, QUEUE_KIB_MAX, QUEUE_MESSAGES_MAX
from ingest.message_size import MESSAGE_BYTES_MAX

# What waits for the broker, all requests together; a broker takes some 50 MB/s, so this is a second or so.
UNDER_WAY_BYTES_MAX = 64 * 2**20
# What librdkafka and this module hold of a message besides its value.
MESSAGE_FRAME_BYTES = 512
# Until then a broker that restarts or a leader that moves is waited for; SDKs wait 30 s for an answer.
ACKNOWLEDGED_S_MAX = 15
# Waiting for more messages to send together; a request waits as long.
LINGER_MS = 5
POLL_S = 0.1
CLOSE_S_MAX = 5
# Whether the broker is there is looked at so often at most, however many ask, and waited for so long.
LOOK_S, LOOK_TIMEOUT_S = 1.0, 2.0

log = logging.getLogger(__name__)


class Full(Exception):
    """What is under way leaves no room for these messages; the same may fit a moment later."""


class Unacknowledged(Exception):
    """The broker has not acknowledged all of the messages in time; some may have arrived all the same."""


class TooLarge(Exception):
    """A message is larger than the topic takes; it will never pass."""


class _Waiting:
    """The messages of one `deliver`, until the last of them is reported."""

    __slots__ = ("_acknowledged", "_left", "_loop", "error")

    def __init__(self, messages: int) -> None:
        self.error: KafkaError | None = None
        self._left = messages
        self._loop = asyncio.get_running_loop()
        self._acknowledged = self._loop.create_future()

    def note(self, error: KafkaError | None, message: Message | None) -> None:
        """One more message is reported, from the thread that polls."""
        self.error = self.error or error
        self._left -= 1
        if not self._left:
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self._acknowledged.done():  # who waited may have gone away
            self._acknowledged.set_result(None)

    async def wait(self) -> None:
        """Return when every message is reported."""
        await self._acknowledged


class AcknowledgedProducer:
    """Delivers to one topic: idempotent, acknowledged by all replicas that are in sync, within ACKNOWLEDGED_S_MAX.

    `extra` are librdkafka properties that win over the ones set here. The broker need not be reachable yet.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        extra: Mapping[str, str | int | float | bool],
        bytes_max: int = UNDER_WAY_BYTES_MAX,
        acknowledged_s_max: float = ACKNOWLEDGED_S_MAX,
    ) -> None:
        self.topic = topic
        self._settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": LINGER_MS,
            "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
            "queue.buffering.max.kbytes": QUEUE_KIB_MAX,
            "delivery.timeout.ms": int(acknowledged_s_max * 1000),
            "message.max.bytes": MESSAGE_BYTES_MAX + FRAME_BYTES_MAX,
            **extra,
        }
        self._bytes_left = bytes_max
        self._messages_left = QUEUE_MESSAGES_MAX
        self._producer = Producer(self._settings, logger=log)
        self._looking = asyncio.Lock()
        self._looked_s = 0.0
        self._why_away: str | None = None
        self._stopping = False
        self._polling = threading.Thread(target=self._poll, name="acknowledgements", daemon=True)
        self._polling.start()

    async def deliver(self, messages: Sequence[KeyedMessage]) -> None:
        """Return when the broker has acknowledged all of the messages. Raises Full, Unacknowledged, TooLarge."""
        if not messages:
            return
        size_bytes = sum(len(message.value) + MESSAGE_FRAME_BYTES for message in messages)
        if size_bytes > self._bytes_left or len(messages) > self._messages_left:
            raise Full(f"{len(messages)} messages of {size_bytes} bytes do not fit beside those under way")
        self._bytes_left -= size_bytes
        self._messages_left -= len(messages)
        try:
            waiting = _Waiting(len(messages))
            for message in messages:
                self._send(message, waiting)
            await waiting.wait()
        finally:
            self._bytes_left += size_bytes
            self._messages_left += len(messages)
        if waiting.error is not None:
            self._raise(waiting.error)

    async def why_away(self) -> str | None:
        """Why the broker takes no messages of the topic, in a sentence; None: it does."""
        async with self._looking:
            elapsed_s = asyncio.get_running_loop().time
            if not self._looked_s or elapsed_s() - self._looked_s >= LOOK_S:
                self._why_away = await asyncio.to_thread(self._look)
                self._looked_s = elapsed_s()
            return self._why_away

    def _look(self) -> str | None:
        try:
            error = self._producer.list_topics(self.topic, timeout=LOOK_TIMEOUT_S).topics[self.topic].error
        except KafkaException as away:
            return f"Kafka does not answer: {away.args[0].str()}"
        return None if error is None else f"Kafka takes nothing of {self.topic}: {error.str()}"

    def close(self) -> None:
        """Deliver what is under way, for CLOSE_S_MAX at most, and stop."""
        self._producer.flush(CLOSE_S_MAX)
        self._stopping = True
        self._polling.join()

    def _send(self, message: KeyedMessage, waiting: _Waiting) -> None:
        """Queue one; what cannot even be queued is reported at once."""
        try:
            self._producer.produce(self.topic, message.value, message.key, on_delivery=waiting.note)
        except BufferError:
            waiting.note(KafkaError(KafkaError._QUEUE_FULL), None)
        except KafkaException as refused:
            waiting.note(refused.args[0], None)

    def _raise(self, error: KafkaError) -> None:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise TooLarge(error.str())
        if error.fatal():
            log.error("the producer to Kafka is broken; making a new one", extra={"why": error.str()})
            broken, self._producer = self._producer, Producer(self._settings, logger=log)
            broken.purge()
            broken.poll(0)
        if error.code() == KafkaError._QUEUE_FULL:
            raise Full(error.str())
        raise Unacknowledged(error.str())

    def _poll(self) -> None:
        while not self._stopping:
            self._producer.poll(POLL_S)
