"""A frame of call records as it is stored: a table, ids, texts and usage apart, and what these do not hold."""

import msgspec
import numpy as np

from aggregator.calls.call import Call, Subtree
from aggregator.calls.usage_vector import Usage
from aggregator.packing import Packing
from aggregator.segments.columns import Integers, unpack_table
from aggregator.segments.compression import compress, decompress
from aggregator.segments.id_columns import PackedIds
from aggregator.segments.usage_columns import PackedUsage

# What a record has. A total and what is stated are flagged where they follow from the rest.
ENDED, FAILED, PARENT, LINKED, ROLLS_UP, TOTAL, STATES = (1 << at for at in range(7))
# The columns of the table. Of some the differences are stored.
NUMBER, FLAGS, PROJECT, OWN, TRACE, PARENT_ID, LINK, STARTED, TOOK, ROWS, FIRST_TEXT = range(11)
SUMMED = [NUMBER, OWN, STARTED]
TEXTS = ("op_name", "user_id", "run_id", "error", "model")
_COLUMNS = FIRST_TEXT + len(TEXTS)


class Rest(msgspec.Struct, array_like=True):
    """Records by number that columns do not hold; of others the totals, and what is stated, that do not follow."""

    whole: dict[int, Call]
    totals: dict[int, Subtree]
    stated: dict[int, Usage]


class CallTable(msgspec.Struct, array_like=True):
    """A table with a row for each record: number, flags, project, places of ids (its own, how far its trace's and its
    parent's are from that), how far its parent's number is from its own, when it started and how long it took (µs),
    rows of usage, places of its texts. Ids, texts and usage by place.
    """

    count: int
    table: bytes
    ids: PackedIds
    texts: list[str | None]
    usage: PackedUsage
    rest: bytes

    def rows(self) -> Integers:
        """The columns of the table, without differences; raises ValueError."""
        table = unpack_table(self.table, _COLUMNS, self.count)
        table[SUMMED] = np.cumsum(table[SUMMED], axis=1)
        return table


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CallTable)
REST = Packing(Rest)
UNREADABLE = (msgspec.MsgspecError, ValueError, LookupError, OverflowError)
"""What is raised for bytes that are no frame of calls, beside CorruptFrame."""


def pack_table_of_calls(table: CallTable) -> bytes:
    """The frame."""
    return compress(_encoder.encode(table))


def unpack_table_of_calls(packed: bytes) -> CallTable:
    """Return what a frame holds. Raises CorruptFrame, or one of UNREADABLE."""
    return _decoder.decode(decompress(packed))
