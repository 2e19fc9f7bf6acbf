"""The directories of views, one per project and day: which views there are, and what a batch brings to each."""

from itertools import islice

from aggregator.layout.keys import day_of
from aggregator.layout.slots import ProjectDay, ProjectMinute
from aggregator.layout.write import ShardWrite
from aggregator.rollups.tally import PackedTally, merge_tallies
from aggregator.rollups.views import ViewDirectory
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import MINUTE_US
from aggregator.writing.batch_changes import BatchChanges, CallGroup


class Directories:
    """Directories of a shard's views, read from Redis when a batch needs them. At most `views_max` views of a kind."""

    def __init__(self, store: ShardStore, views_max: int) -> None:
        self._store = store
        self._keys = store.keys
        self._views_max = views_max
        self._directories: dict[ProjectDay, ViewDirectory] = {}

    def by_view(self, changes: BatchChanges, write: ShardWrite) -> dict[ProjectMinute, dict[int, PackedTally]]:
        """Return what the batch brings to each view of a minute: that of all calls, and those of groups and their
        facets.
        """
        self._load({(group[0], day_of(group[1] * MINUTE_US)) for group in changes.groups})
        minutes: dict[ProjectMinute, dict[int, list[PackedTally]]] = {}
        for group, tally in changes.groups.items():
            directory = self._directories[group[0], day_of(group[1] * MINUTE_US)]
            of_minute = minutes.setdefault(group[:2], {})
            values = group[2:]
            for facet, of_facet in ((None, tally), *tally.facets.items()):
                views = directory.admitted.get((*values, facet))
                if views is None:
                    views = self._admit(directory, group, facet, write)
                packed = with_trees = of_facet.packed()
                if of_facet.has_trees:
                    with_trees = of_facet.packed(with_trees=True)
                for view, has_trees in views:
                    of_view = of_minute.get(view)
                    if of_view is None:
                        of_minute[view] = [with_trees if has_trees else packed]
                    else:
                        of_view.append(with_trees if has_trees else packed)
        return {
            minute: {view: merge_tallies(of_view) for view, of_view in of_minute.items()}
            for minute, of_minute in minutes.items()
        }

    def _admit(
        self, directory: ViewDirectory, group: CallGroup, facet: str | None, write: ShardWrite
    ) -> list[tuple[int, bool]]:
        """The views that count a group, or those of it that have a facet, and whether they have trees; new ones are
        written to the day's directory.
        """
        project, minute, op_name, root, user_id, run_id = group
        views, fields_to_set = directory.admit_call(op_name, root, user_id, run_id, self._views_max, facet)
        for field, value in fields_to_set.items():
            write.set(self._keys.views(project, day_of(minute * MINUTE_US)), field, value)
        return views

    def of_day(self, project: int, day: int) -> ViewDirectory:
        """The directory of a day of the batch at hand."""
        return self._directories[project, day]

    def _load(self, days: set[ProjectDay]) -> None:
        unknown = sorted(day for day in days if day not in self._directories)
        if unknown:
            stored = self._store.read_hashes(self._keys.views(*day) for day in unknown)
            for day, fields in zip(unknown, stored, strict=True):
                self._directories[day] = ViewDirectory(fields)

    def trim(self, size_max: int) -> None:
        """Forget the oldest directories beyond `size_max`."""
        for day in list(islice(self._directories, max(0, len(self._directories) - size_max))):
            del self._directories[day]
