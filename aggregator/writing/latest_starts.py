"""When the latest call of each minute began, as it is stored with the minute's version."""

from collections.abc import Iterable, Mapping
from itertools import islice

from aggregator.layout.keys import ShardKeys
from aggregator.layout.slot_versions import latest_start_us
from aggregator.layout.slots import ProjectMinute
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.rollups.levels import MINUTES
from aggregator.writing.unsealing import Stored


class LatestStarts:
    """A bounded cache of latest starts, as they stand in Redis once all that was given to be written is stored.

    After any doubt whether it is, nothing here is right any more.
    """

    def __init__(self, keys: ShardKeys) -> None:
        self._keys = keys
        self._latest_us: dict[ProjectMinute, int] = {}  # 0: not known; those used last are last

    def absent(self, minutes: Iterable[ProjectMinute]) -> dict[Key, list[Field]]:
        """Return the versions, by key and slot, of those minutes that are not here: to be read for `add`."""
        wanted: dict[Key, list[Field]] = {}
        for minute in minutes:
            if minute not in self._latest_us:
                key, slot = self._place(minute)
                wanted.setdefault(key, []).append(slot)
        return wanted

    def add(
        self,
        minutes: Iterable[ProjectMinute],
        started_us: Mapping[ProjectMinute, int],
        stored: Stored,
        write: ShardWrite,
    ) -> None:
        """Note the latest starts of minutes that a batch changes.

        `started_us`: when the latest of the calls that are new in a minute began. `stored`: of the versions that were
        absent, those that there are.
        """
        for minute in minutes:
            key, slot = self._place(minute)
            latest_us = self._latest_us.pop(minute, None)
            if latest_us is None and (version := stored.get((key, slot))) is not None:
                latest_us = latest_start_us(version)
            brought_us = started_us.get(minute, 0)
            if latest_us is None:
                latest_us = brought_us
            elif latest_us:  # one that is not known stays so: calls that were there before may have begun later
                latest_us = max(latest_us, brought_us)
            self._latest_us[minute] = latest_us
            write.latest_starts_us.setdefault(key, {})[slot] = latest_us

    def trim(self, count_max: int) -> None:
        """Forget those that were not used for longest, beyond so many."""
        for minute in list(islice(self._latest_us, max(0, len(self._latest_us) - count_max))):
            del self._latest_us[minute]

    def _place(self, minute: ProjectMinute) -> tuple[str, int]:
        project, number = minute
        block, slot = MINUTES.block_and_slot(number)
        return self._keys.versions(project, MINUTES, block), slot
