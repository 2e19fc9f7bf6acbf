"""Postings: the records that have a value in an index, as their numbers stand in Redis."""

from collections.abc import Iterator, Mapping

from aggregator.layout.keys import POSTING_BLOCK_BYTES


def appended(more: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Yield what the script that appends is given: each value, and numbers of it, as many as a block may hold."""
    for value, postings in more.items():
        for at in range(0, len(postings), POSTING_BLOCK_BYTES):
            yield value
            yield postings[at : at + POSTING_BLOCK_BYTES]
