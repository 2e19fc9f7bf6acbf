"""Questions to a real Redis, asked through the reader that the api uses."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aggregator.rollups.accumulator import BucketSeries, SeriesTotals
from aggregator.rollups.totals import Totals
from aggregator.store.connection import connect_readers
from aggregator.store.reader import OpenedProject, StoreReader
from tests.support.folding import PROJECT

Answer = TypeVar("Answer")


def read(
    redis_url: str,
    ask: Callable[[StoreReader, OpenedProject], Awaitable[Answer]],
    project_id: str = PROJECT,
    keyed_by_project: bool = False,
) -> Answer:
    """Returns what `ask` answers about a project."""

    async def asked() -> Answer:
        client = connect_readers(redis_url)
        try:
            reader = StoreReader(client, "callmeter", keyed_by_project)
            return await ask(reader, await reader.open_project(project_id))
        finally:
            await client.aclose()

    return asyncio.run(asked())


def totals_in(found: SeriesTotals, key: BucketSeries) -> Totals:
    """The totals of one series, in one."""
    row: Totals = found.large[key] if key in found.large else found.rows[found.keys.index(key)].tolist()
    return row
