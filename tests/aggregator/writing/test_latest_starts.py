"""When the latest calls of minutes began: whatever is forgotten, it is stored, or stored as not known."""

from hypothesis import given
from hypothesis import strategies as st

from aggregator.layout.keys import VERSION_BYTES, ShardKeys
from aggregator.layout.slot_versions import latest_start_us, pack_version
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.writing.latest_starts import LatestStarts
from tests.support.folding import SHARD

MINUTE, OTHER = (1, 29_000_000), (2, 29_000_000)
VERSION = bytes(range(VERSION_BYTES))


@given(
    st.lists(st.dictionaries(st.sampled_from((MINUTE, OTHER)), st.integers(0, 5)), max_size=8),
    st.sampled_from((0, 1, 10)),
    st.booleans(),
)
def test_latest_starts(batches: list[dict[tuple[int, int], int]], count_max: int, is_of_earlier_version: bool) -> None:
    """The largest of those that all batches brought; not known where calls came without one."""
    starts, kept = LatestStarts(ShardKeys(SHARD)), dict[tuple[Key, Field], bytes]()
    if is_of_earlier_version:
        [(key, [slot])] = starts.absent([MINUTE]).items()
        kept[key, slot] = VERSION
    expected = {MINUTE: 0} if is_of_earlier_version else dict[tuple[int, int], int]()
    for brought in batches:
        wanted = [(key, slot) for key, slots in starts.absent(brought).items() for slot in slots]
        write = ShardWrite()
        started_us = {minute: latest_us for minute, latest_us in brought.items() if latest_us}
        starts.add(brought, started_us, {place: kept[place] for place in wanted if place in kept}, write)
        for key, slots in write.latest_starts_us.items():
            kept |= {(key, slot): pack_version(VERSION, latest_us) for slot, latest_us in slots.items()}
        for minute, latest_us in brought.items():
            known = expected.get(minute)
            expected[minute] = latest_us if known is None else known and max(known, latest_us)
        starts.trim(count_max)
    found = [latest_start_us(version) for version in kept.values()]
    assert sorted(found) == sorted(expected.values())
