"""Known expiries: a key is told its expiry once, and again where it may have been emptied meanwhile, or it moves."""

import pytest

from aggregator.layout.write import Field, ShardWrite
from aggregator.writing.known_expiries import KnownExpiries

KEY, EXPIRES_S, NOW_US = "key", 2_000, 1_000_000_000


def tells_again(before: ShardWrite, expires_s: int = EXPIRES_S, now_us: int = NOW_US) -> bool:
    """Whether the key is told its expiry once more, after this write told it, and set it one field before that."""
    known = KnownExpiries()
    known.note(ShardWrite(fields={KEY: {0: 0}}, expiries={KEY: EXPIRES_S}))
    known.note(before)
    after = ShardWrite(fields={KEY: {9: 9}}, expiries={KEY: expires_s})
    known.leave_known(now_us, after)
    return KEY in after.expiries


@pytest.mark.parametrize(
    ("to_set", "deleted", "again"),
    [((), (), False), ((), (0,), True), ((1,), (0,), False), ((0,), (0,), True), ((0, 1), (0,), False)],
)
def test_what_is_never_empty_is_told_once(to_set: tuple[Field, ...], deleted: tuple[Field, ...], again: bool) -> None:
    """Fields are set before others are deleted."""
    write = ShardWrite(expiries={KEY: EXPIRES_S})
    if to_set:
        write.fields[KEY] = dict.fromkeys(to_set, 1)
    if deleted:
        write.deletions[KEY] = list(deleted)
    assert tells_again(write) is again


def test_it_is_told_when_it_moves_or_is_past() -> None:
    """Later than it was told, or when the key may have gone by itself."""
    assert not tells_again(ShardWrite())
    assert tells_again(ShardWrite(), expires_s=EXPIRES_S + 1)
    assert tells_again(ShardWrite(), now_us=EXPIRES_S * 1_000_000)
