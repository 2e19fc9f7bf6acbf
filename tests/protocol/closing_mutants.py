"""The protocol with one of its rules about open minutes taken out. The state machine must notice each."""

from collections.abc import Iterable, Iterator, Mapping

from aggregator.layout.open_minutes import OPEN_FIELD
from aggregator.layout.slots import ProjectMinute
from aggregator.layout.write import ShardWrite
from aggregator.writing.open_minutes import OpenMinutes
from aggregator.writing.shard import Shard
from aggregator.writing.slot_gains import Gains
from tests.protocol.memory_store import MemoryStore
from tests.protocol.worker_process import Parts


class ClosingInTwoStepsStore(MemoryStore):
    """Minutes are in the coarser levels in one step, and said to be there in the next."""

    def replace(self, write: ShardWrite) -> None:
        if self.keys.open_minutes in {*write.fields, *write.deletions}:
            cells = {
                key: {field: value for field, value in fields.items() if field != OPEN_FIELD}
                for key, fields in write.fields.items()
                if key != self.keys.open_minutes
            }
            super().replace(ShardWrite(fields={key: fields for key, fields in cells.items() if fields}))
        super().replace(write)


class ReopeningMinutes(OpenMinutes):
    """A minute is opened whatever has been counted of it before."""

    def _new(self, minutes: Iterable[ProjectMinute]) -> Iterator[ProjectMinute]:
        yield from minutes


class ReopeningShard(Shard):
    """A shard that opens minutes that are in the coarser levels already."""

    def recover(self) -> None:
        super().recover()
        self._state.minutes.__class__ = ReopeningMinutes


class HalfClosedMinutes(OpenMinutes):
    """A minute that is closed in part is open as a whole for what comes for it."""

    def take_in(
        self, gained: Mapping[ProjectMinute, Gains], now_us: int, write: ShardWrite
    ) -> dict[ProjectMinute, int]:
        return dict.fromkeys(super().take_in(gained, now_us, write), 0)


class HalfClosedShard(Shard):
    """A shard that counts in minutes alone what comes for views that have been closed."""

    def recover(self) -> None:
        super().recover()
        self._state.minutes.__class__ = HalfClosedMinutes


class OpenMinutesKeptShard(Shard):
    """A shard that keeps only in memory, after a doubt, which minutes are open."""

    def recover(self) -> None:
        super().recover()
        known: OpenMinutes | None = getattr(self._store, "first_minutes", None)
        if known is None:
            self._store.first_minutes = self._state.minutes  # type: ignore[attr-defined]
        else:
            self._state.minutes.__dict__.update(known.__dict__)


CLOSING_MUTANTS = {
    "closed in two steps": Parts(store=ClosingInTwoStepsStore),
    "opened again": Parts(shard=ReopeningShard),
    "half closed is open": Parts(shard=HalfClosedShard),
    "open minutes kept": Parts(shard=OpenMinutesKeptShard),
}
