"""Packed ids: short, and never the same for two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls.packed_id import pack_id, unpack_id

UUID = "0190b1f2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"
LOOKALIKES = (
    UUID,
    UUID.upper(),
    UUID.replace("-", ""),
    UUID.replace("-", "")[:16],
    UUID.replace("-", "")[:16].upper(),
    "0190b1f27c-3d-7e4f-8a9b-0c1d2e3f4a5b",
    "0190b1f2-7c3d-7e4f-8a9b-0c1d2e3f4a5-",
    "0190b1f2-7c3d-7e4f-8a9b-0c1d2e3f4a5g",
    "---------" * 4,
    "٠" * 16,
    "",
    "\0",
    "\1" + "a" * 16,
)
hexadecimal = st.text("0123456789abcdefABCDEF-", min_size=14, max_size=38)
ids = st.text(max_size=40) | hexadecimal | st.sampled_from(LOOKALIKES) | st.uuids().map(str)


@given(ids, ids)
def test_back_and_apart(one: str, other: str) -> None:
    """Every id comes back, and two that differ have different bytes."""
    assert unpack_id(pack_id(one)) == one
    assert (pack_id(one) == pack_id(other)) == (one == other)


@pytest.mark.parametrize("text", LOOKALIKES)
def test_lookalikes_come_back(text: str) -> None:
    """An id that looks nearly like a UUID or hexadecimal comes back as it was."""
    assert unpack_id(pack_id(text)) == text


def test_forms() -> None:
    """Records on disk hold these bytes: a UUID 17, 16 or 32 hexadecimal digits 9 or 17, text its UTF-8 and one."""
    assert pack_id(UUID) == bytes.fromhex("01 0190b1f27c3d7e4f8a9b0c1d2e3f4a5b")
    assert pack_id("00f067aa0ba902b7") == bytes.fromhex("02 00f067aa0ba902b7")
    assert pack_id("4bf92f3577b34da6a3ce929d0e0e4736") == bytes.fromhex("02 4bf92f3577b34da6a3ce929d0e0e4736")
    assert pack_id("né") == b"\0n\xc3\xa9"
