"""A large message comes in pieces that hold the same elements, in order, however it is written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decoding import pieces
from ingest.decoding.pieces import MESSAGE_ELEMENTS_MAX, PIECE_BYTES_MAX, PIECE_ELEMENTS_MAX, is_large, pieces_of

TEXTS = st.text(st.sampled_from('ab,[]{}\\\\"é\n'), max_size=12)
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def elements(value: bytes, from_element: int = 0) -> list[Any]:
    """All elements of all pieces; each piece says rightly which it holds."""
    found: list[Any] = []
    for piece in pieces_of(value, from_element):
        of_piece = json.loads(piece.value)["batch"]
        found += of_piece
        assert piece.end - piece.first == len(of_piece)
    return found


@given(st.lists(VALUES, max_size=12), st.integers(1, 9), st.integers(1, 60), st.integers(1, 4))
def test_pieces_hold_all_elements(batch: list[Any], scanned: int, size: int, count: int) -> None:
    """Wherever the scanning is cut, in an escape too, and whatever bounds a piece."""
    text = json.dumps(batch, ensure_ascii=False).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_SCANNED_BYTES", scanned)
        patch.setattr(pieces, "PIECE_BYTES_MAX", size)
        patch.setattr(pieces, "PIECE_ELEMENTS_MAX", count)
        found = [json.loads(b"[" + part + b"]") for _, _, part in pieces._split(text)]
    assert [element for part in found for element in part] == batch


def test_bounds_of_a_piece() -> None:
    """A piece is bounded by elements and by bytes; elements that were gone through already are not given again."""
    many = json.dumps({"batch": list(range(2 * PIECE_ELEMENTS_MAX + 1))}).encode()
    assert [(piece.first, piece.end) for piece in pieces_of(many)] == [
        (0, PIECE_ELEMENTS_MAX),
        (PIECE_ELEMENTS_MAX, 2 * PIECE_ELEMENTS_MAX),
        (2 * PIECE_ELEMENTS_MAX, 2 * PIECE_ELEMENTS_MAX + 1),
    ]
    assert elements(many, PIECE_ELEMENTS_MAX) == list(range(PIECE_ELEMENTS_MAX, 2 * PIECE_ELEMENTS_MAX + 1))
    long = json.dumps({"batch": ["x" * (PIECE_BYTES_MAX // 2 - 9)] * 5}).encode()
    assert [(piece.first, piece.end) for piece in pieces_of(long)] == [(0, 2), (2, 4), (4, 5)]


def test_what_is_too_much_is_one_dead_letter() -> None:
    """Elements beyond the limit, usage of megabytes, and nesting that only a slow way could read."""
    *_, last = pieces_of(b'{"batch":[' + b"0," * MESSAGE_ELEMENTS_MAX + b"0]}")
    assert last.first == MESSAGE_ELEMENTS_MAX
    assert last.invalid is not None
    assert last.invalid.reason == "too_large"
    usage = b"{" + b",".join(b'"%d":{}' % number for number in range(300_000)) + b"}"
    (wide,) = pieces_of(b'{"end":{"summary":{"usage":' + usage + b"}}}")
    assert wide.invalid is not None
    (deep,) = pieces_of(b'{"a":' + b"[" * 300_000 + b"]" * 300_000 + b',"batch":[]}')
    assert deep.invalid is not None


def test_items_of_a_batch_that_is_no_json_as_a_whole() -> None:
    """A NaN spoils its item alone, also in a large batch; one that is cut is none at all."""
    batch = b'{"batch":[' + b"[]," * 100_000 + b'{"a":NaN},1]}'
    assert is_large(batch)
    assert sum(piece.end - piece.first for piece in pieces_of(batch)) == 100_002
    (cut,) = pieces_of(batch[:-2])
    assert cut.invalid is not None
    assert cut.invalid.reason == "json"
