"""Answering `/projects`: the projects there are, those the reader may ask about, and how fresh each is."""

from dataclasses import dataclass

import msgspec

from aggregator.store.reader import StoreReader
from aggregator.time_units import SECOND_US
from aggregator.timestamps import format_utc


@dataclass(frozen=True, slots=True)
class ProjectsQuestion:
    """Which projects: the first `limit` by name that begin with `prefix`, of `readable` (None: of all)."""

    prefix: str
    limit: int
    readable: tuple[str, ...] | None


async def answer_projects(reader: StoreReader, question: ProjectsQuestion, now_us: int) -> bytes:
    """The JSON of a ProjectsRes. `now_us`: against which data is old. Raises what the store raises."""
    wanted = question.limit + 1
    if question.readable is None:
        named = await reader.project_ids(question.prefix, wanted)
    else:
        named = sorted({one for one in question.readable if one.startswith(question.prefix)}, key=str.encode)
    states = await reader.project_states(named)
    return msgspec.json.encode(
        {
            "projects": [
                {
                    "project_id": project_id,
                    "as_of": None if as_of_us is None else format_utc(as_of_us),
                    "lag_seconds": None if as_of_us is None else round(max(now_us - as_of_us, 0) / SECOND_US, 3),
                }
                for project_id, as_of_us in states[: question.limit]
            ],
            "more": len(states) > question.limit,
        }
    )
