"""The protocol with one of its rules taken out. The state machine must notice each."""

from collections.abc import Iterable, Sequence

import msgspec

from aggregator.calls.call import CALL_CODEC
from aggregator.layout import keys as layout
from aggregator.layout.hash_pages import PageTable
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, located
from aggregator.layout.slots import ProjectDay
from aggregator.layout.write import Key, ShardWrite
from aggregator.segments.call_frame import unpack_calls
from aggregator.segments.segment import Section
from aggregator.writing.call_moving import CallMoving
from aggregator.writing.ids import Ids
from aggregator.writing.posting_moving import PostingMoving
from aggregator.writing.posting_tails import PostingTails
from aggregator.writing.records import Records
from aggregator.writing.shard import Shard
from ingest.kafka.partition import Partition
from tests.protocol.closing_mutants import CLOSING_MUTANTS
from tests.protocol.memory_log import MemorySource
from tests.protocol.memory_objects import MemoryObjects
from tests.protocol.memory_redis import Hash
from tests.protocol.memory_store import MemoryStore, Watch
from tests.protocol.worker_process import LIMITS, Parts


class UncheckedStore(MemoryStore):
    """Whatever the stored next offset is, it is the one that was expected."""

    def _check_fence(self, first_offset: int | None, stored: bytes | None) -> None: ...


class DeletingFirstStore(MemoryStore):
    """Cells are deleted in one step, and are in frames in the next."""

    def replace(self, write: ShardWrite) -> None:
        super().replace(ShardWrite(deletions=write.deletions))
        super().replace(ShardWrite(fields=write.fields))


class ForgettingFirstStore(MemoryStore):
    """Redis holds moved frames no more in one step, and directories point into objects in the next."""

    def replace(self, write: ShardWrite) -> None:
        if self.keys.objects in write.fields and write.deletions:
            super().replace(ShardWrite(deletions=write.deletions))
        super().replace(write)


class FixedNames(MemoryObjects):
    """An object is named by its level and day alone; what is put again takes the place."""

    def put(self, name: str, content: bytes) -> None:
        self._kept.pop(_fixed(name), None)
        super().put(_fixed(name), content)

    def read_whole(self, name: str) -> bytes:
        return super().read_whole(_fixed(name))


def _fixed(name: str) -> str:
    shard, _, last = name.rpartition("/")
    return f"{shard}/{'-'.join(last.split('-')[:2])}"


class MovingIdsInTwoStepsStore(MemoryStore):
    """Ids leave the hash in one step, and are on pages in the next."""

    def replace(self, write: ShardWrite) -> None:
        if self.keys.ids in write.deletions:
            super().replace(ShardWrite(deletions={self.keys.ids: write.deletions.pop(self.keys.ids)}))
        super().replace(write)


class MovingPostingsInTwoStepsStore(MemoryStore):
    """Postings leave where they came in one step, and are on pages in the next."""

    _kind = ":x:"

    def replace(self, write: ShardWrite) -> None:
        left = {key: values for key, values in write.deletions.items() if self._kind in str(key)}
        if left:
            super().replace(ShardWrite(deletions=left))
        super().replace(write)


class MovingBlocksInTwoStepsStore(MovingPostingsInTwoStepsStore):
    """Full blocks of postings leave where they came in one step, and are on pages in the next."""

    _kind = ":y:"


class SameFenceStore(MemoryStore):
    """Whoever has looked for ids before some moved may apply what came of it."""

    def _drawn_fence(self, offset: int) -> bytes:
        return b"%d" % offset


class TrustingIds(Ids):
    """The first record that is found for an id is taken for that of the id."""

    records: Records

    def find(self, fields: Sequence[bytes]) -> list[int]:
        found = [super(TrustingIds, self).find([field]) for field in fields]
        self.records.numbers.update(
            (field, numbers[0]) for field, numbers in zip(fields, found, strict=True) if numbers
        )
        return [number for numbers in found for number in numbers]


class TrustingShard(Shard):
    """Records that are found are not looked at."""

    def recover(self) -> None:
        super().recover()
        state = self._state
        ids = TrustingIds(self._store, self._limits.seal_after_s, state.records.next_number)
        ids.records = state.records
        state.ids = ids


class BlindCallMoving(CallMoving):
    """A pointer takes the place of whatever frame is there by then."""

    @staticmethod
    def is_as_it_was_put(stored: bytes | None, section: Section) -> bool:
        del section
        return stored is not None


class BlindlyPointingShard(Shard):
    """Frames of calls that were sealed again while the ones before were put are lost."""

    def recover(self) -> None:
        super().recover()
        self._state.upkeep._call_moving.__class__ = BlindCallMoving


class UncheckedSealingStore(MemoryStore):
    """A store that seals what was read, whatever has been written since."""

    _is_unchecked = False

    def replace(self, write: ShardWrite) -> None:
        self._is_unchecked = self._goes_unchecked(write)
        try:
            super().replace(write)
        finally:
            self._is_unchecked = False

    def _goes_unchecked(self, write: ShardWrite) -> bool:
        del write
        return True

    def _check_fence(self, first_offset: int | None, stored: bytes | None) -> None:
        if not self._is_unchecked:
            super()._check_fence(first_offset, stored)


class FrameFirstStore(MemoryStore):
    """A store that reads the frame's record first, though the record was written again beside it."""

    def _read_hashes(self, command: str, keys: Iterable[Key]) -> list[Hash]:
        asked = list(keys)
        chunks = self.keys.calls(0).removesuffix("0")
        found = super()._read_hashes(command, asked)
        for key, fields in zip(asked, found, strict=True):
            in_redis = CALL_FRAME_FIELD in fields and located(str(key), fields[CALL_FRAME_FIELD]) is None
            if str(key).startswith(chunks) and in_redis:
                for number, call in unpack_calls(fields[CALL_FRAME_FIELD]).items():
                    place = b"%d" % (number % layout.CALLS_PER_CHUNK)
                    if place in fields:
                        fields[place] = CALL_CODEC.pack(call)
        return found


class UnwatchedStore(MemoryStore):
    """The next offset is checked, and may change before the write."""

    def _watch(self, key: bytes) -> Watch:
        return super()._watch(key)._replace(writes=0)


class MixingStore(MemoryStore):
    """A store whose reads may be of any state, as long as the next offset is right when the batch is applied."""

    def _check(self, offsets: list[bytes | None]) -> None: ...


class TwoStepStore(MemoryStore):
    """The next offset is written after the state."""

    def apply(self, first_offset: int | None, next_offset: int | None, write: ShardWrite) -> None:
        super().apply(first_offset, first_offset, write)
        super().apply(first_offset, next_offset, ShardWrite())


class RememberingShard(Shard):
    """A shard that reads only the next offset again after a doubt, and keeps what was in memory."""

    def recover(self) -> None:
        known: Shard | None = getattr(self._store, "first_writer", None)
        if known is None:
            super().recover()
            self._store.first_writer = self  # type: ignore[attr-defined]
        else:
            self.__dict__ = known.__dict__
            self._next_offset = self._store.next_offset()


class TailsKeptShard(Shard):
    """A shard that keeps only the tails of postings in memory after a doubt."""

    def recover(self) -> None:
        super().recover()
        known: PostingTails | None = getattr(self._store, "first_tails", None)
        if known is None:
            self._store.first_tails = self._state.tails  # type: ignore[attr-defined]
        else:
            self._state.tails = known


class TailsOfMovedKeptShard(Shard):
    """A shard that appends to the postings that have moved away as if they were still there."""

    def recover(self) -> None:
        super().recover()
        self._state.upkeep._postings._moved = self._state.expiries.note


class CarelessPostingMoving(PostingMoving):
    """Pages change at any time."""

    def _must_wait(self, day: ProjectDay) -> bool:
        return False

    @staticmethod
    def _are_half_moved(table: PageTable, moved: bytes | None) -> bool:
        return False


class ChangingPagesShard(Shard):
    """A shard that puts postings on pages of which some are in objects, or on their way there."""

    def recover(self) -> None:
        super().recover()
        self._state.upkeep._postings.__class__ = CarelessPostingMoving


class ForwardSource(MemorySource):
    """A source that goes on reading where it was after a doubt."""

    def seek(self, partition: Partition, offset: int | None) -> None: ...


MUTANTS = CLOSING_MUTANTS | {
    "no offset check": Parts(store=UncheckedStore),
    "deleted before sealed": Parts(store=DeletingFirstStore),
    "deleted before moved": Parts(store=ForgettingFirstStore),
    "fixed names": Parts(objects=FixedNames),
    "ids deleted before they are on pages": Parts(store=MovingIdsInTwoStepsStore),
    "postings deleted before they are on pages": Parts(store=MovingPostingsInTwoStepsStore),
    "blocks deleted before they are on pages": Parts(store=MovingBlocksInTwoStepsStore),
    "tails of moved postings kept": Parts(shard=TailsOfMovedKeptShard),
    "pages change while they move": Parts(shard=ChangingPagesShard),
    "pointed at what was before": Parts(shard=BlindlyPointingShard),
    "no new fence": Parts(store=SameFenceStore),
    "ids not compared": Parts(shard=TrustingShard),
    "deleted at once": Parts(limits=msgspec.structs.replace(LIMITS, objects_grace_s=0)),
    "sealed unchecked": Parts(store=UncheckedSealingStore),
    "frame before field": Parts(store=FrameFirstStore),
    "no watch": Parts(store=UnwatchedStore),
    "reads of any state": Parts(store=MixingStore),
    "offset after state": Parts(store=TwoStepStore),
    "caches kept": Parts(shard=RememberingShard),
    "tails of postings kept": Parts(shard=TailsKeptShard),
    "no seek back": Parts(source=ForwardSource),
}
