"""What a writer has at hand of a busy minute, also of one that has moved into an object and changes all the same."""

from aggregator.layout.first_calls import minute_field, unpack_first_calls, view_field
from aggregator.layout.minute_calls import MinuteCalls, piece_field, unpack_minute_calls
from aggregator.layout.moved_minutes import unpack_minute
from aggregator.layout.sealed import Location
from aggregator.layout.write import ShardWrite
from aggregator.objects.frame_cache import FrameCache
from aggregator.writing.kept_view import KeptView


class BusyMinute:
    """What is at hand of a busy minute.

    `is_whole`: what is not here is not stored either; else views that were `looked_for` are here. `kept`: views of
    which something is kept; `refused`: those of which nothing will be. `pieces`: how many are stored; `calls`: what is
    in them, None where it is not at hand.
    """

    __slots__ = ("calls", "is_whole", "kept", "looked_for", "pieces", "refused")

    def __init__(self, is_whole: bool, pieces: int) -> None:
        self.is_whole = is_whole
        self.pieces = pieces
        self.calls: list[MinuteCalls] | None = [] if is_whole else None
        self.kept: dict[int, KeptView] = {}
        self.looked_for: set[int] = set()
        self.refused: set[int] = set()


def bring_back(minute: int, key: str, place: Location, frames: FrameCache, write: ShardWrite) -> BusyMinute:
    """Have all at hand that is kept of a minute in an object, and write it where it was, in the hash `key`.

    Raises CorruptFrame and what FrameCache raises.
    """
    located = place.located(key)
    moved = unpack_minute(frames.read([located])[located])
    found = BusyMinute(is_whole=True, pieces=1)
    found.calls = [unpack_minute_calls([moved.calls])]
    write.set(key, minute_field(minute), 1)
    write.set(key, piece_field(minute, 0), moved.calls)
    for view, packed in moved.first.items():
        found.kept[view] = KeptView(view, unpack_first_calls(packed))
        write.set(key, view_field(minute, view), packed)
    return found
