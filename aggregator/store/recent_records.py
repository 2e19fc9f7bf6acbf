"""Records of calls that were read lately from frames in objects, which never change: who asks again reads none."""

from collections import OrderedDict
from collections.abc import Collection, Mapping

from aggregator.calls.call import Call
from aggregator.objects.frame_cache import Located

# Some 2 KB each with all they used: 20 MB.
RECORDS_KEPT_MAX = 10_000


class RecentRecords:
    """The last records that were read, up to so many, by frame. They belong to all who read them: to be left alone."""

    def __init__(self, count_max: int = RECORDS_KEPT_MAX) -> None:
        self._count_max = count_max
        self._by_frame: OrderedDict[Located, dict[int, Call]] = OrderedDict()
        self.count = 0

    def find(self, frame: Located, numbers: Collection[int]) -> dict[int, Call] | None:
        """Return the records of a frame that have these numbers; None unless all are at hand."""
        known = self._by_frame.get(frame)
        if known is None:
            return None
        self._by_frame.move_to_end(frame)
        found = {number: known[number] for number in numbers if number in known}
        return found if len(found) == len(numbers) else None

    def keep(self, frame: Located, calls: Mapping[int, Call]) -> None:
        """Keep records of a frame."""
        known = self._by_frame.setdefault(frame, {})
        self._by_frame.move_to_end(frame)
        self.count -= len(known)
        known.update(calls)
        self.count += len(known)
        while self.count > self._count_max:
            _, dropped = self._by_frame.popitem(last=False)
            self.count -= len(dropped)
