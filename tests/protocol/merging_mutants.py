"""Merging frames with one of its rules taken out. The state machine must notice each."""

import re

from aggregator.layout.sealed import DIRECTORY_FIELD
from aggregator.layout.write import ShardWrite
from tests.protocol.memory_store import MemoryStore
from tests.protocol.mutants import UncheckedSealingStore
from tests.protocol.worker_process import Parts

_FRAME_FIELD = re.compile(rb"z\d+")


def _is_merge(write: ShardWrite) -> bool:
    """Whether a write puts frames in the place of frames, and of nothing else."""
    return any(
        DIRECTORY_FIELD in write.fields.get(key, {})
        and fields
        and all(isinstance(field, bytes) and _FRAME_FIELD.fullmatch(field) for field in fields)
        for key, fields in write.deletions.items()
    )


class MergingInTwoStepsStore(MemoryStore):
    """Frames are deleted in one step, and what they become is there in the next."""

    def replace(self, write: ShardWrite) -> None:
        if _is_merge(write):
            super().replace(ShardWrite(deletions=write.deletions))
        super().replace(write)


class UncheckedMergingStore(UncheckedSealingStore):
    """Frames become what they were when read, whatever has been written since."""

    def _goes_unchecked(self, write: ShardWrite) -> bool:
        return _is_merge(write)


MERGING_MUTANTS = {
    "frames deleted before they are merged": Parts(store=MergingInTwoStepsStore),
    "merged unchecked": Parts(store=UncheckedMergingStore),
}
