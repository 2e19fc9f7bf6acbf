"""Moving busy minutes with one of its rules taken out. The state machine must notice each."""

from collections.abc import Mapping

from aggregator.layout.slots import ProjectMinute
from aggregator.layout.write import ShardWrite
from aggregator.writing.minute_moving import MinuteMoving
from aggregator.writing.shard import Shard
from tests.protocol.mutants import MovingPostingsInTwoStepsStore
from tests.protocol.worker_process import Parts


class MovingMinutesInTwoStepsStore(MovingPostingsInTwoStepsStore):
    """What is kept of busy minutes leaves Redis in one step, and its place is there in the next."""

    _kind = ":busy:"


class MovedMinutesKeptShard(Shard):
    """A shard that changes busy minutes that have moved away as if they were still there."""

    def recover(self) -> None:
        super().recover()
        self._state.upkeep._minute_moving._moved = lambda minutes: None


class CarelessMinuteMoving(MinuteMoving):
    """A place takes that of whatever is kept of a minute by then."""

    def note(self, minutes: Mapping[ProjectMinute, str | None], now_us: int, write: ShardWrite) -> None:
        held = [of.copy() for of in (self._gathered, self._putting.of or {})]
        super().note(minutes, now_us, write)
        for of, before in zip((self._gathered, self._putting.of or {}), held, strict=True):
            of.update(before)


class ChangingMinutesShard(Shard):
    """A shard that changes busy minutes while they are on their way into objects."""

    def recover(self) -> None:
        super().recover()
        self._state.upkeep._minute_moving.__class__ = CarelessMinuteMoving


MINUTE_MUTANTS = {
    "busy minutes deleted before it is said where they are": Parts(store=MovingMinutesInTwoStepsStore),
    "moved minutes kept": Parts(shard=MovedMinutesKeptShard),
    "minutes change while they move": Parts(shard=ChangingMinutesShard),
}
