"""Merging frames with one of its rules taken out. The state machine must notice each."""

import re

from aggregator.layout.sealed import DIRECTORY_FIELD
from aggregator.layout.write import ShardWrite
from tests.protocol.memory_store import MemoryStore
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


class UncheckedMergingStore(MemoryStore):
    """Frames become what they were when read, whatever has been written since."""

    _is_merging = False

    def replace(self, write: ShardWrite) -> None:
        self._is_merging = _is_merge(write)
        try:
            super().replace(write)
        finally:
            self._is_merging = False

    def _check_fence(self, first_offset: int | None, stored: bytes | None) -> None:
        if not self._is_merging:
            super()._check_fence(first_offset, stored)


MERGING_MUTANTS = {
    "frames deleted before they are merged": Parts(store=MergingInTwoStepsStore),
    "merged unchecked": Parts(store=UncheckedMergingStore),
}
