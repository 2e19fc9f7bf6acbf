"""Finding refs in JSON without decoding it."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decoding.refs import REF_BYTES_MAX, REFS_OF_CALL_MAX, refs_in, refs_in_each

PIECES = ["weave", "weave:///", "weave-trace-internal:///", "wandb-artifact:///", '"', "\\", "/", ":", ": ", "é", "😀"]
TEXTS = st.lists(st.sampled_from([*PIECES, "u0077", "\n", "a"]), max_size=5).map("".join)
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def strings_of(value: Any) -> Iterator[str]:
    """All strings of a decoded value, keys excepted, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings_of(inner)


def in_escapes(value: Any) -> str:
    """JSON with every character of every string as an escape."""
    if isinstance(value, str):
        units = value.encode("utf-16-be").hex()
        return '"' + "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)) + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(in_escapes, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{in_escapes(key)}:{in_escapes(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize("prefix", ["weave:///", "weave-trace-internal:///", "wandb-artifact:///"])
def test_strings_that_begin_with_a_prefix(prefix: str) -> None:
    """A string that begins with one of the three prefixes is a ref, at any depth and alone."""
    assert refs_in(json.dumps(prefix + "a").encode()) == (prefix + "a",)
    assert refs_in(json.dumps({"x": [1, {"y": [[prefix]]}]}).encode()) == (prefix,)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"{}",
        b'"see weave:///a"',
        b'"Weave:///a"',
        b'"weave://a"',
        b'" weave:///a"',
        b'"file:///weave:///a"',
        b'{"weave:///a": 1}',
        b'{"weave:///a"\n\t\r : {"weave:///b":null}}',
        rb'"\"weave:///a"',
        rb'"\\\"weave:///a"',
        rb'{"a": "\"weave:///a\" : "}',
        rb'"\\weave:///a"',
        rb'"\\u0077eave:///a"',
    ],
)
def test_what_is_no_ref(value: bytes) -> None:
    """Keys, and strings that hold a prefix further on or behind a quote, are no refs."""
    assert refs_in(value) == ()


@pytest.mark.parametrize(
    "value",
    [
        rb'"weave:\/\/\/a"',
        rb'"\u0077eave:///a"',
        rb'"weave\u003a\u002f\u002F\/a"',
        rb'"\u0077\u0065\u0061\u0076\u0065\u003A///\u0061"',
        rb'["\\", "weave:///a"]',
        rb'["\"", "weave:///a"]',
        rb'{"weave:///key":"weave:///a"}',
        b'{"k" :\n"weave:///a"\n}',
        b'["weave:///a","weave:///a"]',
        rb'["weave:///a","weave:\/\/\/a"]',
    ],
)
def test_one_ref_in_many_spellings(value: bytes) -> None:
    """Escapes and white space do not matter, and a ref counts once."""
    assert refs_in(value) == ("weave:///a",)


def test_order_of_appearance() -> None:
    """Refs come in the order in which they first appear."""
    assert refs_in(b'["weave:///b", "weave:///a", {"k": "weave:///b"}, "weave:///c"]') == (
        "weave:///b",
        "weave:///a",
        "weave:///c",
    )


def test_what_follows_in_a_ref() -> None:
    """The rest of a ref may hold escapes, quotes and any characters."""
    ref = 'weave:///a"b\\c\n\u00e9\U0001f600: '
    assert refs_in(json.dumps([ref]).encode()) == refs_in(json.dumps([ref], ensure_ascii=False).encode()) == (ref,)


def test_longest_ref() -> None:
    """A ref has a limit in bytes, and is never cut."""
    longest = "weave:///".ljust(REF_BYTES_MAX - 2, "x") + "é"
    assert refs_in(json.dumps(longest).encode()) == (longest,)
    with pytest.raises(ValueError, match="longer than 4096 bytes"):
        refs_in(json.dumps(longest + "x").encode())


def test_most_refs() -> None:
    """Distinct refs are kept up to the limit, however often each appears; one more is refused."""
    most = [f"weave:///{number}" for number in range(REFS_OF_CALL_MAX)]
    assert len(refs_in(json.dumps(most + most).encode())) == REFS_OF_CALL_MAX
    with pytest.raises(ValueError, match="more than 10,000 refs"):
        refs_in(json.dumps([*most, "weave:///one-more"]).encode())


def test_reads_raw() -> None:
    """A value that msgspec left undecoded is read like its bytes."""
    assert refs_in(msgspec.Raw(b'["weave:///a"]')) == ("weave:///a",)


@given(VALUES)
def test_agrees_with_decoding(value: Any) -> None:
    """However the value is spelled, the refs are those that decoding it all would find."""
    prefixes = ("weave:///", "weave-trace-internal:///", "wandb-artifact:///")
    expected = tuple(dict.fromkeys(text for text in strings_of(value) if text.startswith(prefixes)))
    assert refs_in(json.dumps(value).encode()) == expected
    assert refs_in(json.dumps(value, ensure_ascii=False, indent=1).encode()) == expected
    assert refs_in(json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()) == expected
    assert refs_in(in_escapes(value).encode()) == expected


SPELLINGS = VALUES.flatmap(
    lambda value: st.sampled_from(
        [
            json.dumps(value).encode(),
            json.dumps(value, ensure_ascii=False, indent=1).encode(),
            json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode(),
            in_escapes(value).encode(),
        ]
    )
)


@given(st.lists(SPELLINGS | st.just(b"")))
def test_many_values_at_once(values: list[bytes]) -> None:
    """The refs of each value are those of the value alone, however many there are and whatever stands around it."""
    assert refs_in_each(values) == [refs_in(value) for value in values]


def test_more_than_is_searched_at_once() -> None:
    """Values of any size, and any number of them, whose refs lie at either end of what is searched at once."""
    sizes = [2**17 + more for more in range(-8, 9)] + [2**16] * 5 + [5] * 50_000 + [2**18, 2**19, 0, 1]
    values = [json.dumps([f"weave:///a{size}", "x" * size, "weave:///b", "weave:///b"]).encode() for size in sizes]
    assert refs_in_each(values) == [(f"weave:///a{size}", "weave:///b") for size in sizes]


def test_a_ref_that_was_seen_before() -> None:
    """A string that is a ref elsewhere is none as a key, nor inside of another string."""
    ref, key = b'"weave:///a"', b'{"weave:///a" : 1}'
    quoted = json.dumps(["x" + ref.decode(), ref.decode()]).encode()
    assert refs_in_each([ref, key, quoted, b"[" + ref + b" , 5]"]) == [("weave:///a",), (), (), ("weave:///a",)]


def test_too_long_a_ref_among_others() -> None:
    """A ref that is too long is not cut among others either."""
    with pytest.raises(ValueError, match="longer than 4096 bytes"):
        refs_in_each([b"{}", json.dumps("weave:///".ljust(REF_BYTES_MAX + 1, "x")).encode()])
