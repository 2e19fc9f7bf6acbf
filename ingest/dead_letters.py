"""Dead letters: invalid messages on a topic of their own, whole, with where they came from and why in the headers.

An invalid event of a batch message travels with its whole message; its position tells which it was. A crash between
the dead letter and the apply of its batch sends it twice, with the same origin.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from ingest.kafka.message import DeadLetter, Headers
from ingest.kafka.producer import FRAME_BYTES_MAX, QUEUE_KIB_MAX
from ingest.message_size import MESSAGE_BYTES_MAX

log = logging.getLogger(__name__)

DELIVERY_S_MAX = 30
# A topic takes 1 MB by default, but an invalid message is as large as any, and its reason comes on top.
LETTER_BYTES_MAX = MESSAGE_BYTES_MAX + 2 * FRAME_BYTES_MAX
# A bad event of a batch travels with its whole message. Where a hundred are bad, or so many that the copies come to
# more bytes than this, the others share one letter for each reason.
LETTERS_OF_MESSAGE_MAX = 100
COPIES_BYTES_MAX = 64 * 2**20
# What is left of a message that its dead-letter topic does not take whole, or that has gone there already.
CUT_BYTES = (64 * 2**10, 2**10, 0)
TOPIC_SUFFIX = ".dead-letters"


# Headers of a message that was sent again from a dead letter, and of its next dead letter if it is still invalid: how
# often, and the origin of the first one.
REPLAYED, REPLAY_OF = "replayed", "replay_of"
# Header of a letter that holds only the beginning of its message: how many bytes the message has.
CUT_OF = "cut_of_bytes"


class DeadLetters(Protocol):
    """Where dead letters go."""

    def send(self, letters: Iterable[DeadLetter]) -> None:
        """Return when all are delivered. Raises DeadLettersUndelivered."""


class DeadLettersUndelivered(Exception):
    """The broker did not take them in time; the batch must not be applied yet."""


def dead_letter_topic(topic: str, configured: str) -> str:
    """The topic for the dead letters of `topic`."""
    return configured or topic + TOPIC_SUFFIX


def texts(headers: Headers) -> dict[str, str]:
    """Headers as text, whatever bytes they hold."""
    return {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value or "" for name, value in headers
    }


def headers(letter: DeadLetter) -> list[tuple[str, str | bytes | None]]:
    """Origin and reason of a dead letter."""
    message, invalid = letter.message, letter.invalid
    named = {
        "reason": invalid.reason,
        "field": invalid.field,
        "message": invalid.message,
        "position": invalid.position,
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "broker_us": message.broker_us,
        **{name: text for name, text in texts(message.headers).items() if name in (REPLAYED, REPLAY_OF)},
    }
    return [(name, str(value).encode("utf-8", "replace")) for name, value in named.items() if value is not None]


def by_message(letters: Iterable[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """Yield the dead letters of each message together, as they come."""
    for _, of_message in groupby(letters, lambda letter: letter.message.offset):
        yield list(of_message)


def bounded(letters: list[DeadLetter]) -> list[DeadLetter]:
    """The letters of one message: as they are while they are few, else the first ones and one for each reason left."""
    message, is_whole = letters[0].message, letters[0].is_whole
    alone = min(LETTERS_OF_MESSAGE_MAX, max(1, COPIES_BYTES_MAX // max(1, len(message.value or b""))))
    alone = alone if is_whole else 0
    if len(letters) <= alone:
        return letters
    counts = Counter(letter.invalid.reason for letter in letters[alone:])
    firsts = {letter.invalid.reason: letter.invalid for letter in reversed(letters[alone:])}
    return letters[:alone] + [
        DeadLetter(
            message,
            firsts[reason]._replace(message=f"{count} more events; the first: {firsts[reason].message}"),
            is_whole,
        )
        for reason, count in counts.items()
    ]


class DeadLetterTopic:
    """Sends dead letters and waits until the broker has them."""

    def __init__(
        self, bootstrap_servers: str, configured_topic: str, extra: Mapping[str, str | int | float | bool]
    ) -> None:
        settings = {"bootstrap.servers": bootstrap_servers, **extra}
        self._admin_settings = settings
        self._configured_topic = configured_topic
        self._known: set[str] = set()
        # How many invalid events were set aside since the start, by reason; letters are fewer, see `bounded`.
        self.events: Counter[str] = Counter()
        self._producer = Producer(
            {
                "enable.idempotence": True,
                "queue.buffering.max.kbytes": QUEUE_KIB_MAX,
                "message.max.bytes": LETTER_BYTES_MAX,
                "compression.type": "lz4",
                **settings,
            },
            logger=log,
        )

    def send(self, letters: Iterable[DeadLetter]) -> None:
        """Deliver all of them; raises DeadLettersUndelivered.

        A letter that its topic does not take is sent again with less of its message, and with its origin all the same.
        """
        letters = list(letters)
        chosen = list(chain.from_iterable(map(bounded, by_message(letters))))
        left = self._deliver([(letter, None if letter.is_whole else CUT_BYTES[0]) for letter in chosen])
        for letter in left:  # one after the other: together they may have been refused for the size of all
            sizes: list[int | None] = [None, *CUT_BYTES] if letter.is_whole else list(CUT_BYTES)
            while self._deliver([(letter, sizes.pop(0))]):
                if not sizes:
                    raise DeadLettersUndelivered("dead letters were not delivered: their topic takes none of any size")
        self.events.update(letter.invalid.reason for letter in letters)

    def _deliver(self, letters: Sequence[tuple[DeadLetter, int | None]]) -> list[DeadLetter]:
        """Send them, each with so many bytes of its message (None: all); returns those that are too large."""
        failures: list[str] = []
        too_large: list[DeadLetter] = []
        try:
            for letter, bytes_max in letters:
                self._produce(letter, bytes_max, failures, too_large)
        except KafkaException as refused:
            failures.append(refused.args[0].str())
        if self._producer.flush(DELIVERY_S_MAX):
            self._producer.purge()
            failures.append(f"no answer within {DELIVERY_S_MAX} s")
        if failures:
            raise DeadLettersUndelivered(f"dead letters were not delivered: {failures[0]}")
        return too_large

    def _produce(
        self, letter: DeadLetter, bytes_max: int | None, failures: list[str], too_large: list[DeadLetter]
    ) -> None:
        topic = dead_letter_topic(letter.message.topic, self._configured_topic)
        self._ensure(topic)
        value, more = letter.message.value, []
        if bytes_max is not None and len(value or b"") > bytes_max:
            more = [(CUT_OF, str(len(value or b"")))]
            value = (value or b"")[:bytes_max]

        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                too_large.append(letter)
            elif error is not None:
                failures.append(error.str())

        while True:
            try:
                self._producer.produce(
                    topic, value, letter.message.key, headers=[*headers(letter), *more], on_delivery=delivered
                )
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as refused:
                if refused.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                too_large.append(letter)
                return

    def _ensure(self, topic: str) -> None:
        """Make the topic where it does not exist; brokers need not make topics by themselves."""
        if topic in self._known:
            return
        admin = AdminClient(self._admin_settings, logger=log)
        if topic not in admin.list_topics(timeout=DELIVERY_S_MAX).topics:
            new = NewTopic(topic, num_partitions=1, config={"max.message.bytes": str(LETTER_BYTES_MAX)})
            try:
                admin.create_topics([new])[topic].result(DELIVERY_S_MAX)
            except KafkaException as failed:
                if failed.args[0].name() != "TOPIC_ALREADY_EXISTS":
                    raise
        self._known.add(topic)
