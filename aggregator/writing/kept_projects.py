"""The projects that a shard holds, each until nothing of it is kept any more.

Rollups, postings and open calls expire by themselves, call records are dropped with their chunk. When the longest
retention has passed since a project's newest event, and all records that there were then are dropped, its entry goes,
in the step that applies a batch. Its number is never given again. A project that comes back is a new one.
"""

from collections.abc import Iterable, Mapping, Sequence, Set

from aggregator.calls.event import Event
from aggregator.layout.kept_project import KeptProject, decode_kept_project, encode_kept_project
from aggregator.layout.write import ShardWrite
from aggregator.rollups.levels import LEVELS, Retention
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S, DAY_US, MINUTE_US, SECOND_US
from aggregator.writing.project_sweep import ProjectSweep

# A look goes through all projects of a shard: a millisecond for ten thousand.
LOOK_INTERVAL_US = MINUTE_US
# Of one step; each is a few deletions.
GOING_MAX = 100
# Days end after their events, and clocks differ.
SPARE_S = 2 * DAY_S


class KeptProjects:
    """The instants until when each project of a shard is kept; `stored` is what Redis holds of that."""

    def __init__(self, stored: Mapping[bytes, bytes], store: ShardStore, retention: Retention) -> None:
        self._kept = {int(number): decode_kept_project(value) for number, value in stored.items()}
        self._keys = store.keys
        self._sweep = ProjectSweep(store)
        self.longest_s = max(retention.calls_s, *(retention.level_s(level) for level in LEVELS)) + SPARE_S
        self._look_us = 0

    def are_kept(self, projects: Mapping[str, int], as_of_us: int) -> list[str]:
        """Return the projects whose time has not passed, or of which it is not known: the registries may lack them,
        where Redis forgot that, or the node that holds it.
        """
        return [
            name
            for name, number in projects.items()
            if (kept := self._kept.get(number)) is None or kept.until_s * SECOND_US > as_of_us
        ]

    def note(
        self, events: Sequence[Event], projects: Mapping[str, int], now_us: int, write: ShardWrite
    ) -> dict[str, int]:
        """Take in the events of a batch; the projects that are to be kept for longer, with for how long (seconds)."""
        newest_us: dict[str, int] = {}
        for event in events:
            at_us = event.at_us
            if at_us > newest_us.get(event.project_id, -1):
                newest_us[event.project_id] = at_us
        longer = {}
        for project_id, at_us in newest_us.items():
            # By the day, so that it is written once a day.
            until_s = at_us // DAY_US * DAY_S + self.longest_s
            kept = self._kept.get(projects[project_id])
            if kept is None or kept.leaving_at is not None or until_s > kept.until_s:
                self._keep(projects[project_id], KeptProject(max(until_s, kept.until_s if kept else 0)), write)
                longer[project_id] = max(until_s - now_us // SECOND_US, self.longest_s)
        return longer

    def go(
        self,
        until_us: int,
        first_number: int,
        next_number: int,
        projects: Mapping[str, int],
        in_hand: Set[str],
        write: ShardWrite,
    ) -> dict[str, int]:
        """Projects of which nothing is kept any more, with their numbers; `write` deletes their entries.

        `until_us`: how far time has come for this shard. `first_number`: records below it are dropped.
        `in_hand`: projects that the batch holds something of.
        """
        if until_us < self._look_us:
            return {}
        self._look_us = until_us + LOOK_INTERVAL_US
        going: dict[str, int] = {}
        for project_id, number in projects.items():
            kept = self._kept.get(number)
            if kept is None:  # an earlier version has not noted it
                self._keep(number, KeptProject(until_us // SECOND_US + self.longest_s), write)
            elif project_id in in_hand or kept.until_s * SECOND_US > until_us:
                continue
            elif kept.leaving_at is None:
                self._keep(number, kept._replace(leaving_at=next_number), write)
            elif first_number >= kept.leaving_at and len(going) < GOING_MAX:
                going[project_id] = number
        self._forget(going.values(), write)
        if going:
            write.deletions.setdefault(self._keys.projects, []).extend(going)
        return going

    def sweep(self, now_us: int) -> None:
        """Look through some of the names of all projects there are, if it is time to."""
        self._sweep.look(now_us)

    def _keep(self, number: int, kept: KeptProject, write: ShardWrite) -> None:
        self._kept[number] = kept
        write.set(self._keys.until, number, encode_kept_project(kept))

    def _forget(self, numbers: Iterable[int], write: ShardWrite) -> None:
        for number in numbers:
            del self._kept[number]
            write.deletions.setdefault(self._keys.until, []).append(number)
