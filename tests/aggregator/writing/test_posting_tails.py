"""Tails of postings: read once, then written without a look; bounded; what comes of them is what is stored."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from aggregator.layout.keys import MINUTE, TRACE, ShardKeys
from aggregator.layout.postings import BLOCK_NUMBERS_MAX, block_field, posting, unpack_block, unpack_latest
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.rollups.levels import Retention
from aggregator.writing.batch_changes import BatchChanges
from aggregator.writing.posting_tails import PostingTails
from tests.support.folding import SHARD

KEYS = ShardKeys(SHARD)
DAY = 20_000
Brought = Mapping[tuple[str, bytes], Sequence[int]]
"""By index and value: the numbers that a batch brings."""


class Stored:
    """What Redis holds, and a writer's tails of it; `read`: how many fields it has read."""

    def __init__(self, bytes_max: int) -> None:
        self.kept: dict[Key, dict[Field, bytes]] = defaultdict(dict)
        self.tails = PostingTails(KEYS)
        self.read = 0
        self._bytes_max = bytes_max

    def add(self, brought: Brought) -> ShardWrite:
        """One batch."""
        changes, write = BatchChanges(), ShardWrite()
        postings = changes.postings[1, DAY] = defaultdict(lambda: defaultdict(list))
        for (index, value), numbers in brought.items():
            postings[index][value] += map(posting, numbers)
        wanted = self.tails.absent(changes)
        self.read += sum(map(len, wanted.values()))
        stored = {
            (key, field): self.kept[key][field]
            for key, fields in wanted.items()
            for field in fields
            if field in self.kept[key]
        }
        self.tails.append(changes, stored, Retention(), write)
        for key, of_key in write.fields.items():
            for field, packed in of_key.items():
                assert isinstance(packed, bytes)
                self.kept[key][field] = packed
        self.tails.trim(self._bytes_max)
        return write

    def numbers(self, index: str, value: bytes) -> list[int]:
        """All numbers of a value, in the order they came."""
        tail = unpack_latest(self.kept[KEYS.postings(1, index, DAY)][value])
        blocks = self.kept[KEYS.posting_blocks(1, index, DAY)]
        of_blocks = [unpack_block(blocks[block_field(block, value)]) for block in range(tail.full_blocks)]
        return [number for some in (*of_blocks, tail.numbers) for number in some]


@given(
    st.lists(
        st.dictionaries(st.tuples(st.sampled_from((MINUTE, TRACE)), st.binary(max_size=1)), st.integers(1, 300)),
        max_size=12,
    ),
    st.sampled_from((0, 500, 10**6)),
)
def test_everything_is_stored(batches: list[dict[tuple[str, bytes], int]], bytes_max: int) -> None:
    """Whatever is forgotten between batches, all that they brought comes back in order."""
    appended: defaultdict[tuple[str, bytes], list[int]] = defaultdict(list)
    stored, number = Stored(bytes_max), 0
    for batch in batches:
        brought = {}
        for place, count in batch.items():
            brought[place] = range(number, number + count)
            appended[place] += brought[place]
            number += count
        stored.add(brought)
    assert {place: stored.numbers(*place) for place in appended} == appended


def test_what_is_known_is_not_read() -> None:
    """A value is read when it comes first, and again only once it has been forgotten."""
    stored = Stored(10**6)
    for number in range(3):
        stored.add({(MINUTE, b"a"): [number], (TRACE, b"a"): [number]})
    assert stored.read == 2
    stored.tails.trim(0)
    stored.add({(MINUTE, b"a"): [3]})
    assert stored.read == 3
    assert stored.numbers(MINUTE, b"a") == [0, 1, 2, 3]


def test_what_was_used_last_stays() -> None:
    """However many values come, memory is bounded, and a value of each batch is never read twice."""
    stored = Stored(10_000)
    for number in range(500):
        stored.add({(MINUTE, b"now"): [number], (TRACE, b"trace %d" % number): [number]})
        assert stored.tails.bytes_kept <= 10_000
    assert stored.read == 501


def test_keys_expire_with_their_day() -> None:
    """Blocks too, where the batch fills one."""
    stored = Stored(10**6)
    key, blocks = KEYS.postings(1, MINUTE, DAY), KEYS.posting_blocks(1, MINUTE, DAY)
    assert list(stored.add({(MINUTE, b"a"): range(BLOCK_NUMBERS_MAX)}).expiries) == [key]
    write = stored.add({(MINUTE, b"a"): range(BLOCK_NUMBERS_MAX)})
    assert write.expiries == dict.fromkeys((key, blocks), (DAY + 1 + 30) * 86_400)
