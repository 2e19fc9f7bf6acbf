"""What every route does with the events it read: may they be sent, is the broker having them, what was no event."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from ingest.dead_letters import DeadLettersUndelivered
from ingest.decoding.invalid_event import InvalidEvent
from ingest.http.refusal import Refused, try_later
from ingest.http.weave_bodies import BadElement, SentEvent
from ingest.http.writers import Writer, require
from ingest.kafka.acknowledged import Full, TooLarge, Unacknowledged
from ingest.kafka.message import DeadLetter, Message
from ingest.kafka.message_key import KeyedMessage, MessageKeys, NoEvent

# A dead letter of the gateway was at no place of a topic.
_NO_PLACE = -1

log = logging.getLogger(__name__)


class Producer(Protocol):
    """Where messages go; see ingest/kafka/acknowledged.py."""

    topic: str

    async def deliver(self, messages: Sequence[KeyedMessage]) -> None:
        """Return when the broker has acknowledged all. Raises Full, Unacknowledged, TooLarge."""
        ...

    async def why_away(self) -> str | None:
        """Why the broker takes nothing now, in a sentence; None: it does."""
        ...


class LetterBox(Protocol):
    """Where goes what is no event; see ingest/dead_letters.py."""

    def send(self, letters: list[DeadLetter]) -> None:
        """Return when the broker has all; blocks. Raises DeadLettersUndelivered."""
        ...


class Counts(msgspec.Struct):
    """What this process has taken since it started."""

    events: int = 0
    bad: int = 0


class Sending:
    """Sends what routes have read, and answers for it. `clock`: microseconds since the epoch."""

    def __init__(self, producer: Producer, letters: LetterBox, keys: MessageKeys, clock: Callable[[], int]) -> None:
        self.counts = Counts()
        self._producer = producer
        self._letters = letters
        self._keys = keys
        self.clock = clock

    async def send(self, writer: Writer, events: Sequence[SentEvent], bad: Sequence[BadElement] = ()) -> None:
        """Return when the broker has acknowledged all of it, as messages and as dead letters.

        Raises Refused: 403, 413, and 429 or 503 for what may pass later.
        """
        require(writer, {event.project_id for event in events})
        messages, unkeyed = self._keyed(events)
        bad = [*bad, *unkeyed]
        try:
            await self._producer.deliver(messages)
            if bad:
                await asyncio.to_thread(self._letters.send, [self._letter(element) for element in bad])
        except Full:
            raise try_later(429, "The gateway has no room beside what waits for Kafka; please retry.") from None
        except TooLarge as large:
            raise Refused(413, f"An event is larger than the topic takes: {large}") from None
        except (Unacknowledged, DeadLettersUndelivered) as away:
            log.warning("Kafka has not acknowledged", extra={"why": str(away)})
            raise try_later(503, "Kafka has not acknowledged the events; please retry.") from None
        self.counts.events += len(messages)
        self.counts.bad += len(bad)

    async def why_unready(self) -> str | None:
        """Why events could not be sent now, in a sentence; None: they could."""
        return await self._producer.why_away()

    def _keyed(self, events: Sequence[SentEvent]) -> tuple[list[KeyedMessage], list[BadElement]]:
        messages: list[KeyedMessage] = []
        bad: list[BadElement] = []
        for event in events:
            try:
                messages += self._keys.messages(event.value)
            except NoEvent as wrong:
                bad.append(BadElement(None, event.value, str(wrong)))
        return messages, bad

    def _letter(self, element: BadElement) -> DeadLetter:
        message = Message(self._producer.topic, _NO_PLACE, _NO_PLACE, self.clock(), None, element.value)
        return DeadLetter(message, InvalidEvent("shape", None, element.reason, element.position))
