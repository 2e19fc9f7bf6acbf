"""Pages of ids: whatever is added, split, merged and dropped, a look-up finds what a dict would hold."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aggregator.layout import id_pages
from aggregator.layout.hash_pages import PageTable, depth_of, new_table, pack_table, place_of, unpack_table
from aggregator.layout.id_hashes import hashes
from aggregator.layout.id_pages import Lookup, pages_to_rewrite, rewrite

KEY = b"k" * 16
HASHES = st.one_of(st.integers(0, 2**34 - 1), st.integers(0, 40), st.sampled_from([2**34 - 1, 2**33, 0]))
# Entries of numbers further apart than this may be refused, where they are on few pages; tested by itself below.
APART_MAX = 2**31 - 1_000
PAGES = st.one_of(st.integers(1, 20), st.integers(1, 300))


class Pages:
    """All pages of a table, rewritten as a shard's writer does it."""

    def __init__(self) -> None:
        self.table = PageTable(KEY)
        self.stored: dict[int, bytes] = {}

    def rewrite(self, pages: int, added: Sequence[tuple[int, int]], lowest: int, more: Sequence[int] = ()) -> None:
        """Rewrites the pages that must change, and any others."""
        told = pages_to_rewrite(self.table, pages, [hashed for hashed, _ in added]) | {
            number for number in more if number < self.table.pages
        }
        assert all(number < self.table.pages for number in told)
        found = rewrite(self.table, pages, {number: self.stored.get(number) for number in told}, added, lowest)
        for number in found.gone:
            del self.stored[number]
        self.stored |= found.pages
        self.table = found.table

    def find(self, hashed: int) -> list[int]:
        """Returns the numbers that stand beside a hash."""
        if not self.table.pages:
            return []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(id_pages, "hash_words", lambda _key, _fields: np.array([hashed], dtype=np.uint64))
            lookup = Lookup(self.table, [b"id"])
        return lookup.candidates([self.stored.get(number) for number in lookup.pages], [None])


class PagesAndDict(RuleBasedStateMachine):
    """Entries are added, pages split, merged, swept; records are dropped from the lowest number on."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = Pages()
        self.groups: dict[int, list[int]] = {}  # numbers, divided by eight, by hash
        self.next_number = 0
        self.lowest = 0

    @rule(added=st.lists(HASHES, max_size=60), pages=PAGES, gap=st.sampled_from([0, 0, 1, 200, 70_000, 2**28]))
    def add(self, added: list[int], pages: int, gap: int) -> None:
        if self.next_number + gap < APART_MAX:
            self.next_number += gap
        entries = [(hashed, self.next_number + at) for at, hashed in enumerate(added)]
        self.next_number += len(added)
        self.pages.rewrite(pages, entries, self.lowest)
        for hashed, number in entries:
            self.groups.setdefault(hashed, []).append(number >> 3)

    @rule(pages=PAGES)
    def change_number_of_pages(self, pages: int) -> None:
        self.pages.rewrite(pages, [], self.lowest)

    @rule(part=st.sampled_from([0.1, 0.5, 1.0]))
    def expire(self, part: float) -> None:
        self.lowest += int((self.next_number - self.lowest) * part)

    @rule()
    def sweep(self) -> None:
        """Drops records; after that no entry of a dropped record is left."""
        self.pages.rewrite(max(1, self.pages.table.pages), [], self.lowest, range(self.pages.table.pages))
        kept = sum(group >= self.lowest >> 3 for groups in self.groups.values() for group in groups)
        assert self.pages.table.entries == kept
        assert bool(self.pages.stored) == bool(kept)

    @invariant()
    def finds_what_a_dict_holds(self) -> None:
        for hashed, groups in self.groups.items():
            found = [number for number in self.pages.find(hashed) if number >> 3 >= self.lowest >> 3]
            kept = [group for group in groups if group >= self.lowest >> 3]
            assert sorted(found) == sorted(group << 3 | at for group in kept for at in range(8))
        for hashed in (3, 2**32 + 5):
            if hashed not in self.groups:
                assert self.pages.find(hashed) == []


TestPagesAndDict = PagesAndDict.TestCase


@pytest.mark.parametrize("pages", [2**18 + 5, 2**22 + 5, 2**28 + 5, 2**34 + 5])
def test_pages_of_large_tables(pages: int) -> None:
    """Rests of a few bits, or of none, lead to the same numbers: there is a page for every few of the hashes."""
    rng = random.Random(pages)
    table = Pages()
    table.table = PageTable(KEY, pages, 0)
    # Of seven pages, so that these are full.
    hashes_of_pages = [
        rng.getrandbits(34) >> pages.bit_length() << pages.bit_length() | rng.randrange(7) for _ in range(500)
    ]
    entries = list(zip(hashes_of_pages, rng.sample(range(2**28), 500), strict=True))
    table.rewrite(pages, entries[:300], 0)
    table.rewrite(pages, entries[300:], 0)
    by_hash: dict[int, list[int]] = {}
    for hashed, number in entries:
        by_hash.setdefault(hashed, []).append(number >> 3)
    for hashed, groups in by_hash.items():
        assert sorted(table.find(hashed)) == sorted(group << 3 | at for group in groups for at in range(8))


def test_a_page_as_documented() -> None:
    """Form, lowest number divided by eight, rests of hashes with how far numbers are above it, bits in unary."""
    pages = Pages()
    pages.rewrite(1, [(0x2AAAAAAAA, 7), (0x3BBBBBBBB, 44)], 0)
    assert pages.stored == {0: bytes.fromhex("15 0000000000 aa ee aaaaaa80 eeeeeec5 c0")}


def test_numbers_too_far_apart_are_refused() -> None:
    """A page that would have to tell numbers of more than 38 bits, divided, beside whole hashes is not written."""
    with pytest.raises(OverflowError, match="numbers of records differ by 42 bits beside 34 of a hash"):
        Pages().rewrite(1, [(1, 0), (2, 2**41)], 0)


def old_page(entries: Sequence[tuple[int, int]], depth: int) -> bytes:
    """Returns a page of the older form: whole rests of hashes, in any order, and halved numbers."""
    groups = [number >> 1 for _, number in entries]
    base = min(groups)
    rest_bits = 34 - depth
    width = -(-(rest_bits + (max(groups) - base).bit_length()) // 8)
    words = [
        ((hashed >> depth) << 8 * width - rest_bits | group - base).to_bytes(width, "big")
        for (hashed, _), group in zip(entries, groups, strict=True)
    ]
    return (
        bytes([width]) + base.to_bytes(5, "big") + bytes(one[0] for one in words) + b"".join(one[1:] for one in words)
    )


def test_the_older_form_is_as_it_was() -> None:
    """The bytes that earlier versions have written."""
    assert old_page([(0x2AAAAAAAA, 7), (0x3BBBBBBBB, 44)], 0) == bytes.fromhex("05 0000000003 aa ee aaaaaa80 eeeeeed3")


@given(
    st.lists(st.tuples(HASHES, st.integers(0, 2**24)), min_size=1, max_size=60),
    st.lists(st.tuples(HASHES, st.integers(0, 2**24)), max_size=60),
    PAGES,
    PAGES,
)
def test_pages_of_the_older_form_are_read_and_written_anew(
    old: list[tuple[int, int]], added: list[tuple[int, int]], pages_then: int, pages_now: int
) -> None:
    """Look-ups find the same on them, before and after some are written anew beside others that are not."""
    pages = Pages()
    pages.table = PageTable(KEY, pages_then, len(old))
    by_page: dict[int, list[tuple[int, int]]] = {}
    for hashed, number in old:
        by_page.setdefault(place_of(hashed, pages_then), []).append((hashed, number))
    pages.stored = {place: old_page(entries, depth_of(place, pages_then)) for place, entries in by_page.items()}
    for hashed, number in old:
        assert number in pages.find(hashed)
        assert len(pages.find(hashed)) == 2 * sum(other == hashed for other, _ in old)
    pages.rewrite(pages_now, added, 0)
    assert pages.table.entries == len(old) + len(added)
    for hashed, number in [*old, *added]:
        assert number in pages.find(hashed)
        assert {found >> 3 for found in pages.find(hashed)} == {
            other >> 3 for beside, other in [*old, *added] if beside == hashed
        }


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_a_hash_does_not_depend_on_what_is_hashed_beside(fields: list[bytes]) -> None:
    """Alone or with others, of whatever lengths; and it has 34 bits."""
    together = hashes(KEY, fields)
    assert together == [hashes(KEY, [field])[0] for field in fields]
    assert all(0 <= hashed < 2**34 for hashed in together)


# With one key of the hash for each form of ids, under which they lie in patterns if sums are not mixed.
@pytest.mark.parametrize(
    ("ids", "patterned"), [("call-{}", 80), ("{:016x}", 9), ("{:08d}-0000-7000-8000-000000000000", 40)]
)
def test_hashes_spread(ids: str, patterned: int) -> None:
    """Ids that count up lie on pages as random ones would: nearly as many on each, and none agree."""
    fields = [ids.format(number).encode() for number in range(20_000)]
    for key in (0, 1, patterned):
        found = hashes(bytes([key]) * 16, fields)
        assert len(set(found)) > 19_990
        pages = rewrite(PageTable(KEY), 200, {}, [(hashed, 0) for hashed in found], 0).pages
        entries = [id_pages.count_of(page) for page in pages.values()]
        assert max(entries) < 250  # those that are not split yet have twice as many
        assert len(entries) == 200
        assert min(entries) > 35


def test_tables_come_back() -> None:
    """A table comes back as it was packed, and so does none."""
    table = PageTable(KEY, 5, 3)
    assert unpack_table(pack_table(table)) == table
    assert unpack_table(None) == PageTable()
    assert new_table().hash_key != new_table().hash_key
