"""What cells of a day come to, read while something else may happen before every round trip."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aggregator.objects.frame_cache import FrameCache
from aggregator.objects.object_store import ObjectStore
from aggregator.reading.rollups import LevelBlock, Wanted, read_rollups
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.levels import HOURS
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE
from aggregator.rollups.views import ViewFilter
from aggregator.store.connection import connect_readers
from aggregator.store.reader import Command, StateLost, StoreReader
from aggregator.time_units import SECOND_US
from tests.support.folding import PROJECT, SHARD, T0_US

DAY = T0_US // (86_400 * SECOND_US)
WANTED = {LevelBlock(HOURS, DAY): dict.fromkeys(range(24), 0)}
QUANTILES = (0, 0.5, 0.95, 1)


class WatchedReader(StoreReader):
    """Lets something happen before every round trip."""

    def __init__(self, client: Any, objects: ObjectStore | None, before: Callable[[], None]) -> None:
        super().__init__(client, SHARD.namespace, frames=FrameCache(objects))
        self._before = before

    async def fetch(self, commands: Sequence[Command]) -> list[Any]:
        self._before()
        return await super().fetch(commands)


def nothing() -> None:
    """Nothing happens before a round trip."""


def ask(
    redis_url: str,
    question: Callable[[StoreReader], Any],
    before: Callable[[], None] = nothing,
    objects: ObjectStore | None = None,
) -> Any:
    """The answer of a reader before whose every round trip something happens."""

    async def asked() -> Any:
        found = connect_readers(redis_url)
        try:
            return await question(WatchedReader(found, objects, before))
        finally:
            await found.aclose()

    return asyncio.run(asked())


def answer(
    redis_url: str,
    objects: ObjectStore | None = None,
    before: Callable[[], None] = lambda: None,
    views: ViewFilter = ViewFilter(),  # noqa: B008  frozen
    wanted: Wanted = WANTED,
) -> Any:
    """Returns what the first day's calls come to: counts, totals, quantiles of latency."""

    async def ask() -> Any:
        client = connect_readers(redis_url)
        try:
            reader = WatchedReader(client, objects, before)
            for _ in range(20):
                try:
                    project = await reader.open_project(PROJECT)
                    merged = Merged(1)
                    await read_rollups(reader, project, wanted, views, merged, True, True)
                except StateLost:
                    continue
                totals = [merged.totals(series) for series in (OF_LATENCY, OF_USAGE)]
                quantiles = merged.values_of(0, LATENCY).quantiles(OF_LATENCY, 0, QUANTILES, 0, 10**9)
                rows = [dict(zip(found.keys, found.rows.tolist(), strict=True)) for found in totals]
                return merged.calls, merged.errors, rows, quantiles
            raise AssertionError("never still")
        finally:
            await client.aclose()

    return asyncio.run(ask())
