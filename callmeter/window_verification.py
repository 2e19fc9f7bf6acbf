"""Verifies what is kept of a window of a project, minute by minute, while workers go on; shows how far it is."""

import msgspec

from aggregator.objects.frame_cache import FrameCache
from aggregator.reading.differences import Difference
from aggregator.reading.verification import pieces, reach_us
from aggregator.reading.verification import verify as verify_piece
from aggregator.store.connection import connect_readers
from aggregator.store.reader import StoreReader
from aggregator.time_units import MINUTE_US
from aggregator.timestamps import format_utc
from callmeter.object_store import opened_store
from callmeter.progress.work import WorkProgress
from callmeter.settings import Settings


class Verified(msgspec.Struct):
    """What was compared, `[start_us, end_us)` in whole minutes, in how many shards, and what differs.

    `unsettled_minutes`: of so many the calls came too fast to be compared.
    """

    start_us: int
    end_us: int
    reaches_us: int
    shards: int
    differences: list[Difference]
    unsettled_minutes: int = 0


class NothingKept(Exception):
    """Nothing of the window is kept; the message says how far call records reach."""


async def verify_window(
    settings: Settings, namespace: str | None, project_id: str, start_us: int, end_us: int, now_us: int, tree: bool
) -> Verified:
    """Verify what is kept of a window, in a namespace (None: as set). Raises NothingKept, and as the store."""
    client = connect_readers(settings.redis.url, settings.redis.cluster)
    retention = settings.retention.kept()
    try:
        frames = FrameCache(opened_store(settings))
        reader = StoreReader(client, namespace or settings.redis.namespace, frames=frames)
        project = await reader.open_project(project_id)
        reaches_us = await reach_us(reader, project, now_us, retention)
        start_us = max(start_us, reaches_us)
        if start_us >= end_us:
            raise NothingKept(f"nothing of this window is kept; call records reach back to {format_utc(reaches_us)}")
        parts = list(pieces(start_us, end_us))
        verified = Verified(parts[0].start_us, parts[-1].end_us, reaches_us, len(project.shards), [])
        minutes = (verified.end_us - verified.start_us) // MINUTE_US
        with WorkProgress("verifying", "minutes", minutes) as progress:
            for piece in parts:
                found = await verify_piece(reader, project, piece, now_us, retention, tree)
                # Most likely the calls of one of its minutes come too fast; the others can be compared.
                for part in piece.each_minute() if found is None else ():
                    of_minute = await verify_piece(reader, project, part, now_us, retention, tree)
                    verified.unsettled_minutes += of_minute is None
                    verified.differences += of_minute or []
                verified.differences += found or []
                progress.add(len(piece.minutes))
        return verified
    finally:
        await client.aclose()
