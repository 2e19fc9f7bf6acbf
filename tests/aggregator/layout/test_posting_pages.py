"""Pages of postings: whatever is added and split, a look-up finds what a dict would hold."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aggregator.layout.hash_pages import PageTable, place_of
from aggregator.layout.posting_pages import (
    Entry,
    entries_of,
    entries_on,
    hash_of,
    numbers_on,
    pages_to_rewrite,
    rewrite,
)

KEY = b"k" * 16
HASHES = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 40), st.sampled_from([2**64 - 1, 2**63, 2**56, 0]))
NUMBERS = st.lists(st.one_of(st.integers(0, 1_000), st.integers(0, 2**40 - 1)), min_size=1, max_size=120, unique=True)
VALUES = st.lists(st.tuples(HASHES, NUMBERS), max_size=30)


class Pages:
    """All pages of a table, rewritten as a shard's writer does it."""

    def __init__(self) -> None:
        self.table = PageTable(KEY)
        self.stored: dict[int, bytes] = {}

    def add(self, pages: int, added: Sequence[Entry]) -> None:
        """Rewrites the pages that must change, of so many more."""
        pages += self.table.pages
        told = pages_to_rewrite(self.table, pages, added)
        assert all(number < self.table.pages for number in told)
        found = rewrite(self.table, pages, {number: self.stored.get(number) for number in told}, added)
        for number in found.gone:
            del self.stored[number]
        self.stored |= found.pages
        self.table = found.table

    def find(self, hashed: int) -> list[int]:
        """Returns the numbers of the value with a hash."""
        place = place_of(hashed, self.table.pages)
        page = self.stored.get(place)
        return [] if page is None else numbers_on(page, place, self.table.pages, hashed)


class PagesAndDict(RuleBasedStateMachine):
    """Entries are added, and pages split, some at a time or most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = Pages()
        self.numbers: dict[int, list[int]] = {}

    @rule(added=VALUES, pages=st.one_of(st.integers(1, 3), st.integers(1, 300)))
    def add(self, added: list[tuple[int, list[int]]], pages: int) -> None:
        entries = []
        for hashed, numbers in added:
            entries += entries_of(hashed, numbers)
            self.numbers.setdefault(hashed, []).extend(numbers)
        self.pages.add(pages, entries)

    @invariant()
    def finds_what_a_dict_holds(self) -> None:
        for hashed, numbers in self.numbers.items():
            assert sorted(self.pages.find(hashed)) == sorted(numbers)
        if self.pages.table.pages:
            for hashed in (3, 2**62 + 5):
                if hashed not in self.numbers:
                    assert self.pages.find(hashed) == []

    @invariant()
    def holds_nothing_else(self) -> None:
        table = self.pages.table
        entries = [
            entry for number, page in self.pages.stored.items() for entry in entries_on(page, number, table.pages)
        ]
        assert len(entries) == table.entries
        assert {hashed for hashed, _ in entries} == self.numbers.keys()


TestPagesAndDict = PagesAndDict.TestCase


def test_a_page_as_documented() -> None:
    """Number of entries, rests of hashes, lengths, entries."""
    pages = Pages()
    pages.add(1, entries_of(0x0AAAAAAAAAAAAAAA, [44, 7]) + entries_of(0x0BBBBBBBBBBBBBBB, [300]))
    assert pages.stored == {0: bytes.fromhex("0002 0aaaaaaaaaaaaaaa 0bbbbbbbbbbbbbbb 0202 0725 ac02")}


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_hashes_differ_by_value_index_and_key(one: bytes, other: bytes) -> None:
    """Values, indexes and keys that differ give hashes that do; the same gives the same."""
    assert (hash_of(KEY, "t", one) == hash_of(KEY, "t", other)) == (one == other)
    assert hash_of(KEY, "t", one) not in (hash_of(KEY, "p", one), hash_of(b"j" * 16, "t", one))
