"""The gateway's app on a Kafka of the test's own: messages stay in memory, and it is away when told so."""

import asyncio
from collections.abc import Mapping, Sequence

import httpx

from aggregator.calls.event import Event
from ingest.dead_letters import DeadLettersUndelivered
from ingest.decoding.single import decode_message
from ingest.http.app import GatewayLimits, make_gateway
from ingest.http.sending import Sending
from ingest.http.writers import OpenWriters, Writers
from ingest.kafka.message import DeadLetter
from ingest.kafka.message_key import KeyedMessage, MessageKeys

NOW_US = 1_795_910_000_000_000  # 2026-11-28


class MemoryKafka:
    """A producer and a letter box. `failure` is raised by whatever is delivered next."""

    topic = "calls"

    def __init__(self) -> None:
        self.messages: list[KeyedMessage] = []
        self.letters: list[DeadLetter] = []
        self.failure: Exception | None = None

    async def deliver(self, messages: Sequence[KeyedMessage]) -> None:
        """Keep the messages."""
        if self.failure is not None:
            raise self.failure
        self.messages += messages

    async def why_away(self) -> str | None:
        """Say why it is away while something is to fail."""
        return None if self.failure is None else str(self.failure)

    def send(self, letters: list[DeadLetter]) -> None:
        """Keep the dead letters."""
        if isinstance(self.failure, DeadLettersUndelivered):
            raise self.failure
        self.letters += letters

    def events(self) -> list[Event]:
        """Returns what a worker makes of the messages; all must be events."""
        decoded = [decode_message(message.value, NOW_US) for message in self.messages]
        assert [bad for one in decoded for bad in one.invalid] == []
        return [event for one in decoded for event in one.events]


class Gateway:
    """The gateway, asked in the test's process."""

    def __init__(self, writers: Writers | None = None, limits: GatewayLimits | None = None) -> None:
        self.kafka = MemoryKafka()
        sending = Sending(self.kafka, self.kafka, MessageKeys("project"), lambda: NOW_US)
        self.app = make_gateway(sending, writers or OpenWriters(), limits or GatewayLimits())

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """The response to a POST."""
        return self.ask("POST", path, body, headers)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """The response to a request."""

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.request(method, path, content=body, headers=headers)

        return asyncio.run(asked())
