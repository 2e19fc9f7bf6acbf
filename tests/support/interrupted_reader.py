"""A reader between whose commands something else happens, such as a writer that moves what it holds."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, TypeVar

from aggregator.objects.frame_cache import FrameCache
from aggregator.objects.object_store import ObjectStore
from aggregator.store.connection import connect_readers
from aggregator.store.pieces import pieces
from aggregator.store.reader import Command, OpenedProject, StateLost, StoreReader
from aggregator.writing.shard import Shard
from tests.support.folding import NOW_US, PROJECT, SHARD

Answer = TypeVar("Answer")

STEPS_PER_COMMAND = 0.05  # else what moves is elsewhere whenever it is looked at


class InterruptedReader(StoreReader):
    """Lets something happen before every command."""

    def __init__(
        self, client: Any, namespace: str, before: Callable[[], object], objects: ObjectStore | None = None
    ) -> None:
        super().__init__(client, namespace, frames=FrameCache(objects))
        self._before = before

    async def fetch(self, commands: Sequence[Command]) -> list[Any]:
        replies = []
        for command in commands:
            self._before()
            replies += await super().fetch([command])
        return replies


class BetweenPieces(InterruptedReader):
    """Lets something happen before every piece of the commands that are sent at once."""

    async def fetch(self, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = []
        for piece in pieces(commands):
            self._before()
            for position, reply in zip(piece.positions, await StoreReader.fetch(self, piece.commands), strict=True):
                if position < len(replies):
                    replies[position] += reply
                else:
                    replies.append(reply)
        return replies


class MovedMeanwhile:
    """A writer that takes a step now and then, until there is nothing more to move."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._rng = Random(0)
        self._done = [1, 1]

    def step(self) -> None:
        """Now and then lets the writer seal and move something."""
        if self._rng.random() < STEPS_PER_COMMAND:
            self._done.append(self._shard.seal(NOW_US))

    @property
    def goes_on(self) -> bool:
        """Returns whether there may be more to move."""
        return any(self._done[-2:])


def answers_meanwhile(
    redis_url: str, shard: Shard, question: Callable[[StoreReader, OpenedProject], Awaitable[Answer]]
) -> list[Answer]:
    """Answers to a question that is asked again and again while the shard moves all it can, but for refusals."""
    moved = MovedMeanwhile(shard)

    async def ask() -> list[Answer]:
        client = connect_readers(redis_url)
        found = []
        try:
            reader = InterruptedReader(client, SHARD.namespace, moved.step)
            while moved.goes_on:
                project = await reader.open_project(PROJECT)
                try:
                    found.append(await question(reader, project))
                except StateLost:
                    continue
            return found
        finally:
            await client.aclose()

    return asyncio.run(ask())
